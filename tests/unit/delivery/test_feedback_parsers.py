"""Webhooks as the vendors write them: what each event becomes, and that nothing else passes (L23)."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perennial.core.errors import RowRejected
from perennial.delivery.feedback.vendors import PARSERS, parser_of

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
UNIX = int(AT.timestamp())
ANN = "ann@example.com"


def parsed(kind, body):
    return parser_of(kind)(body if isinstance(body, bytes) else json.dumps(body).encode())


def told(found):
    return [(one.kind, one.address, one.at, one.list_title, one.is_machine, one.detail) for one in found.events]


def form(**fields):
    values = {"fired_at": "2026-03-01 12:00:00", "data[email]": ANN, "data[list_id]": "a1"}
    return urlencode({**values, **fields}).encode()


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"type": "unsubscribe", "data[reason]": "manual"}, "unsubscribe"),
        ({"type": "unsubscribe", "data[reason]": "abuse"}, "complaint"),
        ({"type": "cleaned", "data[reason]": "hard"}, "hard_bounce"),
        ({"type": "cleaned", "data[reason]": "abuse"}, "complaint"),
        ({"type": "subscribe"}, None),
        ({"type": "profile"}, None),
        ({"type": "upemail", "data[new_email]": "b@example.com"}, None),
    ],
)
def test_mailchimp(fields, kind):
    found = parsed("mailchimp", form(**fields))
    assert [(one.kind, one.address, one.at) for one in found.events] == ([(kind, ANN, AT)] if kind else [])
    assert found.ignored == (kind is None)


@pytest.mark.parametrize(
    ("name", "kind", "is_machine"),
    [
        ("hard_bounce", "hard_bounce", False),
        ("hardBounce", "hard_bounce", False),
        ("soft_bounce", "soft_bounce", False),
        ("spam", "complaint", False),
        ("unsubscribe", "unsubscribe", False),
        ("opened", "open", False),
        ("proxy_open", "open", True),
        ("click", "click", False),
        ("delivered", "delivered", False),
    ],
)
def test_brevo(name, kind, is_machine):
    body = {"event": name, "email": ANN, "ts_event": UNIX, "date_event": "2026-03-01 13:00:00", "id": 7, "camp_id": 9}
    body |= {"campaign name": "news__email__2026-03-01", "URL": "https://shop.example/a?who=ann"}
    found = parsed("brevo", [body, {"event": "contact_deleted", "email": [ANN]}])
    detail = "shop.example/a" if kind == "click" else None
    assert told(found) == [(kind, ANN, AT, "news__email__2026-03-01", is_machine, detail)]
    assert found.ignored == 1


def test_sendgrid_tells_machines_groups_and_blocks_apart():
    shared = {"email": ANN, "timestamp": UNIX, "category": ["cat", "news__email"], "sg_message_id": "m.1"}
    body = [
        {**shared, "event": "open", "sg_event_id": "1", "sg_machine_open": True},
        {**shared, "event": "bounce", "sg_event_id": "2", "reason": "550 <ann@example.com> is unknown"},
        {**shared, "event": "bounce", "type": "blocked", "sg_event_id": "3"},
        {**shared, "event": "group_unsubscribe", "sg_event_id": "4"},
        {**shared, "event": "unsubscribe", "sg_event_id": "5"},
        {**shared, "event": "spamreport", "sg_event_id": "6"},
        {**shared, "event": "processed", "sg_event_id": "7"},
        {"event": "click", "email": ANN, "timestamp": UNIX},
    ]
    found = parsed("sendgrid", body)
    assert [(one.event_id, one.kind, one.scope, one.is_machine) for one in found.events] == [
        ("1", "open", "all", True),
        ("2", "hard_bounce", "all", False),
        ("3", "soft_bounce", "all", False),
        ("4", "unsubscribe", "list", False),
        ("5", "unsubscribe", "all", False),
        ("6", "complaint", "all", False),
    ]
    assert found.events[1].detail == "550 <(address)> is unknown"
    assert {one.list_title for one in found.events} == {"news__email"}
    assert (found.ignored, found.refused, found.problems) == (1, 1, ("event 8: sg_event_id is missing",))


def klaviyo(topic, **said):
    attributes = {"datetime": "2026-03-01 12:00:00+00:00", "event_properties": said}
    included = [{"type": "profile", "id": "p", "attributes": {"email": ANN}}]
    return {
        "topic": f"event:klaviyo.{topic}",
        "external_id": "x1",
        "payload": {"data": {"id": "e1", "attributes": attributes}, "included": included},
    }


def test_klaviyo():
    items = [
        klaviyo("bounced_email", **{"Bounce Type": "Soft"}),
        klaviyo("opened_email", machine_open=True, **{"Campaign Name": "news__email"}),
        klaviyo("unsubscribed_from_list"),
        klaviyo("marked_email_as_spam"),
        klaviyo("placed_order"),
    ]
    found = parsed("klaviyo", {"data": items, "meta": {"klaviyo_webhook_id": "w"}})
    assert [(one.kind, one.address, one.at, one.is_machine, one.scope) for one in found.events] == [
        ("soft_bounce", ANN, AT, False, "all"),
        ("open", ANN, AT, True, "all"),
        ("unsubscribe", ANN, AT, False, "list"),
        ("complaint", ANN, AT, False, "all"),
    ]
    assert found.ignored == 1


def resend(kind, **data):
    shared = {"email_id": "m1", "created_at": AT.isoformat(), "from": "a@shop.example", "to": [ANN], "subject": "x"}
    return {"type": kind, "created_at": "2026-03-01T12:00:00.000Z", "data": {**shared, **data}}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (resend("email.bounced", bounce={"type": "Permanent", "message": "no", "subType": "NoEmail"}), "hard_bounce"),
        (resend("email.bounced", bounce={"type": "Transient", "message": "no", "subType": "General"}), "soft_bounce"),
        (resend("email.suppressed", suppressed={"reason": "previous_complaint"}), "complaint"),
        (resend("email.complained"), "complaint"),
        (resend("email.opened", tags={"list": "news__email"}), "open"),
        (resend("contact.updated", email=ANN, unsubscribed=True), "unsubscribe"),
        (resend("contact.updated", email=ANN, unsubscribed=False), None),
        (resend("email.scheduled"), None),
    ],
)
def test_resend(body, kind):
    found = parsed("resend", body)
    assert [(one.kind, one.address, one.at) for one in found.events] == ([(kind, ANN, AT)] if kind else [])


def sns(message, **more):
    return {"Type": "Notification", "MessageId": "n", "Message": json.dumps(message), **more}


def ses(kind, **part):
    mail = {"messageId": "m1", "destination": [ANN], "timestamp": AT.isoformat(), "tags": {"list": ["news__email"]}}
    return {"notificationType": kind, "mail": mail, **part}


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (ses("Bounce", bounce={"bounceType": "Permanent", "bouncedRecipients": [{"emailAddress": ANN}], "timestamp": AT.isoformat()}), "hard_bounce"),
        (ses("Bounce", bounce={"bounceType": "Transient", "bouncedRecipients": [{"emailAddress": ANN}], "timestamp": AT.isoformat()}), "soft_bounce"),
        (ses("Complaint", complaint={"complainedRecipients": [{"emailAddress": ANN}], "timestamp": AT.isoformat()}), "complaint"),
        (ses("Delivery", delivery={"recipients": [ANN], "timestamp": AT.isoformat()}), "delivered"),
        (ses("Open", open={"timestamp": AT.isoformat()}), "open"),
        (ses("Click", click={"timestamp": AT.isoformat(), "link": "https://shop.example/x?id=1"}), "click"),
    ],
)  # fmt: skip
def test_museletter_by_sns(message, kind):
    found = parsed("museletter", sns(message))
    assert [(one.kind, one.address, one.at, one.list_title) for one in found.events] == [(kind, ANN, AT, "news__email")]


def test_L23_a_subscription_to_sns_is_not_confirmed_by_fetching_what_it_names():
    body = {"Type": "SubscriptionConfirmation", "Message": "x", "SubscribeURL": "http://169.254.169.254/"}
    found = parsed("museletter", body)
    assert (found.events, found.ignored) == ((), 1)


@pytest.mark.parametrize(
    ("kind", "wanted"), [("hard", "hard_bounce"), ("soft", "soft_bounce"), ("complaint", "complaint")]
)
def test_listmonks_form_of_bounces(kind, wanted):
    body = {"email": ANN, "type": kind, "created_at": "2026-03-01T12:00:00Z", "campaign": "news__email"}
    assert [one.kind for one in parsed("listmonk", body).events] == [wanted]


def test_L22_details_hold_no_address_no_number_and_no_query():
    shared = {"kind": "click", "at": UNIX, "address": "+12025550123"}
    clicked = parsed("http", {**shared, "id": "1", "detail": "https://shop.example/p/7?mail=ann@example.com#ann"})
    bounced = parsed(
        "http", {**shared, "kind": "soft_bounce", "id": "2", "detail": "to ann@x.example, +1 202 555 0123\x00"}
    )
    assert [one.detail for one in (*clicked.events, *bounced.events)] == ["shop.example/p/7", "to (address), (number)"]


def test_without_an_id_of_the_tools_own_the_same_event_has_the_same_id():
    first, again, other = (parsed("mailchimp", form(type="unsubscribe", **{"data[list_id]": x})) for x in "aab")
    assert first.events[0].event_id == again.events[0].event_id == other.events[0].event_id
    later = parsed("mailchimp", form(type="unsubscribe", fired_at="2026-03-01 12:00:01"))
    assert later.events[0].event_id != first.events[0].event_id
    assert ANN not in first.events[0].event_id


@pytest.mark.parametrize("kind", sorted({*PARSERS, "http"} - {"mailchimp"}))
@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"NaN", b"[" * 100_000])
def test_L23_a_body_that_is_not_json_is_refused_without_repeating_it(kind, body):
    with pytest.raises(RowRejected, match="is not JSON"):
        parsed(kind, body)


@pytest.mark.parametrize(
    "at", ["0001-01-01T00:00:00+23:00", "9999-12-31T23:59:59-23:00", 1e300, -1, True, "", "1e9", None]
)
def test_L23_a_moment_that_cannot_be_one_is_told_and_not_taken(at):
    found = parsed("http", {"id": "1", "kind": "open", "at": at, "address": ANN})
    assert (found.events, found.problems) == ((), ("event 1: at is not what the vendor's format says",))


def test_L23_a_null_byte_or_half_a_character_gets_no_further():
    item = klaviyo("opened_email", **{"Campaign Name": "ne\x00ws__email\ud800", "$message": "\x00"})
    [one] = parsed("klaviyo", {"data": [item]}).events
    assert (one.list_title, one.message_id) == ("news__email", None)


def test_L26_a_body_of_too_many_events_is_refused():
    with pytest.raises(RowRejected, match="10,000"):
        parsed("sendgrid", [{}] * 10_001)


_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)
_NAMES = [
    "event",
    "email",
    "ts_event",
    "timestamp",
    "type",
    "data",
    "payload",
    "topic",
    "Message",
    "Type",
    "at",
    "events",
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted({*PARSERS, "http"})), st.dictionaries(st.sampled_from(_NAMES), _ANY, max_size=8))
def test_L23_whatever_is_posted_a_parser_gives_events_or_plain_words(kind, body):
    raw = urlencode(body).encode() if kind == "mailchimp" else json.dumps(body).encode()
    found = parser_of(kind)(raw)
    assert all(one.at.tzinfo and one.address for one in found.events)
    assert (found.refused == 0) == (found.problems == ())
