"""Bringing one remote file into the scratch folder: in chunks, taken up again where a connection broke, checked after.

Memory is bounded by a chunk. What was read lies in a file of ours only; nothing lands here.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from perennial.core.errors import Problem, RetryableError
from perennial.core.remote_systems import RemoteSystem
from perennial.sources.remote_listing import RemoteFile, remote_file

CHUNK_BYTES = 4_000_000
_BACKOFF_SECONDS = (0.2, 1.0, 5.0)  # between tries that brought nothing; after the last one the fetch gives up

Pause = Callable[[float], None]


@dataclass
class _Sums:
    sha256: Any = field(default_factory=hashlib.sha256)
    md5: Any = field(default_factory=lambda: hashlib.md5(usedforsecurity=False))
    size: int = 0

    def add(self, chunk: bytes) -> None:
        self.sha256.update(chunk)
        self.md5.update(chunk)
        self.size += len(chunk)


class ChangedMeanwhileError(Exception):
    """The file is not any more what was listed: it is still being written, or was replaced."""


def download(system: RemoteSystem, file: RemoteFile, target: Path, *, pause: Pause = time.sleep) -> str:
    """Write the file's bytes to `target` and give their sha256.

    Raises ChangedMeanwhileError when it was changed before its end; RetryableError when the connection broke again and
    again without bringing anything, or when the disk has no room for it.
    """
    _require_room(file, target)
    sums = _transfer(system, file, target, pause)
    require_unchanged(system, file)
    if file.md5 is not None and sums.md5.hexdigest() != file.md5:
        # Some storage puts something else into the ETag (encryption): then two downloads must agree.
        again = _transfer(system, file, target, pause)
        if again.sha256.digest() != sums.sha256.digest():
            said = "two downloads differ: the network or the storage alters bytes"
            raise RetryableError(Problem(system.where, said, "nothing of it was landed; it is tried again"))
    return str(sums.sha256.hexdigest())


def require_unchanged(system: RemoteSystem, file: RemoteFile) -> None:
    """Look at the file once more. Raises ChangedMeanwhileError when size, time of change or ETag is another."""
    with system.told("looking at a file"):
        try:
            now = remote_file(system, file.name, system.fs.info(file.path))
        except FileNotFoundError:
            now = None
    if now is None:
        raise ChangedMeanwhileError
    if (now.size, now.version) != (file.size, file.version):
        raise ChangedMeanwhileError


def _require_room(file: RemoteFile, target: Path) -> None:
    free = shutil.disk_usage(target.parent).free
    if free < file.size:
        said = f"the disk has {free:,} bytes left and a remote file has {file.size:,}"
        raise RetryableError(Problem(str(target.parent), said, "make room; the fetch then goes on where it was"))


def _transfer(system: RemoteSystem, file: RemoteFile, target: Path, pause: Pause) -> _Sums:
    sums, failures = _Sums(), 0
    with target.open("wb") as out:
        while sums.size < file.size:
            before = sums.size
            error = _go_on(system, file, out, sums)
            if error is None:
                continue
            failures = 0 if sums.size > before else failures + 1
            if failures > len(_BACKOFF_SECONDS):
                raise error
            system.drop()
            pause(_BACKOFF_SECONDS[max(failures - 1, 0)])
    return sums


def _go_on(system: RemoteSystem, file: RemoteFile, out: BinaryIO, sums: _Sums) -> RetryableError | None:
    """Read from where we are to the end; the error that broke it off, when one did that may pass."""
    chunks = _Chunks(system, file, sums.size)
    try:
        while sums.size < file.size:
            chunk = chunks.next(file.size - sums.size)
            if not chunk:
                raise ChangedMeanwhileError  # shorter than it was listed
            out.write(chunk)  # a full disk is no broken connection: its OSError goes through
            sums.add(chunk)
    except RetryableError as error:
        return error
    finally:
        chunks.close()
    return None


@dataclass
class _Chunks:
    """An open remote file, read in bounded pieces; errors of the system come out as ours."""

    system: RemoteSystem
    file: RemoteFile
    offset: int
    _handle: Any = None

    def next(self, left: int) -> bytes:
        with self.system.told(f"reading {self.file.name}"):
            try:
                if self._handle is None:
                    self._handle = self.system.fs.open(self.file.path, "rb", **_unbuffered(self.system))
                    self._handle.seek(self.offset)
                return bytes(self._handle.read(min(CHUNK_BYTES, left)))
            except FileNotFoundError:  # taken away since it was listed
                raise ChangedMeanwhileError from None

    def close(self) -> None:
        """Best effort: the connection below it may be gone, and what was read counts."""
        if self._handle is None:
            return
        try:
            with self.system.told("closing a file"):
                self._handle.close()
        except RetryableError:
            self.system.drop()


def _unbuffered(system: RemoteSystem) -> dict[str, Any]:
    """Object stores: each read is one request for just these bytes, of the version that was opened."""
    return {"cache_type": "none", "block_size": CHUNK_BYTES} if "s3" in system.fs.protocol else {}
