"""Rows to tools that are known by their description only, and to a signed webhook: a real server of the test's own."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import contextmanager
from datetime import date
from urllib.parse import parse_qs

import pytest
import yaml
from aiohttp import web

from contract.emulators.rigs import OurTime
from perennial.contracts.connections import WebhookConnection
from perennial.contracts.destinations import HttpConfig, WebhookOutConfig
from perennial.core.connections import EnvironmentConnections
from perennial.core.errors import ConfigError, PermanentError, RetryableError
from perennial.delivery.records import ListKey
from perennial.delivery.tools.generic import GenericHttp
from perennial.delivery.tools.records import Chunk, ChunkRefused, Contact, ListTarget, OutcomeUnknown
from perennial.delivery.tools.webhook import Webhook
from perennial.web.signatures import is_signed

pytestmark = pytest.mark.integration

KEY = "a key of this test run"
FIELDS = (("first_name", "VARCHAR"), ("value", "DECIMAL(18,2)"), ("next_due_on", "DATE"))


class Receiver:
    """Writes down what comes, and answers by plan: each a status, a body, or `break` after it was taken."""

    def __init__(self):
        self.asked, self.plan, self.port = [], [], 0

    async def take(self, request):
        body = await request.read()
        self.asked.append((request.method, request.path, dict(request.headers), body))
        answer = self.plan.pop(0) if self.plan else {"ok": True}
        if answer == "break":
            request.transport.abort()
        if isinstance(answer, web.Response):
            return answer
        return web.json_response(answer if isinstance(answer, dict) else {})

    @property
    def bodies(self):
        return [json.loads(body) for _, _, _, body in self.asked]


@contextmanager
def receiving():
    receiver, loop = Receiver(), asyncio.new_event_loop()

    async def start():
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", receiver.take)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        receiver.port = site._server.sockets[0].getsockname()[1]
        return runner

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
    yield receiver
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(60)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(60)
    loop.close()


@pytest.fixture(scope="module")
def running():
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def receiver(running):
    running.asked, running.plan = [], []
    return running


class Bench:
    def __init__(self, runner, receiver, templates):
        self.runner, self.receiver, self.templates, self.time, self.made = runner, receiver, templates, OurTime(), []
        given = {"conn_type": "http", "host": f"http://127.0.0.1:{receiver.port}", "login": "shop", "password": KEY}
        self.store = EnvironmentConnections({"AIRFLOW_CONN_TAKER": json.dumps(given)})

    def http(self, text, **more):
        given = {"kind": "http", "channels": ["sms"], "connection": "taker", **yaml.safe_load(text), **more}
        tool = GenericHttp("sms", HttpConfig.model_validate(given), self.store, self.templates, self.time.manners())
        self.made.append(tool)
        return tool

    def webhook(self, **more):
        given = {"kind": "webhook", "channels": ["call"], "connection": "taker", **more}
        tool = Webhook("hook", WebhookOutConfig.model_validate(given), self.store, self.time.manners())
        self.made.append(tool)
        return tool

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def prepared(self, tool, *, fields=FIELDS, message="news"):
        return self.run(
            tool.prepare(ListTarget(ListKey("news", "sms", date(2017, 10, 1)), "send", fields, message=message))
        )

    def submit(self, tool, *rows, action="add", chunk="chunk-1"):
        contacts = tuple(
            Contact(client, f"key-{client}", f"+1202555{number:04}", fields)
            for number, (client, fields) in enumerate(rows)
        )
        outcomes = self.run(tool.submit(Chunk(chunk, action, contacts), self.prepared(tool))).outcomes
        assert sorted(one.client_id for one in outcomes) == sorted(client for client, _ in rows)
        return {one.client_id: (one.state, one.code, one.words) for one in outcomes}


@pytest.fixture
def bench(receiver, tmp_path):
    (tmp_path / "news.txt").write_text(
        "Hi {{ first_name }}, it is due{% if next_due_on %} {{ next_due_on }}{% endif %}.\n"
    )
    with asyncio.Runner() as runner:
        made = Bench(runner, receiver, tmp_path)
        yield made
        for tool in made.made:
            runner.run(tool.close())


ANN = ("c1", {"first_name": "Ann", "value": 12, "next_due_on": date(2017, 10, 5)})
BOB = ("c2", {"first_name": 'Жанна "x"', "value": 0.5, "next_due_on": None})
NOBODY = ("c3", {"first_name": None, "value": None, "next_due_on": None})
ACCEPTED = ("accepted", None, None)

SMS = """
add:
  path: /v1/{campaign_id}/messages
  headers: {X-List: "{{ list }}"}
  body: {to: "{{ address }}", text: "{{ text }}", worth: "{{ value }}", ref: "{{ key }}", urgent: false, tags: ["sms {{ campaign_id }}"]}
idempotency_header: Idempotency-Key
"""
BATCH = """
rows_per_call: 100
add:
  path: /calls
  body: {list: "{{ list }}", calls: {each: {id: "{{ key }}", phone: "{{ address }}", who: "{{ first_name }}"}}}
answer: {ok_path: status, ok_values: [ok, partly], rows_path: result.calls, key_path: id, row_ok_path: state, row_ok_values: [queued], words_path: why}
"""


def test_a_row_becomes_the_call_that_the_template_says_and_a_number_stays_a_number(bench, receiver):
    assert bench.submit(bench.http(SMS), ANN) == {"c1": ACCEPTED}
    [(method, path, headers, _)] = receiver.asked
    assert (method, path) == ("POST", "/v1/news/messages")
    assert (headers["Authorization"], headers["X-List"]) == (f"Bearer {KEY}", "news__sms__2017-10-01")
    assert headers["Idempotency-Key"] == "chunk-1"
    [body] = receiver.bodies
    assert len(body.pop("ref")) == 32
    assert body == {
        "to": "+12025550000",
        "text": "Hi Ann, it is due 2017-10-05.",
        "worth": 12,
        "urgent": False,
        "tags": ["sms news"],
    }


def test_L23_a_value_is_data_in_the_call_and_never_a_template_or_json(bench, receiver):
    name = '{{ 7 * 7 }}", "to": "x'
    bench.submit(bench.http(BATCH), ("c1", {**ANN[1], "first_name": name}))
    assert receiver.bodies[0]["calls"][0]["who"] == name


@pytest.mark.parametrize("text", ["{{ ''.__class__.__mro__ }}", "{{ address.__init__.__globals__ }}", "{{ range(9) }}"])
def test_L23_a_template_sees_the_row_and_nothing_else(bench, receiver, text):
    tool = bench.http("add: {path: /x}")
    tool._calls["add"] = tool._calls["add"].model_copy(update={"body": text})
    with pytest.raises(ConfigError):
        bench.submit(tool, ANN)
    assert receiver.asked == []


def test_forms_are_spoken_too_and_so_are_other_ways_to_sign_in(bench, receiver):
    form = "auth: basic\nadd: {path: /send, encode: form, body: {phone: '{{ address }}', msg: 'a&b {{ first_name }}'}}"
    assert bench.submit(bench.http(form), ANN) == {"c1": ACCEPTED}
    _, _, headers, body = receiver.asked[0]
    assert parse_qs(body.decode()) == {"phone": ["+12025550000"], "msg": ["a&b Ann"]}
    assert (headers["Content-Type"], headers["Authorization"][:6]) == ("application/x-www-form-urlencoded", "Basic ")
    bench.submit(bench.http("auth: header\nauth_header: X-Key\nadd: {path: /send}"), ANN)
    assert receiver.asked[1][2]["X-Key"] == KEY


def test_L15_a_batch_is_judged_row_by_row_as_its_answer_says(bench, receiver):
    tool = bench.http(BATCH)
    bench.submit(tool, ANN, BOB, NOBODY)
    [first, second] = receiver.bodies[0]["calls"]
    receiver.plan = [
        {
            "status": "partly",
            "result": {
                "calls": [
                    {"id": second["id"], "state": "no", "why": "+12025550001 is barred"},
                    {"id": first["id"], "state": "queued"},
                ]
            },
        }
    ]
    assert bench.submit(tool, ANN, BOB, NOBODY) == {
        "c1": ACCEPTED,
        "c2": ("rejected", "refused_by_tool", "*** is barred"),
        "c3": ("rejected", "missing_value", "a field that the message shows has no value"),
    }


def test_L12_a_row_that_the_answer_does_not_name_is_unknown(bench, receiver):
    tool = bench.http(BATCH)
    receiver.plan = [{"status": "ok", "result": {"calls": []}}, web.Response(text="<html>")]
    assert bench.submit(tool, ANN, BOB) == {"c1": ("unknown", None, None), "c2": ("unknown", None, None)}
    assert bench.submit(tool, ANN) == {"c1": ("unknown", None, None)}


def test_L15_a_no_to_several_rows_is_for_the_engine_to_split_and_a_no_to_one_is_told(bench, receiver):
    tool = bench.http(BATCH)
    receiver.plan = [{"status": "error", "why": "bad"}, {"status": "error", "why": "bad"}, web.Response(status=422)]
    with pytest.raises(ChunkRefused):
        bench.submit(tool, ANN, BOB)
    assert bench.submit(tool, ANN) == {"c1": ("rejected", "refused_by_tool", "bad")}
    with pytest.raises(ChunkRefused):
        bench.submit(tool, ANN)


def test_L12_a_call_that_broke_is_made_again_only_where_the_tool_knows_a_repeat(bench, receiver):
    receiver.plan = ["break"]
    assert bench.submit(bench.http(SMS), ANN) == {"c1": ACCEPTED}
    assert [headers["Idempotency-Key"] for _, _, headers, _ in receiver.asked] == ["chunk-1"] * 2
    once = bench.http(SMS.replace("idempotency_header: Idempotency-Key", ""))
    assert (once.capabilities.repeatable, once.capabilities.reaches_people) == (False, True)
    receiver.plan = ["break"]
    with pytest.raises(OutcomeUnknown):
        bench.submit(once, ANN)
    assert len(receiver.asked) == 3


def test_L19_retry_after_is_honoured_and_401_says_nothing_about_a_row(bench, receiver):
    receiver.plan = [web.Response(status=429, headers={"Retry-After": "7"})]
    assert bench.submit(bench.http(SMS), ANN) == {"c1": ACCEPTED}
    assert 7 in bench.time.waits
    receiver.plan = [web.Response(status=401)]
    with pytest.raises(PermanentError) as caught:
        bench.submit(bench.http(SMS), ANN)
    assert not isinstance(caught.value, ChunkRefused | RetryableError)
    assert KEY not in str(caught.value)


def test_a_call_that_cannot_be_filled_in_is_told_before_anything_is_sent(bench, receiver):
    with pytest.raises(ConfigError, match="`add` uses points"):
        bench.prepared(bench.http("add: {path: /x, body: {p: '{{ points }}'}}"))
    with pytest.raises(ConfigError, match="the list has no field next_due_on"):
        bench.prepared(bench.http(SMS), fields=FIELDS[:2])
    with pytest.raises(ConfigError, match="no such template"):
        bench.prepared(bench.http(SMS), message="absent")
    with pytest.raises(ConfigError, match="no template"):
        bench.prepared(bench.http("add: {path: /x, body: '{{ broken'}"))
    assert receiver.asked == []


def test_its_check_asks_what_changes_nothing(bench, receiver):
    steps = bench.run(bench.http(SMS, check_path="/ping").check())
    assert [(step.name, step.state) for step in steps] == [(n, "passed") for n in ("connection", "templates", "answer")]
    assert [asked[:2] for asked in receiver.asked] == [("GET", "/ping")]


def test_every_verb_that_has_a_call_is_declared_and_made(bench, receiver):
    tool = bench.http(
        "add: {path: /tasks, body: {who: '{{ client_key }}'}}\n"
        "update: {path: '/tasks/{client_key}', method: PATCH}\nremove: {path: '/tasks/{client_key}', method: DELETE}"
    )
    assert tool.capabilities.actions == ("add", "update", "remove")
    assert tool.capabilities.list_types == ("send", "audience")
    for action in tool.capabilities.actions:
        assert bench.submit(tool, ANN, action=action) == {"c1": ACCEPTED}
    assert [asked[:2] for asked in receiver.asked] == [
        ("POST", "/tasks"),
        ("PATCH", "/tasks/key-c1"),
        ("DELETE", "/tasks/key-c1"),
    ]


# The webhook --------------------------------------------------------------------------------------------------------
def test_a_webhook_is_signed_so_that_our_own_receiver_of_webhooks_would_take_it(bench, receiver):
    assert bench.submit(bench.webhook(), ANN, BOB) == {"c1": ACCEPTED, "c2": ACCEPTED}
    [(method, _, headers, body)] = receiver.asked
    here = {"kind": "webhook", "id": "x", "signature": "timestamped_hmac_sha256", "header": "X-Perennial-Signature"}
    connection = WebhookConnection.model_validate(here)
    assert method == "POST"
    assert is_signed(connection, [KEY], headers, body)
    assert not is_signed(connection, [KEY], headers, body + b" ")
    [given] = receiver.bodies
    assert (given["id"], given["type"], given["list"]) == ("chunk-1", "list.add", "news__sms__2017-10-01")
    assert given["rows"][1] == {
        "client_id": "c2",
        "client_key": "key-c2",
        "address": "+12025550001",
        "fields": {"first_name": 'Жанна "x"', "value": 0.5, "next_due_on": None},
    }


def test_L12_a_webhook_that_broke_is_posted_again_with_the_same_id_and_signed_anew(bench, receiver, monkeypatch):
    receiver.plan = ["break", web.Response(status=503)]
    assert bench.submit(bench.webhook(), ANN) == {"c1": ACCEPTED}
    assert {headers["Idempotency-Key"] for _, _, headers, _ in receiver.asked} == {"chunk-1"}
    assert len(receiver.asked) == 3


def test_L15_a_receiver_may_refuse_rows(bench, receiver):
    receiver.plan = [{"rejected": [{"client_id": "c2", "words": "no such account a@example.com"}, "odd"]}]
    assert bench.submit(bench.webhook(), ANN, BOB) == {
        "c1": ACCEPTED,
        "c2": ("rejected", "refused_by_tool", "no such account ***"),
    }


def test_L22_a_webhook_without_a_proper_secret_is_refused(bench, receiver):
    given = {"conn_type": "http", "host": f"http://127.0.0.1:{receiver.port}", "password": "short"}
    bench.store._environ["AIRFLOW_CONN_TAKER"] = json.dumps(given)
    with pytest.raises(ConfigError, match="shorter than 16"):
        bench.submit(bench.webhook(), ANN)
    assert [step.state for step in bench.run(bench.webhook().check())] == ["failed", "skipped"]
    assert receiver.asked == []


def test_the_check_of_a_webhook_posts_no_row(bench, receiver):
    assert {step.state for step in bench.run(bench.webhook().check())} == {"passed"}
    assert receiver.bodies == [{"id": "check", "type": "check", "rows": []}]
