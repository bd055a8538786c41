"""The rules about DAGs (house.md, 3), each with a message that says what to do."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DAG_FILES = sorted((REPOSITORY / "dags").glob("*.py"))
EXPECTED = {
    "fetch_sources",
    "ingest_sales",
    "ingest_crm",
    "build_warehouse",
    "train_models",
    "score_clients",
    "plan_campaigns",
    "export_lists",
    "approve_lists",
    "pull_feedback",
    "watch_sources",
    "rerun_day",
}
HEADINGS = ["What", "When", "Reads", "Writes", "Parameters", "If it fails", "Idempotent because"]
HEAVY = ["pandas", "duckdb", "sklearn", "dbt", "great_expectations", "pyarrow"]


def test_every_expected_dag_is_read_and_no_other(dagbag):
    assert not dagbag.import_errors, f"mend these DAG files: {dagbag.import_errors}"
    assert set(dagbag.dags) == EXPECTED, (
        "a DAG came or went: change EXPECTED here, the README's table and demo.watch.CHAIN"
    )


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_a_dag_file_is_named_like_its_dag_and_short(path, dagbag):
    assert path.stem in dagbag.dags, f"name the file like its DAG id: {path.name}"
    lines = len(path.read_text().splitlines())
    assert lines <= 120, f"{path.name} has {lines} lines: move the work to orchestration/ or pipeline/"


def test_the_median_dag_file_has_at_most_70_lines():
    assert statistics.median(len(path.read_text().splitlines()) for path in DAG_FILES) <= 70


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_a_dag_has_owner_retries_time_out_tags_and_documented_headings(dagbag, dag_id):
    from perennial.orchestration.defaults import TAGS

    dag = dagbag.dags[dag_id]
    headings = re.findall(r"^## (.+)$", dag.doc_md or "", flags=re.MULTILINE)
    assert headings == HEADINGS, f"{dag_id}: write the headings {HEADINGS}, in this order, into the file's docstring"
    assert dag.tags, f"{dag_id}: give it a tag of orchestration.defaults.TAGS"
    assert set(dag.tags) <= set(TAGS), f"{dag_id}: tags are {TAGS}"
    assert dag.max_active_runs == 1, f"{dag_id}: use defaults.dag_options"
    for task in dag.tasks:
        assert task.owner == "perennial", f"{dag_id}.{task.task_id}: use defaults.dag_options"
        assert task.retries >= 1, f"{dag_id}.{task.task_id}: use defaults.dag_options"
        assert task.execution_timeout is not None, f"{dag_id}.{task.task_id}: use defaults.dag_options"
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", task.task_id), f"{dag_id}.{task.task_id}: name it verb_object"


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_a_dag_file_imports_only_airflow_sdk_and_our_orchestration(path):
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            allowed = name.startswith(("airflow.sdk", "perennial.orchestration", "typing", "datetime", "__future__"))
            assert allowed, f"{path.name} imports {name}: a DAG file says what runs when, the work lives in plugins/"


def test_writers_of_the_warehouse_share_the_pool_of_one_slot(dagbag):
    from perennial.orchestration.defaults import WAREHOUSE_POOL

    writers = [
        ("build_warehouse", "build_models"),
        ("build_warehouse", "publish_marts"),
        ("train_models", "train_models"),
        ("score_clients", "score_clients"),
        ("plan_campaigns", "plan_day"),
        ("rerun_day", "rerun_steps"),
    ]
    for dag_id, task_id in writers:
        assert dagbag.dags[dag_id].get_task(task_id).pool == WAREHOUSE_POOL, (
            f"{dag_id}.{task_id} writes: give it the pool"
        )


def test_dags_hand_over_by_assets_of_the_declared_names_and_uris(dagbag):
    from airflow.sdk import Asset

    from perennial.orchestration import assets

    declared = {a.name: a.uri for a in vars(assets).values() if isinstance(a, Asset)}
    declared |= {a.name: a.uri for a in assets.MARTS.values()}
    for name, uri in declared.items():
        layer, _, entity = name.partition(".")
        assert uri == f"x-perennial://{layer}/{entity}"
    for dag in dagbag.dags.values():
        for task in dag.tasks:
            for outlet in task.outlets:
                assert declared.get(outlet.name) == outlet.uri, f"declare {outlet.name} in orchestration/assets.py"


def test_the_chain_runs_from_landing_to_lists(dagbag):
    """Follow the assets: from each landing asset the lists are reached."""
    from airflow.serialization.serialized_objects import DagSerialization

    wakes: dict[str, set[str]] = {}
    for dag in dagbag.dags.values():
        text = str(DagSerialization.to_dict(dag)["dag"]["timetable"])
        for asset in set(re.findall(r"x-perennial://[a-z_]+/[a-z_]+", text)):
            wakes.setdefault(asset, set()).add(dag.dag_id)
    writes = {dag.dag_id: {o.uri for task in dag.tasks for o in task.outlets} for dag in dagbag.dags.values()}
    for start in ("x-perennial://landing/sales", "x-perennial://landing/crm"):
        reached, todo = set(), [start]
        while todo:
            for dag_id in wakes.get(todo.pop(), set()) - reached:
                reached.add(dag_id)
                todo += writes[dag_id]
        assert {"build_warehouse", "train_models", "score_clients", "plan_campaigns", "export_lists"} <= reached


def test_the_demo_watches_every_dag_of_the_chain():
    from perennial.demo.watch import BESIDE, CHAIN, POOL
    from perennial.orchestration.defaults import WAREHOUSE_POOL

    assert {*CHAIN, *BESIDE} == EXPECTED - {"rerun_day"}
    assert POOL == WAREHOUSE_POOL


def test_parsing_the_dags_imports_nothing_heavy():
    code = (
        "import sys, runpy\n"
        f"for path in {[str(path) for path in DAG_FILES]!r}:\n"
        "    runpy.run_path(path)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_environment())
    assert done.stdout.strip().splitlines()[-1] == "[]", "import it inside the task body"


def test_exactly_one_plugin_loads_and_the_standard_library_is_intact():
    code = (
        "import sys\n"
        "from airflow import plugins_manager\n"
        "plugins, errors = plugins_manager._get_plugins()\n"
        "print([p.name for p in plugins if 'perennial' in str(p.name).lower()], errors)\n"
        "import csv, email, secrets, types\n"
        "print(all('plugins' not in (m.__file__ or '') for m in (csv, email, secrets, types)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=_environment())
    assert done.returncode == 0, done.stderr
    names, intact = done.stdout.strip().splitlines()[-2:]
    assert names == "['perennial'] {}", names
    assert intact == "True"


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "plugins")}


@pytest.mark.parametrize("dag_id", sorted(EXPECTED))
def test_no_task_takes_an_argument_by_a_name_that_airflow_keeps_for_itself(dagbag, dag_id):
    import inspect

    from airflow.sdk.definitions.context import KNOWN_CONTEXT_KEYS

    for task in dagbag.dags[dag_id].tasks:
        called = getattr(task, "python_callable", None)  # classic operators and mapped ones have none of their own
        if called is None:
            continue
        parameters = inspect.signature(called).parameters.values()
        handed = {p.name for p in parameters if p.default is inspect.Parameter.empty}
        taken = handed & {*KNOWN_CONTEXT_KEYS, "run_id", "dag", "task", "ds", "ts"}
        assert not taken, f"{dag_id}.{task.task_id}: rename the argument {taken}"


def test_the_task_that_builds_has_a_button_that_leads_to_its_report(dagbag):
    from types import SimpleNamespace

    from airflow.serialization.serialized_objects import DagSerialization

    from perennial.orchestration.build_links import BuildReport

    served = DagSerialization.deserialize_dag(DagSerialization.serialize_dag(dagbag.dags["build_warehouse"]))
    assert list(served.get_task("build_models").operator_extra_link_dict) == ["Build report"]
    assert not served.get_task("publish_marts").operator_extra_link_dict
    of_run, of_none = (SimpleNamespace(op_args=given) for given in (("2017-10-01.r1",), ()))
    assert BuildReport().get_link(of_run, ti_key=None).endswith("/perennial/builds/2017-10-01.r1")
    assert BuildReport().get_link(of_none, ti_key=None).endswith("/perennial/builds")


def test_every_published_mart_is_an_asset():
    from perennial.orchestration.assets import MART_NAMES

    marts = {path.stem for path in (REPOSITORY / "dbt_project/models/marts").rglob("*.sql")}
    assert set(MART_NAMES) == marts - {"client_labels"}, "declare the mart in orchestration/assets.py"
