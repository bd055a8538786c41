"""The estimator of value: expected revenue of a client within a horizon, with an interval."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import TweedieRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from perennial.scoring.estimators import Candidate, imputer, members_of
from perennial.scoring.features import Matrix, SeenRange, signed_log
from perennial.scoring.prepare import Behaviour
from perennial.scoring.season import Level

VALUE_CANDIDATES: tuple[Candidate, ...] = ("blend", "linear", "boosting", "two_stage", "btyd")

_TINY = 1e-9
_MAX_FACTOR = 2.0
_MIN_SPENDERS = 50
_TAIL = 0.1  # of the clients on either side of an interval of 80 %
_BLENDED = ("linear", "boosting", "btyd")


class Spending(BaseEstimator):
    """Two stages: the chance to buy at all (trees, log-loss) times what buyers spend (trees, gamma deviance).

    Attributes: `chance_` (None when everybody bought), `amount_`.
    """

    def __init__(self, rounds: int = 200, learning_rate: float = 0.05, leaves: int = 4, seed: int = 0) -> None:
        self.rounds = rounds
        self.learning_rate = learning_rate
        self.leaves = leaves
        self.seed = seed

    def fit(self, X: Matrix, y: Matrix) -> Spending:
        """Rows x prepared columns, amounts of 0 or more, some of them positive."""
        bought = y > 0
        self.chance_ = None
        if not bought.all():
            self.chance_ = HistGradientBoostingClassifier(**self._trees()).fit(X, bought.astype(np.int64))
        self.amount_ = HistGradientBoostingRegressor(loss="gamma", **self._trees()).fit(X[bought], y[bought])
        return self

    def predict(self, X: Matrix) -> Matrix:
        """Expected amounts."""
        amount = np.asarray(self.amount_.predict(X), dtype=np.float64)
        return amount if self.chance_ is None else amount * self.chance_.predict_proba(X)[:, 1]

    def _trees(self) -> dict[str, Any]:
        return {
            "max_iter": self.rounds,
            "learning_rate": self.learning_rate,
            "max_leaf_nodes": self.leaves,
            "max_features": 0.3,
            "min_samples_leaf": 40,
            "l2_regularization": 5.0,
            "early_stopping": False,
            "random_state": self.seed,
        }


class Expected(BaseEstimator):
    """What BG/NBD (or its stand-in) times Gamma-Gamma expects: one prepared column, 0 where it is unknown."""

    def __init__(self, place: int = -1) -> None:
        self.place = place

    def fit(self, X: Matrix, y: Matrix) -> Expected:  # noqa: ARG002
        """Nothing is learned here: the column was, from purchases alone."""
        self.n_features_in_ = X.shape[1]
        return self

    def predict(self, X: Matrix) -> Matrix:
        """The column."""
        return np.nan_to_num(X[:, self.place])


class ValueModel(RegressorMixin, BaseEstimator):
    """Expected revenue of a client within the horizon, in the company's currency.

    `candidate`: `linear` is a Tweedie regression (power 1.5, log link) on logs of rates, `boosting` are trees with
    Poisson deviance, `two_stage` is `Spending`, `btyd` what buy-till-you-die models expect, and `blend` the mean of
    linear, boosting and btyd, each at the level of the rows it was fitted on. Robust to a few giants: in `fit`, a value
    above 20 times the 95th percentile of the positive ones is cut there, and nothing is extrapolated beyond what was
    seen. `calibrate` learns a factor for the level, and the 80 % interval from percentiles of actual over
    predicted within classes of the prediction, from out-of-time rows; `settle` moves the level to the season.
    Attributes: `members_`, `levels_`, `factor_`, `season_`, `edges_`, `low_`, `high_`, `target_cap_`.
    """

    def __init__(  # noqa: PLR0917 - scikit-learn clones by keyword
        self,
        feature_names: tuple[str, ...] = (),
        candidate: Candidate = "blend",
        horizon_days: int = 90,
        penalty: float = 0.1,
        rounds: int = 250,
        learning_rate: float = 0.04,
        leaves: int = 4,
        seed: int = 0,
    ) -> None:
        self.feature_names = feature_names
        self.candidate = candidate
        self.horizon_days = horizon_days
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
        self.feature_caps_ = np.array([_robust_cap(column) for column in X.T])
        target = np.clip(y, 0.0, self.target_cap_)
        behaviour = Behaviour(self.feature_names, self.horizon_days, self.seed, with_spend=True)
        self.behaviour_ = behaviour.fit(self._cut(X))
        prepared = self.prepared(X)
        wanted = (*_BLENDED, "two_stage") if self.candidate == "blend" else (self.candidate,)
        self.members_ = {name: self._member(name).fit(prepared, target) for name in wanted if self._is_possible(name)}
        self.levels_ = {name: self._level_of(member, prepared, target) for name, member in self.members_.items()}
        self.factor_, self.season_ = 1.0, 1.0
        self.edges_, self.low_, self.high_ = np.empty(0), np.ones(1), np.ones(1)
        return self

    def _cut(self, X: Matrix) -> Matrix:
        return np.asarray(np.minimum(X, self.feature_caps_), dtype=np.float64)

    def prepared(self, X: Matrix) -> Matrix:
        """The rows as the members see them."""
        return self.behaviour_.transform(self._cut(X))

    def _is_possible(self, name: str) -> bool:
        return name != "btyd" or self.behaviour_.btyd_ is not None

    @staticmethod
    def _level_of(member: Any, prepared: Matrix, target: Matrix) -> float:
        """Actual over predicted total of the rows of the fit: members are blended at one level."""
        return float(target.sum() / max(float(np.maximum(member.predict(prepared), 0.0).sum()), _TINY))

    def _member(self, name: str) -> Any:
        if name == "btyd":
            return Expected(len(self.behaviour_.names_out_) - 1)
        if name == "two_stage":
            return Spending(self.rounds, self.learning_rate, self.leaves, self.seed)
        if name == "linear":
            tweedie = TweedieRegressor(power=1.5, link="log", alpha=self.penalty, max_iter=1000)
            logs = ("log", FunctionTransformer(signed_log))
            seen = ("seen", SeenRange())
            return Scaled(Pipeline([("fill", imputer()), logs, seen, ("scale", StandardScaler()), ("model", tweedie)]))
        return HistGradientBoostingRegressor(
            loss="poisson",
            max_iter=self.rounds,
            learning_rate=self.learning_rate,
            max_leaf_nodes=self.leaves,
            max_features=0.3,
            min_samples_leaf=40,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=self.seed,
        )

    def raw(self, X: Matrix, candidate: Candidate | None = None) -> Matrix:
        """Revenue before the level is set, of this model or of one of the candidates that it holds."""
        return self._raw_of(self.prepared(X), candidate or self.candidate)

    def raws(self, X: Matrix) -> dict[Candidate, Matrix]:
        """The revenue of every candidate that a blend holds."""
        prepared = self.prepared(X)
        held = [c for c in VALUE_CANDIDATES if c == "blend" or c in self.members_]
        return {candidate: self._raw_of(prepared, candidate) for candidate in held}

    def _raw_of(self, prepared: Matrix, candidate: Candidate) -> Matrix:
        return np.asarray(np.mean(list(self._amounts_of(prepared, candidate).values()), axis=0), dtype=np.float64)

    def amounts(self, X: Matrix) -> dict[str, Matrix]:
        """What each member of the candidate expects, before the level is set; their mean is `raw`."""
        return self._amounts_of(self.prepared(X), self.candidate)

    def _amounts_of(self, prepared: Matrix, candidate: Candidate) -> dict[str, Matrix]:
        names = [name for name in members_of(candidate, _BLENDED) if name in self.members_]
        return {name: np.maximum(self.members_[name].predict(prepared), 0.0) * self.levels_[name] for name in names}

    def calibrate(self, raw: Matrix, y: Matrix, silent_days: Matrix | None = None, reach: float = np.inf) -> ValueModel:  # noqa: ARG002
        """Learn the level (within half and double) and the interval from out-of-time predictions and what was spent."""
        actual = np.clip(y, 0.0, self.target_cap_)
        factor = actual.sum() / max(float(raw.sum()), _TINY)
        self.factor_, self.season_ = float(np.clip(factor, 1 / _MAX_FACTOR, _MAX_FACTOR)), 1.0
        self.edges_, self.low_, self.high_ = _interval_table(raw * self.factor_, np.maximum(y, 0.0))
        return self

    def settle(self, X: Matrix, to: Level) -> ValueModel:
        """Move all amounts (within half and double) so that comparable clients among `X` have the season's mean."""
        self.season_ = 1.0
        comparable = X[:, self.feature_names.index("recency_days")] < to.reach
        factor = to.expected / max(float(self.link(X)[comparable].mean()), _TINY)
        self.season_ = float(np.clip(factor, 1 / _MAX_FACTOR, _MAX_FACTOR))
        self.edges_ = self.edges_ * self.season_
        return self

    def link(self, X: Matrix) -> Matrix:
        """Expected revenue: for money, reasons are weighed in money."""
        return np.asarray(self.raw(X) * self.factor_ * self.season_, dtype=np.float64)

    def shown(self, link: Matrix) -> Matrix:
        """From `link` to the amount: the same."""
        return link

    def predict(self, X: Matrix) -> Matrix:
        """Expected revenue within the horizon, at least 0."""
        return self.link(X)

    def learned(self) -> dict[str, Any]:
        """What calibration learned, for the card."""
        return {
            "method": "a factor on the amount, and one of the season",
            "factor": self.factor_,
            "season": self.season_,
        }

    def interval(self, amount: Matrix) -> tuple[Matrix, Matrix]:
        """The 80 % interval around predicted amounts; it always holds the prediction itself."""
        place = np.searchsorted(self.edges_, amount, side="right")
        return np.minimum(amount * self.low_[place], amount), np.maximum(amount * self.high_[place], amount)


class Scaled(BaseEstimator):
    """A regression fitted on `y` over its mean: penalties of a log link then mean the same in every currency."""

    def __init__(self, model: Any = None) -> None:
        self.model = model

    def fit(self, X: Matrix, y: Matrix) -> Scaled:
        """Rows x columns, amounts."""
        self.mean_ = float(y.mean())
        self.model.fit(X, y / self.mean_)
        return self

    def predict(self, X: Matrix) -> Matrix:
        """Amounts."""
        return np.asarray(self.model.predict(X) * self.mean_, dtype=np.float64)


def _robust_cap(values: Matrix) -> float:
    positive = values[values > 0]
    return float(np.quantile(positive, 0.95) * 20) if len(positive) else float(np.inf)


def _interval_table(predicted: Matrix, actual: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Edges between at most ten classes of the prediction (50 clients or more each), ratios that hold 80 % of each.

    From the 10th to the 90th percentile, or, where a tenth or more spent nothing, from 0 to the 80th: nobody lies below
    nothing, and an interval that began there and left out the highest tenth alone would hold 90 %.
    """
    classes = int(np.clip(len(predicted) // 50, 1, 10))
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, classes + 1)[1:-1]))
    place = np.searchsorted(edges, predicted, side="right")
    ratio = actual / np.maximum(predicted, _TINY)
    low, high = np.array([_middle_80(ratio[place == k]) for k in range(len(edges) + 1)]).T
    return edges, low, high


def _middle_80(ratio: Matrix) -> tuple[float, float]:
    if not len(ratio):
        return 0.0, 1.0
    if float((ratio <= 0).mean()) >= _TAIL:
        return 0.0, float(np.quantile(ratio, 1 - 2 * _TAIL))
    low, high = np.quantile(ratio, [_TAIL, 1 - _TAIL])
    return float(low), float(high)
