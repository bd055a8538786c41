"""A list as files: CSV, workbook, JSON lines and Parquet, in one pass; equal rows give equal bytes (L2).

Text that a format cannot hold is told row by row in `changed.csv` (UTF-8, with the true value), and a client whose
address it cannot hold is not in the list: he stands in `refused.parquet`.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.delivery.files_text import Counting, CsvStyle, CsvText, JsonText, Unencodable, told_line
from perennial.delivery.files_xlsx import Workbook
from perennial.delivery.reasons import REASONS
from perennial.delivery.records import FIRST_COLUMNS, HASH_COLUMN, OUTCOMES

Format = Literal["csv", "parquet", "xlsx", "jsonl"]
ROW_GROUP_ROWS = 100_000
# Where the keys of a list are read from after a crash: the Parquet file, or one of keys alone where none is wanted.
LIST_CSV, LIST_PARQUET, LIST_XLSX, LIST_JSONL = "list.csv", "list.parquet", "list.xlsx", "list.jsonl"
KEYS_PARQUET, CHANGED_CSV, REFUSED_PARQUET = "keys.parquet", "changed.csv", "refused.parquet"
UNENCODABLE_ADDRESS = "unencodable_address"
_ADDRESSES = frozenset({"email", "phone"})
_KEYS = (*FIRST_COLUMNS, HASH_COLUMN)
_VARIED = frozenset({"client_id", "client_key", "email", "phone", "value", HASH_COLUMN})  # no dictionary helps these


@dataclass(frozen=True)
class WrittenFile:
    """One file of a list. `changed_cells`: cells that it could not hold as they are, each told in `changed.csv`."""

    name: str
    format: Format
    rows: int
    bytes: int
    sha256: str
    delimiter: str | None = None
    encoding: str | None = None
    changed_cells: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class Written:
    """The files of a list, how many rows are in it, and how many of each action were refused for their address."""

    files: list[WrittenFile]
    rows: int
    refused: dict[str, int] = field(default_factory=dict)


class _Writer(Protocol):
    path: Path

    def write(self, batch: pa.RecordBatch) -> None: ...

    def close(self) -> WrittenFile: ...


def write_files(
    folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], formats: Iterable[Format], *, csv: CsvStyle
) -> Written:
    """Write the rows in each format into `folder`, in one pass over them; every file is on the disk when it returns."""
    wanted = set(formats)
    encoding = csv.encoding if "csv" in wanted else "utf-8"
    with ExitStack() as stack:
        changed = _Changed(folder, stack)
        refused = _Refused(folder, Unencodable(encoding, _ADDRESSES), stack)
        files: list[_Writer] = [_Parquet(folder, schema if "parquet" in wanted else _keys_of(schema), stack)]
        shown = pa.schema([f for f in schema if f.name != HASH_COLUMN]).remove_metadata()
        if "csv" in wanted:
            files.append(_Csv(folder, shown, csv, changed, stack))
        if "jsonl" in wanted:
            files.append(_Jsonl(folder, shown, stack))
        if "xlsx" in wanted:
            files.append(_Xlsx(folder, shown, changed, stack))
        for batch in _row_groups(schema, map(refused.without, batches)):
            for file in files:
                file.write(batch)
        found = [file.close() for file in files]
        rows = found[0].rows
        found += [one for one in (changed.close(), refused.close()) if one is not None]
    return Written(sorted(found, key=lambda file: file.name), rows, dict(refused.actions))


def keys_file(formats: Iterable[Format]) -> str:
    """The file that holds client_id, action and row_hash of a list in these formats."""
    return LIST_PARQUET if "parquet" in set(formats) else KEYS_PARQUET


def read_keys(path: Path) -> Iterator[pa.RecordBatch]:
    """client_id, action and row_hash of a written list, in chunks."""
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=ROW_GROUP_ROWS, columns=list(_KEYS))


def read_outcomes(folder: Path, keys_in: str) -> Iterator[pa.RecordBatch]:
    """The outcome of every row of a written list: accepted, or refused for its address."""
    for keys in read_keys(folder / keys_in):
        columns = [keys.column(name) for name in ("client_id", "action", "row_hash")]
        state, reason = pa.repeat("accepted", keys.num_rows), pa.nulls(keys.num_rows, pa.string())
        yield pa.RecordBatch.from_arrays([*columns, state, reason], schema=OUTCOMES)
    if (folder / REFUSED_PARQUET).exists():
        with pq.ParquetFile(folder / REFUSED_PARQUET) as file:
            for batch in file.iter_batches(batch_size=ROW_GROUP_ROWS):
                yield pa.RecordBatch.from_arrays(batch.columns, schema=OUTCOMES)


def refused_clients(folder: Path) -> frozenset[str]:
    """The client_ids of a written list's refused rows."""
    path = folder / REFUSED_PARQUET
    return frozenset(pq.read_table(path, columns=["client_id"]).column(0).to_pylist() if path.exists() else ())


def sha256_of(path: Path) -> str:
    """The checksum of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_private(path: Path) -> io.FileIO:
    """Create a file that only its owner reads (mode 600). Raises FileExistsError when there is one."""
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _keys_of(schema: pa.Schema) -> pa.Schema:
    return pa.schema([schema.field(name) for name in _KEYS])


def _row_groups(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows cut anew: how they arrive in batches must not show in the bytes."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
        count += batch.num_rows
        while count >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(waiting)
            yield from table.slice(0, ROW_GROUP_ROWS).combine_chunks().to_batches()
            waiting = table.slice(ROW_GROUP_ROWS).to_batches()
            count -= ROW_GROUP_ROWS
    if count:
        yield from pa.Table.from_batches(waiting).combine_chunks().to_batches()


class _Bytes:
    """A private file whose checksum is taken on the way."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self.path = path
        self.raw = stack.enter_context(create_private(path))
        self.digest = hashlib.sha256()
        self.sink = Counting(self.raw, self.digest)
        self.rows = 0

    def ended(self, kind: Format, **more: Any) -> WrittenFile:
        os.fsync(self.raw.fileno())
        return WrittenFile(self.path.name, kind, self.rows, self.sink.bytes, self.digest.hexdigest(), **more)


class _Parquet:
    def __init__(self, folder: Path, schema: pa.Schema, stack: ExitStack) -> None:
        self.path = folder / (LIST_PARQUET if len(schema) > len(_KEYS) else KEYS_PARQUET)
        self._names = schema.names
        self._bytes = _Bytes(self.path, stack)
        buffered = self._buffered = io.BufferedWriter(self._bytes.sink, 1 << 20)
        few = [name for name in self._names if name not in _VARIED]
        self._writer = stack.enter_context(
            pq.ParquetWriter(buffered, schema.remove_metadata(), compression="zstd", use_dictionary=few)
        )

    def write(self, batch: pa.RecordBatch) -> None:
        self._bytes.rows += batch.num_rows
        self._writer.write_table(pa.Table.from_batches([batch.select(self._names)]), row_group_size=ROW_GROUP_ROWS)

    def close(self) -> WrittenFile:
        self._writer.close()
        self._buffered.flush()
        return self._bytes.ended("parquet")


class _Csv:
    def __init__(self, folder: Path, schema: pa.Schema, style: CsvStyle, changed: _Changed, stack: ExitStack) -> None:
        self.path = folder / LIST_CSV
        self._bytes = _Bytes(self.path, stack)
        self._style, self._schema, self._changed = style, schema, changed
        self._cells = Unencodable(style.encoding, _ADDRESSES)
        self._text = CsvText(self._bytes.sink, schema, style)

    def write(self, batch: pa.RecordBatch) -> None:
        self._bytes.rows += batch.num_rows
        batch, found = self._cells.replaced(batch)
        first = self._cells.rows - batch.num_rows + 1
        for row, *cell in found:
            client = batch.column("client_id")[row - first]
            self._changed.tell(LIST_CSV, row, client, (cell[0], cell[1], cell[2]))
        self._text.write(batch.select(self._schema.names))

    def close(self) -> WrittenFile:
        style = {"delimiter": self._style.delimiter, "encoding": self._style.encoding}
        return self._bytes.ended("csv", **style, changed_cells=self._cells.told or None)


class _Jsonl:
    def __init__(self, folder: Path, schema: pa.Schema, stack: ExitStack) -> None:
        self.path = folder / LIST_JSONL
        self._names = schema.names
        self._bytes = _Bytes(self.path, stack)
        self._text = JsonText(self._bytes.sink, schema)

    def write(self, batch: pa.RecordBatch) -> None:
        self._bytes.rows += batch.num_rows
        self._text.write(batch.select(self._names))

    def close(self) -> WrittenFile:
        return self._bytes.ended("jsonl", encoding="utf-8")


class _Xlsx:
    def __init__(self, folder: Path, schema: pa.Schema, changed: _Changed, stack: ExitStack) -> None:
        self.path = folder / LIST_XLSX
        self._names = schema.names
        self._changed, self._told, self._batch, self._first = changed, 0, None, 1
        self._book = Workbook(self.path, schema, self._tell)
        stack.callback(self._book.abandon)

    def write(self, batch: pa.RecordBatch) -> None:
        self._first, self._batch = self._book.rows + 1, batch
        self._book.write(batch.select(self._names))

    def _tell(self, row: int, column: str, value: str, written: str) -> None:
        self._told += 1
        client = self._batch.column("client_id")[row - self._first] if self._batch is not None else ""
        self._changed.tell(LIST_XLSX, row, client, (column, value, written))

    def close(self) -> WrittenFile:
        self._book.close()
        size, digest = self.path.stat().st_size, sha256_of(self.path)
        return WrittenFile(LIST_XLSX, "xlsx", self._book.rows, size, digest, changed_cells=self._told or None)


class _Changed:
    """`changed.csv`: which cells a file could not hold as they are, with the true value. There when there is one."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._folder, self._stack = folder, stack
        self._bytes: _Bytes | None = None

    def tell(self, file: str, row: int, client_id: Any, cell: tuple[str, str, str]) -> None:
        """A cell is its column, its true value, and what was written."""
        if self._bytes is None:
            self._bytes = _Bytes(self._folder / CHANGED_CSV, self._stack)
            self._bytes.sink.write(told_line(("file", "row", "client_id", "column", "value", "written")))
        self._bytes.rows += 1
        self._bytes.sink.write(told_line((file, row, client_id, *cell)))

    def close(self) -> WrittenFile | None:
        return None if self._bytes is None else self._bytes.ended("csv", delimiter=",", encoding="utf-8")


class _Refused:
    """`refused.parquet`: rows whose address the encoding does not have. There when there is one."""

    def __init__(self, folder: Path, cells: Unencodable, stack: ExitStack) -> None:
        self._path, self._cells, self._stack = folder / REFUSED_PARQUET, cells, stack
        self._bytes: _Bytes | None = None
        self._writer: Any = None
        self.actions: Counter[str] = Counter()

    def without(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that can be written; the others are put down."""
        rows = self._cells.refused(batch)
        if not rows:
            return batch
        self._put_down(batch.take(pa.array(rows)))
        keep = pa.array(sorted(set(range(batch.num_rows)).difference(rows)), pa.int64())
        return batch.take(keep)

    def _put_down(self, batch: pa.RecordBatch) -> None:
        if self._bytes is None:
            self._bytes = _Bytes(self._path, self._stack)
            self._writer = self._stack.enter_context(pq.ParquetWriter(self._bytes.sink, OUTCOMES, compression="zstd"))
        self._bytes.rows += batch.num_rows
        self.actions.update(batch.column("action").to_pylist())
        keys = [batch.column(name) for name in ("client_id", "action", "row_hash")]
        told = [
            pa.repeat("rejected", batch.num_rows),
            pa.repeat(REASONS[UNENCODABLE_ADDRESS].sentence(), batch.num_rows),
        ]
        self._writer.write_batch(pa.RecordBatch.from_arrays([*keys, *told], schema=OUTCOMES))

    def close(self) -> WrittenFile | None:
        if self._bytes is None:
            return None
        self._writer.close()
        return self._bytes.ended("parquet")
