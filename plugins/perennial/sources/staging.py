"""The rows of a batch's files: a view that reads them where they lie, then the file and the line of each row.

`arrive` makes, before anything is read,
    arriving  view: file_no, file_date, given_line, one text column per mapped canonical column, version, deleted (text
              or null), extra (JSON or null); reading it fills the tables of what is no row
Whoever reads it makes the table `judged` of it, in the order of the rows and with file_no; `settle` then makes
    checked   view: `judged` with row_id, file, file_date and line
    rejected  table: file_no, file, file_date, line, kind, raw: lines that are not rows of this file's shape
So the text of a row is in memory only while it is looked at.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa

from perennial.contracts.sources import SourceEntity
from perennial.core.errors import ContractViolation, Problem
from perennial.core.sqltext import literal, literals
from perennial.sources.inspection import Inspected
from perennial.sources.scanning import date_of_file, nothing, scan
from perennial.sources.text import open_text, record_lines

_MEMORY_LIMIT = "2GB"
_RECORDS_AT_ONCE = 100_000
_MOST_STEPS = 500  # more changes between line and row number than this are joined, not written into the SQL
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


def arrive(connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected], contract: SourceEntity) -> None:
    """Make the view `arriving` over all files; files with the same columns in the same order are read together."""
    connection.execute("create table files (file_no integer, path varchar, file varchar, file_date date)")
    connection.execute("create table rejects (file_no integer, record bigint, kind varchar, raw varchar)")
    connection.execute("create table line_of_row (row_id bigint, line bigint)")
    connection.execute("create table line_of_reject (file_no integer, record bigint, line bigint)")
    number, scans = 0, list[str]()
    for scan_no, group in enumerate(groups(files)):
        rows = [[number + n, str(one.readable), one.file.name, one.file.file_date] for n, one in enumerate(group)]
        connection.executemany("insert into files values (?, ?, ?, ?)", rows)
        scans.append(scan(connection, group, contract, number, scan_no))
        number += len(group)
    connection.execute(f"create view arriving as {' union all '.join(scans or [nothing(contract)])}")


def settle(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected], contract: SourceEntity
) -> list[StagedFile]:
    """What was read, file by file, once `judged` is there; makes `checked` and `rejected`."""
    if contract.format.type == "csv":
        for scan_no in range(len(groups(files))):
            _keep_rejects(connection, scan_no)
    connection.execute("""
        create table spans as
        select file_no, min(rowid) as first_row, count(*) as rows, max(rowid) as last_row from judged group by file_no
    """)
    _assert_in_order(connection)
    counted = _counts(connection, files)
    steps = _map_lines(connection, counted, contract)
    _make_views(connection, contract, counted, steps)
    return [one for _number, one in sorted(counted.items(), key=lambda item: files.index(item[1].file))]


def stage(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected], contract: SourceEntity
) -> list[StagedFile]:
    """Read files whole: the tables `landed` (every row as text, with file_no, file, file_date, line) and `rejected`."""
    arrive(connection, files, contract)
    connection.execute("create table judged as select * from arriving")
    counted = settle(connection, files, contract)
    connection.execute("create table landed as select * exclude (row_id, given_line) from checked")
    connection.execute("drop view checked")
    return counted


def unreadable(files: Sequence[Inspected], contract: SourceEntity, scratch: Path) -> dict[str, str]:
    """By file name what DuckDB says of each file that it cannot read on its own."""
    reasons: dict[str, str] = {}
    for file in files:
        with open_scratch(scratch) as connection:
            try:
                arrive(connection, [file], contract)
                connection.execute("create table judged as select * from arriving")
            except (duckdb.IOException, duckdb.OutOfMemoryException):
                raise  # of the machine, not of the file
            except duckdb.Error as error:
                reasons[file.file.name] = str(error).splitlines()[0][:200]
    return reasons


def groups(files: Sequence[Inspected]) -> list[list[Inspected]]:
    """Files with the same columns in the same order are read together."""
    groups: dict[tuple[object, ...], list[Inspected]] = {}
    for file in files:
        shape = (file.header, file.types, file.is_gzip) if not file.line_column else (file.line_column,)
        groups.setdefault(shape, []).append(file)
    return list(groups.values())


def _keep_rejects(connection: duckdb.DuckDBPyConnection, scan_no: int) -> None:
    """One row for each line that was rejected, though several things may be wrong with it."""
    connection.execute(f"""
        insert into rejects
        select files.file_no, errors.line, min(errors.error_type::varchar), any_value(errors.csv_line)
        from errors_{scan_no} as errors
        inner join scans_{scan_no} as scans on errors.scan_id = scans.scan_id and errors.file_id = scans.file_id
        inner join files on scans.file_path = files.path
        group by files.file_no, errors.line
    """)


def _assert_in_order(connection: duckdb.DuckDBPyConnection) -> None:
    """The line of a row is told from its place: the rows of a file must stand together."""
    if connection.execute("select count(*) from spans where last_row - first_row + 1 <> rows").fetchone() != (0,):
        raise ContractViolation(Problem("judged", "the rows of a file do not stand together"))


def _counts(connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected]) -> dict[int, StagedFile]:
    """By file_no."""
    rows = dict(connection.execute("select file_no, rows from spans").fetchall())
    rejected = dict(connection.execute("select file_no, count(*) from rejects group by file_no").fetchall())
    by_path = {str(file.readable): file for file in files}
    numbers = connection.execute("select file_no, path from files").fetchall()
    return {n: StagedFile(by_path[path], rows.get(n, 0), rejected.get(n, 0)) for n, path in numbers}


def _map_lines(
    connection: duckdb.DuckDBPyConnection, counted: dict[int, StagedFile], contract: SourceEntity
) -> list[tuple[int, int]]:
    """Where a row is not simply on the line of its number: files with rejects, blank lines or line ends in fields.

    Gives the rows from which on a number is added to all further lines of their file: (row_id, sum). Where that would
    not do, the line of each row is in `line_of_row`.
    """
    if contract.format.type != "csv":
        return []
    by_records: list[int] = []
    for number, staged in counted.items():
        one_line_each = staged.landed + 1 == staged.file.lines
        if not one_line_each and _map_by_reading(connection, number, staged, contract):
            continue
        if staged.rejected:
            by_records.append(number)
    return _map_by_records(connection, by_records) if by_records else []


def _map_by_records(connection: duckdb.DuckDBPyConnection, numbers: list[int]) -> list[tuple[int, int]]:
    """The k-th good row stands on line k + 1 + (number of rejects before it), when each record is one line."""
    chosen = ", ".join(map(str, numbers))
    connection.execute(
        f"insert into line_of_reject select file_no, record, record from rejects where file_no in ({chosen})"
    )
    connection.execute(f"""
        create table steps as
        with numbered as (
            select file_no, record, row_number() over (partition by file_no order by record) as nth
            from rejects where file_no in ({chosen})
        )
        select file_no, first_row + record - nth - 1 as row_id, max(nth) as shift
        from numbered inner join spans using (file_no)
        where record - nth <= spans.rows  -- behind the last row there is nothing to move
        group by file_no, first_row + record - nth - 1
    """)
    steps = connection.execute("select row_id, shift from steps order by row_id, shift").fetchall()
    if len(steps) <= _MOST_STEPS:
        starts = connection.execute("select first_row, 0 from spans").fetchall()
        return sorted(dict((*starts, *steps)).items())
    connection.execute("""
        insert into line_of_row
        select judged.rowid, judged.rowid - spans.first_row + 2 + steps.shift
        from judged
        inner join spans using (file_no)
        asof inner join steps on judged.file_no = steps.file_no and judged.rowid >= steps.row_id
    """)
    return []


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
        select row_number() over (order by records.record) - 1 as nth, records.line
        from records
        anti join rejects on records.file_no = rejects.file_no and records.record = rejects.record
        where not records.blank
    """)
    found = connection.execute("select count(*) from good_records").fetchone()
    if found is None or found[0] != staged.rows:
        return False
    connection.execute(
        "insert into line_of_row select first_row + nth, line from good_records, spans where file_no = $1", [number]
    )
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


def _make_views(
    connection: duckdb.DuckDBPyConnection,
    contract: SourceEntity,
    counted: dict[int, StagedFile],
    steps: list[tuple[int, int]],
) -> None:
    header_lines = 1 if contract.format.type == "csv" else 0
    join, is_in_order = "", True
    if len(counted) <= _MOST_STEPS:
        file, day, row = _by_file(connection, counted)
    else:
        connection.execute("create table places as select * from spans inner join files using (file_no)")
        join, is_in_order = "left join places on judged.file_no = places.file_no", False
        file, day, row = "places.file", "places.file_date", "judged.rowid - places.first_row + 1"
    line = f"{row} + {header_lines}" + (f" + {_stepped(steps)}" if steps else "")
    if connection.execute("select count(*) from line_of_row").fetchone() != (0,):
        join, is_in_order = f"{join} left join line_of_row as m on judged.rowid = m.row_id", False
        line = f"coalesce(m.line, {line})"
    if any(one.file.line_column for one in counted.values()):
        line = "judged.given_line"
    connection.execute(f"set variable rows_in_order = {str(is_in_order).lower()}")  # a join mixes them
    connection.execute(f"""
        create view checked as
        select judged.rowid as row_id, {file} as file, {day} as file_date, {line} as line, judged.*
        from judged {join}
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


def _by_file(connection: duckdb.DuckDBPyConnection, counted: dict[int, StagedFile]) -> tuple[str, str, str]:
    """SQL for the name and the date of a row's file, and for its number there, from 1."""
    names = sorted({one.file.file.name for one in counted.values()}) or [""]
    kind = f"enum({literals(names)})"  # not hashed for each row when it is written
    first = {0: (f"{literal(names[0])}::{kind}", "null::date", "judged.rowid + 1")}
    for number, row in connection.execute("select file_no, first_row from spans").fetchall():
        file = counted[number].file
        name = f"{literal(file.file.name)}::{kind}"
        first[row] = (name, date_of_file([file]), f"judged.rowid - {row - 1}")
    rows = sorted(first.items())
    name, day, place = (_stepped([(row, values[n]) for row, values in rows]) for n in range(3))
    return name, day, place


def _stepped(steps: Sequence[tuple[int, int | str]]) -> str:
    """SQL for what holds from a row on, by (row_id, value), sorted: a search by halves."""
    if len(steps) == 1:
        return str(steps[0][1])
    half = len(steps) // 2
    return f"case when judged.rowid < {steps[half][0]} then {_stepped(steps[:half])} else {_stepped(steps[half:])} end"
