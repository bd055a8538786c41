"""What is published in PostgreSQL, told to people (as `warehouse.survey` does of the embedded warehouse)."""

from __future__ import annotations

from typing import Any

from perennial.core.errors import Problem
from perennial.core.settings import Settings
from perennial.core.sqltext import literal
from perennial.warehouse.postgres.places import LATEST, relation
from perennial.warehouse.postgres.reader import open_published
from perennial.warehouse.postgres.session import open_session
from perennial.warehouse.postgres.versions import PgVersion, all_versions, current_id, find_version


def published_state(settings: Settings) -> dict[str, Any]:
    """The version that readers open: what it is of, what it was built from, and its tables beside the day before's.

    Of each table rows, bytes (with its indexes), `rows_before` and `rows_more`; there are no files, and how many bytes
    a publication wrote is not known (None). Raises ContractViolation when nothing is published.
    """
    known = all_versions(settings)
    with open_session(settings) as session:
        version = find_version(session, None)
        sizes = {
            name: int(
                session.value(f"select pg_total_relation_size(to_regclass({literal(relation(version.place, name))}))")
            )
            for name in version.tables
        }
    before = _day_before(known, version)
    return {
        **_line(version, sizes),
        "current": True,
        "base": version.base,
        "built_from": dict(version.built_from),
        "compared_with": before.id if before else None,
        "tables": [_compared(name, version, before, sizes) for name in sorted(version.tables)],
        "only_before": sorted(set(before.tables) - set(version.tables)) if before else [],
    }


def known_versions(settings: Settings) -> list[dict[str, Any]]:
    """Every publication that is remembered, newest first, and which of them readers open."""
    current = current_id(settings)
    return [{**_line(version, {}), "current": version.id == current} for version in reversed(all_versions(settings))]


def damages(settings: Settings, version_id: str | None = None) -> tuple[str, int, list[Problem]]:
    """(version, tables looked at, what is wrong): tables that do not have the rows that were published.

    Raises ContractViolation when the version is gone.
    """
    found = []
    with open_published(settings, version_id) as published:
        version = published.version
        for name, table in sorted(version.tables.items()):
            rows = published.query(f"select count(*) as n from {name}").column("n")[0].as_py()
            if rows != table.rows:
                problem = f"it has {rows} rows, {table.rows} were published"
                found.append(Problem(relation(version.place, name), problem, "publish again: perennial run"))
    return version.id, len(version.tables), found


def _line(version: PgVersion, sizes: dict[str, int]) -> dict[str, Any]:
    return {
        "id": version.id,
        "as_of": version.as_of,
        "run_id": version.run_id,
        "step": version.step,
        "published_at": version.published_at or None,
        "mode": version.built_from.get("mode"),
        "rows": sum(table.rows for table in version.tables.values()),
        "bytes": sum(sizes.values()) if sizes else None,
    }


def _day_before(known: list[PgVersion], version: PgVersion) -> PgVersion | None:
    """The newest version of an earlier business date in the same place."""
    earlier = [one for one in known if one.as_of < version.as_of and one.place == LATEST.marts]
    return max(earlier, key=lambda one: (one.as_of, one.seq), default=None)


def _compared(name: str, version: PgVersion, before: PgVersion | None, sizes: dict[str, int]) -> dict[str, Any]:
    rows = version.tables[name].rows
    former = before.tables.get(name) if before else None
    return {
        "table": name,
        "rows": rows,
        "rows_before": former.rows if former else None,
        "rows_more": rows - former.rows if former else None,
        "bytes": sizes[name],
        "bytes_written": None,
        "files": 0,
    }
