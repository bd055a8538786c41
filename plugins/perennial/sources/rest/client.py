"""One API, with manners: signs, waits its turn, tries again what may pass, bounds what comes back.

What is told of an error is the path of the definition, the status and the vendor's error code: never an address with
its parameters, never a body (L22).
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from secrets import SystemRandom
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from perennial.core import clock
from perennial.core.errors import ConfigError, PerennialError, PermanentError, Problem, RetryableError
from perennial.sources.rest.auth import Signer
from perennial.sources.rest.codes import code_in
from perennial.sources.rest.model import Definition
from perennial.sources.rest.rates import Bucket, DayCount, Pause
from perennial.sources.rest.records import NotAnAnswerError, Record, split

_BUSY = frozenset({408, 425, 500, 502, 503, 504, 507, 509, 520, 521, 522, 523, 524, 529})
_CHUNK = 65_536
_TOKEN_BYTES = 100_000
_RANDOM = SystemRandom()


class _HostOnly(logging.Filter):
    """httpx writes each address into its log; ours may hold keys, cursors and names of people."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                f"{one.scheme}://{one.host}/..." if isinstance(one, httpx.URL) else one for one in record.args
            )
        return True


@dataclass(frozen=True)
class Asked:
    """One request: `where` is what people read of it (the definition's path)."""

    where: str
    method: str
    url: str
    params: Mapping[str, Any]
    body: Any = None


@dataclass(frozen=True)
class Got:
    """One good answer."""

    status: int
    headers: Mapping[str, str]
    envelope: Any
    records: list[Record] | None


@dataclass(frozen=True)
class _Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes


class _TryAgainError(Exception):
    """The request may pass later: after `wait` seconds where the vendor names them (that costs no attempt)."""

    def __init__(self, what: str, wait: float | None = None) -> None:
        super().__init__(what)
        self.wait = wait


class Client:
    """Asks one API. Use as a context manager."""

    def __init__(
        self,
        definition: Definition,
        base_url: str,
        *,
        signer: Signer,
        bucket: Bucket,
        day: DayCount,
        pause: Pause = time.sleep,
    ) -> None:
        self._definition, self._signer, self._bucket, self._day, self._pause = definition, signer, bucket, day, pause
        self.base_url = base_url.rstrip("/")
        self._origins = {_origin(base_url), *(f"https://{host}" for host in definition.hosts)}
        self._http = httpx.Client(
            timeout=definition.retry.timeout_seconds,
            follow_redirects=False,
            headers={"Accept": "application/json", "Accept-Encoding": "gzip", "User-Agent": "perennial"},
        )
        log = logging.getLogger("httpx")
        if not any(isinstance(one, _HostOnly) for one in log.filters):
            log.addFilter(_HostOnly())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._http.close()

    def get(self, asked: Asked, records: str) -> Got:
        """The answer, with the records at the path `records`.

        Raises RetryableError when it stays busy, ConfigError when we are not let in or the address is wrong, and
        PermanentError when the answer is not what the definition says.
        """
        self._check_origin(asked)
        retry = self._definition.retry
        attempts, waited = 0, 0.0
        while True:
            try:
                return self._once(asked, records)
            except _TryAgainError as busy:
                if busy.wait is None:
                    attempts += 1
                    if attempts >= retry.attempts:
                        fix = "it is tried again at the next fetch, which goes on where this one stopped"
                        raise RetryableError(Problem(asked.where, f"{busy} ({attempts} times)", fix)) from None
                    span = min(retry.longest_wait_seconds, retry.first_wait_seconds * 2 ** (attempts - 1))
                    self._pause(_RANDOM.uniform(span / 2, span))
                    continue
                waited += busy.wait
                if waited > retry.longest_asked_wait_seconds:
                    fix = "fetch less often, or lower rate_limit.per_second"
                    raise RetryableError(Problem(asked.where, f"{busy}, {busy.wait:.0f} s more", fix)) from None
                self._pause(busy.wait)

    def exists(self, asked: Asked) -> bool:
        """Is there something at this address: False for 404 and 410."""
        try:
            self.get(asked, "")
        except GoneError:
            return False
        return True

    def ask_token(self, url: str, sent: Mapping[str, str], *, as_json: bool) -> Mapping[str, Any]:
        """Ask for a token, signed by nothing but what is sent."""
        where = f"{urlsplit(url).hostname} (auth.token_url)"
        content: dict[str, Any] = {"json": dict(sent)} if as_json else {"data": dict(sent)}
        reply = self._send(self._http.build_request("POST", url, **content), where, limit=_TOKEN_BYTES)
        if reply.status in _BUSY or reply.status in self._definition.rate_limit.statuses:
            raise _TryAgainError(f"answered {reply.status}", self._asked_wait(reply))
        try:
            given, _none = split(reply.body, "-")
        except NotAnAnswerError:
            given = None
        if reply.status >= httpx.codes.BAD_REQUEST or not isinstance(given, dict):
            what = f"no token was given: {reply.status}{code_in(given)}"
            raise SignInError(Problem(where, what, "authorise again and put what you get into the connection"))
        return given

    def _once(self, asked: Asked, records: str) -> Got:
        reply = self._signed(asked)
        if reply.status == httpx.codes.UNAUTHORIZED and self._signer.renew():
            reply = self._signed(asked)
        self._raise_for(reply, asked)
        if not reply.body.strip():
            return Got(reply.status, reply.headers, None, [])  # 204: none
        try:
            envelope, found = split(reply.body, records)
        except NotAnAnswerError as problem:
            html = reply.body.lstrip()[:1] == b"<"
            what = f"the answer is no JSON: {'it is a page for people' if html else problem}"
            raise PermanentError(
                Problem(asked.where, what, "check base_url and path against the documentation")
            ) from None
        self._raise_for_body(envelope, asked)
        return Got(reply.status, reply.headers, envelope, found)

    def _signed(self, asked: Asked) -> _Reply:
        self._day.take(asked.where)
        wait = self._bucket.take()
        if wait:
            self._pause(wait)
        # a given address (a next link) has its own parameters; httpx would drop them for an empty set
        request = self._http.build_request(asked.method, asked.url, params=asked.params or None, json=asked.body)
        request.headers.update(self._definition.headers)
        self._signer.sign(request, self.ask_token)
        return self._send(request, asked.where, limit=self._definition.max_response_bytes)

    def _send(self, request: httpx.Request, where: str, *, limit: int) -> _Reply:
        deadline = time.monotonic() + 5 * self._definition.retry.timeout_seconds
        try:
            response = self._http.send(request, stream=True)
            try:
                body = bytearray()
                for chunk in response.iter_bytes(_CHUNK):
                    body += chunk
                    if len(body) > limit:
                        fix = "ask for smaller pages, or raise max_response_bytes"
                        raise PermanentError(Problem(where, f"the answer is longer than {limit} bytes", fix))
                    if time.monotonic() > deadline:
                        raise _TryAgainError("the answer came too slowly")
            finally:
                response.close()
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):
            raise ConfigError(Problem(where, "the address is not one", "check base_url and the connection")) from None
        except httpx.RequestError as error:
            raise self._of_transport(error, where) from None
        return _Reply(response.status_code, {k.lower(): v for k, v in response.headers.items()}, bytes(body))

    def _of_transport(self, error: httpx.RequestError, where: str) -> PerennialError | _TryAgainError:
        if "CERTIFICATE_VERIFY_FAILED" in str(error) or isinstance(error.__cause__, ssl.SSLCertVerificationError):
            fix = "have its owner mend it, or trust your own authority (SSL_CERT_FILE)"
            return ConfigError(Problem(where, "the server's certificate is not trusted", fix))
        what = (
            "no answer in time" if isinstance(error, httpx.TimeoutException) else "the connection failed or was dropped"
        )
        return _TryAgainError(what)

    def _raise_for(self, reply: _Reply, asked: Asked) -> None:
        status = reply.status
        if status in self._definition.rate_limit.statuses:
            raise _TryAgainError(f"too many requests ({status})", self._asked_wait(reply))
        if status in _BUSY:
            raise _TryAgainError(f"answered {status}", self._asked_wait(reply))
        if status < httpx.codes.MULTIPLE_CHOICES:
            return
        try:
            given, _none = split(reply.body, "-")
        except NotAnAnswerError:
            given = None
        raise _refusal(status, asked.where, f"{status}{code_in(given)}")

    def _raise_for_body(self, envelope: Any, asked: Asked) -> None:
        from perennial.sources.rest.paths import resolve

        error = self._definition.error
        if error is None or not resolve(envelope, error.path):
            return
        code = resolve(envelope, error.code)
        if str(code) in error.busy:
            raise _TryAgainError("too many requests")
        raise PermanentError(Problem(asked.where, f"refused{code_in({'code': code})}", "check path, params and body"))

    def _asked_wait(self, reply: _Reply) -> float | None:
        """Seconds that the vendor asks us to wait, by its own clock where it tells it."""
        header = self._definition.rate_limit.reset_header
        after, reset = reply.headers.get("retry-after"), reply.headers.get(header.lower()) if header else None
        now = _moment(reply.headers.get("date")) or clock.now().timestamp()
        if after is not None:
            moment = _number(after)
            return max(0.0, moment if moment is not None else (_moment(after) or now) - now)
        at = _number(reset or "")
        return max(0.0, at - now) if at is not None else None

    def _check_origin(self, asked: Asked) -> None:
        if _origin(asked.url) not in self._origins:
            what = f"a link leads to another host ({_origin(asked.url)}), where our secret must not go"
            raise PermanentError(Problem(asked.where, what, "list the host under hosts if it is the vendor's"))


class GoneError(ConfigError):
    """404 or 410."""


class SignInError(ConfigError):
    """We were reached and are not let in."""


def _refusal(status: int, where: str, told: str) -> PerennialError:
    match status:
        case 401:
            return SignInError(Problem(where, f"not signed in: {told}", "renew the secret in the connection"))
        case 402 | 403:
            fix = "give the connection's user or app the right to read this (scopes)"
            return SignInError(Problem(where, f"not allowed: {told}", fix))
        case 404 | 410:
            fix = "check base_url, path and version against the documentation"
            return GoneError(Problem(where, f"there is no such address: {told}", fix))
        case _ if status < httpx.codes.BAD_REQUEST:
            what = f"the address has moved: {told}"
            return ConfigError(Problem(where, what, "write the new one as base_url (links are not followed)"))
        case _:
            return PermanentError(Problem(where, f"refused: {told}", "check params and body against the documentation"))


def _origin(url: str) -> str:
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port and parts.port != {"https": 443, "http": 80}.get(parts.scheme) else ""
    return f"{parts.scheme}://{parts.hostname}{port}"


def _number(text: str) -> float | None:
    text = text.strip()
    return float(text) if text.replace(".", "", 1).isdigit() and text.isascii() else None


def _moment(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, TypeError, IndexError):
        return None
