"""Webhooks of a mailing tool against the real app under uvicorn, killed in the middle: what was answered is kept, once."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from datetime import UTC, date, datetime

import pytest
import sqlalchemy as sa

from factories import exports, published
from factories.event_shop import free_port
from integration.running import REPOSITORY, environment
from perennial.core.ids import digest_of
from perennial.ledger.consents import consent_state
from perennial.ledger.engine import open_ledger
from perennial.ledger.feedback_tables import feedback_events

pytestmark = [pytest.mark.integration, pytest.mark.slow]

SECRET = "the secret of the webhook"
NOON = datetime(2017, 10, 1, 12, tzinfo=UTC)
CLIENTS, WAIT_SECONDS = 24, 60


@pytest.fixture
def shop(tmp_path):
    """A planned day of some clients."""
    destinations = {
        "version": 1,
        "destinations": {"tool": {"kind": "outbox", "channels": ["email"], "feedback": {"secret": "tool_hook"}}},
    }
    settings = exports.settings_with(tmp_path, published.card("news", channels=["email"]), destinations=destinations)
    ids = [f"c{number}" for number in range(CLIENTS)]
    exports.consent(settings, ids)
    exports.planned_day(settings, [exports.person(one) for one in ids], [exports.target("news", one) for one in ids])
    return settings


def _start(shop, port):
    connection = json.dumps({"conn_type": "http", "password": SECRET})
    more = {"PERENNIAL_CONFIG": str(shop.config_dir), "PERENNIAL_CLOCK": NOON.isoformat()}
    env = environment(shop.home, AIRFLOW_CONN_TOOL_HOOK=connection, **more)
    program = REPOSITORY / "tests/factories/feedback_server.py"
    process = subprocess.Popen([sys.executable, str(program), str(port)], env=env)
    until = time.monotonic() + WAIT_SECONDS
    while True:
        assert process.poll() is None, "the server ended"
        assert time.monotonic() < until, "the server does not answer"
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return process


def _post(port, number):
    event = {
        "id": f"e{number}",
        "kind": "unsubscribe",
        "at": "2017-10-01T09:00:00Z",
        "address": f"c{number}@example.com",
    }
    body, stamp = json.dumps(event).encode(), str(int(NOON.timestamp()))
    digest = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Perennial-Signature": f"t={stamp},v1={digest}"}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.request("POST", "/tool", body, headers)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _kept(shop):
    """The numbers of the events that the ledger has."""
    number_of = {digest_of([shop.salt, f"e{number}"], length=32): number for number in range(CLIENTS)}
    with open_ledger(shop).connect().execution_options(reading=True) as connection:
        return {number_of[one] for one in connection.execute(sa.select(feedback_events.c.event_id)).scalars()}


def _kill_when(shop, process, kept):
    """Kill the server as soon as so many events are kept, whatever it is at then."""
    until = time.monotonic() + WAIT_SECONDS
    while len(_kept(shop)) <= kept and time.monotonic() < until:
        time.sleep(0.002)
    process.kill()


@pytest.mark.parametrize("kill_at", [1, 9])
def test_L12_what_was_answered_before_a_kill_is_in_the_ledger_and_what_is_posted_again_counts_once(shop, kill_at):
    port = free_port()
    process = _start(shop, port)
    killer = threading.Thread(target=_kill_when, args=(shop, process, kill_at))
    killer.start()
    answered = [number for number in range(CLIENTS) if _post(port, number) == 202]
    killer.join()
    process.wait()
    assert kill_at <= len(answered) < CLIENTS
    assert set(answered) <= _kept(shop)
    process = _start(shop, port)
    try:
        assert [_post(port, number) for number in range(CLIENTS)] == [202] * CLIENTS
    finally:
        process.kill()
        process.wait()
    assert _kept(shop) == set(range(CLIENTS))
    state = consent_state(open_ledger(shop), date.max).to_pylist()
    assert {row["client_ref"] for row in state if row["status"] == "withdrawn"} == {f"c{n}" for n in range(CLIENTS)}
