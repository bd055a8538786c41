"""The plain verdict on a campaign: collecting, inconclusive, separated; or that its arms cannot be compared (L20)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from perennial.measurement.effects import Effect
from perennial.measurement.sequential import Levels, always_valid

Verdict = Literal["collecting", "inconclusive", "separated", "not_comparable"]
Status = Literal["interim", "final"]


@dataclass(frozen=True)
class Judged:
    """A verdict on one metric of one arm: `effect` as shown (confidence 95 %), `decided_by` the stricter interval."""

    verdict: Verdict
    effect: Effect | None
    decided_by: Effect | None


def judge(
    effect: Effect | None,
    *,
    status: Status,
    levels: Levels,
    planned_error: float,
    tests: int = 1,
    comparable: bool = True,
) -> Judged:
    """Interim: separated only by the always-valid interval, else collecting. Final: separated or inconclusive.

    `tests`: how many comparisons share the level (arms of the campaign); each gets its part of it. `effect` None: too
    few clients, or no control.
    """
    if not comparable:
        return Judged("not_comparable", effect, None)
    if effect is None:
        return Judged("inconclusive" if status == "final" else "collecting", None, None)
    if status == "final":
        strict = effect.at(levels.end / tests)
        return Judged("separated" if strict.separated else "inconclusive", effect, strict)
    if not levels.looks or planned_error <= 0:
        return Judged("collecting", effect, None)
    strict = always_valid(effect, planned_error=planned_error, level=levels.looks / tests)
    return Judged("separated" if strict.separated else "collecting", effect, strict)
