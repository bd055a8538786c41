"""Rows as a workbook: text as text (also what looks like a number or a formula), dates as dates, numbers as numbers.

Written row by row (xlsxwriter in constant memory). No clock says anything in it: equal rows give equal bytes (L2).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

LONGEST_TEXT = 32_767  # characters that Excel keeps in a cell
ROWS_OF_A_SHEET = 1_048_575  # and a header
_FIRST_DATE = date(1900, 3, 1)  # what Excel counts rightly begins here
_WIDEST = 60
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_NOT_XML = re.compile("[\ufffe\uffff]")

Told = Callable[[int, str, str, str], None]


class Workbook:
    """Writes batches of one schema into a private file. `told(row, column, value, written)` hears what was changed."""

    def __init__(self, path: Path, schema: pa.Schema, told: Told) -> None:
        import xlsxwriter

        self._schema = schema
        self._told = told
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._file = os.fdopen(descriptor, "w+b")
        options = {"constant_memory": True, "tmpdir": str(path.parent), "default_date_format": "yyyy-mm-dd"}
        self._book = xlsxwriter.Workbook(self._file, options)
        self._book.set_properties({"created": _EPOCH})
        self._bold = self._book.add_format({"bold": True})
        self._moment = self._book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
        self._amount = self._book.add_format({"num_format": "0.00"})
        self._sheets = 0
        self._sheet: Any = None
        self._place = ROWS_OF_A_SHEET
        self.rows = 0

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the rows; a full sheet is followed by another."""
        writers = [self._writer(name, kind) for name, kind in zip(batch.schema.names, batch.schema.types, strict=True)]
        columns = [column.to_pylist() for column in batch.columns]
        for values in zip(*columns, strict=True):
            if self._place >= ROWS_OF_A_SHEET:
                self._add_sheet()
            self._place += 1
            self.rows += 1
            for number, (value, write) in enumerate(zip(values, writers, strict=True)):
                if value is not None:
                    write(self._place, number, value)

    def close(self) -> None:
        """Have it on the disk."""
        if self._sheet is None:
            self._add_sheet()
        self._book.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()

    def abandon(self) -> None:
        """Leave it as it is: the folder is thrown away."""
        if not self._file.closed:
            self._book.fileclosed = True  # else its destructor warns
            self._file.close()

    def _add_sheet(self) -> None:
        self._sheets += 1
        self._sheet = self._book.add_worksheet("list" if self._sheets == 1 else f"list {self._sheets}")
        self._sheet.freeze_panes(1, 0)
        for number, field in enumerate(self._schema):
            self._sheet.set_column(number, number, _width(field))
        for number, name in enumerate(self._schema.names):
            self._sheet.write_string(0, number, name, self._bold)
        self._place = 0

    def _writer(self, name: str, kind: pa.DataType) -> Callable[[int, int, Any], Any]:
        if pa.types.is_date(kind):
            return self._write_date
        if pa.types.is_timestamp(kind):
            return self._write_moment
        if pa.types.is_boolean(kind):
            return self._write_flag
        if pa.types.is_decimal(kind):
            return self._write_amount
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            return self._write_number
        return lambda row, column, value: self._write_text(name, row, column, str(value))

    def _write_moment(self, row: int, column: int, value: datetime) -> None:
        moment = value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        self._sheet.write_datetime(row, column, moment, self._moment)

    def _write_flag(self, row: int, column: int, value: bool) -> None:  # noqa: FBT001 - a cell's value
        self._sheet.write_boolean(row, column, value)

    def _write_text(self, name: str, row: int, column: int, text: str) -> None:
        shown = _NOT_XML.sub("\ufffd", text)[:LONGEST_TEXT]
        if shown != text:
            self._told(self.rows, name, text, shown)
        self._sheet.write_string(row, column, shown)

    def _write_date(self, row: int, column: int, value: date) -> None:
        if value < _FIRST_DATE:
            self._sheet.write_string(row, column, value.isoformat())
        else:
            self._sheet.write_datetime(row, column, value)

    def _write_number(self, row: int, column: int, value: float) -> None:
        if value == value and abs(value) != float("inf"):  # noqa: PLR0124 - a workbook has no such numbers
            self._sheet.write_number(row, column, value)

    def _write_amount(self, row: int, column: int, value: Decimal) -> None:
        self._sheet.write_number(row, column, float(value), self._amount)


def _width(field: pa.Field) -> float:
    """Wide enough for its name and what usually stands in it: the rows are not known yet."""
    return float(min(_WIDEST, max(12, len(field.name) + 2, 28 if pa.types.is_string(field.type) else 0)))
