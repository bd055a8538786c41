"""What every card says of the clients of its day: the median one, what moves the score, and bins for the watch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from perennial.scoring.cuts import Calendar
from perennial.scoring.drift import reference_bins, top
from perennial.scoring.features import HISTORY, Matrix
from perennial.scoring.frames import Frame
from perennial.scoring.scorer import has_ordered


def median_client(today: Frame, names: Sequence[str]) -> dict[str, float]:
    """The median of each feature, and of the history, among today's clients with an order; 0 where nobody has any."""
    buyers = today.X[has_ordered(today.X, tuple(names))]
    medians = [float(np.nanmedian(v)) if (~np.isnan(v)).any() else 0.0 for v in buyers.T]
    return dict(zip((*names, HISTORY), medians, strict=True))


def importance(scorer: Any, link: Callable[[Matrix], Matrix], X: Matrix, *, rows: int) -> dict[str, float]:
    """Mean absolute change of the score's own scale (`link`) when one feature is replaced by the median client's.

    Of at most `rows` rows of `X`, evenly spaced.
    """
    sample = X[np.linspace(0, len(X) - 1, min(len(X), rows)).astype(np.int64)]
    base, found = link(sample), {}
    for place, name in enumerate(scorer.feature_names):
        changed = sample.copy()
        changed[:, place] = (scorer.reference or {})[name]
        found[name] = float(np.abs(base - link(changed)).mean())
    return found


def watched(scorer: Any, today: Frame, moves: dict[str, float]) -> dict[str, Any]:
    """What a card says for the watch on drift: bins of features and scores of those who are scored today."""
    return {
        "importance": moves,
        "drift_features": top(moves),
        "bins": {name: reference_bins(today.X[:, place]) for place, name in enumerate(scorer.feature_names)},
        "score_bins": reference_bins(scorer.score(today.X).value),
        "history_days": float(today.X[:, -1].max()) if len(today) else 0.0,
        "scored_clients": len(today),
    }


def told_cuts(plan: Calendar | None) -> dict[str, Any]:
    """The calendar as a card holds it."""
    if plan is None:
        return {}
    return {
        "fit": [cut.isoformat() for cut in plan.fit],
        "validation": plan.validation.isoformat() if plan.validation else None,
        "development": [cut.isoformat() for cut in plan.development],
        "test": plan.test.isoformat(),
        "final": [cut.isoformat() for cut in plan.all],
    }
