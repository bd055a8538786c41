"""Signatures of webhooks in the forms that senders use, and everything that is not one."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest

from perennial.contracts.connections import WebhookConnection
from perennial.web.signatures import is_signed

BODY = b'{"id": 1}'
NOW = 1_700_000_000


def _hook(**more):
    return WebhookConnection.model_validate({"kind": "webhook", "id": "hook", "header": "X-Sig", **more})


def _digest(secret: str, signed: bytes = BODY) -> bytes:
    return hmac.new(secret.encode(), signed, hashlib.sha256).digest()


@pytest.fixture(autouse=True)
def _now(monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLOCK", "2023-11-14T22:13:20+00:00")  # NOW


@pytest.mark.parametrize("prefix", ["", "sha256="])
def test_a_digest_as_hex_is_taken_with_and_without_its_name(prefix):
    assert is_signed(_hook(), ["s"], {"X-Sig": prefix + _digest("s").hex()}, BODY)


def test_a_digest_as_base64_is_taken():
    given = base64.b64encode(_digest("s")).decode()
    assert is_signed(_hook(signature="hmac_sha256_base64"), ["s"], {"X-Sig": given}, BODY)
    assert not is_signed(_hook(), ["s"], {"X-Sig": given}, BODY), "base64 is no hex"


def test_during_a_rotation_both_secrets_hold_and_no_third_one():
    for secret, holds in (("new", True), ("old", True), ("other", False)):
        assert is_signed(_hook(), ["new", "old"], {"X-Sig": _digest(secret).hex()}, BODY) is holds


@pytest.mark.parametrize(
    "given",
    ["", "sha256=", "zz", "00", "é", _digest("s", BODY + b" ").hex(), _digest("s").hex()[:-2], "0" * 5_000],
)
def test_L23_anything_else_is_no_signature(given):
    assert not is_signed(_hook(), ["s"], {"X-Sig": given}, BODY)


def test_no_header_or_no_secret_is_no_signature():
    assert not is_signed(_hook(), ["s"], {}, BODY)
    assert not is_signed(_hook(), [], {"X-Sig": _digest("s").hex()}, BODY)
    assert not is_signed(_hook(), [""], {"X-Sig": _digest("").hex()}, BODY), "an empty secret is none"


def _timed(moment: object, secret: str = "s") -> str:
    return f"t={moment},v1={_digest(secret, f'{moment}.'.encode() + BODY).hex()}"


@pytest.mark.parametrize(("moment", "holds"), [(NOW, True), (NOW - 300, True), (NOW - 301, False), (NOW + 301, False)])
def test_a_timestamped_signature_holds_within_the_tolerance_of_the_operational_clock(moment, holds):
    hook = _hook(signature="timestamped_hmac_sha256")
    assert is_signed(hook, ["s"], {"X-Sig": _timed(moment)}, BODY) is holds


def test_a_timestamp_that_was_not_signed_is_refused():
    hook = _hook(signature="timestamped_hmac_sha256")
    replayed = _timed(NOW - 3_000).replace(str(NOW - 3_000), str(NOW))
    assert not is_signed(hook, ["s"], {"X-Sig": replayed}, BODY)
    for given in (f"v1={_digest('s').hex()}", "t=x,v1=00", f"t=-1,v1={_digest('s').hex()}", f"t={'9' * 400},v1=00"):
        assert not is_signed(hook, ["s"], {"X-Sig": given}, BODY)


def test_of_several_signatures_beside_one_timestamp_one_is_enough():
    hook = _hook(signature="timestamped_hmac_sha256")
    assert is_signed(hook, ["s"], {"X-Sig": f"{_timed(NOW)},v1={'0' * 64}"}, BODY)


def test_a_timestamp_may_stand_in_a_header_of_its_own():
    hook = _hook(signature="timestamped_hmac_sha256", timestamp_header="X-Time")
    digest = _digest("s", f"{NOW}.".encode() + BODY).hex()
    assert is_signed(hook, ["s"], {"X-Sig": digest, "X-Time": str(NOW)}, BODY)
    assert not is_signed(hook, ["s"], {"X-Sig": digest, "X-Time": str(NOW - 1)}, BODY)
    assert not is_signed(hook, ["s"], {"X-Sig": digest}, BODY)
