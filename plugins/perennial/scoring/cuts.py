"""The training calendar: which past dates a model is fitted, chosen and tested on, with nothing from after them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

MIN_HISTORY_DAYS = 28  # a cut needs so much history before it


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
    """At most `cuts` past dates, ascending, whose labels are fully observed at `as_of`.

    The last one is the test cut, `as_of - horizon`; the others end a horizon before it, so that no label of theirs
    reaches beyond it. Dates with less than MIN_HISTORY_DAYS of history are left out.
    """
    test = as_of - timedelta(days=horizon_days)
    earlier = [test - timedelta(days=horizon_days + k * step_days) for k in range(cuts - 1)]
    first = history_start + timedelta(days=MIN_HISTORY_DAYS - 1)
    return tuple(sorted(cut for cut in (test, *earlier) if cut >= first))


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
