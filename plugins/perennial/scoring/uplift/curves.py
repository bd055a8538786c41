"""Qini curve and coefficient, AUUC, uplift by decile: each with its definition, for libraries normalise differently.

Clients are ordered by the score, highest first; clients of an equal score enter together. For the first k clients,
R1, R0 are the sums of the outcome of treated and control among them, and N1, N0 their numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from perennial.scoring.features import Matrix
from perennial.scoring.uplift.arms import check_arms, check_scores

_TINY = 1e-12


@dataclass(frozen=True)
class Curve:
    """Points of a curve: `clients` that were counted in so far, and `gain` at that many, both from 0 on."""

    clients: Matrix
    gain: Matrix

    def area(self) -> float:
        """Area between the curve and the straight line from its first to its last point (trapezoids)."""
        whole = float(np.trapezoid(self.gain, self.clients))
        return whole - float(self.clients[-1] * self.gain[-1]) / 2


@dataclass(frozen=True)
class _Counted:
    clients: Matrix
    treated: Matrix
    control: Matrix
    of_treated: Matrix
    of_control: Matrix


def _counted(outcome: Matrix, score: Matrix, treatment: Matrix) -> _Counted:
    check_arms(outcome, treatment, score)
    check_scores(score)
    order = np.argsort(-score, kind="stable")
    ordered, arm, gained = score[order], treatment[order].astype(np.float64), outcome[order].astype(np.float64)
    last_of_tie = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    treated = np.cumsum(arm)[last_of_tie]
    return _Counted(
        clients=last_of_tie + 1.0,
        treated=treated,
        control=last_of_tie + 1.0 - treated,
        of_treated=np.cumsum(gained * arm)[last_of_tie],
        of_control=np.cumsum(gained * (1 - arm))[last_of_tie],
    )


def _share(part: Matrix, whole: Matrix) -> Matrix:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def qini_curve(outcome: Matrix, score: Matrix, treatment: Matrix) -> Curve:
    """Incremental outcomes among the first k: R1 - R0 N1 / N0 (Radcliffe 2007, "Using control groups to target").

    Arrays of equal length; the gain is in the outcome's unit, of the treated. Raises ValueError for other shapes.
    """
    n = _counted(outcome, score, treatment)
    gain = n.of_treated - n.of_control * _share(n.treated, n.control)
    return Curve(np.append(0.0, n.clients), np.append(0.0, gain))


def uplift_curve(outcome: Matrix, score: Matrix, treatment: Matrix) -> Curve:
    """Effect among the first k, times k: (R1 / N1 - R0 / N0) (N1 + N0) (Rzepakowski and Jaroszewicz 2012)."""
    n = _counted(outcome, score, treatment)
    gain = (_share(n.of_treated, n.treated) - _share(n.of_control, n.control)) * n.clients
    return Curve(np.append(0.0, n.clients), np.append(0.0, gain))


def perfect_score(outcome: Matrix, treatment: Matrix) -> Matrix:
    """The order that no model can pass: treated with the outcome first, control with it last (negative effects count).

    For outcomes of any size: +outcome for treated, -outcome for control.
    """
    return np.asarray(outcome * np.where(treatment == 1, 1.0, -1.0), dtype=np.float64)


def perfect_area(outcome: Matrix, treatment: Matrix) -> float:
    """The area of the perfect order's Qini curve above the line of chance: what coefficients are divided by."""
    return qini_curve(outcome, perfect_score(outcome, treatment), treatment).area()


def qini_coefficient(outcome: Matrix, score: Matrix, treatment: Matrix, *, perfect: float | None = None) -> float:
    """Area between the Qini curve and the straight line of chance, over the same area of the perfect curve.

    0 is chance, 1 cannot be passed; the perfect order is `perfect_score` (negative effects count), as in goals.md and
    in scikit-uplift's `qini_auc_score`. NaN where nothing could be gained by any order. `perfect`: `perfect_area` of
    the same clients, where many scores of them are judged.
    """
    perfect = perfect_area(outcome, treatment) if perfect is None else perfect
    return qini_curve(outcome, score, treatment).area() / perfect if perfect > _TINY else float("nan")


def auuc(outcome: Matrix, score: Matrix, treatment: Matrix) -> float:
    """Area under the uplift curve over n squared, not normalised: the mean over k of (effect among the first k) k / n.

    In the outcome's unit per client; a random order gives half the average effect. Comparable between models of the
    same clients only.
    """
    curve = uplift_curve(outcome, score, treatment)
    return float(np.trapezoid(curve.gain, curve.clients) / curve.clients[-1] ** 2)


@dataclass(frozen=True)
class Class:
    """A tenth of the clients by score: mean score, observed effect and its interval (NaN without both arms)."""

    clients: int
    treated: int
    control: int
    predicted: float
    effect: float
    low: float
    high: float


def uplift_by_decile(
    outcome: Matrix, score: Matrix, treatment: Matrix, *, bins: int = 10, level: float = 0.95
) -> list[Class]:
    """Observed effect by tenths of the clients, highest score first, with the normal interval at `level`.

    Effect: mean of the treated less mean of the control in the tenth; error sqrt(var_1/n_1 + var_0/n_0). A tenth with
    fewer than two clients of an arm has NaN for effect and interval.
    """
    check_arms(outcome, treatment, score)
    check_scores(score)
    bins = min(bins, len(score))
    place = np.empty(len(score), dtype=np.int64)
    place[np.argsort(-score, kind="stable")] = np.arange(len(score)) * bins // len(score)
    means, errors, sizes = [], [], []
    for arm in (1, 0):
        inside = treatment == arm
        size = np.bincount(place[inside], minlength=bins).astype(np.float64)
        total = np.bincount(place[inside], weights=outcome[inside], minlength=bins)
        square = np.bincount(place[inside], weights=outcome[inside] ** 2, minlength=bins)
        mean = total / np.where(size > 0, size, np.nan)
        variance = (square - size * mean**2) / np.where(size > 1, size - 1, np.nan)
        means.append(mean)
        errors.append(np.maximum(variance, 0.0) / size.clip(1))
        sizes.append(size)
    effect = np.where(np.isnan(errors[0] + errors[1]), np.nan, means[0] - means[1])
    reach = norm.ppf(0.5 + level / 2) * np.sqrt(errors[0] + errors[1])
    predicted = np.bincount(place, weights=score, minlength=bins) / np.bincount(place, minlength=bins)
    found = zip(sizes[0], sizes[1], predicted, effect, effect - reach, effect + reach, strict=True)
    return [Class(int(t + c), int(t), int(c), *map(float, rest)) for t, c, *rest in found]
