"""Webhooks against the real app under uvicorn: thousands of events, killed in the middle, each in raw exactly once."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from factories.event_shop import (
    age_spool,
    complaint,
    free_port,
    hook_environment,
    loaded_orders,
    order,
    signed,
    write_config,
)
from integration.running import REPOSITORY, environment

pytestmark = pytest.mark.integration

SEEDS = [11, 12, 13]
EVENTS = 700
SENDERS = 6
WAIT_SECONDS = 60


@dataclass
class Server:
    """The app in a process that is killed and started again on the same port."""

    home: Path
    config: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        env = environment(self.home, PERENNIAL_CONFIG=str(self.config), **hook_environment())
        program = REPOSITORY / "tests/factories/hooks_server.py"
        self.process = subprocess.Popen([sys.executable, str(program), str(self.port)], env=env)
        until = time.monotonic() + WAIT_SECONDS
        while not self._answers():
            assert self.process.poll() is None, "the server ended"
            assert time.monotonic() < until, "the server does not answer"

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
        except OSError:
            return False

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
        self.process = None


@pytest.fixture
def server(tmp_path):
    """A running server of the event shop."""
    running = Server(tmp_path / "home", write_config(tmp_path / "config", wakes_within_seconds=1))
    running.start()
    yield running
    running.kill()


class Sender:
    """Posts events over a kept connection until each is acknowledged, as a shop does; knows which were."""

    def __init__(self, server: Server, *, kill_at: int) -> None:
        self.server = server
        self.kill_at = kill_at
        self.reached = threading.Event()
        self.acknowledged: set[int] = set()
        self._local = threading.local()
        self._lock = threading.Lock()

    def send(self, number: int) -> None:
        """Post the order until it is answered with 202."""
        body, headers = signed(order(number))
        until = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < until:
            if self._post(body, headers) == 202:
                with self._lock:
                    self.acknowledged.add(number)
                    if len(self.acknowledged) == self.kill_at:
                        self.reached.set()
                return
        pytest.fail(f"order {number} was never acknowledged")

    def _post(self, body: bytes, headers: dict[str, str]) -> int:
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.request("POST", "/web/orders", body, headers)
            answer = connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._local.connection = None
            return 0
        return answer.status


@pytest.mark.parametrize("seed", SEEDS)
def test_L1_killed_while_events_come_every_acknowledged_one_is_in_raw_exactly_once(server, monkeypatch, seed):
    chance = random.Random(seed)
    sender = Sender(server, kill_at=chance.randrange(50, EVENTS - 50))
    with ThreadPoolExecutor(SENDERS) as pool:
        waiting = [pool.submit(sender.send, number) for number in range(EVENTS)]
        assert sender.reached.wait(WAIT_SECONDS)
        server.kill()
        server.start()
        for one in waiting:
            one.result()
    assert sender.acknowledged == set(range(EVENTS))
    server.kill()
    rows, reports = _ingested(server, monkeypatch)
    assert rows == sorted(f"o{number}" for number in range(EVENTS))
    assert sum(report.landed for report in reports) == sum(
        report.loaded + report.quarantined + report.duplicate for report in reports
    )
    assert not any(report.quarantined for report in reports), "a torn line was landed"


def _ingested(server, monkeypatch):
    """Everything that was gathered, through the ingestion: order keys in raw, and the batches."""
    from perennial.core.settings import load_settings
    from perennial.pipeline.ingest import ingest

    monkeypatch.setenv("PERENNIAL_HOME", str(server.home))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(server.config))
    settings = load_settings()
    age_spool(settings.landing, 60)
    reports = ingest(settings)  # it takes what is due, whose writer was killed
    return loaded_orders(settings), reports


def test_an_order_and_a_complaint_wake_their_ingestion_within_a_minute_and_no_other(server, monkeypatch):
    from perennial.orchestration.triggers import LandingTrigger

    monkeypatch.setenv("PERENNIAL_HOME", str(server.home))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(server.config))

    async def play():
        sales = LandingTrigger(dag="ingest_sales", poll_seconds=0.05).run()
        crm = LandingTrigger(dag="ingest_crm", poll_seconds=0.05).run()
        waiting, idle = asyncio.ensure_future(anext(sales)), asyncio.ensure_future(anext(crm))
        await asyncio.to_thread(_post_both, server)
        names = (await asyncio.wait_for(waiting, WAIT_SECONDS)).payload["names"]
        while len(names) < 2:  # the second came a moment later: it is told with the first, which still lies there
            names = (await asyncio.wait_for(anext(sales), WAIT_SECONDS)).payload["names"]
        slept = not idle.done()
        idle.cancel()
        return names, slept

    names, slept = asyncio.run(play())
    assert sorted(name.split("_")[0] for name in names) == ["web/complaints", "web/orders"]
    assert slept, "the DAG that has nothing to do with it was woken"


def _post_both(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    for path, event in (("/web/orders", order(1)), ("/web/complaints", complaint(1))):
        body, headers = signed(event)
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        assert answer.status == 202, answer.read()
        assert json.loads(answer.read()) == {"rows": 1}
