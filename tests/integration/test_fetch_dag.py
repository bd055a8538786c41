"""The DAG that asks outside systems, run as Airflow runs it (`dag.test()`), against an SFTP server of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from factories.remote_home import CONNECTION, RemoteHome, content
from factories.remote_places import sftp_server
from integration.running import REPOSITORY

pytestmark = pytest.mark.integration

OLD = 1_500_000_000


@pytest.fixture
def home(tmp_path, airflow_db, monkeypatch):
    with sftp_server(tmp_path / "far") as server:
        folder = server.folder / "inbox"
        folder.mkdir(parents=True)
        made = RemoteHome(
            tmp_path,
            "sftp://127.0.0.1/inbox",
            id=CONNECTION,
            entities={"more": {"path": "partner/more_*.csv", "remote": {"glob": "more_*.csv"}}},
        )
        monkeypatch.setenv("PERENNIAL_HOME", str(made.home))
        monkeypatch.setenv("PERENNIAL_CONFIG", str(made.settings.config_dir))
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONNECTION.upper()}", server.connection())
        made.folder = folder
        yield made


def _put(home: RemoteHome, name: str, text: str) -> None:
    (home.folder / name).write_text(text)
    os.utime(home.folder / name, (OLD, OLD))


def _tasks(run) -> dict[str, tuple[int, str, str | None]]:
    return {ti.task_id: (ti.map_index, ti.state, ti.rendered_map_index) for ti in run.get_task_instances()}


def test_a_person_runs_it_and_every_source_is_a_task_of_its_name(home, dagbag):
    _put(home, "sales_1.csv", content(1))
    _put(home, "more_1.csv", content(2))
    run = dagbag.dags["fetch_sources"].test()
    assert _tasks(run) == {"list_due": (-1, "success", None), "fetch_source": (0, "success", "partner")}
    assert sorted(home.landed().values()) == sorted([content(1).encode(), content(2).encode()])


def test_a_source_that_cannot_be_asked_is_red_and_says_why(home, dagbag, monkeypatch):
    monkeypatch.delenv(f"AIRFLOW_CONN_{CONNECTION.upper()}")
    run = dagbag.dags["fetch_sources"].test(run_conf={"source": "partner"})
    assert _tasks(run)["fetch_source"][1] == "failed"


def test_the_dag_is_woken_by_a_trigger_as_soon_as_a_source_is_asked(home):
    code = (
        "import runpy\n"
        "from airflow.serialization.serialized_objects import DagSerialization\n"
        f"dag = runpy.run_path({str(REPOSITORY / 'dags/fetch_sources.py')!r})['fetch_sources']()\n"
        "print('orchestration.fetch_trigger.FetchTrigger' in str(DagSerialization.to_dict(dag)))\n"
    )
    environ = {**os.environ, "PYTHONPATH": str(REPOSITORY / "plugins")}
    done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "True"
