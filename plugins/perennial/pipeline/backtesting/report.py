"""What a backtest came to, and how its figures are written: shared by the Markdown and the HTML page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from perennial.contracts.backtests import DataSet
from perennial.scoring.protocols import Judged, Row

_SHARES = ("bias", "savings")  # figures that are read as per cent
_THOUSANDS = 10_000


@dataclass(frozen=True)
class Report:
    """One data set, judged. `counts`: what the data are; `notes`: what a reader should know of them."""

    dataset: DataSet
    counts: dict[str, int | str]
    notes: tuple[str, ...]
    judged: tuple[Judged, ...]
    versions: dict[str, str]
    cpu_seconds: dict[str, float]
    command: str
    unjudged: tuple[str, ...] = field(default=())

    @property
    def title(self) -> str:
        """The title of the data set."""
        return self.dataset.title or self.dataset.name

    @property
    def has_figures(self) -> bool:
        """Whether anything could be judged."""
        return any(judged.rows for judged in self.judged)


def heading_of(judged: Judged) -> str:
    """A task with its horizon, in words."""
    words = {
        "churn": "Churn", "value": "Value", "purchases": "Purchases", "next_purchase": "Next purchase",
        "next_product": "Next product", "response": "Response",
    }  # fmt: skip
    name = words.get(judged.task, judged.task)
    return f"{name}, {judged.horizon_days} days" if judged.horizon_days else name


def columns_of(judged: Judged) -> list[str]:
    """The figures of all rows, in the order in which they come."""
    return list(dict.fromkeys(name for row in judged.rows for name in row.figures))


def figure(name: str, value: float | None) -> str:
    """One figure for people: four digits, shares as per cent, a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    if name.startswith(_SHARES):
        return f"{value:+.1%}"
    if abs(value) >= _THOUSANDS:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def cells_of(judged: Judged, row: Row) -> list[str]:
    """A row of the table as texts: cut, n, rule, figures, CPU seconds."""
    values = [figure(name, row.figures.get(name)) for name in columns_of(judged)]
    seconds = f"{row.cpu_seconds:.1f}" if row.cpu_seconds is not None else ""
    return [row.cut, f"{row.n:,}", row.rule, *values, seconds]


def header_of(judged: Judged) -> list[str]:
    """The columns of the table."""
    return ["cut", "n", "rule", *columns_of(judged), "CPU s"]


def findings(judged: Judged) -> list[str]:
    """What stands out, in sentences: model against baselines, then what the protocol says, then what was refused."""
    said = [sentence for sentence in (_comparison(judged),) if sentence]
    chosen = {f"{row.rule} at {row.cut}: {row.chosen}" for row in judged.rows if row.is_model and row.chosen}
    said += [f"chosen: {one}" for one in sorted(chosen)]
    said += list(judged.sentences)
    said += [f"refused: {reason}" for reason in judged.refused]
    return said


def _comparison(judged: Judged) -> str:
    """At how many cuts the model's figure of merit is better than that of every baseline."""
    better, compared, gaps = 0, 0, []
    for cut in dict.fromkeys(row.cut for row in judged.rows):
        rows = [row for row in judged.rows if row.cut == cut]
        model, others = _merits(rows, judged.merit, is_model=True), _merits(rows, judged.merit, is_model=False)
        if not model or not others:
            continue
        sign = 1 if judged.higher_is_better else -1
        gap = max(sign * value for value in model) - max(sign * value for value in others)
        better, compared = better + (gap > 0), compared + 1
        gaps.append(sign * gap)
    if not compared:
        return ""
    shown = ", ".join(f"{gap:+.4f}" for gap in gaps)
    what = "cuts" if judged.horizon_days else "parts"
    return f"{judged.merit}: the model is better than every baseline at {better} of {compared} {what} ({shown})"


def _merits(rows: Sequence[Row], merit: str, *, is_model: bool) -> list[float]:
    values = [row.figures.get(merit) for row in rows if row.is_model == is_model]
    return [value for value in values if value is not None and math.isfinite(value)]


def as_data(report: Report) -> dict[str, Any]:
    """The report as JSON-able data, without the curves."""
    return {
        "name": report.dataset.name,
        "title": report.title,
        "counts": report.counts,
        "notes": list(report.notes),
        "tasks": [
            {
                "task": judged.task,
                "horizon_days": judged.horizon_days,
                "merit": judged.merit,
                "rows": [
                    {"cut": r.cut, "n": r.n, "rule": r.rule, "is_model": r.is_model, "chosen": r.chosen,
                     "cpu_seconds": r.cpu_seconds, "figures": dict(r.figures)}
                    for r in judged.rows
                ],
                "sentences": list(judged.sentences),
                "refused": list(judged.refused),
            }
            for judged in report.judged
        ],
        "unjudged": list(report.unjudged),
        "versions": report.versions,
        "cpu_seconds": report.cpu_seconds,
    }  # fmt: skip
