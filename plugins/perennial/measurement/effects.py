"""The difference that a campaign made per client, with an interval, and with less noise by the time before (CUPED).

Every figure is of clients as assigned (L8): who was to be contacted counts in target, reached or not.

Spend has a heavy tail, and a control group is small: then Welch's interval holds the truth too seldom (88 % of 95 with
300 clients of whom 30 are in control, simulated), because a small group that missed the few large orders also shows a
small variance. Two ways keep the level, and the interval takes the one that fits: Welch where the arms are about equal
(the tails cancel) or large enough for their skew, else the variance of both arms together, which is what they share
unless the campaign changed it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scipy.special import stdtr, stdtrit

from perennial.measurement.moments import Moments

Method = Literal["welch", "pooled"]
LEVEL = 0.05  # 1 - the confidence of an interval
# Clients that an arm needs for its mean to be as good as normal, by the square of the skew: Kohavi, Deng, Longbotham,
# Xu 2014, "Seven rules of thumb for web site experimenters", rule 7, say 355 for one mean; of a difference 100 will do.
_CLIENTS_PER_SQUARE_OF_SKEW = 100
_ABOUT_EQUAL = 1.5  # times the other arm
# Fewer clients in an arm than this: the slope on the time before is a guess that adds noise.
_LEAST_FOR_CUPED = 50
_LEAST = 2


@dataclass(frozen=True)
class Effect:
    """A difference per client (target minus control) with its interval at confidence 1 - `level`.

    `gain` is the share of the variance that the time before took off (0 without it); `freedom` the degrees of freedom
    of Student's distribution; `p_value` two-sided, against no difference.
    """

    difference: float
    error: float  # standard error
    freedom: float
    low: float
    high: float
    level: float
    p_value: float
    method: Method
    gain: float = 0.0

    @property
    def separated(self) -> bool:
        """Whether the interval leaves no difference out."""
        return self.low > 0 or self.high < 0

    def at(self, level: float) -> Effect:
        """The same difference with an interval at another level."""
        return _interval(self.difference, (self.error, self.freedom, self.method), level=level, gain=self.gain)


_Noise = tuple[float, float, Method]


def measurable(target: Moments, control: Moments) -> bool:
    """Whether there are clients enough on both sides for an interval at all."""
    return target.clients >= _LEAST and control.clients >= _LEAST


def difference(target: Moments, control: Moments, *, level: float = LEVEL) -> Effect:
    """Difference of two means: Welch 1947 (degrees of freedom by Satterthwaite), or Student with a common variance.

    Raises ValueError when an arm has fewer than two clients.
    """
    noise = _noise(target, control, method_for(target, control))
    return _interval(target.mean_y - control.mean_y, noise, level=level, gain=0.0)


def adjusted_difference(target: Moments, control: Moments, *, level: float = LEVEL) -> Effect:
    """The same difference, less what the time before explains of it; the plain one where that is not less noisy.

    theta minimises the variance of the adjusted difference, (cov_t / n_t + cov_c / n_c) / (var_t / n_t + var_c / n_c),
    which is the slope of Deng et al. 2013 for arms of unequal size. One degree of freedom is given for it.
    """
    plain = difference(target, control, level=level)
    theta = slope(target, control)
    if theta is None:
        return plain
    left, right = target.adjusted(theta), control.adjusted(theta)
    error, freedom, method = _noise(left, right, plain.method)
    if not 0 < error < plain.error:
        return plain
    noise = (error, max(freedom - 1, 1.0), method)
    return _interval(left.mean_y - right.mean_y, noise, level=level, gain=1 - (error / plain.error) ** 2)


def method_for(target: Moments, control: Moments) -> Method:
    """Welch where the arms are about equal or large enough for their skew, else the variance of both together."""
    if not measurable(target, control):
        found = f"{target.clients} clients in target, {control.clients} in control"
        raise ValueError(f"{found}: an interval needs two on each side")
    small, large = sorted((target.clients, control.clients))
    skew = max(abs(target.skew_y), abs(control.skew_y))
    is_tame = small >= _CLIENTS_PER_SQUARE_OF_SKEW * skew**2
    return "welch" if is_tame or large <= _ABOUT_EQUAL * small else "pooled"


def slope(target: Moments, control: Moments) -> float | None:
    """The slope on the time before that leaves least noise; None where it cannot be told or is not worth it."""
    if min(target.clients, control.clients) < _LEAST_FOR_CUPED:
        return None
    spread = target.var_x / target.clients + control.var_x / control.clients
    if spread <= 0:
        return None
    return (target.cov_xy / target.clients + control.cov_xy / control.clients) / spread


def holm(p_values: list[float]) -> list[float]:
    """P-values corrected for being several (Holm 1979), in the order given: compare each with the level itself."""
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, place in enumerate(order):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = running
    return corrected


def _interval(estimate: float, noise: _Noise, *, level: float, gain: float) -> Effect:
    error, freedom, method = noise
    half = float(stdtrit(freedom, 1 - level / 2)) * error if error else 0.0
    same = 1.0 if estimate == 0 else 0.0
    p_value = 2 * float(stdtr(freedom, -abs(estimate) / error)) if error else same
    return Effect(estimate, error, freedom, estimate - half, estimate + half, level, p_value, method, gain)


def _noise(target: Moments, control: Moments, method: Method) -> _Noise:
    """Standard error and degrees of freedom of the difference."""
    common = float(target.clients + control.clients - 2)
    if method == "pooled":
        inside = (target.clients - 1) * target.var_y + (control.clients - 1) * control.var_y
        return math.sqrt(inside / common * (1 / target.clients + 1 / control.clients)), common, method
    of_target, of_control = target.var_y / target.clients, control.var_y / control.clients
    below = of_target**2 / (target.clients - 1) + of_control**2 / (control.clients - 1)
    freedom = (of_target + of_control) ** 2 / below if below else common
    return math.sqrt(of_target + of_control), freedom, method
