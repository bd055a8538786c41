"""Rows of any format as text in Parquet, as staging reads them: c0, c1, ..., `_extra`, `_line`, `_row`.

`_line` is where the row begins in the source file; where several rows begin on one line it cannot tell them apart, and
`_row`, the number of the row, is used instead.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.core.errors import Problem

Leaf = str | None
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 20_000, 1 << 24
_MOST_NAMES = 2_000  # of columns that are told; more are kept in `_extra`, and not named
_RAW_CHARACTERS = 65_536
_REJECTS = pa.schema([("_line", pa.int64()), ("_row", pa.int64()), ("kind", pa.string()), ("raw", pa.string())])


class Number(str):
    """A number exactly as it was written."""

    __slots__ = ()


class FormatError(Exception):
    """The file cannot be read as what its contract says. `line` is 0 where there is none."""

    def __init__(self, message: str, fix: str, *, line: int = 0) -> None:
        super().__init__(message)
        self.message, self.fix, self.line = message, fix, line

    def problem(self, name: str) -> Problem:
        """For a person; `name` is the file's."""
        return Problem(f"{name}:{self.line}" if self.line else name, self.message, self.fix)


@dataclass(frozen=True)
class Converted:
    """What came of a file: `names` are all paths that were seen in it, `line_column` is `_line` or `_row`."""

    rows: int
    rejected: int
    names: tuple[str, ...]
    seen: frozenset[str]  # the wanted paths that the file has
    line_column: str


class RowSink(Protocol):
    """Takes the rows of a file as they are found."""

    @property
    def wanted(self) -> tuple[str, ...]:
        """The paths that become columns; those that begin with `../` are looked up in what holds the rows."""
        ...

    def add(self, line: int, values: Mapping[str, Any]) -> None:
        """One row, by path."""
        ...

    def reject(self, line: int, kind: str, raw: str) -> None:
        """What is no row: why, and what stands there."""
        ...


class RowWriter:
    """Writes the rows of one file. Use as a context; then `converted` says what was written."""

    def __init__(self, target: Path, rejects: Path, wanted: Sequence[str]) -> None:
        self.wanted = tuple(wanted)
        self._is_wanted = frozenset(wanted)
        texts = [(f"c{index}", pa.string()) for index in range(len(wanted))]
        self._schema = pa.schema([*texts, ("_extra", pa.string()), ("_line", pa.int64()), ("_row", pa.int64())])
        self._rows = pq.ParquetWriter(target, self._schema, compression="zstd")
        self._rejects_path = rejects
        self._rejects: pq.ParquetWriter | None = None
        self._buffer: list[tuple[Any, ...]] = []
        self._bad: list[tuple[int, int, str, str]] = []
        self._bytes = 0
        self._numbers = [0, 0]  # rows, rejects
        self._names: dict[str, None] = {}
        self._seen: set[str] = set()
        self._last_line, self._one_each = 0, True

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(self, *_error: object) -> None:
        self._flush()
        self._rows.close()
        if self._rejects is not None:
            self._rejects.close()

    def add(self, line: int, values: Mapping[str, Any]) -> None:
        """One row. A list or a block in it becomes JSON text; what nobody wants goes to `_extra`, as JSON."""
        self._note_line(line)
        self._numbers[0] += 1
        row = [as_text(values.get(name)) for name in self.wanted]
        extra = {name: value for name, value in values.items() if value is not None and name not in self._is_wanted}
        self._note_names(values)
        text = json_text(extra) if extra else None
        self._bytes += sum(len(cell) for cell in row if cell) + len(text or "")
        self._buffer.append((*row, text, line, sum(self._numbers)))
        self._flush_if_full()

    def reject(self, line: int, kind: str, raw: str) -> None:
        """What is no row: why, and what stands there."""
        self._note_line(line)
        self._numbers[1] += 1
        raw = raw.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
        self._bad.append((line, sum(self._numbers), kind, raw[:_RAW_CHARACTERS]))
        self._bytes += min(len(raw), _RAW_CHARACTERS)
        self._flush_if_full()

    def names_are(self, names: Sequence[str]) -> None:
        """The names of the columns, where the file has a header, also of columns that are empty."""
        self._names = dict.fromkeys(name for name in names if name)
        self._seen = set(names) & self._is_wanted

    @property
    def converted(self) -> Converted:
        """What was written."""
        line = "_line" if self._one_each else "_row"
        return Converted(self._numbers[0], self._numbers[1], tuple(self._names), frozenset(self._seen), line)

    def _note_line(self, line: int) -> None:
        self._one_each = self._one_each and line > self._last_line
        self._last_line = line

    def _note_names(self, values: Mapping[str, Any]) -> None:
        for name in values:
            if name not in self._names and len(self._names) < _MOST_NAMES:
                self._names[name] = None
            if name in self._is_wanted and values[name] is not None:
                self._seen.add(name)

    def _flush_if_full(self) -> None:
        if len(self._buffer) + len(self._bad) >= _ROWS_AT_ONCE or self._bytes >= _BYTES_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        if self._buffer:
            self._rows.write_table(_table(self._buffer, self._schema))
        if self._bad:
            if self._rejects is None:
                self._rejects = pq.ParquetWriter(self._rejects_path, _REJECTS, compression="zstd")
            self._rejects.write_table(_table(self._bad, _REJECTS))
        self._buffer, self._bad, self._bytes = [], [], 0


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(list(column), field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def as_text(value: Any) -> Leaf:
    """A leaf as text: truth as true or false, a list or a block as JSON, a number as it was written."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str) else json_text(value)


def json_text(value: Any) -> str:
    """JSON in which a number is the one that was written, to the last digit."""
    if isinstance(value, Number):
        return str.__str__(value)
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {json_text(v)}" for key, v in value.items()) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(json_text, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
