"""From outside systems to the landing zone: files, databases and APIs that are asked, one file after the other.

What is fetched lands as any other file does, under the name that the entity's path gives it, so that ingestion has one
way in. The cursor is written after the file lies there: a crash in between fetches the range again (L1).
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

from perennial.contracts.sources import Source
from perennial.core import clock
from perennial.core.connections import ConnectionStore, EnvironmentConnections
from perennial.core.dates import business_date
from perennial.core.errors import PerennialError, RetryableError
from perennial.core.settings import Settings
from perennial.ledger.cursors import committed_remote_files, cursor_of, known_remote_files, last_fetch, save_cursor
from perennial.ledger.engine import open_ledger
from perennial.pipeline.arrival import full_disk_told, land
from perennial.pipeline.turns import turn
from perennial.sources.config import load_sources
from perennial.sources.fetching import Fetcher, Request
from perennial.sources.inspection import checksum_of
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
    reports: list[FetchReport] = []
    for name, found in _asked(settings, source):
        with turn(settings, f"fetch-{name}"):
            for entity_name in found.entities:
                asking = _Asking(settings, name, found, entity_name, connections or EnvironmentConnections())
                reports.append(asking.fetch())
    return reports


def due(settings: Settings, now: datetime | None = None) -> dict[str, datetime | None]:
    """The sources whose `every_minutes` have passed, each with when it was asked last; none opens no ledger."""
    names = fetchable(settings)
    if not names:
        return {}
    engine = open_ledger(settings)
    moment = (now or clock.now()).replace(tzinfo=None)
    asked = {name: last_fetch(engine, name) for name in names}
    waits = {name: timedelta(minutes=every_minutes(settings, name)) for name in names}
    return {name: last for name, last in asked.items() if last is None or last + waits[name] <= moment}


def every_minutes(settings: Settings, source: str) -> float:
    """How often the source is asked."""
    return float(getattr(load_sources(settings).sources[source].connection, "every_minutes", 0.0))


def has_news(settings: Settings, source: str, *, connections: ConnectionStore | None = None) -> bool:
    """Whether asking the source brings anything, where that is cheap to know (remote files: one listing); else True.

    Raises what the listing raises.
    """
    for name, found in _asked(settings, source):
        news = getattr(fetcher_of(found), "has_news", None)
        if news is None:
            return True
        for entity_name in found.entities:
            asking = _Asking(settings, name, found, entity_name, connections or EnvironmentConnections())
            if news(asking.request(settings.home / "tmp")):
                return True
    return False


def check(
    settings: Settings, source: str, *, connections: ConnectionStore | None = None
) -> list[tuple[str, list[tuple[str, str]]]]:
    """For each entity the steps of reaching it, each with `ok...` or what is wrong. Nothing is fetched."""
    steps = []
    for name, found in _asked(settings, source):
        for entity_name in found.entities:
            asking = _Asking(settings, name, found, entity_name, connections or EnvironmentConnections())
            with _scratch(settings, f"check-{name}") as scratch:
                steps.append((entity_name, fetcher_of(found).check(asking.request(scratch))))
    return steps


def _asked(settings: Settings, source: str | None) -> list[tuple[str, Source]]:
    sources = load_sources(settings)
    names = fetchable(settings) if source is None else [source]
    found = [(name, source_of(settings, sources, name)) for name in names]
    return [(name, one) for name, one in found if one.connection is not None and one.connection.kind in FETCHERS]


def fetcher_of(source: Source) -> Fetcher:
    """The module that fetches this source."""
    kind = source.connection.kind if source.connection else ""
    return cast("Fetcher", importlib.import_module(FETCHERS[kind]))


@dataclass
class _Asking:
    """One entity of a source, asked once."""

    settings: Settings
    source_name: str
    source: Source
    entity_name: str
    connections: ConnectionStore
    files: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    rows: int = 0

    def request(self, scratch: Path) -> Request:
        """What the fetcher is asked for, from what the ledger knows."""
        engine = open_ledger(self.settings)
        state = self.settings.home / "snapshots" / self.source_name
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        return Request(
            source_name=self.source_name,
            source=self.source,
            entity_name=self.entity_name,
            entity=self.source.entities[self.entity_name],
            cursor=cursor_of(engine, self.source_name, self.entity_name),
            scratch=scratch,
            state=state,
            today=business_date(clock.now(), self.settings.zone),
            connections=self.connections,
            known=known_remote_files(engine, self.source_name),
            committed=committed_remote_files(engine, self.source_name),
            notes=self.notes,
        )

    def fetch(self) -> FetchReport:
        """Ask, land, write down how far we came. An error leaves the cursor behind the last file that landed."""
        engine = open_ledger(self.settings)
        mine = (self.source_name, self.entity_name)
        cursor = cursor_of(engine, *mine)
        problem: PerennialError | None = None
        try:
            with full_disk_told(self.settings), _scratch(self.settings, f"fetch-{self.source_name}") as scratch:
                request = self.request(scratch)
                for file in fetcher_of(self.source).fetch(request):
                    sha256 = file.sha256 or (checksum_of(file.path) if file.remote else "")
                    name = land(self.settings, request, file)
                    landed = (*file.remote, name, sha256) if file.remote else None
                    save_cursor(engine, *mine, file.cursor, landed=landed)
                    cursor = dict(file.cursor)
                    self.files.append(name)
                    self.notes += file.notes
                    self.rows += file.rows or 0
        except PerennialError as error:
            problem = error
        except Exception as error:
            save_cursor(engine, *mine, cursor, error=f"{type(error).__name__}: a defect; the log has it")
            raise
        try:
            with full_disk_told(self.settings):
                save_cursor(engine, *mine, cursor, error=str(problem) if problem else None)
        except RetryableError as error:
            problem = problem or error
        return FetchReport(*mine, tuple(self.files), self.rows, tuple(self.notes), problem)


@contextmanager
def _scratch(settings: Settings, name: str) -> Iterator[Path]:
    folder = settings.home / "tmp" / name
    shutil.rmtree(folder, ignore_errors=True)  # of a fetch that was killed
    folder.mkdir(parents=True, mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
