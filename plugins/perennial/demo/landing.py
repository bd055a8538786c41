"""Dropping files into a landing zone as a careful sender does: complete and at once, or not at all."""

from __future__ import annotations

import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from perennial.contracts.sources import SourcesFile
from perennial.core.errors import PermanentError, Problem
from perennial.core.settings import Settings

_GZIP_LEVEL = 1  # 40 % of the CPU of the default level, for files a quarter larger
_GZIP_WINDOW = 31  # zlib's code for a gzip wrapper: its header has no time and no name, so equal text is equal bytes


@dataclass(frozen=True)
class Landed:
    """What a landing did, by names relative to the landing folder: newly landed, there before, and not recognised."""

    landed: tuple[str, ...] = ()
    already: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.landed)

    def as_dict(self) -> dict[str, list[str]]:
        """The names as JSON-able data."""
        return {"landed": list(self.landed), "already": list(self.already), "unknown": list(self.unknown)}


class Dropper:
    """Writes files under hidden names and, when all are complete, renames them into place in the order of writing.

    A name that stands in the landing zone or in the archive was delivered before and is not delivered again: what was
    killed half-way is completed by doing it once more.
    """

    def __init__(self, landing: Path, archive: Path | None = None) -> None:
        self._landing = landing
        self._delivered = set(_names_below(landing))  # before the archive: a file moves from here to there
        self._delivered |= set(_names_below(archive)) if archive else set()
        self._written: list[tuple[Path, str]] = []
        self._already: list[str] = []

    def wants(self, name: str) -> bool:
        """Whether the file has not been delivered yet."""
        if name in self._delivered:
            self._already.append(name)
            return False
        return True

    def write(self, name: str, content: bytes) -> None:
        """Write one file; a name that ends in `.gz` is compressed, to the same bytes for the same content."""
        if name.endswith(".gz"):
            content = zlib.compress(content, _GZIP_LEVEL, wbits=_GZIP_WINDOW)
        self._part_of(name).write_bytes(content)

    def copy(self, name: str, source: Path) -> None:
        """Copy one file as it is."""
        shutil.copyfile(source, self._part_of(name))

    def drop(self) -> Landed:
        """Rename everything into place: from here on the sources see it.

        The files are as young as their renaming, so that a reader that waits until files have settled takes all of
        them at once.
        """
        for part, name in self._written:
            os.utime(part)
            part.replace(self._landing / name)
        return Landed(tuple(name for _part, name in self._written), tuple(self._already))

    def _part_of(self, name: str) -> Path:
        target = self._landing / name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        self._written.append((part, name))
        return part


def land_folder(settings: Settings, data_dir: Path) -> Landed:
    """Copy the files of `data_dir` that config/sources.yml knows into the landing zone.

    A file is known by its path below `data_dir`, or by its bare name when it lies elsewhere in that folder. What is in
    the landing zone or in the archive already is not landed again. Raises PermanentError when the folder is missing or
    holds no file that the sources know, ConfigError when sources.yml is wrong.
    """
    from perennial.sources.config import load_sources

    return _copy(Dropper(settings.landing, settings.archive), data_dir, _patterns(load_sources(settings)))


def _copy(dropper: Dropper, data_dir: Path, patterns: list[str]) -> Landed:
    if not data_dir.is_dir():
        raise PermanentError(Problem(str(data_dir), "this folder does not exist", "name a folder with --data"))
    unknown = []
    for name in sorted(_names_below(data_dir)):
        target = _place_of(name, patterns)
        if target is None:
            unknown.append(name)
        elif dropper.wants(target):
            dropper.copy(target, data_dir / name)
    result = dropper.drop()
    if not result.landed and not result.already:
        problem = f"no file here has a name that sources.yml knows ({', '.join(patterns)})"
        raise PermanentError(Problem(str(data_dir), problem, "rename the files, or change `path` in sources.yml"))
    return Landed(result.landed, result.already, tuple(unknown))


def _patterns(sources: SourcesFile) -> list[str]:
    paths = (entity.path for source in sources.sources.values() for entity in source.entities.values())
    return [path.replace("{date}", "????-??-??") for path in paths]


def _place_of(name: str, patterns: Iterable[str]) -> str | None:
    """The name in the landing zone of a file that the sources know, else None."""
    path, known = PurePosixPath(name), [PurePosixPath(pattern) for pattern in patterns]
    if any(len(path.parts) == len(pattern.parts) and path.match(str(pattern)) for pattern in known):
        return name
    return next((str(pattern.parent / path.name) for pattern in known if path.match(pattern.name)), None)


def _names_below(folder: Path) -> Iterator[str]:
    """Names of the files below a folder, relative to it and without hidden ones."""
    for path in folder.rglob("*") if folder.is_dir() else ():
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") for part in relative.parts):
            yield relative.as_posix()
