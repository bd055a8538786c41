"""Signed links by which a recipient withdraws with one click (RFC 8058): made in a message, verified by our endpoint.

A link names what is withdrawn from by our own ids alone: no address and no name stands in it. It does not expire, since
a message may be opened years after; it can do nothing but withdraw. The connection `perennial_unsubscribe` (or another
that a destination names) holds where our endpoint is and the secret; former secrets still verify.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from urllib.parse import urlsplit

from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, Problem

CONNECTION = "perennial_unsubscribe"
PATH = "/unsubscribe/"
_DOMAIN = b"perennial unsubscribe 1\x00"  # a signature made for another use is none here
_DIGEST_BYTES = 16
_MAX_TOKEN = 1_000
_MIN_SECRET = 16
_FIELDS = 5


@dataclass(frozen=True)
class Unsubscribe:
    """Who withdraws (`client_id` as the list had it: it may have been joined with another since), and from what."""

    client_id: str
    channel: str
    purpose: str
    campaign_id: str
    as_of: date


def sign(what: Unsubscribe, secret: str) -> str:
    """The token of a link: URL-safe text, the same for the same content and secret (L2)."""
    parts = [what.client_id, what.channel, what.purpose, what.campaign_id, what.as_of.isoformat()]
    payload = json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode()
    return f"{_text(payload)}.{_text(_mac(payload, secret))}"


def verify(token: str, secrets: Sequence[str]) -> Unsubscribe | None:
    """What the token was signed for by one of the secrets, or None: a stranger's, a broken or an endless one."""
    if len(token) > _MAX_TOKEN or not token.isascii():
        return None
    head, _, tail = token.partition(".")
    try:
        payload, given = _bytes(head), _bytes(tail)
    except ValueError:
        return None
    wanted = [_mac(payload, secret) for secret in secrets if secret]
    if not any([hmac.compare_digest(one, given) for one in wanted]):  # noqa: C419 - every pair, whatever the first said
        return None
    return _read(payload)


@dataclass(frozen=True)
class Links:
    """Where our endpoint is, and the secrets: the first signs, every one verifies."""

    base_url: str
    secrets: tuple[str, ...] = field(repr=False)

    def url(self, what: Unsubscribe) -> str:
        """The link of one message."""
        return f"{self.base_url}{PATH}{sign(what, self.secrets[0])}"

    def headers(self, what: Unsubscribe, *, mailto: str | None = None) -> dict[str, str]:
        """The two headers of RFC 8058; with `mailto` the older way of RFC 2369 behind the link."""
        also = f", <mailto:{mailto}?subject=unsubscribe>" if mailto else ""
        return {
            "List-Unsubscribe": f"<{self.url(what)}>{also}",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }

    def verify(self, token: str) -> Unsubscribe | None:
        """What the token was signed for, or None."""
        return verify(token, self.secrets)


def links_of(connection: Connection) -> Links:
    """The links of a connection: its host is the public base URL (https), its password the secret.

    `extra.former_secrets`, a list, still verify. Raises ConfigError when the URL is none or the secret is too short.
    """
    where = f"connection {connection.id}"
    base = _base_url(connection)
    parts = urlsplit(base)
    is_here = parts.hostname in {"localhost", "127.0.0.1"}
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and is_here)):
        fix = "give it the host https://... under which mailbox providers reach the plugin (RFC 8058 wants https)"
        raise ConfigError(Problem(where, "its host is no https address", fix))
    former = connection.extra.get("former_secrets") or ()
    secrets = (connection.password or "", *((former,) if isinstance(former, str) else former))
    if any(len(str(secret)) < _MIN_SECRET for secret in secrets):
        fix = "make one of 32 random characters, e.g. by `openssl rand -hex 16`; keep a replaced one as former_secrets"
        raise ConfigError(Problem(where, f"a secret of it is shorter than {_MIN_SECRET} characters", fix))
    return Links(base, tuple(str(secret) for secret in secrets))


def _base_url(connection: Connection) -> str:
    """Airflow keeps a URL as host whole, or apart as scheme (its type or `schema`), host, port."""
    host = (connection.host or "").rstrip("/")
    if "://" in host:
        return host
    scheme = connection.schema if connection.schema in {"http", "https"} else connection.kind
    port = f":{connection.port}" if connection.port else ""
    return f"{scheme}://{host}{port}"


def _mac(payload: bytes, secret: str) -> bytes:
    return hmac.new(secret.encode(), _DOMAIN + payload, hashlib.sha256).digest()[:_DIGEST_BYTES]


def _read(payload: bytes) -> Unsubscribe | None:
    try:
        parts = json.loads(payload)
        if len(parts) != _FIELDS or not all(isinstance(part, str) for part in parts):
            return None
        client_id, channel, purpose, campaign_id, as_of = parts
        return Unsubscribe(client_id, channel, purpose, campaign_id, date.fromisoformat(as_of))
    except (ValueError, TypeError):
        return None


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    """The bytes of a text that `_text` made. Raises ValueError for any other, one that decodes to the same included."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _text(data) != text:
        raise ValueError("not canonical")
    return data
