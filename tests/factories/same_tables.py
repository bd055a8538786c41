"""What differs between the published tables of two warehouses, cell by cell, through Arrow and both ways."""

from __future__ import annotations

from collections.abc import Collection

import duckdb
import pyarrow as pa

from perennial.core.settings import Settings
from perennial.core.sqltext import identifier
from perennial.warehouse.engine import open_published

# Moments and run numbers of the ledger's own work; everything else follows from the batches (L2).
OPERATIONAL = {
    "ledger_batches": {"recorded_at"},
    "ledger_runs": {"opened_at"},
    "ledger_gate_results": set(),
    "ledger_quarantine_actions": {"done_at"},
}


def differences(one: Settings, other: Settings, *, without: Collection[str] = ()) -> dict[str, str]:
    """By table: what is not the same, in words. Doubles are compared bit by bit, decimals with their scale."""
    found: dict[str, str] = {}
    with open_published(one) as ours, open_published(other) as theirs:
        names = {*ours.tables(), *theirs.tables()} - set(without)
        for name in sorted(names):
            if name not in ours.tables() or name not in theirs.tables():
                found[name] = "only one has it"
                continue
            columns = [c for c, _ in ours.tables()[name] if c not in OPERATIONAL.get(name, ())]
            if sorted(columns) != sorted(c for c, _ in theirs.tables()[name] if c not in OPERATIONAL.get(name, ())):
                found[name] = "other columns"
                continue
            query = f"select {', '.join(map(identifier, columns))} from {name}"
            told = difference(ours.query(query), theirs.query(query))
            if told:
                found[name] = told
    return found


def difference(ours: pa.Table, theirs: pa.Table) -> str | None:
    """What is not the same in two tables, types included, in words; None when nothing is."""
    types = [
        f"{a.name}: {a.type} and {b.type}" for a, b in zip(ours.schema, theirs.schema, strict=True) if a.type != b.type
    ]
    if types:
        return "other types: " + ", ".join(types)
    with duckdb.connect() as connection:
        connection.register("ours", _bits(ours))
        connection.register("theirs", _bits(theirs))
        more = connection.sql("select count(*) from (from ours except all from theirs)").fetchall()[0][0]
        less = connection.sql("select count(*) from (from theirs except all from ours)").fetchall()[0][0]
        if not more and not less:
            return None
        example = connection.sql("from ours except all from theirs limit 1").fetchall()
        counterpart = connection.sql("from theirs except all from ours limit 1").fetchall()
        names = ours.schema.names
        pairs = [
            f"{n}={a} / {b}"
            for n, a, b in zip(
                names, *(e[0] if e else [None] * len(names) for e in (example, counterpart)), strict=True
            )
        ]
        columns = [name for name in names if _column_differs(connection, name)]
        return f"{more} rows only here, {less} only there; in {columns}; such as {'; '.join(pairs)[:600]}"


def _column_differs(connection: duckdb.DuckDBPyConnection, name: str) -> bool:
    column = identifier(name)
    query = f"select count(*) from (select {column} from ours except all select {column} from theirs)"
    return bool(connection.sql(query).fetchall()[0][0])


def _bits(table: pa.Table) -> pa.Table:
    """Doubles as the numbers of their bits: equal doubles and no others are equal."""
    for index, field in enumerate(table.schema):
        if pa.types.is_floating(field.type):
            column = table.column(index).combine_chunks()
            if isinstance(column, pa.ChunkedArray):
                column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], field.type)
            table = table.set_column(index, field.name, column.view(pa.int64()))
    return table
