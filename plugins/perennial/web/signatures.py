"""Whether a body was signed with our secret: HMAC-SHA256 over its raw bytes, compared in constant time."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence

from perennial.contracts.connections import WebhookConnection
from perennial.core import clock

_DIGEST_BYTES = 32
_MAX_HEADER = 2_000


def is_signed(connection: WebhookConnection, secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> bool:
    """True when one of the secrets made the signature that the headers carry.

    Forms: the digest as hex (`sha256=` before it is let through) or base64; or over `<unix time>.<body>`, with the time
    in `timestamp_header` or in the signature itself (`t=1700000000,v1=<hex>`), no further from now than the tolerance.
    """
    given = headers.get(connection.header, "")
    if not given or len(given) > _MAX_HEADER:
        return False
    signed, digests = body, [_digest(connection.signature, given)]
    if connection.signature == "timestamped_hmac_sha256":
        moment, digests = _timed(connection, headers, given)
        if moment is None or abs(clock.now().timestamp() - moment) > connection.tolerance_seconds:
            return False
        signed = f"{moment}.".encode() + body
    wanted = [hmac.new(secret.encode(), signed, hashlib.sha256).digest() for secret in secrets if secret]
    # Every pair is compared, whatever the first ones said.
    return any([hmac.compare_digest(one, digest) for one in wanted for digest in digests if digest is not None])  # noqa: C419


def _digest(form: str, text: str) -> bytes | None:
    try:
        if form == "hmac_sha256_base64":
            found = base64.b64decode(text.strip(), validate=True)
        else:
            found = bytes.fromhex(text.strip().removeprefix("sha256="))
    except (binascii.Error, ValueError):
        return None
    return found if len(found) == _DIGEST_BYTES else None


def _timed(
    connection: WebhookConnection, headers: Mapping[str, str], given: str
) -> tuple[int | None, list[bytes | None]]:
    if connection.timestamp_header:
        return _unix(headers.get(connection.timestamp_header, "")), [_digest("hex", given.removeprefix("v1="))]
    parts = [part.strip().partition("=") for part in given.split(",")]
    moment = next((_unix(value) for key, _, value in parts if key == "t"), None)
    return moment, [_digest("hex", value) for key, _, value in parts if key == "v1"]


def _unix(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= len("9999999999") else None
