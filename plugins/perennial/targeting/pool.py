"""What the allocation decides about, as arrays: pairs of client and campaign, room of clients, limits of the day.

Amounts are whole millionths of the currency, so that sums are exact and the order of adding decides nothing (L2).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[Any]  # of whole numbers
Flags = npt.NDArray[Any]  # of truth values

MICRO = 1_000_000
NO_LIMIT = np.iinfo(np.int64).max // 4
NO_ROOM_LIMIT = np.iinfo(np.int16).max
CAMPAIGN = "campaign:"  # begins the names of resources that belong to one campaign alone
_CHUNK_PAIRS = 400_000  # as many pairs as stay in the processor's caches


@dataclass(frozen=True)
class Kinds:
    """What pairs have in common: one kind per campaign and channel, in the order of preference between equal values.

    `campaign`: the campaign's number by kind (shape kinds). `in_cap`: whether a contact of the kind counts in a cap
    (kinds x caps). `uses`: whether it draws on a resource (kinds x resources). `clashes`: whether two campaigns may not
    reach one client on one day (campaigns x campaigns).
    """

    campaign: Ints
    in_cap: Flags
    uses: Flags
    clashes: Flags


@dataclass(frozen=True)
class Resources:
    """The day's limits: contacts (of campaigns, of channels, in all) or money (millionths), by resource."""

    names: tuple[str, ...]
    limit: Ints
    is_money: Flags


@dataclass(frozen=True)
class Pool:
    """Pairs that may be allocated, by client, then kind; `client` numbers the rows of `room` from 0, without gaps.

    `kind`, `worth` (positive), `cost` have one entry per pair; `room` (clients x caps) is how many contacts of each cap
    a client may still get today.
    """

    client: Ints
    kind: Ints
    worth: Ints
    cost: Ints
    room: Ints
    kinds: Kinds
    resources: Resources

    @property
    def starts(self) -> Ints:
        """Where each client's pairs begin, and the number of pairs at the end."""
        return np.searchsorted(self.client, np.arange(len(self.room) + 1))

    def part(self, first: int, last: int, starts: Ints) -> Pool:
        """The clients from `first` up to, not including, `last`."""
        pairs = slice(starts[first], starts[last])
        return replace(
            self,
            client=self.client[pairs] - first,
            kind=self.kind[pairs],
            worth=self.worth[pairs],
            cost=self.cost[pairs],
            room=self.room[first:last],
        )

    def only(self, clients: Ints, starts: Ints) -> tuple[Pool, Ints]:
        """These clients alone (ascending, distinct), and the places of their pairs in this pool."""
        sizes = starts[clients + 1] - starts[clients]
        begins = np.cumsum(sizes) - sizes
        places = np.arange(sizes.sum()) + np.repeat(starts[clients] - begins, sizes)
        own = np.repeat(np.arange(len(clients)), sizes)
        picked = replace(
            self,
            client=own,
            kind=self.kind[places],
            worth=self.worth[places],
            cost=self.cost[places],
            room=self.room[clients],
        )
        return picked, places

    def needs(self, pairs: Ints, resource: int) -> Ints:
        """What each of these pairs would draw from a resource."""
        drawn: Ints = np.where(
            self.kinds.uses[self.kind[pairs], resource],
            self.cost[pairs] if self.resources.is_money[resource] else 1,
            0,
        )
        return drawn

    def used(self, pairs: Ints) -> Ints:
        """What these pairs draw from each resource (shape resources)."""
        counts = np.bincount(self.kind[pairs], minlength=len(self.kinds.campaign))
        # Money as whole numbers: bincount's weights are doubles, and sums of them would depend on their order.
        money = np.zeros(len(self.kinds.campaign), np.int64)
        if self.resources.is_money.any():
            np.add.at(money, self.kind[pairs], self.cost[pairs])
        by_kind = np.where(self.resources.is_money, money[:, None], counts[:, None])
        total: Ints = (by_kind * self.kinds.uses).sum(axis=0)
        return total


def is_allowed(pool: Pool, pairs: Ints) -> bool:
    """Whether these pairs keep every cap, every limit, and clash nowhere."""
    used = np.zeros(pool.room.shape, np.int64)
    np.add.at(used, pool.client[pairs], pool.kinds.in_cap[pool.kind[pairs]].astype(np.int64))
    if (used > pool.room).any() or (pool.used(pairs) > pool.resources.limit).any():
        return False
    by_client: dict[int, list[int]] = {}
    for pair in pairs:
        by_client.setdefault(int(pool.client[pair]), []).append(int(pool.kinds.campaign[pool.kind[pair]]))
    return not any(
        pool.kinds.clashes[one, other] for mine in by_client.values() for one in mine for other in mine if one != other
    )


def chunks(starts: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of clients whose pairs are together about as many as a processor's cache holds."""
    clients = len(starts) - 1
    first = 0
    while first < clients:
        last = int(np.searchsorted(starts, starts[first] + _CHUNK_PAIRS, side="right")) - 1
        last = min(max(last, first + 1), clients)
        yield first, last
        first = last


def best_of_each(score: npt.NDArray[np.float64], client: Ints) -> Ints:
    """The place of each client's highest positive score, the first of equals; clients without one are left out."""
    if not len(score):
        return np.empty(0, np.intp)
    begins = np.flatnonzero(np.r_[True, client[1:] != client[:-1]])
    best = np.maximum.reduceat(score, begins)
    sizes = np.diff(np.r_[begins, len(score)])
    is_best = (score == np.repeat(best, sizes)) & (score > 0)
    places = np.flatnonzero(is_best)
    owner = client[places]
    found: Ints = places[np.r_[True, owner[1:] != owner[:-1]]] if len(places) else places
    return found


def choose(pool: Pool, score: npt.NDArray[np.float64]) -> Ints:
    """What each client would take for herself: the best pair that her caps allow, then the next; the pairs' places.

    Where the caps are nested (all contacts, within them channels), this greedy choice is the best set (a laminar
    matroid); where they cross or campaigns clash it is a good one.
    """
    room = pool.room.copy()
    pairs = np.flatnonzero(score > 0)
    pairs = pairs[has_room(pool, pairs, room)]
    taken = []
    while len(pairs):
        best = pairs[best_of_each(score[pairs], pool.client[pairs])]
        if not len(best):
            break
        taken.append(best)
        owners = pool.client[best]
        room[owners] -= pool.kinds.in_cap[pool.kind[best]]
        left = _others(pool, pairs, best)
        pairs = left[has_room(pool, left, room)]
    return np.sort(np.concatenate(taken)) if taken else np.empty(0, np.intp)


def has_room(pool: Pool, pairs: Ints, room: Ints) -> Flags:
    """Whether each pair's client has room in every cap that it counts in; `room` is what is left (clients x caps)."""
    fits = np.ones(len(pairs), bool)
    for cap in range(room.shape[1]):
        fits &= ~pool.kinds.in_cap[pool.kind[pairs], cap] | (room[pool.client[pairs], cap] > 0)
    return fits


def _others(pool: Pool, pairs: Ints, best: Ints) -> Ints:
    """The pairs of clients who took one in this round, without it and without what clashes with it."""
    took = np.full(len(pool.room), -1)
    took[pool.client[best]] = best
    mine = took[pool.client[pairs]]
    keep = (mine >= 0) & (pairs != mine)
    pairs, mine = pairs[keep], mine[keep]
    campaign = pool.kinds.campaign
    if pool.kinds.clashes.any() and len(pairs):
        free = ~pool.kinds.clashes[campaign[pool.kind[pairs]], campaign[pool.kind[mine]]]
        pairs = pairs[free]
    return pairs
