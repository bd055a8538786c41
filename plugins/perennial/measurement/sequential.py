"""Looking every day without breaking the level: intervals that hold at all looks together, and the split of the level.

The interval is the normal mixture of Robbins as an asymptotic confidence sequence: Waudby-Smith, Arbour, Sinha, Kennedy
and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences", theorem 2.2, written in the
information 1 / error^2; its tuning is that of Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", section 3.5.

It holds for a sequence of clients whose outcomes do not change any more: at each look the clients whose window has
closed, in the order of their assignment. Outcomes that still grow have no independent increments and are shown
without a verdict.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import lambertw

from perennial.measurement.effects import LEVEL, Effect

# What the looks before the end may spend of the level; the end gets the rest (together not above it, by Bonferroni).
LOOKS_SHARE = 0.2


@dataclass(frozen=True)
class Levels:
    """How the level is split: `looks` for all interim looks together, `end` for the final one."""

    looks: float
    end: float


def split(*, level: float = LEVEL, has_end: bool = True, has_looks: bool = True) -> Levels:
    """A campaign without an end has only looks, and one whose windows all close on a day only an end."""
    if not has_end:
        return Levels(level, 0.0)
    if not has_looks:
        return Levels(0.0, level)
    return Levels(LOOKS_SHARE * level, (1 - LOOKS_SHARE) * level)


def always_valid(effect: Effect, *, planned_error: float, level: float) -> Effect:
    """The effect with an interval that holds at every look with probability 1 - `level`.

    `planned_error`: the standard error at which the interval is to be tightest, fixed before the first look (of the
    planned size). Half width: sqrt((v + r) log((v + r) / (r level^2))) / v, with v = 1 / error^2. The p-value becomes
    the level at which the interval would just touch no difference (at most 1).
    """
    if effect.error <= 0 or planned_error <= 0:
        return effect
    information, rho = 1 / effect.error**2, mixing(planned_error, level)
    total = information + rho
    half = math.sqrt(total * math.log(total / (rho * level**2))) / information
    p_value = min(1.0, math.sqrt(total / rho) * math.exp(-((effect.difference * information) ** 2) / (2 * total)))
    low, high = effect.difference - half, effect.difference + half
    return Effect(effect.difference, effect.error, math.inf, low, high, level, p_value, effect.method, effect.gain)


def mixing(planned_error: float, level: float) -> float:
    """The variance of the mixture, in units of information, that makes the interval tightest at the planned error."""
    branch = float(lambertw(-(level**2) / math.e, k=-1).real)
    return (1 / planned_error**2) / (-branch - 1)
