"""What all tests share: a home of their own, an Airflow of their own, and no socket in unit tests."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
import pytest_socket
from _pytest.nodeid import NodeId

REPOSITORY = Path(__file__).resolve().parents[1]

# Airflow reads its settings when it is imported: they are set before any test module is.
_AIRFLOW_HOME = tempfile.mkdtemp(prefix="perennial-airflow-")
os.environ.update(
    AIRFLOW_HOME=_AIRFLOW_HOME,
    AIRFLOW__CORE__LOAD_EXAMPLES="False",
    AIRFLOW__CORE__DAGS_FOLDER=str(REPOSITORY / "dags"),
    AIRFLOW__CORE__PLUGINS_FOLDER=str(REPOSITORY / "plugins"),
    AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=f"sqlite:///{_AIRFLOW_HOME}/airflow.db",
    AIRFLOW__LOGGING__BASE_LOG_FOLDER=f"{_AIRFLOW_HOME}/logs",
    AIRFLOW__USAGE_DATA_COLLECTION__ENABLED="False",
    DO_NOT_TRACK="1",
)
for _name in ("PERENNIAL_HOME", "PERENNIAL_CONFIG", "PERENNIAL_LEDGER_URL", "PERENNIAL_CLOCK"):
    os.environ.pop(_name, None)


# Fixtures of a session that take long to make, and folders with such fixtures: the tests that share one stay in one
# process when there are several.
_DEAR_FIXTURES = ("real_home", "small_home", "built_shop", "dagbag", "airflow_db")
_DEAR_FOLDERS = ("unit/scoring", "unit/demo", "dbt")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Say which tests belong into one process (pytest-xdist, --dist loadgroup): a file, or files that share much."""
    groups: dict[Path, str] = {}
    for item in items:
        shared = [name for name in _DEAR_FIXTURES if name in getattr(item, "fixturenames", ())]
        if shared:
            groups.setdefault(item.path, shared[0])
    for item in items:
        group = _dear_folder(item.path) or groups.get(item.path) or item.path.relative_to(REPOSITORY).as_posix()
        item.add_marker(pytest.mark.xdist_group(group))
        if hasattr(config, "workerinput"):
            # pytest-xdist 3.8 tells the group by a suffix of `_nodeid`, which pytest 9.2 no longer reads.
            item._id = NodeId.parse(f"{item.nodeid}@{group}")


def _dear_folder(path: Path) -> str | None:
    tests = REPOSITORY / "tests"
    return next((folder for folder in _DEAR_FOLDERS if path.is_relative_to(tests / folder)), None)


@pytest.fixture(autouse=True)
def _no_socket_in_unit_tests(request: pytest.FixtureRequest):
    """Unit tests talk to nobody (an event loop's own Unix socket is let through)."""
    if Path(str(request.node.path)).relative_to(REPOSITORY / "tests").parts[0] != "unit":
        yield
        return
    pytest_socket.disable_socket(allow_unix_socket=True)
    yield
    pytest_socket.enable_socket()


@pytest.fixture(scope="session")
def dagbag():
    """The DAGs as Airflow reads them."""
    from airflow.dag_processing.dagbag import DagBag

    return DagBag(dag_folder=str(REPOSITORY / "dags"))


@pytest.fixture(scope="session")
def airflow_db():
    """A migrated metadata database, for the few tests that run a DAG."""
    from airflow.utils.db import initdb

    initdb()
