"""The demo as a person runs it: real Airflow, event by event, to lists; killed with SIGKILL and started again."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from datetime import timedelta

import psutil
import pytest

from factories.small_shop import UNTIL, land_small_shop
from integration.running import REPOSITORY, environment, perennial, perennial_json, tree

pytestmark = pytest.mark.integration

CHAIN = [
    "build_warehouse / build_models: success",
    "build_warehouse / publish_marts: success",
    "train_models / train_models: success",
    "score_clients / score_clients: success",
    "plan_campaigns / plan_day: success",
    "export_lists / close_day: success",
]
KILL_SEEDS = [21, 22, 23]
KILL_WITHIN_SECONDS = (12.0, 60.0)
DAY = str(UNTIL)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    """The small shop's files, as a person would have them in a folder."""
    folder = tmp_path_factory.mktemp("files")
    land_small_shop(folder)
    return folder


@pytest.fixture(scope="module")
def demo_home(small_files, tmp_path_factory):
    """A home after `perennial demo --exit --data DIR`, and what it said."""
    home = tmp_path_factory.mktemp("demo")
    return home, perennial(home, "demo", "--exit", "--data", str(small_files)).stdout


def _processes(home):
    """Every process of the demo: those that carry its mark, and those of its session that renamed themselves."""
    mark = ("PERENNIAL_DEMO_HOME", str(home))
    recorded = home / "airflow/session.json"
    session = json.loads(recorded.read_text())["session"] if recorded.exists() else None
    found = []
    for process in psutil.process_iter():
        try:
            if mark in process.environ().items() or os.getsid(process.pid) == session:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def _lists_of(home, day=DAY):
    return {name: digest for name, digest in tree(home / "outbox").items() if name.startswith(day)}


def test_the_chain_is_told_task_by_task_and_in_order(demo_home):
    _home, said = demo_home
    places = [said.index(step) for step in CHAIN]
    assert places == sorted(places)
    assert re.search(r"event landing\.sales: \d+ files have landed", said)
    assert re.search(r"event raw\.sales: 2017-10-01, [\d,]+ loaded", said)


def test_it_ends_with_a_table_of_campaigns_the_paths_of_lists_and_how_to_sign_in(demo_home):
    home, said = demo_home
    assert re.search(r"campaign +candidates +refused +control +target +value", said)
    assert "newsletter__email" in said
    assert "http://127.0.0.1:" in said
    assert "user admin" in said
    password = (home / "airflow/passwords.json").read_text().split('"')[3]
    assert password not in said, "a password is shown on a terminal only (L22)"
    assert (home / "airflow/passwords.json").stat().st_mode & 0o777 == 0o600


def test_L2_airflow_and_the_command_line_give_the_same_lists_byte_for_byte(demo_home, small_home):
    home, _said = demo_home
    assert _lists_of(home) == _lists_of(small_home.path) != {}


def test_the_day_was_built_once_though_two_sources_landed(demo_home):
    home, _said = demo_home
    with sqlite3.connect(home / "airflow/airflow.db") as connection:
        states = connection.execute(
            "select dag_id, task_id, state, count(*) from task_instance group by 1, 2, 3"
        ).fetchall()
    success = {(dag, task): n for dag, task, state, n in states if state == "success"}
    assert success["build_warehouse", "build_models"] == 1
    assert success["export_lists", "push_lists"] == 1
    assert not [row for row in states if row[2] in {"failed", "upstream_failed"}]


def test_events_carry_the_business_date_the_run_and_row_counts(demo_home):
    home, _said = demo_home
    with sqlite3.connect(home / "airflow/airflow.db") as connection:
        events = connection.execute(
            "select a.name, e.extra from asset_event e join asset a on a.id = e.asset_id"
        ).fetchall()
    extras = {name: json.loads(extra) for name, extra in events}
    for name in (
        "raw.sales",
        "marts.client_metrics",
        "scores.client_scores",
        "targeting.campaign_outcomes",
        "outbox.lists",
    ):
        assert extras[name]["as_of"] == DAY, name
    assert extras["marts.client_metrics"]["run_id"] == f"{DAY}.r1"
    assert extras["marts.client_metrics"]["rows"] > 0
    assert "seconds" in extras["marts.client_metrics"]


def test_L22_no_address_is_in_a_log_an_event_or_an_xcom(demo_home):
    home, said = demo_home
    assert "@example.com" not in said
    for path in [*(home / "airflow/logs").rglob("*.log"), *(home / "logs").rglob("*.log"), home / "airflow/airflow.db"]:
        assert b"@example.com" not in path.read_bytes(), path


def test_nothing_is_left_running(demo_home):
    home, _said = demo_home
    assert not _processes(home)


def test_the_demo_run_again_changes_nothing(demo_home, small_files, tmp_path):
    home = tmp_path / "home"
    shutil.copytree(demo_home[0], home, symlinks=True)
    shutil.rmtree(home / "airflow")  # its database holds the paths of the folder that was copied
    before = tree(home / "outbox")
    perennial(home, "demo", "--exit", "--data", str(small_files))
    assert tree(home / "outbox") == before


def _killed(home, files, seed):
    """Start the demo and SIGKILL it at a seeded moment: the command alone, or every process at once."""
    chance = random.Random(seed)
    process = subprocess.Popen(
        [sys.executable, "-m", "perennial", "demo", "--exit", "--data", str(files)],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout=chance.uniform(*KILL_WITHIN_SECONDS))
    except subprocess.TimeoutExpired:
        victims = [psutil.Process(process.pid)] + (_processes(home) if seed % 2 else [])
        for victim in victims:
            try:
                os.kill(victim.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()
        return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("seed", KILL_SEEDS)
def test_L2_a_demo_killed_anywhere_and_started_again_ends_in_the_same_lists(small_files, small_home, tmp_path, seed):
    assert _killed(tmp_path, small_files, seed)
    perennial(tmp_path, "demo", "--exit", "--data", str(small_files))
    assert _lists_of(tmp_path) == _lists_of(small_home.path)
    assert not _processes(tmp_path)


@pytest.mark.slow
def test_the_real_demo_shop_by_airflow_gives_the_lists_of_the_command_line(real_home, tmp_path):
    said = perennial(tmp_path, "demo", "--exit").stdout
    more = str(UNTIL + timedelta(days=1))
    assert "1,160,889 loaded" in said
    assert "One more day: 6 files landed" in said
    assert _lists_of(tmp_path) == _lists_of(real_home.path) != {}
    assert _lists_of(tmp_path, more) == _lists_of(real_home.path, more) != {}


@pytest.mark.slow
def test_the_one_more_day_of_the_real_shop_touches_that_day_alone(real_home):
    first, second = (
        perennial_json(
            real_home.path, "sql", f"select source_entity, landed from ledger_batches where as_of = date '{day}'"
        )
        for day in real_home.days
    )
    assert {row["source_entity"]: row["landed"] for row in first}["sales"] == 1_101_174
    assert {row["source_entity"]: row["landed"] for row in second}["sales"] == 4_080
    (lines,) = perennial_json(real_home.path, "sql", "select count(*) as n from fct_order_lines")
    assert lines["n"] == 1_101_174 + 4_080
    parts = list((real_home.path / "warehouse/parts/fct_order_lines").iterdir())
    assert len(parts) == 11, "ten months, and October once more"


@pytest.mark.slow
def test_every_shipped_card_picks_somebody_of_the_real_shop_within_the_demos_two_days(real_home):
    rows = perennial_json(
        real_home.path,
        "sql",
        "select campaign_id, count(*) filter (rule = 'allocated') as picked from campaign_outcomes group by campaign_id",
    )
    cards = {path.stem for path in (REPOSITORY / "config/campaigns").glob("*.yml")}
    assert {row["campaign_id"] for row in rows if row["picked"]} == cards
    assert len(cards) >= 15
