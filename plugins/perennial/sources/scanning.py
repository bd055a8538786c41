"""SQL that reads files where they lie: a text column per mapped canonical column, the other columns as JSON."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from perennial.contracts.entities import ENTITIES, ColumnType
from perennial.contracts.sources import SourceEntity
from perennial.core.sqltext import identifier, literal, literals
from perennial.sources.inspection import Inspected, converted_columns


def scan(
    connection: duckdb.DuckDBPyConnection, group: Sequence[Inspected], contract: SourceEntity, number: int, scan_no: int
) -> str:
    """SQL that reads the files of one group; `number` is that of its first file."""
    first = group[0]
    paths = literals(str(file.readable) for file in group)
    file_no = f"{number}" if len(group) == 1 else f"{number} + file_index"
    common = f"({file_no})::integer as file_no, {date_of_file(group)} as file_date"
    if first.line_column:
        return f"select {common}, {_converted(connection, group, contract, number)} from read_parquet([{paths}])"
    kinds = ENTITIES[contract.entity].columns
    texts = [f"{_as_text(first, c.source, kinds[name].type)} as {name}" for name, c in contract.columns.items()]
    for name, source in zip(("version", "deleted"), _version_and_deleted(contract), strict=True):
        texts.append(f"{_as_text(first, source, 'text') if source else 'null::varchar'} as {name}")
    is_csv = contract.format.type == "csv"
    rows = _csv_scan(paths, first, contract, scan_no) if is_csv else _parquet_scan(paths, first)
    texts.append(f"{_extra(first, contract)} as extra")
    return f"select {common}, null::bigint as given_line, {', '.join(texts)} from {rows}"


def date_of_file(group: Sequence[Inspected]) -> str:
    """SQL for the date in the name of the file that a row of the group stands in; null where there is none."""
    dates = [f"date '{one.file.file_date}'" if one.file.file_date else "null::date" for one in group]
    return dates[0] if len(set(dates)) == 1 else f"list_extract([{', '.join(dates)}], file_index::bigint + 1)"


def nothing(contract: SourceEntity) -> str:
    """SQL for what `scan` gives, without a row."""
    names = ", ".join(f"null::varchar as {name}" for name in (*contract.columns, "version", "deleted", "extra"))
    common = "0::integer as file_no, null::date as file_date, null::bigint as given_line"
    return f"select {common}, {names} where false"


def _converted(
    connection: duckdb.DuckDBPyConnection, group: Sequence[Inspected], contract: SourceEntity, number: int
) -> str:
    """Files of formats/: a column for each path of the contract, `_extra`, the line; rejects stand in a file beside."""
    sources, line = converted_columns(contract), identifier(group[0].line_column)
    named = {name: column.source for name, column in contract.columns.items()}
    named |= {n: s or "" for n, s in zip(("version", "deleted"), _version_and_deleted(contract), strict=True)}
    texts = [f"{f'c{sources.index(source)}' if source else 'null::varchar'} as {n}" for n, source in named.items()]
    for n, file in enumerate(group):
        if file.rejects is not None:
            connection.execute(
                f"insert into rejects select {number + n}, {line}, kind, raw from read_parquet($1)", [str(file.rejects)]
            )
    return f"{line}::bigint as given_line, {', '.join(texts)}, _extra as extra"


def _parquet_scan(paths: str, first: Inspected) -> str:
    columns = ", ".join(
        f"{identifier(name)} as {place}" for name, place in zip(first.header, _positions(first), strict=True)
    )
    return f"(select {columns}, file_index from read_parquet([{paths}]))"


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
    return f"json_object({', '.join(pairs)})::varchar" if pairs else "null::varchar"
