"""What a model must beat: simple rules that anyone could run, fitted on the same rows and judged on the same cut."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, KBinsDiscretizer, StandardScaler

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
        logistic = LogisticRegression(max_iter=1000)
        model = Pipeline([*_preparation(name), ("model", logistic)])
        model.fit(np.nan_to_num(development[:, places]), lapsed.astype(np.int64))
        found[name] = np.asarray(model.predict_proba(np.nan_to_num(test[:, places]))[:, 1], dtype=np.float64)
    return found


def _preparation(name: str) -> list[tuple[str, object]]:
    if name == "rfm_quintiles":
        quintiles = KBinsDiscretizer(_QUINTILES, encode="onehot-dense", quantile_method="averaged_inverted_cdf")
        return [("quintiles", quintiles)]
    return [("log", FunctionTransformer(signed_log)), ("scale", StandardScaler())]


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
