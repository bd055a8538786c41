"""What is published in PostgreSQL: `marts.published_versions` has a row per publication, the newest is what is there.

The tables of a version stand until the next run is published in their place. Readers see one moment (a snapshot). Who
changes the columns of a published table waits for them, since a snapshot does not cover the shape of tables.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from perennial.core import clock
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.warehouse.duck import slug
from perennial.warehouse.postgres.places import LATEST, PAST, Places, relation
from perennial.warehouse.postgres.session import Session, open_session

_VERSIONS = relation(LATEST.marts, "published_versions")
_COLUMNS = "seq, id, run_id, as_of, step, base, place, tables, built_from, published_at"
_MAKE = f"""
create table if not exists {_VERSIONS} (
    seq bigint primary key, id text not null unique, run_id text not null, as_of date not null, step text not null,
    base text, place text not null, tables text not null, built_from text not null,
    published_at timestamp not null
)
"""


@dataclass(frozen=True)
class PgTable:
    """A published table: (name, SQL type as DuckDB names it) of its columns, and its rows then."""

    columns: tuple[tuple[str, str], ...]
    rows: int
    periodic: bool = False


@dataclass(frozen=True)
class PgVersion:
    """A row of `marts.published_versions`; `place` is the schema with its tables."""

    id: str
    run_id: str
    as_of: date
    step: str
    base: str | None
    place: str
    tables: Mapping[str, PgTable] = field(default_factory=dict)
    built_from: Mapping[str, Any] = field(default_factory=dict)
    published_at: str = ""

    @property
    def seq(self) -> int:
        """The number that orders versions."""
        return int(self.id.split("-", 1)[0])

    def as_manifest(self) -> dict[str, Any]:
        """The version as JSON-able data, with rows and columns of each table."""
        return {
            **{name: getattr(self, name) for name in ("id", "run_id", "step", "base", "place", "published_at")},
            "as_of": self.as_of.isoformat(),
            "built_from": dict(self.built_from),
            "tables": _as_json(self.tables),
        }


def _as_json(tables: Mapping[str, PgTable]) -> dict[str, Any]:
    return {
        name: {"rows": table.rows, "columns": [list(pair) for pair in table.columns], "periodic": table.periodic}
        for name, table in sorted(tables.items())
    }


def make_versions(session: Session) -> None:
    """Create the list of versions, if it is not there."""
    session.execute(_MAKE)


def hold(session: Session) -> None:
    """Read one moment from here on, with the tables in the shape of that moment, until the session ends.

    Raises ContractViolation when nothing is published.
    """
    if not is_there(session):
        raise ContractViolation(Problem("warehouse", "nothing is published yet", "run a day first"))
    session.commit()
    session.execute("set transaction isolation level repeatable read")
    session.execute(f"lock table {_VERSIONS} in access share mode")  # before the snapshot is taken, by what reads


def wait_for_readers(session: Session) -> None:
    """Let nobody read while columns of published tables change. Raises RetryableError when readers do not end."""
    session.execute("set local lock_timeout = '60s'")
    session.execute(f"lock table {_VERSIONS} in access exclusive mode")


def is_there(session: Session) -> bool:
    """Whether anything was ever published."""
    return bool(session.value("select to_regclass($1) is not null", [_VERSIONS]))


def newest(session: Session, places: Places) -> PgVersion | None:
    """What the tables of the place are now."""
    return _first(session, "where place = $1", [places.marts])


def newest_of(session: Session, run_id: str) -> PgVersion | None:
    """The newest version that the run has made."""
    return _first(session, "where run_id = $1", [run_id])


def _first(session: Session, where: str, params: list[Any]) -> PgVersion | None:
    query = f"select {_COLUMNS} from {_VERSIONS} {where} order by seq desc limit 1"
    found = session.rows(query, params)
    return _version(found[0]) if found else None


def _version(row: tuple[Any, ...]) -> PgVersion:
    _, version_id, run_id, as_of, step, base, place, tables, built_from, moment = row
    read = {
        name: PgTable(tuple((c, t) for c, t in one["columns"]), one["rows"], one["periodic"])
        for name, one in json.loads(tables).items()
    }
    return PgVersion(version_id, run_id, as_of, step, base, place, read, json.loads(built_from), moment.isoformat())


def find_version(session: Session, version_id: str | None) -> PgVersion:
    """The version by its id, or the current one, if its tables are still there.

    A later step of the same run has added tables and changed none, so it stands for the earlier one. Raises
    ContractViolation when nothing is published, or the version is gone.
    """
    if version_id is None:
        current = newest(session, LATEST)
        if current is None:
            raise ContractViolation(Problem("warehouse", "nothing is published yet", "run a day first"))
        return current
    asked = _first(session, "where id = $1", [version_id])
    there = asked and newest(session, LATEST if asked.place == LATEST.marts else PAST)
    if asked is None or there is None or there.run_id != asked.run_id:
        raise ContractViolation(Problem(f"version {version_id[:80]}", "this version is gone", "publish the day again"))
    return there


def write_version(session: Session, version: PgVersion) -> str:
    """Append the version under an id of its own, which is given; the caller commits it together with its tables."""
    seq = 1 + int(session.value(f"select coalesce(max(seq), 0) from {_VERSIONS}"))
    version_id = f"{seq:06d}-{version.as_of.isoformat()}-{slug(version.step)}"
    values = [seq, version_id, version.run_id, version.as_of, version.step, version.base or "", version.place]
    told = [json.dumps(_as_json(version.tables)), json.dumps(dict(version.built_from))]
    session.execute(
        f"insert into {_VERSIONS} ({_COLUMNS}) values ($1, $2, $3, $4, $5, nullif($6, ''), $7, $8, $9, $10)",
        [*values, *told, clock.now().replace(tzinfo=None)],
    )
    return version_id


def current_id(settings: Settings) -> str | None:
    """The id of the version that readers open; None before the first publication."""
    with open_session(settings) as session:
        found = newest(session, LATEST) if is_there(session) else None
        return found.id if found else None


def all_versions(settings: Settings) -> list[PgVersion]:
    """Every publication that is remembered, oldest first."""
    with open_session(settings) as session:
        if not is_there(session):
            return []
        return [_version(row) for row in session.rows(f"select {_COLUMNS} from {_VERSIONS} order by seq")]
