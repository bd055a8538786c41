"""One pass from files to raw: good rows are written while they are read, bad ones are put aside on the way.

Nothing is kept of a good row but what is written, so memory does not grow with the file. It holds where every line
behind the header is one row: the line of a row is then its number. Whether it held is asked at the end (pipeline does);
where it did not, what was written is thrown away, and the rows are judged in a table (`Checker.judge_arriving`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from perennial.contracts.entities import RAW_COLUMNS, EntityName
from perennial.core.sqltext import literal, literals
from perennial.quality.checking import Checker
from perennial.quality.raw import Stamp, copy_raw
from perennial.quality.rules import reference_value

_MOST_ASIDE = 50_000  # rows, and their bytes: they are in memory
_MOST_BYTES = 1 << 26
_ASIDE = pa.schema(
    [("record", pa.int64()), ("file_no", pa.int32()), ("texts", pa.list_(pa.string())), ("extra", pa.string())]
)


@dataclass(frozen=True)
class Rows:
    """The rows that a file should have, one to a line, and the line of the first."""

    name: str
    count: int
    first_line: int


class TooManyAsideError(Exception):
    """More rows are bad than are worth to be put aside one by one."""


@dataclass
class _Aside:
    """The bad rows as DuckDB hands them over, a chunk at a time."""

    chunks: list[pa.Table] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def take(self, record: pa.Array, file_no: pa.Array, texts: pa.Array, extra: pa.Array) -> pa.Array:
        """Keep rows; false for each of them, so that none is written."""
        chunk = pa.Table.from_arrays([record, file_no, texts, extra], schema=_ASIDE)
        self.rows, self.bytes = self.rows + chunk.num_rows, self.bytes + chunk.nbytes
        if self.rows > _MOST_ASIDE or self.bytes > _MOST_BYTES:
            raise TooManyAsideError
        self.chunks.append(chunk)
        return pa.array([False] * chunk.num_rows, pa.bool_())

    def table(self) -> pa.Table:
        """All of them."""
        return pa.concat_tables(self.chunks) if self.chunks else _ASIDE.empty_table()


def write_while_reading(
    checker: Checker,
    known: Mapping[EntityName, Sequence[str]],
    files: Sequence[Rows],
    path: Path,
    stamp: Stamp,
) -> int:
    """Write the good rows of the view `arriving` to `path`, and make `checked` and all that judging makes beside it.

    `files` are in the order of file_no. Returns the rows written. Raises
    duckdb.Error when the files cannot be read, or have so many bad rows that the table is the better way.
    """
    checker.prepare(known)
    aside = _Aside()
    connection = checker.connection
    connection.create_function(
        "put_aside", aside.take, ["BIGINT", "INTEGER", "VARCHAR[]", "VARCHAR"], "BOOLEAN",
        type="arrow", null_handling="special", side_effects=True,
    )  # fmt: skip
    texts = checker.text_names
    raws = ", ".join(f"{name} as raw_{name}" for name in texts)
    source = f"select *, {raws}, row_number() over () as record from arriving"
    rows = checker.typed_from(source, [*(f"raw_{name}" for name in texts), "record"], lazily=True)
    knowns = [f"true as is_known_{index}" for index in range(len(checker.contract.references))]
    held = ", ".join(f"raw_{name}" for name in texts)
    rows = checker.selected(rows, "file_no, record", knowns, f", {held}")
    rows = f"select *, {_by_file([file.name for file in files])} as file, {_line(files)} as line from ({rows})"
    good = f"case when broken = 0 then true else put_aside(record, file_no, [{held}], extra) end"
    # Rows are numbered in their order, by one thread; what a second one could do meanwhile costs more than it brings.
    connection.execute("set threads = 1")
    written = copy_raw(checker, f"({rows}) where {good}", path, stamp)
    connection.execute("reset threads")
    connection.remove_function("put_aside")
    _make_bad(checker, aside.table(), files)
    _make_good(checker, path, files)
    _make_views(checker)
    return written


def every_line_is_a_row(checker: Checker, files: Sequence[Rows]) -> bool:
    """Whether the rows of each file are as many as its lines, and stand on them."""
    found = checker.connection.execute(
        "select file_no, count(*), min(line), max(line) from checked group by file_no"
    ).fetchall()
    by_file = {number: (rows, first, last) for number, rows, first, last in found}
    wanted = {
        number: (file.count, file.first_line, file.first_line + file.count - 1)
        for number, file in enumerate(files)
        if file.count
    }
    return by_file == wanted


def every_reference_is_known(checker: Checker) -> bool:
    """Whether no row that was written names what it must name and nobody knows."""
    tests = [
        f"{reference_value(reference)} not in (select known from known_{index})"
        for index, reference in enumerate(checker.contract.references)
        if reference.on_missing != "warn"
    ]
    if not tests:
        return True
    found = checker.connection.execute(
        f"select count(*) from checked_good where not is_deleted and ({' or '.join(tests)})"
    ).fetchone()
    return bool(found == (0,))


def _by_file(names: Sequence[str]) -> str:
    """SQL for the file's name by file_no: an enumeration, which is not hashed for each row when it is written."""
    kind = f"enum({literals(sorted(set(names)))})"
    return _halved([f"{literal(name)}::{kind}" for name in names])


def _line(files: Sequence[Rows]) -> str:
    """SQL for the line of the record: those of the files before it are counted already."""
    before, shifts = 0, []
    for file in files:
        shifts.append(f"{file.first_line - 1 - before}::bigint")
        before += file.count
    return f"record + {_halved(shifts)}"


def _halved(values: Sequence[str], first: int = 0) -> str:
    """SQL for the value at file_no, found by halves."""
    if len(set(values)) == 1:
        return values[0]
    half = len(values) // 2
    left, right = _halved(values[:half], first), _halved(values[half:], first + half)
    return f"case when file_no < {first + half} then {left} else {right} end"


def _make_bad(checker: Checker, aside: pa.Table, files: Sequence[Rows]) -> None:
    """`checked_bad`: the rows that were put aside, as `checked` has them, with what they held."""
    connection = checker.connection
    texts = ", ".join(f"texts[{n}] as {name}" for n, name in enumerate(checker.text_names, start=1))
    connection.register("put_aside_rows", aside)
    connection.execute(f"""
        create table set_aside as
        select
            file_no, {_by_file([file.name for file in files])} as file, file_date, null::bigint as given_line,
            {_line(files)} as line, {texts}, extra, texts
        from put_aside_rows inner join files using (file_no)
    """)
    connection.unregister("put_aside_rows")
    rows = checker.typed_from("select * from set_aside", ["file", "line", "texts"], lazily=False)
    places = "file_no, line as row_id, file::varchar as file, file_date, line"
    rows = checker.selected(rows, places, checker.known_tests(), ", texts")
    connection.execute(f"create table checked_bad as {rows} order by file_no, line")


def _make_good(checker: Checker, path: Path, files: Sequence[Rows]) -> None:
    """`checked_good`: the rows that were written, read from where they were written to."""
    own = ", ".join(checker.entity.columns)
    names = ", ".join(f"{name} as {name.removeprefix('_')}" for name in RAW_COLUMNS if name not in _OTHERWISE)
    number = "0" if len(files) == 1 else f"list_position([{literals(file.name for file in files)}], _file) - 1"
    tests = "".join(f", {test}" for test in checker.known_tests())
    checker.connection.execute(f"""
        create view checked_good as
        select
            file_no, line as row_id, file, null::date as file_date, line, business_date, client_ref, {own}, version,
            is_deleted, extra, 0::{checker.mask_type} as broken, {checker.noticed()} as noticed,
            {checker.guest()} as is_guest, false as duplicate, null::varchar[] as texts
        from (
            select *{tests}
            from (
                select {own}, {names}, _deleted as is_deleted, ({number})::integer as file_no
                from read_parquet({literal(str(path))})
            )
        )
    """)


_OTHERWISE = ("_deleted", "_precedence", "_source", "_batch_id", "_batch_seq")


def _make_views(checker: Checker) -> None:
    """What judging in a table leaves: `checked`, `judged`, `rejected` and `landed`, the text of the bad rows."""
    texts = ", ".join(f"texts[{n}] as {name}" for n, name in enumerate(checker.text_names, start=1))
    for statement in (
        "create view checked as select * from checked_good union all by name select * from checked_bad",
        "create view judged as select * from checked",
        f"create view landed as select file_no, file, file_date, line, {texts}, extra from checked_bad",
        "create table rejected (file_no integer, file varchar, file_date date, line bigint, kind varchar, raw varchar)",
    ):
        checker.connection.execute(statement)
