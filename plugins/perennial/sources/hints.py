"""What a person is told of values that are not as the contract says: the setting under which they would be."""

from __future__ import annotations

from collections.abc import Sequence

from perennial.contracts.entities import NUMBERS, ColumnType
from perennial.contracts.sources import FileFormat
from perennial.sources import guessing

_FEWEST = 3  # values; fewer are a slip of the hand
_ALIKE = 0.8  # of the bad values
_MARKS = {".": "a point", ",": "a comma", " ": "a blank", "'": "an apostrophe", "_": "an underscore"}


def setting_for(values: Sequence[str], kind: ColumnType, form: FileFormat) -> str:
    """`they look like ..., set ... in sources.yml`, or nothing. `values` are bad ones of one column."""
    if len(values) < _FEWEST:
        return ""
    if kind in NUMBERS:
        return _number_setting(values, form)
    if kind == "date":
        return _moment_setting(guessing.date_style(values), form.date_format, "dates", "date_format")
    if kind == "timestamp":
        style = guessing.time_style(values) or guessing.date_style(values)
        return _moment_setting(style, form.timestamp_format, "times", "timestamp_format")
    return ""


def _number_setting(values: Sequence[str], form: FileFormat) -> str:
    style = guessing.number_style(values)
    if style is None or style == (form.decimal, form.thousands):
        return ""
    decimal, thousands = style
    marks = [f"{_MARKS[decimal]} before the decimals"] if any(decimal in value for value in values) else []
    marks += [f"{_MARKS[thousands]} between thousands"] if thousands else []
    if not marks:
        return ""
    settings = f"decimal: {decimal!r}" + (f", thousands: {thousands!r}" if thousands else "")
    return f"they look like numbers with {' and '.join(marks)}: set {settings} in the format of sources.yml"


def _moment_setting(style: guessing.Moments | None, given: str | None, what: str, key: str) -> str:
    if style is None or style.codes == given:
        return ""
    if style.codes is None:
        return f"they look like {what} in ISO 8601: take {key} out of the format in sources.yml"
    either = f" (or {style.swapped!r})" if style.swapped else ""
    return f"they look like {what} of the form {style.codes!r}{either}: set {key} in the format of sources.yml"
