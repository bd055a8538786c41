"""Each DAG by itself, as a person triggers it in the UI: on a day that is done, in any order (`dag.test()`)."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest

from factories.small_shop import UNTIL
from integration.running import perennial_json, tree

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def home(small_home, tmp_path_factory, airflow_db):
    """A copy of the small shop's home, which the tasks see."""
    folder = tmp_path_factory.mktemp("alone") / "home"
    shutil.copytree(small_home.path, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_HOME", str(folder))
        _make_pool()
        yield folder


def _make_pool():
    from airflow.models.pool import Pool

    from perennial.orchestration.defaults import WAREHOUSE_POOL

    Pool.create_or_update_pool(WAREHOUSE_POOL, slots=1, description="one writer", include_deferred=False)


def _states(run):
    return {ti.task_id: ti.state for ti in run.get_task_instances()}


@pytest.mark.parametrize("dag_id", ["train_models", "score_clients", "plan_campaigns", "export_lists"])
def test_a_dag_that_is_triggered_alone_repeats_its_step_and_changes_no_list(home, dagbag, dag_id):
    before = tree(home / "outbox")
    run = dagbag.dags[dag_id].test()
    assert set(_states(run).values()) == {"success"}
    assert tree(home / "outbox") == before


def test_build_warehouse_leaves_a_day_that_is_done_unless_it_is_forced(home, dagbag):
    dag = dagbag.dags["build_warehouse"]
    assert _states(dag.test())["open_day"] == "skipped"
    forced = dag.test(run_conf={"force": True})
    assert set(_states(forced).values()) == {"success"}


def test_ingestion_with_nothing_landed_is_skipped_without_an_event(home, dagbag):
    run = dagbag.dags["ingest_crm"].test()
    assert _states(run) == {"ingest_batches": "skipped"}


def test_an_ingestion_in_which_every_file_is_refused_is_red(home, dagbag):
    broken = home / "landing/crm/households_2017-10-03.csv"
    broken.parent.mkdir(parents=True, exist_ok=True)
    broken.write_bytes(b"")
    import os

    os.utime(broken, (1_500_000_000, 1_500_000_000))
    run = dagbag.dags["ingest_crm"].test()
    assert _states(run) == {"ingest_batches": "failed"}
    assert (home / "refused/crm/households_2017-10-03.csv.reason.txt").exists()


def test_L2_rerun_day_computes_a_past_day_and_pushes_nothing(home, dagbag):
    before = tree(home / "outbox")
    moment = datetime(UNTIL.year, UNTIL.month, UNTIL.day, tzinfo=UTC)
    run = dagbag.dags["rerun_day"].test(logical_date=moment)
    assert _states(run) == {"rerun_steps": "success"}
    assert tree(home / "outbox") == before
    assert perennial_json(home, "lists", "--as-of", str(UNTIL))["as_of"] == str(UNTIL)
