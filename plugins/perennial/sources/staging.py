"""The rows of a batch's files as text in a scratch DuckDB, each with its file and line; nothing is judged here.

Afterwards the connection has
    landed    view: file_no, file, file_date, line, one text column per mapped canonical column, version, deleted (text
              or null), extra (JSON or null)
    rejected  table: file_no, file, file_date, line, kind, raw: lines that are not rows of this file's shape
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from perennial.contracts.entities import ENTITIES, ColumnType
from perennial.contracts.sources import SourceEntity
from perennial.core.sqltext import identifier, literal, literals
from perennial.sources.inspection import Inspected, converted_columns
from perennial.sources.text import open_text, record_lines

_MEMORY_LIMIT = "2GB"
_RECORDS_AT_ONCE = 100_000
_LINE_MAP = pa.schema([("file_no", pa.int32()), ("record", pa.int64()), ("line", pa.int64()), ("blank", pa.bool_())])


@dataclass(frozen=True)
class StagedFile:
    """How many rows of a file were read, and how many lines are no rows of its shape."""

    file: Inspected
    rows: int
    rejected: int

    @property
    def landed(self) -> int:
        """Rows that landed in this file."""
        return self.rows + self.rejected


def open_scratch(folder: Path) -> duckdb.DuckDBPyConnection:
    """A DuckDB in memory that spills into the folder; times are UTC, rows keep the order in which they were read."""
    connection = duckdb.connect()
    connection.execute(f"set temp_directory = {literal(str(folder))}")
    connection.execute(f"set memory_limit = '{_MEMORY_LIMIT}'")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set preserve_insertion_order = true")
    return connection


def stage(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected], contract: SourceEntity
) -> list[StagedFile]:
    """Read all files, each once. Raises duckdb.Error where one cannot be read at all (see `unreadable`)."""
    _make_tables(connection, files, contract)
    for number, group in enumerate(_groups(files)):
        _read(connection, group, contract, number)
    connection.execute("""
        create table spans as
        select files.file_no, min(rows_read.rowid) as first_row, count(*) as rows
        from rows_read inner join files using (path) group by files.file_no
    """)
    counted = _counts(connection, files)
    _map_lines(connection, counted, contract)
    _make_views(connection, contract, files)
    return counted


def unreadable(files: Sequence[Inspected], contract: SourceEntity, scratch: Path) -> dict[str, str]:
    """By file name what DuckDB says of each file that it cannot read on its own."""
    reasons: dict[str, str] = {}
    for file in files:
        with open_scratch(scratch) as connection:
            try:
                stage(connection, [file], contract)
            except duckdb.Error as error:
                reasons[file.file.name] = str(error).splitlines()[0][:200]
    return reasons


def _make_tables(connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected], contract: SourceEntity) -> None:
    columns = "".join(f"{name} varchar, " for name in (*contract.columns, "version", "deleted"))
    line = "line bigint, " if _is_converted(files) else ""
    connection.execute(f"create table rows_read ({columns}extra varchar, {line}path varchar)")
    connection.execute("create table files (file_no integer, path varchar, file varchar, file_date date)")
    connection.execute("create table rejects (file_no integer, record bigint, kind varchar, raw varchar)")
    connection.execute("create table line_of_row (file_no integer, row_in_file bigint, line bigint)")
    connection.execute("create table line_of_reject (file_no integer, record bigint, line bigint)")
    rows = [[number, str(file.readable), file.file.name, file.file.file_date] for number, file in enumerate(files)]
    if rows:
        connection.executemany("insert into files values (?, ?, ?, ?)", rows)


def _groups(files: Sequence[Inspected]) -> list[list[Inspected]]:
    """Files with the same columns in the same order are read together."""
    groups: dict[tuple[object, ...], list[Inspected]] = {}
    for file in files:
        shape = (file.header, file.types, file.is_gzip) if not file.line_column else (file.line_column,)
        groups.setdefault(shape, []).append(file)
    return list(groups.values())


def _is_converted(files: Sequence[Inspected]) -> bool:
    """Whether inspection made Parquet of Excel, JSON or XML: text columns c0, c1, ... with the line of each row."""
    return any(file.line_column for file in files)


def _read(
    connection: duckdb.DuckDBPyConnection, group: Sequence[Inspected], contract: SourceEntity, number: int
) -> None:
    first, is_csv = group[0], contract.format.type == "csv"
    paths = literals(str(file.readable) for file in group)
    if first.line_column:
        _read_converted(connection, group, contract, paths)
        return
    scan = _csv_scan(paths, first, contract, number) if is_csv else _parquet_scan(paths, first)
    kinds = ENTITIES[contract.entity].columns
    texts = [_as_text(first, column.source, kinds[name].type) for name, column in contract.columns.items()]
    texts += [_as_text(first, source, "text") if source else "null" for source in _version_and_deleted(contract)]
    extra = _extra(first, contract)
    connection.execute(f"insert into rows_read select {', '.join(texts)}, {extra}, filename from {scan}")
    if is_csv:
        _keep_rejects(connection, number)


def _read_converted(
    connection: duckdb.DuckDBPyConnection, group: Sequence[Inspected], contract: SourceEntity, paths: str
) -> None:
    """Files of formats/: a column for each path of the contract, `_extra`, the line; rejects stand in a file beside."""
    sources = converted_columns(contract)
    named = [*(column.source for column in contract.columns.values()), *_version_and_deleted(contract)]
    texts = ", ".join(f"c{sources.index(source)}" if source else "null" for source in named)
    line = identifier(group[0].line_column)
    connection.execute(
        f"insert into rows_read select {texts}, _extra, {line}, filename from read_parquet([{paths}], filename = true)"
    )
    for file in group:
        if file.rejects is not None:
            connection.execute(
                f"insert into rejects select files.file_no, r.{line}, r.kind, r.raw "
                "from read_parquet($1) as r cross join files where files.path = $2",
                [str(file.rejects), str(file.readable)],
            )


def _keep_rejects(connection: duckdb.DuckDBPyConnection, number: int) -> None:
    """One row for each line that was rejected, though several things may be wrong with it."""
    connection.execute(f"""
        insert into rejects
        select files.file_no, errors.line, min(errors.error_type::varchar), any_value(errors.csv_line)
        from errors_{number} as errors
        inner join scans_{number} as scans on errors.scan_id = scans.scan_id and errors.file_id = scans.file_id
        inner join files on scans.file_path = files.path
        group by files.file_no, errors.line
    """)


def _parquet_scan(paths: str, first: Inspected) -> str:
    columns = ", ".join(identifier(name) for name in first.header)
    names = ", ".join(_positions(first))
    return f"(select {columns}, filename from read_parquet([{paths}], filename = true)) as scan({names}, filename)"


def _positions(first: Inspected) -> list[str]:
    """c0, c1, ...: no name from outside becomes the name of a column."""
    return [f"c{index}" for index in range(len(first.header))]


def _csv_scan(paths: str, first: Inspected, contract: SourceEntity, number: int) -> str:
    form = contract.format
    types = ", ".join(f"'{name}': 'varchar'" for name in _positions(first))
    return (
        f"read_csv([{paths}], columns = {{{types}}}, auto_detect = false, header = true, filename = true, "
        f"delim = {literal(form.delimiter)}, quote = {literal(form.quote)}, escape = {literal(form.quote)}, "
        f"compression = '{'gzip' if first.is_gzip else 'none'}', nullstr = '', "
        f"store_rejects = true, rejects_table = 'errors_{number}', rejects_scan = 'scans_{number}')"
    )


def _version_and_deleted(contract: SourceEntity) -> tuple[str | None, str | None]:
    """The file's columns of the version and of the tombstone, where the contract has them."""
    return contract.version, contract.deleted.column if contract.deleted else None


def _as_text(first: Inspected, source: str, wanted: ColumnType) -> str:
    """SQL for the column's value as text. A Parquet number that is whole has no `.0`, a midnight in a date no time."""
    index = first.header.index(source)
    column, kind = f"c{index}", first.types[index] if first.types else "string"
    if kind in {"string", "large_string"}:
        return column
    if kind in {"double", "float", "halffloat"} and wanted == "text":
        whole = f"{column} = trunc({column}) and abs({column}) < 1e15"
        return f"case when {whole} then {column}::bigint::varchar else {column}::varchar end"
    if kind.startswith("timestamp") and wanted == "date":
        return f"case when {column}::date = {column} then {column}::date::varchar else {column}::varchar end"
    return f"{column}::varchar"


def _extra(first: Inspected, contract: SourceEntity) -> str:
    """SQL for a JSON text of the columns that the contract does not know."""
    known = set(contract.source_columns)
    pairs = [
        f"{literal(name)}, {position}::varchar"
        for name, position in zip(first.header, _positions(first), strict=True)
        if name not in known
    ]
    return f"json_object({', '.join(pairs)})::varchar" if pairs else "null"


def _counts(connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected]) -> list[StagedFile]:
    rows = dict(connection.execute("select file_no, rows from spans").fetchall())
    rejected = dict(connection.execute("select file_no, count(*) from rejects group by file_no").fetchall())
    return [StagedFile(file, rows.get(n, 0), rejected.get(n, 0)) for n, file in enumerate(files)]


def _map_lines(connection: duckdb.DuckDBPyConnection, counted: Sequence[StagedFile], contract: SourceEntity) -> None:
    """Where a row is not simply on the line of its number: files with rejects, blank lines or line ends in fields."""
    if contract.format.type != "csv":
        return
    by_records: list[int] = []
    for number, staged in enumerate(counted):
        one_line_each = staged.landed + 1 == staged.file.lines
        if not one_line_each and _map_by_reading(connection, number, staged, contract):
            continue
        if staged.rejected:
            by_records.append(number)
    if by_records:
        _map_by_records(connection, by_records)


def _map_by_records(connection: duckdb.DuckDBPyConnection, numbers: list[int]) -> None:
    """The k-th good row stands on line k + 1 + (number of rejects before it), when each record is one line."""
    chosen = ", ".join(map(str, numbers))
    connection.execute(
        f"insert into line_of_reject select file_no, record, record from rejects where file_no in ({chosen})"
    )
    connection.execute(f"""
        insert into line_of_row
        with goods as (
            select spans.file_no, rows_read.rowid - spans.first_row + 1 as row_in_file
            from rows_read
            inner join files using (path)
            inner join spans on files.file_no = spans.file_no
            where files.file_no in ({chosen})
        ),
        numbered as (
            select file_no, record, row_number() over (partition by file_no order by record) as nth
            from rejects where file_no in ({chosen})
        ),
        steps as (
            select file_no, record - nth as from_row, max(nth) as shift from numbered group by file_no, record - nth
        )
        select goods.file_no, goods.row_in_file, goods.row_in_file + 1 + coalesce(steps.shift, 0)
        from goods
        asof left join steps on goods.file_no = steps.file_no and goods.row_in_file >= steps.from_row
    """)


def _map_by_reading(
    connection: duckdb.DuckDBPyConnection, number: int, staged: StagedFile, contract: SourceEntity
) -> bool:
    """Find the lines by reading the file a second time with Python's reader; False where the two do not agree."""
    connection.execute(
        "create or replace temp table records (file_no integer, record bigint, line bigint, blank boolean)"
    )
    try:
        for batch in _record_batches(number, staged.file, contract):
            connection.register("record_batch", batch)
            connection.execute("insert into records select * from record_batch")
            connection.unregister("record_batch")
    except csv.Error:
        return False
    connection.execute("""
        create or replace temp table good_records as
        select records.file_no, row_number() over (order by records.record) as row_in_file, records.line
        from records
        anti join rejects on records.file_no = rejects.file_no and records.record = rejects.record
        where not records.blank
    """)
    found = connection.execute("select count(*) from good_records").fetchone()
    if found is None or found[0] != staged.rows:
        return False
    connection.execute("insert into line_of_row select * from good_records")
    connection.execute("""
        insert into line_of_reject
        select rejects.file_no, rejects.record, records.line from rejects inner join records using (file_no, record)
    """)
    return True


def _record_batches(number: int, file: Inspected, contract: SourceEntity) -> Iterator[pa.Table]:
    assert file.readable is not None  # noqa: S101 - a file with a problem is never staged
    with open_text(file.readable, contract.format, is_gzip=file.is_gzip, encoding=_codec(file, contract)) as stream:
        rows: list[tuple[int, int, int, bool]] = []
        for record, line, blank in record_lines(stream, contract.format):
            rows.append((number, record, line, blank))
            if len(rows) == _RECORDS_AT_ONCE:
                yield _as_table(rows)
                rows = []
        yield _as_table(rows)


def _codec(file: Inspected, contract: SourceEntity) -> str:
    """A link leads to the file as it landed, anything else is the copy in UTF-8 that inspection made."""
    return contract.format.encoding if file.readable is not None and file.readable.is_symlink() else "utf-8"


def _as_table(rows: list[tuple[int, int, int, bool]]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else ([], [], [], [])
    return pa.Table.from_arrays(
        [pa.array(list(column), field.type) for column, field in zip(columns, _LINE_MAP, strict=True)], schema=_LINE_MAP
    )


def _make_views(connection: duckdb.DuckDBPyConnection, contract: SourceEntity, files: Sequence[Inspected]) -> None:
    header_lines = 1 if contract.format.type == "csv" else 0
    row_in_file = "rows_read.rowid - spans.first_row + 1"
    mapped = connection.execute("select count(*) from line_of_row").fetchone() != (0,)
    join = (
        f"left join line_of_row as m on spans.file_no = m.file_no and m.row_in_file = {row_in_file}" if mapped else ""
    )
    line = f"coalesce(m.line, {row_in_file} + {header_lines})" if mapped else f"{row_in_file} + {header_lines}"
    line = "rows_read.line" if _is_converted(files) else line
    columns = ", ".join(f"rows_read.{name}" for name in (*contract.columns, "version", "deleted"))
    connection.execute(f"""
        create view landed as
        select files.file_no, files.file, files.file_date, {line} as line, {columns}, rows_read.extra
        from rows_read
        inner join files using (path)
        inner join spans on files.file_no = spans.file_no
        {join}
    """)
    connection.execute("""
        create table rejected as
        select
            rejects.file_no, files.file, files.file_date, coalesce(m.line, rejects.record) as line, rejects.kind,
            rejects.raw
        from rejects
        inner join files using (file_no)
        left join line_of_reject as m on rejects.file_no = m.file_no and rejects.record = m.record
    """)
