"""Gamma-Gamma: what a purchase of a client is worth, apart from how many there are."""

from __future__ import annotations

from typing import ClassVar, Self

import numpy as np
from scipy.special import digamma, gammaln
from sklearn.base import BaseEstimator

from perennial.scoring.btyd.histories import drawn, taken
from perennial.scoring.btyd.optimum import doubts, is_inside, maximum
from perennial.scoring.features import Matrix

_SHAPES = ((3.0, 3.0), (1.0, 2.0), (10.0, 5.0))  # p, q where searches begin
_BLOCK = 8192


class GammaGamma(BaseEstimator):
    """Gamma-Gamma model of Fader and Hardie (2013), "The Gamma-Gamma model of monetary value".

    A purchase is Gamma(p, rate nu), nu differs between clients as Gamma(q, rate v): the published gamma is `v` here.
    Rows of `X`: number of purchases and their mean spend. Rows without a purchase or without spend (gifts, all
    returned) tell nothing and are left out; `used_` is the weight of those that were fitted on.

    Above `max_rows` rows a seeded sample of so many is read and fitted (None: always all); `pilot_rows` and `seed` as
    in `purchases.PurchaseModel`. Attributes: `p_`, `q_`, `v_`, `theta_`, `errors_`, `log_likelihood_`, `used_`,
    `evaluations_`, `doubt_`, `converged_`, `is_usable_` (a maximum with a finite mean, though parameters may be open).
    """

    names: ClassVar[tuple[str, ...]] = ("p", "q", "v")

    def __init__(self, max_rows: int | None = 1_000_000, pilot_rows: int = 20_000, seed: int = 0) -> None:
        self.max_rows = max_rows
        self.pilot_rows = pilot_rows
        self.seed = seed

    def fit(self, X: Matrix, y: object = None, sample_weight: Matrix | None = None) -> Self:  # noqa: ARG002
        """Fit on rows x (purchases, mean spend). Raises ValueError for what is neither, and when nobody spent."""
        places = drawn(len(X), self.max_rows, self.seed)
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)[places]
        rows = _spenders(taken(X, places), weight)
        self.used_ = float(rows[2].sum())
        if not self.used_ > 0:
            raise ValueError("nobody spent anything: there is nothing to fit on")
        typical = float(np.log(rows[2] @ rows[1] / self.used_))
        scale = np.array([1.0, 1.0, typical])
        starts = [np.array([np.log(p), np.log(q), typical + np.log(q / p)]) for p, q in _SHAPES]
        objective = pilot = _Likelihood(*rows)
        if len(rows[0]) > self.pilot_rows:
            few = drawn(len(rows[0]), self.pilot_rows, self.seed)
            pilot = _Likelihood(*(values[few] for values in rows))
        found = maximum(objective, pilot, starts, scale, clients=self.used_)
        self._settle(found.theta)
        self.errors_, self.evaluations_ = found.errors, found.evaluations
        self.log_likelihood_ = found.value * self.used_
        self.doubt_ = doubts(found, self.names, scale) or self._without_mean()
        self.converged_ = self.doubt_ is None
        self.is_usable_ = is_inside(found, scale) and self.q_ > 1
        return self

    def with_parameters(self, **parameters: float) -> Self:
        """Set the parameters by hand, as a paper prints them. Raises ValueError for a missing, unknown or odd one."""
        if set(parameters) != set(self.names) or not all(0 < value < np.inf for value in parameters.values()):
            raise ValueError(f"positive numbers are needed for {', '.join(self.names)}")
        self._settle(np.log([parameters[name] for name in self.names]))
        return self

    def _settle(self, theta: Matrix) -> None:
        self.theta_ = np.asarray(theta, dtype=np.float64)
        self.p_, self.q_, self.v_ = (float(value) for value in np.exp(self.theta_))

    def _without_mean(self) -> str | None:
        return None if self.q_ > 1 else f"q is {self.q_:.3g}: at 1 or below, the mean spend of all clients is infinite"

    @property
    def parameters_(self) -> dict[str, float]:
        """The fitted parameters by name."""
        return {name: float(getattr(self, f"{name}_")) for name in self.names}

    def gradient(self, X: Matrix, theta: Matrix, sample_weight: Matrix | None = None) -> tuple[float, Matrix]:
        """Mean log-likelihood per spender at the logs of any parameters, and its exact gradient by them."""
        return _Likelihood(*_spenders(X, sample_weight))(np.asarray(theta, dtype=np.float64))

    def predict(self, X: Matrix) -> Matrix:
        """Expected spend per purchase (eq. 5): the client's own mean, drawn towards that of all by how little is known.

        Without a purchase or spend it is the mean of all clients, NaN where that is infinite (q <= 1).
        """
        x, mean = _checked(X)
        known = (x > 0) & (mean > 0)
        count = np.where(known, x, 0.0)
        below = self.p_ * count + self.q_ - 1
        spent = self.v_ + count * np.where(known, mean, 0.0)
        return np.where(below > 0, self.p_ * spent / np.where(below > 0, below, 1.0), np.nan)


def _checked(X: Matrix) -> tuple[Matrix, Matrix]:
    given = np.asarray(X, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != 2:  # noqa: PLR2004
        raise ValueError(f"expected rows x (purchases, mean spend), got a matrix of {given.shape}")
    x, mean = np.ascontiguousarray(given[:, 0]), np.ascontiguousarray(given[:, 1])
    wrong = int(np.count_nonzero(~np.isfinite(x) | (x < 0) | ((x > 0) & ~np.isfinite(mean))))
    if wrong:
        raise ValueError(f"{wrong} of {len(x)} rows have no finite mean spend or no count of 0 or more purchases")
    return x, mean


def _spenders(X: Matrix, sample_weight: Matrix | None) -> tuple[Matrix, Matrix, Matrix]:
    x, mean = _checked(X)
    weight = np.ones(len(x)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != x.shape or not (weight >= 0).all():
        raise ValueError(f"{len(x)} rows need as many weights of 0 or more")
    rows = (x > 0) & (mean > 0)
    return x[rows], mean[rows], weight[rows]


class _Likelihood:
    """Eq. 1a. Gamma functions are taken once per distinct count, logarithms of spend once for all searches."""

    def __init__(self, x: Matrix, mean: Matrix, weight: Matrix) -> None:
        self.x, self.spent, self.weight = x, x * mean, weight / weight.sum()
        self.counts, place = np.unique(x, return_inverse=True)
        self.counted = np.bincount(place, self.weight)
        self.mean_log = float(self.weight @ np.log(mean))
        self.log_spent = float((self.weight * x) @ np.log(self.spent))

    def __call__(self, theta: Matrix) -> tuple[float, Matrix]:
        p, q, v = np.exp(theta)
        n, px = self.counted, p * self.counts
        own = digamma(px + q)
        logs = n @ (gammaln(px + q) - gammaln(px)) - gammaln(q) + q * np.log(v) + p * self.log_spent - self.mean_log
        by_p = n @ (self.counts * (own - digamma(px))) + self.log_spent
        by_q = n @ own - digamma(q) + np.log(v)
        value, of_p, of_q, of_v = self._rows(p, q, v)
        return float(logs - value), np.array([(by_p - of_p) * p, (by_q - of_q) * q, (q / v - of_v) * v])

    def _rows(self, p: float, q: float, v: float) -> Matrix:
        """Weighted sums of (p x + q) log(v + spent), of its derivatives by p and q, and of (p x + q) / (v + spent)."""
        sums = np.zeros(3)
        for low in range(0, len(self.x), _BLOCK):
            part = slice(low, low + _BLOCK)
            x, weight, total = self.x[part], self.weight[part], v + self.spent[part]
            weighed = weight * np.log(total)
            sums += (x @ weighed, weighed.sum(), (weight * (p * x + q)) @ (1 / total))
        by_p, by_q, by_v = sums
        return np.array([p * by_p + q * by_q, by_p, by_q, by_v])
