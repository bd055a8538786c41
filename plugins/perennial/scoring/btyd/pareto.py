"""Pareto/NBD: clients buy at random and may leave for good at any time."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from scipy.special import digamma, gammaln

from perennial.scoring.btyd.bgnbd import typical_gap
from perennial.scoring.btyd.histories import Histories
from perennial.scoring.btyd.integrals import DropoutIntegral, dropout_integral, growth
from perennial.scoring.btyd.optimum import Objective
from perennial.scoring.btyd.purchases import PurchaseModel
from perennial.scoring.features import Matrix

_SHAPES = ((0.5, 0.5, 1.0), (1.0, 1.0, 3.0), (1.0, 0.3, 0.2))  # r, s, and beta over the mean time observed


class ParetoNBD(PurchaseModel):
    """Pareto/NBD of Schmittlein, Morrison and Colombo (1987), after Fader and Hardie (2005).

    Purchase rates are Gamma(r, rate alpha), rates of leaving are Gamma(s, rate beta). Where a history begins before its
    first recorded purchase (left truncation), nobody seems to leave: s / beta runs to zero or both to infinity. Then
    `converged_` is false and `doubt_` says so; `choose.purchase_model` falls back.
    """

    names: ClassVar[tuple[str, ...]] = ("r", "alpha", "s", "beta")

    def _starts(self, rows: Histories) -> tuple[Matrix, list[Matrix]]:
        pace, time = typical_gap(rows), float(rows.weight @ rows.T / rows.weight.sum()) or 1.0
        scale = np.array([0.0, np.log(pace), 0.0, np.log(time)])
        return scale, [np.log([r, r * pace, s, over * time]) for r, s, over in _SHAPES]

    def _objective(self, rows: Histories) -> Objective:
        return _Likelihood(rows)

    def _parts(self, histories: Histories) -> tuple[Matrix, Matrix]:
        """Logs of the likelihood's two terms, common factors left out: still there at T, left since t_x."""
        power = self.r_ + histories.x
        there = -power * np.log(self.alpha_ + histories.T) - self.s_ * np.log(self.beta_ + histories.T)
        left = dropout_integral(power, self.alpha_, self.s_, self.beta_, histories.t_x, histories.T)
        return there, left.log + np.log(self.s_)

    def _alive(self, histories: Histories) -> Matrix:
        there, left = self._parts(histories)
        return np.asarray(np.exp(there - np.logaddexp(there, left)), dtype=np.float64)

    def _future(self, histories: Histories, horizon: float) -> Matrix:
        """Eq. 41 of Fader and Hardie (2005) without the chance of being alive, through s = 1."""
        left = np.log1p(horizon / (self.beta_ + histories.T))
        rate = (self.r_ + histories.x) / (self.alpha_ + histories.T)
        return np.asarray(rate * (self.beta_ + histories.T) * growth(self.s_ - 1, left), dtype=np.float64)

    def _any(self, histories: Histories, horizon: float) -> Matrix:
        """One minus the chance of no purchase while alive: not left and none bought, or left before the first."""
        power, alpha, beta = self.r_ + histories.x, self.alpha_ + histories.T, self.beta_ + histories.T
        start, end = np.zeros(len(histories)), np.full(len(histories), horizon)
        before = dropout_integral(power, alpha, self.s_, beta, start, end).log
        left = np.exp(before + np.log(self.s_) + power * np.log(alpha) + self.s_ * np.log(beta))
        stayed = np.exp(-power * np.log1p(horizon / alpha) - self.s_ * np.log1p(horizon / beta))
        return np.asarray(np.clip(1 - stayed - left, 0.0, 1.0), dtype=np.float64)

    def _new_client(self, times: Matrix) -> Matrix:
        nobody = np.zeros(len(times))
        left = np.log1p(times / self.beta_)
        return np.asarray(self.r_ / self.alpha_ * self.beta_ * growth(self.s_ - 1, left) + nobody, dtype=np.float64)


class _Likelihood:
    """Fader and Hardie (2005), eq. 18, with the difference of two 2F1 as one integral of positive terms."""

    def __init__(self, rows: Histories) -> None:
        self.rows = rows
        self.weight = rows.weight / rows.weight.sum()
        self.counts, place = np.unique(rows.x, return_inverse=True)
        self.counted = np.bincount(place, self.weight)

    def __call__(self, theta: Matrix) -> tuple[float, Matrix]:
        r, alpha, s, beta = np.exp(theta)
        value, by = self._histories(r, alpha, s, beta)
        x, n = self.counts, self.counted
        value += n @ (gammaln(r + x) - gammaln(r)) + r * np.log(alpha) + s * np.log(beta)
        by += np.array([n @ (digamma(r + x) - digamma(r)) + np.log(alpha), r / alpha, np.log(beta), s / beta])
        return float(value), by * np.array([r, alpha, s, beta])

    def _histories(self, r: float, alpha: float, s: float, beta: float) -> tuple[float, Matrix]:
        rows, power = self.rows, r + self.rows.x
        to_alpha, to_beta = alpha + rows.T, beta + rows.T
        there = -power * np.log(to_alpha) - s * np.log(to_beta)
        integral = dropout_integral(power, alpha, s, beta, rows.t_x, rows.T)
        both = np.logaddexp(there, integral.log + np.log(s))
        stayed = self.weight * np.exp(there - both)
        gone = self.weight - stayed
        by_there = (-np.log(to_alpha), -power / to_alpha, -np.log(to_beta), -s / to_beta)
        by_left = _by_left(integral, power, s)
        by = np.array([stayed @ one + gone @ other for one, other in zip(by_there, by_left, strict=True)])
        return float(self.weight @ both), by


def _by_left(integral: DropoutIntegral, power: Matrix, s: float) -> tuple[Matrix, Matrix, Matrix, Matrix]:
    return (
        -integral.log_alpha,
        -power * integral.over_alpha,
        1 / s - integral.log_beta,
        -(s + 1) * integral.over_beta,
    )
