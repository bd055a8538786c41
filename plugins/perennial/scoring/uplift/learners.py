"""Estimators of uplift with scikit-learn's manners: `fit(X, y, treatment)`, then `predict_uplift(X)`.

`y` is 0/1, `treatment` 0/1 as assigned; `X` is rows x columns with NaN for unknown. Every learner holds its own
preprocessing; `base` names the classifier that is cloned for its parts.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from perennial.scoring.features import Matrix
from perennial.scoring.uplift.arms import BOTH, check_arms

Base = Literal["logistic", "boosting"]
_EQUAL_ARMS = 0.02  # so near one half no weights are used


def classifier(base: Base, inverse_penalty: float, seed: int) -> Pipeline:
    """An unfitted classifier of the base: logistic (L2, on standardised columns) or shallow gradient boosted trees."""
    if base == "logistic":
        fill = SimpleImputer(strategy="median", keep_empty_features=True)
        logistic = LogisticRegression(C=inverse_penalty, max_iter=1000)
        return Pipeline([("fill", fill), ("scale", StandardScaler()), ("model", logistic)])
    trees = HistGradientBoostingClassifier(
        max_iter=60,
        learning_rate=0.05,
        max_leaf_nodes=8,
        min_samples_leaf=200,
        early_stopping=False,
        random_state=seed,
    )
    return Pipeline([("model", trees)])


class _Learner(BaseEstimator):
    """What the learners share: hyper-parameters, and the checks of shapes."""

    def __init__(self, base: Base = "logistic", inverse_penalty: float = 1.0, seed: int = 0) -> None:
        self.base = base
        self.inverse_penalty = inverse_penalty
        self.seed = seed

    def _check(self, X: Matrix, y: Matrix, treatment: Matrix) -> None:
        """Raise ValueError for shapes that do not fit, and an outcome that is not 0/1 or never varies in an arm."""
        check_arms(y, treatment)
        if X.ndim != BOTH or len(X) != len(y):
            raise ValueError(f"X is rows x columns with {len(y)} rows, got {X.shape}")
        if not np.isin(y, (0, 1)).all():
            raise ValueError("the outcome of a response is 0 or 1")
        for arm in (0, 1):
            if len(np.unique(y[treatment == arm])) < BOTH:
                raise ValueError("an arm with one outcome only: there is nothing to learn from it")
        self.n_features_in_ = X.shape[1]

    def _check_width(self, X: Matrix) -> None:
        if X.ndim != BOTH or X.shape[1] != self.n_features_in_:
            raise ValueError(f"X is rows x {self.n_features_in_} columns, got {X.shape}")

    def _classifier(self) -> Pipeline:
        return classifier(self.base, self.inverse_penalty, self.seed)


def _chance(model: Pipeline, X: Matrix) -> Matrix:
    return np.asarray(model.predict_proba(X)[:, 1], dtype=np.float64)


class TwoModel(_Learner):
    """Two classifiers, one per arm; uplift is the difference of their probabilities (Hansotia and Rukstales 2002).

    Attributes: `treated_`, `control_`, `n_features_in_`.
    """

    def fit(self, X: Matrix, y: Matrix, treatment: Matrix) -> TwoModel:
        """Fit one classifier per arm."""
        self._check(X, y, treatment)
        treated = treatment == 1
        self.treated_ = self._classifier().fit(X[treated], y[treated].astype(np.int64))
        self.control_ = self._classifier().fit(X[~treated], y[~treated].astype(np.int64))
        return self

    def predict_uplift(self, X: Matrix) -> Matrix:
        """P(y = 1 | contact) - P(y = 1 | none), per row."""
        self._check_width(X)
        return _chance(self.treated_, X) - _chance(self.control_, X)


class ClassTransformation(_Learner):
    """One classifier of z = 1 when (treated and y = 1) or (control and y = 0) (Jaskowski and Jaroszewicz 2012).

    With equal arms uplift = 2 P(z = 1) - 1. With other propensities the rows are weighted by half the inverse of the
    probability of the arm that they had, which makes both arms weigh as much, and the same formula holds.
    `propensity`: the probability of treatment; None: the share of the treated in `fit`, and equal within 2 points of
    one half is taken as equal (no weights). Attributes: `model_`, `propensity_`, `n_features_in_`.
    """

    def __init__(
        self, base: Base = "logistic", inverse_penalty: float = 1.0, seed: int = 0, propensity: float | None = None
    ) -> None:
        super().__init__(base, inverse_penalty, seed)
        self.propensity = propensity

    def fit(self, X: Matrix, y: Matrix, treatment: Matrix, propensity: Matrix | None = None) -> ClassTransformation:
        """Fit on z; `propensity` gives a probability of treatment per row, where it differed between clients."""
        self._check(X, y, treatment)
        self.propensity_ = float(treatment.mean()) if self.propensity is None else self.propensity
        chance = np.full(len(y), self.propensity_) if propensity is None else propensity
        if chance.shape != y.shape or (chance <= 0).any() or (chance >= 1).any():
            raise ValueError("a propensity is a probability between 0 and 1 for each row")
        agrees = (y == treatment).astype(np.int64)
        equal = bool((np.abs(chance - 0.5) < _EQUAL_ARMS).all())
        weights = None if equal else 0.5 / np.where(treatment == 1, chance, 1 - chance)
        self.model_ = self._classifier().fit(X, agrees, model__sample_weight=weights)
        return self

    def predict_uplift(self, X: Matrix) -> Matrix:
        """2 P(z = 1) - 1, per row."""
        self._check_width(X)
        return np.asarray(2 * _chance(self.model_, X) - 1, dtype=np.float64)


class Interaction(_Learner):
    """One classifier of columns, arm and (for the logistic base) arm x columns (S-learner; Lo 2002).

    Trees find interactions themselves and get the arm as one more column. Attributes: `model_`, `centre_` (medians
    that columns are crossed around), `n_features_in_`.
    """

    def fit(self, X: Matrix, y: Matrix, treatment: Matrix) -> Interaction:
        """Fit on all rows."""
        self._check(X, y, treatment)
        self.centre_ = np.nanmedian(np.where(np.isnan(X).all(axis=0), 0.0, X), axis=0)
        self.model_ = self._classifier().fit(self._with_arm(X, treatment), y.astype(np.int64))
        return self

    def _with_arm(self, X: Matrix, arm: Matrix) -> Matrix:
        if self.base == "boosting":
            return np.column_stack([X, arm])
        known = np.where(np.isnan(X), self.centre_, X)
        return np.column_stack([known, arm, (known - self.centre_) * arm[:, None]])

    def predict_uplift(self, X: Matrix) -> Matrix:
        """The probability with the arm set to 1 less that with it set to 0, per row."""
        self._check_width(X)
        ones, zeros = np.ones(len(X)), np.zeros(len(X))
        return _chance(self.model_, self._with_arm(X, ones)) - _chance(self.model_, self._with_arm(X, zeros))


class ResponseModel(_Learner, ClassifierMixin):
    """The baseline: who answers at all, the arm left out. It ranks responders, not those whom a contact changes.

    Attributes: `model_`, `n_features_in_`.
    """

    def fit(self, X: Matrix, y: Matrix, treatment: Matrix) -> ResponseModel:
        """Fit on all rows, arms together."""
        self._check(X, y, treatment)
        self.model_ = self._classifier().fit(X, y.astype(np.int64))
        return self

    def predict_uplift(self, X: Matrix) -> Matrix:
        """P(y = 1), per row: an order, not an effect."""
        self._check_width(X)
        return _chance(self.model_, X)


Learner = TwoModel | ClassTransformation | Interaction | ResponseModel
