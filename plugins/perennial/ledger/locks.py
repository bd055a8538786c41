"""Locks with an owner and an expiry: one active push per destination list (L16).

An owner is a process (host, process id, its start) and a token. A lock is taken over when it has expired, or at once
when its owner ran on this host and is no longer there: after a SIGKILL nobody waits for the expiry.
"""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

import psutil
import sqlalchemy as sa

from perennial.core import clock
from perennial.core.errors import Problem, RetryableError
from perennial.core.ids import digest_of
from perennial.ledger.tables import locks

TTL_SECONDS = 600


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds."""

    engine: sa.Engine
    name: str
    owner: str
    ttl_seconds: int

    def confirm(self) -> None:
        """Prolong the lock. Raises RetryableError if it expired and someone else has taken it."""
        expires_at = _now() + timedelta(seconds=self.ttl_seconds)
        mine = (locks.c.name == self.name) & (locks.c.owner == self.owner)
        with self.engine.begin() as connection:
            held = connection.execute(sa.update(locks).where(mine).values(expires_at=expires_at)).rowcount
        if not held:
            raise RetryableError(Problem(f"lock {self.name}", "it was lost to another process", "run it again"))


@contextmanager
def hold(engine: sa.Engine, name: str, *, ttl_seconds: int = TTL_SECONDS) -> Iterator[Lock]:
    """Hold the lock `name` for the block. Raises RetryableError at once when someone else holds it."""
    lock = Lock(engine, name, new_owner(), ttl_seconds)
    _acquire(lock)
    try:
        yield lock
    finally:
        with engine.begin() as connection:
            connection.execute(sa.delete(locks).where((locks.c.name == name) & (locks.c.owner == lock.owner)))


def new_owner() -> str:
    """`place:pid:start:token`: who holds a lock, in a form by which the living can be told from the dead."""
    process = psutil.Process()
    return f"{_place()}:{process.pid}:{int(process.create_time())}:{uuid.uuid4().hex}"


def _acquire(lock: Lock) -> None:
    values = {"owner": lock.owner, "expires_at": _now() + timedelta(seconds=lock.ttl_seconds)}
    try:
        with lock.engine.begin() as connection:
            found = connection.execute(sa.select(locks).where(locks.c.name == lock.name)).first()
            if found is None:
                connection.execute(sa.insert(locks).values(name=lock.name, **values))
                return
            if not _is_free(found.owner, found.expires_at):
                raise _busy(lock.name, found.expires_at)
            seen = (locks.c.name == lock.name) & (locks.c.owner == found.owner)
            if not connection.execute(sa.update(locks).where(seen).values(**values)).rowcount:
                raise _busy(lock.name, found.expires_at)
    except sa.exc.IntegrityError:
        raise _busy(lock.name, None) from None


def _busy(name: str, until: datetime | None) -> RetryableError:
    known = f", at most until {until:%Y-%m-%d %H:%M:%S} UTC" if until else ""
    return RetryableError(Problem(f"lock {name}", f"another process is at it{known}", "run it again later"))


def _is_free(owner: str, expires_at: datetime) -> bool:
    return expires_at <= _now() or _is_dead(owner)


def _is_dead(owner: str) -> bool:
    """Whether the owner was a process of this place that has ended; its id may have been given to another since."""
    place, pid, start, _ = owner.split(":")
    if place != _place():
        return False
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(int(pid))
        return int(process.create_time()) != int(start) or process.status() == psutil.STATUS_ZOMBIE
    return True


@lru_cache(maxsize=1)
def _place() -> str:
    """Host and, where there are any, boot and process-id space: process ids compare within one place only."""
    parts = [socket.gethostname()]
    for source in (Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")):
        with suppress(OSError):
            parts.append(str(source.readlink()) if source.is_symlink() else source.read_text(encoding="ascii"))
    return digest_of(parts)


def _now() -> datetime:
    return clock.now().replace(tzinfo=None)
