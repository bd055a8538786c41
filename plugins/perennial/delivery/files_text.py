"""Rows as text, fast: CSV (RFC 4180, quoted only where it is needed) and JSON lines, a batch in a few passes of Arrow.

Whole columns are joined to whole lines; what a batch has the same in every row (an offer, a date) is joined once.
"""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from perennial.delivery.formulas import safe_texts

_SPECIAL_OF_CSV = ('"', "\n", "\r")
_CONTROLS = tuple(chr(code) for code in range(0x20))
_PIECE_BYTES = 1 << 28
Part: TypeAlias = "pa.Array | str"


class Sink(Protocol):
    """Where bytes go."""

    def write(self, data: Any, /) -> Any:
        """Take the bytes."""
        ...


@dataclass(frozen=True)
class CsvStyle:
    """How a CSV is written: lines ended by a line feed; a missing value is nothing, an empty text two quotes."""

    delimiter: str = ","
    encoding: str = "utf-8"


def _array_of(texts: Sequence[str]) -> pa.Array:
    """The texts as an array. pa.array() and pa.scalar() would import pandas (0.4 CPU s) to look whether it is its."""
    parts = [text.encode() for text in texts]
    offsets = np.cumsum([0, *(len(part) for part in parts)], dtype=np.int32)
    return pa.StringArray.from_buffers(len(parts), pa.py_buffer(offsets), pa.py_buffer(b"".join(parts)))


def _scalar(part: Part) -> Any:
    return _array_of([part])[0] if isinstance(part, str) else part


_NOTHING, _NULL = _scalar(""), _scalar("null")
_ZERO = pa.Array.from_buffers(pa.int32(), 1, [None, pa.py_buffer(bytes(4))])[0]


class CsvText:
    """Writes batches of one schema as CSV into `sink`, the names of the columns first."""

    def __init__(self, sink: Sink, schema: pa.Schema, style: CsvStyle) -> None:
        self._style = style
        self._write = _encoded(sink, style.encoding)
        self._special = (*_SPECIAL_OF_CSV, style.delimiter)
        names = csv_cells(_array_of(schema.names), self._special)
        self._write(style.delimiter.join(names.to_pylist()) + "\n")

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the rows, each text cell such that no spreadsheet takes it for a formula (L23)."""
        for piece in _pieces(batch):
            parts: list[Part] = []
            for column in piece.columns:
                parts += [_csv_part(column, self._special), self._style.delimiter]
            for text in _lines([*parts[:-1], "\n"], piece.num_rows):
                self._write(text)


class JsonText:
    """Writes batches of one schema as JSON lines into `sink`, in UTF-8: the real values, a missing one as null."""

    def __init__(self, sink: Sink, schema: pa.Schema) -> None:
        self._write = _encoded(sink, "utf-8")
        self._names = [json.dumps(name, ensure_ascii=False) for name in schema.names]

    def write(self, batch: pa.RecordBatch) -> None:
        """Write the rows."""
        for piece in _pieces(batch):
            parts: list[Part] = []
            for name, column in zip(self._names, piece.columns, strict=True):
                parts += [f",{name}:" if parts else f"{{{name}:", *_json_parts(column)]
            for text in _lines([*parts, "}\n"], piece.num_rows):
                self._write(text)


def csv_cells(texts: pa.Array, special: Iterable[str]) -> pa.Array:
    """The strings as cells of a CSV: quoted where one is empty or holds a special character; nulls stay null."""
    used = _used(texts).tobytes()
    needed = pc.equal(pc.binary_length(texts), _ZERO)
    for sign in special:
        if sign.encode() in used:
            needed = pc.or_(needed, pc.match_substring(texts, sign))
    if not pc.any(needed).as_py():
        return texts
    doubled = pc.replace_substring(texts, '"', '""') if b'"' in used else texts
    return pc.if_else(needed, _wrapped(doubled, '"', '"'), texts)


def json_cells(texts: pa.Array) -> pa.Array:
    """The strings with everything escaped that JSON wants to be, without the quotes around them."""
    found = _used(texts)
    used = found.tobytes()
    signs = [sign for sign in ("\\", '"') if sign.encode() in used]  # the backslash first: the others bring some
    if len(found) and found.min() < len(_CONTROLS):
        signs += [sign for sign in _CONTROLS if sign.encode() in used]
    for sign in signs:
        texts = pc.replace_substring(texts, sign, json.dumps(sign)[1:-1])
    return texts


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Slices that are small enough for all their text to be joined in memory."""
    rows = max(1, batch.num_rows * _PIECE_BYTES // max(batch.nbytes, _PIECE_BYTES))
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)


def _csv_part(column: pa.Array, special: Iterable[str]) -> Part:
    if column.null_count == len(column):
        return ""
    same = _is_same_in_all(column)
    looked_at = column.slice(0, 1) if same else column
    texts = looked_at if pa.types.is_string(column.type) else pc.cast(looked_at, pa.string())
    cells = csv_cells(safe_texts(texts), special) if pa.types.is_string(column.type) else texts
    return str(cells[0].as_py()) if same else cells


def _json_parts(column: pa.Array) -> list[Part]:
    if column.null_count == len(column):
        return ["null"]
    if _is_same_in_all(column):
        return [_json_part(column.slice(0, 1))[0].as_py()]
    if pa.types.is_string(column.type) and not column.null_count:
        return ['"', json_cells(column), '"']
    return [_json_part(column)]


def _json_part(column: pa.Array) -> pa.Array:
    """The values as JSON."""
    kind = column.type
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, kind))
    texts = column if pa.types.is_string(kind) else pc.cast(column, pa.string())
    if not (pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_floating(kind)) and (
        not pa.types.is_boolean(kind)
    ):
        texts = _wrapped(json_cells(texts), '"', '"')
    return pc.fill_null(texts, _NULL)


def _is_same_in_all(column: pa.Array) -> bool:
    """Whether every row has the same value, and none is missing."""
    if column.null_count or pa.types.is_floating(column.type):
        return False
    if pa.types.is_string(column.type):
        return _is_one_text(column)
    ends = pc.min_max(column)
    return bool(ends["min"] == ends["max"])


def _is_one_text(texts: pa.Array) -> bool:
    """Whether the bytes repeat themselves, row by row; what differs in the first two rows is not looked at further."""
    offsets, data = _buffers(texts)
    length = int(offsets[1] - offsets[0])
    if length * (len(offsets) - 1) != int(offsets[-1] - offsets[0]) or not (np.diff(offsets) == length).all():
        return False
    used = data[offsets[0] : offsets[-1]]
    if len(texts) > 1 and not (used[length : 2 * length] == used[:length]).all():
        return False
    return bool((used[length:] == used[: len(used) - length]).all())


def _buffers(texts: pa.Array) -> tuple[Any, Any]:
    """Offsets of the rows, and the bytes that they point into."""
    _, offsets, data = texts.buffers()
    found = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return found, np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, dtype=np.uint8)


def _used(texts: pa.Array) -> Any:
    """The bytes of all the texts, one after the other; under missing ones anything may lie."""
    if not len(texts) or texts.buffers()[1] is None:
        return np.zeros(0, dtype=np.uint8)
    offsets, data = _buffers(texts)
    return data[offsets[0] : offsets[-1]]


def _wrapped(texts: pa.Array, before: str, after: str) -> pa.Array:
    return pc.binary_join_element_wise(_scalar(before), texts, _scalar(after), _NOTHING)


def _lines(parts: list[Part], rows: int) -> Iterator[pa.Array | str]:
    """The rows as text: neighbours that are the same in every row are put together first."""
    merged: list[Part] = []
    for part in parts:
        if merged and isinstance(part, str) and isinstance(merged[-1], str):
            merged[-1] += part
        else:
            merged.append(part)
    if all(isinstance(part, str) for part in merged):
        yield from (str(merged[0]) for _ in range(rows))
        return
    texts = pc.binary_join_element_wise(*map(_scalar, merged), _NOTHING, null_handling="replace", null_replacement="")
    yield texts


def _encoded(sink: Sink, encoding: str) -> Callable[[pa.Array | str], None]:
    """What takes texts (an array: one after the other) and writes them in the encoding; UTF-8 as it lies in memory."""
    if codecs.lookup(encoding).name == "utf-8":
        return lambda text: _write_all(sink, text)
    encoder = codecs.getincrementalencoder(encoding)()
    return lambda text: _write_all(sink, text, encoder)


def _write_all(sink: Sink, text: pa.Array | str, encoder: codecs.IncrementalEncoder | None = None) -> None:
    data: Any = text.encode() if isinstance(text, str) else memoryview(_used(text))
    sink.write(encoder.encode(str(data, "utf-8")) if encoder else data)


@dataclass
class Unencodable:
    """Cells that an encoding does not have, and what is done about each. `rows` were looked at so far."""

    encoding: str
    addresses: frozenset[str]  # columns that must not be changed: without its address a row is refused
    rows: int = 0
    told: int = 0
    _is_unicode: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._is_unicode = codecs.lookup(self.encoding).name.startswith("utf")

    def refused(self, batch: pa.RecordBatch) -> list[int]:
        """The rows whose address the encoding does not have."""
        if self._is_unicode:
            return []
        columns = [batch.column(name) for name in batch.schema.names if name in self.addresses]
        return sorted({row for column in columns if pa.types.is_string(column.type) for row in self._bad(column)})

    def replaced(self, batch: pa.RecordBatch) -> tuple[pa.RecordBatch, list[tuple[int, str, str, str]]]:
        """The batch as it can be written, with `?` for what the encoding lacks, and each cell that this changed.

        A cell is told as row (from 1, over all batches), column, true value, and what is written.
        """
        found: list[tuple[int, str, str, str]] = []
        first = self.rows + 1
        self.rows += batch.num_rows
        if self._is_unicode:
            return batch, found
        columns = []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            bad = self._bad(column) if pa.types.is_string(column.type) else []
            if bad:
                cells = column.to_pylist()
                for row in bad:
                    true, cells[row] = cells[row], self._written(cells[row])
                    found.append((first + row, name, true, cells[row]))
                column = pa.array(cells, pa.string())  # noqa: PLW2901 - the same column, as it can be written
            columns.append(column)
        self.told += len(found)
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema), sorted(found)

    def _bad(self, column: pa.Array) -> list[int]:
        """Rows that cannot be encoded; a column is looked at as a whole first."""
        whole = _used(column).tobytes()
        if whole.isascii() or self._fits(whole.decode()):
            return []
        offsets, data = _buffers(column)
        spans, raw = pairwise(offsets.tolist()), data.tobytes()
        return [row for row, (start, end) in enumerate(spans) if not self._fits(raw[start:end].decode())]

    def _fits(self, text: str) -> bool:
        try:
            text.encode(self.encoding)
        except UnicodeEncodeError:
            return False
        return True

    def _written(self, text: str) -> str:
        return text.encode(self.encoding, "replace").decode(self.encoding)


def told_line(cells: Iterable[object]) -> bytes:
    """One line of the file of told cells: CSV in UTF-8, safe in a spreadsheet."""
    texts = csv_cells(safe_texts(_array_of([str(cell) for cell in cells])), (*_SPECIAL_OF_CSV, ","))
    return (",".join(texts.to_pylist()) + "\n").encode()


class Counting(io.RawIOBase):
    """Writes through to a file and takes the checksum of the bytes on their way, so that they are not read again."""

    def __init__(self, target: io.FileIO, digest: Any) -> None:
        super().__init__()
        self._target = target
        self._digest = digest
        self.bytes = 0

    def writable(self) -> bool:
        """It is there to be written to."""
        return True

    def tell(self) -> int:
        """How much was written."""
        return self.bytes

    def write(self, data: Any, /) -> int:
        """Write all of it."""
        left = memoryview(data).cast("B")
        size = len(left)
        self._digest.update(left)
        while left:
            left = left[self._target.write(left) :]
        self.bytes += size
        return size
