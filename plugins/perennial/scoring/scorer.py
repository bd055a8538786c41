"""What is stored as one artefact: the model, and the client that its reasons compare with."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from perennial.core.errors import ContractViolation, Problem
from perennial.scoring.features import Matrix


@dataclass(frozen=True)
class Scored:
    """Scores of rows: `value` (NaN for a client without an order: there is no behaviour to read), the 80 % interval."""

    value: Matrix
    low: Matrix
    high: Matrix

    @property
    def given(self) -> npt.NDArray[np.bool_]:
        """Which rows have a score."""
        return ~np.isnan(self.value)


class Scorer(BaseEstimator):
    """A fitted model with its `reference`: the median client of the training day, by feature."""

    def __init__(
        self,
        model: Any = None,
        feature_names: tuple[str, ...] = (),
        reference: dict[str, float] | None = None,
        is_probability: bool = True,  # noqa: FBT001, FBT002 - scikit-learn's manner: hyper-parameters are keywords
    ) -> None:
        self.model = model
        self.feature_names = feature_names
        self.reference = reference
        self.is_probability = is_probability

    def score(self, X: Matrix) -> Scored:
        """Scores of all rows; `X` as `features.to_matrix` gives it in the order of `feature_names`.

        Raises ContractViolation when a score is not finite, not a probability, or negative money.
        """
        value, low, high = (np.full(len(X), np.nan) for _ in range(3))
        buyers = has_ordered(X, self.feature_names)
        if buyers.any():
            value[buyers] = self.model.shown(self.model.link(X[buyers]))
            low[buyers], high[buyers] = self.model.interval(value[buyers])
        self._require_sound(value[buyers])
        return Scored(value, low, high)

    def _require_sound(self, value: Matrix) -> None:
        highest = 1.0 if self.is_probability else np.inf
        wrong = int((~np.isfinite(value) | (value < 0) | (value > highest)).sum())
        if wrong:
            problem = f"{wrong} scores are not finite or outside 0 to {highest:g}"
            raise ContractViolation(Problem("client_scores.value", problem, "look at the features of those clients"))


class WithIntervals(BaseEstimator):
    """What a scorer of buyers with its own interval is made of: subclasses say how rows are read and what is sound."""

    def __init__(
        self, model: Any = None, feature_names: tuple[str, ...] = (), reference: dict[str, float] | None = None
    ) -> None:
        self.model = model
        self.feature_names = feature_names
        self.reference = reference

    def score(self, X: Matrix) -> Scored:
        """Value, low and high of all rows; `X` as `features.to_matrix` gives it. NaN for a client without an order.

        Raises ContractViolation when a value is not sound.
        """
        value, low, high = (np.full(len(X), np.nan) for _ in range(3))
        buyers = has_ordered(X, self.feature_names)
        if buyers.any():
            value[buyers], low[buyers], high[buyers] = self._of_buyers(X[buyers])
        wrong = int((~self._is_sound(value[buyers])).sum())
        if wrong:
            problem = f"{wrong} {self._unsound}"
            raise ContractViolation(Problem("client_scores.value", problem, "look at the features of those clients"))
        return Scored(value, low, high)

    _unsound = "values are not sound"

    @abstractmethod
    def _of_buyers(self, X: Matrix) -> tuple[Matrix, Matrix, Matrix]: ...

    @abstractmethod
    def _is_sound(self, value: Matrix) -> npt.NDArray[np.bool_]: ...


def has_ordered(X: Matrix, names: tuple[str, ...]) -> npt.NDArray[np.bool_]:
    """Which rows are clients with an order: `recency_days` is known."""
    return ~np.isnan(X[:, names.index("recency_days")])
