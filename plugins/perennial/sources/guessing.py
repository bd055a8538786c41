"""Guessing how values are written: marks of numbers, formats of dates and times.

For `infer`, and for what is told of values that are not as the contract says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from itertools import product

_ENOUGH = 0.95  # of the values that must be of a kind
_ISO_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_ISO_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}(:?\d{2})?)?")
_TRUTHS = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})
_DATES = (
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d", "%d.%m.%y",
    "%d/%m/%y", "%m/%d/%y", "%d %b %Y", "%d %B %Y", "%b %d, %Y", "%B %d, %Y", "%d-%b-%Y", "%d-%b-%y",
)  # fmt: skip
_CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%I:%M %p", "%I:%M:%S %p", "%H:%M:%S%z", "%H:%M:%S %z")
_TIMES = tuple(f"{day}{between}{clock}" for day, between, clock in product((*_DATES, "%Y-%m-%d"), " T", _CLOCKS))
_SWAPPED = {"%d": "%m", "%m": "%d"}
_GROUPS = {".": r"\.", ",": ",", " ": "[ \u00a0\u202f]", "'": "['\u2019]", "_": "_"}
_STYLES: tuple[tuple[str, str | None], ...] = (
    (".", None), (",", None), (".", ","), (",", "."), (",", " "), (".", " "), (".", "'"), (",", "'"), (".", "_"),
)  # fmt: skip
_WHOLE = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Moments:
    """How dates or times are written: strptime codes, None for ISO 8601. `swapped` would read all values as well."""

    codes: str | None
    swapped: str | None = None


def number_style(values: Sequence[str]) -> tuple[str, str | None] | None:
    """The decimal mark and the separator of thousands under which the values are numbers; None if they are none.

    `1,234` alone may be either; three digits behind a mark in every value make it a separator of thousands, unless it
    is a point.
    """
    values = [value for value in values if value]
    fitting = [style for style in _STYLES if _share(values, partial(is_number, decimal=style[0], thousands=style[1]))]
    if not values or not fitting:
        return None
    missed = {style: sum(not is_number(value, *style) for value in values) for style in fitting}
    fitting = [style for style in fitting if missed[style] == min(missed.values())]
    if fitting[0] == (",", None) and (".", ",") in fitting and any("," in value for value in values):
        return ".", ","
    return fitting[0]


def is_number(value: str, decimal: str, thousands: str | None) -> bool:
    """Whether the value is a number with these marks."""
    groups = rf"|\d{{1,3}}({_GROUPS[thousands]}\d{{3}})+" if thousands else ""
    return re.fullmatch(rf"[+-]?(\d+{groups})({re.escape(decimal)}\d*)?", value) is not None


def all_whole(values: Iterable[str]) -> bool:
    """Whether each value is a whole number without any mark."""
    return all(_WHOLE.fullmatch(value) for value in values)


def all_truths(values: Iterable[str]) -> bool:
    """Whether each value is a yes or a no."""
    return all(value.lower() in _TRUTHS for value in values)


def date_style(values: Sequence[str]) -> Moments | None:
    """How the values are written as dates; None if they are none."""
    return _moments(values, _ISO_DATE, _DATES)


def time_style(values: Sequence[str]) -> Moments | None:
    """How the values are written as times; None if they are none. Dates alone are no times."""
    return _moments(values, _ISO_TIME, _TIMES)


def moment(value: str, codes: str | None) -> datetime | None:
    """The value as a moment, None where it is none."""
    try:
        return datetime.strptime(value, codes) if codes else datetime.fromisoformat(value)  # noqa: DTZ007 - as written
    except ValueError:
        return None


def _moments(values: Sequence[str], iso: re.Pattern[str], formats: Sequence[str]) -> Moments | None:
    values = [value for value in values if value]
    if not values or not any(char.isdigit() for char in values[0]):
        return None
    if _share(values, lambda value: iso.fullmatch(value) is not None and moment(value[:10], None) is not None):
        return Moments(None)
    fitting = [codes for codes in formats if _share(values, partial(_plausible, codes=codes))]
    if not fitting:
        return None
    # Where day and month can be read both ways, a file is likelier to be of a short time than of a long one.
    spans = {codes: _span_days(values, codes) for codes in fitting}
    best = min(fitting, key=lambda codes: spans[codes])
    other = best.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    return Moments(best, other if other in fitting and other != best else None)


def _plausible(value: str, codes: str) -> bool:
    found = moment(value, codes)
    return found is not None and date(1900, 1, 1) <= found.date() < date(2100, 1, 1)


def _span_days(values: Sequence[str], codes: str) -> int:
    days = [found.toordinal() for value in values if (found := moment(value, codes)) is not None]
    return max(days) - min(days)


def _share(values: Sequence[str], test: Callable[[str], bool]) -> bool:
    """Whether enough of the values pass; ends as soon as they cannot."""
    allowed = int(len(values) * (1 - _ENOUGH))
    failed = 0
    for value in values:
        failed += not test(value)
        if failed > allowed:
            return False
    return True
