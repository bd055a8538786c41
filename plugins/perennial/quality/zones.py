"""SQL for the day that a moment falls on in a time zone, without asking the zone's rules for every row.

Between two changes of the clocks the offset is a constant: the changes of some decades are written into the SQL, and
found by halves. Before and after those decades the zone itself is asked.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from perennial.core.sqltext import literal

_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2040, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)


def local_date(zone: str, moment: str) -> str:
    """SQL for the date in the zone of a timestamp column in UTC."""
    by_zone = f"cast(timezone({literal(zone)}, timezone('UTC', {moment})) as date)"
    steps = [*_steps(zone)]
    inside = _search(moment, steps)
    start, end = _text(_FIRST), _text(_LAST)
    return f"case when {moment} >= {start} and {moment} < {end} then {inside} else {by_zone} end"


@lru_cache(maxsize=8)
def _steps(zone: str) -> tuple[tuple[datetime, timedelta], ...]:
    """From which moment on which offset holds, in order."""
    rules, at = ZoneInfo(zone), _FIRST
    steps = [(at, _offset(rules, at))]
    while at < _LAST:
        if _offset(rules, at + _DAY) != steps[-1][1]:
            change = _change(rules, at, at + _DAY)
            steps.append((change, _offset(rules, change)))
        at += _DAY
    return tuple(steps)


def _offset(rules: ZoneInfo, moment: datetime) -> timedelta:
    offset = moment.astimezone(rules).utcoffset()
    return offset if offset is not None else timedelta()


def _change(rules: ZoneInfo, low: datetime, high: datetime) -> datetime:
    """The first second between the two at which the offset is the later one's."""
    later = _offset(rules, high)
    while high - low > timedelta(seconds=1):
        middle = low + timedelta(seconds=(high - low) // timedelta(seconds=2))
        low, high = (low, middle) if _offset(rules, middle) == later else (middle, high)
    return high


def _search(moment: str, steps: list[tuple[datetime, timedelta]]) -> str:
    if len(steps) == 1:
        seconds = int(steps[0][1].total_seconds())
        return f"cast({moment} + to_seconds({seconds}) as date)" if seconds else f"cast({moment} as date)"
    half = len(steps) // 2
    return (
        f"case when {moment} < {_text(steps[half][0])} then {_search(moment, steps[:half])} "
        f"else {_search(moment, steps[half:])} end"
    )


def _text(moment: datetime) -> str:
    return f"timestamp '{moment:%Y-%m-%d %H:%M:%S}'"
