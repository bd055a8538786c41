"""Dates: UTC in storage, one business zone in the settings (L25)."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def business_date(moment: datetime, zone: ZoneInfo) -> date:
    """The business date of a moment; a moment without a zone is taken as UTC."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(zone).date()


def day_bounds_utc(day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The half-open interval of UTC moments that make the business day: 23 or 25 hours when the clocks change."""
    start = datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
    end = datetime.combine(day + timedelta(days=1), time.min, tzinfo=zone).astimezone(UTC)
    return start, end


def anniversary(origin: date, year: int) -> date:
    """The anniversary of `origin` in `year`; 29 February falls on 28 February in common years."""
    try:
        return origin.replace(year=year)
    except ValueError:
        return date(year, 2, 28)
