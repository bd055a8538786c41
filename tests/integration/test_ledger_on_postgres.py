"""The ledger on PostgreSQL: its own tests once more, many writers at once, a server that restarts, processes that fork."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from factories.databases import running_postgres
from perennial.core.errors import PerennialError, RetryableError
from perennial.core.settings import load_settings
from perennial.ledger import locks, runs
from perennial.ledger.engine import HEAD_REVISION, open_ledger
from perennial.ledger.tables import METADATA

pytestmark = pytest.mark.integration

TESTS = Path(__file__).resolve().parents[1]
OF_THE_LEDGER = (
    "unit/ledger",
    "unit/delivery/test_locks.py",
    "unit/delivery/test_ledger_deliveries.py",
    "unit/warehouse/test_ledger_export.py",
)
THROUGH_IT = ("unit/delivery",)
WITHOUT_CHILDREN = "not kill and not crash"  # processes that they start know nothing of the plugin
WRITERS = 6
DAY = date(2017, 10, 1)


@pytest.fixture
def url(postgres):
    """A new, empty database."""
    return postgres.uri(postgres.create())


def _ledger(url):
    return open_ledger(load_settings({"PERENNIAL_LEDGER_URL": url}))


def _run_tests(server, names):
    """These tests in a process of their own, each home's ledger a database of this server."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "factories.ledger_on_postgres"]
        + ["-m", "not slow and not bench", "-k", WITHOUT_CHILDREN]
        + [str(TESTS / name) for name in names],
        env={**os.environ, "LEDGER_SERVER": server.uri("{name}")},
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-6000:]
    assert " passed" in done.stdout


def test_the_ledgers_own_tests_hold_on_postgresql(postgres):
    _run_tests(postgres, OF_THE_LEDGER)


@pytest.mark.slow
def test_L12_deliveries_through_the_ledger_hold_on_postgresql():
    with running_postgres() as server:
        _run_tests(server, THROUGH_IT)


def _at_once(function, *arguments):
    """The results of the function in several processes that start together, each with its number."""
    context = multiprocessing.get_context("fork")
    gate, results = context.Barrier(WRITERS), context.Queue()

    def work(number):
        gate.wait()
        try:
            results.put(function(*arguments, number))
        except (sa.exc.SQLAlchemyError, PerennialError) as error:
            results.put(error)

    processes = [context.Process(target=work, args=(number,)) for number in range(WRITERS)]
    for process in processes:
        process.start()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    return found


def test_processes_that_open_a_new_ledger_at_once_make_it_once(url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    assert _at_once(lambda number: _ledger(url).dialect.name) == ["postgresql"] * WRITERS
    with _ledger(url).connect() as connection:
        assert connection.execute(sa.text("select version_num from alembic_version")).scalars().all() == [HEAD_REVISION]
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_L2_processes_that_open_runs_of_a_day_at_once_get_revisions_without_a_gap_and_none_twice(url):
    _ledger(url)

    def open_runs(number):
        return [runs.open_run(_ledger(url), DAY, (f"{number}.{i}",), "config").run_id for i in range(5)]

    found = _at_once(open_runs)
    assert all(isinstance(one, list) for one in found), found
    assert sorted(run for one in found for run in one) == sorted(f"{DAY}.r{n}" for n in range(1, 5 * WRITERS + 1))


def test_L16_of_processes_that_want_a_lock_at_once_one_has_it_and_the_others_are_told(url):
    engine = _ledger(url)

    def take(number):
        try:
            locks._acquire(locks.Lock(_ledger(url), "list", f"elsewhere:{number}:0:x", 600))
        except RetryableError:
            return "busy"
        return "mine"

    assert sorted(_at_once(take)) == ["busy"] * (WRITERS - 1) + ["mine"]
    with engine.connect() as connection:
        assert connection.execute(sa.text("select count(*) from locks")).scalar() == 1


def test_a_server_that_was_restarted_is_met_by_the_next_transaction_as_if_nothing_had_been():
    with running_postgres() as server:
        engine = _ledger(server.uri(server.create()))
        first = runs.open_run(engine, DAY, ("a",), "config")
        server.stop()
        server.start()
        assert runs.get_run(engine, first.run_id) == first


def test_a_forked_child_speaks_on_a_connection_of_its_own_and_leaves_its_parents_alone(url):
    engine = _ledger(url)
    mine = sa.text("select pg_backend_pid()")
    with engine.connect() as connection:
        before = connection.execute(mine).scalar()

    def session(number):
        with engine.connect() as connection:
            return connection.execute(mine).scalar()

    theirs = _at_once(session)
    assert before not in theirs
    with engine.connect() as connection:
        assert connection.execute(mine).scalar() == before
