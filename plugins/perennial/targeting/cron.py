"""The days and times of a cron expression of five fields, by the wall clock of the company's zone.

Reckoned without a zone: a time that a clock change leaves out or doubles still belongs to its day (L25).
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from functools import lru_cache

_TRY_YEARS = 40  # 29 February on a given week day comes at least once in so many years


@lru_cache(maxsize=4096)
def first_time(expression: str, day: date) -> time | None:
    """When the expression first fires on the day; None if it does not.

    Raises ValueError when it is no cron expression, or never fires.
    """
    begins = datetime.combine(day, time.min)
    fires = _next(expression, begins - timedelta(microseconds=1))
    return fires.time() if fires.date() == day else None


def mistake_in(expression: str) -> str | None:
    """What is wrong with the expression, or None."""
    try:
        _next(expression, datetime(2000, 1, 1))  # noqa: DTZ001
    except ValueError as error:
        return str(error)
    return None


def _next(expression: str, after: datetime) -> datetime:
    from croniter import CroniterBadDateError, CroniterError, croniter

    try:
        found: datetime = croniter(expression, after, max_years_between_matches=_TRY_YEARS).get_next(datetime)
    except CroniterBadDateError:
        raise ValueError(f"the expression {expression!r} names a day that never comes") from None
    except CroniterError:
        raise ValueError(f"{expression!r} is no cron expression of five fields") from None
    return found
