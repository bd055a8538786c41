"""Writing what passed the gate: the raw Parquet file of one batch."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from perennial.contracts.entities import ENTITIES
from perennial.core.sqltext import literal, literals
from perennial.quality.checking import Checker

_GOOD = "broken = 0 and not duplicate"
_CONSENT_ROWS = 50_000
_FEW = 16  # values that are looked through one by one
# Columns with many values (keys, references) are not tried as dictionaries for long: a third of the time of writing.
# The encodings of Parquet 2 (differences, lengths apart) take a tenth off writing, a third off reading.
_HOW = "compression zstd, compression_level 1, dictionary_size_limit 1000, parquet_version v2"


@dataclass(frozen=True)
class Stamp:
    """What is the same in all rows of a batch."""

    source: str
    batch_id: str
    batch_seq: int


@dataclass(frozen=True)
class Written:
    """A raw file that was written while the rows were read, for a batch of which the number was a guess."""

    path: Path
    stamp: Stamp
    rows: int


def write_raw(checker: Checker, path: Path, stamp: Stamp, *, written: Written | None = None) -> int:
    """Write the good rows by file and line, with the columns of contracts/entities.py. Returns the rows written.

    What is `written` already with this stamp gets another name; `checked` may go on reading it under its own.
    """
    if written is not None and written.stamp == stamp:
        os.link(written.path, path)
        return written.rows
    is_in_order = checker.connection.execute("select getvariable('rows_in_order')").fetchone() == (True,)
    order = "" if is_in_order else "order by file, line"
    return copy_raw(checker, f"checked where {_GOOD} {order}", path, stamp)


def copy_raw(checker: Checker, rows: str, path: Path, stamp: Stamp) -> int:
    """Write `rows`, the SQL behind `from`, which have the columns of `checked`, as a raw file. Returns their number."""
    names = ", ".join(_written(checker, name) for name in checker.entity.columns)
    constants = {"_source": stamp.source, "_batch_id": stamp.batch_id}
    texts = ", ".join(f"{_constant(value)} as {name}" for name, value in constants.items())
    found = checker.connection.execute(f"""
        copy (
            select
                {names}, client_ref, {texts}, {stamp.batch_seq}::bigint as _batch_seq, file as _file, line as _line,
                business_date as _business_date, version as _version, is_deleted as _deleted,
                {checker.contract.precedence}::integer as _precedence, extra as _extra
            from {rows}
        ) to {literal(str(path))} (format parquet, {_HOW})
    """).fetchall()
    return int(found[0][0])


def _written(checker: Checker, name: str) -> str:
    """SQL for a column as it is written: of few values that are known before, an enumeration is cheaper than a text."""
    values = _values(checker, name)
    if not values:
        return name
    kind = f"enum({literals(values)})"
    cases = " ".join(f"when {literal(value)} then {literal(value)}::{kind}" for value in values)
    return f"case {name} {cases} end as {name}"


def _values(checker: Checker, name: str) -> list[str]:
    """All values that a good row can have in the column, where they are few; a tombstone may have any."""
    contract, entity = checker.contract, ENTITIES[checker.contract.entity]
    if (entity.name, name) == ("order_lines", "line_kind"):
        return list(dict.fromkeys([contract.default_line_kind, *(rule.kind for rule in contract.line_kinds)]))
    column = contract.columns.get(name)
    if column is None or column.allowed is None or entity.columns[name].type != "text" or contract.deleted is not None:
        return []
    values = list(dict.fromkeys(column.allowed))
    return values if len(values) <= _FEW else []


def _constant(value: str) -> str:
    """SQL for a text that is the same in all rows: an enumeration is written without hashing it once for each row."""
    return f"{literal(value)}::enum({literal(value)})"


def consent_events(connection: duckdb.DuckDBPyConnection) -> pa.RecordBatchReader:
    """The good rows of a consents batch: client_ref, channel, purpose, status, changed_at, known_on."""
    return (
        connection.cursor()
        .sql(f"""
        select client_ref, channel, purpose, status, changed_at, business_date as known_on
        from checked where {_GOOD} and client_ref is not null
    """)
        .to_arrow_reader(_CONSENT_ROWS)
    )
