"""What the documents list by hand agrees with the tree (house.md, 6)."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
README = (REPOSITORY / "README.md").read_text()
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]


def _table(heading: str) -> list[list[str]]:
    section = README.split(f"## {heading}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def _names(cell: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", cell))


def test_the_readmes_table_of_dags_says_what_wakes_each_and_what_it_writes(dagbag):
    from airflow.serialization.serialized_objects import DagSerialization

    told = {_names(dag).pop(): (_names(wakes), _names(writes)) for dag, wakes, writes in _table("The DAGs")}
    assert set(told) == set(dagbag.dags), "add or remove the DAG's row in the README"
    for dag_id, dag in dagbag.dags.items():
        timetable = str(DagSerialization.to_dict(dag)["dag"]["timetable"])
        wakes = {uri.replace("/", ".") for uri in re.findall(r"x-perennial://([a-z_]+/[a-z_]+)", timetable)}
        outlets = {outlet.name for task in dag.tasks for outlet in task.outlets}
        writes = {"marts.*" if name.startswith("marts.") else name for name in outlets}
        assert told[dag_id] == (wakes, writes), f"the README's row of {dag_id} is not what the DAG does"


def test_the_map_of_the_tree_names_every_room_and_nothing_that_is_not_there():
    told = {name.rstrip("/") for where, _what in _table("The map of the tree") for name in _names(where)}
    for name in told:
        assert (REPOSITORY / name).is_dir(), f"the README names {name}, which is not there"
    package = REPOSITORY / "plugins/perennial"
    rooms = {f"plugins/perennial/{path.name}" for path in package.iterdir() if (path / "__init__.py").exists()}
    assert rooms <= told, f"the README's map lacks {sorted(rooms - told)}"


def test_every_link_between_documents_leads_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text()):
            assert (document.parent / target).exists(), f"{document.name} links to {target}, which is not there"


def test_every_command_that_the_documents_name_exists():
    from perennial.cli import COMMANDS

    for document in DOCUMENTS:
        for command in re.findall(r"\./perennial ([a-z]+)", document.read_text()):
            assert command in COMMANDS, f"{document.name} names ./perennial {command}"


def test_the_first_page_of_the_dbt_docs_names_tables_that_are_published():
    text = (REPOSITORY / "dbt_project/models/overview.md").read_text()
    marts = {path.stem for path in (REPOSITORY / "dbt_project/models/marts").rglob("*.sql")}
    told = set(re.findall(r"`((?:dim|fct|client|kpi|category|cohort|concentration)[a-z_]*)`", text))
    assert len(told) > 15
    assert told <= marts, f"overview.md names {sorted(told - marts)}"


def test_the_tree_names_no_machine_no_registry_and_no_secret():
    import subprocess

    files = subprocess.run(
        ["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    patterns = [
        r"files\.pythonhosted\.org",
        r"pypi\.org/simple",
        r"registry\.npmjs",
        r"deb\.debian",
        r"BEGIN [A-Z ]*PRIVATE KEY",
    ]
    for name in files:
        path = REPOSITORY / name
        if path.suffix in {".png", ".parquet"} or path == Path(__file__).resolve():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        for pattern in patterns:
            assert not re.search(pattern, text), f"{name} holds {pattern}"
