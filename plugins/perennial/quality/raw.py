"""Writing what passed the gate: the raw Parquet file of one batch."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from perennial.core.sqltext import literal
from perennial.quality.checking import Checker

_GOOD = "broken = 0 and not duplicate"
_CONSENT_ROWS = 50_000
# Columns with many values (keys, references) are not tried as dictionaries for long: a third of the time of writing.
# The encodings of Parquet 2 (differences, lengths apart) take a tenth off writing, a third off reading.
_HOW = "compression zstd, compression_level 1, dictionary_size_limit 1000, parquet_version v2"


def write_raw(checker: Checker, path: Path, *, source: str, batch_id: str, batch_seq: int) -> int:
    """Write the good rows by file and line, with the columns of contracts/entities.py. Returns the rows written."""
    names = ", ".join(checker.entity.columns)
    constants = {"_source": source, "_batch_id": batch_id}
    texts = ", ".join(f"{_constant(value)} as {name}" for name, value in constants.items())
    is_in_order = checker.connection.execute("select getvariable('rows_in_order')").fetchone() == (True,)
    order = "" if is_in_order else "order by file, line"
    row = checker.connection.execute(f"""
        copy (
            select
                {names}, client_ref, {texts}, {batch_seq}::bigint as _batch_seq, file as _file, line as _line,
                business_date as _business_date, version as _version, is_deleted as _deleted,
                {checker.contract.precedence}::integer as _precedence, extra as _extra
            from checked where {_GOOD} {order}
        ) to {literal(str(path))} (format parquet, {_HOW})
    """).fetchone()
    return int(row[0]) if row else 0


def _constant(value: str) -> str:
    """SQL for a text that is the same in all rows: an enumeration is written without hashing it once for each row."""
    return f"{literal(value)}::enum({literal(value)})"


def consent_events(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    """The good rows of a consents batch: client_ref, channel, purpose, status, changed_at, known_on."""
    return connection.sql(f"""
        select client_ref, channel, purpose, status, changed_at, business_date as known_on
        from checked where {_GOOD} and client_ref is not null
    """).to_arrow_reader(_CONSENT_ROWS)
