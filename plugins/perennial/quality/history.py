"""Rules that hold a batch against those before it: how many rows usually come, and how long a source was silent.

They stand in the gate's profile beside the rules on rows, in the same shape: `bad` of `rows`, a share, two limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from statistics import median

from perennial.contracts.sources import Freshness, SourceEntity, Volume

_LEAST_HISTORY = 3  # batches; fewer say nothing
_DIGITS = 9
_SECONDS_PER_HOUR = 3_600
_NO_LIMIT = math.inf


@dataclass(frozen=True)
class BatchRule:
    """A rule on the batch as a whole. `said` is what is told when the share is above a limit."""

    rule: str
    rows: int
    bad: int
    warn: float
    stop: float
    said: str
    fix: str

    @property
    def share(self) -> float:
        """`bad` as a share of `rows`."""
        return round(self.bad / self.rows, _DIGITS) if self.rows else 0.0


@dataclass(frozen=True)
class History:
    """What came before this batch in the same source entity.

    `landed` are rows by date, one pair for each date in the names of files, or for each batch where names have no date
    (`by_batch`; the date is then the batch's business date). Times are UTC without a zone.
    """

    landed: Sequence[tuple[date, int]]
    by_batch: bool
    last_committed: datetime | None
    now: datetime


def history_rules(contract: SourceEntity, rows_on: Mapping[date, int], history: History) -> list[BatchRule]:
    """The rules on volume and freshness for a batch with so many rows on each date."""
    return [*_volume_rules(contract.volume, rows_on, history), *_freshness_rules(contract.freshness, history)]


def usual_rows(volume: Volume, day: date, landed: Sequence[tuple[date, int]]) -> float | None:
    """The median of the last `window` of the pairs (with `weekly` of the day's weekday); None when that says nothing.

    Fewer than three pairs, or a median below `least`, say nothing.
    """
    rows = [rows for d, rows in sorted(landed) if not volume.weekly or d.weekday() == day.weekday()][-volume.window :]
    usual = median(rows) if len(rows) >= _LEAST_HISTORY else 0
    return usual if usual >= max(volume.least, 1) else None


def _volume_rules(volume: Volume, rows_on: Mapping[date, int], history: History) -> list[BatchRule]:
    """Of the batch's dates the one with the fewest rows against its usual ones, and the one with the most.

    The share of `volume:less` is what is missing of the usual rows, that of `volume:more` what is beyond them.
    """
    if volume.warn is None and volume.stop is None:
        return []
    compared = []
    for day in sorted(rows_on):
        usual = usual_rows(volume, day, _before(day, rows_on, history))
        if usual is not None:
            compared.append((rows_on[day] / usual, usual, day))
    if not compared:
        return []
    less, more = _limits(volume, 0), _limits(volume, 1)
    return [
        _volume_rule("volume:less", min(compared), rows_on, less, volume),
        _volume_rule("volume:more", max(compared), rows_on, more, volume),
    ]


def _before(day: date, rows_on: Mapping[date, int], history: History) -> list[tuple[date, int]]:
    if history.by_batch:
        return [pair for pair in history.landed if pair[0] <= day]
    known = {**dict(history.landed), **rows_on}
    return [pair for pair in known.items() if pair[0] < day]


def _limits(volume: Volume, side: int) -> tuple[float, float]:
    """The limits of warn and stop as a distance from the usual rows, in shares of them."""
    bounds = [pair[side] if pair is not None else None for pair in (volume.warn, volume.stop)]
    warn, stop = (_NO_LIMIT if b is None else round(abs(b - 1.0), _DIGITS) for b in bounds)
    return warn, stop


def _volume_rule(
    name: str,
    worst: tuple[float, float, date],
    rows_on: Mapping[date, int],
    limits: tuple[float, float],
    volume: Volume,
) -> BatchRule:
    _ratio, usual, day = worst
    rows, expected = rows_on[day], round(usual)
    off = max(expected - rows, 0) if name == "volume:less" else max(rows - expected, 0)
    of_what = f"{day:%A}s" if volume.weekly else "dates"
    said = f"{rows:,} rows for {day}, usually about {expected:,} (median of up to {volume.window} {of_what} before)"
    fix = "ask the source whether the export is whole and land it again, or widen `volume:` in sources.yml"
    return BatchRule(name, expected, off, *limits, said, fix)


def _freshness_rules(freshness: Freshness | None, history: History) -> list[BatchRule]:
    """Whether the source entity was silent for longer than its contract says before this batch came; never refuses."""
    if freshness is None or history.last_committed is None:
        return []
    hours = silent_hours(history.last_committed, history.now)
    said = f"the first batch after {hours:,.1f} hours, more than the {freshness.warn_hours:,g} that are allowed"
    late = hours > freshness.warn_hours
    return [BatchRule("freshness", 1, int(late), 0.0, _NO_LIMIT, said, "ask the source why nothing came")]


def silent_hours(last_committed: datetime, now: datetime) -> float:
    """Hours since the last batch, by the operational clock."""
    return (now - last_committed).total_seconds() / _SECONDS_PER_HOUR
