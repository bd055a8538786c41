"""A real HTTP server on a free port whose answers a test writes, and a source that is asked there."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from perennial.contracts.sources import Source
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError
from perennial.sources import rest
from perennial.sources.fetching import FetchedFile, Request

DROP = object()  # an answer that drops the connection
TODAY = date(2026, 11, 20)


@dataclass(frozen=True)
class Asked:
    """What the server was asked."""

    method: str
    path: str
    params: dict[str, str]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """What the server answers: `body` is JSON unless it is bytes; `cut` sends only half of it."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


@dataclass
class Api:
    """A running server: where it is, and what it was asked so far."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    defects: list[BaseException] = field(default_factory=list)  # what `answer` raised: `running` raises it at its end


Answer = Callable[[Asked], Any]


class _Handler(BaseHTTPRequestHandler):
    """Asks `answer` of its server what to say."""

    protocol_version = "HTTP/1.1"
    api: Api
    answer: Answer

    def _any(self):
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        params = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, parts.path, params, headers, self.rfile.read(length))
        self.api.asked.append(asked)
        try:
            given = type(self).answer(asked)
        except BaseException as defect:  # noqa: BLE001 - a test must see it, not only the client
            self.api.defects.append(defect)
            given = DROP
        self._send(given)

    do_GET = do_POST = _any  # noqa: N815 - the standard library's names

    def _send(self, given):
        if given is DROP:
            self.close_connection = True
            self.connection.close()
            return
        reply = given if isinstance(given, Reply) else Reply(given)
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content[: len(reply.content) // 2] if reply.cut else reply.content)
        self.close_connection |= reply.cut

    def log_message(self, *_args):
        """Nothing: what was asked is kept in `Api.asked`."""

    def finish(self):
        try:
            super().finish()
        except OSError:
            self.close_connection = True  # the connection was dropped on purpose


@contextmanager
def running(answer: Answer) -> Iterator[Api]:
    """Run a server whose answers `answer` gives: a Reply, JSON, or DROP. What it raises is raised at the end."""
    api = Api("")
    handler = type("Handler", (_Handler,), {"api": api, "answer": staticmethod(answer)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    api.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    if api.defects:
        raise api.defects[0]


class Connections:
    """A store of one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def get(self, connection_id: str) -> Connection:
        if connection_id != self.connection.id:
            raise ConfigError(f"no connection {connection_id}")
        return self.connection


@dataclass
class Asking:
    """A source entity that is fetched again and again, as pipeline.fetch does it, without a ledger."""

    folder: Path
    source: Source
    connection: Connection
    today: date = TODAY
    cursor: dict[str, Any] = field(default_factory=dict)
    landed: list[FetchedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def request(self) -> Request:
        scratch, state = self.folder / "scratch", self.folder / "state"
        for folder in (scratch, state):
            folder.mkdir(parents=True, exist_ok=True)
        [(name, entity)] = self.source.entities.items()
        return Request(
            "crm", self.source, name, entity, dict(self.cursor), scratch, state, self.today,
            connections=Connections(self.connection), notes=self.notes,
        )  # fmt: skip

    def fetch(self, *, die_after: int | None = None) -> list[dict[str, Any]]:
        """The lines that one fetch brings; with `die_after`, it is killed when so many files have landed."""
        lines: list[dict[str, Any]] = []
        files = rest.fetch(self.request())
        for number, file in enumerate(files):
            if number == die_after:
                files.close()
                break
            lines += [json.loads(line) for line in file.path.read_text(encoding="utf-8").splitlines()]
            self.cursor = json.loads(json.dumps(file.cursor))
            self.landed.append(file)
        return lines

    def check(self) -> dict[str, str]:
        return dict(rest.check(self.request()))


def asking(
    folder: Path, api: dict[str, Any], endpoint: dict[str, Any], *, columns: dict[str, str] | None = None,
    connection: dict[str, Any] | None = None, definition: str | None = None, resource: str | None = None,
    **entity: Any,
) -> Asking:  # fmt: skip
    """A source of contacts at `api`, with quick retries."""
    quick = {"first_wait_seconds": 0, "attempts": 4, "timeout_seconds": 5}
    fast = {"per_second": 1000, "burst": 1000}
    source = {
        "description": "CRM", "owner": "crm", "dag": "ingest_crm", "namespace": "crm",
        "connection": {
            "kind": "rest", "id": "crm", "definition": definition,
            "api": {"retry": quick, "rate_limit": fast, **({} if definition else {"auth": {"kind": "none"}}), **api},
        },
        "entities": {
            "contacts": {
                "entity": "clients", "path": "crm/contacts_{date}*.jsonl", "format": {"type": "jsonl"},
                "columns": columns or {"client_key": "id", "first_name": "name"},
                "rest": {"resource": resource, "endpoint": endpoint}, **entity,
            }
        },
    }  # fmt: skip
    given = {"kind": "http", "password": "s3cret", **(connection or {})}
    return Asking(folder, Source.model_validate(source), Connection(id="crm", **given))
