"""A list as files: CSV for people and their tools, Parquet with the real values; equal rows give equal bytes (L2)."""

from __future__ import annotations

import codecs
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from perennial.delivery.formulas import safe_batch
from perennial.delivery.records import FIRST_COLUMNS, HASH_COLUMN

Format = Literal["csv", "parquet"]
ROW_GROUP_ROWS = 100_000
# Where the keys of a list are read from after a crash: the Parquet file, or one of keys alone where none is wanted.
LIST_CSV, LIST_PARQUET, KEYS_PARQUET = "list.csv", "list.parquet", "keys.parquet"
_KEYS = (*FIRST_COLUMNS, HASH_COLUMN)


@dataclass(frozen=True)
class WrittenFile:
    """One file of a list. `replaced_characters`: those that the encoding of a CSV does not have, written as `?`."""

    name: str
    format: Format
    rows: int
    bytes: int
    sha256: str
    delimiter: str | None = None
    encoding: str | None = None
    replaced_characters: int | None = None

    def as_json(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {name: value for name, value in asdict(self).items() if value is not None}


@dataclass(frozen=True)
class _Open:
    path: Path
    write: Callable[[pa.Table], None]
    close: Callable[[], None]
    described: Callable[[], dict[str, Any]]


def write_files(
    folder: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], formats: Iterable[Format], *, csv: CsvStyle
) -> list[WrittenFile]:
    """Write the rows in each format into `folder`, in one pass over them; every file is on the disk when it returns."""
    wanted = set(formats)
    rows = 0
    with ExitStack() as stack:
        files = [_open_parquet(folder, schema if "parquet" in wanted else _keys_of(schema), stack)]
        if "csv" in wanted:
            files.append(_open_csv(folder, schema, csv, stack))
        for table in _row_groups(schema, batches):
            rows += table.num_rows
            for file in files:
                file.write(table)
        for file in files:
            file.close()
    return [_describe(file, rows) for file in sorted(files, key=lambda file: file.path.name)]


@dataclass(frozen=True)
class CsvStyle:
    """How a CSV is written: RFC 4180 quoting, lines ended by a line feed."""

    delimiter: str = ","
    encoding: str = "utf-8"


def keys_file(formats: Iterable[Format]) -> str:
    """The file that holds client_id, action and row_hash of a list in these formats."""
    return LIST_PARQUET if "parquet" in set(formats) else KEYS_PARQUET


def read_keys(path: Path) -> Iterator[pa.RecordBatch]:
    """client_id, action and row_hash of a written list, in chunks."""
    with pq.ParquetFile(path) as file:
        yield from file.iter_batches(batch_size=ROW_GROUP_ROWS, columns=list(_KEYS))


def sha256_of(path: Path) -> str:
    """The checksum of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def create_private(path: Path) -> io.FileIO:
    """Create a file that only its owner reads (mode 600). Raises FileExistsError when there is one."""
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _keys_of(schema: pa.Schema) -> pa.Schema:
    return pa.schema([schema.field(name) for name in _KEYS])


def _row_groups(schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """The rows cut anew: how they arrive in batches must not show in the bytes."""
    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
        count += batch.num_rows
        while count >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(waiting)
            yield table.slice(0, ROW_GROUP_ROWS).combine_chunks()
            waiting = table.slice(ROW_GROUP_ROWS).to_batches()
            count -= ROW_GROUP_ROWS
    if count:
        yield pa.Table.from_batches(waiting).combine_chunks()


def _open_parquet(folder: Path, schema: pa.Schema, stack: ExitStack) -> _Open:
    path = folder / (LIST_PARQUET if len(schema) > len(_KEYS) else KEYS_PARQUET)
    raw = stack.enter_context(create_private(path))
    buffered = io.BufferedWriter(raw, 1 << 20)
    writer = stack.enter_context(pq.ParquetWriter(buffered, schema.remove_metadata(), compression="zstd"))

    def close() -> None:
        writer.close()
        buffered.flush()
        os.fsync(raw.fileno())

    def write(table: pa.Table) -> None:
        writer.write_table(table.select(schema.names), row_group_size=ROW_GROUP_ROWS)

    return _Open(path, write, close, lambda: {"format": "parquet"})


def _open_csv(folder: Path, schema: pa.Schema, style: CsvStyle, stack: ExitStack) -> _Open:
    path = folder / LIST_CSV
    raw = stack.enter_context(create_private(path))
    target: Any = io.BufferedWriter(raw, 1 << 20)
    recoder = None
    if codecs.lookup(style.encoding).name != "utf-8":
        target = recoder = _Recoder(target, style.encoding)
    shown = pa.schema([field for field in schema if field.name != HASH_COLUMN]).remove_metadata()
    options = pa_csv.WriteOptions(delimiter=style.delimiter, quoting_style="needed", eol="\n")
    writer = stack.enter_context(pa_csv.CSVWriter(target, shown, write_options=options))

    def write(table: pa.Table) -> None:
        for batch in table.select(shown.names).to_batches():
            writer.write_batch(pa.RecordBatch.from_arrays(safe_batch(batch).columns, schema=shown))

    def close() -> None:
        writer.close()
        target.flush()
        os.fsync(raw.fileno())

    def described() -> dict[str, Any]:
        replaced = {"replaced_characters": recoder.replaced} if recoder and recoder.replaced else {}
        return {"format": "csv", "delimiter": style.delimiter, "encoding": style.encoding, **replaced}

    return _Open(path, write, close, described)


def _describe(file: _Open, rows: int) -> WrittenFile:
    return WrittenFile(
        name=file.path.name,
        rows=rows,
        bytes=file.path.stat().st_size,
        sha256=sha256_of(file.path),
        **file.described(),
    )


class _Recoder(io.RawIOBase):
    """Takes UTF-8 and writes another encoding; a character that it does not have becomes `?` and is counted."""

    def __init__(self, target: io.BufferedWriter, encoding: str) -> None:
        super().__init__()
        self.replaced = 0
        self._target = target
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._encoder = codecs.getincrementalencoder(encoding)()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        given = bytes(data)
        self._target.write(self._encode(self._decoder.decode(given)))
        return len(given)

    def flush(self) -> None:
        self._target.flush()

    def _encode(self, text: str) -> bytes:
        try:
            return self._encoder.encode(text)
        except UnicodeEncodeError:
            return b"".join(self._encode_one(character) for character in text)

    def _encode_one(self, character: str) -> bytes:
        try:
            return self._encoder.encode(character)
        except UnicodeEncodeError:
            self.replaced += 1
            return self._encoder.encode("?")
