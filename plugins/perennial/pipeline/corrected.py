"""Reading a corrected export: which quarantined row each line is, and the values that it has now."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import duckdb
import pyarrow as pa

from perennial.core.errors import BatchRefused, Problem
from perennial.delivery.formulas import restored_texts
from perennial.pipeline.quarantine import CONTROL, Selection
from perennial.quality.quarantine import RAW_LINE

_ROWS = 5_000
_FIELD_LIMIT = 1 << 24  # characters of one cell
_DELIMITERS = ",;\t"
_FIX = "export it again, and correct values only: neither the header nor _batch, _file, _line"
_SCHEMA = pa.schema([("at_line", pa.int64()), ("file", pa.string()), ("line", pa.int64()), ("raw", pa.string())])


@dataclass(frozen=True)
class Corrections:
    """An edited export that was read and makes sense. `batch_ids` are those that it has rows of."""

    path: Path
    header: tuple[str, ...]
    delimiter: str
    batch_ids: frozenset[str] = field(default_factory=frozenset)

    @property
    def name(self) -> str:
        """The file's name, for messages."""
        return self.path.name

    def load_into(self, connection: duckdb.DuckDBPyConnection, batch_id: str) -> None:
        """Make the table `corrected` (at_line, file, line, raw as JSON by the source's columns) of the batch's rows.

        Raises BatchRefused when a row of the quarantine stands twice in the file.
        """
        connection.execute("create table corrected (at_line bigint, file varchar, line bigint, raw varchar)")
        for part in _parts(self):
            table = self._as_table(part, batch_id)
            connection.register("arriving", table)
            connection.execute("insert into corrected select * from arriving")
            connection.unregister("arriving")
        twice = connection.execute(
            "select list(at_line order by at_line) from corrected group by file, line having count(*) > 1 limit 1"
        ).fetchone()
        if twice is not None:
            lines = " and ".join(str(number) for number in twice[0])
            raise BatchRefused(Problem(self.name, f"lines {lines} are the same quarantined row", "keep one of them"))

    def _as_table(self, part: Sequence[tuple[int, list[str]]], batch_id: str) -> pa.Table:
        batch, file, line = (_last(self.header, name) for name in CONTROL[:3])
        values = [
            index
            for index, name in enumerate(self.header)
            if (index < batch or name not in CONTROL) and name != RAW_LINE
        ]
        mine = [(at, cells) for at, cells in part if cells[batch] == batch_id]
        rows = [
            (at, cells[file], int(cells[line]), _as_json(self.header, values, cells))
            for at, cells in zip((at for at, _ in mine), _restored([cells for _, cells in mine]), strict=True)
        ]
        columns = zip(*rows, strict=True) if rows else ([], [], [], [])
        return pa.Table.from_arrays(
            [pa.array(list(c), f.type) for c, f in zip(columns, _SCHEMA, strict=True)], schema=_SCHEMA
        )


def read_corrections(path: Path, chosen: Selection) -> Corrections:
    """Read the file once from end to end and find every line's quarantined row named.

    Raises BatchRefused with file and line for what is not an export of this selection.
    """
    try:
        given = _opened(path)
        wanted = {one.batch_id for one in chosen.batches}
        found = {cells[_last(given.header, "_batch")] for part in _parts(given) for _at, cells in part}
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        said = "the file is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
        raise BatchRefused(Problem(path.name, said, "save it as CSV in UTF-8")) from None
    if not found <= wanted:
        strange = ", ".join(sorted(found - wanted)[:3])
        said = f"it has rows of batch {strange}, which was not asked for"
        raise BatchRefused(Problem(path.name, said, "name the batch, or the SOURCE.ENTITY, that was exported"))
    return Corrections(path, given.header, given.delimiter, frozenset(found))


def _opened(path: Path) -> Corrections:
    """The file with its header and the delimiter that the spreadsheet wrote."""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        first = stream.readline(1 << 20)
    for delimiter in _DELIMITERS:
        header = next(csv.reader([first], delimiter=delimiter), [])
        header = restored_texts(pa.array(header, pa.string())).to_pylist()
        if set(CONTROL[:3]) <= set(header):
            return Corrections(path, tuple(header), delimiter)
    raise BatchRefused(Problem(f"{path.name}:1", "the columns _batch, _file and _line are not there", _FIX))


def _parts(given: Corrections) -> Iterator[list[tuple[int, list[str]]]]:
    """The file's lines in chunks, each with its number; every one has as many cells as the header."""
    with given.path.open(encoding="utf-8-sig", newline="") as stream:
        csv.field_size_limit(_FIELD_LIMIT)
        reader = csv.reader(stream, delimiter=given.delimiter)
        next(reader, None)
        lines = ((reader.line_num, _checked(given, reader.line_num, cells)) for cells in reader if any(cells))
        while part := list(islice(lines, _ROWS)):
            yield part


def _checked(given: Corrections, at: int, cells: list[str]) -> list[str]:
    where = f"{given.name}:{at}"
    if len(cells) != len(given.header):
        said = f"the line has {len(cells)} cells, the header {len(given.header)}"
        raise BatchRefused(Problem(where, said, "quote values that hold the delimiter"))
    if not cells[_last(given.header, "_line")].isdecimal():
        raise BatchRefused(Problem(f"{where}:_line", "is not a whole number", _FIX))
    return cells


def _last(header: Sequence[str], name: str) -> int:
    """The last column of that name: the source may have one of its own before."""
    return len(header) - 1 - list(reversed(header)).index(name)


def _restored(rows: Sequence[list[str]]) -> Iterator[tuple[str, ...]]:
    """The cells without the apostrophes that the export put before formulas."""
    columns = [restored_texts(pa.array(list(column), pa.string())).to_pylist() for column in zip(*rows, strict=True)]
    return zip(*columns, strict=True) if rows else iter(())


def _as_json(header: Sequence[str], values: Sequence[int], cells: Sequence[str]) -> str | None:
    """The values by the source's columns; None for a row in which nothing is filled in: it is left as it is."""
    found = {header[index]: cells[index] or None for index in values}
    return json.dumps(found, ensure_ascii=False) if any(found.values()) else None
