"""Batches: what landed, what became of it, and from which files; a batch is visible when its row is committed (L1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from perennial.contracts.records import BatchReport, BatchState
from perennial.core import clock
from perennial.ledger.tables import batch_files, batches, gate_results

_NAMES_AT_ONCE = 500  # SQLite takes 999 parameters in old builds


@dataclass(frozen=True)
class BatchFile:
    """A file of a batch: its name below landing/, its content's checksum, its size and rows."""

    name: str
    sha256: str
    size: int
    landed: int


@dataclass(frozen=True)
class KnownFile:
    """A file that belongs to a committed batch."""

    name: str
    sha256: str
    landed: int
    batch_id: str
    as_of: date | None


@dataclass(frozen=True)
class CommittedBatch:
    """A batch whose rows are in raw. `raw_path` is relative to the home folder and always set."""

    batch_id: str
    batch_seq: int
    source: str
    source_entity: str
    entity: str
    as_of: date | None
    raw_path: str
    first_business_date: date | None
    last_business_date: date | None
    landed: int
    loaded: int
    quarantined: int
    duplicate: int
    guests: int


_COMMITTED_COLUMNS = [batches.c[name] for name in CommittedBatch.__dataclass_fields__]


def committed(engine: sa.Engine, *, source: str | None = None, entity: str | None = None) -> list[CommittedBatch]:
    """All committed batches in the order of their commitment; of one source or canonical entity if named."""
    query = sa.select(*_COMMITTED_COLUMNS).where(batches.c.state == "committed").order_by(batches.c.batch_seq)
    if source is not None:
        query = query.where(batches.c.source == source)
    if entity is not None:
        query = query.where(batches.c.entity == entity)
    with engine.connect() as connection:
        return [CommittedBatch(**row._mapping) for row in connection.execute(query)]


def state_of(engine: sa.Engine, batch_id: str) -> BatchState | None:
    """The state of a batch, None if the ledger has none of that id."""
    with engine.connect() as connection:
        state: BatchState | None = connection.execute(
            sa.select(batches.c.state).where(batches.c.batch_id == batch_id)
        ).scalar()
    return state


def known_files(engine: sa.Engine, checksums: Iterable[str]) -> list[KnownFile]:
    """The files of committed batches that have one of the checksums, in the order of commitment."""
    wanted, found = sorted(set(checksums)), []
    join = batch_files.join(batches, batches.c.batch_id == batch_files.c.batch_id)
    query = (
        sa.select(batch_files.c.name, batch_files.c.sha256, batch_files.c.landed, batches.c.batch_id, batches.c.as_of)
        .select_from(join)
        .where(batches.c.state == "committed")
        .order_by(batches.c.batch_seq, batch_files.c.name)
    )
    with engine.connect() as connection:
        for start in range(0, len(wanted), _NAMES_AT_ONCE):
            part = query.where(batch_files.c.sha256.in_(wanted[start : start + _NAMES_AT_ONCE]))
            found += [KnownFile(**row._mapping) for row in connection.execute(part)]
    return found


def next_seq(engine: sa.Engine) -> int:
    """The number that the next batch gets. Only meaningful to one process at a time."""
    with engine.connect() as connection:
        return (
            int(connection.execute(sa.select(sa.func.coalesce(sa.func.max(batches.c.batch_seq), 0))).scalar_one()) + 1
        )


def record_batch(
    connection: sa.Connection,
    report: BatchReport,
    *,
    entity: str,
    files: Sequence[BatchFile],
    batch_seq: int,
    raw_path: str | None = None,
    quarantine_path: str | None = None,
    business_dates: tuple[date | None, date | None] = (None, None),
) -> None:
    """Write the batch and its files, within the caller's transaction. A refused batch of the same id is replaced.

    `report.entity` is the source's entity (its key in sources.yml), `entity` the canonical one.

    Raises sqlalchemy.exc.IntegrityError for a committed batch of the same id or number, or where rows are lost (L1).
    """
    mine = sa.select(batches.c.batch_id).where(batches.c.batch_id == report.batch_id, batches.c.state == "refused")
    for table in (batch_files, gate_results):
        connection.execute(sa.delete(table).where(table.c.batch_id.in_(mine)))
    connection.execute(sa.delete(batches).where(batches.c.batch_id == report.batch_id, batches.c.state == "refused"))
    connection.execute(
        sa.insert(batches).values(
            batch_seq=batch_seq,
            batch_id=report.batch_id,
            source=report.source,
            source_entity=report.entity,
            entity=entity,
            as_of=report.as_of,
            state=report.state,
            landed=report.landed,
            loaded=report.loaded,
            quarantined=report.quarantined,
            duplicate=report.duplicate,
            guests=report.guests,
            raw_path=raw_path,
            quarantine_path=quarantine_path,
            first_business_date=business_dates[0],
            last_business_date=business_dates[1],
            warnings=list(report.warnings),
            reasons=list(report.reasons),
            quarantined_by_rule=dict(report.quarantined_by_rule),
            replays_batch_id=report.replays_batch_id,
            recorded_at=clock.now().replace(tzinfo=None),
        )
    )
    if files:
        connection.execute(
            sa.insert(batch_files),
            [
                {"batch_id": report.batch_id, "name": f.name, "sha256": f.sha256, "bytes": f.size, "landed": f.landed}
                for f in files
            ],
        )
