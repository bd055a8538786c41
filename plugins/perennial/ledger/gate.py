"""What the gate said of each rule of each batch, and which columns a source's files had."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from perennial.contracts.records import RuleResult
from perennial.ledger.tables import batch_files, batches, gate_results, source_columns


def record_results(connection: sa.Connection, batch_id: str, results: Sequence[RuleResult]) -> None:
    """Write the verdicts on a batch, within the transaction that writes the batch."""
    rows = [
        {
            "batch_id": batch_id,
            "rule": one.rule,
            "rows_seen": one.rows,
            "rows_bad": one.bad,
            "warn_above": one.warn,
            "stop_above": one.stop,
            "verdict": one.verdict,
        }
        for one in results
    ]
    if rows:
        connection.execute(sa.insert(gate_results), rows)


def last_results(engine: sa.Engine, source: str, source_entity: str) -> dict[str, RuleResult]:
    """By rule the verdicts on the last committed batch of the source entity that had rows; replays apart."""
    b, g = batches.c, gate_results.c
    last = (
        sa.select(b.batch_id)
        .where(b.source == source, b.source_entity == source_entity, b.state == "committed")
        .where(b.landed > b.duplicate, b.replays_batch_id.is_(None))
        .order_by(b.batch_seq.desc())
        .limit(1)
    )
    with engine.connect() as connection:
        rows = connection.execute(sa.select(gate_results).where(g.batch_id == last.scalar_subquery())).all()
    return {r.rule: RuleResult(r.rule, r.rows_seen, r.rows_bad, r.warn_above, r.stop_above, r.verdict) for r in rows}


def known_columns(engine: sa.Engine, source: str, source_entity: str) -> dict[str, str]:
    """The columns that committed files of the source entity had, and the first batch of each."""
    c = source_columns.c
    query = sa.select(c.column_name, c.first_batch_id).where(c.source == source, c.source_entity == source_entity)
    with engine.connect() as connection:
        return {row.column_name: row.first_batch_id for row in connection.execute(query)}


def record_columns(
    connection: sa.Connection,
    source: str,
    source_entity: str,
    batch_id: str,
    columns: Iterable[tuple[str, bool]],
) -> None:
    """Write the columns (name, whether the contract names it) of a batch, within the transaction that writes it.

    `in_contract` stays what it was when the column first came.
    """
    c = source_columns.c
    for name, in_contract in columns:
        mine = (c.source == source, c.source_entity == source_entity, c.column_name == name)
        if connection.execute(sa.update(source_columns).where(*mine).values(last_batch_id=batch_id)).rowcount == 0:
            connection.execute(
                sa.insert(source_columns).values(
                    source=source,
                    source_entity=source_entity,
                    column_name=name,
                    in_contract=in_contract,
                    first_batch_id=batch_id,
                    last_batch_id=batch_id,
                )
            )


@dataclass(frozen=True)
class LandedRows:
    """A file of a committed batch and its rows."""

    batch_id: str
    as_of: date | None
    name: str
    rows: int


def landed_by_file(engine: sa.Engine, source: str, source_entity: str) -> list[LandedRows]:
    """Every file of committed batches, replays apart, oldest first."""
    b, f = batches.c, batch_files.c
    query = (
        sa.select(b.batch_id, b.as_of, f.name, f.landed)
        .select_from(batch_files.join(batches, b.batch_id == f.batch_id))
        .where(b.source == source, b.source_entity == source_entity, b.state == "committed")
        .where(b.replays_batch_id.is_(None))
        .order_by(b.batch_seq, f.name)
    )
    with engine.connect() as connection:
        return [LandedRows(row.batch_id, row.as_of, row.name, row.landed) for row in connection.execute(query)]


def last_committed(engine: sa.Engine) -> dict[tuple[str, str], datetime]:
    """By source and entity when its last batch was committed (UTC without a zone), replays apart."""
    b = batches.c
    query = (
        sa.select(b.source, b.source_entity, sa.func.max(b.recorded_at))
        .where(b.state == "committed", b.replays_batch_id.is_(None))
        .group_by(b.source, b.source_entity)
    )
    with engine.connect() as connection:
        return {(row[0], row[1]): row[2] for row in connection.execute(query)}


def drifted_columns(engine: sa.Engine) -> list[tuple[str, str, str, str]]:
    """Source, entity, column and batch of columns that came later than the entity's first batch, outside the contract.

    Which batch was the first is read from its columns' numbers, so that a new source announces nothing.
    """
    c, b = source_columns.c, batches.c
    query = (
        sa.select(c.source, c.source_entity, c.column_name, c.in_contract, c.first_batch_id, b.batch_seq)
        .select_from(source_columns.join(batches, b.batch_id == c.first_batch_id))
        .order_by(c.source, c.source_entity, c.column_name)
    )
    with engine.connect() as connection:
        rows = connection.execute(query).all()
    first: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row.source, row.source_entity)
        first[key] = min(row.batch_seq, first.get(key, row.batch_seq))
    return [
        (row.source, row.source_entity, row.column_name, row.first_batch_id)
        for row in rows
        if not row.in_contract and row.batch_seq > first[row.source, row.source_entity]
    ]
