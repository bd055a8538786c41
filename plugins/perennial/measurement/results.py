"""From the outcomes of arms to rows of `fct_campaign_results`: one per campaign, arm and metric, with a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Any

from perennial.contracts.measurement import METRICS, MONEY_METRICS, Experiment
from perennial.measurement.effects import Effect, adjusted_difference, holm, measurable
from perennial.measurement.moments import Moments, pooled
from perennial.measurement.outcomes import ArmOutcomes
from perennial.measurement.ratio import SampleRatio, sample_ratio
from perennial.measurement.sequential import Levels, split
from perennial.measurement.verdicts import Judged, Status, judge

Row = dict[str, Any]
# Sums of doubles differ in their last digits by the order in which an engine adds: what is published is rounded (L2).
_DIGITS = 9
_MARGIN = "margin"
# After the last window: late lines and corrections of its orders are still coming in.
SETTLE_DAYS = 7
# A verdict that the largest orders alone carry: the effect without them is less than so much of it.
_CARRIED = 0.5


def campaign_results(
    experiments: Iterable[Experiment], outcomes: Sequence[ArmOutcomes], as_of: date
) -> tuple[list[Row], list[str]]:
    """Rows of `CAMPAIGN_RESULTS` for all experiments that anyone was drawn in, and sentences about what is wrong.

    The verdict stands on clients whose window is over; those with an open one are counted beside it.
    """
    rows: list[Row] = []
    notes: list[str] = []
    for one in sorted(experiments, key=lambda each: each.campaign_id):
        arms = [found for found in outcomes if found.campaign_id == one.campaign_id]
        if arms:
            found, told = _Reading(one, arms, as_of).rows()
            rows += found
            notes += told
    return rows, notes


def is_final(experiment: Experiment, as_of: date) -> bool:
    """Whether the windows of all who can have been drawn are over, and what comes in late has come in."""
    if experiment.ends_on is None:
        return False
    return as_of >= experiment.ends_on + timedelta(days=experiment.window_days + SETTLE_DAYS)


class _Reading:
    """One campaign on one date."""

    def __init__(self, experiment: Experiment, arms: list[ArmOutcomes], as_of: date) -> None:
        self.experiment = experiment
        self.as_of = as_of
        self.closed = {arm.arm: arm for arm in arms if arm.is_closed}
        self.open = {arm.arm: arm.clients for arm in arms if not arm.is_closed}
        self.controls = [name for name in experiment.controls if name in self.closed]
        self.targets = sorted({arm.arm for arm in arms} - set(experiment.controls))
        self.status: Status = "final" if is_final(experiment, as_of) else "interim"

    def rows(self) -> tuple[list[Row], list[str]]:
        ratio, unknown = self._sample_ratio()
        told = [self._about_arms(unknown)] if unknown else []
        if ratio.failed:
            told.append(self._about_ratio(ratio))
        comparable = not ratio.failed and not unknown
        rows = [row for arm in self.targets for row in self._rows_of(arm, ratio, comparable=comparable)]
        _correct(rows)
        return rows, told

    def _sample_ratio(self) -> tuple[SampleRatio, list[str]]:
        """The test over everyone who was drawn, window over or not; and arms that nobody could have been drawn for."""
        drawn = {name: self.open.get(name, 0) for name in self.experiment.shares}
        for name, arm in self.closed.items():
            drawn[name] = drawn.get(name, 0) + arm.clients
        unknown = sorted((set(drawn) | set(self.open)) - set(self.experiment.shares))
        known = {name: n for name, n in drawn.items() if name in self.experiment.shares}
        return sample_ratio(known, self.experiment.shares), unknown

    def _rows_of(self, arm: str, ratio: SampleRatio, *, comparable: bool) -> list[Row]:
        target = self.closed.get(arm)
        controls = [self.closed[name] for name in self.controls]
        levels = split(has_end=self.experiment.ends_on is not None)
        return [
            self._row(arm, metric, self._judged(metric, target, controls, levels, comparable=comparable), ratio)
            for metric in METRICS
        ]

    def _judged(
        self, metric: str, target: ArmOutcomes | None, controls: list[ArmOutcomes], levels: Levels, *, comparable: bool
    ) -> tuple[Judged, Moments | None, Moments | None]:
        own = target.moments[metric] if target else None
        others = pooled([control.moments[metric] for control in controls]) if controls else None
        effect: Effect | None = None
        if own and others and measurable(own, others):
            effect = adjusted_difference(own, others)
        judged = judge(
            effect,
            status=self.status,
            levels=levels,
            planned_error=self._planned_error(own, others, target) if effect else 0.0,
            tests=max(1, len(self.targets)),
            comparable=comparable,
        )
        return judged, own, others

    def _planned_error(self, own: Moments | None, others: Moments | None, target: ArmOutcomes | None) -> float:
        """The error of a difference between as many clients as were planned, by the spread of the time before."""
        before = pooled([arm for arm in (own, others) if arm]).var_x
        shares = self.experiment.shares
        control = sum(shares.get(name, 0.0) for name in self.experiment.controls)
        share = shares.get(target.arm, 0.0) if target else 0.0
        if not share or not control:
            return 0.0
        return math.sqrt(before / self.experiment.planned_clients * (1 / share + 1 / control))

    def _row(
        self, arm: str, metric: str, found: tuple[Judged, Moments | None, Moments | None], ratio: SampleRatio
    ) -> Row:
        judged, own, others = found
        effect = judged.effect if judged.verdict != "not_comparable" else None
        clients = own.clients if own else 0
        row: Row = {
            "as_of_date": self.as_of,
            "campaign_id": self.experiment.campaign_id,
            "arm": arm,
            "metric": metric,
            "is_headline": metric == self.experiment.headline,
            "status": self.status,
            "verdict": judged.verdict,
            "target_clients": clients,
            "control_clients": others.clients if others else 0,
            "open_clients": sum(self.open.get(name, 0) for name in (arm, *self.experiment.controls)),
            "target_mean": _rounded(own.mean_y) if own else None,
            "control_mean": _rounded(others.mean_y) if others else None,
            "sample_ratio_p": _rounded(ratio.p_value),
            "frozen_on": None,
            "note": None,
        }
        figures = _figures(effect, judged.decided_by if effect else None, clients)
        cost = self.closed[arm].cost if metric == _MARGIN and arm in self.closed else None
        return row | figures | _profit(figures, cost) | self._check(arm, metric, effect)

    def _check(self, arm: str, metric: str, effect: Effect | None) -> Row:
        """What is left of a money metric once the largest amounts are cut, and what is assumed in it."""
        if metric not in MONEY_METRICS or effect is None:
            return {"capped_difference": None}
        control = _weighted([self.closed[name] for name in self.controls], metric)
        capped = self.closed[arm].capped[metric] - control
        told = []
        if effect.separated and abs(capped) < _CARRIED * abs(effect.difference):
            told.append("a few large orders carry it: without them less than half is left")
        if metric == _MARGIN and any(one.margin_is_assumed for one in self.closed.values()):
            told.append(f"costs are not known of every order: there {self.experiment.margin_share:.0%} is assumed")
        return {"capped_difference": _rounded(capped), "note": "; ".join(told) or None}

    def _about_ratio(self, ratio: SampleRatio) -> str:
        counts = ", ".join(f"{arm} {n:,} (drawn for {ratio.expected[arm]:,.0f})" for arm, n in ratio.clients.items())
        return (
            f"{self.experiment.campaign_id}: the arms are not as drawn (sample-ratio test, p {ratio.p_value:.1g}): "
            f"{counts}; look for what took clients out of one arm, and do not read the effect"
        )

    def _about_arms(self, unknown: list[str]) -> str:
        return (
            f"{self.experiment.campaign_id}: clients stand in arms that its card does not have ({', '.join(unknown)}); "
            "the card was changed while it ran: give the changed campaign a new id"
        )


def _figures(effect: Effect | None, decided: Effect | None, clients: int) -> Row:
    """The figures of an effect; all null without one."""
    names = ("difference", "low", "high", "p_value")
    found: Row = {name: _rounded(getattr(effect, name)) if effect else None for name in names}
    return found | {
        "decided_low": _rounded(decided.low) if decided else None,
        "decided_high": _rounded(decided.high) if decided else None,
        "p_value_corrected": None,
        "method": effect.method if effect else None,
        "variance_gain": _rounded(effect.gain) if effect else None,
        "total": _rounded(effect.difference * clients) if effect else None,
        "total_low": _rounded(effect.low * clients) if effect else None,
        "total_high": _rounded(effect.high * clients) if effect else None,
    }


def _profit(figures: Row, cost: float | None) -> Row:
    """What is left of the margin after contacts and offers, with the margin's interval; null for other metrics."""
    if cost is None or figures["total"] is None:
        return dict.fromkeys(("profit", "profit_low", "profit_high", "roi"), None) | {"cost": cost}
    profit, low, high = (_rounded(figures[name] - cost) for name in ("total", "total_low", "total_high"))
    roi = _rounded(profit / cost) if cost else None
    return {"cost": _rounded(cost), "profit": profit, "profit_low": low, "profit_high": high, "roi": roi}


def _correct(rows: list[Row]) -> None:
    """P-values of a campaign's headline over its arms, and of each other metric over all others (Holm)."""
    for headline in (True, False):
        some = [row for row in rows if row["is_headline"] is headline and row["p_value"] is not None]
        for row, corrected in zip(some, holm([row["p_value"] for row in some]), strict=True):
            row["p_value_corrected"] = _rounded(corrected)


def _weighted(arms: list[ArmOutcomes], metric: str) -> float:
    return sum(arm.clients * arm.capped[metric] for arm in arms) / sum(arm.clients for arm in arms)


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
