"""The small world built on PostgreSQL: every model, every data test, and the same tables as on DuckDB."""

from __future__ import annotations

import duckdb
import pytest

from factories.databases import running_postgres
from factories.dbt_warehouse import small_world
from factories.postgres_warehouse import PostgresWarehouse, new_database
from factories.same_tables import difference
from perennial.warehouse.postgres.session import open_session

AS_OF = "2017-10-01"
_SCHEMAS = {"marts": "build", "private": "private"}


@pytest.fixture(scope="module")
def on_postgres(tmp_path_factory):
    """The small world as of 2017-10-01 on PostgreSQL, and the status of every node."""
    with running_postgres() as server:
        warehouse = PostgresWarehouse(new_database(server), tmp_path_factory.mktemp("postgres"))
        yield warehouse, warehouse.fill(small_world(), AS_OF).build(AS_OF)


def test_every_model_is_built_and_every_data_test_passes_on_postgresql(on_postgres, day):
    _, statuses = on_postgres
    assert {name: status for name, status in statuses.items() if status not in ("success", "pass")} == {}
    assert set(statuses) == set(day[1])


@pytest.mark.parametrize("schema", sorted(_SCHEMAS))
def test_both_engines_build_equal_tables_to_the_last_bit(on_postgres, built, schema):
    differences = {}
    with duckdb.connect(str(built.path), read_only=True) as embedded, open_session(on_postgres[0].settings) as session:
        names = embedded.execute("select table_name from duckdb_tables() where schema_name = ?", [schema]).fetchall()
        assert names
        for (name,) in names:
            ours = embedded.sql(f"from {schema}.{name}").to_arrow_table()
            told = difference(ours, session.table(f"select * from {_SCHEMAS[schema]}.{name}"))
            if told:
                differences[name] = told
    assert differences == {}
