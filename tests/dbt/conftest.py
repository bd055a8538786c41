from __future__ import annotations

import shutil

import pytest

from factories.dbt_warehouse import Warehouse, small_world

AS_OF = "2017-10-01"


@pytest.fixture(scope="session")
def parsed(tmp_path_factory):
    return tmp_path_factory.mktemp("dbt_target")


@pytest.fixture(scope="session")
def day(tmp_path_factory, parsed):
    """The small world as of 2017-10-01, built and tested once, and the status of every node."""
    folder = tmp_path_factory.mktemp("built")
    warehouse = Warehouse(folder / "build.duckdb", parsed).fill(small_world(), AS_OF)
    nodes = warehouse.build(AS_OF)
    shutil.copytree(parsed / "compiled", folder / "compiled")  # unit tests write theirs in its place
    return warehouse, nodes


@pytest.fixture(scope="session")
def compiled(day):
    """The folder of the compiled SQL of `day`, for a database that is called build.duckdb."""
    return day[0].path.parent / "compiled"


@pytest.fixture(scope="session")
def built(day):
    """The warehouse of `day`. Nobody changes it."""
    return day[0]


@pytest.fixture
def empty(tmp_path, parsed):
    """A warehouse without rows; the test fills it."""
    return Warehouse(tmp_path / "build.duckdb", parsed)
