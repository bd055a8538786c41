"""What the build in a database stands on: the batches of each source, and the days that it touched."""

from __future__ import annotations

from typing import Any

from perennial.contracts.records import DayRun
from perennial.core.sqltext import identifier
from perennial.warehouse.build_db import TableSpec
from perennial.warehouse.duck import Connection, first_value
from perennial.warehouse.versions import Version

_BY_SOURCE = """
    select source, source_entity as entity, count(*) as batches, cast(sum(loaded) as bigint) as rows,
        cast(sum(quarantined) as bigint) as quarantined, cast(max(as_of) as varchar) as newest
    from raw.ledger_batches
    where state = 'committed'
    group by source, source_entity
    order by source, source_entity
"""


def sources_of(connection: Connection) -> list[dict[str, Any]]:
    """Per source entity of the build's batches: how many, their rows, and the newest business date (freshness)."""
    if not _has(connection, "raw", "ledger_batches"):
        return []
    found = connection.sql(_BY_SOURCE)
    return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def changed_days(connection: Connection, spec: TableSpec, base: Version | None) -> str | None:
    """SQL of the relation of days that the build touched since `base` was published; None when nobody can say.

    Only a change of the very build that `base` was published from can: what came between was not published.
    """
    if spec.changed_days is None or base is None or not _has(connection, "intermediate", spec.changed_days):
        return None
    if not is_change_of(connection, base):
        return None
    return f"intermediate.{identifier(spec.changed_days)}"


def is_change_of(connection: Connection, base: Version) -> bool:
    """Whether the build is a change of the build that `base` holds."""
    before = first_value(connection, "select change_of from raw.build_info")
    return before is not None and before == base.built_from.get("build_id")


def _has(connection: Connection, schema: str, table: str) -> bool:
    known = "select 1 from information_schema.tables where table_schema = ? and table_name = ?"
    return first_value(connection, known, [schema, table]) is not None


def origin_of(connection: Connection, run: DayRun, told: dict[str, Any]) -> dict[str, Any]:
    """What a version of the build was built from: `told` by the build, its sources and batches."""
    build_id, mode = connection.execute("select build_id, mode from raw.build_info").fetchall()[0]
    return {
        **told,
        "build_id": build_id,
        "mode": mode,
        "batches": len(run.batch_ids),
        "sources": sources_of(connection),
    }
