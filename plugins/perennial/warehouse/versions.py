"""Published versions on disk: immutable Parquet parts, manifests, and the pointer `current`.

    parts/<table>/<key>-<content>.parquet     written once, never changed; named by what is in it
    versions/<seq>-<as_of>-<step>/            manifest.json and warehouse.duckdb (views over parts with the comments
                                              of dbt's descriptions, nothing else)
    current                                   the id of the version that readers open

Everything is written beside its place and renamed into it, so that a crash leaves a whole version or none. A reader
holds a shared lock on its version's manifest, and what is read is not pruned.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from perennial.contracts.records import DayRun
from perennial.core import clock
from perennial.core.files import sync
from perennial.core.ids import run_order
from perennial.core.settings import Settings
from perennial.core.sqltext import identifier, literal
from perennial.warehouse.duck import Connection, connect, parquet_list, slug

ROW_HASH, KEY_HASH = "_row", "_key"  # columns of a part that tell its rows apart, where a table is published by changes


@dataclass(frozen=True)
class Part:
    """An immutable Parquet file of `bytes`: `path` is relative to parts/, `checksum` is of its rows in any order."""

    key: str
    path: str
    rows: int
    checksum: str
    bytes: int = 0


@dataclass(frozen=True)
class PublishedTable:
    """A table of a version: (name, SQL type) of its columns, and its parts in order of their keys.

    A `periodic` table has a part per business date, and later versions carry the earlier dates on. A table that is
    published by changed rows is `hashed`: its parts have the column `_row`, and rows whose hash is in the file `gone`
    are no longer rows of it. `order` is how rows lie in a part; `description` and `comments` (by column) are dbt's.
    """

    columns: tuple[tuple[str, str], ...]
    parts: tuple[Part, ...]
    periodic: bool = False
    hashed: bool = False
    gone: Part | None = None
    order: str = "all"
    description: str = ""
    comments: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return sum(part.rows for part in self.parts) - (self.gone.rows if self.gone else 0)

    @property
    def files(self) -> tuple[Part, ...]:
        """All files that the table is read from."""
        return (*self.parts, *((self.gone,) if self.gone else ()))

    @property
    def bytes(self) -> int:
        """Their size together."""
        return sum(part.bytes for part in self.files)


@dataclass(frozen=True)
class Version:
    """What manifest.json holds.

    `built_from`: what the marts stand on (warehouse.origin). `published_at`: the operational moment, UTC, ISO 8601.
    """

    id: str
    run_id: str
    as_of: date
    step: str
    base: str | None
    tables: dict[str, PublishedTable]
    built_from: dict[str, Any] = field(default_factory=dict)
    published_at: str = ""

    @property
    def seq(self) -> int:
        """The number that orders versions."""
        return int(self.id.split("-", 1)[0])

    def as_manifest(self) -> dict[str, Any]:
        """The manifest as JSON-able data, with the rows of each table."""
        tables = {name: {"rows": table.rows, **asdict(table)} for name, table in sorted(self.tables.items())}
        return {**asdict(self), "as_of": self.as_of.isoformat(), "tables": tables}


def parts_dir(settings: Settings) -> Path:
    """Where parts lie."""
    return settings.warehouse_dir / "parts"


def versions_dir(settings: Settings) -> Path:
    """Where versions lie."""
    return settings.warehouse_dir / "versions"


@contextmanager
def publishing(settings: Settings) -> Iterator[None]:
    """One publisher or pruner at a time; the kernel gives the lock back when its holder dies."""
    settings.warehouse_dir.mkdir(parents=True, exist_ok=True)
    with (settings.warehouse_dir / ".publish.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def read_version(settings: Settings, version_id: str) -> Version:
    """The version by its id. Raises FileNotFoundError when it is gone."""
    return parse_manifest((versions_dir(settings) / version_id / "manifest.json").read_text(encoding="utf-8"))


def parse_manifest(text: str) -> Version:
    """The version that a manifest's JSON describes."""
    data = json.loads(text)
    tables = {
        name: PublishedTable(
            **{
                **{key: value for key, value in table.items() if key != "rows"},
                "columns": tuple((column, sql_type) for column, sql_type in table["columns"]),
                "parts": tuple(Part(**part) for part in table["parts"]),
                "gone": Part(**table["gone"]) if table.get("gone") else None,
            }
        )
        for name, table in data["tables"].items()
    }
    return Version(**{**data, "as_of": date.fromisoformat(data["as_of"]), "tables": tables})


def all_versions(settings: Settings) -> list[Version]:
    """Every version on disk, oldest first."""
    found = versions_dir(settings).glob("[0-9]*/manifest.json")
    return sorted((parse_manifest(path.read_text(encoding="utf-8")) for path in found), key=lambda v: v.seq)


def newest_of(settings: Settings, run_id: str) -> Version | None:
    """The newest version that the run has made."""
    return next((version for version in reversed(all_versions(settings)) if version.run_id == run_id), None)


def current_id(settings: Settings) -> str | None:
    """The id that `current` holds; None before the first publication."""
    try:
        return (settings.warehouse_dir / "current").read_text(encoding="ascii").strip()
    except FileNotFoundError:
        return None


def write_version(
    settings: Settings,
    run: DayRun,
    *,
    step: str,
    base: Version | None,
    tables: Mapping[str, PublishedTable],
    built_from: Mapping[str, Any] | None = None,
) -> str:
    """Put a version in place, point `current` at it if the run is of the newest day, and give its id.

    `current` never goes back: a slow step of a run leaves it to a later day or revision that was published meanwhile.
    The newest version of the run is given as it is when it says the same already (a step that is run again). A version
    without its own `built_from` stands on what its base stands on. The caller holds `publishing`.
    """
    origin = dict(built_from) if built_from is not None else base.built_from if base else {}
    versions = all_versions(settings)
    last = next((version for version in reversed(versions) if version.run_id == run.run_id), None)
    if last is not None and last.step == step and last.tables == tables and _is_from(last, origin):
        version_id = last.id
    else:
        seq = versions[-1].seq + 1 if versions else 1
        version_id = f"{seq:06d}-{run.as_of.isoformat()}-{slug(step)}"
        base_id = base.id if base else None
        moment = clock.now().isoformat(timespec="seconds")
        version = Version(version_id, run.run_id, run.as_of, step, base_id, dict(tables), origin, moment)
        _put(settings, version, base if base is not None and base.run_id == run.run_id else None)
    if run.is_latest and not _is_overtaken(settings, run):
        replace_text(settings.warehouse_dir / "current", version_id)
    return version_id


def _is_from(version: Version, origin: Mapping[str, Any]) -> bool:
    """Whether the version stands on the same build; made whole or as a change is no difference (L4)."""
    told, asked = ({**one, "mode": None} for one in (version.built_from, origin))
    return told == asked


def _is_overtaken(settings: Settings, run: DayRun) -> bool:
    current = current_id(settings)
    try:
        return current is not None and run_order(read_version(settings, current).run_id) > run_order(run.run_id)
    except FileNotFoundError:  # a pointer to a version that someone has removed holds nobody up
        return False


def _put(settings: Settings, version: Version, earlier: Version | None) -> None:
    """Put the version's folder in place; what an `earlier` version of its run shows alike is taken over."""
    folder = versions_dir(settings)
    being_made = folder / f".{version.id}"
    shutil.rmtree(being_made, ignore_errors=True)
    being_made.mkdir(parents=True)
    # Half a thousand comments are most of the cost of a version, and a step of a day changes one table.
    known = _taken_over(settings, earlier, being_made / "warehouse.duckdb") if earlier else {}
    with closing(connect(settings, being_made / "warehouse.duckdb")) as connection:
        for name in known.keys() - version.tables.keys():
            connection.execute(f"drop view {identifier(name)}")
        for name, table in version.tables.items():
            if known.get(name) != table:
                connection.execute(f"create or replace view {identifier(name)} as {view_sql(settings, table)}")
                _comment(connection, name, table)
    replace_text(being_made / "manifest.json", json.dumps(version.as_manifest(), indent=1, sort_keys=True))
    sync(being_made / "warehouse.duckdb")
    being_made.rename(folder / version.id)
    sync(folder)


def _taken_over(settings: Settings, earlier: Version, path: Path) -> Mapping[str, PublishedTable]:
    """Copy the earlier version's views to `path`; gives its tables, or none where its views show another home."""
    source = versions_dir(settings) / earlier.id / "warehouse.duckdb"
    if not source.exists():
        return {}
    shutil.copyfile(source, path)
    some = next((name for name, table in earlier.tables.items() if table.parts), None)
    with closing(connect(settings, path)) as connection:
        query = "select sql from duckdb_views() where not internal and view_name = ?"
        found = connection.execute(query, [some]).fetchone() if some else None
    if found is not None and str(parts_dir(settings)) in found[0]:
        return earlier.tables
    path.unlink()
    return {}


def _comment(connection: Connection, name: str, table: PublishedTable) -> None:
    """What the models say of the table and its columns, where BI tools look for it."""
    view = identifier(name)
    if table.description:
        connection.execute(f"comment on view {view} is {literal(table.description)}")
    for column, _ in table.columns:
        if table.comments.get(column):
            connection.execute(f"comment on column {view}.{identifier(column)} is {literal(table.comments[column])}")


def view_sql(settings: Settings, table: PublishedTable) -> str:
    """SQL of the table over its parts, where this home has them."""
    columns = ", ".join(identifier(name) for name, _ in table.columns)
    files = [parts_dir(settings) / part.path for part in table.parts]
    rows = f"select {columns} from {parquet_list(files, union_by_name=table.periodic)}"
    if table.gone is None:
        return rows
    gone = parquet_list([parts_dir(settings) / table.gone.path])
    # An anti join on integers: 20 ms of a million rows (docs/benchmarks.md).
    return f"{rows} as held where not exists (from {gone} as gone where gone.{ROW_HASH} = held.{ROW_HASH})"


def replace_text(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Write a small file whole or not at all."""
    being_made = path.with_name(f".{path.name}.tmp")
    being_made.unlink(missing_ok=True)
    with os.fdopen(os.open(being_made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    being_made.replace(path)
    sync(path.parent)


def prune(settings: Settings, *, keep: Collection[str] = ()) -> list[str]:
    """Remove versions that are old, and parts that no version uses; gives the ids of the removed versions.

    Old is what lies `warehouse.keep_days` business days or more from the published day, and is not among the newest
    `keep_versions`. Never `current`, never those in `keep` (versions of unfinished runs), never one that a reader has
    open.
    """
    with publishing(settings):
        versions = all_versions(settings)
        current = current_id(settings)
        newest = (version.id for version in versions[-settings.file.keep_versions :])
        kept = {*keep, current, *newest, *_within_days(settings, versions, current)}
        removed = [version.id for version in versions if version.id not in kept and _remove(settings, version.id)]
        _remove_unused_parts(settings)
        for leftover in versions_dir(settings).glob(".*"):
            shutil.rmtree(leftover)
    return removed


def _within_days(settings: Settings, versions: Collection[Version], current: str | None) -> set[str]:
    """The versions whose business date lies near the published one: nothing here asks what day it is (L2)."""
    published = next((version.as_of for version in versions if version.id == current), None)
    if published is None:
        return set()
    window = timedelta(days=settings.file.warehouse.keep_days)
    return {version.id for version in versions if abs(published - version.as_of) < window}


def _remove(settings: Settings, version_id: str) -> bool:
    folder = versions_dir(settings) / version_id
    with (folder / "manifest.json").open("rb") as manifest:
        try:
            fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        gone = folder.with_name(f".{version_id}")
        folder.rename(gone)
        shutil.rmtree(gone)
    return True


def _remove_unused_parts(settings: Settings) -> None:
    parts = parts_dir(settings)
    used = {part.path for version in all_versions(settings) for t in version.tables.values() for part in t.files}
    for path in parts.glob("*/*"):
        if path.relative_to(parts).as_posix() not in used:
            path.unlink()
