"""NBD: clients buy at random and never leave. What is left when histories do not show that anybody leaves."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import digamma, gammaln

from perennial.scoring.btyd.bgnbd import typical_gap
from perennial.scoring.btyd.histories import Histories
from perennial.scoring.btyd.optimum import Objective
from perennial.scoring.btyd.purchases import PurchaseModel
from perennial.scoring.features import Matrix


class NBD(PurchaseModel):
    """Negative binomial counts of Ehrenberg (1959): purchase rates are Gamma(r, rate alpha), nobody leaves.

    The limit of `BetaGeoNBD` and `ParetoNBD` without dropout, with likelihoods on the same scale. It never fails on
    histories with time observed: where all clients are alike, r ends at a large number, which is what is meant.
    """

    names: ClassVar[tuple[str, ...]] = ("r", "alpha")

    def _starts(self, rows: Histories) -> tuple[Matrix, list[Matrix]]:
        pace = typical_gap(rows)
        return np.array([0.0, np.log(pace)]), [np.log([r, r * pace]) for r in (0.3, 1.0)]

    def _objective(self, rows: Histories) -> Objective:
        return _Likelihood(rows)

    def _alive(self, histories: Histories) -> Matrix:
        return np.ones(len(histories))

    def _future(self, histories: Histories, horizon: float) -> Matrix:
        rate = (self.r_ + histories.x) / (self.alpha_ + histories.T)
        return np.asarray(rate * horizon, dtype=np.float64)

    def _any(self, histories: Histories, horizon: float) -> Matrix:
        z = horizon / (self.alpha_ + histories.T)
        return np.asarray(-np.expm1(-(self.r_ + histories.x) * np.log1p(z)), dtype=np.float64)

    def _new_client(self, times: Matrix) -> Matrix:
        return np.asarray(self.r_ / self.alpha_ * times, dtype=np.float64)


class _Likelihood:
    def __init__(self, rows: Histories) -> None:
        weight = rows.weight / rows.weight.sum()
        self.counts, place = np.unique(rows.x, return_inverse=True)
        self.counted = np.bincount(place, weight)
        self.ages, place = np.unique(rows.T, return_inverse=True)
        self.of_age = np.bincount(place, weight)
        self.bought = np.bincount(place, weight * rows.x)

    def __call__(self, theta: Matrix) -> tuple[float, Matrix]:
        r, alpha = np.exp(theta)
        powers, logs = r * self.of_age + self.bought, np.log(alpha + self.ages)
        value = self.counted @ (gammaln(r + self.counts) - gammaln(r)) + r * np.log(alpha) - powers @ logs
        by_r = self.counted @ (digamma(r + self.counts) - digamma(r)) + np.log(alpha) - self.of_age @ logs
        by_alpha = r / alpha - powers @ (1 / (alpha + self.ages))
        return float(value), np.array([by_r * r, by_alpha * alpha])
