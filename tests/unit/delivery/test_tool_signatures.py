"""Signatures of webhooks: vectors that the vendors publish, and what must not pass."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from perennial.delivery.tools.signatures import FORGED, VERIFIERS, Verdict, is_fresh

# The fixture of SendGrid's own client libraries (sendgrid-python, test/unit/test_eventwebhook.py, MIT).
SENDGRID_KEY = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE83T4O/n84iotIvIW4mdBgQ/7dAfSmpqIM8kF9mN1flpVKS3GRqe62gw+2fNNRaINXvVpiglSI8eNEc6wEA3F+g=="
SENDGRID_OTHER_KEY = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEqTxd43gyp8IOEto2LdIfjRQrIbsd4SXZkLW6jDutdhXSJCWHw8REntlo7aNDthvj+y7GjUuFDb/R1NGe1OPzpA=="
SENDGRID_HEADERS = {
    "X-Twilio-Email-Event-Webhook-Signature": "MEUCIGHQVtGj+Y3LkG9fLcxf3qfI10QysgDWmMOVmxG0u6ZUAiEAyBiXDWzM+uOe5W0JuG+luQAbPIqHh89M15TluLtEZtM=",
    "X-Twilio-Email-Event-Webhook-Timestamp": "1600112502",
}
SENDGRID_BODY = (
    b'[{"email":"hello@world.com","event":"dropped","reason":"Bounced Address",'
    b'"sg_event_id":"ZHJvcC0xMDk5NDkxOS1MUnpYbF9OSFN0T0doUTRrb2ZTbV9BLTA",'
    b'"sg_message_id":"LRzXl_NHStOGhQ4kofSm_A.filterdrecv-p3mdw1-756b745b58-kmzbl-18-5F5FC76C-9.0",'
    b'"smtp-id":"<LRzXl_NHStOGhQ4kofSm_A@ismtpd0039p1iad1.sendgrid.net>","timestamp":1600112492}]\r\n'
)

# The example of Svix's documentation of manual verification.
SVIX_SECRET = "whsec_plJ3nmyCDGBKInavdOK15jsl"
SVIX_HEADERS = {
    "svix-id": "msg_loFOjxBNrRLzqYUf",
    "svix-timestamp": "1731705121",
    "svix-signature": "v1,rAvfW3dJ/X/qxhsaXPOyyCGmRKsaKWcsNccKXlIktD0=",
}
SVIX_BODY = b'{"event_type":"ping","data":{"success":true}}'

MOMENT = "1718000000"
FORM = b"type=unsubscribe&data%5Bemail%5D=a%40example.com"
KLAVIYO_BODY = json.dumps({"data": [], "meta": {"klaviyo_webhook_id": "01HOOK"}}).encode()


def _hmac(secret, signed):
    return hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _mailchimp(body=FORM, secret="s3cret", moment=MOMENT):
    return {"X-Mailchimp-Signature": f"t={moment},v1={_hmac(secret, moment.encode() + b'.' + body)}"}


def _klaviyo(body=KLAVIYO_BODY, secret="s3cret", stamp="2026-10-01T10:00:00+00:00", webhook="01HOOK"):
    signature = _hmac(secret, body + stamp.encode())
    return {"Klaviyo-Signature": signature, "Klaviyo-Timestamp": stamp, "Klaviyo-Webhook-Id": webhook}


def _basic(text):
    return {"Authorization": "Basic " + base64.b64encode(text.encode()).decode()}


GENUINE = {
    "sendgrid": ([SENDGRID_KEY], SENDGRID_HEADERS, SENDGRID_BODY, datetime(2020, 9, 14, 19, 41, 42, tzinfo=UTC)),
    "resend": ([SVIX_SECRET], SVIX_HEADERS, SVIX_BODY, datetime(2024, 11, 15, 21, 12, 1, tzinfo=UTC)),
    "mailchimp": (["s3cret"], _mailchimp(), FORM, datetime(2024, 6, 10, 6, 13, 20, tzinfo=UTC)),
    "klaviyo": (["s3cret"], _klaviyo(), KLAVIYO_BODY, datetime(2026, 10, 1, 10, tzinfo=UTC)),
    "brevo": (["t0ken"], {"Authorization": "Bearer t0ken"}, b"{}", None),
}


def test_every_vendor_with_a_signature_has_a_vector_here():
    assert set(GENUINE) == set(VERIFIERS)


@pytest.mark.parametrize("vendor", VERIFIERS)
def test_what_the_vendor_signed_is_genuine_whatever_the_case_of_its_headers(vendor):
    secrets, headers, body, moment = GENUINE[vendor]
    for given in (headers, {name.lower(): value for name, value in headers.items()}):
        verdict = VERIFIERS[vendor](secrets, given, body)
        assert (verdict.is_genuine, verdict.signed_at) == (True, moment)
        assert VERIFIERS[vendor](["b3RoZXI=", *secrets], given, body).is_genuine  # a new secret beside the old one


@pytest.mark.parametrize("vendor", VERIFIERS)
def test_L23_another_secret_no_secret_or_no_header_is_forged(vendor):
    secrets, headers, body, _ = GENUINE[vendor]
    verify = VERIFIERS[vendor]
    others = [SENDGRID_OTHER_KEY] if vendor == "sendgrid" else ["whsec_b3RoZXI=", "other"]
    for wrong in (others, [], [""], ["not base64 \x00"]):
        assert verify(wrong, headers, body) == FORGED
    assert verify(secrets, {}, body) == FORGED
    for name in headers:
        for value in ("", "x", "0" * 5_000, "v1,", "t=,v1=", "Basic !", "Bearer", "٠١٢٣٤٥٦٧٨٩"):
            assert verify(secrets, {**headers, name: value}, body) == FORGED


@pytest.mark.parametrize("vendor", [name for name in VERIFIERS if name != "brevo"])
def test_L23_a_changed_byte_or_another_time_is_forged(vendor):
    secrets, headers, body, _ = GENUINE[vendor]
    verify = VERIFIERS[vendor]
    assert verify(secrets, headers, body + b" ") == FORGED
    assert verify(secrets, headers, body[:-1]) == FORGED
    later = {name: value.replace("1600112502", "1600112503").replace("1731705121", "1731705122")
             .replace(f"t={MOMENT}", "t=1718000001").replace("10:00:00", "10:00:01") for name, value in headers.items()}  # fmt: skip
    assert later != headers
    assert verify(secrets, later, body) == FORGED


def test_resend_passes_one_of_several_signatures_and_tells_the_id_by_which_duplicates_are_known():
    headers = {**SVIX_HEADERS, "svix-signature": "v1a,abc v1,AAAA " + SVIX_HEADERS["svix-signature"]}
    assert VERIFIERS["resend"]([SVIX_SECRET], headers, SVIX_BODY).delivery_id == "msg_loFOjxBNrRLzqYUf"
    assert VERIFIERS["resend"]([SVIX_SECRET], {**headers, "svix-id": "msg_other"}, SVIX_BODY) == FORGED


def test_mailchimp_passes_with_two_signatures_while_the_secret_changes():
    headers = _mailchimp()
    headers["X-Mailchimp-Signature"] += ",v1=" + "0" * 64
    assert VERIFIERS["mailchimp"](["s3cret"], headers, FORM).is_genuine


def test_klaviyo_wants_the_same_webhook_in_header_and_body():
    assert VERIFIERS["klaviyo"](["s3cret"], _klaviyo(webhook="01OTHER"), KLAVIYO_BODY) == FORGED
    for body in (b"[]", b"{}", b"not json", b"[" * 100_000):
        assert VERIFIERS["klaviyo"](["s3cret"], _klaviyo(body), body) == FORGED


def test_brevo_is_known_by_its_user_and_password_too():
    assert VERIFIERS["brevo"](["user:pass"], _basic("user:pass"), b"").is_genuine
    assert VERIFIERS["brevo"](["user:pass"], _basic("user:pass2"), b"") == FORGED
    assert VERIFIERS["brevo"](["user:pass"], {"Authorization": "Digest user:pass"}, b"") == FORGED


def test_a_genuine_call_is_fresh_inside_the_window_only_before_and_after():
    now = datetime(2026, 10, 1, 10, tzinfo=UTC)
    for seconds, fresh in ((0, True), (300, True), (301, False), (-301, False)):
        assert is_fresh(Verdict(is_genuine=True, signed_at=now - timedelta(seconds=seconds)), now, 300) is fresh
    assert is_fresh(Verdict(is_genuine=True), now, 300)
    assert not is_fresh(FORGED, now, 300)
