"""What `perennial sources check` looks at: systems that are asked, step by step, and files that lie and wait."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from perennial.contracts.sources import Source
from perennial.core.errors import PerennialError
from perennial.core.settings import Settings
from perennial.pipeline.fetch import FETCHERS
from perennial.pipeline.fetch import check as check_fetch
from perennial.sources.config import load_sources
from perennial.sources.landing import look, source_of

_SHOWN = 5


@dataclass(frozen=True)
class CheckLine:
    """One thing that was looked at."""

    source: str
    part: str
    message: str
    ok: bool = True


def check_sources(settings: Settings, source: str | None) -> Iterator[CheckLine]:
    """Look at all sources, or at one. Raises ConfigError with the line of each mistake in sources.yml."""
    sources = load_sources(settings)
    names = list(sources.sources) if source is None else [source]
    for name in names:
        found = source_of(settings, sources, name)
        kind = found.connection.kind if found.connection else "files that others land"
        yield CheckLine(name, "sources.yml", f"{len(found.entities)} entities, {kind}")
        yield from _systems(settings, name, found)
        yield from _files(settings, name, found)


def _systems(settings: Settings, name: str, source: Source) -> Iterator[CheckLine]:
    if source.connection is None or source.connection.kind not in FETCHERS:
        return
    try:
        steps = check_fetch(settings, name)
    except ModuleNotFoundError as error:
        yield CheckLine(name, source.connection.kind, f"this kind cannot be fetched here: {error}", ok=False)
        return
    except PerennialError as error:
        yield from (CheckLine(name, source.connection.kind, str(problem), ok=False) for problem in error.problems)
        return
    for entity, lines in steps:
        for step, said in lines:
            yield CheckLine(name, f"{entity}: {step}", said, ok=said.startswith("ok"))


def _files(settings: Settings, name: str, source: Source) -> Iterator[CheckLine]:
    try:
        found = look(settings, name)
    except OSError as error:
        message = f"the landing folder cannot be read: {error.strerror} -> let the service's user read it"
        yield CheckLine(name, "landing", message, ok=False)
        return
    for entity, contract in source.entities.items():
        ready, waiting = found.ready.get(entity, []), found.waiting.get(entity, [])
        said = f"landing/{contract.path}: {len(ready)} ready, {len(waiting)} not whole yet"
        more = ", ..." if len(waiting) > _SHOWN else ""
        yield CheckLine(name, entity, said + (f" ({', '.join(waiting[:_SHOWN])}{more})" if waiting else ""))
    for _file, problem in found.strays:
        yield CheckLine(name, "landing", str(problem), ok=False)
