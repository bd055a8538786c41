"""What a model must beat: simple rules that anyone could run, fitted on the same rows and judged on the same cut."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from perennial.scoring.features import Matrix, quarter_window, signed_log

_QUINTILES = 5


def churn_baselines(names: Sequence[str], development: Matrix, lapsed: Matrix, test: Matrix) -> dict[str, Matrix]:
    """Probabilities at the test cut, by baseline: recency alone, and logistic on RFM as values and as quintiles."""
    groups = {"recency": _places(names, ("recency_days",))}
    whole = _rfm(names, ("orders_365d", "orders_total"), ("revenue_365d", "revenue_total"))
    groups["rfm_values"] = groups["rfm_quintiles"] = whole
    orders, revenue = quarter_window(names, "orders"), quarter_window(names, "revenue")
    if orders and revenue:
        groups["rfm_values_quarter"] = _rfm(names, (orders,), (revenue,))
    found = {}
    for name, places in groups.items():
        if not places or np.isnan(development[:, places]).all(axis=0).any():
            continue
        known, asked = np.nan_to_num(development[:, places]), np.nan_to_num(test[:, places])
        prepare = _quintiles(known) if name == "rfm_quintiles" else signed_log
        model = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression(max_iter=1000))])
        model.fit(prepare(known), lapsed.astype(np.int64))
        found[name] = np.asarray(model.predict_proba(prepare(asked))[:, 1], dtype=np.float64)
    return found


def _quintiles(development: Matrix) -> Callable[[Matrix], Matrix]:
    """One column per fifth of each column's values in `development` (equal edges once)."""
    steps = np.linspace(0, 1, _QUINTILES + 1)[1:-1]
    edges = [np.unique(np.quantile(column, steps)) for column in development.T]

    def place(X: Matrix) -> Matrix:
        fifths = [np.searchsorted(inner, column, side="right") for inner, column in zip(edges, X.T, strict=True)]
        parts = [np.eye(len(inner) + 1)[fifth] for inner, fifth in zip(edges, fifths, strict=True)]
        return np.asarray(np.column_stack(parts), dtype=np.float64)

    return place


def _rfm(names: Sequence[str], orders: Sequence[str], revenue: Sequence[str]) -> list[int]:
    chosen = [next((n for n in options if n in names), None) for options in (("recency_days",), orders, revenue)]
    return _places(names, [name for name in chosen if name]) if all(chosen) else []


def _places(names: Sequence[str], wanted: Sequence[str]) -> list[int]:
    return [list(names).index(name) for name in wanted if name in names]


def value_baselines(names: Sequence[str], revenue: Matrix, test: Matrix, *, horizon_days: int) -> dict[str, Matrix]:
    """Amounts at the test cut, by baseline: the mean of the past, and what was spent in the last 90 days."""
    found = {"mean": np.full(len(test), float(revenue.mean()))}
    recent = "revenue_90d" if "revenue_90d" in names else quarter_window(names, "revenue")
    if recent:
        days = float(recent.rsplit("_", 1)[1][:-1])
        spent = np.nan_to_num(test[:, list(names).index(recent)])
        found["last_90_days"] = np.maximum(spent, 0.0) * horizon_days / days
    return found
