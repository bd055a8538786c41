"""Webhooks of mailing tools: who is let in, what is taken, what the tool is told, and that it works at once."""

from __future__ import annotations

import hashlib
import hmac
import json
import warnings
from datetime import UTC, date, datetime
from urllib.parse import urlencode

import pytest
import sqlalchemy as sa

from factories import exports, published
from perennial.ledger.consents import consent_state
from perennial.ledger.engine import open_ledger
from perennial.ledger.feedback_tables import feedback_events

SECRET = "the secret of the webhook"
NOON = datetime(2017, 10, 1, 12, tzinfo=UTC)
IDS = [f"c{number}" for number in range(30)]
DESTINATIONS = {
    "version": 1,
    "destinations": {
        "gateway": {
            "kind": "outbox",
            "channels": ["email"],
            "feedback": {"secret": "gateway_hook", "max_bytes": 5_000, "per_minute": 1_000},
        },
        "slow": {"kind": "outbox", "channels": ["sms"], "feedback": {"secret": "gateway_hook", "per_minute": 2}},
        "closed": {"kind": "outbox", "channels": ["call"]},
        "chimp": {
            "kind": "mailchimp",
            "channels": ["email"],
            "campaigns": ["chimps"],
            "connection": "chimp",
            "list_id": "a1",
            "feedback": {"secret": "gateway_hook"},
        },
    },
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A planned day whose clients have addresses; every test is about clients of its own."""
    folder = tmp_path_factory.mktemp("feedback")
    with pytest.MonkeyPatch.context() as patch:
        settings = exports.settings_with(folder, published.card("news", channels=["email"]), destinations=DESTINATIONS)
        patch.setenv("PERENNIAL_HOME", str(settings.home))
        patch.setenv("PERENNIAL_CONFIG", str(settings.config_dir))
        patch.setenv("PERENNIAL_CLOCK", NOON.isoformat())
        connection = {"conn_type": "http", "password": SECRET, "extra": {"previous": "the secret before"}}
        patch.setenv("AIRFLOW_CONN_GATEWAY_HOOK", json.dumps(connection))
        people = [exports.person(one) for one in IDS]
        exports.consent(settings, IDS)
        exports.planned_day(settings, people, [exports.target("news", one) for one in IDS])
        yield settings


@pytest.fixture(scope="module")
def hooks(shop):
    """A client of the hooks, without Airflow."""
    from perennial.core.connections import EnvironmentConnections
    from perennial.web.feedback_hooks import create_feedback_hooks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    return TestClient(create_feedback_hooks(EnvironmentConnections()))


def told(client, kind="unsubscribe", **more):
    key = hashlib.md5(json.dumps([client, kind, more]).encode()).hexdigest()
    return {"id": key, "kind": kind, "at": "2017-10-01T09:00:00Z", "address": f"{client}@example.com", **more}


def signed(event, *, secret=SECRET, at=NOON):
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    stamp = str(int(at.timestamp()))
    digest = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    return {
        "content": body,
        "headers": {"X-Perennial-Signature": f"t={stamp},v1={digest}", "Content-Type": "application/json"},
    }


def withdrawn(shop, client):
    state = consent_state(open_ledger(shop), date.max, client_ref=client).to_pylist()
    return {(row["channel"], row["purpose"]) for row in state if row["status"] == "withdrawn"}


def kept(shop, client):
    query = sa.select(feedback_events).where(feedback_events.c.client_ref == client)
    with open_ledger(shop).connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def test_L9_a_signed_unsubscribe_has_ended_consent_when_it_is_answered(hooks, shop):
    answer = hooks.post("/gateway", **signed({"events": [told("c1"), told("c2", "open", machine=True)]}))
    assert (answer.status_code, answer.json()["taken"]) == (202, 2)
    assert ("email", "marketing") in withdrawn(shop, "c1")
    assert [row["is_machine"] for row in kept(shop, "c2")] == [True]


def test_L12_what_is_posted_again_is_answered_the_same_and_counts_once(hooks, shop):
    call = signed(told("c3", "soft_bounce"))
    first, second = (hooks.post("/gateway", **call).json() for _ in range(2))
    assert ((first["taken"], first["known"]), (second["taken"], second["known"])) == ((1, 0), (0, 1))
    assert len(kept(shop, "c3")) == 1


def test_L22_who_is_not_the_tool_gets_401_and_nothing_is_parsed(hooks, shop):
    for wrong in (
        signed(told("c4"), secret="another secret"),
        signed(told("c4"), at=datetime(2017, 10, 1, 11, 54, tzinfo=UTC)),
        signed(told("c4"), at=datetime(2017, 10, 1, 12, 6, tzinfo=UTC)),
        {"content": b"{", "headers": {"Content-Type": "application/json"}},
    ):
        assert hooks.post("/gateway", **wrong).status_code == 401
    assert withdrawn(shop, "c4") == set()


def test_the_secret_before_holds_during_a_change(hooks):
    assert hooks.post("/gateway", **signed(told("c5"), secret="the secret before")).status_code == 202


@pytest.mark.parametrize("path", ["/nobody", "/closed", "/Gateway", "/%2e%2e/gateway", "/gateway/more"])
def test_a_tool_without_a_webhook_is_404(hooks, path):
    assert hooks.post(path, **signed(told("c6"))).status_code == 404


def test_a_body_beyond_the_limit_is_413_also_when_its_length_is_not_told(hooks):
    headers = {"Content-Type": "application/json"}
    assert hooks.post("/gateway", content=b"x" * 5_001, headers=headers).status_code == 413
    assert hooks.post("/gateway", content=(b"x" * 900 for _ in range(10)), headers=headers).status_code == 413


def test_other_types_of_bodies_are_415(hooks):
    for headers in ({"Content-Type": "text/html"}, {"Content-Type": "application/json", "Content-Encoding": "gzip"}):
        assert hooks.post("/gateway", content=b"{}", headers=headers).status_code == 415


def test_L19_calls_beyond_the_rate_are_told_when_to_come_again(hooks):
    answers = [hooks.post("/slow", **signed(told("c7", "open", message_id=str(n)))) for n in range(3)]
    assert [answer.status_code for answer in answers] == [202, 202, 429]
    assert 0 < int(answers[2].headers["Retry-After"]) <= 61


def test_L23_what_does_not_fit_is_told_by_place_and_field_and_the_rest_is_taken(hooks, shop):
    bad = [told("c8", kind="' or 1=1 --"), {**told("c8", "open"), "at": "yesterday"}, {"id": "x"}, "text", told("c8")]
    answer = hooks.post("/gateway", **signed({"events": bad})).json()
    assert (answer["taken"], answer["refused"]) == (1, 4)
    assert "event 1: kind is not what the vendor's format says" in answer["problems"]
    assert "c8@" not in json.dumps(answer)
    assert withdrawn(shop, "c8")


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"[" * 2_000, b'{"events": [NaN]}', b'"text"', b"[1, 2]"])
def test_L23_a_body_that_is_no_event_is_422(hooks, body):
    assert hooks.post("/gateway", **signed(body)).status_code == 422


def test_a_campaign_that_is_not_known_is_told_plainly_and_its_events_are_kept(hooks, shop):
    answer = hooks.post("/gateway", **signed(told("c9", "complaint", list="Spring 2015")))
    assert answer.status_code == 202
    assert "1 lists are not ours; the events are kept without a campaign" in answer.json()["problems"]
    assert [(row["list_title"], row["campaign_id"]) for row in kept(shop, "c9")] == [("Spring 2015", None)]
    assert withdrawn(shop, "c9")


def test_while_the_ledger_fails_the_tool_is_told_to_come_again_and_nothing_personal_is_logged(
    hooks, caplog, monkeypatch
):
    def full(*_args, **_more):
        raise sa.exc.OperationalError("insert ... c10@example.com", {}, OSError("database or disk is full"))

    monkeypatch.setattr(sa.engine.Connection, "execute", full)
    answer = hooks.post("/gateway", **signed(told("c10")))
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    assert "OperationalError" in caplog.text
    assert "c10@" not in caplog.text


def test_mailchimp_posts_forms_and_looks_whether_somebody_is_there(hooks, shop):
    assert hooks.get("/chimp").status_code == 200
    form = {"type": "unsubscribe", "fired_at": "2017-10-01 09:00:00", "data[email]": "c11@example.com"}
    body = urlencode({**form, "data[list_id]": "a1", "data[merges][FNAME]": "Ann"}).encode()
    stamp = str(int(NOON.timestamp()))
    digest = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Mailchimp-Signature": f"t={stamp},v1={digest}", "Content-Type": "application/x-www-form-urlencoded"}
    assert hooks.post("/chimp", content=body, headers=headers).json()["taken"] == 1
    assert ("email", "marketing") in withdrawn(shop, "c11")
    assert hooks.post("/chimp", content=body + b"x", headers=headers).status_code == 401


@pytest.fixture(scope="module")
def public(shop):
    """A client of the public end of unsubscribe links, and a maker of tokens."""
    from perennial.core.connections import EnvironmentConnections
    from perennial.delivery.unsubscribe_links import Unsubscribe, sign
    from perennial.web.unsubscribe import create_unsubscribe

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from starlette.testclient import TestClient
    secret = "a secret of thirty-two characters"
    connection = {"conn_type": "http", "host": "https://shop.example/perennial", "password": secret}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_PERENNIAL_UNSUBSCRIBE", json.dumps(connection))
        client = TestClient(create_unsubscribe(EnvironmentConnections()))
        yield client, lambda who: sign(Unsubscribe(who, "email", "marketing", "news", exports.AS_OF), secret)


def test_L9_a_link_that_is_only_looked_at_changes_nothing_and_one_that_is_posted_works_at_once(public, shop):
    client, token_of = public
    token = token_of("c12")
    page = client.get(f"/{token}")
    assert (page.status_code, '<form method="post">' in page.text) == (200, True)
    assert client.head(f"/{token}").status_code == 200
    assert withdrawn(shop, "c12") == set()
    answer = client.post(f"/{token}", content=b"List-Unsubscribe=One-Click")
    assert (answer.status_code, "You are unsubscribed" in answer.text) == (200, True)
    assert withdrawn(shop, "c12") == {("email", "marketing")}
    assert client.post(f"/{token}").status_code == 200


def test_L22_the_page_of_a_link_names_nobody_and_no_other_site(public):
    client, token_of = public
    page = client.get(f"/{token_of('c13')}")
    assert "c13" not in page.text.replace(token_of("c13"), "")
    assert "http" not in page.text
    assert (page.headers["Referrer-Policy"], page.headers["Cache-Control"]) == ("no-referrer", "no-store")


def test_L23_a_token_that_is_not_ours_is_404_and_changes_nothing(public, shop):
    client, token_of = public
    good = token_of("c14")
    for token in (good[:-1], good.replace(".", ""), "x", "a.b", good + "A", "%00.%00", "x" * 2_000):
        assert (client.get(f"/{token}").status_code, client.post(f"/{token}").status_code) == (404, 404)
    assert withdrawn(shop, "c14") == set()
