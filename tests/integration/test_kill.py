"""SIGKILL anywhere, then the same command again: the same tables and lists (L1, L2, L12)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import pytest

from factories.small_shop import UNTIL, land_small_shop
from integration.running import environment, perennial, perennial_json, tree

SEEDS = [11, 12, 13]
TABLES = ["fct_orders", "fct_order_lines", "client_metrics", "client_scores", "campaign_outcomes"]


def _killed_after(home, seconds: float) -> bool:
    """Start a run and kill its whole process group after so many seconds; whether it was still running."""
    process = subprocess.Popen(
        [sys.executable, "-m", "perennial", "run"],
        env=environment(home),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def _counts(home):
    query = " union all ".join(
        f"select '{table}' as name, count(*) as n, sum(hash(t)) as h from {table} t" for table in TABLES
    )
    return {row["name"]: (row["n"], str(row["h"])) for row in perennial_json(home, "sql", query)}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The same day without a fault: its lists, its tables, and how long it takes on this machine."""
    home = tmp_path_factory.mktemp("undisturbed")
    land_small_shop(home / "landing")
    started = time.monotonic()
    perennial(home, "run")
    return tree(home / "outbox"), _counts(home), time.monotonic() - started


def _kill_three_times_then_finish(home, seed, typical_seconds):
    land_small_shop(home / "landing")
    chance = random.Random(seed)
    kills = sum(_killed_after(home, chance.uniform(0.5, typical_seconds)) for _ in range(3))
    perennial(home, "run")
    return kills


@pytest.mark.parametrize("seed", SEEDS)
def test_L1_L2_a_day_killed_at_seeded_moments_and_run_again_ends_the_same(tmp_path, undisturbed, seed):
    lists, tables, typical_seconds = undisturbed
    assert _kill_three_times_then_finish(tmp_path, seed, typical_seconds) >= 1
    assert tree(tmp_path / "outbox") == lists
    assert _counts(tmp_path) == tables
    (sums,) = perennial_json(
        tmp_path, "sql", "select sum(landed) as a, sum(loaded + quarantined + duplicate) as b from ledger_batches"
    )
    assert sums["a"] == sums["b"]
    assert (tmp_path / "outbox" / str(UNTIL)).is_dir()
