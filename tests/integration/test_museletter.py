"""The whole way there and back through a real newsletter engine: a list, a send, what SES tells of it, the next list."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import date, timedelta

import pytest

from factories import exports, published
from factories.museletter import running_museletter
from perennial.contracts.destinations import MuseletterConfig
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, PermanentError
from perennial.delivery.records import ListKey
from perennial.delivery.tools.museletter import Museletter
from perennial.delivery.tools.records import Chunk, Contact, ListTarget
from perennial.ledger.approvals import Answer, answer
from perennial.ledger.engine import open_ledger
from perennial.pipeline.export import export
from perennial.pipeline.feedback_pull import pull

pytestmark = [pytest.mark.slow, pytest.mark.integration, pytest.mark.timeout(600)]

PEOPLE = ("anna.success", "ben.bounce", "cleo.complaint", "dora.success", "emil.leaves", "finn.success")
DAY = date(2026, 11, 2)


@pytest.fixture(scope="module")
def engine(tmp_path_factory, peers_cache):
    with running_museletter(tmp_path_factory.mktemp("museletter"), peers_cache) as server:
        yield server


def _contact(who, **fields):
    return Contact(who, who, f"{who}@customers.example", fields)


class _Account:
    """Our connector at the engine, one event loop."""

    def __init__(self, engine, runner, password=None, **config):
        given = {"kind": "museletter", "channels": ["email"], "connection": "museletter"}
        queue = {"feedback_queue": engine.queue, "aws_connection": "aws"}
        store = engine if password is None else _Wrong(engine, password)
        self.tool = Museletter("news", MuseletterConfig(**{**given, **queue, **config}), store)
        self.run = runner.run

    def prepare(self, campaign, *fields, list_type="audience"):
        target = ListTarget(ListKey(campaign, "email", DAY), list_type, tuple((name, "VARCHAR") for name in fields))
        return self.run(self.tool.prepare(target))

    def push(self, action, contacts, where):
        told = self.run(self.tool.submit(Chunk("c", action, tuple(contacts)), where)).outcomes
        assert sorted(one.client_id for one in told) == sorted(one.client_id for one in contacts)
        return {one.client_id: one.code or one.state for one in told}

    def drain(self, pull, cursor):
        async def read():
            found, last = [], cursor
            async for page, last in pull(cursor):  # noqa: B007 - the last cursor is wanted
                found += page
            return found, last

        return self.run(read())


class _Wrong:
    def __init__(self, engine, password):
        self.engine, self.password = engine, password

    def get(self, connection_id):
        return Connection(connection_id, "http", host=self.engine.url, password=self.password)


@pytest.fixture
def account(engine):
    with asyncio.Runner() as runner:
        made = _Account(engine, runner)
        yield made
        runner.run(made.tool.close())


@pytest.fixture
def on_tag(engine):
    def standing(where):
        found = engine.call("GET", f"/v1/lists/default/subscribers?limit=1000&tag={where.ids['tag']}")
        return {one["email"].partition("@")[0]: one for one in found["subscribers"]}

    return standing


def _until(look, seconds=60):
    """What comes over the network comes when it comes."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.2)
    return found


def test_the_whole_loop_who_bounced_complained_or_left_is_in_no_later_list(engine, account, on_tag):
    """L9, L14: list -> send -> delivered, bounced, complained, unsubscribed -> withdrawals -> the next list without them."""
    where = account.prepare("loop", "name")
    rows = [_contact(name, name=name.title()) for name in PEOPLE]
    assert set(account.push("add", rows, where).values()) == {"accepted"}
    assert set(on_tag(where)) == set(PEOPLE)
    engine.call("POST", "/v1/lists/default/campaigns", {"subject": "Autumn", "body_markdown": "Hello {{name}}"})

    sent = account.run(account.tool.start_send(where, "Autumn"))
    assert sent["recipients"] == str(len(PEOPLE))
    campaign = f"/v1/campaigns/{sent['campaign']}/stats"
    _until(lambda: engine.call("GET", campaign)["status"] == "sent")
    stats = _until(
        lambda: (s := engine.call("GET", campaign))["complained"] == s["bounced"] == 1 and s["delivered"] == 3 and s
    )
    assert (stats["sent"], stats["failed"]) == (1, 0)  # of emil no notification comes
    emil = on_tag(where)["emil.leaves"]
    engine.call("PATCH", f"/v1/subscribers/{emil['id']}", {"status": "unsubscribed"})

    events = _until(lambda: _collected(account, 5))
    assert {(event.kind, event.address.partition("@")[0]) for event in events} == {
        ("delivered", "anna.success"), ("delivered", "dora.success"), ("delivered", "finn.success"),
        ("hard_bounce", "ben.bounce"), ("complaint", "cleo.complaint"),
    }  # fmt: skip
    assert len({event.event_id for event in events}) == len(events) == 5
    assert account.drain(account.tool.feedback, {})[0] == []

    gone, cursor = account.drain(account.tool.withdrawals, {})
    assert {(one.kind, one.address.partition("@")[0]) for one in gone} == {
        ("hard_bounce", "ben.bounce"), ("complaint", "cleo.complaint"), ("unsubscribe", "emil.leaves"),
    }  # fmt: skip
    assert account.drain(account.tool.withdrawals, cursor) == ([], cursor)

    following = account.prepare("next", "name")
    told = account.push("add", rows, following)
    assert told == {
        "anna.success": "accepted", "dora.success": "accepted", "finn.success": "accepted",
        "ben.bounce": "bounced_in_tool", "cleo.complaint": "complained_in_tool", "emil.leaves": "unsubscribed_in_tool",
    }  # fmt: skip
    assert set(on_tag(following)) == {"anna.success", "dora.success", "finn.success"}
    assert on_tag(where)["emil.leaves"]["status"] == "unsubscribed"
    again = account.run(account.tool.start_send(following, "Autumn"))
    assert again["recipients"] == "3"


def _collected(account, wanted, so_far=[]):  # noqa: B006 - what the queue gave is gone from it
    so_far += account.drain(account.tool.feedback, {})[0]
    return so_far if len(so_far) >= wanted else None


def test_it_adds_updates_and_removes_and_touches_nobody_else(engine, account, on_tag):
    by_hand = engine.call(
        "POST", "/v1/lists/default/subscribers", {"email": "hand@customers.example", "name": "Theirs"}
    )
    where, other = account.prepare("verbs", "name", "tags"), account.prepare("other", "name")
    rows = [_contact("gina", name="Gina", tags="gold;north"), _contact("hand", name=None), _contact("ivan")]
    assert (
        account.push("add", rows, where)
        == account.push("add", rows, where)
        == dict.fromkeys(("gina", "hand", "ivan"), "accepted")
    )
    assert set(on_tag(where)) == {"gina", "hand", "ivan"}
    assert on_tag(where)["gina"]["tags"] == sorted(["gold", "north", where.title])
    assert (on_tag(where)["hand"]["name"], on_tag(where)["hand"]["id"]) == ("Theirs", by_hand["id"])
    account.push("update", [_contact("gina", name="Gina G"), _contact("ivan", name=None)], where)
    assert on_tag(where)["gina"]["name"] == "Gina G"
    account.push("add", rows[:1], other)
    assert account.push("remove", [*rows, _contact("nobody")], where)["nobody"] == "accepted"
    assert (set(on_tag(where)), set(on_tag(other))) == (set(), {"gina"})
    assert account.run(account.tool.read_back(other, [_contact("gina"), _contact("ivan")])) == {"gina"}


@pytest.mark.parametrize("action", ["add", "update"])
def test_L14_the_status_of_who_is_known_is_not_written(engine, account, on_tag, action):
    known = {"email": f"{action}.known@customers.example", "status": "unconfirmed"}
    engine.call("POST", "/v1/lists/default/subscribers", known)
    where = account.prepare("known", "name")
    account.push(action, [_contact(f"{action}.known", name="Known")], where)
    found = on_tag(where)[f"{action}.known"]
    assert (found["status"], found["name"]) == ("unconfirmed", "Known")


def test_a_thousand_rows_go_in_one_call_and_many_are_read_back(engine, account):
    where = account.prepare("many", "name")
    rows = [_contact(f"n{number}") for number in range(1_000)]
    assert set(account.push("add", rows, where).values()) == {"accepted"}
    asked = [*rows[:300], _contact("stranger")]
    assert account.run(account.tool.read_back(where, asked)) == {one.client_id for one in rows[:300]}


def test_a_field_that_it_cannot_keep_is_told_and_not_dropped(account):
    with pytest.raises(ConfigError, match="names and tags only"):
        account.prepare("fields", "name", "points")


def test_the_check_names_its_steps_and_what_is_wrong(engine, account):
    steps = account.run(account.tool.check())
    assert [(step.name, step.state) for step in steps] == [
        ("reachable", "passed"), ("list", "passed"), ("suppressions", "passed"), ("queue", "passed"),
    ]  # fmt: skip
    with asyncio.Runner() as runner:
        wrong = _Account(engine, runner, password="another key")
        steps = runner.run(wrong.tool.check())
        runner.run(wrong.tool.close())
    assert [step.state for step in steps] == ["passed", "failed", "skipped", "skipped"]
    assert "another key" not in repr(steps)


def test_a_tag_that_was_deleted_there_is_told_and_made_again(engine, account, on_tag):
    where = account.prepare("deleted", "name")
    engine.call("DELETE", f"/v1/tags/{where.ids['tag']}")
    with pytest.raises(PermanentError, match="was deleted in museletter"):
        account.push("add", [_contact("kim")], where)
    account.push("add", [_contact("kim")], account.prepare("deleted", "name"))
    assert set(on_tag(account.prepare("deleted", "name"))) == {"kim"}


def test_a_send_needs_exactly_one_draft_of_that_name(account):
    where = account.prepare("nothing", "name")
    with pytest.raises(ConfigError, match="0 drafts are called 'Winter'"):
        account.run(account.tool.start_send(where, "Winter"))


def test_L9_the_next_days_export_leaves_out_who_bounced_or_complained(engine, account, on_tag, tmp_path, monkeypatch):
    """The same way through the export itself: two days, their lists, and the feedback between them."""
    for name, connection in (("museletter", engine.get("museletter")), ("aws", engine.get("aws"))):
        told = {"conn_type": connection.kind, "host": connection.host, "login": connection.login}
        told |= {"password": connection.password, "extra": dict(connection.extra)}
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(told))
    news = {"kind": "museletter", "channels": ["email"], "connection": "museletter", "fields": {"first_name": "name"}}
    news |= {"feedback_queue": engine.queue, "aws_connection": "aws"}
    others = {"kind": "outbox", "channels": ["sms", "call", "account_manager"]}
    cards = [published.card(name, merge_fields=["first_name"]) for name in ("first", "second")]
    settings = exports.settings_with(
        tmp_path, *cards, destinations={"version": 1, "destinations": {"news": news, "outbox": others}}
    )
    ids = ["hal.success", "ida.bounce", "joe.complaint", "kit.success"]
    exports.consent(settings, ids)
    given = Answer("zero", "email", date(2017, 9, 1), "news", "approved", 1_000, {}, "looked at it", "ann", "cli")
    answer(open_ledger(settings), given, hours=24)
    people = [exports.person(one) for one in ids]

    def exported(campaign, as_of):
        run = exports.planned_day(settings, people, [exports.target(campaign, one) for one in ids], as_of=as_of)
        [report] = export(settings, run)
        target = ListTarget(ListKey(campaign, "email", as_of), "send", (("name", "VARCHAR"),))
        return report, account.run(account.tool.prepare(target))

    report, where = exported("first", exports.AS_OF)
    assert (report.sent, set(on_tag(where))) == (4, set(ids))
    engine.call("POST", "/v1/lists/default/campaigns", {"subject": "Export", "body_markdown": "Hello"})
    account.run(account.tool.start_send(where, "Export"))
    _until(lambda: {"ida.bounce@example.com", "joe.complaint@example.com"} <= _suppressed(engine))

    report, where = exported("second", exports.AS_OF + timedelta(days=1))
    assert set(on_tag(where)) == {"hal.success", "kit.success"}
    assert (report.size, report.sent, sum(report.reasons.values())) == (4, 2, 2)
    assert set(report.reasons) <= {"suppressed", "consent_withdrawn"}
    reports = pull(settings)
    assert [one.problem for one in reports] == [None]
    assert sum(one.taken.new for one in reports) >= 4


def _suppressed(engine):
    return {one["email"] for one in engine.call("GET", "/v1/suppressions?limit=1000")["suppressions"]}
