"""What the endpoints without a sign-in of Airflow share: bodies within limits, secrets for some seconds, and turns."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from fastapi import HTTPException, Request

from perennial.core.connections import ConnectionStore
from perennial.core.errors import ConfigError

KEPT_SECONDS = 15.0  # a changed secret or file of config/ is known after so long
RETRY_SECONDS = 30
_BODY_SECONDS = 30.0
_AT_ONCE = 16  # bodies in memory
_MINUTE = 60.0

_T = TypeVar("_T")


@dataclass
class Kept(Generic[_T]):
    """Something that is read anew after some seconds."""

    read: Callable[[], _T]
    _value: tuple[float, _T] | None = field(default=None, repr=False)

    def get(self) -> _T:
        """The value, at most `KEPT_SECONDS` old."""
        if self._value is None or time.monotonic() - self._value[0] >= KEPT_SECONDS:
            self._value = (time.monotonic(), self.read())
        return self._value[1]


class Turns:
    """How many calls there were within a minute, by name, in this process."""

    def __init__(self) -> None:
        self._calls: dict[str, deque[float]] = {}

    def take(self, name: str, per_minute: int) -> None:
        """Count a call. Raises 429 with Retry-After when there were too many."""
        now = time.monotonic()
        calls = self._calls.setdefault(name, deque())
        while calls and now - calls[0] >= _MINUTE:
            calls.popleft()
        if len(calls) >= per_minute:
            seconds = max(int(_MINUTE - (now - calls[0])) + 1, 1)
            raise HTTPException(429, "too many calls", headers={"Retry-After": str(seconds)})
        calls.append(now)


class Bodies:
    """Reads bodies, so many at once and none longer than is allowed."""

    def __init__(self) -> None:
        self._slots: asyncio.Semaphore | None = None

    @asynccontextmanager
    async def of(self, request: Request, max_bytes: int) -> AsyncIterator[bytes]:
        """The body of a request, while there is room for it. Raises 408, 413, 415."""
        if request.headers.get("content-encoding", "identity").lower() != "identity":
            raise HTTPException(415, "send the body unpacked")
        told = request.headers.get("content-length", "0")
        if not told.isdigit() or int(told) > max_bytes:
            raise HTTPException(413, f"send at most {max_bytes} bytes")
        self._slots = self._slots or asyncio.Semaphore(_AT_ONCE)
        async with self._slots:
            yield await _read(request, max_bytes)


async def _read(request: Request, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for part in request.stream():
                size += len(part)
                if size > max_bytes:
                    raise HTTPException(413, f"send at most {max_bytes} bytes")
                parts.append(part)
    except TimeoutError:
        raise HTTPException(408, "the body took too long") from None
    return b"".join(parts)


def secrets_of(connections: ConnectionStore, connection_id: str, where: str) -> list[str]:
    """The connection's password, and its extra `previous` while senders are moved over. Raises ConfigError."""
    connection = connections.get(connection_id)
    found = [str(text) for text in (connection.password, connection.extra.get("previous")) if text]
    if not found:
        raise ConfigError(f"connection {connection_id} has no password: it is the secret of {where}")
    return found
