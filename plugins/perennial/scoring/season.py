"""The level of a score in the season that is asked for: what followed in the same window of the year before.

How many clients buy within a horizon moves with the season by more than any feature tells. What is known of the coming
window before it begins is the same window a year (52 weeks) earlier: clients as they stood then, and what they did. A
small model is fitted on those rows alone and asked for today's clients; its mean is the level to which the score's own
model is moved. Clients are compared by what could be seen then: with 90 days of history a year ago only windows up to
90 days, and clients silent for less, are *comparable*; the others move by as much on the model's scale. A shop changes
from year to year: of what the same procedure missed a horizon ago half is taken over (one observation of a trend is
as likely noise). Without such a window, or with too few clients in it, there is no correction.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import LogisticRegression, TweedieRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from perennial.scoring.cuts import YEAR
from perennial.scoring.features import Matrix, SeenRange, signed_log, window_days
from perennial.scoring.frames import Frame
from perennial.scoring.links import expit, level

TREND_SHARE = 0.5
MIN_COMPARABLE = 100
_TINY = 1e-9
_SEEN = re.compile(r"^(orders|revenue)_\d+d$")

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Level:
    """What a score's mean over comparable clients should be, and which those are.

    `reach`: days of silence below which a client is comparable; `trend`: what was added for the change since then, on
    the link scale; `clients`: how many it was learned from, as of `learned_at`.
    """

    reach: float
    expected: float
    trend: float
    clients: int
    learned_at: date


class SameWindow(ABC):
    """Learns what followed in the window of a year ago, and says what it means for clients of today.

    `X` are rows x features, then history_days. Attributes: `reach_` (days of history then), `places_`.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = tuple(names)
        self.recency = self.names.index("recency_days")

    def fit(self, X: Matrix, y: Matrix) -> Self:
        """Clients of a year ago, and what they did."""
        self.reach_ = float(X[:, -1].min())
        windows = {i: window_days(n) or 0 for i, n in enumerate(self.names) if _SEEN.match(n)}
        self.places_ = [self.recency, *(i for i, days in windows.items() if days <= self.reach_)]
        self._learn(X, y)
        return self

    def comparable(self, X: Matrix) -> Mask:
        """Which clients were silent for fewer days than there was history a year ago."""
        return np.asarray(X[:, self.recency] < self.reach_)

    @abstractmethod
    def _learn(self, X: Matrix, y: Matrix) -> None: ...

    @abstractmethod
    def error(self, X: Matrix, y: Matrix) -> float:
        """How far the outcomes of comparable clients lay above what was expected, on the link scale."""

    @abstractmethod
    def expected(self, X: Matrix, trend: float) -> float:
        """The mean outcome of the comparable clients of `X`."""


class SameChance(SameWindow):
    """The chance of the outcome 1: a logistic regression on logs of recency and of the windows that were full."""

    def _learn(self, X: Matrix, y: Matrix) -> None:
        logistic = LogisticRegression(C=0.02, max_iter=2000)
        steps: list[tuple[str, Any]] = [("log", FunctionTransformer(signed_log)), ("scale", StandardScaler())]
        self.model_ = Pipeline([*steps, ("model", logistic)]).fit(X[:, self.places_], y.astype(np.int64))

    def error(self, X: Matrix, y: Matrix) -> float:
        """Log-odds by which the mean has to be moved to be what was observed."""
        here = self.comparable(X)
        return level(self._log_odds(X[here]), float((y[here].sum() + 0.5) / (here.sum() + 1)))

    def expected(self, X: Matrix, trend: float) -> float:
        """Mean probability."""
        return float(expit(self._log_odds(X[self.comparable(X)]) + trend).mean())

    def _log_odds(self, X: Matrix) -> Matrix:
        return np.asarray(self.model_.decision_function(X[:, self.places_]), dtype=np.float64)


class SameSpend(SameWindow):
    """What is spent: a Tweedie regression (power 1.5, log link) on logs of recency and of the windows that were full.

    On nine short windows of Online Retail II before its first reported cut it missed by 15 % on average, the ratio of
    the window to the four weeks before it, as a year ago, by 26 %.
    """

    def _learn(self, X: Matrix, y: Matrix) -> None:
        tweedie = TweedieRegressor(power=1.5, link="log", alpha=0.1, max_iter=1000)
        logs, seen = ("log", FunctionTransformer(signed_log)), ("seen", SeenRange())
        self.mean_ = float(y.mean())
        self.model_ = Pipeline([logs, seen, ("scale", StandardScaler()), ("model", tweedie)])
        self.model_.fit(X[:, self.places_], y / self.mean_)

    def error(self, X: Matrix, y: Matrix) -> float:
        """Log of observed over expected total."""
        here = self.comparable(X)
        return float(np.log(max(float(y[here].sum()), _TINY) / max(float(self._amounts(X[here]).sum()), _TINY)))

    def expected(self, X: Matrix, trend: float) -> float:
        """Mean amount."""
        return float(np.exp(trend) * self._amounts(X[self.comparable(X)]).mean())

    def _amounts(self, X: Matrix) -> Matrix:
        return np.asarray(self.model_.predict(X[:, self.places_]) * self.mean_, dtype=np.float64)


@dataclass(frozen=True)
class Season:
    """Labelled rows of a year before (`cuts.season_targets`), and of the past cuts (`known`), clients with an order.

    `make` gives an unfitted SameWindow, `truth` the outcome of a label, `too_little` a sentence when that teaches
    nothing.
    """

    rows: Frame
    known: Frame
    horizon_days: int
    make: Callable[[], SameWindow]
    truth: Callable[[Matrix], Matrix]
    too_little: Callable[[Matrix], str | None]

    def level(self, target: date, X: Matrix) -> Level | None:
        """What is expected of the clients `X` at `target`; None without such a window or with too few clients in it."""
        same = self._fitted(target - YEAR)
        if same is None or int(same.comparable(X).sum()) < MIN_COMPARABLE:
            return None
        trend = self._trend(target - timedelta(days=self.horizon_days))
        clients = len(self.rows.of((target - YEAR,)))
        return Level(same.reach_, same.expected(X, trend), trend, clients, target - YEAR)

    def _fitted(self, day: date) -> SameWindow | None:
        rows = self.rows.of((day,))
        truth = self.truth(rows.label)
        if len(rows) < MIN_COMPARABLE or self.too_little(truth):
            return None
        return self.make().fit(rows.X, truth)

    def _trend(self, last: date) -> float:
        """Half of what the procedure missed at `last`, the newest cut whose outcome is known at the target."""
        same, later = self._fitted(last - YEAR), self.known.of((last,))
        if same is None or int(same.comparable(later.X).sum()) < MIN_COMPARABLE:
            return 0.0
        return TREND_SHARE * same.error(later.X, self.truth(later.label))
