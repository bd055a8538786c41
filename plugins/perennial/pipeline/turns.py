"""One at a time on this host: a lock that the kernel gives back when its holder is killed."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager

from perennial.core.settings import Settings

WAREHOUSE_BUILD = "warehouse-build"  # the build database has one user at a time, from its opening to its reading


@contextmanager
def turn(settings: Settings, name: str) -> Iterator[None]:
    """Wait for the turn of `name` and hold it for the block."""
    path = settings.home / "locks" / f"{name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="ascii") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
