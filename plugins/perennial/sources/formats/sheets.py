"""Reading one sheet of a workbook in a process of its own, with a limit on its memory (see excel.py).

The reader keeps a sheet in memory whole, and two cells far apart make it a large one: a hostile workbook can so only
end this process. It writes JSON to stdout: one line on the workbook, then `[row number, [cells]]` for each row that is
not blank. A date is `{"d": ISO text}`, an error such as #N/A `{"e": text}`.
"""

from __future__ import annotations

import json
import resource
import sys
from datetime import date, datetime, timedelta
from typing import Any

_DIGITS = 15  # Excel's own
_MOST_MERGED = 100_000


def main(path: str, sheet: str, limit: str) -> int:
    """Write the rows of the sheet of that name, or of the first sheet when it is empty."""
    _limit_memory(int(limit))
    import python_calamine as calamine

    from perennial.sources.formats.sheeterrors import SheetError, error_cells

    try:
        with open(path, "rb") as stream:  # noqa: PTH123 - nothing more is imported than is needed
            workbook = calamine.load_workbook(stream)
        names = workbook.sheet_names
        if not names or (sheet and sheet not in names):
            _say({"sheets": names})
            return 0
        found = workbook.get_sheet_by_name(sheet or names[0])
        merged = found.merged_cell_ranges or []
        with open(path, "rb") as stream:  # noqa: PTH123
            errors = error_cells(stream, found.name)
    except calamine.PasswordError:
        _say({"error": "it is protected by a password"})
        return 0
    except (calamine.CalamineError, SheetError) as error:
        _say({"error": f"not a whole workbook: {str(error)[:200]}"})
        return 0
    first_column = found.start[1] if found.start else 0
    _say({"sheets": names, "sheet": found.name, "first_column": first_column})
    filling = _Merged(merged[:_MOST_MERGED], first_column)
    for number, row in enumerate(found.iter_rows() if found.start else (), start=1):
        cells = filling.filled(number - 1, [_cell(value) for value in row])
        for column, said in errors.get(number, {}).items():
            if 0 <= column - first_column < len(cells):
                cells[column - first_column] = {"e": said}
        if any(cell is not None for cell in cells):
            _say([number, cells])
    return 0


def _limit_memory(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")


class _Merged:
    """Cells that were made one: the value of the first holds for all of them."""

    def __init__(self, ranges: list[Any], first_column: int) -> None:
        self._by_row: dict[int, list[Any]] = {}
        self._first_column = first_column
        self._open: list[tuple[int, int, int, Any]] = []
        for start, end in ranges:
            self._by_row.setdefault(start[0], []).append((start, end))

    def filled(self, row: int, cells: list[Any]) -> list[Any]:
        """The cells of the row, those that are merged with others filled."""
        for start, end in self._by_row.pop(row, []):
            left, right = start[1] - self._first_column, end[1] - self._first_column
            if 0 <= left < len(cells):
                self._open.append((end[0], left, min(right, len(cells) - 1), cells[left]))
        self._open = [one for one in self._open if one[0] >= row]
        for _last, left, right, value in self._open:
            for column in range(left, right + 1):
                cells[column] = value if cells[column] is None else cells[column]
        return cells


def _cell(value: Any) -> Any:
    """A cell as text: a whole number without `.0`, a truth as true or false, nothing as null."""
    if isinstance(value, str):
        return value.replace("\x00", "\ufffd") if value else None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    if isinstance(value, date):  # a datetime is one
        return {"d": value.isoformat() if isinstance(value, datetime) else f"{value.isoformat()}T00:00:00"}
    return _hours(value) if isinstance(value, timedelta) else str(value)


def _number(value: float) -> str:
    from decimal import Decimal

    if value != value or value in {float("inf"), float("-inf")}:  # noqa: PLR0124 - a number that is none
        return str(value)
    return format(Decimal(format(value, f".{_DIGITS}g")), "f")


def _hours(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    sign, seconds = ("-", -seconds) if seconds < 0 else ("", seconds)
    return f"{sign}{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
