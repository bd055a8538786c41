"""Putting a fetched file into the landing zone: whole, at once, and never over another one.

A name that is taken by the same bytes is left. One that is taken by other bytes is not ours to touch: ours gets another
name, a function of its content, or waits until the first is taken in (L1, L2).
"""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa

from perennial.core.errors import ConfigError, Problem, RetryableError
from perennial.core.files import sync
from perennial.core.settings import Settings
from perennial.sources.fetching import FetchedFile, Request
from perennial.sources.inspection import checksum_of
from perennial.sources.landing import entities_taking, shown_name

_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_MODE = 0o600  # it may hold people's data
_CONTENT_IN_NAME = 12


def land(settings: Settings, request: Request, file: FetchedFile) -> str:
    """Move the file into the landing zone; its name there. It counts as settled at once, and survives a power cut.

    Raises ConfigError when the entity's path does not take the name; RetryableError when the only name is still taken.
    """
    name = landing_name(request.entity.path, file.suffix)
    _require_taken(request, name)
    part = _beside(settings.landing / name, request, file.path)
    try:
        if _place(part, settings.landing / name):
            return name
        name = _other_name(request, file.suffix, checksum_of(part))
        _require_taken(request, name)
        if not _place(part, settings.landing / name):
            raise _still_waiting(name)
    finally:
        part.unlink(missing_ok=True)
    return name


def landing_name(path: str, suffix: str, tail: str = "") -> str:
    """The entity's path with its `{date}` or its first `*` replaced by the suffix.

    `tail` takes the place of a `*` that stands beside `{date}`.
    """
    if "{date}" in path:
        return path.replace("{date}", suffix).replace("*", tail, 1).replace("*", "")
    return path.replace("*", f"{suffix}-{tail}" if tail else suffix, 1).replace("*", "")


def _other_name(request: Request, suffix: str, sha256: str) -> str:
    path = request.entity.path
    if "*" not in path:
        raise _still_waiting(landing_name(path, suffix))
    return landing_name(path, suffix, sha256[:_CONTENT_IN_NAME])


def _still_waiting(name: str) -> RetryableError:
    said = "another file of this name is not taken in yet"
    return RetryableError(Problem(shown_name(name), said, "nothing is lost: it is fetched after the next ingestion"))


def _require_taken(request: Request, name: str) -> None:
    """What no entity takes would be refused after it was fetched; what another one takes would be read wrongly."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts) or entities_taking(request.source, name) != [request.entity_name]:
        where = f"sources.{request.source_name}.entities.{request.entity_name}.path"
        said = (
            f"does not take the name {shown_name(name)} that a fetched file would get, or another entity takes it too"
        )
        raise ConfigError(Problem(where, said, "give the path a `*`, and each entity a name of its own"))


def _beside(target: Path, request: Request, path: Path) -> Path:
    """The file under a hidden name in the target's folder, on the disk for good."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{request.source_name}.fetch.part")
    # Of a fetch that was killed: it may be a second name of a file that landed, so it is never written to.
    part.unlink(missing_ok=True)
    try:
        path.rename(part)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        shutil.copyfile(path, part)
        path.unlink()
    part.chmod(_MODE)
    # It was whole before it came here: its time of change says that it has stood still for long enough.
    settled = time.time() - request.source.settle_seconds - 1
    os.utime(part, (settled, settled))
    sync(part)
    return part


def _place(part: Path, target: Path) -> bool:
    """Give the file its name; False when other bytes have it. A link cannot overwrite, as a rename would."""
    try:
        os.link(part, target)
    except FileExistsError:
        same = target.is_file() and not target.is_symlink() and filecmp.cmp(part, target, shallow=False)
        if not same:
            return False
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(target):
            return target.is_file() and not target.is_symlink() and filecmp.cmp(part, target, shallow=False)
        part.rename(target)
    sync(target.parent)
    return True


@contextmanager
def full_disk_told(settings: Settings) -> Iterator[None]:
    """Inside, a full disk is a RetryableError in plain words; what was landed before stands."""
    try:
        yield
    except OSError as error:
        if error.errno not in _DISK_FULL:
            raise
        raise _disk_full(settings) from error
    except sa.exc.OperationalError as error:
        if "disk is full" not in str(error.orig):
            raise
        raise _disk_full(settings) from error


def _disk_full(settings: Settings) -> RetryableError:
    fix = "make room; the fetch then goes on where it was"
    return RetryableError(Problem(str(settings.home), "the disk is full", fix))
