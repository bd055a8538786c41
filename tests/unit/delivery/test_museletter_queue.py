"""SES's notifications as they lie in a queue: what is one, in whatever envelope, and what is none."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from perennial.delivery.tools.museletter_queue import events_in

MAIL = {"messageId": "0100", "timestamp": "2026-11-02T08:00:00.000Z"}
BOUNCE = {
    "notificationType": "Bounce",
    "mail": MAIL,
    "bounce": {
        "bounceType": "Permanent",
        "timestamp": "2026-11-02T08:00:05.123Z",
        "bouncedRecipients": [
            {"emailAddress": "a@example.com", "diagnosticCode": "smtp; 550 no a@example.com here"},
            {"emailAddress": "b@example.com"},
        ],
    },
}


def test_both_recipients_of_a_bounce_are_told_with_its_reason_but_without_an_address_in_it():
    first, second = events_in(json.dumps(BOUNCE))
    assert (first.kind, first.address, first.message_id) == ("hard_bounce", "a@example.com", "0100")
    assert first.at == datetime(2026, 11, 2, 8, 0, 5, 123_000, UTC)
    assert (first.detail, second.detail) == ("smtp; 550 no *** here", None)
    assert first.event_id != second.event_id


def test_snss_envelope_and_event_publishing_say_the_same():
    plain = events_in(json.dumps(BOUNCE))
    told = {**BOUNCE, "eventType": BOUNCE["notificationType"]}
    del told["notificationType"]
    for body in ({"Type": "Notification", "Message": json.dumps(BOUNCE)}, {"Message": json.dumps(told)}):
        assert events_in(json.dumps(body)) == plain


def test_a_bounce_that_may_pass_is_soft():
    soft = {**BOUNCE, "bounce": {**BOUNCE["bounce"], "bounceType": "Transient"}}
    assert {one.kind for one in events_in(json.dumps(soft))} == {"soft_bounce"}


@pytest.mark.parametrize(
    "body",
    [
        "", "no json", "[]", "7", "null", '{"Message": "no json"}', '{"Message": 5}', '{"Message": "[1]"}', '{"mail": {}}',
        '{"notificationType": "Bounce"}', '{"notificationType": "Open"}', '{"notificationType": ["Bounce"]}',
        '{"notificationType": "Bounce", "mail": [], "bounce": {"bouncedRecipients": [{"status": "5.0.0"}]}}',
        '{"notificationType": "Delivery", "delivery": {"recipients": 5}}', '{"notificationType": "Complaint", "complaint": []}',
    ],
)  # fmt: skip
def test_L23_what_is_no_notification_holds_no_event_and_stops_nothing(body):
    assert events_in(body) == []
