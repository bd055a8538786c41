"""What the models of purchase counts share: fitting on distinct histories, and what is asked of a fitted model."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from perennial.scoring.btyd.histories import Histories, Keys, blocks, distinct, drawn, histories_of, sample, taken
from perennial.scoring.btyd.optimum import Objective, doubts, is_inside, maximum
from perennial.scoring.features import Matrix

_DISCOUNT_NODES, _DISCOUNT_WEIGHTS = np.polynomial.legendre.leggauss(5)


class PurchaseModel(BaseEstimator):
    """A model of repeat purchases by clients who may silently leave for good, fitted by maximum likelihood.

    Rows of `X` are clients (or distinct histories, with `sample_weight`): x, t_x and T of `histories.Histories`, in one
    unit of time, which the parameters then have too. Above `max_rows` rows a seeded sample of so many is read and
    fitted: the parameters of a million clients are known to a percent or better. None: always all of them. Searches
    start on `pilot_rows` rows; `seed` draws both.

    Attributes: the parameters (`names`, each with an underscore), `theta_` (their logs), `errors_` (standard errors of
    the logs), `log_likelihood_` (of all clients' weight), `clients_`, `rows_` (distinct ones fitted on),
    `evaluations_`, `doubt_` (a sentence when the parameters are not to be trusted, else None), `converged_` (no doubt)
    and `is_inside_` (a maximum was reached within the range of parameters, though some may be open).
    """

    names: ClassVar[tuple[str, ...]] = ()

    def __init__(self, max_rows: int | None = 1_000_000, pilot_rows: int = 20_000, seed: int = 0) -> None:
        self.max_rows = max_rows
        self.pilot_rows = pilot_rows
        self.seed = seed

    def fit(self, X: Matrix, y: object = None, sample_weight: Matrix | None = None) -> Self:  # noqa: ARG002
        """Fit on rows x (x, t_x, T). Raises ValueError for what is no history, and when there is none with weight.

        What the data do not settle is no error: `converged_` is false then and `doubt_` says why.
        """
        given, total = self._given(X, sample_weight)
        if not total > 0:
            raise ValueError("no history to fit on")
        rows = distinct(given)
        scale, starts = self._starts(rows)
        objective = self._objective(rows)
        pilot = sample(rows, self.pilot_rows, self.seed)
        found = maximum(objective, objective if pilot is rows else self._objective(pilot), starts, scale, clients=total)
        self._settle(found.theta)
        self.errors_, self.evaluations_ = found.errors, found.evaluations
        self.clients_, self.rows_ = total, len(rows)
        self.log_likelihood_ = found.value * total
        self.doubt_ = doubts(found, self.names, scale)
        self.converged_ = self.doubt_ is None
        self.is_inside_ = is_inside(found, scale)
        return self

    def _given(self, X: Matrix, sample_weight: Matrix | None) -> tuple[Histories, float]:
        """The rows to fit on, checked, and the weight of all."""
        places = drawn(len(X), self.max_rows, self.seed)
        total = float(len(X) if sample_weight is None else np.sum(sample_weight))
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)[places]
        return histories_of(taken(X, places), weight), total

    def with_parameters(self, **parameters: float) -> Self:
        """Set the parameters by hand, as a paper prints them. Raises ValueError for a missing, unknown or odd one."""
        if set(parameters) != set(self.names) or not all(0 < value < np.inf for value in parameters.values()):
            raise ValueError(f"positive numbers are needed for {', '.join(self.names)}")
        self._settle(np.log([parameters[name] for name in self.names]))
        return self

    def _settle(self, theta: Matrix) -> None:
        self.theta_ = np.asarray(theta, dtype=np.float64)
        for name, value in zip(self.names, np.exp(self.theta_), strict=True):
            setattr(self, f"{name}_", float(value))

    @property
    def parameters_(self) -> dict[str, float]:
        """The fitted parameters by name."""
        return {name: float(getattr(self, f"{name}_")) for name in self.names}

    def score(self, X: Matrix, y: object = None, sample_weight: Matrix | None = None) -> float:  # noqa: ARG002
        """Mean log-likelihood per client."""
        return self._objective(histories_of(X, sample_weight))(self.theta_)[0]

    def gradient(self, X: Matrix, theta: Matrix, sample_weight: Matrix | None = None) -> tuple[float, Matrix]:
        """Mean log-likelihood per client at the logs of any parameters, and its exact gradient by them."""
        return self._objective(histories_of(X, sample_weight))(np.asarray(theta, dtype=np.float64))

    def p_alive(self, X: Matrix) -> Matrix:
        """Chance that the client has not left for good."""
        return self._alive(histories_of(X))

    def expected_purchases(self, X: Matrix, horizon: float) -> Matrix:
        """Expected purchases within `horizon` after T, given the history. Zero for horizon 0."""
        return self.expected_purchases_at(X, (horizon,))[:, 0]

    def expected_purchases_at(self, X: Matrix, horizons: tuple[float, ...], *, rate_per_unit: float = 0.0) -> Matrix:
        """Rows x horizons: `expected_purchases` for several horizons at little more than the cost of one.

        With a rate, a purchase t after T counts e^(-rate_per_unit * t).
        """
        histories = histories_of(X)
        pairs = _Pairs.of(histories)
        future = [self._discounted(pairs.rows, _checked(horizon), rate_per_unit) for horizon in horizons]
        return self._times_alive(histories, pairs, future)

    def _times_alive(self, histories: Histories, pairs: _Pairs, future: Sequence[Matrix]) -> Matrix:
        """Each future, looked up by place, times the chance of being alive; in blocks that stay in the cache."""
        found = np.empty((len(histories), len(future)), order="F")
        for rows in blocks(len(histories)):
            place, alive = pairs.place(histories, rows), self._alive(histories.at(rows))
            for column, counts in enumerate(future):
                found[rows, column] = alive * counts[place]
        return found

    def _discounted(self, pairs: Histories, horizon: float, rate: float) -> Matrix:
        """By parts: e^(-rate h) E(h) + rate * integral of e^(-rate t) E(t), by Gauss-Legendre on five points."""
        found: Matrix = self._future(pairs, horizon)
        if rate == 0:
            return found
        found = found * np.exp(-rate * horizon)
        times = horizon * (_DISCOUNT_NODES + 1) / 2
        for t, weight in zip(times, _DISCOUNT_WEIGHTS * rate * horizon / 2, strict=True):
            found += weight * np.exp(-rate * t) * self._future(pairs, float(t))
        return found

    def p_any(self, X: Matrix, horizon: float) -> Matrix:
        """P(X(horizon) >= 1): chance of at least one purchase within `horizon` after T, given the history."""
        histories = histories_of(X)
        pairs = _Pairs.of(histories)
        return self._times_alive(histories, pairs, [self._any(pairs.rows, _checked(horizon))])[:, 0]

    def predict(self, X: Matrix, horizon: float) -> Matrix:
        """`expected_purchases`."""
        return self.expected_purchases(X, horizon)

    def expected_cumulative(self, times: Matrix) -> Matrix:
        """Expected repeat purchases of a new client up to each time since her first purchase (0 before it)."""
        since = np.maximum(np.asarray(times, dtype=np.float64), 0.0)
        distinct_times, place = np.unique(since, return_inverse=True)
        return self._new_client(distinct_times)[place.reshape(since.shape)]

    @abstractmethod
    def _starts(self, rows: Histories) -> tuple[Matrix, list[Matrix]]:
        """Logs of the parameters' order of size, and where searches begin."""

    @abstractmethod
    def _objective(self, rows: Histories) -> Objective:
        """Mean log-likelihood with its gradient, of the logs of the parameters."""

    @abstractmethod
    def _alive(self, histories: Histories) -> Matrix: ...

    @abstractmethod
    def _future(self, histories: Histories, horizon: float) -> Matrix:
        """Expected purchases of a client who is alive at T."""

    @abstractmethod
    def _any(self, histories: Histories, horizon: float) -> Matrix:
        """Chance of a purchase of a client who is alive at T."""

    @abstractmethod
    def _new_client(self, times: Matrix) -> Matrix: ...


def _checked(horizon: float) -> float:
    if not 0 <= horizon < np.inf:
        raise ValueError("a horizon is a finite number, 0 or more")
    return float(horizon)


@dataclass(frozen=True)
class _Pairs:
    """The distinct (x, T), on which alone the future of a client who is alive depends: `rows`, and how to find them.

    `number` gives, for x * `width` + T in whole days, the place in `rows`; None: the rows are all of them, in order.
    """

    rows: Histories
    number: Keys | None
    width: int

    @classmethod
    def of(cls, histories: Histories) -> _Pairs:
        """In blocks, so that no further column as long as the histories is made."""
        width = int(histories.T.max(initial=0.0)) + 1
        cells = (histories.x.max(initial=0.0) + 1) * width
        if not len(histories) or cells > 4 * len(histories) + 1e6 or not _whole(histories.T):
            return cls(histories, None, width)
        there = np.zeros(int(cells), dtype=np.bool_)
        for rows in blocks(len(histories)):
            there[_codes(histories.at(rows), width)] = True
        codes = np.flatnonzero(there)
        number = np.zeros(int(cells), dtype=np.int64)
        number[codes] = np.arange(len(codes))
        x, age = (part.astype(np.float64) for part in np.divmod(codes, width))
        return cls(Histories(x, age, age, np.ones(len(codes))), number, width)

    def place(self, histories: Histories, rows: slice) -> Keys | slice:
        """Where the pairs of these rows stand."""
        return rows if self.number is None else self.number[_codes(histories.at(rows), self.width)]


def _codes(histories: Histories, width: int) -> Keys:
    return np.asarray((histories.x * width + histories.T).astype(np.int64))


def _whole(values: Matrix) -> bool:
    return all(bool((values[rows] == np.floor(values[rows])).all()) for rows in blocks(len(values)))
