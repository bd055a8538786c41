"""The spool: events of webhooks and queues are on the disk before anyone is told that we have them (L1).

Every process that receives appends to a file of its own below `landing/<folder>/.spool/`, which ingestion does not see,
and answers only when file and folder are synced. A file that is old or large enough is renamed into its place in the
landing zone, by whoever comes first: the process that wrote it, or the trigger that watches the landing zone. So no
further event is needed, and nothing is stranded when its writer dies: what a kill left of a line that nobody was
promised is cut off and set aside.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from perennial.contracts.sources import Source, SourceEntity
from perennial.core import clock
from perennial.core.errors import Problem, RetryableError
from perennial.core.files import sync
from perennial.core.settings import Settings

ROTATE_BYTES = 8_000_000
_SPOOL = ".spool"
_BLOCK = 65_536
_NS = 1_000_000_000

log = logging.getLogger("perennial")


@dataclass
class _Group:
    """Rows of several callers that are written and synced together."""

    rows: list[bytes] = field(default_factory=list)
    is_done: bool = False
    error: RetryableError | None = None


class Spool:
    """What one process received for one source entity. Safe for threads: those that wait share one sync."""

    def __init__(
        self,
        settings: Settings,
        source_name: str,
        entity_name: str,
        entity: SourceEntity,
        *,
        max_rows: int | None = None,
    ) -> None:
        self._settings = settings
        self._entity = entity
        self._where = f"{source_name}.{entity_name}"
        self._folder = spool_folder(settings, source_name, entity_name, entity)
        self._max_rows = max_rows
        self._pending = _Group()
        self._joining = threading.Lock()
        self._writing = threading.Lock()
        self._descriptor = -1
        self._path = Path()
        self._pid = 0
        self._rows = 0

    def append(self, rows: Sequence[bytes]) -> None:
        """Write rows (each one line of JSON, without its end); they are durable when this returns.

        Raises RetryableError when the disk does not take them: then none of them is kept on purpose.
        """
        with self._joining:
            group = self._pending
            group.rows += rows
        with self._writing:
            if not group.is_done:
                with self._joining:
                    self._pending = _Group()  # who comes now waits for the next sync
                self._write(group)
        if group.error is not None:
            raise group.error

    def _write(self, group: _Group) -> None:
        group.is_done, group.error = True, self._unwritten("they were not written")
        try:
            with self._own_file() as descriptor:
                _append_durably(descriptor, b"".join(row + b"\n" for row in group.rows))
                self._rows += len(group.rows)
                if self._is_full(descriptor):
                    _land_locked(self._settings, self._entity, descriptor, self._path)
        except OSError as error:
            self._leave_file()
            group.error = self._unwritten(error.strerror or type(error).__name__)
        else:
            group.error = None

    def _unwritten(self, why: str) -> RetryableError:
        fix = "free space on the disk of landing/, or mend its rights; senders try again meanwhile"
        return RetryableError(Problem(self._where, f"events cannot be kept: {why}", fix))

    def _is_full(self, descriptor: int) -> bool:
        """Also when it is due: under a steady stream nobody else might find it unlocked."""
        too_many = self._max_rows is not None and self._rows >= self._max_rows
        is_due = self._entity.events is not None and _is_due(self._path, self._entity.events.wakes_within_seconds)
        return too_many or is_due or os.fstat(descriptor).st_size >= ROTATE_BYTES

    @contextmanager
    def _own_file(self) -> Iterator[int]:
        """The open file of this process, locked; a new one when the old one was landed meanwhile."""
        if self._pid != os.getpid():
            self._descriptor, self._pid = -1, os.getpid()  # after a fork the file stays the parent's
        while True:
            if self._descriptor < 0:
                self._open()
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if _is_still(self._descriptor, self._path):
                break
            self._leave_file()
        try:
            yield self._descriptor
        finally:
            if self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _open(self) -> None:
        _make_folder(self._folder)
        self._path = self._folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.jsonl"
        flags = os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._rows = 0
        sync(self._folder)

    def _leave_file(self) -> None:
        """Never write to this file again: it is landed, or who knows what a failed sync left in it."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = -1


def spool_folder(settings: Settings, source_name: str, entity_name: str, entity: SourceEntity) -> Path:
    """Where events of the entity are gathered: beside where they land, so that a rename moves them."""
    return settings.landing / entity.path.split("/", 1)[0] / _SPOOL / f"{source_name}.{entity_name}"


def land_due(settings: Settings, source_name: str, source: Source, *, everything: bool = False) -> list[str]:
    """Move what was gathered long enough into the landing zone, whoever wrote it; names below landing/.

    As soon as one file of an entity is due, all of them go, so that they make one batch.
    """
    landed: list[str] = []
    for entity_name, entity in source.entities.items():
        if entity.events is None:
            continue
        files = _files(spool_folder(settings, source_name, entity_name, entity))
        if everything or any(_is_due(path, entity.events.wakes_within_seconds) for path in files):
            landed += filter(None, (_land(settings, entity, path) for path in files))
    return landed


def gathered(settings: Settings, source_name: str, source: Source) -> dict[str, int]:
    """Bytes of events by source entity that are received and not yet in the landing zone."""
    sizes: dict[str, int] = {}
    for entity_name, entity in source.entities.items():
        for path in _files(spool_folder(settings, source_name, entity_name, entity)) if entity.events else ():
            with suppress(FileNotFoundError):  # landed while we looked
                sizes[entity_name] = sizes.get(entity_name, 0) + path.stat().st_size
    return sizes


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.jsonl") if path.is_file()) if folder.is_dir() else []


def _is_due(path: Path, seconds: float) -> bool:
    """Older than so many seconds by its name; a time in the future is another machine's clock."""
    made = path.name.split("-", 1)[0]
    age = (time.time_ns() - int(made)) / _NS if made.isdigit() else -1.0
    return age < 0 or age >= seconds


def _land(settings: Settings, entity: SourceEntity, path: Path) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None  # someone else landed it
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return _land_locked(settings, entity, descriptor, path) if _is_still(descriptor, path) else None
    except BlockingIOError:
        return None  # it is being written to this moment: next time
    finally:
        os.close(descriptor)


def _land_locked(settings: Settings, entity: SourceEntity, descriptor: int, path: Path) -> str | None:
    _cut_torn_line(settings, descriptor, path)
    if os.fstat(descriptor).st_size == 0:
        path.unlink()
        return None
    name = _landed_name(settings, entity, path.stem)
    target = settings.landing / name
    _make_folder(target.parent)
    os.fsync(descriptor)
    path.replace(target)
    sync(target.parent)
    sync(path.parent)
    return name


def _landed_name(settings: Settings, entity: SourceEntity, stamp: str) -> str:
    """The entity's path: `{date}` is the business date of today, the first `*` is what makes the name its own."""
    today = clock.now().astimezone(settings.zone).date().isoformat()
    return entity.path.replace("{date}", today).replace("*", stamp, 1).replace("*", "")


def _cut_torn_line(settings: Settings, descriptor: int, path: Path) -> None:
    """What follows the last line end was never acknowledged; it is kept aside all the same."""
    size = os.fstat(descriptor).st_size
    whole = _whole_bytes(descriptor, size)
    if whole == size:
        return
    aside = settings.refused / _SPOOL.lstrip(".") / f"{path.parent.name}-{path.name}.torn"
    aside.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    aside.touch(mode=0o600)
    aside.write_bytes(os.pread(descriptor, size - whole, whole))
    log.warning("%s: %s bytes of an event that nobody was promised were cut off", path.parent.name, size - whole)
    os.ftruncate(descriptor, whole)
    os.fsync(descriptor)


def _whole_bytes(descriptor: int, size: int) -> int:
    """Bytes up to and with the last line end."""
    end = size
    while end > 0:
        start = max(end - _BLOCK, 0)
        found = os.pread(descriptor, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _append_durably(descriptor: int, data: bytes) -> None:
    before = os.fstat(descriptor).st_size
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
    except OSError:
        with suppress(OSError):  # then the line end decides: see _cut_torn_line
            os.ftruncate(descriptor, before)
        raise


def _is_still(descriptor: int, path: Path) -> bool:
    """Whether the open file is still the one under this name: a landed file has another."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _make_folder(folder: Path) -> None:
    """Make the folder and those above it, each of them written into its parent on the disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True, mode=0o700 if _SPOOL in folder.parts else 0o777)
    sync(folder.parent)
