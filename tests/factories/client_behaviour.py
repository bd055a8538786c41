"""Clients who buy by chance at a pace of their own and stop for good one day: features and labels as dbt gives them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

START = date(2017, 1, 1)
WINDOWS = (7, 14, 28, 56, 90, 91, 180, 365)
CHURN_LABEL, VALUE_LABEL = "bought_next_churn_horizon", "revenue_next_value_horizon"


@dataclass(frozen=True)
class Shop:
    """Orders of all clients: `client`, `day` (days since START) and `amount`, equal length."""

    client: np.ndarray
    day: np.ndarray
    amount: np.ndarray


def buy_and_stop(clients: int, *, days: int = 300, seed: int = 1, lifetime_days: float = 200.0) -> Shop:
    """Orders of `days` days: Poisson at a gamma distributed pace, until an exponential lifetime ends."""
    random = np.random.default_rng(seed)
    born = random.integers(0, days // 2, clients)
    pace = random.gamma(1.2, 0.1, clients) + 0.005
    dies = born + random.exponential(lifetime_days, clients)
    taste = random.lognormal(3, 0.5, clients)
    bought = random.random((clients, days)) < pace[:, None]
    alive = (np.arange(days) >= born[:, None]) & (np.arange(days) <= dies[:, None])
    client, day = np.nonzero(bought & alive)
    return Shop(client, day, np.round(taste[client] * random.lognormal(0, 0.4, len(client)), 2))


def table(
    shop: Shop, cuts: Sequence[date], *, churn_days: int = 28, value_days: int = 90, known_until: int = 10_000
) -> pa.Table:
    """Features and labels at the cuts, one row per client with an order; labels are null where not yet observed."""
    return pa.concat_tables([_at(shop, cut, churn_days, value_days, known_until) for cut in cuts])


def _at(shop: Shop, cut: date, churn_days: int, value_days: int, known_until: int) -> pa.Table:
    now, clients = (cut - START).days, int(shop.client.max(initial=0)) + 1
    past = shop.day <= now
    who, when, spent = shop.client[past], shop.day[past], shop.amount[past]
    age = now - when
    orders = np.bincount(who, minlength=clients)
    last, first = np.full(clients, -1), np.full(clients, 10_000)
    np.maximum.at(last, who, when)
    np.minimum.at(first, who, when)
    columns: dict[str, object] = {
        "recency_days": now - last,
        "tenure_days": now - first,
        "gap_days_median": np.where(orders > 1, (last - first) / np.maximum(orders - 1, 1), np.nan),
    }
    for window in WINDOWS:
        inside = age < window
        columns[f"orders_{window}d"] = np.bincount(who[inside], minlength=clients)
        columns[f"revenue_{window}d"] = np.bincount(who[inside], spent[inside], minlength=clients)
    columns["orders_total"] = orders
    columns["revenue_total"] = np.bincount(who, spent, minlength=clients)
    columns["average_order_365d"] = columns["revenue_total"] / np.maximum(orders, 1)
    later = shop.day - now
    bought = np.bincount(shop.client[(later > 0) & (later <= churn_days)], minlength=clients)
    value_rows = (later > 0) & (later <= value_days)
    value = np.bincount(shop.client[value_rows], shop.amount[value_rows], minlength=clients)
    columns[CHURN_LABEL] = np.where(now + churn_days <= known_until, np.minimum(bought, 1), np.nan)
    columns[VALUE_LABEL] = np.where(now + value_days <= known_until, value, np.nan)
    keep = orders > 0
    ids = np.array([f"c{i:06d}" for i in range(clients)])[keep]
    keys = {"client_id": ids, "as_of_date": pa.array([cut] * int(keep.sum()), pa.date32())}
    numbers = {name: pa.array(np.asarray(v, dtype=float)[keep], from_pandas=True) for name, v in columns.items()}
    return pa.table({**keys, **numbers})


def day(number: int) -> date:
    """The date so many days after START."""
    return START + timedelta(days=number)
