"""The estimators of churn and of value, with scikit-learn's manners: data in `fit`, `attr_` after it.

Both take the matrix of `features.to_matrix` (features, then `history_days`; clients with at least one order) and hold
their preprocessing inside. Both are seeded, and fitted with one thread where `training` does it, so that equal rows
give equal models.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from perennial.scoring.features import Matrix, SeenRange, WindowRates, signed_log

Candidate = Literal["linear", "boosting", "blend"]
CANDIDATES: tuple[Candidate, ...] = ("linear", "boosting", "blend")

_MIN_FOR_SLOPE = 30  # of either class: below, calibration moves the level only
_TINY = 1e-9
_MAX_FACTOR = 2.0


def _members(candidate: Candidate) -> tuple[str, ...]:
    return ("linear", "boosting") if candidate == "blend" else (candidate,)


def _imputer() -> SimpleImputer:
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


def logit(probability: Matrix) -> Matrix:
    """Log-odds, with probabilities kept 1e-9 away from 0 and 1."""
    p = np.clip(probability, _TINY, 1 - _TINY)
    return np.asarray(np.log(p / (1 - p)), dtype=np.float64)


def expit(log_odds: Matrix) -> Matrix:
    """Probability of log-odds, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(log_odds / 2)), dtype=np.float64)


class ChurnModel(ClassifierMixin, BaseEstimator):
    """Probability that a client orders nothing within the horizon.

    `candidate`: `linear` is a logistic regression (L2) on logs of rates, `boosting` are gradient boosted trees, and
    `blend` is the mean of their log-odds. Calibration (Platt: slope and intercept on the log-odds) is learned apart
    from `fit`, on later rows, by `calibrate`. Attributes: `members_`, `classes_`, `slope_`, `intercept_`.
    """

    def __init__(  # noqa: PLR0917 - scikit-learn clones by keyword
        self,
        feature_names: tuple[str, ...] = (),
        candidate: Candidate = "blend",
        inverse_penalty: float = 0.02,
        rounds: int = 200,
        learning_rate: float = 0.05,
        leaves: int = 4,
        seed: int = 0,
    ) -> None:
        self.feature_names = feature_names
        self.candidate = candidate
        self.inverse_penalty = inverse_penalty
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.seed = seed

    def fit(self, X: Matrix, y: Matrix) -> ChurnModel:
        """Fit on rows x features and 0/1 (1 = lapsed). Raises ValueError when `y` has one class only."""
        if len(np.unique(y)) < 2:  # noqa: PLR2004
            raise ValueError("one class only: there is nothing to tell apart")
        self.members_ = {name: self._member(name).fit(X, y.astype(np.int64)) for name in _members(self.candidate)}
        self.classes_ = np.array([0, 1])
        self.slope_, self.intercept_ = 1.0, 0.0
        return self

    def _member(self, name: str) -> Pipeline:
        rates = ("rates", WindowRates(self.feature_names))
        if name == "linear":
            logistic = LogisticRegression(C=self.inverse_penalty, max_iter=2000)
            logs = FunctionTransformer(signed_log)
            return Pipeline(
                [rates, ("fill", _imputer()), ("log", logs), ("scale", StandardScaler()), ("model", logistic)]
            )
        trees = HistGradientBoostingClassifier(
            max_iter=self.rounds,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=self.seed,
        )
        return Pipeline([rates, ("model", trees)])

    def raw(self, X: Matrix, candidate: Candidate | None = None) -> Matrix:
        """Log-odds before calibration, of this model or of one of the candidates that it holds."""
        parts = [self.members_[name].decision_function(X) for name in _members(candidate or self.candidate)]
        return np.asarray(np.mean(parts, axis=0), dtype=np.float64)

    def calibrate(self, raw: Matrix, y: Matrix) -> ChurnModel:
        """Learn slope and intercept from out-of-time log-odds; with few events only the level moves."""
        events = int(min((y > 0).sum(), (y <= 0).sum()))
        self.slope_, self.intercept_ = 1.0, 0.0
        if events >= _MIN_FOR_SLOPE:
            platt = LogisticRegression(C=1e6, max_iter=1000).fit(raw[:, None], y.astype(np.int64))
            if platt.coef_[0, 0] > 0:  # a falling curve would turn the order round
                self.slope_, self.intercept_ = float(platt.coef_[0, 0]), float(platt.intercept_[0])
                return self
        self.intercept_ = _level(raw, float((y.sum() + 0.5) / (len(y) + 1)))
        return self

    def link(self, X: Matrix) -> Matrix:
        """Calibrated log-odds: the scale on which reasons are weighed."""
        return np.asarray(self.slope_ * self.raw(X) + self.intercept_, dtype=np.float64)

    def shown(self, link: Matrix) -> Matrix:
        """From `link` to the probability."""
        return expit(link)

    def interval(self, probability: Matrix) -> tuple[Matrix, Matrix]:
        """NaN twice: the probability is itself the uncertainty of the event."""
        unknown = np.full(len(probability), np.nan)
        return unknown, unknown

    def learned(self) -> dict[str, float | str]:
        """What calibration learned, for the card."""
        return {"method": "Platt, on the log-odds", "slope": self.slope_, "intercept": self.intercept_}

    def predict_proba(self, X: Matrix) -> Matrix:
        """Rows x 2: probability of an order, probability of none."""
        lapsed = self.shown(self.link(X))
        return np.column_stack([1 - lapsed, lapsed])

    def predict(self, X: Matrix) -> Matrix:
        """1 where no order is the likelier."""
        return (self.link(X) > 0).astype(np.float64)


def _level(log_odds: Matrix, wanted: float) -> float:
    """The shift of all log-odds that makes the mean probability `wanted`, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(log_odds + middle).mean() < wanted else (low, middle)
    return (low + high) / 2


class ValueModel(RegressorMixin, BaseEstimator):
    """Expected revenue of a client within the horizon, in the company's currency.

    `candidate`: `linear` is a ridge regression on rates, `boosting` are trees with Poisson deviance, `blend` is their
    mean. Robust to a few giants: in `fit`, a value above 20 times the 95th percentile of the positive ones is cut
    there, and nothing is extrapolated beyond what was seen. `calibrate` learns a factor for the level, and the 80 %
    interval as the 10th and 90th percentile of actual over predicted within classes of the prediction, from
    out-of-time rows.
    Attributes: `members_`, `factor_`, `edges_`, `low_`, `high_`, `target_cap_`.
    """

    def __init__(  # noqa: PLR0917 - scikit-learn clones by keyword
        self,
        feature_names: tuple[str, ...] = (),
        candidate: Candidate = "blend",
        penalty: float = 300.0,
        rounds: int = 200,
        learning_rate: float = 0.05,
        leaves: int = 4,
        seed: int = 0,
    ) -> None:
        self.feature_names = feature_names
        self.candidate = candidate
        self.penalty = penalty
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.seed = seed

    def fit(self, X: Matrix, y: Matrix) -> ValueModel:
        """Fit on rows x features and revenue >= 0. Raises ValueError when nobody spent anything."""
        if not (y > 0).any():
            raise ValueError("no revenue at all: there is nothing to learn")
        self.target_cap_ = _robust_cap(y)
        cut, target = np.minimum(X, np.array([_robust_cap(column) for column in X.T])), np.minimum(y, self.target_cap_)
        target = np.maximum(target, 0.0)
        self.members_ = {name: self._member(name).fit(cut, target) for name in _members(self.candidate)}
        self.factor_ = 1.0
        self.edges_, self.low_, self.high_ = np.empty(0), np.ones(1), np.ones(1)
        return self

    def _member(self, name: str) -> Pipeline:
        rates = ("rates", WindowRates(self.feature_names))
        if name == "linear":
            ridge = Ridge(self.penalty)
            seen = ("seen", SeenRange())
            return Pipeline([rates, ("fill", _imputer()), seen, ("scale", StandardScaler()), ("model", ridge)])
        trees = HistGradientBoostingRegressor(
            loss="poisson",
            max_iter=self.rounds,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=self.seed,
        )
        return Pipeline([rates, ("model", trees)])

    def raw(self, X: Matrix, candidate: Candidate | None = None) -> Matrix:
        """Revenue before the level is set, of this model or of one of the candidates that it holds."""
        parts = [np.maximum(self.members_[name].predict(X), 0.0) for name in _members(candidate or self.candidate)]
        return np.asarray(np.mean(parts, axis=0), dtype=np.float64)

    def calibrate(self, raw: Matrix, y: Matrix) -> ValueModel:
        """Learn the level (within half and double) and the interval from out-of-time predictions and what was spent."""
        actual = np.clip(y, 0.0, self.target_cap_)
        factor = actual.sum() / max(float(raw.sum()), _TINY)
        self.factor_ = float(np.clip(factor, 1 / _MAX_FACTOR, _MAX_FACTOR))
        self.edges_, self.low_, self.high_ = _interval_table(raw * self.factor_, np.maximum(y, 0.0))
        return self

    def link(self, X: Matrix) -> Matrix:
        """Expected revenue: for money, reasons are weighed in money."""
        return np.asarray(self.raw(X) * self.factor_, dtype=np.float64)

    def shown(self, link: Matrix) -> Matrix:
        """From `link` to the amount: the same."""
        return link

    def predict(self, X: Matrix) -> Matrix:
        """Expected revenue within the horizon, at least 0."""
        return self.link(X)

    def learned(self) -> dict[str, float | str]:
        """What calibration learned, for the card."""
        return {"method": "one factor on the amount", "factor": self.factor_}

    def interval(self, amount: Matrix) -> tuple[Matrix, Matrix]:
        """The 80 % interval around predicted amounts; it always holds the prediction itself."""
        place = np.searchsorted(self.edges_, amount, side="right")
        return np.minimum(amount * self.low_[place], amount), np.maximum(amount * self.high_[place], amount)


def _robust_cap(values: Matrix) -> float:
    positive = values[values > 0]
    return float(np.quantile(positive, 0.95) * 20) if len(positive) else float(np.inf)


def _interval_table(predicted: Matrix, actual: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Edges between at most ten classes of the prediction (50 clients or more each), ratios at 10 % and 90 %."""
    classes = int(np.clip(len(predicted) // 50, 1, 10))
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, classes + 1)[1:-1]))
    place = np.searchsorted(edges, predicted, side="right")
    ratio = actual / np.maximum(predicted, _TINY)
    rows: list[Any] = [
        np.quantile(ratio[place == k], [0.1, 0.9]) if (place == k).any() else (0.0, 1.0) for k in range(len(edges) + 1)
    ]
    low, high = np.array(rows).T
    return edges, low, high
