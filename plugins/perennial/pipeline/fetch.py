"""From outside systems to the landing zone: files, databases and APIs that are asked, one file after the other.

What is fetched lands as any other file does, under the name that the entity's path gives it, so that ingestion has one
way in. The cursor is written after the file lies there: a crash in between fetches the range again (L1).
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import sqlalchemy as sa

from perennial.contracts.sources import Source, SourceEntity
from perennial.core import clock
from perennial.core.connections import ConnectionStore, EnvironmentConnections
from perennial.core.dates import business_date
from perennial.core.errors import PerennialError
from perennial.core.files import sync
from perennial.core.settings import Settings
from perennial.ledger.cursors import cursor_of, known_remote_files, save_cursor
from perennial.ledger.engine import open_ledger
from perennial.pipeline.turns import turn
from perennial.sources.config import load_sources
from perennial.sources.fetching import FetchedFile, Fetcher, Request
from perennial.sources.landing import source_of

# Which module of perennial.sources fetches which kind of connection. Webhooks and queues bring their events themselves.
FETCHERS = {
    "files": "perennial.sources.remote",
    "database": "perennial.sources.database",
    "rest": "perennial.sources.rest",
}


@dataclass(frozen=True)
class FetchReport:
    """What one fetch of a source entity brought: names below landing/, rows where they were counted, and notes.

    `problem` is None when it came to its end; else what was landed before stands, and the next fetch goes on there.
    """

    source: str
    entity: str
    files: tuple[str, ...] = ()
    rows: int = 0
    notes: tuple[str, ...] = ()
    problem: PerennialError | None = None


def fetchable(settings: Settings) -> list[str]:
    """The sources that are asked, in the order of sources.yml."""
    sources = load_sources(settings).sources
    return [name for name, source in sources.items() if source.connection and source.connection.kind in FETCHERS]


def fetch(
    settings: Settings, source: str | None = None, *, connections: ConnectionStore | None = None
) -> list[FetchReport]:
    """Ask all outside systems, or one, for what is new. One report for each entity; an error of one stops only it.

    Raises ConfigError for an unknown source.
    """
    sources = load_sources(settings)
    names = fetchable(settings) if source is None else [source]
    reports: list[FetchReport] = []
    for name in names:
        found = source_of(settings, sources, name)
        if found.connection is None or found.connection.kind not in FETCHERS:
            continue
        with turn(settings, f"fetch-{name}"):
            for entity_name, entity in found.entities.items():
                store = connections or EnvironmentConnections()
                reports.append(_fetch_entity(settings, (name, found), (entity_name, entity), store))
    return reports


def fetcher_of(source: Source) -> Fetcher:
    """The module that fetches this source."""
    kind = source.connection.kind if source.connection else ""
    return cast("Fetcher", importlib.import_module(FETCHERS[kind]))


def _fetch_entity(
    settings: Settings, source: tuple[str, Source], entity: tuple[str, SourceEntity], connections: ConnectionStore
) -> FetchReport:
    engine = open_ledger(settings)
    names: list[str] = []
    notes: list[str] = []
    rows = 0
    cursor = cursor_of(engine, source[0], entity[0])
    try:
        with _scratch(settings, source[0]) as scratch:
            known = known_remote_files(engine, source[0])
            state = settings.home / "snapshots" / source[0]
            state.mkdir(parents=True, exist_ok=True, mode=0o700)
            today = business_date(clock.now(), settings.zone)
            request = Request(*source, *entity, cursor, scratch, state, today, connections, known)
            for file in fetcher_of(source[1]).fetch(request):
                names.append(_land(settings, engine, request, file))
                notes += file.notes
                rows += file.rows or 0
                cursor = dict(file.cursor)
    except PerennialError as error:
        save_cursor(engine, source[0], entity[0], cursor, error=str(error))
        return FetchReport(source[0], entity[0], tuple(names), rows, tuple(notes), error)
    save_cursor(engine, source[0], entity[0], cursor)
    return FetchReport(source[0], entity[0], tuple(names), rows, tuple(notes))


@contextmanager
def _scratch(settings: Settings, source: str) -> Iterator[Path]:
    folder = settings.home / "tmp" / f"fetch-{source}"
    shutil.rmtree(folder, ignore_errors=True)  # of a fetch that was killed
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _land(settings: Settings, engine: sa.Engine, request: Request, file: FetchedFile) -> str:
    """Move the file into the landing zone, whole, then write down how far we came."""
    name = landing_name(request.entity.path, file.suffix)
    target = settings.landing / name
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(file.path, part) if file.path.stat().st_dev != target.parent.stat().st_dev else file.path.replace(
        part
    )
    sync(part)
    part.replace(target)
    sync(target.parent)
    landed = (*file.remote, name) if file.remote else None
    save_cursor(engine, request.source_name, request.entity_name, file.cursor, landed=landed)
    return name


def landing_name(path: str, suffix: str) -> str:
    """The entity's path with its `{date}` or its first `*` replaced by the suffix."""
    if "{date}" in path:
        return path.replace("{date}", suffix).replace("*", "")
    return path.replace("*", suffix, 1).replace("*", "")
