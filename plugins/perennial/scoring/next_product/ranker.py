"""How probable it is that a proposed product is bought: by a rule of one column, a logistic model, or trees."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from perennial.scoring.next_product.history import Floats

RankerKind = Literal["rule", "linear", "boosting"]
_TIE = 1e-6
RANKERS: tuple[RankerKind, ...] = ("rule", "linear", "boosting")


class Ranker(ClassifierMixin, BaseEstimator):
    """Probability of a purchase within the horizon, for each client and candidate product.

    `kind`: `rule` keeps the order of the first column (not below 0) and learns only what probability each value has
    (isotonic regression); `linear` is a logistic regression on all columns; `boosting` are gradient boosted trees.
    Attributes: `model_`, `classes_`.
    """

    def __init__(self, kind: RankerKind = "boosting", rounds: int = 40, leaves: int = 8, seed: int = 0) -> None:
        self.kind = kind
        self.rounds = rounds
        self.leaves = leaves
        self.seed = seed

    def fit(self, X: Floats, y: Floats) -> Ranker:
        """Fit on candidates x columns and 0/1. Raises ValueError when `y` has one class only."""
        if len(np.unique(y)) < 2:  # noqa: PLR2004
            raise ValueError("one class only: there is nothing to tell apart")
        self.classes_ = np.array([0, 1])
        self.model_ = self._unfitted()
        if self.kind == "rule":
            self.model_.fit(X[:, 0], y)
        else:
            self.model_.fit(X, y.astype(np.int64))
        return self

    def _unfitted(self) -> Any:
        if self.kind == "rule":
            return IsotonicRegression(y_min=0.0, y_max=1.0 - _TIE, out_of_bounds="clip")
        if self.kind == "linear":
            return Pipeline([("scale", StandardScaler()), ("model", LogisticRegression(max_iter=300))])
        return HistGradientBoostingClassifier(
            max_iter=self.rounds,
            learning_rate=0.1,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=50,
            early_stopping=False,
            random_state=self.seed,
        )

    def predict_proba(self, X: Floats) -> Floats:
        """Rows x 2: of no purchase, and of one."""
        if not len(X):
            return np.empty((0, 2))
        if self.kind == "rule":
            known = self.model_.predict(X[:, 0]) + _TIE * X[:, 0] / (1 + X[:, 0])  # equal steps keep the rule's order
            return np.column_stack([1 - known, known])
        return np.asarray(self.model_.predict_proba(X), dtype=np.float64)

    def predict(self, X: Floats) -> Floats:
        """1 where a purchase is the likelier."""
        return (self.predict_proba(X)[:, 1] > 0.5).astype(np.float64)  # noqa: PLR2004
