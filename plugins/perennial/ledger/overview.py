"""What pages show of batches and fetches: read-only, newest first, bounded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

import sqlalchemy as sa

from perennial.ledger.tables import batch_files, batches, gate_results, source_cursors

_FILES_SHOWN = 20


@dataclass(frozen=True)
class BatchLine:
    """One batch as a page shows it; counts in rows, `recorded_at` in UTC without a zone. At most 20 `files`."""

    batch_seq: int
    batch_id: str
    source: str
    source_entity: str
    as_of: date | None
    state: str
    landed: int
    loaded: int
    quarantined: int
    duplicate: int
    recorded_at: datetime
    first_business_date: date | None
    last_business_date: date | None
    warnings: tuple[str, ...]
    reasons: tuple[str, ...]
    by_rule: dict[str, int]
    replays_batch_id: str | None
    file_count: int
    files: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """source.entity, as in sources.yml."""
        return f"{self.source}.{self.source_entity}"

    @property
    def row_reasons(self) -> tuple[str, ...]:
        """Why the first bad rows were set aside: `file:line: reason -> fix`."""
        said = (*self.reasons, *self.warnings)
        return tuple(text for text in said if any(text.startswith(f"{name}:") for name in self.files))


@dataclass(frozen=True)
class RuleLine:
    """What the gate said of one rule of a batch; thresholds are shares of rows."""

    rule: str
    rows_seen: int
    rows_bad: int
    warn_above: float | None
    stop_above: float | None
    verdict: str


@dataclass(frozen=True)
class FetchLine:
    """When a source entity was asked last (UTC without a zone), and what went wrong then."""

    source: str
    source_entity: str
    fetched_at: datetime
    last_error: str | None


def recent_batches(
    engine: sa.Engine, *, before: int | None = None, source: str | None = None, state: str | None = None, limit: int
) -> list[BatchLine]:
    """The newest batches, from the one before number `before` on."""
    b = batches.c
    query = sa.select(batches).order_by(b.batch_seq.desc()).limit(limit)
    for column, value in ((b.source, source), (b.state, state)):
        query = query if value is None else query.where(column == value)
    return _lines(engine, query if before is None else query.where(b.batch_seq < before))


def batches_by_id(engine: sa.Engine, batch_ids: Sequence[str]) -> dict[str, BatchLine]:
    """The batches of these ids (some hundreds at most) that there are."""
    found = _lines(engine, sa.select(batches).where(batches.c.batch_id.in_(batch_ids)))
    return {batch.batch_id: batch for batch in found}


def _lines(engine: sa.Engine, query: sa.Select[tuple[object, ...]]) -> list[BatchLine]:
    f = batch_files.c
    with engine.connect() as connection:
        rows = connection.execute(query).all()
        ids = [row.batch_id for row in rows]
        counted = sa.select(f.batch_id, sa.func.count()).where(f.batch_id.in_(ids)).group_by(f.batch_id)
        counts = {row[0]: row[1] for row in connection.execute(counted)}
        files = {batch_id: _first_files(connection, batch_id) for batch_id in ids}
    return [
        BatchLine(
            batch_seq=row.batch_seq,
            batch_id=row.batch_id,
            source=row.source,
            source_entity=row.source_entity,
            as_of=row.as_of,
            state=row.state,
            landed=row.landed,
            loaded=row.loaded if row.state == "committed" else 0,
            quarantined=row.quarantined,
            duplicate=row.duplicate,
            recorded_at=row.recorded_at,
            first_business_date=row.first_business_date,
            last_business_date=row.last_business_date,
            warnings=tuple(row.warnings),
            reasons=tuple(row.reasons),
            by_rule=dict(row.quarantined_by_rule),
            replays_batch_id=row.replays_batch_id,
            file_count=counts.get(row.batch_id, 0),
            files=files[row.batch_id],
        )
        for row in rows
    ]


def _first_files(connection: sa.Connection, batch_id: str) -> tuple[str, ...]:
    f = batch_files.c
    query = sa.select(f.name).where(f.batch_id == batch_id).order_by(f.name).limit(_FILES_SHOWN)
    return tuple(connection.execute(query).scalars())


def rules_of(engine: sa.Engine, batch_id: str) -> list[RuleLine]:
    """The gate's verdicts on a batch: those that stopped or warned first."""
    g = gate_results.c
    query = sa.select(gate_results).where(g.batch_id == batch_id).order_by(g.rows_bad.desc(), g.rule)
    with engine.connect() as connection:
        return [
            RuleLine(r.rule, r.rows_seen, r.rows_bad, r.warn_above, r.stop_above, r.verdict)
            for r in connection.execute(query)
        ]


def fetches(engine: sa.Engine) -> dict[tuple[str, str], FetchLine]:
    """By source and entity how the last fetch went."""
    with engine.connect() as connection:
        rows: Sequence[sa.Row[tuple[object, ...]]] = connection.execute(sa.select(source_cursors)).all()
    return {(r.source, r.source_entity): FetchLine(r.source, r.source_entity, r.fetched_at, r.last_error) for r in rows}


def dates_touched(engine: sa.Engine, batch_ids: Sequence[str]) -> tuple[date | None, date | None]:
    """The first and the last business date of the rows of these batches."""
    b = batches.c
    found: list[tuple[date | None, date | None]] = []
    with engine.connect() as connection:
        for start in range(0, len(batch_ids), 500):
            some = b.batch_id.in_(batch_ids[start : start + 500])
            query = sa.select(sa.func.min(b.first_business_date), sa.func.max(b.last_business_date)).where(some)
            row = connection.execute(query).one()
            found.append((row[0], row[1]))
    first = min((one for one, _ in found if one), default=None)
    return first, max((one for _, one in found if one), default=None)
