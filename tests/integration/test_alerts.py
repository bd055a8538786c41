"""Alerts by real notifiers to a real SMTP server and a real HTTP server: once, with a link, and nothing of a row."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from factories.event_shop import free_port, write_config
from perennial.core.errors import BatchRefused, PermanentError, RetryableError
from perennial.core.settings import load_settings
from perennial.ledger.cursors import save_cursor
from perennial.ledger.engine import open_ledger
from perennial.orchestration import notify
from perennial.pipeline.alerts import raise_alerts

pytestmark = pytest.mark.integration

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
WAIT_SECONDS = 30
CHANNELS = [
    {"kind": "email", "connection": "mail_out", "to": ["ops@example.com", "crm@example.com"]},
    {"kind": "slack", "connection": "slack_out"},
    {"kind": "webhook", "connection": "hook_out", "min_severity": "error"},
]


class Sink:
    """What the HTTP server was sent; `status` is what it answers."""

    def __init__(self) -> None:
        self.posts: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                sink.posts.append((self.path, dict(self.headers), body))
                self.send_response(sink.status)
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_arguments):
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture(scope="module")
def mailbox():
    """A real SMTP server; its mails."""
    from aiosmtpd.controller import Controller
    from aiosmtpd.handlers import Message

    class Box(Message):
        def __init__(self):
            super().__init__()
            self.mails = []

        def prepare_message(self, session, envelope):
            self.mails.append((list(envelope.rcpt_tos), message_from_bytes(envelope.content, policy=default)))
            return super().prepare_message(session, envelope)

        def handle_message(self, message):
            """Kept already."""

    box = Box()
    box.port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop()


@pytest.fixture
def sink():
    """A real HTTP server."""
    made = Sink()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def shop(tmp_path, monkeypatch, mailbox, sink):
    """Settings of the event shop with three channels, and their connections."""
    mailbox.mails.clear()
    config = write_config(tmp_path / "config")
    with (config / "perennial.yml").open("a") as file:
        file.write(yaml.safe_dump({"alerts": CHANNELS}))
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(config))
    monkeypatch.setenv("PERENNIAL_CLOCK", NOW.isoformat())
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com/")
    mail = {"disable_tls": True, "disable_ssl": True, "from_email": "perennial@example.com", "retry_limit": 1}
    connections = {
        "MAIL_OUT": {"conn_type": "smtp", "host": "127.0.0.1", "port": mailbox.port, "extra": mail},
        "SLACK_OUT": {"conn_type": "slackwebhook", "host": sink.url, "password": "T0/B0/slack-token"},
        "HOOK_OUT": {"conn_type": "http", "host": f"{sink.url}/alerts", "password": "hook-secret"},
    }
    for name, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name}", json.dumps(connection))
    return load_settings()


def _fetch_fails(settings, error="the server said no"):
    save_cursor(open_ledger(settings), "web", "orders", {}, error=error)


def _fetch_works(settings):
    save_cursor(open_ledger(settings), "web", "orders", {})


def test_a_trouble_is_told_once_on_every_channel_with_a_link_and_its_end_once(shop, mailbox, sink):
    _fetch_fails(shop)
    assert notify.tell_alerts(shop) == 1
    assert notify.tell_alerts(shop) == 0
    (((recipients, mail)),) = mailbox.mails
    assert recipients == ["ops@example.com", "crm@example.com"]
    assert mail["Subject"] == "Perennial: fetch web.orders"
    text = mail.get_body(("html",)).get_content()
    assert "the last fetch failed: the server said no" in text
    assert 'href="https://airflow.example.com/perennial/batches?source=web"' in text
    slack, hook = sink.posts
    assert slack[0] == "/T0/B0/slack-token"
    assert "<https://airflow.example.com/perennial/batches?source=web|look>" in json.loads(slack[2])["text"]
    assert hook[0] == "/alerts"
    assert hook[1]["X-Signature"] == hmac.new(b"hook-secret", hook[2], hashlib.sha256).hexdigest()
    assert json.loads(hook[2])["alerts"][0]["severity"] == "error"
    _fetch_works(shop)
    assert notify.tell_alerts(shop) == 1
    assert notify.tell_alerts(shop) == 0
    assert mailbox.mails[1][1]["Subject"] == "Perennial: fetch web.orders is over"
    assert "it is over" in mailbox.mails[1][1].get_body(("html",)).get_content()
    assert (len(mailbox.mails), len(sink.posts)) == (2, 4)


def test_a_channel_that_fails_holds_up_no_other_and_what_was_told_is_not_told_again(shop, mailbox, sink, caplog):
    sink.status = 500
    _fetch_fails(shop)
    with pytest.raises(RetryableError) as raised:
        notify.tell_alerts(shop)
    assert "slack_out" in str(raised.value)
    assert "hook_out" in str(raised.value)
    assert len(mailbox.mails) == 1
    assert notify.tell_alerts(shop) == 0
    for secret in ("slack-token", "hook-secret"):
        assert secret not in str(raised.value)


def test_an_alert_that_nobody_could_be_told_of_is_told_when_a_channel_works_again(shop, mailbox, sink, monkeypatch):
    works = os.environ["AIRFLOW_CONN_MAIL_OUT"]
    sink.status = 500
    monkeypatch.setenv(
        "AIRFLOW_CONN_MAIL_OUT",
        json.dumps({"conn_type": "smtp", "host": "127.0.0.1", "port": 1, "extra": {"retry_limit": 1}}),
    )
    _fetch_fails(shop)
    with pytest.raises(RetryableError):
        notify.tell_alerts(shop)
    sink.status = 200
    monkeypatch.setenv("AIRFLOW_CONN_MAIL_OUT", works)
    assert notify.tell_alerts(shop) == 1
    assert len(mailbox.mails) == 1


def test_L23_a_hostile_message_is_text_in_every_channel_and_never_a_template(shop, mailbox, sink):
    _fetch_fails(shop, "{{ 7 * 7 }} <script>alert(1)</script> <!channel>\r\nBcc: all@example.com")
    notify.tell_alerts(shop)
    mail = mailbox.mails[0][1]
    text = mail.get_body(("html",)).get_content()
    assert "{{ 7 * 7 }} &lt;script&gt;" in text
    assert mail["Bcc"] is None
    slack = json.loads(sink.posts[0][2])["text"]
    assert "&lt;!channel&gt;" in slack
    assert "<!channel>" not in slack


def test_a_channel_hears_only_what_is_grave_enough(shop, sink, mailbox):
    messages = [notify.Message("info", "a column", "new", "/x"), notify.Message("warning", "silence", "silent", "/y")]
    assert notify.send(shop.file.alerts, messages) == {}
    assert [path for path, _headers, _body in sink.posts] == ["/T0/B0/slack-token"]
    assert "silent" in json.loads(sink.posts[0][2])["text"]
    assert "new" not in json.loads(sink.posts[0][2])["text"]
    assert len(mailbox.mails) == 1


def test_the_silence_of_a_source_is_noticed_by_the_trigger_and_told_by_the_dag(
    shop, mailbox, monkeypatch, dagbag, airflow_db
):
    from perennial.orchestration.alert_trigger import AlertTrigger
    from perennial.pipeline.ingest import ingest

    config = shop.config_dir / "sources.yml"
    document = yaml.safe_load(config.read_text())
    document["sources"]["web"]["entities"]["complaints"]["freshness"] = {"warn_hours": 24}
    config.write_text(yaml.safe_dump(document, sort_keys=False))
    landed = shop.landing / "web/complaints_1.jsonl"
    landed.parent.mkdir(parents=True)
    landed.write_text('{"id": "k1", "customer": "c1", "kind": "complaint", "at": "2026-03-01T09:30:00Z"}\n')
    ingest(shop)

    async def play():
        events = AlertTrigger(poll_seconds=0.05).run()
        waiting = asyncio.ensure_future(anext(events))
        done, _ = await asyncio.wait([waiting], timeout=0.3)
        assert not done, "there was nothing to tell yet"
        monkeypatch.setenv("PERENNIAL_CLOCK", (NOW + timedelta(hours=30)).isoformat())
        return (await asyncio.wait_for(waiting, WAIT_SECONDS)).payload

    assert asyncio.run(play()) == {"alerts": 1, "ids": ["silence:web.complaints"]}
    run = dagbag.dags["watch_sources"].test()
    assert [ti.state for ti in run.get_task_instances()] == ["success"]
    assert mailbox.mails[0][1]["Subject"] == "Perennial: silence web.complaints"
    assert raise_alerts(shop) == []


def test_without_a_channel_nothing_is_watched_and_nothing_is_told(tmp_path, monkeypatch):
    from perennial.orchestration.alert_trigger import AlertTrigger

    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(write_config(tmp_path / "config")))
    settings = load_settings()
    _fetch_fails(settings)
    assert notify.tell_alerts(settings) == 0

    async def play():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(AlertTrigger(poll_seconds=0.05).run()), 0.3)

    asyncio.run(play())
    assert len(raise_alerts(settings)) == 1, "it waits for the first channel"


class _Task:
    dag_id, task_id, run_id = "ingest_sales", "ingest_batches", "manual__1"


def test_a_failed_task_is_told_with_a_link_to_its_run_and_a_refused_batch_is_left_to_its_alert(shop, mailbox, sink):
    refused = RuntimeError("refused")
    refused.__cause__ = BatchRefused("all of it")
    notify.task_failed({"ti": _Task, "exception": refused})
    assert mailbox.mails == []
    notify.task_failed({"ti": _Task, "exception": PermanentError("the disk is gone")})
    notify.task_failed({"ti": _Task, "exception": ValueError("jane@example.com is no number")})
    first, second = (mail.get_body(("html",)).get_content() for _to, mail in mailbox.mails)
    assert "the disk is gone" in first
    assert "https://airflow.example.com/dags/ingest_sales/runs/manual__1" in first
    assert "ValueError" in second
    assert "jane" not in second, "a library's error may hold what a row held (L22)"


def test_a_callback_that_cannot_tell_anybody_does_not_raise(shop, mailbox, sink, monkeypatch):
    monkeypatch.setenv("PERENNIAL_CONFIG", "/nowhere")
    notify.task_failed({"ti": _Task, "exception": PermanentError("the disk is gone")})
    assert mailbox.mails == []


def test_every_task_of_every_dag_tells_when_it_fails(dagbag):
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            assert task.on_failure_callback, f"{dag.dag_id}.{task.task_id}: use defaults.dag_options"


def test_a_channel_without_an_address_is_told_with_its_line(tmp_path):
    from perennial.core.errors import ConfigError

    config = write_config(tmp_path / "config")
    with (config / "perennial.yml").open("a") as file:
        file.write("alerts:\n  - {kind: email, connection: mail}\n")
    with pytest.raises(ConfigError, match=r"perennial\.yml:5:alerts\.0.*email needs to"):
        load_settings({"PERENNIAL_CONFIG": str(config), "PERENNIAL_HOME": str(tmp_path)})
