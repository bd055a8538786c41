"""Quiet days and hours by the client's own calendar and clock: her country's zone, else the company's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from perennial.contracts.policy import PolicyFile, Quiet, QuietHours

_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WINDOWS = pa.schema(
    [
        ("country", pa.string()),
        ("is_quiet", pa.bool_()),
        ("not_before", pa.timestamp("us")),
        ("not_after", pa.timestamp("us")),
    ]
)


@dataclass(frozen=True)
class Window:
    """The moments (UTC, without a zone) between which clients of a country may be contacted; None: at any time."""

    country: str | None
    is_quiet: bool
    not_before: datetime | None
    not_after: datetime | None


def windows(quiet: Quiet, company_zone: str, day: date) -> list[Window]:
    """One window for each country that the policy names, and one (country None) for all others."""
    named = {*quiet.zones, *(country for holiday in quiet.holidays for country in holiday.countries)}
    return [_window(quiet, country, company_zone, day) for country in (None, *sorted(named))]


def is_quiet_day(quiet: Quiet, country: str | None, day: date) -> bool:
    """Whether nobody of the country is contacted on the day."""
    holidays = (one for one in quiet.holidays if not one.countries or country in one.countries)
    return _WEEKDAYS[day.weekday()] in quiet.weekdays or any(holiday.falls_on(day) for holiday in holidays)


def _window(quiet: Quiet, country: str | None, company_zone: str, day: date) -> Window:
    zone = ZoneInfo(quiet.zones.get(country, company_zone) if country else company_zone)
    is_quiet = is_quiet_day(quiet, country, day)
    if quiet.hours is None:
        return Window(country, is_quiet, None, None)
    begins, ends = _open_hours(quiet.hours)
    return Window(country, is_quiet, _moments(day, begins, zone)[1], _moments(day, ends, zone)[0])


def _open_hours(hours: QuietHours) -> tuple[str, str]:
    """From when to when on one day: of two stretches (a quiet noon) the longer one."""
    if hours.starts > hours.ends:
        return hours.ends, hours.starts
    morning, evening = _minutes(hours.starts), 24 * 60 - _minutes(hours.ends)
    return ("00:00", hours.starts) if morning > evening else (hours.ends, "24:00")


def _minutes(clock: str) -> int:
    return int(clock[:2]) * 60 + int(clock[3:])


def _moments(day: date, clock: str, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The moment of a wall clock; on the days on which clocks are changed it may be two, the earlier first (L25)."""
    if clock == "24:00":
        day, clock = day + timedelta(days=1), "00:00"
    local = datetime.combine(day, time.fromisoformat(clock), zone)
    both = [local.replace(fold=fold).astimezone(UTC).replace(tzinfo=None) for fold in (0, 1)]
    return min(both), max(both)


def table(policy: PolicyFile, company_zone: str, day: date) -> pa.Table:
    """`WINDOWS` of the day: one row per country that the policy names, and one with the country null."""
    rows = [window.__dict__ for window in windows(policy.quiet, company_zone, day)]
    return pa.Table.from_pylist(rows, schema=WINDOWS)
