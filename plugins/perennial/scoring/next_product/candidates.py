"""Which products are weighed for a client, and what the ranker sees of them: repeats, and products never bought."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from perennial.scoring.next_product.history import Floats, Ints
from perennial.scoring.next_product.items import Items
from perennial.scoring.next_product.judging import ranks
from perennial.scoring.next_product.pairs import Pairs, places_in

PER_CLIENT = 40  # so many candidates of either kind
_MINE = 50  # so many of a client's products speak for new ones
_POPULAR = 60
_UNKNOWN_RATIO = 3.0  # recency over gap of a product bought once
_TINY = 1e-4

# The first column is what the rule orders by.
REPEAT_COLUMNS = (
    "frequency", "log_days", "log_short", "log_long", "log_recency", "recency_over_gap", "bought_twice",
    "log_popularity", "product_repeat_share", "client_pace_short", "client_pace_long", "log_client_products",
)  # fmt: skip
NEW_COLUMNS = (
    "together", "log_together", "log_together_per_product", "nearest", "log_popularity", "log_trend",
    "client_pace_short", "client_pace_long", "log_client_products", "log_price_ratio",
)  # fmt: skip


@dataclass(frozen=True)
class Candidates:
    """Rows of client and product, by client; `X` with the columns of the kind."""

    row: Ints
    item: Ints
    X: Floats

    def __len__(self) -> int:
        return len(self.row)

    def at(self, mask: Ints) -> Candidates:
        """The rows of a mask or of places."""
        return Candidates(self.row[mask], self.item[mask], self.X[mask])


def repeats(pairs: Pairs, items: Items, per_client: int = PER_CLIENT) -> Candidates:
    """What a client has bought and someone still buys, the `per_client` with most weight."""
    alive = np.flatnonzero(items.recent[pairs.item] > 0)
    row, item = pairs.row[alive], pairs.item[alive]
    order, rank = ranks(row, pairs.long[alive])
    chosen = np.sort(alive[order[rank < per_client]])
    row, item = pairs.row[chosen], pairs.item[chosen]
    days, last = pairs.days[chosen], pairs.last_age[chosen]
    gap = (pairs.first_age[chosen] - last) / np.maximum(days - 1, 1)
    ratio = np.where(days > 1, last / np.maximum(gap, 1), _UNKNOWN_RATIO)
    popularity = items.recent / max(items.clients, 1)
    pace = _client_columns(pairs)[row]
    X = np.column_stack(
        [
            days + popularity[item] / 2,
            np.log(days),
            np.log(pairs.short[chosen] + 1e-3),
            np.log(pairs.long[chosen] + 1e-3),
            np.log1p(last),
            np.log1p(np.minimum(ratio, 20)),
            days > 1,
            np.log(popularity[item] + _TINY),
            np.log((items.repeaters[item] + 1) / (items.buyers[item] + 10)),
            pace,
        ]
    )
    return Candidates(row, item, X)


def new_ones(pairs: Pairs, items: Items, together: sp.csr_matrix, per_client: int = PER_CLIENT) -> Candidates:
    """What a client never bought and goes with what they buy, then what most buy; at most `per_client`."""
    count = len(items.buyers)
    mine = _mine(pairs)
    have = pairs.matrix(np.ones(len(pairs)), count)
    strength = (_only(have, mine) @ together).tocsr()
    strength.sort_indices()
    row = np.repeat(np.arange(pairs.clients), np.diff(strength.indptr))
    item, value = strength.indices.astype(np.int64), strength.data
    new = places_in(pairs.row * count + pairs.item, row * count + item) < 0
    new &= items.recent[item] > 0
    row, item, value = row[new], item[new], value[new]
    order, rank = ranks(row, value)
    best = np.sort(order[rank < per_client])
    row, item, value = _filled(pairs, items, row[best], item[best], value[best], per_client)
    return Candidates(row, item, _new_columns(pairs, items, together, row, item, value))


def popular_ones(pairs: Pairs, items: Items, per_client: int) -> tuple[Ints, Ints]:
    """(row, item): of the products that most clients bought lately, the first `per_client` that each never bought.

    Clients who have nearly all of the most bought ones get fewer.
    """
    count = len(items.buyers)
    first = items.order[: per_client + _POPULAR]
    first = first[items.recent[first] > 0]
    rows = np.repeat(np.arange(pairs.clients), len(first))
    column = np.tile(first, pairs.clients)
    new = places_in(pairs.row * count + pairs.item, rows * count + column) < 0
    place = np.cumsum(new.reshape(pairs.clients, len(first)), axis=1).ravel()
    kept = new & (place <= per_client)
    return rows[kept], column[kept]


def _filled(  # noqa: PLR0917
    pairs: Pairs, items: Items, row: Ints, item: Ints, value: Floats, per_client: int
) -> tuple[Ints, Ints, Floats]:
    """The candidates, and popular products for clients with less than `per_client`."""
    count = len(items.buyers)
    lacking = per_client - np.bincount(row, minlength=pairs.clients)
    popular_row, popular_item = popular_ones(pairs, items, max(1, per_client // 2))
    wanted = places_in(np.sort(row * count + item), popular_row * count + popular_item) < 0
    popular_row, popular_item = popular_row[wanted], popular_item[wanted]
    _, rank = ranks(popular_row, np.zeros(len(popular_row)))
    some = rank < lacking[popular_row]
    row = np.r_[row, popular_row[some]]
    item = np.r_[item, popular_item[some]]
    value = np.r_[value, np.zeros(int(some.sum()))]
    order = np.argsort(row, kind="stable")
    return row[order], item[order], value[order]


def _mine(pairs: Pairs) -> Ints:
    """The pairs that speak for a client: those with most weight."""
    order, rank = ranks(pairs.row, pairs.long)
    return np.sort(order[rank < _MINE])


def _only(have: sp.csr_matrix, places: Ints) -> sp.csr_matrix:
    kept = np.zeros(have.nnz)
    kept[places] = 1.0
    only = sp.csr_matrix((kept, have.indices, have.indptr), shape=have.shape)
    only.eliminate_zeros()
    return only


def _new_columns(  # noqa: PLR0917
    pairs: Pairs, items: Items, together: sp.csr_matrix, row: Ints, item: Ints, value: Floats
) -> Floats:
    popularity = items.recent / max(items.clients, 1)
    clients = _client_columns(pairs)
    known = np.minimum(np.bincount(pairs.row, minlength=pairs.clients), _MINE)
    paid = np.bincount(pairs.row, np.maximum(pairs.revenue, 0), minlength=pairs.clients)
    units = np.bincount(pairs.row, np.maximum(pairs.units, 0), minlength=pairs.clients)
    usual = paid / np.maximum(units, 1)
    nearest = np.asarray(together.max(axis=0).todense()).ravel() if together.nnz else np.zeros(len(items.buyers))
    return np.column_stack(
        [
            value + _TINY * popularity[item],
            np.log(value + _TINY),
            np.log(value / np.maximum(known[row], 1) + _TINY),
            nearest[item],
            np.log(popularity[item] + _TINY),
            np.log(items.trend[item]),
            clients[row],
            np.log((items.price[item] + 0.01) / (usual[row] + 0.01)),
        ]
    )


def _client_columns(pairs: Pairs) -> Floats:
    """Clients x (log of recent weight, log of long weight, log of products)."""

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(pairs.row, values, minlength=pairs.clients), dtype=np.float64)

    short, long, products = total(pairs.short), total(pairs.long), total(np.ones(len(pairs)))
    return np.column_stack([np.log(short + 1e-3), np.log(long + 1e-3), np.log(np.maximum(products, 1))])
