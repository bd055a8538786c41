"""L22: what is published holds no personal data, shown with planted values; and it tells what its columns mean."""

from __future__ import annotations

import pytest

from factories.dbt_warehouse import Warehouse, _manifest, small_world
from factories.tiny_warehouse import day_run
from perennial.contracts.builds import BuildRecord
from perennial.contracts.entities import ENTITIES
from perennial.core.settings import load_settings
from perennial.pipeline.transform import published_specs
from perennial.warehouse.build_db import build_path, mark_built
from perennial.warehouse.publish import publish_marts
from perennial.warehouse.reader import open_published
from perennial.warehouse.versions import versions_dir

AS_OF = "2017-10-01"
PLANTED = {
    "first_name": "Zephyrine", "last_name": "Quibblethwaite", "email": "zephyrine.q@planted.example",
    "phone": "+15550123987", "tax_number": "TX-99887766-ZQ", "card_number": "CARD-4433-2211-ZQ",
    "postcode": "ZQ9 7XX", "birth_date": "1951-03-17",
}  # fmt: skip


def planted(entity):
    return {name: PLANTED[name] for name, column in ENTITIES[entity].columns.items() if column.personal}


@pytest.fixture(scope="module")
def settings(tmp_path_factory, parsed):
    """The small world with a client and a contact person whose every personal value is planted, published."""
    home = tmp_path_factory.mktemp("planted")
    settings = load_settings({"PERENNIAL_HOME": str(home)})
    run = day_run()
    world = small_world()
    world.add("clients", "2017-09-01", [{"client_key": "77", "signed_up_on": "2017-09-01", **planted("clients")}])
    world.add(
        "contact_persons", "2017-09-01", [{"client_key": "77", "contact_key": "p77", **planted("contact_persons")}]
    )
    path = build_path(settings, run)
    path.parent.mkdir(parents=True)
    warehouse = Warehouse(path, parsed).fill(world, AS_OF)
    assert set(warehouse.dbt("run", AS_OF).values()) == {"success"}
    warehouse.execute(
        "create table raw.build_info (run_id varchar, state varchar, tables varchar, build_id varchar, change_of varchar, mode varchar);"
        f"insert into raw.build_info (run_id) values ('{run.run_id}');"
        f"create table raw.build_record as select '{BuildRecord().as_text()}' as record;"
        "drop table raw.ledger_batches;"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PERENNIAL_BUILD_DB", str(path))
        mark_built(settings, run, published_specs(_manifest(parsed, training=False)))
    publish_marts(settings, run)
    return settings


def test_every_personal_column_of_the_contracts_is_planted_and_reached_the_private_contacts(settings):
    personal = {name for entity in ENTITIES.values() for name, column in entity.columns.items() if column.personal}
    assert personal == set(PLANTED), "plant a value of the new personal column"
    (contacts,) = settings.private_dir.glob("contacts-*.parquet")
    with open_published(settings) as published:
        published.register_parquet("contacts", contacts)
        found = published.query("select count(*) as n from contacts where last_name = 'Quibblethwaite'").to_pylist()
    assert found == [{"n": 1}], "the planted client has to be there, else the search below proves nothing"


def test_L22_no_planted_value_is_in_any_row_that_is_published(settings):
    wanted = " or ".join(f"contains(lower(cast(t as varchar)), '{value.lower()}')" for value in PLANTED.values())
    with open_published(settings) as published:
        tables = published.tables()
        rows = {
            name: published.query(
                f"select count(*) as n, count(*) filter ({wanted}) as bad from {name} as t"
            ).to_pylist()
            for name in tables
        }
        known = published.query("select count(*) as n from dim_clients where client_key = '77'").to_pylist()
    assert {name: found[0]["bad"] for name, found in rows.items() if found[0]["bad"]} == {}
    assert known == [{"n": 1}]
    assert len(tables) >= 25


def test_L22_no_planted_value_is_in_the_bytes_of_the_manifest_the_views_or_a_part(settings):
    files = [path for path in settings.warehouse_dir.rglob("*") if path.is_file() and "build" not in path.parts]
    assert any(path.name == "warehouse.duckdb" for path in files)
    for path in files:
        held = path.read_bytes().lower()
        found = [name for name, value in PLANTED.items() if value.lower().encode() in held]
        assert not found, f"{path.name} holds {found}"


def test_bi_tools_read_what_each_table_and_column_means_from_the_published_file(settings):
    import duckdb

    (file,) = versions_dir(settings).glob("*/warehouse.duckdb")
    with duckdb.connect(str(file), read_only=True) as connection:
        tables = dict(connection.execute("select view_name, comment from duckdb_views() where not internal").fetchall())
        bare = connection.execute(
            "select table_name || '.' || column_name from duckdb_columns() where not internal and comment is null"
        ).fetchall()
    assert all(said and said.startswith("One row per ") for said in tables.values()), tables
    assert bare == []
