"""Looking at the landing zone: which files are whole, whose they are, and which nobody knows.

Stat calls only, nothing is opened and nothing heavy is imported: a trigger looks every second.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Set
from dataclasses import dataclass, field, replace
from datetime import date
from functools import lru_cache
from pathlib import Path

from perennial.contracts.sources import Source, SourceEntity, SourcesFile
from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import Settings
from perennial.sources.config import load_sources

STRAY = ""  # the key in `ready_files` of settled files that no entity takes: ingest refuses them
_UNFINISHED = (".tmp", ".part")


@dataclass(frozen=True)
class LandedFile:
    """A settled file: its name below landing/, size in bytes, time of change, and the date in its name, if any.

    `marker` is the name of the file that says that it is whole, where there is one: it goes where the file goes.
    """

    name: str
    size: int
    mtime_ns: int
    file_date: date | None = None
    marker: str = ""


@dataclass
class Look:
    """What lies in the folders of one source. `ready` and `waiting` are by source entity.

    An entity of which any file is unsettled waits with all its files, so that a burst becomes one batch. Where markers
    say what is whole, each file waits for its own only.
    """

    ready: dict[str, list[LandedFile]] = field(default_factory=dict)
    waiting: dict[str, list[str]] = field(default_factory=dict)
    strays: list[tuple[LandedFile, Problem]] = field(default_factory=list)
    unsettled_strays: list[str] = field(default_factory=list)  # no day waits for them


def ready_files(settings: Settings, source_name: str) -> dict[str, list[LandedFile]]:
    """By source entity the files that ingest would take now, in the order of their names.

    Settled files that no entity takes stand under the key `STRAY`. Raises ConfigError for an unknown source.
    """
    found = look(settings, source_name)
    ready = dict(found.ready)
    if found.strays:
        ready[STRAY] = [file for file, _problem in found.strays]
    return ready


def look(settings: Settings, source_name: str) -> Look:
    """Everything in the folders of one source. Raises ConfigError for an unknown source."""
    sources = load_sources(settings)
    source = source_of(settings, sources, source_name)
    others = [other for name, other in sources.sources.items() if name != source_name]
    found = Look()
    entries = list(_entries(settings.landing, _folders(source)))
    names = {name for _entry, name in entries} if _ready_by(source) == "marker" else set()
    for entry, name in entries:
        if any(_is_marker(other, name) for other in others):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # taken away while we looked
        marker = _marker_of(source, name)
        landed = LandedFile(name, status.st_size, status.st_mtime_ns, marker=marker if marker in names else "")
        old = _is_settled(status.st_mtime, source.settle_seconds)
        if _is_marker(source, name):
            _sort_marker_in(found, source, landed, names, settled=old)
        else:
            _sort_in(found, source, others, landed, entry, settled=_is_whole(source, landed, old=old), old=old)
    if _ready_by(source) == "stable":
        for entity in found.waiting:
            found.ready.pop(entity, None)
    return found


def _ready_by(source: Source) -> str:
    """Of remote files `ready` speaks of the folder over there: what is fetched lands whole, and without a marker."""
    return "stable" if source.connection is not None and source.connection.kind == "files" else source.ready.by


def _is_whole(source: Source, file: LandedFile, *, old: bool) -> bool:
    """Whether the file is there to its end, by what the source says of that. `old`: it has not changed for a while."""
    return {"stable": old, "marker": bool(file.marker), "rename": True}[_ready_by(source)]


def _marker_of(source: Source, name: str) -> str:
    """The name that the marker of this file has, if the source's files have markers."""
    if _ready_by(source) != "marker":
        return ""
    folder, _, base = name.rpartition("/")
    return f"{folder}/{source.ready.marker.replace('{name}', base)}"


def _marked(source: Source, name: str) -> str:
    """The name of the file that a marker of this name stands for, nothing if it is no marker."""
    folder, _, base = name.rpartition("/")
    before, _, behind = source.ready.marker.partition("{name}")
    long_enough = len(base) > len(before) + len(behind)
    if _ready_by(source) != "marker" or not (long_enough and base.startswith(before) and base.endswith(behind)):
        return ""
    return f"{folder}/{base[len(before) : len(base) - len(behind)]}"


def _is_marker(source: Source, name: str) -> bool:
    return bool(marked := _marked(source, name)) and bool(_takers(source, marked))


def _sort_marker_in(found: Look, source: Source, marker: LandedFile, names: Set[str], *, settled: bool) -> None:
    """A marker beside its file is nothing of its own; one without a file is told, once it has stood for a while."""
    marked = _marked(source, marker.name)
    if marked in names:
        return
    if settled:
        said = f"a marker without its file {shown_name(marked)}"
        found.strays.append((marker, _problem(marker.name, said, "land the file first, then its marker")))
    else:
        found.unsettled_strays.append(marker.name)


def source_of(settings: Settings, sources: SourcesFile, name: str) -> Source:
    """The source by its name. Raises ConfigError if sources.yml has none such."""
    if name not in sources.sources:
        known = ", ".join(sources.sources)
        where = str(settings.config_dir / "sources.yml")
        raise ConfigError(Problem(where, f"there is no source {name!r}", f"name one of {known}"))
    return sources.sources[name]


@lru_cache(maxsize=256)
def _path_regex(path: str) -> re.Pattern[str]:
    """The pattern of an entity's files: `{date}` is the group `date`, `*` anything inside one folder."""
    parts = [re.escape(part) for part in re.split(r"(\{date\}|\*)", path)]
    text = "".join(parts).replace(re.escape("{date}"), r"(?P<date>\d{4}-\d{2}-\d{2})").replace(re.escape("*"), "[^/]*")
    return re.compile(text)


def _sort_in(
    found: Look,
    source: Source,
    others: list[Source],
    file: LandedFile,
    entry: os.DirEntry[str],
    *,
    settled: bool,
    old: bool,
) -> None:
    if not entry.is_symlink() and not entry.is_file(follow_symlinks=False):
        return  # a pipe or a device: never opened
    takers, problem = _takers(source, file.name), None
    if entry.is_symlink():
        problem = _problem(file.name, "a symbolic link, which may lead anywhere, is not read", "land the file itself")
    elif not file.name.isprintable():
        problem = _problem(file.name, "the name holds control characters or is not UTF-8", "give it a plain name")
    elif len(takers) > 1:
        both = " and ".join(name for name, _date in takers)
        problem = _problem(file.name, f"{both} both take this file name", "make their paths in sources.yml distinct")
    elif not takers and not any(_takers(other, file.name) for other in others):
        patterns = ", ".join(entity.path for entity in source.entities.values())
        problem = _problem(file.name, f"no entity takes this file name; patterns are {patterns}", "rename the file")
    if problem is not None:
        if old:
            found.strays.append((file, problem))
        else:
            found.unsettled_strays.append(file.name)
        return
    for entity, file_date in takers:
        if settled:
            found.ready.setdefault(entity, []).append(replace(file, file_date=file_date))
        else:
            found.waiting.setdefault(entity, []).append(file.name)


def _problem(name: str, message: str, fix: str) -> Problem:
    return Problem(shown_name(name), message, fix)


def shown_name(name: str) -> str:
    """The name as it may be printed and stored: what is not printable is escaped."""
    plain = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in plain)


def entities_taking(source: Source, name: str) -> list[str]:
    """The entities of the source whose path takes a file of this name below landing/; one, where all is well."""
    return [entity for entity, _date in _takers(source, name)]


def takes_base_name(entity: SourceEntity, base: str) -> bool:
    """Whether the entity's path takes a file of this name in some folder."""
    return _path_regex(entity.path.rsplit("/", 1)[-1]).fullmatch(base) is not None


def _takers(source: Source, name: str) -> list[tuple[str, date | None]]:
    """The entities whose pattern the name matches, each with the date in the name."""
    takers: list[tuple[str, date | None]] = []
    for entity, contract in source.entities.items():
        match = _path_regex(contract.path).fullmatch(name)
        if match is None:
            continue
        text = match.groupdict().get("date")
        try:
            takers.append((entity, date.fromisoformat(text) if text else None))
        except ValueError:
            continue  # 2017-02-30 is no date, so this is not that entity's file
    return takers


def _folders(source: Source) -> list[str]:
    return sorted({contract.path.split("/", 1)[0] for contract in source.entities.values()})


def _entries(landing: Path, folders: list[str]) -> Iterator[tuple[os.DirEntry[str], str]]:
    """Every entry below the folders with its name below landing/, in the order of names, links not followed.

    Hidden entries and unfinished files (`.tmp`, `.part`) are left out.
    """
    for folder in folders:
        try:
            entries = sorted(os.scandir(landing / folder), key=lambda entry: entry.name)
        except (FileNotFoundError, NotADirectoryError):
            continue
        for entry in entries:
            if entry.name.startswith(".") or entry.name.endswith(_UNFINISHED):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(landing, [f"{folder}/{entry.name}"])
            else:
                yield entry, f"{folder}/{entry.name}"


def _is_settled(changed: float, settle_seconds: float) -> bool:
    """A time of change in the future is another machine's clock, not a file that is being written."""
    age = time.time() - changed
    return age < -settle_seconds or age >= settle_seconds
