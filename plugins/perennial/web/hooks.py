"""Signed webhooks: `POST /perennial/hooks/{source}/{entity}`, with a sign-in of their own.

Airflow's does not fit a machine that knows one shared secret. Nothing is read beyond the size limit, nothing is parsed
before the signature holds, and 202 is answered only when the event is on the disk: a sender that gets anything else
sends it again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from dataclasses import dataclass, field

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from perennial.contracts.connections import WebhookConnection
from perennial.contracts.sources import SourceEntity
from perennial.core.connections import ConnectionStore
from perennial.core.errors import ConfigError, PerennialError, RetryableError, RowRejected
from perennial.core.settings import Settings, load_settings
from perennial.sources.config import load_sources
from perennial.sources.eventrows import Arrivals, parse_events, rows_of
from perennial.sources.events import Spool
from perennial.web.signatures import is_signed

_BODY_SECONDS = 30.0
_SECRET_SECONDS = 15.0  # a changed secret is known after so long
_RETRY_SECONDS = 30

log = logging.getLogger("perennial")


@dataclass(frozen=True)
class Hook:
    """One address that events are posted to."""

    source_name: str
    entity_name: str
    connection: WebhookConnection
    entity: SourceEntity

    @property
    def where(self) -> str:
        """Its name in messages."""
        return f"{self.source_name}.{self.entity_name}"


@dataclass
class Desk:
    """What the process keeps between requests: settings, secrets for some seconds, and its open spools."""

    connections: ConnectionStore
    settings: Settings = field(default_factory=load_settings)
    _secrets: dict[str, tuple[float, list[str]]] = field(default_factory=dict, repr=False)
    _spools: dict[tuple[str, str, str], Spool] = field(default_factory=dict)
    _arrivals: Arrivals = field(default_factory=Arrivals)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hook(self, source_name: str, entity_name: str) -> Hook | None:
        """The hook of that name in config/sources.yml as it is now; None for anything else. Raises ConfigError."""
        source = load_sources(self.settings).sources.get(source_name)
        if source is None or not isinstance(source.connection, WebhookConnection):
            return None
        entity = source.entities.get(entity_name)
        if entity is None or entity.events is None:
            return None
        return Hook(source_name, entity_name, source.connection, entity)

    def secrets(self, hook: Hook) -> list[str]:
        """The connection's password, and its extra `previous` while senders are moved over. Raises ConfigError."""
        known = self._secrets.get(hook.connection.id)
        if known is not None and time.monotonic() - known[0] < _SECRET_SECONDS:
            return known[1]
        connection = self.connections.get(hook.connection.id)
        found = [text for text in (connection.password, connection.extra.get("previous")) if text]
        if not found:
            raise ConfigError(f"connection {hook.connection.id} has no password: it is the secret of {hook.where}")
        self._secrets[hook.connection.id] = (time.monotonic(), found)
        return found

    def spool(self, hook: Hook) -> Spool:
        """This process's spool of the entity."""
        key = (hook.source_name, hook.entity_name, hook.entity.path)
        with self._lock:
            if key not in self._spools:
                self._spools[key] = Spool(self.settings, hook.source_name, hook.entity_name, hook.entity)
            return self._spools[key]

    def take(self, hook: Hook, body: bytes) -> int:
        """Write the rows of a signed body durably; their number. Raises RowRejected, RetryableError."""
        events = parse_events(body, hook.where)
        rows = [
            row for event in events for row in rows_of(event, hook.entity, hook.where, arrival=self._arrivals.next())
        ]
        if rows:
            self.spool(hook).append(rows)
        return len(rows)


def create_hooks(connections: ConnectionStore) -> FastAPI:
    """The app below /perennial/hooks; `connections` gives the secrets."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    desk: list[Desk] = []

    @app.post("/{source}/{entity}")
    async def receive(source: str, entity: str, request: Request) -> JSONResponse:
        if not desk:
            desk.append(await run_in_threadpool(Desk, connections))
        return await _receive(desk[0], source, entity, request)

    return app


async def _receive(desk: Desk, source: str, entity: str, request: Request) -> JSONResponse:
    try:
        hook = desk.hook(source, entity)
        if hook is None:
            raise HTTPException(404)
        _refuse_other_types(request)
        body = await _body(request, hook.connection.max_bytes)
        secrets = await run_in_threadpool(desk.secrets, hook)
        if not is_signed(hook.connection, secrets, request.headers, body):
            raise HTTPException(401, "the signature is missing, wrong or too old")
        rows = await run_in_threadpool(desk.take, hook, body)
    except RowRejected as error:
        log.warning("An event was refused: %s", error)
        return JSONResponse({"detail": str(error)}, 422)
    except RetryableError as error:
        log.error("An event was not taken: %s", error)
        return _later("the event cannot be stored now")
    except PerennialError as error:
        log.error("Webhooks are not taken until this is mended: %s", error)
        return _later("the receiver is not ready")
    return JSONResponse({"rows": rows}, 202)


def _later(detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail}, 503, headers={"Retry-After": str(_RETRY_SECONDS)})


def _refuse_other_types(request: Request) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise HTTPException(415, "send application/json")
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HTTPException(415, "send the body unpacked")


async def _body(request: Request, max_bytes: int) -> bytes:
    """The body, never more of it than is allowed, and not for ever."""
    told = request.headers.get("content-length", "0")
    if not told.isdigit() or int(told) > max_bytes:
        raise HTTPException(413, f"send at most {max_bytes} bytes")
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
