"""How many clients a test needs, and what the smallest difference is that it can show: before it starts (L20).

Two-sided tests by the normal approximation. Two proportions: Fleiss, Levin and Paik 2003, "Statistical Methods for
Rates and Proportions", eq. 4.14 without the correction for continuity; two means: the same with equal variances.
`ratio` is clients in control for each in target.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

ALPHA, POWER = 0.05, 0.8
_PRECISION = 1e-10


@dataclass(frozen=True)
class Size:
    """Clients that a test needs."""

    target: int
    control: int


def _quantiles(alpha: float, power: float) -> tuple[float, float]:
    normal = NormalDist()
    return normal.inv_cdf(1 - alpha / 2), normal.inv_cdf(power)


def size_for_proportions(
    base: float, difference: float, *, ratio: float = 1.0, alpha: float = ALPHA, power: float = POWER
) -> Size:
    """Clients for a difference between two shares, `base` in control and `base + difference` in target.

    Raises ValueError when a share is not between 0 and 1, or the difference is nothing.
    """
    other = base + difference
    if not (0 < base < 1 and 0 < other < 1) or difference == 0:
        raise ValueError(f"shares {base} and {other}: both must lie between 0 and 1, and differ")
    z_alpha, z_power = _quantiles(alpha, power)
    pooled = (other + ratio * base) / (1 + ratio)
    spread_none = math.sqrt((1 + 1 / ratio) * pooled * (1 - pooled))
    spread = math.sqrt(other * (1 - other) + base * (1 - base) / ratio)
    needed = ((z_alpha * spread_none + z_power * spread) / difference) ** 2
    return Size(math.ceil(needed), math.ceil(needed * ratio))


def least_difference_of_proportions(
    base: float, target: int, control: int, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest increase over `base` that so many clients show; infinite when even an increase to 1 is too small."""
    if not target or not control or not 0 < base < 1:
        return math.inf
    low, high = _PRECISION, 1 - base - _PRECISION
    ratio = control / target
    if size_for_proportions(base, high, ratio=ratio, alpha=alpha, power=power).target > target:
        return math.inf
    while high - low > _PRECISION:
        middle = (low + high) / 2
        if size_for_proportions(base, middle, ratio=ratio, alpha=alpha, power=power).target > target:
            low = middle
        else:
            high = middle
    return high


def least_difference_of_means(
    deviation: float, target: int, control: int, *, alpha: float = ALPHA, power: float = POWER
) -> float:
    """The smallest difference between two means that so many clients show; `deviation` is of single clients."""
    if not target or not control:
        return math.inf
    return sum(_quantiles(alpha, power)) * deviation * math.sqrt(1 / target + 1 / control)


def size_for_means(
    deviation: float, difference: float, *, ratio: float = 1.0, alpha: float = ALPHA, power: float = POWER
) -> Size:
    """Clients for a difference between two means. Raises ValueError when the difference is nothing."""
    if difference == 0:
        raise ValueError("a difference of nothing has no sample size")
    needed = (sum(_quantiles(alpha, power)) * deviation / difference) ** 2 * (1 + 1 / ratio)
    return Size(math.ceil(needed), math.ceil(needed * ratio))


def in_words(*, target: int, control: int, deviation: float, expected: float, currency: str) -> str | None:
    """What a test of so many clients can show against what the card expects; None without a control group or a spread.

    `deviation` (of single clients) and `expected` (difference per client) are margins in the currency.
    """
    if not control or not target or deviation <= 0:
        return None
    least = least_difference_of_means(deviation, target, control)
    clients = f"{target:,} in target, {control:,} in control"
    shows = f"shows a difference of {least:,.2f} {currency} a client or more, {expected:,.2f} expected"
    if expected >= least:
        return f"{clients}: {shows}"
    if expected <= 0:
        return f"{clients}: {shows}: the card expects no effect that a test could show"
    need = size_for_means(deviation, expected, ratio=control / target)
    return f"{clients}: too small a test: it {shows}; it needs {need.target:,} and {need.control:,}"
