"""Excel: xlsx, xlsb, xls and ods. The sheet is read by a process of its own, whose memory is bounded (see sheets.py).

Cells are text: dates as ISO 8601 (or as the contract's formats say), numbers with the 15 digits that Excel has, and of
formulas what they came to when the workbook was saved. Cells that were made one have its value all over.
"""

from __future__ import annotations

import difflib
import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain, islice
from pathlib import Path
from typing import Any

from perennial.contracts.entities import ENTITIES
from perennial.contracts.sources import FileFormat, SourceEntity
from perennial.sources.formats.rows import FormatError, RowWriter

MEMORY_LIMIT = 3 << 30  # of the process that reads, in bytes of address space
_LOOKED_THROUGH = 20  # rows in which the names of columns may stand, for a hint
_TOO_LARGE = "the workbook is damaged, or takes more than 3 GiB of memory to read"
_AGAIN = "save it again as .xlsx, whole"

Cells = list[Any]


def read_excel(path: Path, contract: SourceEntity, writer: RowWriter) -> tuple[str, ...]:
    """Write every row below the header; gives the header. Raises FormatError where the workbook cannot be read."""
    form = contract.format
    _refuse_bomb(path, form)
    with sheet_rows(path, form) as (_sheets, rows):
        header, above = _header_of(rows, form)
        ahead = list(islice(rows, _LOOKED_THROUGH))
        names = [name or f"column_{_letters(index)}" for index, name in enumerate(header)]
        _refuse_twins(header, form)
        _hint_at_header_row(header, [*above, *ahead], writer.wanted, form)
        shown = _shown_dates(names, contract)
        wanted = set(writer.wanted)
        for number, cells in chain(ahead, rows):
            if wrong := _errors(names, cells, wanted):
                writer.reject(number, wrong, json.dumps(dict(zip(names, map(_plain, cells), strict=False))))
                continue
            values = {name: show(cell) for name, show, cell in zip(names, shown, cells, strict=False)}
            writer.add(number, values)
    return tuple(header)


@contextmanager
def sheet_rows(path: Path, form: FileFormat) -> Iterator[tuple[dict[str, Any], Iterator[tuple[int, Cells]]]]:
    """What is said of the workbook, and the rows of the contract's sheet that are not blank, with their numbers."""
    command = [sys.executable, "-m", "perennial.sources.formats.sheets", str(path), form.sheet or "", str(MEMORY_LIMIT)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen(  # noqa: S603 - our own module, and a path that we named
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, env=environment
    )
    try:
        said = json.loads(_line_of(process) or "{}")
        _refuse_what_was_said(said, form)
        yield said, _rows_of(process)
    finally:
        process.kill()
        process.communicate()


def _line_of(process: subprocess.Popen[bytes]) -> bytes:
    return process.stdout.readline() if process.stdout else b""


def _rows_of(process: subprocess.Popen[bytes]) -> Iterator[tuple[int, Cells]]:
    while line := _line_of(process):
        number, cells = json.loads(line)
        yield number, cells
    if process.wait():
        raise FormatError(_TOO_LARGE, "export the sheet as CSV")


def _refuse_what_was_said(said: dict[str, Any], form: FileFormat) -> None:
    if not said:
        raise FormatError(_TOO_LARGE, "export the sheet as CSV")
    if "error" in said:
        raise FormatError(said["error"], _AGAIN if "password" not in said["error"] else "save it without a password")
    if "sheet" not in said:
        names = said["sheets"]
        near = difflib.get_close_matches(form.sheet or "", names, n=1, cutoff=0.4)
        held = ", ".join(repr(name) for name in names[:20]) or "no sheet"
        fix = f"did you mean {near[0]!r}?" if near else "name one of them as `sheet:` in sources.yml"
        raise FormatError(f"there is no sheet {form.sheet!r}; the workbook has {held}", fix)


def _refuse_bomb(path: Path, form: FileFormat) -> None:
    if path.stat().st_size == 0:
        raise FormatError("the file is empty", "send it again; a day without rows has a header")
    if not zipfile.is_zipfile(path):
        return  # xls, or nothing at all: the reader tells
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise FormatError(f"not a whole workbook: {error}", _AGAIN) from None
    if size > form.max_unpacked_bytes:
        raise FormatError(
            f"it unpacks to more than {form.max_unpacked_bytes:,} bytes",
            "land it in parts, or raise `max_unpacked_bytes:` in sources.yml if it is meant to be that large",
        )


def _header_of(rows: Iterator[tuple[int, Cells]], form: FileFormat) -> tuple[list[str], list[tuple[int, Cells]]]:
    """The names of the header row, and the rows above it."""
    above: list[tuple[int, Cells]] = []
    for number, cells in rows:
        if number == form.header_row:
            return [_plain(cell).strip() for cell in cells], above
        above.append((number, cells))
        if number > form.header_row:
            raise FormatError(
                f"row {form.header_row}, where the names of the columns should stand, is blank",
                f"row {number} is the next that is not: set `header_row:` in sources.yml",
                line=form.header_row,
            )
    raise FormatError(
        f"the sheet has no row {form.header_row} with names of columns",
        "send it again; a day without rows has a header",
    )


def _refuse_twins(header: Sequence[str], form: FileFormat) -> None:
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        raise FormatError(f"the header has {', '.join(twice)} twice", "export each column once", line=form.header_row)


def _hint_at_header_row(
    header: Sequence[str], looked: Sequence[tuple[int, Cells]], wanted: Sequence[str], form: FileFormat
) -> None:
    found = len(set(wanted) & set(header))
    if found == len(set(wanted)):
        return
    for number, cells in looked:
        if len(set(wanted) & {_plain(cell).strip() for cell in cells}) > found:
            raise FormatError(
                f"the names of the columns stand in row {number}, not in row {form.header_row}",
                f"set `header_row: {number}` in sources.yml",
                line=form.header_row,
            )


def _shown_dates(names: Sequence[str], contract: SourceEntity) -> list[Callable[[Any], Any]]:
    """For each column of the sheet how a cell becomes text: a date so that the contract's formats read it."""
    formats: dict[str, str | None] = {}
    for name, column in contract.columns.items():
        kind = ENTITIES[contract.entity].columns[name].type
        form = contract.format
        formats[column.source] = {"date": form.date_format, "timestamp": form.timestamp_format}.get(kind)
    return [_show(formats.get(name)) for name in names]


def _show(codes: str | None) -> Callable[[Any], Any]:
    def show(cell: Any) -> Any:
        if not isinstance(cell, dict):
            return cell
        return datetime.fromisoformat(cell["d"]).strftime(codes) if codes else _plain(cell)

    return show


def _errors(names: Sequence[str], cells: Cells, wanted: set[str]) -> str:
    """What is said of a row in which a column of the contract holds an error; empty where none does."""
    found = zip(names, cells, strict=False)
    return ", ".join(
        f"{name} is {cell['e']}" for name, cell in found if isinstance(cell, dict) and "e" in cell and name in wanted
    )


def _plain(cell: Any) -> str:
    """The cell's text; a date at midnight is a date only."""
    if isinstance(cell, dict) and "e" in cell:
        return str(cell["e"])
    if isinstance(cell, dict):
        return str(cell["d"]).removesuffix("T00:00:00")
    return cell or ""


def _letters(index: int) -> str:
    """Excel's name of a column: A, B, ..., Z, AA, ..."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
