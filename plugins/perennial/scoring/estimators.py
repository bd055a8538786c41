"""The estimator of churn, with scikit-learn's manners: data in `fit`, `attr_` after it. The one of value is in `value`.

It takes the matrix of `features.to_matrix` (features, then `history_days`; clients with at least one order) and holds
its preprocessing inside. It is seeded, and fitted with one thread where `training` does it, so that equal rows give
equal models.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from perennial.scoring.features import Matrix, signed_log
from perennial.scoring.links import expit, level
from perennial.scoring.prepare import Behaviour
from perennial.scoring.season import Level

Candidate = Literal["linear", "boosting", "two_stage", "btyd", "blend"]
CANDIDATES: tuple[Candidate, ...] = ("blend", "linear", "boosting")  # of churn, in the order of preference

_MIN_FOR_SLOPE = 30  # of either class: below, calibration moves the level only
_WITHOUT_SEASON = 0.5  # the share of a miss in level that is believed when nothing tells the coming season


def members_of(candidate: Candidate, blended: tuple[str, ...]) -> tuple[str, ...]:
    """Which members a candidate is made of."""
    return blended if candidate == "blend" else (candidate,)


def imputer() -> SimpleImputer:
    """Medians, with a column that says where one was put."""
    return SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)


class ChurnModel(ClassifierMixin, BaseEstimator):
    """Probability that a client orders nothing within the horizon.

    `candidate`: `linear` is a logistic regression (L2) on logs of rates, `boosting` are gradient boosted trees, and
    `blend` is the mean of their log-odds. Both see what buy-till-you-die models expect. Calibration is learned apart
    from `fit`, on later rows, by `calibrate` (slope and intercept on the log-odds, and a step for clients who are
    silent for longer than `reach_` days), and moved to the season by `settle`.
    Attributes: `members_`, `classes_`, `slope_`, `intercept_`, `reach_`, `dormant_`, `season_`.
    """

    def __init__(  # noqa: PLR0917 - scikit-learn clones by keyword
        self,
        feature_names: tuple[str, ...] = (),
        candidate: Candidate = "blend",
        horizon_days: int = 90,
        inverse_penalty: float = 0.02,
        rounds: int = 250,
        learning_rate: float = 0.04,
        leaves: int = 4,
        seed: int = 0,
    ) -> None:
        self.feature_names = feature_names
        self.candidate = candidate
        self.horizon_days = horizon_days
        self.inverse_penalty = inverse_penalty
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.seed = seed

    def fit(self, X: Matrix, y: Matrix) -> ChurnModel:
        """Fit on rows x features and 0/1 (1 = lapsed). Raises ValueError when `y` has one class only."""
        if len(np.unique(y)) < 2:  # noqa: PLR2004
            raise ValueError("one class only: there is nothing to tell apart")
        self.behaviour_ = Behaviour(self.feature_names, self.horizon_days, seed=self.seed).fit(X)
        prepared, truth = self.behaviour_.transform(X), y.astype(np.int64)
        self.members_ = {name: self._member(name).fit(prepared, truth) for name in self._parts(self.candidate)}
        self.classes_ = np.array([0, 1])
        self.slope_, self.intercept_ = 1.0, 0.0
        self.reach_, self.dormant_, self.season_ = float("inf"), 0.0, 0.0
        return self

    @staticmethod
    def _parts(candidate: Candidate) -> tuple[str, ...]:
        return members_of(candidate, ("linear", "boosting"))

    def _member(self, name: str) -> Pipeline:
        if name == "linear":
            logistic = LogisticRegression(C=self.inverse_penalty, max_iter=2000)
            logs = FunctionTransformer(signed_log)
            return Pipeline([("fill", imputer()), ("log", logs), ("scale", StandardScaler()), ("model", logistic)])
        trees = HistGradientBoostingClassifier(
            max_iter=self.rounds,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            max_features=0.3,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=self.seed,
        )
        return Pipeline([("model", trees)])

    def raw(self, X: Matrix, candidate: Candidate | None = None) -> Matrix:
        """Log-odds before calibration, of this model or of one of the candidates that it holds."""
        return self.raw_of(self.behaviour_.transform(X), candidate)

    def raw_of(self, prepared: Matrix, candidate: Candidate | None = None) -> Matrix:
        """The same, of rows that went through `behaviour_`."""
        parts = [self.members_[name].decision_function(prepared) for name in self._parts(candidate or self.candidate)]
        return np.asarray(np.mean(parts, axis=0), dtype=np.float64)

    def raws(self, X: Matrix) -> dict[Candidate, Matrix]:
        """The log-odds of every candidate that a blend holds."""
        prepared = self.behaviour_.transform(X)
        return {candidate: self.raw_of(prepared, candidate) for candidate in CANDIDATES}

    def calibrate(self, raw: Matrix, y: Matrix, silent_days: Matrix | None = None, reach: float = np.inf) -> ChurnModel:
        """Learn slope and intercept from out-of-time log-odds; with few events only the level moves.

        Clients with `silent_days` of `reach` or more get a level of their own, where either group has events enough:
        the season is known of the others only. Without a `reach` nothing tells the coming season: of the last one's
        miss in level half is made up for, because the next season is another.
        """
        events = int(min((y > 0).sum(), (y <= 0).sum()))
        self.slope_, self.intercept_, self.dormant_, self.season_ = 1.0, 0.0, 0.0, 0.0
        self.reach_ = float(reach)
        apart = np.zeros(len(y)) if silent_days is None else (silent_days >= reach).astype(np.float64)
        told_apart = all(_events(y[apart == group]) >= _MIN_FOR_SLOPE for group in (0, 1))
        columns = np.column_stack([raw, apart]) if told_apart else raw[:, None]
        if events >= _MIN_FOR_SLOPE:
            platt = LogisticRegression(C=1e6, max_iter=1000).fit(columns, y.astype(np.int64))
            if platt.coef_[0, 0] > 0:  # a falling curve would turn the order round
                self.slope_, self.intercept_ = float(platt.coef_[0, 0]), float(platt.intercept_[0])
                self.dormant_ = float(platt.coef_[0, 1]) if told_apart else 0.0
        if self.slope_ == 1.0:
            self.intercept_ = level(raw, float((y.sum() + 0.5) / (len(y) + 1)))
        if silent_days is not None and not np.isfinite(reach):
            halfway = level(self.slope_ * raw, float(expit(raw).mean()))
            self.intercept_ += _WITHOUT_SEASON * (halfway - self.intercept_)
        return self

    def settle(self, X: Matrix, to: Level) -> ChurnModel:
        """Move all log-odds so that comparable clients among `X` have the mean that the season lets expect."""
        self.season_ = 0.0
        self.season_ = level(self.link(X)[self.silent_days(X) < to.reach], to.expected)
        return self

    def silent_days(self, X: Matrix) -> Matrix:
        """Days since the last order."""
        return np.asarray(X[:, self.feature_names.index("recency_days")], dtype=np.float64)

    def link(self, X: Matrix) -> Matrix:
        """Calibrated log-odds: the scale on which reasons are weighed."""
        return self.calibrated(self.raw(X), X)

    def calibrated(self, raw: Matrix, X: Matrix) -> Matrix:
        """From the log-odds of `raw` to those of `link`, for the rows `X`."""
        apart = self.dormant_ * (self.silent_days(X) >= self.reach_)
        return np.asarray(self.slope_ * raw + self.intercept_ + apart + self.season_, dtype=np.float64)

    def shown(self, link: Matrix) -> Matrix:
        """From `link` to the probability."""
        return expit(link)

    def interval(self, probability: Matrix) -> tuple[Matrix, Matrix]:
        """NaN twice: the probability is itself the uncertainty of the event."""
        unknown = np.full(len(probability), np.nan)
        return unknown, unknown

    def learned(self) -> dict[str, Any]:
        """What calibration learned, for the card."""
        return {
            "method": "Platt on the log-odds, a step for the long silent, moved to the season",
            "slope": self.slope_,
            "intercept": self.intercept_,
            "dormant": {"after_days": self.reach_, "step": self.dormant_},
            "season": self.season_,
        }

    def predict_proba(self, X: Matrix) -> Matrix:
        """Rows x 2: probability of an order, probability of none."""
        lapsed = self.shown(self.link(X))
        return np.column_stack([1 - lapsed, lapsed])

    def predict(self, X: Matrix) -> Matrix:
        """1 where no order is the likelier."""
        return (self.link(X) > 0).astype(np.float64)


def _events(y: Matrix) -> int:
    return int(min((y > 0).sum(), (y <= 0).sum()))
