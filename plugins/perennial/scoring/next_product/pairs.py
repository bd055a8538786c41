"""Client and product as of a day: how often, how lately, how much; from lines, for a past cut as for today (L3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from perennial.scoring.next_product.history import HISTORY_DAYS, Floats, History, Ints

SHORT_DAYS, LONG_DAYS = 28.0, 112.0  # in so many days a purchase comes to count 1/e: habits of weeks, and of seasons


@dataclass(frozen=True)
class Pairs:
    """One row per client and product bought in the HISTORY_DAYS up to the day, ordered by client, then product.

    `days`: distinct days of purchase; `first_age`, `last_age`: days since the first and the latest; `short`, `long`:
    days of purchase, each weighing exp(-age / SHORT_DAYS or LONG_DAYS); `revenue` and `units` in all.
    `clients`: how many there are, with or without rows.
    """

    clients: int
    row: Ints
    item: Ints
    days: Floats
    first_age: Floats
    last_age: Floats
    short: Floats
    long: Floats
    revenue: Floats
    units: Floats

    def __len__(self) -> int:
        return len(self.row)

    def first(self, clients: int) -> Pairs:
        """Those of the first so many clients."""
        end = int(np.searchsorted(self.row, clients))
        return Pairs(
            clients=min(clients, self.clients),
            row=self.row[:end],
            item=self.item[:end],
            days=self.days[:end],
            first_age=self.first_age[:end],
            last_age=self.last_age[:end],
            short=self.short[:end],
            long=self.long[:end],
            revenue=self.revenue[:end],
            units=self.units[:end],
        )

    def matrix(self, values: Floats, items: int) -> sp.csr_matrix:
        """Clients x products."""
        starts = np.searchsorted(self.row, np.arange(self.clients + 1))
        return sp.csr_matrix((values, self.item, starts), shape=(self.clients, items))


def pairs_at(history: History, today: int, items: int) -> Pairs:
    """What was known at the end of the day `today` (days since 1970); nothing after it is seen."""
    known = (history.day <= today) & (history.day > today - HISTORY_DAYS) & (history.void > today)
    key = history.row[known] * items + history.item[known]
    age = today - history.day[known]
    order = np.lexsort((age, key))
    key, age = key[order], age[order]
    starts = np.flatnonzero(np.r_[True, key[1:] != key[:-1]]) if len(key) else np.empty(0, dtype=np.int64)
    fresh = np.ones(len(key))  # several lines of one day are one purchase
    fresh[1:] = (key[1:] != key[:-1]) | (age[1:] != age[:-1])

    def total(values: Floats) -> Floats:
        return np.add.reduceat(values, starts) if len(starts) else np.empty(0)

    ends = np.r_[starts[1:], len(key)] - 1 if len(starts) else starts
    return Pairs(
        clients=len(history.clients),
        row=key[starts] // items,
        item=key[starts] % items,
        days=total(fresh),
        first_age=age[ends].astype(np.float64),
        last_age=age[starts].astype(np.float64),
        short=total(fresh * np.exp(-age / SHORT_DAYS)),
        long=total(fresh * np.exp(-age / LONG_DAYS)),
        revenue=total(history.revenue[known][order]),
        units=total(history.units[known][order]),
    )


def bought_between(history: History, today: int, horizon_days: int, items: int) -> Ints:
    """Keys row * items + item, ascending, of what was bought after `today` within the horizon and stood at its end."""
    end = today + horizon_days
    later = (history.day > today) & (history.day <= end) & (history.void > end)
    return np.unique(history.row[later] * items + history.item[later])


def places_in(keys: Ints, wanted: Ints) -> Ints:
    """The place of each wanted key among the ascending `keys`, -1 for one that is not there."""
    if not len(keys):
        return np.full(len(wanted), -1, dtype=np.int64)
    found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[found] == wanted, found, -1)
