"""The training calendar: which past dates a model is fitted, chosen and tested on, with nothing from after them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

MIN_HISTORY_DAYS = 28  # a cut needs so much history before it
YEAR = timedelta(days=364)  # 52 weeks: the same days of the week


@dataclass(frozen=True)
class Calendar:
    """Cuts in ascending order. `fit` labels end at or before `validation`, `development` labels at or before `test`.

    `development` = the cuts that may be used when `test` is the present; it holds `validation` and `fit`. `fit` is
    empty and `validation` None when the history has no room for a cut that is out of time twice.
    """

    horizon_days: int
    test: date
    development: tuple[date, ...]
    validation: date | None
    fit: tuple[date, ...]

    @property
    def all(self) -> tuple[date, ...]:
        """Every cut, ascending: what the final model is fitted on."""
        return (*self.development, self.test)


def training_dates(
    as_of: date, history_start: date, *, horizon_days: int, cuts: int, step_days: int
) -> tuple[date, ...]:
    """Past dates, ascending, whose labels are fully observed at `as_of`.

    The last one is the test cut, `as_of - horizon`; `cuts - 1` others end a horizon before it, so that no label of
    theirs reaches beyond it. Where these leave none whose label ends before the last of them, as many again end a
    horizon earlier: to choose and calibrate out of time. To these come the `season_targets`. Dates with less than
    MIN_HISTORY_DAYS of history are left out.
    """
    horizon, step = timedelta(days=horizon_days), timedelta(days=step_days)
    test = as_of - horizon
    dates = {test, *(test - horizon - k * step for k in range(cuts - 1))}
    if (cuts - 2) * step_days < horizon_days:
        dates |= {test - 2 * horizon - k * step for k in range(cuts - 1)}
    dates |= {day for day in season_targets(as_of, horizon_days) if day + horizon <= as_of}
    first = history_start + timedelta(days=MIN_HISTORY_DAYS - 1)
    return tuple(sorted(day for day in dates if day >= first))


def season_targets(as_of: date, horizon_days: int) -> tuple[date, ...]:
    """The dates a year before today, before the test cut, and before the last cut whose label ends at the test cut.

    What followed there tells the level of the season (`season`).
    """
    return tuple(as_of - k * timedelta(days=horizon_days) - YEAR for k in range(3))


def calendar(dates: tuple[date, ...], horizon_days: int) -> Calendar | None:
    """How the dates are used; None when fewer than two can be: one to learn from and a later one to test on."""
    if not dates:
        return None
    horizon = timedelta(days=horizon_days)
    ordered = sorted(dates)
    test = ordered[-1]
    development = tuple(cut for cut in ordered if cut + horizon <= test)
    if not development:
        return None
    fit = tuple(cut for cut in development if cut + horizon <= development[-1])
    return Calendar(horizon_days, test, development, development[-1] if fit else None, fit)
