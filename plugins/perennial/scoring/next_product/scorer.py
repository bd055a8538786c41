"""The artefact of the next product, and what it proposes: repeats, cross-sell and up-sell, with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from sklearn.base import BaseEstimator

from perennial.core.errors import ContractViolation, Problem
from perennial.scoring.next_product.candidates import Candidates, new_ones, repeats
from perennial.scoring.next_product.history import Floats, History, Ints, Level, since_epoch
from perennial.scoring.next_product.items import Items
from perennial.scoring.next_product.judging import ranks
from perennial.scoring.next_product.model import NextProductModel, View
from perennial.scoring.next_product.pairs import Pairs, pairs_at, places_in
from perennial.scoring.next_product.words import Names, reasons

KINDS = ("repeat", "cross_sell", "up_sell")
PROPOSED = {"repeat": 3, "cross_sell": 3, "up_sell": 2}
_DEARER, _TOO_DEAR = 1.1, 3.0  # times the price of what the client buys of the same kind
_MINE = 30
_WEIGHED = 12  # new products of a client of which it is asked whether they are dearer ones
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Proposals:
    """Rows of client, kind and product, by client and rank (from 1, over all kinds, by falling probability).

    `because` is the client's own product that speaks most for a new one, -1 for none; `days` and `last_age` are
    those of a repeat.
    """

    row: Ints
    item: Ints
    kind: Ints
    rank: Ints
    probability: Floats
    amount: Floats
    because: Ints
    days: Floats
    last_age: Floats

    def __len__(self) -> int:
        return len(self.row)


class NextProductScorer(BaseEstimator):
    """A fitted model with the products of its training day and what goes together."""

    def __init__(self, model: Any = None, level: Level = "product") -> None:
        self.model = model
        self.level = level

    @classmethod
    def of(cls, model: NextProductModel, view: View, keys: pa.Array, level: Level) -> NextProductScorer:
        """The scorer of a fitted model and the view of its training day."""
        scorer = cls(model, level)
        items, together = view.items, view.together.tocsr()
        together.sort_indices()
        scorer.keys_ = np.asarray(keys.to_pylist(), dtype=np.str_)
        scorer.clients_ = items.clients
        scorer.columns_ = np.vstack([items.buyers, items.recent, items.repeaters, items.price, items.spend])
        scorer.together_ = (together.data, together.indices, together.indptr)
        scorer.trained_on_ = view.today
        return scorer

    def item_keys(self) -> pa.Array:
        """The products that the model knows, in its order."""
        return pa.array(self.keys_.tolist(), pa.string())

    def view(self, as_of: date, alive: pa.Array) -> View:
        """The model's products as of a day: what is not among `alive` keys any more is proposed to nobody."""
        count = len(self.keys_)
        buyers, recent, repeaters, price, spend = self.columns_
        there = np.asarray(pc.is_in(self.item_keys(), value_set=alive.cast(pa.string())))
        items = Items(int(self.clients_), buyers, np.where(there, np.maximum(recent, 1), 0.0), repeaters, price, spend)
        return View(since_epoch(as_of), items, sp.csr_matrix(self.together_, shape=(count, count)))

    def propose(self, history: History, view: View, names: Names) -> Proposals:
        """The proposals of each client of the chunk. Raises ContractViolation for a probability outside 0 to 1."""
        pairs = pairs_at(history, view.today, len(view.items.buyers))
        again = repeats(pairs, view.items)
        new = new_ones(pairs, view.items, view.together)
        chance_again, chance_new = self.model.probability("repeat", again), self.model.probability("new", new)
        _require_sound(np.r_[chance_again, chance_new])
        order, rank = ranks(new.row, chance_new)
        weighed = order[rank < _WEIGHED]
        new, chance_new = new.at(weighed), chance_new[weighed]
        because, dearer = _because(pairs, view, new, names)
        kind = np.r_[np.zeros(len(again), dtype=np.int64), np.where(dearer, 2, 1)]
        row, item = np.r_[again.row, new.row], np.r_[again.item, new.item]
        probability = np.r_[chance_again, chance_new]
        because = np.r_[np.full(len(again), -1, dtype=np.int64), because]
        order, rank = ranks(row * len(KINDS) + kind, probability)
        kept = order[rank < _MOST[kind[order]]]
        order, rank = ranks(row[kept], probability[kept])
        kept = kept[order]
        return _proposals(
            pairs, view.items, row[kept], item[kept], kind[kept], rank + 1, probability[kept], because[kept]
        )


_MOST = np.array([PROPOSED[kind] for kind in KINDS])


def _require_sound(probability: Floats) -> None:
    wrong = int((~np.isfinite(probability) | (probability < 0) | (probability > 1)).sum())
    if wrong:
        problem = f"{wrong} probabilities are not finite or outside 0 to 1"
        raise ContractViolation(
            Problem("client_next_products.probability", problem, "look at the lines of those clients")
        )


def _proposals(  # noqa: PLR0917
    pairs: Pairs, items: Items, row: Ints, item: Ints, kind: Ints, rank: Ints, probability: Floats, because: Ints
) -> Proposals:
    """With the amount: the probability times what the client, or else others, spend on it in a day of purchase."""
    count = len(items.buyers)
    own = places_in(pairs.row * count + pairs.item, row * count + item)
    mine = own >= 0

    def of_own(values: Floats, otherwise: Floats) -> Floats:
        return np.where(mine, values[own], otherwise) if len(values) else otherwise

    nothing = np.zeros(len(row))
    per_day = of_own(np.maximum(pairs.revenue, 0) / np.maximum(pairs.days, 1), items.spend[item])
    days, last_age = of_own(pairs.days, nothing), of_own(pairs.last_age, nothing)
    return Proposals(row, item, kind, rank, probability, probability * per_day, because, days, last_age)


def _because(pairs: Pairs, view: View, new: Candidates, names: Names) -> tuple[Ints, Booleans]:
    """For each new candidate the client's product that speaks most for it, and whether it is dearer than that kind's.

    A dearer one costs 1.1 to 3 times what the client's own product of the same group costs.
    """
    count, together = len(view.items.buyers), view.together
    place, own, offset = _beside(pairs, new)
    keys = np.repeat(np.arange(count), np.diff(together.indptr)) * count + together.indices
    found = places_in(keys, own * count + new.item[place])
    value = np.where(found >= 0, together.data[found], 0.0) if together.nnz else np.zeros(len(place))
    group, price = names.group, view.items.price
    ratio = price[new.item[place]] / np.maximum(price[own], 1e-9)
    same = (group[own] >= 0) & (group[own] == group[new.item[place]]) & (price[own] > 0)
    same &= (ratio >= _DEARER) & (ratio <= _TOO_DEAR)
    dearer = np.bincount(place[same], minlength=len(new)) > 0
    instead = _strongest(place[same], own[same], 1.0 / (1.0 + offset[same]), len(new))
    return np.where(dearer, instead, _strongest(place, own, value, len(new))), dearer


def _beside(pairs: Pairs, new: Candidates) -> tuple[Ints, Ints, Ints]:
    """Each candidate beside the client's products of most weight: (place of the candidate, own product, its rank)."""
    order, rank = ranks(pairs.row, pairs.long)
    mine = order[rank < _MINE]
    starts = np.searchsorted(pairs.row[mine], np.arange(pairs.clients + 1))
    sizes = np.diff(starts)[new.row]
    place = np.repeat(np.arange(len(new)), sizes)
    offset = np.arange(len(place)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return place, pairs.item[mine[starts[new.row[place]] + offset]], offset


def _strongest(place: Ints, own: Ints, value: Floats, count: int) -> Ints:
    """For each place the `own` with the highest value above 0, -1 where there is none."""
    some = value > 0
    place, own, value = place[some], own[some], value[some]
    order = np.lexsort((-value, place))
    first = np.r_[True, place[order][1:] != place[order][:-1]] if len(order) else np.empty(0, dtype=bool)
    found = np.full(count, -1, dtype=np.int64)
    found[place[order][first]] = own[order][first]
    return found


def table_of(  # noqa: PLR0917
    proposals: Proposals, clients: pa.Array, names: Names, as_of: date, model_version: str, schema: pa.Schema
) -> pa.RecordBatch:
    """The proposals as rows of `client_next_products`."""
    count = len(proposals)
    columns = [
        clients.take(pa.array(proposals.row)),
        pa.array([as_of] * count, pa.date32()),
        pa.array(proposals.rank),
        names.keys.take(pa.array(proposals.item)),
        names.names.take(pa.array(proposals.item)),
        names.lines.take(pa.array(proposals.item)),
        pa.array(np.asarray(KINDS, dtype=object)[proposals.kind].tolist(), pa.string()),
        pa.array(np.round(proposals.probability, 6)),
        pa.array(np.round(proposals.amount, 4)),
        reasons(proposals, names),
        pa.array([model_version] * count, pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)
