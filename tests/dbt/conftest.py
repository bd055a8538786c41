from __future__ import annotations

import pytest

from factories.dbt_warehouse import Warehouse, small_world

AS_OF = "2017-10-01"


@pytest.fixture(scope="session")
def parsed(tmp_path_factory):
    return tmp_path_factory.mktemp("dbt_target")


@pytest.fixture(scope="session")
def day(tmp_path_factory, parsed):
    """The small world as of 2017-10-01, built and tested once, and the status of every node."""
    warehouse = Warehouse(tmp_path_factory.mktemp("built") / "build.duckdb", parsed).fill(small_world(), AS_OF)
    return warehouse, warehouse.build(AS_OF)


@pytest.fixture(scope="session")
def built(day):
    """The warehouse of `day`. Nobody changes it."""
    return day[0]


@pytest.fixture
def empty(tmp_path, parsed):
    """A warehouse without rows; the test fills it."""
    return Warehouse(tmp_path / "build.duckdb", parsed)
