"""Ports of this machine, kept from other demos until their servers have bound them.

Airflow binds its ports some 15 seconds after it was told them: a free port alone is no promise. A lock on a file in the
folder for temporary files is, between demos of one user.
"""

from __future__ import annotations

import fcntl
import os
import socket
import tempfile
from pathlib import Path

_PORTS_TRIED = 50


class Ports:
    """Reserved ports; given back by `release`, or by the end of the process."""

    def __init__(self) -> None:
        self._locks: dict[int, int] = {}

    def reserve(self, first: int) -> int:
        """The first free port from `first` on that no other demo has reserved. Raises OSError when there is none."""
        for port in range(first, first + _PORTS_TRIED):
            if port not in self._locks and self._lock(port):
                return port
        raise OSError(f"no free port from {first} to {first + _PORTS_TRIED - 1}")

    def release(self) -> None:
        """Give all of them back."""
        for descriptor in self._locks.values():
            os.close(descriptor)
        self._locks.clear()

    def _lock(self, port: int) -> bool:
        path = Path(tempfile.gettempdir()) / f"perennial-{os.getuid()}-{port}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return False
        if not _is_free(port):
            os.close(descriptor)
            return False
        self._locks[port] = descriptor
        return True


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
