"""One account over HTTP, with manners: signs, waits its turn, tries again what may pass, says what is unknown.

What is told of an error is the call as the vendor's documentation writes it, the status and the vendor's code: never an
address with its parameters, never a body (L22).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from secrets import SystemRandom
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode

from perennial.core import clock
from perennial.core.errors import PermanentError, Problem, RetryableError
from perennial.delivery.tools.rates import Monotonic, bucket_of
from perennial.delivery.tools.records import ChunkRefused, Limits, OutcomeUnknown
from perennial.delivery.tools.words import code_in, masked

if TYPE_CHECKING:
    import aiohttp

# A call that only reads; that has no second effect when made again; that must not be made twice.
Effect = Literal["read", "repeatable", "once"]

_RANDOM = SystemRandom()
_OK, _MOVED = 200, 300
_BAD, _TOO_MANY = 400, 429
_OF_THE_ROWS = frozenset({400, 409, 413, 422})
_BUSY = frozenset({408, 425, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529})
_NOT_TAKEN = frozenset({425, 503})  # a busy answer that says that the call was not begun
_EPOCH = 1_000_000_000  # a larger number in a header is a moment, a smaller one seconds
_LONGEST_ANSWER = 64_000_000
_FIRST_WORDS = 300


class Gone(PermanentError):  # noqa: N818
    """404 or 410: what the address names (a list, a job, a contact) is not there."""


class NotLetIn(PermanentError):  # noqa: N818
    """401, 402 or 403: the account as a whole says no, and this says nothing about any person."""


class Busy(RetryableError):  # noqa: N818
    """The tool asked us to wait longer than one call waits: come back after `wait_seconds`."""

    def __init__(self, problem: Problem, wait_seconds: float) -> None:
        super().__init__(problem)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True)
class Reply:
    """One answer; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None


@dataclass(frozen=True)
class Manners:
    """How patient a call is; tests put in their own clock and pause.

    `attempts` counts what broke or answered busy without saying how long; waits that the vendor asks for cost none, up
    to `longest_asked_wait_seconds` in sum.
    """

    attempts: int = 5
    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 60.0
    longest_asked_wait_seconds: float = 900.0
    wait_headers: tuple[str, ...] = ("retry-after",)
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    monotonic: Monotonic = time.monotonic


Signing = Callable[[bytes], Mapping[str, str]]  # headers for these bytes, made anew for each attempt


def never_busy(_reply: Reply) -> bool:
    """For tools that say busy by the usual statuses only."""
    return False


class _TryAgainError(Exception):
    """The call may pass later: after `wait` seconds where the vendor names them. `taken`: it may have had an effect."""

    def __init__(self, what: str, *, taken: bool, wait: float | None = None) -> None:
        super().__init__(what)
        self.taken, self.wait = taken, wait


class Api:
    """The calls of one account. Opens nothing until the first call; `close` ends what the calls opened.

    `name` is the destination's name. Calls of all objects of one account (`base_url` and headers) in this process
    share `limits.calls_per_second`; `pool` names calls that the vendor counts apart.
    """

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        headers: Mapping[str, str],
        limits: Limits,
        manners: Manners | None = None,
        is_busy: Callable[[Reply], bool] = never_busy,
        pool: str = "",
    ) -> None:
        self._name, self._base, self._limits, self._is_busy = name, base_url.rstrip("/"), limits, is_busy
        self._headers = {"Accept": "application/json", "User-Agent": "perennial", **headers}
        self._manners = manners or Manners()
        account = hashlib.sha256(repr((self._base, sorted(headers.items()), pool)).encode()).hexdigest()
        self._bucket = bucket_of(account, limits.calls_per_second, self._manners.monotonic)
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    async def call(
        self,
        method: str,
        path: str,
        *,
        ids: Mapping[str, Any] | None = None,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        form: Callable[[], aiohttp.FormData] | None = None,
        headers: Mapping[str, str] | None = None,
        effect: Effect | None = None,
        answers: Collection[int] = (),
        signing: Signing | None = None,
    ) -> Reply:
        """Make one call and give the answer: 2xx, or one of `answers`, which the caller reads itself.

        `path` is written as the vendor's documentation writes it, with `{names}` that `ids` fills in. `body` is sent as
        JSON, bytes as they are; `form` makes a form anew for each attempt, `signing` headers that sign the body.
        Without `effect` a GET reads and everything else is made once.

        Raises NotLetIn, Gone, Busy, RetryableError, ChunkRefused (400, 409, 413, 422 and the like), PermanentError, and
        OutcomeUnknown when the call broke after it may have been accepted and making it again is not harmless, or
        broke on every attempt.
        """
        effect = effect or ("read" if method == "GET" else "once")
        where = f"{self._name}: {method} {path}"
        request = _Request(
            method, self._url(path, ids, params), body, form, {**self._headers, **(headers or {})}, signing
        )
        return await self._patiently(where, request, effect, answers)

    async def fetch(self, url: str) -> bytes:
        """A file that the tool's own answer names: nothing of ours is sent there, for it may lie with another host."""
        where = f"{self._name}: GET (a file that the tool named)"
        return (await self._patiently(where, _Request("GET", url, None, None, {}), "read", ())).body

    async def _patiently(self, where: str, request: _Request, effect: Effect, answers: Collection[int]) -> Reply:
        attempts, asked = 0, 0.0
        while True:
            await self._turn()
            try:
                return await self._once(where, request, answers)
            except _TryAgainError as problem:
                if problem.taken and effect == "once":
                    raise _unknown(where, problem) from None
                if problem.wait is None:
                    attempts += 1
                    await self._back_off(where, problem, attempts, effect)
                else:
                    asked += problem.wait
                    await self._as_asked(where, problem.wait, asked)

    async def close(self) -> None:
        """End the connections. A call after it opens new ones."""
        session, self._session = self._session, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.close()

    def _url(self, path: str, ids: Mapping[str, Any] | None, params: Mapping[str, Any] | None) -> str:
        filled = path.format_map({name: quote(str(value), safe="") for name, value in (ids or {}).items()})
        given = [(name, value) for name, value in (params or {}).items() if value is not None]
        return f"{self._base}{filled}{'?' + urlencode(given, doseq=True) if given else ''}"

    async def _turn(self) -> None:
        wait = self._bucket.take()
        if wait:
            await self._manners.pause(wait)

    async def _back_off(self, where: str, problem: _TryAgainError, attempts: int, effect: Effect) -> None:
        if attempts >= self._manners.attempts:
            if problem.taken and effect != "read":
                raise _unknown(where, problem)
            fix = "it is tried again in the next attempt of the push"
            raise RetryableError(Problem(where, f"{problem} ({attempts} times)", fix))
        span = min(self._manners.longest_wait_seconds, self._manners.first_wait_seconds * 2 ** (attempts - 1))
        await self._manners.pause(_RANDOM.uniform(span / 2, span))

    async def _as_asked(self, where: str, wait: float, asked: float) -> None:
        self._bucket.hold(wait)
        if asked > self._manners.longest_asked_wait_seconds:
            fix = "lower rate_share of the destination, or push at another hour"
            raise Busy(Problem(where, f"too many calls; the tool asks to wait {wait:.0f} s more", fix), wait)
        await self._manners.pause(wait)

    async def _once(self, where: str, request: _Request, answers: Collection[int]) -> Reply:
        reply = await self._send(where, request)
        status = reply.status
        if _OK <= status < _MOVED or status in answers:
            return reply
        wait = self._asked_wait(reply)
        if status == _TOO_MANY or self._is_busy(reply):
            raise _TryAgainError(f"too many calls ({status})", taken=False, wait=wait)
        if status in _BUSY:
            raise _TryAgainError(f"answered {status}", taken=status not in _NOT_TAKEN, wait=wait)
        raise _refusal(where, reply)

    async def _send(self, where: str, request: _Request) -> Reply:
        import aiohttp
        from yarl import URL

        try:
            async with self._opened().request(
                request.method, URL(request.url, encoded=True), allow_redirects=False, **request.content()
            ) as response:
                body = await _read(response, where)
                return Reply(response.status, {name.lower(): value for name, value in response.headers.items()}, body)
        except aiohttp.ClientConnectorCertificateError:
            fix = "have its owner mend it, or trust your own authority (SSL_CERT_FILE)"
            raise PermanentError(Problem(where, "the server's certificate is not trusted", fix)) from None
        except aiohttp.InvalidURL:
            fix = "check the host of the connection"
            raise PermanentError(Problem(where, "the address is not one", fix)) from None
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise _TryAgainError("no connection", taken=False) from None
        except TimeoutError:
            raise _TryAgainError("no answer in time", taken=True) from None
        except aiohttp.ClientError:
            raise _TryAgainError("the connection broke", taken=True) from None

    def _opened(self) -> aiohttp.ClientSession:
        """The session of the running loop; one of a loop that has ended is left to it."""
        import aiohttp

        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop or self._session.closed:
            self._loop = loop
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._limits.connections),
                timeout=aiohttp.ClientTimeout(total=self._limits.timeout_seconds, sock_connect=15),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _asked_wait(self, reply: Reply) -> float | None:
        """Seconds that the vendor asks us to wait, by its own clock where it tells it."""
        for header in self._manners.wait_headers:
            given = reply.headers.get(header)
            if given is None:
                continue
            now = _moment(reply.headers.get("date")) or clock.now().timestamp()
            number = _number(given)
            if number is None:
                number = _moment(given)
            if number is not None:
                return max(0.0, number - now if number > _EPOCH else number)
        return None


@dataclass(frozen=True)
class _Request:
    method: str
    url: str = field(repr=False)
    body: Any = field(repr=False)
    form: Callable[[], aiohttp.FormData] | None
    headers: Mapping[str, str]
    signing: Signing | None = field(default=None, repr=False)

    def content(self) -> dict[str, Any]:
        """What aiohttp is told beside method and address."""
        headers = dict(self.headers)
        if self.form is not None:
            return {"data": self.form(), "headers": headers}
        if self.body is None:
            return {"headers": headers}
        headers.setdefault("Content-Type", "application/json")
        data = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode("ascii")
        return {"data": data, "headers": {**headers, **(self.signing(data) if self.signing else {})}}


async def _read(response: aiohttp.ClientResponse, where: str) -> bytes:
    body = bytearray()
    async for piece in response.content.iter_chunked(65_536):
        body += piece
        if len(body) > _LONGEST_ANSWER:
            raise PermanentError(Problem(where, f"the answer is longer than {_LONGEST_ANSWER} bytes", "tell us"))
    return bytes(body)


def _unknown(where: str, problem: _TryAgainError) -> OutcomeUnknown:
    fix = "it is read back from the tool where that is possible, else a person decides"
    return OutcomeUnknown(Problem(where, f"{problem}: it may have been accepted", fix))


def _refusal(where: str, reply: Reply) -> PermanentError:
    said = masked(words_in(reply))
    told = f"{reply.status}{code_in(reply.json())}{': ' + said if said else ''}"
    match reply.status:
        case 401:
            fix = "put a valid key into the connection; nothing was said about any person"
            return NotLetIn(Problem(where, f"not signed in: {told}", fix))
        case 402:
            return NotLetIn(Problem(where, f"the account has to be paid for: {told}", "look at its plan in the tool"))
        case 403:
            fix = "give the key the right to do this; nothing was said about any person"
            return NotLetIn(Problem(where, f"not allowed: {told}", fix))
        case 404 | 410:
            return Gone(Problem(where, f"there is no such thing: {told}", "see whether it was deleted in the tool"))
        case status if status < _BAD:
            return PermanentError(Problem(where, f"the address has moved: {told}", "check the host of the connection"))
        case status:
            problem = Problem(where, f"refused: {told}", "mend what the tool's words name")
            return ChunkRefused(problem) if status in _OF_THE_ROWS else PermanentError(problem)


def words_in(reply: Reply) -> str:
    """What the tool says in its own words, as short as it can be told; not masked yet."""
    given = reply.json()
    if not isinstance(given, dict):
        return ""
    for place in ("detail", "message", "error", "title"):
        if isinstance(given.get(place), str):
            return str(given[place])[:_FIRST_WORDS]
    errors = given.get("errors")
    if isinstance(errors, list) and errors and isinstance(errors[0], dict):
        return str(errors[0].get("detail") or errors[0].get("message") or errors[0].get("title") or "")[:_FIRST_WORDS]
    return ""


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if text.isascii() and text.replace(".", "", 1).isdigit() else None


def _moment(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None
