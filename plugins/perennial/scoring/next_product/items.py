"""Products as of a day: who buys them, whether anyone still does, what they cost; and which go together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from perennial.scoring.next_product.history import Floats, Ints
from perennial.scoring.next_product.judging import ranks
from perennial.scoring.next_product.pairs import Pairs

MAX_ITEMS = 4000  # of so many most bought products it is learned what goes with them
NEIGHBOURS = 30
_SHRINK = 10.0  # clients: a pair that few share is chance
_MOST_PER_CLIENT = 100  # a client with thousands of products would be most of all pairs
_BLOCK = 500


@dataclass(frozen=True)
class Items:
    """Arrays by product. `buyers`, `recent`: clients who bought in the window, and within the last horizon.

    `repeaters`: those who bought on two days or more. `price`: revenue per unit; `spend`: per client and day of
    purchase. `order`: products by falling `recent`, then `buyers`.
    """

    clients: int
    buyers: Floats
    recent: Floats
    repeaters: Floats
    price: Floats
    spend: Floats

    @property
    def order(self) -> Ints:
        """Products by popularity, the most bought first."""
        return np.lexsort((np.arange(len(self.buyers)), -self.buyers, -self.recent))

    @property
    def trend(self) -> Floats:
        """Recent buyers over buyers, with a little doubt: below 1, and small for what goes out."""
        return (self.recent + 1) / (self.buyers + 5)


def items_of(pairs: Pairs, count: int, horizon_days: int) -> Items:
    """The products of all pairs."""

    def total(values: Floats) -> Floats:
        return np.asarray(np.bincount(pairs.item, values, minlength=count), dtype=np.float64)

    revenue, units, days = total(np.maximum(pairs.revenue, 0)), total(pairs.units), total(pairs.days)
    return Items(
        clients=pairs.clients,
        buyers=total(np.ones(len(pairs))),
        recent=total((pairs.last_age < horizon_days).astype(np.float64)),
        repeaters=total((pairs.days > 1).astype(np.float64)),
        price=np.where(units > 0, revenue / np.maximum(units, 1e-9), 0.0),
        spend=revenue / np.maximum(days, 1.0),
    )


def most_bought(items: Items, limit: int = MAX_ITEMS) -> Ints:
    """The products that new ones are chosen among: someone bought them within the last horizon; ascending."""
    alive = items.order[items.recent[items.order] > 0]
    return np.sort(alive[:limit])


def going_together(pairs: Pairs, items: Items, chosen: Ints, neighbours: int = NEIGHBOURS) -> sp.csr_matrix:
    """Products x products: how much who has the row's product tends to have the column's; the nearest of each row.

    The cosine of the two sets of buyers, with a shrinkage of 10 clients (Linden, Smith, York 2003; Koren 2010), times
    the root of the column's trend: what goes out is proposed less. Only columns of `chosen`, nothing goes with itself.
    """
    count = len(items.buyers)
    order, rank = ranks(pairs.row, pairs.long)
    kept = np.zeros(len(pairs), dtype=bool)
    kept[order] = rank < _MOST_PER_CLIENT
    among = np.zeros(count, dtype=bool)
    among[chosen] = True
    kept &= among[pairs.item]
    narrow = np.full(count, -1, dtype=np.int64)
    narrow[chosen] = np.arange(len(chosen))
    have = sp.csr_matrix(
        (np.ones(int(kept.sum()), dtype=np.float32), (pairs.row[kept], narrow[pairs.item[kept]])),
        shape=(pairs.clients, len(chosen)),
    )
    buyers = np.asarray(have.sum(axis=0)).ravel()
    parts = list(_nearest(have, buyers, items.trend[chosen], neighbours))
    row, column, value = (np.concatenate([part[k] for part in parts]) if parts else np.empty(0) for k in range(3))
    wide = (chosen[row.astype(np.int64)], chosen[column.astype(np.int64)]) if len(row) else (np.empty(0), np.empty(0))
    return sp.csr_matrix((value, wide), shape=(count, count))


def _nearest(
    have: sp.csr_matrix, buyers: Floats, trend: Floats, neighbours: int
) -> Iterator[tuple[Ints, Ints, Floats]]:
    """Rows in blocks, so that memory is a block of the matrix and not the whole of it."""
    columns = have.T.tocsr()
    for start in range(0, columns.shape[0], _BLOCK):
        block = (columns[start : start + _BLOCK] @ have).toarray().astype(np.float64)
        places = np.arange(start, start + len(block))
        block /= np.sqrt(np.outer(buyers[places] + _SHRINK, buyers + _SHRINK))
        block *= np.sqrt(trend)
        block[np.arange(len(block)), places] = 0.0
        wide = min(neighbours, block.shape[1])
        top = np.argpartition(-block, wide - 1, axis=1)[:, :wide]
        value = np.take_along_axis(block, top, axis=1)
        some = value > 0
        yield np.repeat(places, wide)[some.ravel()], top[some], value[some]
