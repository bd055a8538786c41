"""How far each source entity was fetched, and which remote files were."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from perennial.core import clock
from perennial.ledger.tables import batch_files, batches, fetched_files, source_cursors

_ERROR_LENGTH = 2_000


def cursor_of(engine: sa.Engine, source: str, entity: str) -> dict[str, Any]:
    """The cursor of the last fetch; empty when there was none."""
    c = source_cursors.c
    with engine.connect() as connection:
        found = connection.execute(sa.select(c.cursor).where(c.source == source, c.source_entity == entity)).scalar()
    return dict(found or {})


def last_fetch(engine: sa.Engine, source: str) -> datetime | None:
    """When an entity of the source was fetched last, or tried (UTC without a zone)."""
    c = source_cursors.c
    with engine.connect() as connection:
        return connection.execute(sa.select(sa.func.max(c.fetched_at)).where(c.source == source)).scalar()


def save_cursor(
    engine: sa.Engine,
    source: str,
    entity: str,
    cursor: Mapping[str, Any],
    *,
    error: str | None = None,
    landed: tuple[str, str, str, str] | None = None,
) -> None:
    """Write how far the entity was fetched; `landed` is a remote file: name, version, name below landing/, sha256."""
    now = clock.now().replace(tzinfo=None)
    mine = (source_cursors.c.source == source, source_cursors.c.source_entity == entity)
    values = {"cursor": dict(cursor), "fetched_at": now, "last_error": error[:_ERROR_LENGTH] if error else None}
    with engine.begin() as connection:
        changed = connection.execute(sa.update(source_cursors).where(*mine).values(**values))
        if changed.rowcount == 0:
            connection.execute(sa.insert(source_cursors).values(source=source, source_entity=entity, **values))
        if landed is not None:
            name, version, landed_as, sha256 = landed
            f = fetched_files.c
            same = (f.source == source, f.name == name, f.version == version)
            connection.execute(sa.delete(fetched_files).where(*same))
            connection.execute(
                sa.insert(fetched_files).values(
                    source=source, name=name, version=version, landed_as=landed_as, sha256=sha256, fetched_at=now
                )
            )


def known_remote_files(engine: sa.Engine, source: str) -> frozenset[tuple[str, str]]:
    """Name and version of every remote file of the source that was landed."""
    f = fetched_files.c
    with engine.connect() as connection:
        rows = connection.execute(sa.select(f.name, f.version).where(f.source == source)).all()
    return frozenset((row.name, row.version) for row in rows)


def committed_remote_files(engine: sa.Engine, source: str) -> frozenset[tuple[str, str]]:
    """Name and version of the landed remote files whose bytes are in a committed batch.

    By bytes, not by name: a later version may wait in the landing zone under the name of one that is committed.
    """
    f = fetched_files.c
    query = (
        sa.select(f.name, f.version)
        .join(batch_files, batch_files.c.sha256 == f.sha256)
        .join(batches, batches.c.batch_id == batch_files.c.batch_id)
        .where(f.source == source, batches.c.state == "committed")
        .distinct()
    )
    with engine.connect() as connection:
        return frozenset((row.name, row.version) for row in connection.execute(query))


def last_error(engine: sa.Engine, source: str, entity: str) -> str | None:
    """What went wrong at the last fetch of the entity; None when nothing did, or there was none."""
    c = source_cursors.c
    query = sa.select(c.last_error).where(c.source == source, c.source_entity == entity)
    with engine.connect() as connection:
        return connection.execute(query).scalar()


def failing_fetches(engine: sa.Engine) -> list[tuple[str, str, str]]:
    """Source, entity and message of every last fetch that failed."""
    c = source_cursors.c
    query = sa.select(c.source, c.source_entity, c.last_error).where(c.last_error.is_not(None))
    with engine.connect() as connection:
        rows = connection.execute(query.order_by(c.source, c.source_entity)).all()
    return [(row.source, row.source_entity, row.last_error) for row in rows]
