"""What is stored of a response model: a learner, its refits on drawn clients for the interval, and its features."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, clone

from perennial.scoring.features import Matrix, signed_log
from perennial.scoring.scorer import WithIntervals
from perennial.scoring.uplift.arms import BOTH

_INTERVAL = (10, 90)  # percentiles: an interval of 80 %


class WithInterval(BaseEstimator):
    """A learner fitted on all clients, and `members` more on clients drawn with replacement (bootstrap).

    The value is the learner's; the interval holds the middle 80 % of the members', widened to hold the value.
    Attributes: `model_`, `members_`.
    """

    def __init__(self, learner: Any = None, members: int = 20, seed: int = 0) -> None:
        self.learner = learner
        self.members = members
        self.seed = seed

    def fit(self, X: Matrix, y: Matrix, treatment: Matrix) -> WithInterval:
        """Fit all; a draw without both outcomes in both arms is drawn again. Raises ValueError as the learner does."""
        random = np.random.default_rng(self.seed)
        self.model_ = clone(self.learner).fit(X, y, treatment)
        self.members_: list[Any] = []
        while len(self.members_) < self.members:
            rows = random.integers(0, len(y), len(y))
            if all(len(np.unique(y[rows][treatment[rows] == arm])) == BOTH for arm in (0, 1)):
                self.members_.append(clone(self.learner).fit(X[rows], y[rows], treatment[rows]))
        return self

    def predict_uplift(self, X: Matrix) -> Matrix:
        """The learner's uplift, per row."""
        return np.asarray(self.model_.predict_uplift(X), dtype=np.float64)

    def interval(self, X: Matrix, value: Matrix) -> tuple[Matrix, Matrix]:
        """Low and high per row."""
        drawn = np.stack([member.predict_uplift(X) for member in self.members_])
        low, high = np.percentile(drawn, _INTERVAL, axis=0)
        return np.minimum(low, value), np.maximum(high, value)


class ResponseScorer(WithIntervals):
    """A fitted response model: `score` gives the difference that a contact makes to the probability of success."""

    _unsound = "differences of probabilities are not between -1 and 1"

    def link(self, X: Matrix) -> Matrix:
        """Uplift of rows: the scale on which features are weighed."""
        return np.asarray(self.model.predict_uplift(prepared(X)), dtype=np.float64)

    def _of_buyers(self, X: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        known = prepared(X)
        value = np.asarray(self.model.predict_uplift(known), dtype=np.float64)
        return (value, *self.model.interval(known, value))

    def _is_sound(self, value: Matrix) -> npt.NDArray[np.bool_]:
        return np.asarray(np.abs(value) <= 1)


def prepared(X: Matrix) -> Matrix:
    """The columns that learners get: logs, without the shop's history, which tells the date and not the client."""
    return signed_log(X[:, :-1])
