"""One fitted model of the next product: two rankers, and what they are learned from at a cut."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator

from perennial.scoring.next_product.candidates import Candidates, new_ones, repeats
from perennial.scoring.next_product.history import Floats, History, Ints
from perennial.scoring.next_product.items import Items, going_together, items_of, most_bought
from perennial.scoring.next_product.pairs import Pairs, bought_between, pairs_at, places_in
from perennial.scoring.next_product.ranker import Ranker, RankerKind

MAX_ROWS = 60_000  # candidates that a ranker is fitted on


@dataclass(frozen=True)
class View:
    """Products as of a day, and what goes together: made of the clients that were read."""

    today: int
    items: Items
    together: sp.csr_matrix


@dataclass(frozen=True)
class Cut:
    """A past day with what followed: candidates of both kinds, whether each was bought, how many there were.

    `bought` are the keys of all that was bought within the horizon; `wanted` counts by client: a client without a
    purchase before the day is not asked for.
    """

    view: View
    pairs: Pairs
    candidates: dict[str, Candidates]
    hits: dict[str, Floats]
    wanted: dict[str, Floats]
    bought: Ints


def view_of(pairs: Pairs, today: int, count: int, horizon_days: int) -> View:
    """The view of a day from its pairs."""
    items = items_of(pairs, count, horizon_days)
    return View(today, items, going_together(pairs, items, most_bought(items)))


def cut_at(history: History, today: int, count: int, horizon_days: int, most_clients: int) -> Cut:
    """The cut at the end of a day: view and candidates with nothing from after it, hits from the horizon after it.

    The view is made of all clients, the candidates of the first `most_clients` by id (a hash).
    """
    pairs = pairs_at(history, today, count)
    view = view_of(pairs, today, count, horizon_days)
    pairs = pairs.first(most_clients)
    candidates = {"repeat": repeats(pairs, view.items), "new": new_ones(pairs, view.items, view.together)}
    bought = bought_between(history, today, horizon_days, count)
    bought = bought[bought < pairs.clients * count]
    hits = {kind: was_bought(found, bought, count) for kind, found in candidates.items()}
    return Cut(view, pairs, candidates, hits, _wanted(pairs, bought, count), bought)


def _wanted(pairs: Pairs, bought: Ints, count: int) -> dict[str, Floats]:
    again = places_in(pairs.row * count + pairs.item, bought) >= 0
    there = np.bincount(pairs.row, minlength=pairs.clients) > 0
    row = bought // count
    again_by, new_by = (
        np.asarray(np.bincount(row[which], minlength=pairs.clients), dtype=np.float64) for which in (again, ~again)
    )
    return {"repeat": again_by, "new": new_by * there}


def was_bought(candidates: Candidates, bought: Ints, count: int) -> Floats:
    """1 for a candidate whose key is among `bought`."""
    return (places_in(bought, candidates.row * count + candidates.item) >= 0).astype(np.float64)


class NextProductModel(BaseEstimator):
    """Probability that a client buys a product within the horizon: of those bought before, and of new ones.

    Attributes: `rankers_` by kind.
    """

    def __init__(
        self,
        horizon_days: int = 28,
        repeat_kind: RankerKind = "boosting",
        new_kind: RankerKind = "boosting",
        seed: int = 0,
    ) -> None:
        self.horizon_days = horizon_days
        self.repeat_kind = repeat_kind
        self.new_kind = new_kind
        self.seed = seed

    def fit(self, cut: Cut) -> NextProductModel:
        """Fit both rankers on a past day. Raises ValueError when nobody bought any candidate, or everyone each."""
        kinds: dict[str, RankerKind] = {"repeat": self.repeat_kind, "new": self.new_kind}
        self.rankers_ = {kind: fitted(cut, kind, ranker, self.seed) for kind, ranker in kinds.items()}
        return self

    def probability(self, kind: str, candidates: Candidates) -> Floats:
        """Of each candidate of the kind."""
        return np.asarray(self.rankers_[kind].predict_proba(candidates.X)[:, 1], dtype=np.float64)


def fitted(cut: Cut, kind: str, ranker: RankerKind, seed: int) -> Ranker:
    """A ranker of the cut's candidates of a kind, at most MAX_ROWS of them: those of the first clients by id."""
    return Ranker(ranker, seed=seed).fit(cut.candidates[kind].X[:MAX_ROWS], cut.hits[kind][:MAX_ROWS])
