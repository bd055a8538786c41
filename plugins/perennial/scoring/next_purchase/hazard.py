"""The day of the next purchase as a discrete-time hazard model (Singer and Willett 1993; Tutz and Schmid 2016).

The horizon is cut into intervals. In each, those who have not bought yet buy with some probability, the hazard; who
buys nothing within the horizon is censored at its end and tells of every interval. What is learned is one classifier
over rows of client and interval. Beyond the horizon the last interval's hazard per day goes on.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from perennial.scoring.features import Matrix, WindowRates, signed_log

HazardKind = Literal["linear", "boosting", "blend"]
HAZARDS: tuple[HazardKind, ...] = ("linear", "boosting", "blend")
INTERVALS = 10
LEVELS = (0.1, 0.5, 0.9)  # of low, median and high: learned ones held worse in the next season
BEYOND = 730.0  # days: what is later is not told apart
_MAX_ROWS = 60_000  # of client and interval
_TINY = 1e-6


class NextPurchaseModel(BaseEstimator):
    """The distribution of the days until the next purchase, of clients with the columns `feature_names`, then history.

    Days are whole and start at 1, the day after the row's date. `kind`: `linear` is a logistic regression on logs of
    rates with a level for each interval, `boosting` are gradient boosted trees, `blend` the mean of their log-odds.
    Attributes: `edges_` (ends of the intervals in days, the last one the horizon), `rates_`, `members_`.
    """

    def __init__(  # noqa: PLR0917 - scikit-learn clones by keyword
        self,
        feature_names: tuple[str, ...] = (),
        kind: HazardKind = "blend",
        horizon_days: int = 90,
        rounds: int = 50,
        leaves: int = 6,
        inverse_penalty: float = 0.05,
        seed: int = 0,
    ) -> None:
        self.feature_names = feature_names
        self.kind = kind
        self.horizon_days = horizon_days
        self.rounds = rounds
        self.leaves = leaves
        self.inverse_penalty = inverse_penalty
        self.seed = seed

    def fit(self, X: Matrix, days: Matrix) -> NextPurchaseModel:
        """Fit on rows x features and days to the next purchase; more than the horizon means none within it.

        Raises ValueError when nobody bought.
        """
        bought = days[days <= self.horizon_days]
        if not len(bought):
            raise ValueError("nobody bought within the horizon: there is nothing to learn")
        inner = np.unique(np.ceil(np.quantile(bought, np.linspace(0, 1, INTERVALS + 1)[1:-1])))
        self.edges_ = np.r_[inner[inner < self.horizon_days], float(self.horizon_days)]
        self.rates_ = WindowRates(self.feature_names).fit(X)
        step = max(1, int(np.ceil(len(X) * len(self.edges_) / _MAX_ROWS)))  # rows come by date and client id, a hash
        prepared, days = self.rates_.transform(X[::step]), days[::step]
        last = np.searchsorted(self.edges_, days, side="left")
        row, interval = self._periods(np.minimum(last + 1, len(self.edges_)))
        event = interval == last[row]
        self.members_ = {
            name: self._member(name).fit(self._rows(prepared, row, interval), event.astype(np.int64))
            for name in (("linear", "boosting") if self.kind == "blend" else (self.kind,))
        }
        return self

    @staticmethod
    def _periods(counts: Any) -> tuple[Any, Any]:
        """(row, interval) of every interval in which a row was at risk."""
        row = np.repeat(np.arange(len(counts)), counts)
        return row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)

    def _rows(self, prepared: Matrix, row: Any, interval: Any) -> Matrix:
        """Prepared features, the interval, how long the client will have been silent in it, and that over the gap."""
        names = self.rates_.names_out_
        ends = self.edges_[interval]
        more = [interval.astype(np.float64)]
        if "recency_days" in names:
            silent = prepared[row, names.index("recency_days")] + ends
            more.append(silent)
            if "gap_days_median" in names:
                more.append(silent / np.maximum(prepared[row, names.index("gap_days_median")], 1.0))
        return np.column_stack([prepared[row], *more])

    def _member(self, name: str) -> Any:
        if name == "boosting":
            return HistGradientBoostingClassifier(
                max_iter=self.rounds,
                learning_rate=0.08,
                max_leaf_nodes=self.leaves,
                min_samples_leaf=60,
                l2_regularization=5.0,
                early_stopping=False,
                random_state=self.seed,
            )
        fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        steps = [
            ("intervals", FunctionTransformer(_with_interval_columns, kw_args={"place": self._interval_place()})),
            ("fill", fill),
            ("log", FunctionTransformer(signed_log)),
            ("scale", StandardScaler()),
            ("model", LogisticRegression(C=self.inverse_penalty, max_iter=500)),
        ]
        return Pipeline(steps)

    def _interval_place(self) -> int:
        return len(self.rates_.names_out_)

    def curves(self, X: Matrix, kind: HazardKind | None = None) -> Matrix:
        """Rows x intervals: the probability of a purchase until the end of each interval."""
        prepared = self.rates_.transform(X)
        row, interval = self._periods(np.full(len(X), len(self.edges_)))
        rows = self._rows(prepared, row, interval)
        wanted = kind or self.kind
        names = ("linear", "boosting") if wanted == "blend" else (wanted,)
        odds = np.mean([_log_odds(self.members_[name].predict_proba(rows)[:, 1]) for name in names], axis=0)
        hazard = 1 / (1 + np.exp(-odds.reshape(len(X), len(self.edges_))))
        return np.asarray(1 - np.cumprod(1 - hazard, axis=1), dtype=np.float64)

    def quantile(self, curves: Matrix, level: float | Matrix) -> Matrix:
        """Days by which a share `level` (one, or one per row) of such clients has bought; at most BEYOND.

        Within an interval purchases are spread evenly; beyond the horizon the last hazard per day goes on.
        """
        levels = np.broadcast_to(np.asarray(level, dtype=np.float64), (len(curves),))
        grid, known = np.r_[0.0, self.edges_], np.column_stack([np.zeros(len(curves)), curves])
        place = np.minimum((known[:, 1:] < levels[:, None]).sum(axis=1), len(self.edges_) - 1)
        rows = np.arange(len(curves))
        low, high = known[rows, place], known[rows, place + 1]
        share = np.clip((levels - low) / np.maximum(high - low, _TINY), 0, 1)
        days = grid[place] + share * (grid[place + 1] - grid[place])
        later = levels > curves[:, -1]
        return np.asarray(np.minimum(np.where(later, self._beyond(known, levels), days), BEYOND), dtype=np.float64)

    def _beyond(self, known: Matrix, levels: Matrix) -> Matrix:
        left = np.maximum(1 - known[:, -1], _TINY)
        width = self.edges_[-1] - (self.edges_[-2] if len(self.edges_) > 1 else 0.0)
        pace = -np.log(np.clip(left / np.maximum(1 - known[:, -2], _TINY), _TINY, 1.0)) / width
        wait = np.log(left / np.maximum(1 - levels, _TINY)) / np.maximum(pace, _TINY)
        return np.asarray(self.edges_[-1] + np.maximum(wait, 0.0), dtype=np.float64)

    def share_until(self, curves: Matrix, days: Matrix) -> Matrix:
        """The probability of a purchase by the middle of the given day, at most the horizon; row by row."""
        grid, known = np.r_[0.0, self.edges_], np.column_stack([np.zeros(len(curves)), curves])
        asked = np.clip(days - 0.5, 0, self.edges_[-1])
        place = np.minimum(np.searchsorted(self.edges_, asked, side="left"), len(self.edges_) - 1)
        rows = np.arange(len(curves))
        share = (asked - grid[place]) / (grid[place + 1] - grid[place])
        low, high = known[rows, place], known[rows, place + 1]
        return np.asarray(low + share * (high - low), dtype=np.float64)

    def among_buyers(self, curves: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """(low, median, high): days that hold 80 % and 50 % of those who buy within the horizon."""
        low, median, high = (self.quantile(curves, level * curves[:, -1]) for level in LEVELS)
        return low, median, high

    def interval(self, curves: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        """(low, median, high) of the days to the next purchase, whether it comes within the horizon or not."""
        low, median, high = (self.quantile(curves, level) for level in LEVELS)
        return low, median, high

    def link(self, X: Matrix) -> Matrix:
        """The logarithm of the median days: the scale on which features are weighed."""
        return np.asarray(np.log(self.interval(self.curves(X))[1] + 1), dtype=np.float64)


def _with_interval_columns(rows: Matrix, place: int) -> Matrix:
    """A column of 0 and 1 for each interval in place of its number."""
    steps = (rows[:, place : place + 1] == np.arange(INTERVALS)).astype(np.float64)
    return np.column_stack([rows[:, :place], rows[:, place + 1 :], steps])


def _log_odds(probability: Matrix) -> Matrix:
    p = np.clip(probability, _TINY, 1 - _TINY)
    return np.asarray(np.log(p / (1 - p)), dtype=np.float64)
