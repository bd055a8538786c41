"""Who we are: puts what a kind of authentication wants onto a request, and renews it when the vendor says 401."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import httpx

from perennial.core import clock
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, Problem
from perennial.sources.rest.model import (
    Auth,
    BasicAuth,
    BearerAuth,
    ClientCredentials,
    KeyAuth,
    RefreshToken,
)
from perennial.sources.rest.tokens import TokenFile, Tokens

_EARLY_SECONDS = 60.0  # a token is renewed so long before it ends
_LIFE_SECONDS = 3_600.0  # of a token whose answer does not say


class AskToken(Protocol):
    """Posts to a token's address and gives the JSON object that came back (client.Client.ask_token)."""

    def __call__(self, url: str, sent: Mapping[str, str], *, as_json: bool) -> Mapping[str, Any]:
        """Raises ConfigError when we are refused, RetryableError when the vendor is busy."""
        ...


class Signer(Protocol):
    """One kind of authentication."""

    def sign(self, request: httpx.Request, ask: AskToken) -> None:
        """Put the secret onto the request."""
        ...

    def renew(self) -> bool:
        """Forget what was refused; False when trying again cannot help."""
        ...


@dataclass
class Fixed:
    """Secrets that do not change: headers, and parameters of the query."""

    headers: Mapping[str, str]
    params: Mapping[str, str]

    def sign(self, request: httpx.Request, ask: AskToken) -> None:  # noqa: ARG002 - the protocol's
        """Put them onto the request."""
        request.headers.update(self.headers)
        if self.params:
            request.url = request.url.copy_merge_params(dict(self.params))

    def renew(self) -> bool:
        """What does not change cannot be renewed."""
        return False


@dataclass
class ByClient:
    """OAuth2 client credentials; the token lives as long as this object."""

    auth: ClientCredentials
    url: str
    connection: Connection
    _token: str = ""
    _until: float = 0.0

    def sign(self, request: httpx.Request, ask: AskToken) -> None:
        """Ask for a token where there is none, and put it onto the request."""
        if not self._token or clock.now().timestamp() >= self._until - _EARLY_SECONDS:
            sent = {"grant_type": "client_credentials", **_client(self.connection)}
            if self.auth.scope:
                sent["scope"] = self.auth.scope
            given = ask(self.url, sent, as_json=self.auth.send == "json")
            self._token, self._until = _token_of(given, self.connection), _end_of(given)
        request.headers[self.auth.token_header] = f"{self.auth.token_prefix} {self._token}".strip()

    def renew(self) -> bool:
        """The next request asks for another token."""
        self._token = ""
        return True


@dataclass
class ByRefreshToken:
    """OAuth2 with a refresh token that may be replaced each time it is used."""

    auth: RefreshToken
    url: str
    connection: Connection
    file: TokenFile
    _refused: str = ""
    _signed: str = ""

    def sign(self, request: httpx.Request, ask: AskToken) -> None:
        """Renew the access token where it has ended or was refused, keep what came, and put it onto the request."""
        with self.file.turn():
            tokens = self.file.read()
            if not self._is_good(tokens):
                tokens = self._renewed(tokens, ask)
                self.file.write(tokens)
        request.headers[self.auth.token_header] = f"{self.auth.token_prefix} {tokens.access_token}".strip()
        self._signed = hashlib.sha256(tokens.access_token.encode()).hexdigest()

    def renew(self) -> bool:
        """The access token that was signed with is not used again."""
        self._refused = self._signed
        return True

    def _is_good(self, tokens: Tokens) -> bool:
        digest = hashlib.sha256(tokens.access_token.encode()).hexdigest()
        alive = clock.now().timestamp() < tokens.expires_at - _EARLY_SECONDS
        return bool(tokens.access_token) and alive and digest != self._refused

    def _renewed(self, tokens: Tokens, ask: AskToken) -> Tokens:
        sent = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token, **_client(self.connection)}
        if self.auth.redirect_uri:
            sent["redirect_uri"] = str(self.connection.extra.get("redirect_uri", ""))
        given = ask(self.url, sent, as_json=self.auth.send == "json")
        access = _token_of(given, self.connection)
        refresh = str(given.get("refresh_token") or tokens.refresh_token)
        return replace(tokens, refresh_token=refresh, access_token=access, expires_at=_end_of(given))


def signer_of(auth: Auth, connection: Connection, token_url: str, state: Path) -> Signer:
    """The signer of a kind of authentication. Raises ConfigError when the connection lacks what it needs."""
    match auth:
        case ClientCredentials():
            _password(connection)
            return ByClient(auth, token_url, connection)
        case RefreshToken():
            _password(connection)
            return ByRefreshToken(auth, token_url, connection, TokenFile(state, connection))
        case KeyAuth(place="query"):
            return Fixed({}, {auth.name: _password(connection)})
        case _:
            return Fixed(_headers(auth, connection), {})


def _headers(auth: Auth, connection: Connection) -> dict[str, str]:
    match auth:
        case BearerAuth():
            return {"Authorization": f"{auth.prefix} {_password(connection)}".strip()}
        case BasicAuth():
            pair = b64encode(f"{connection.login or ''}:{_password(connection)}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        case KeyAuth():
            return {auth.name: _password(connection)}
        case _:
            return {}


def _password(connection: Connection) -> str:
    if not connection.password:
        where = f"connection {connection.id}"
        raise ConfigError(Problem(where, "has no password", "put the token, key or client secret into its password"))
    if not connection.password.isprintable():
        raise ConfigError(
            Problem(f"connection {connection.id}", "the password holds a line end or a control character")
        )
    return connection.password


def _client(connection: Connection) -> dict[str, str]:
    return {"client_id": connection.login or "", "client_secret": connection.password or ""}


def _token_of(given: Mapping[str, Any], connection: Connection) -> str:
    token = given.get("access_token")
    if not isinstance(token, str) or not token or not token.isprintable():
        what = "the vendor's answer holds no access_token"
        raise ConfigError(Problem(f"connection {connection.id}", what, "authorise again, and correct auth.token_url"))
    return token


def _end_of(given: Mapping[str, Any]) -> float:
    try:
        life = float(given.get("expires_in", _LIFE_SECONDS))
    except (TypeError, ValueError):
        life = _LIFE_SECONDS
    return clock.now().timestamp() + life
