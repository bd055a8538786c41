"""Batches to one Parquet file in row groups, and digests of its rows."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from perennial.core.sqltext import identifier, literal

_MEMORY = "1GB"


def write(batches: Iterable[pa.RecordBatch], path: Path, *, name: str, chunk_rows: int) -> int:
    """Write the file and return its rows; without rows there is no file. Memory holds one row group.

    `name` is written into it: two ranges with the same rows are two files, and one range is the same file again.
    """
    rows, kept, held = 0, list[pa.RecordBatch](), 0
    writer: pq.ParquetWriter | None = None
    for batch in batches:
        if batch.num_rows == 0:
            continue
        if writer is None:
            schema = batch.schema.remove_metadata().with_metadata({"perennial.range": name})
            writer = pq.ParquetWriter(path, schema, compression="zstd", compression_level=1)
        kept.append(batch)
        held += batch.num_rows
        rows += batch.num_rows
        if held >= chunk_rows:
            _write_group(writer, kept)
            kept, held = [], 0
    if writer is not None:
        if kept:
            _write_group(writer, kept)
        writer.close()
    return rows


def _write_group(writer: pq.ParquetWriter, kept: list[pa.RecordBatch]) -> None:
    table = pa.Table.from_batches(kept).replace_schema_metadata(writer.schema.metadata)
    writer.write_table(table, row_group_size=table.num_rows)


def open_duckdb(folder: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that spills into the folder."""
    connection = duckdb.connect()
    connection.execute(f"set temp_directory = {literal(str(folder / 'spill'))}")
    connection.execute(f"set memory_limit = '{_MEMORY}'")
    connection.execute("set timezone = 'UTC'")
    return connection


def row_text(columns: Iterable[str]) -> str:
    """SQL: all columns of a row as one text; null and the empty text differ."""
    return f"concat_ws(chr(31), {', '.join(f'coalesce({identifier(name)}::varchar, chr(30))' for name in columns)})"


def digest(path: Path, scratch: Path, condition: str = "true", values: tuple[Any, ...] = ()) -> dict[str, str]:
    """How many rows of the file meet the condition, and a sum of their hashes that does not hang on their order."""
    source = f"read_parquet({literal(str(path))})"
    with open_duckdb(scratch) as connection:
        names = [row[0] for row in connection.execute(f"describe select * from {source}").fetchall()]
        found = connection.execute(
            f"select count(*)::varchar, coalesce(sum(md5_number_lower({row_text(names)})), 0)::varchar"
            f" from {source} where {condition}",
            list(values),
        ).fetchone()
    rows, total = found or ("0", "0")
    return {"rows": str(rows), "sum": str(total)}
