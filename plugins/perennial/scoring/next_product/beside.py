"""A model of the next product beside the champion, and what its card says for the daily watch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from perennial.scoring.drift import reference_bins
from perennial.scoring.next_product.candidates import new_ones, repeats
from perennial.scoring.next_product.history import Floats, History
from perennial.scoring.next_product.judging import figures_by_client
from perennial.scoring.next_product.model import Cut, NextProductModel, View
from perennial.scoring.next_product.pairs import Pairs, pairs_at

WATCHED = 2000  # clients: the PSI of an unchanged shop is then below .01
PRODUCTS = "products_365d"
_NOISE = 2.0  # standard errors of the mean difference over clients


@dataclass(frozen=True)
class Champion:
    """The model in use, and the day until which it has learned."""

    model: NextProductModel
    model_version: str
    learned_until: date


def champion_figures(cut: Cut, champion: Champion) -> dict[str, dict[str, Floats]]:
    """Its figures by kind and client at the challenger's test cut: it ranks the same candidates, by what they are."""
    return {
        kind: figures_by_client(found.row, champion.model.probability(kind, found), cut.hits[kind], cut.wanted[kind])
        for kind, found in cut.candidates.items()
    }


def told_of_champion(champion: Champion, test: date) -> dict[str, Any]:
    """What the card says of the comparison."""
    is_fair = champion.learned_until <= test
    learned = f"it has learned from purchases until {champion.learned_until}, the test cut is {test}"
    note = f"judged at {test} as the challenger was" if is_fair else f"flattered: {learned}"
    return {"model_version": champion.model_version, "is_fair": is_fair, "note": note}


def worse_than(mine: Floats, theirs: Floats) -> bool:
    """Whether the mean is lower beyond two standard errors of the paired difference over clients."""
    lost = theirs - mine
    return bool(len(lost) > 1 and lost.mean() > _NOISE * lost.std(ddof=1) / np.sqrt(len(lost)))


def best_chances(model: NextProductModel, pairs: Pairs, view: View) -> Floats:
    """The highest probability of any candidate, per client with one."""
    best = np.zeros(pairs.clients)
    for kind, found in (("repeat", repeats(pairs, view.items)), ("new", new_ones(pairs, view.items, view.together))):
        if len(found):
            np.maximum.at(best, found.row, model.probability(kind, found))
    return best[best > 0]


def watched_values(model: NextProductModel, history: History, view: View) -> dict[str, Floats]:
    """Per client of the history: how many known products of the year, and the highest probability (`score`)."""
    pairs = pairs_at(history, view.today, len(view.items.buyers)).first(WATCHED)
    products = np.bincount(pairs.row, minlength=pairs.clients).astype(np.float64)
    return {PRODUCTS: products[products > 0], "score": best_chances(model, pairs, view)}


def reference(model: NextProductModel, history: History, view: View, history_days: int) -> dict[str, Any]:
    """What the card keeps for the watch."""
    values = watched_values(model, history, view)
    return {
        "drift_features": [PRODUCTS],
        "bins": {PRODUCTS: reference_bins(values[PRODUCTS])},
        "score_bins": reference_bins(values["score"]),
        "history_days": float(history_days),
        "scored_clients": len(values["score"]),
    }
