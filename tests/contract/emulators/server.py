"""A stateful tool that speaks HTTP: every request and every answer is held to the vendor's specification.

A tool is a subclass of `Emulator` with `SPECIFICATION` (or several), `authorised` and handlers marked by `@route`. It is
a real server on a free port of this machine, in a thread of its own: clients in other processes reach it as well.

What goes wrong comes by plan, never by chance: `emulator.plan("POST /lists/{list_id}", TooMany(3))` concerns the next
call of that route, `times=2` the next two, `after=1` the one after the next. What broke the specification is kept in
`violations`, which the fixture (`running`) asserts to be empty at the end.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import threading
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

from aiohttp import web
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from contract.emulators.specification import Specification, specification

JSON = "application/json"


@dataclass
class Answer:
    """What a handler gives back. `undeclared` says why an answer stands that the specification does not know."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    undeclared: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.body, bytes):
            self.data = self.body
        else:
            self.data = b"" if self.body is None else json.dumps(self.body).encode()
            if self.body is not None:
                self.headers = {"Content-Type": JSON, **self.headers}


@dataclass
class Asked:
    """One request. `path` is below the base path, `route` as the handler was marked, `ids` what its names matched."""

    method: str
    path: str
    route: str
    ids: dict[str, str]
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    form: dict[str, Any]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


# Faults -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TooMany:
    """429 with Retry-After; nothing is done."""

    retry_after: float | None = 3
    status: int = 429
    header: str = "Retry-After"


@dataclass(frozen=True)
class Breaks:
    """A 5xx: before anything is done, after everything (`after=True`), or after the first `rows` rows."""

    status: int = 500
    after: bool = False
    rows: int | None = None


@dataclass(frozen=True)
class Resets:
    """The connection is cut: after the call had its whole effect, or before it had any."""

    after: bool = True


@dataclass(frozen=True)
class Silent:
    """No answer until the client gives up; the call has had its effect where `after`."""

    after: bool = True


@dataclass(frozen=True)
class Slow:
    """The answer comes, late."""

    seconds: float = 0.05


@dataclass(frozen=True)
class Refuses:
    """A given answer (revoked key, plan exceeded, a page for people, ...) instead of the effect."""

    answer: Answer


class _StopError(Exception):
    """Raised by `Emulator.rows` in the middle of a batch."""


def route(pattern: str, *, marked: str = "_routes"):
    """Mark a handler: `@route("POST /lists/{list_id}")`; it takes `Asked` and gives an `Answer` (or a JSON value)."""

    def mark(function):
        setattr(function, marked, [*getattr(function, marked, []), pattern])
        return function

    return mark


class Emulator:
    """Base of the emulated tools: see the module."""

    SPECIFICATION: ClassVar[str | tuple[str, ...]] = ()
    OUTSIDE: ClassVar[tuple[str, ...]] = ()  # paths (from the host on) that are not the specification's: files, pages
    BASE_PATH: ClassVar[str] = ""  # where several specifications share a server, or none names a path

    def __init__(self) -> None:
        files = (self.SPECIFICATION,) if isinstance(self.SPECIFICATION, str) else self.SPECIFICATION
        self.specifications: list[Specification] = [specification(file) for file in files]
        self.base_path = self.BASE_PATH or (self.specifications[0].base_path if self.specifications else "")
        self.violations: list[str] = []
        self.calls: Counter[str] = Counter()
        self.asked: list[Asked] = []
        self.validated = 0
        self._faults: list[list[Any]] = []  # [route, how many to let pass, how many times, fault]
        self._stop_after: int | None = None
        self._table = [
            (
                *pattern.split(" ", 1),
                re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern.split(" ", 1)[1])),
                handler,
            )
            for name in dir(type(self))
            for pattern in getattr(getattr(type(self), name), "_routes", ())
            for handler in [getattr(self, name)]
        ]
        self.url = ""
        self.lock = threading.RLock()

    # For tests --------------------------------------------------------------------------------------------------
    def plan(self, on: str, fault: Any, *, times: int = 1, after: int = 0) -> None:
        """Let `fault` happen to the next `times` calls of the route `on` ("*": any), once `after` calls have passed."""
        self._faults.append([on, after, times, fault])

    def rows(self, rows):
        """The rows of a batch, for a handler to go through; breaks off where a `Breaks(rows=n)` was planned."""
        for number, row in enumerate(rows):
            if self._stop_after is not None and number >= self._stop_after:
                raise _StopError
            yield row

    # For subclasses ---------------------------------------------------------------------------------------------
    def authorised(self, asked: Asked) -> Answer | None:
        """None where the caller may come in, else the answer."""
        return None

    def own_headers(self) -> dict[str, str]:
        """What stands in every answer."""
        return {}

    def too_many(self, fault: TooMany) -> Answer:
        """How this vendor says 429."""
        headers = {} if fault.retry_after is None else {fault.header: str(fault.retry_after)}
        return Answer({"message": "Too many requests"}, fault.status, headers, undeclared="a fault")

    def broken(self, status: int) -> Answer:
        """How this vendor says 5xx."""
        return Answer(b"<html>Internal error</html>", status, {"Content-Type": "text/html"}, undeclared="a fault")

    def not_found(self) -> Answer:
        """How this vendor says 404."""
        return Answer({"message": "Not found"}, 404)

    def wrong(self, problems: list[str]) -> Answer:
        """How a request that breaks the specification is answered (the test fails at its end anyway)."""
        return Answer({"message": problems[0]}, 422, undeclared="the request broke the specification")

    # The server -------------------------------------------------------------------------------------------------
    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = await self._asked(request, body)
        with self.lock:
            self.calls[asked.route] += 1
            self.asked.append(asked)
            fault = self._fault_of(asked.route)
            answer = self._answer(asked, request, fault)
        if isinstance(fault, Slow):
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, Silent):
            await asyncio.sleep(3600)
        if isinstance(fault, Resets):
            assert request.transport is not None
            request.transport.abort()
        return web.Response(body=answer.data, status=answer.status, headers={**self.own_headers(), **answer.headers})

    async def _asked(self, request: web.Request, body: bytes) -> Asked:
        path = request.rel_url.raw_path
        if not (self.OUTSIDE and path.startswith(self.OUTSIDE)):
            path = path.removeprefix(self.base_path) or "/"
        found, ids = "", {}
        for method, pattern, expression, _handler in self._table:
            matched = expression.fullmatch(path)
            if method == request.method and matched and (not found or pattern.count("{") < found.count("{")):
                found, ids = f"{method} {pattern}", {k: _unquoted(v) for k, v in matched.groupdict().items()}
        form = _form(request.headers.get("Content-Type", ""), body)
        return Asked(request.method, path, found, ids, dict(request.query), dict(request.headers), body, form)

    def _answer(self, asked: Asked, request: web.Request, fault: Any) -> Answer:
        outside = bool(self.OUTSIDE) and asked.path.startswith(self.OUTSIDE)
        full = asked.path if outside else self.base_path + asked.path
        seen = (asked.method, full, list(request.query.items()), asked.headers, asked.body)
        held, problems = self._held_to(seen)
        if problems:
            self.violations += [f"request {asked.method} {asked.path}: {problem}" for problem in problems]
            return self.wrong(problems)
        answer = self._with_fault(asked, fault)
        if held is not None and not answer.undeclared:
            told = held.wrong_in_answer(*seen, answer)
            self.violations += [f"answer {answer.status} to {asked.method} {asked.path}: {one}" for one in told]
        self.validated += 1
        return answer

    def _held_to(self, seen: tuple) -> tuple[Specification | None, list[str]]:
        """The specification that knows the path, and what it says against the request."""
        problems: list[str] = []
        if self.OUTSIDE and seen[1].startswith(self.OUTSIDE):
            return None, problems
        for one in self.specifications:
            problems = one.wrong_in_request(*seen)
            if not any("not found for" in problem for problem in problems):
                return one, problems
        return None, problems

    def _with_fault(self, asked: Asked, fault: Any) -> Answer:
        match fault:
            case TooMany():
                return self.too_many(fault)
            case Refuses():
                return fault.answer
            case Breaks(after=False, rows=None) | Resets(after=False) | Silent(after=False):
                return self.broken(getattr(fault, "status", 500))
            case Breaks():
                self._stop_after = fault.rows
                try:
                    self._handled(asked)
                except _StopError:
                    pass
                finally:
                    self._stop_after = None
                return self.broken(fault.status)
        return self._handled(asked)

    def _handled(self, asked: Asked) -> Answer:
        refusal = self.authorised(asked)
        if refusal is not None:
            return refusal
        for method, pattern, _expression, handler in self._table:
            if f"{method} {pattern}" == asked.route:
                answer = handler(asked)
                return answer if isinstance(answer, Answer) else Answer(answer)
        self.violations.append(f"nobody answers {asked.method} {asked.path}")
        return self.not_found()

    def _fault_of(self, route: str) -> Any:
        for one in self._faults:
            if one[0] not in ("*", route):
                continue
            if one[1] > 0:
                one[1] -= 1
                continue
            if one[2] > 0:
                one[2] -= 1
                return one[3]
        return None


def _form(content_type: str, body: bytes) -> dict[str, Any]:
    kind, options = parse_options_header(content_type)
    if kind not in ("multipart/form-data", "application/x-www-form-urlencoded"):
        return {}
    _, fields, files = FormDataParser().parse(io.BytesIO(body), kind, len(body), options)
    return {**fields.to_dict(), **{name: file.read() for name, file in files.items()}}


def _unquoted(text: str) -> str:
    from urllib.parse import unquote

    return unquote(text)


@contextmanager
def serving(emulator: Emulator):
    """The emulator, reachable at `emulator.url`, until the end of the block."""
    loop, ready = asyncio.new_event_loop(), threading.Event()
    stop: asyncio.Event = asyncio.Event()

    async def main() -> None:
        application = web.Application(client_max_size=100_000_000)
        application.router.add_route("*", "/{tail:.*}", emulator._serve)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
        emulator.url = f"http://127.0.0.1:{port}{emulator.base_path}"
        ready.set()
        await stop.wait()
        await runner.cleanup()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield emulator
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


@contextmanager
def running(emulator: Emulator):
    """As `serving`, and at the end nothing of what was asked or answered may have broken the specification."""
    with serving(emulator):
        yield emulator
    assert not emulator.violations, "\n".join(emulator.violations)
