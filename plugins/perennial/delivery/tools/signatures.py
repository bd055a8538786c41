"""Whether a mailing tool's webhook is genuine, vendor by vendor: pure functions of secrets, headers and raw body.

None reads a clock: the verdict says when the call was signed, and the caller compares it with now (`is_fresh`). Secrets
may be several, so that one can be replaced without a gap.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_LONGEST_HEADER = 4_000
_UNIX_DIGITS = 10
_MILLISECOND_DIGITS = 13


@dataclass(frozen=True)
class Verdict:
    """Whether the call is the vendor's; when it was signed (UTC; None where the vendor signs no time), and its id."""

    is_genuine: bool
    signed_at: datetime | None = None
    delivery_id: str | None = None


Verifier = Callable[[Sequence[str], Mapping[str, str], bytes], Verdict]
FORGED = Verdict(is_genuine=False)


def is_fresh(verdict: Verdict, now: datetime, window_seconds: float) -> bool:
    """Whether a genuine call is no older (and no younger) than the window; one without a time of its own always is."""
    if verdict.signed_at is None:
        return verdict.is_genuine
    return verdict.is_genuine and abs((now - verdict.signed_at).total_seconds()) <= window_seconds


def of_sendgrid(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> Verdict:
    """ECDSA (P-256, SHA-256) over timestamp and raw body; the secrets are public keys (DER as base64)."""
    signature = _base64(_header(headers, "x-twilio-email-event-webhook-signature"))
    stamp = _header(headers, "x-twilio-email-event-webhook-timestamp")
    moment = _moment(stamp)
    if signature is None or moment is None:
        return FORGED
    signed = stamp.encode() + body
    genuine = any([_is_ecdsa(key, signature, signed) for key in secrets])  # noqa: C419 - all keys, in equal time
    return Verdict(genuine, moment if genuine else None)


def of_resend(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> Verdict:
    """Svix: HMAC-SHA256 over `id.timestamp.body`, base64, several behind `v1,`; the secrets begin with `whsec_`."""
    delivery, stamp = _header(headers, "svix-id"), _header(headers, "svix-timestamp")
    moment = _moment(stamp)
    given = [
        _base64(part.removeprefix("v1,"))
        for part in _header(headers, "svix-signature").split(" ")
        if part.startswith("v1,")
    ]
    if not delivery or moment is None:
        return FORGED
    keys = [_base64(secret.removeprefix("whsec_")) for secret in secrets]
    signed = f"{delivery}.{stamp}.".encode() + body
    return _judged(_any_hmac([key for key in keys if key], given, signed), moment, delivery)


def of_mailchimp(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> Verdict:
    """HMAC-SHA256 over `t.body`, hex, in `X-Mailchimp-Signature: t=...,v1=...` (several v1 while a secret changes)."""
    parts = [part.strip().partition("=") for part in _header(headers, "x-mailchimp-signature").split(",")]
    stamp = next((value for name, _, value in parts if name == "t"), "")
    moment = _moment(stamp)
    if moment is None:
        return FORGED
    given = [_hex(value) for name, _, value in parts if name == "v1"]
    return _judged(_any_hmac(_encoded(secrets), given, f"{stamp}.".encode() + body), moment)


def of_klaviyo(secrets: Sequence[str], headers: Mapping[str, str], body: bytes) -> Verdict:
    """HMAC-SHA256 over body and timestamp, hex; the webhook's id in the header has to be the one in the body."""
    stamp = _header(headers, "klaviyo-timestamp")
    moment = _moment(stamp)
    if moment is None:
        return FORGED
    given = [_hex(_header(headers, "klaviyo-signature"))]
    genuine = _any_hmac(_encoded(secrets), given, body + stamp.encode())
    genuine = genuine and _webhook_id(body) == _header(headers, "klaviyo-webhook-id")
    return _judged(genuine, moment)


def of_brevo(secrets: Sequence[str], headers: Mapping[str, str], _body: bytes) -> Verdict:
    """Brevo signs nothing: it sends the token (bearer) or `user:password` (basic) that the webhook was made with."""
    kind, _, given = _header(headers, "authorization").partition(" ")
    if kind.lower() == "basic":
        decoded = _base64(given.strip())
    else:
        decoded = given.strip().encode() if kind.lower() == "bearer" else None
    if not decoded:
        return FORGED
    same = [hmac.compare_digest(_digest(decoded), _digest(secret)) for secret in _encoded(secrets)]
    return Verdict(any(same))


VERIFIERS: dict[str, Verifier] = {
    "sendgrid": of_sendgrid,
    "resend": of_resend,
    "mailchimp": of_mailchimp,
    "klaviyo": of_klaviyo,
    "brevo": of_brevo,
}


def _judged(genuine: bool, moment: datetime, delivery: str | None = None) -> Verdict:  # noqa: FBT001 - the verdict itself
    return Verdict(is_genuine=True, signed_at=moment, delivery_id=delivery) if genuine else FORGED


def _any_hmac(keys: Iterable[bytes], given: Sequence[bytes | None], signed: bytes) -> bool:
    wanted = [hmac.new(key, signed, hashlib.sha256).digest() for key in keys]
    # Every pair is compared, whatever the first ones said.
    return any([hmac.compare_digest(one, other) for one in wanted for other in given if other is not None])  # noqa: C419


def _is_ecdsa(public_key: str, signature: bytes, signed: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(_base64(public_key) or b"")
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        key.verify(signature, signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _header(headers: Mapping[str, str], name: str) -> str:
    value = next((value for key, value in headers.items() if key.lower() == name), "")
    return value.strip() if len(value) <= _LONGEST_HEADER else ""


def _encoded(secrets: Sequence[str]) -> list[bytes]:
    return [secret.encode() for secret in secrets if secret]


def _digest(value: bytes) -> bytes:
    return hashlib.sha256(value).digest()  # equal lengths, so that the comparison tells nothing of the secret's


def _base64(text: str) -> bytes | None:
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return None


def _hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _moment(text: str) -> datetime | None:
    """Unix seconds or milliseconds, ISO 8601 with a zone, or the form of HTTP's dates."""
    if text.isascii() and text.isdigit():
        if len(text) not in {_UNIX_DIGITS, _MILLISECOND_DIGITS}:
            return None
        return datetime.fromtimestamp(int(text) / (1_000 if len(text) == _MILLISECOND_DIGITS else 1), UTC)
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            found = read(text)
        except (ValueError, TypeError):
            continue
        return found.astimezone(UTC) if found.tzinfo else None
    return None


def _webhook_id(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["meta"]["klaviyo_webhook_id"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
