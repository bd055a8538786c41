"""How far today's features are from those of the day the model was trained: population stability by quantile bins.

The reference is the scored population of the training day, not the pooled training rows: windows fill up and clients
age from cut to cut, and against the pool every new model would be born drifted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from perennial.scoring.features import Matrix, column, window_days
from perennial.scoring.metrics import psi

_BINS = 10
_AGES = ("tenure_days", "days_since_first_order")


def reference_bins(values: Matrix) -> dict[str, Any]:
    """Inner edges at the deciles (equal ones once), the share of rows in each bin (the unknown last), and the range.

    `low` and `high` are None when nothing is known.
    """
    known = values[~np.isnan(values)]
    deciles = np.quantile(known, np.linspace(0, 1, _BINS + 1)[1:-1]) if len(known) else np.empty(0)
    edges = np.unique(np.round(deciles, 6))
    counts = bin_counts(values, edges)
    return {
        "edges": edges.tolist(),
        "shares": np.round(counts / max(len(values), 1), 6).tolist(),
        "low": float(known.min()) if len(known) else None,
        "high": float(known.max()) if len(known) else None,
    }


def bin_counts(values: Matrix, edges: Matrix) -> Matrix:
    """Rows per bin, (edge, next edge], and the rows with NaN last."""
    unknown = np.isnan(values)
    places = np.searchsorted(edges, values[~unknown], side="left")
    counts = np.bincount(places, minlength=len(edges) + 1).astype(np.float64)
    return np.append(counts, float(unknown.sum()))


def drift(bins: dict[str, dict[str, Any]], batches: Iterable[pa.RecordBatch]) -> dict[str, float]:
    """PSI by feature between the card's bins and the rows of the batches, read in one pass (L26)."""
    edges = {name: np.asarray(b["edges"], dtype=np.float64) for name, b in bins.items()}
    counts = {name: np.zeros(len(b["shares"])) for name, b in bins.items()}
    for batch in batches:
        for name, inner in edges.items():
            counts[name] += bin_counts(column(batch, name), inner)
    return {name: psi(np.asarray(bins[name]["shares"]), c / max(c.sum(), 1.0)) for name, c in counts.items()}


def top(importance: dict[str, float], *, features: int = 8) -> list[str]:
    """The features that move the score most."""
    return sorted(importance, key=lambda name: (-importance[name], name))[:features]


def grows(name: str, card: dict[str, Any]) -> bool:
    """Whether the feature moves with the calendar alone: ages, totals, windows that history had not filled."""
    window = window_days(name)
    return name in _AGES or name.endswith("_total") or bool(window and window > card.get("history_days", 0))


def needed_bins(card: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The bins of the card's top features, but for those that grow: a day later everyone is a day older."""
    return {name: card["bins"][name] for name in card["drift_features"] if not grows(name, card)}
