"""L4: what is changed day by day equals what is built anew, cell by cell, in every table of the warehouse."""

from __future__ import annotations

from datetime import date

import pytest

from factories.changing_days import ChangedWarehouse, Day, contents, differences
from factories.databases import running_postgres
from factories.dbt_warehouse import Raw, Warehouse, line, small_world
from factories.known_holes import with_known_holes
from factories.postgres_warehouse import PostgresWarehouse, new_database
from factories.random_days import random_days


def _good(statuses: dict[str, str]) -> dict[str, str]:
    return {name: said for name, said in statuses.items() if said not in {"success", "pass"}}


def _rebuilt(folder, parsed, changed: ChangedWarehouse, last: Day) -> Warehouse:
    folder.mkdir()
    anew = ChangedWarehouse(Warehouse(folder / "build.duckdb", parsed))
    assert _good(anew.first(changed.known_on(last))) == {}
    return anew.warehouse


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (2, 3))])
def test_L4_a_history_that_is_loaded_day_by_day_equals_its_rebuild_in_every_table(tmp_path, parsed, seed):
    days = with_known_holes(random_days(seed))
    changed = ChangedWarehouse(Warehouse(tmp_path / "build.duckdb", parsed))
    assert _good(changed.first(days[0])) == {}
    for day in days[1:]:
        assert _good(changed.then(day)) == {}
    assert differences(changed.warehouse, _rebuilt(tmp_path / "anew", parsed, changed, days[-1])) == {}
    assert len(contents(changed.warehouse)) >= 25


@pytest.mark.slow
def test_L4_on_postgresql_too_a_history_that_is_loaded_day_by_day_equals_its_rebuild(tmp_path):
    days = with_known_holes(random_days(1))
    with running_postgres() as server:
        changed = ChangedWarehouse(PostgresWarehouse(new_database(server), tmp_path / "changed"))
        assert _good(changed.first(days[0])) == {}
        for day in days[1:]:
            assert _good(changed.then(day)) == {}
        anew = ChangedWarehouse(PostgresWarehouse(new_database(server), tmp_path / "anew"))
        assert _good(anew.first(changed.known_on(days[-1]))) == {}
        assert differences(changed.warehouse, anew.warehouse) == {}


@pytest.mark.slow
def test_L4_a_change_that_came_to_no_end_goes_on_and_equals_the_rebuild(tmp_path, parsed):
    days = random_days(11)
    changed = ChangedWarehouse(Warehouse(tmp_path / "build.duckdb", parsed))
    changed.first(days[0])
    changed.then(days[1])
    changed.stopped(days[2], after="int_order_lines_netted")
    assert _good(changed.then(days[3], goes_on=True)) == {}
    assert differences(changed.warehouse, _rebuilt(tmp_path / "anew", parsed, changed, days[3])) == {}


def test_L1_L4_a_changed_day_passes_the_data_tests_and_a_late_cancellation_reaches_back_into_history(tmp_path, parsed):
    changed = ChangedWarehouse(Warehouse(tmp_path / "build.duckdb", parsed))
    changed.first(Day(date(2017, 10, 1), small_world(), {}))
    late = Raw()
    late.add("order_lines", "2017-10-02", [
        line("Cr3", "1", "2017-05-02", "-10.01", quantity=-1, line_kind="cancellation"),
        line("n1", "7", "2017-10-02", "8.00"),
    ], batch_seq=2)  # fmt: skip
    assert _good(changed.then(Day(date(2017, 10, 2), late, {}), "build")) == {}
    cancelled = "select order_key, product_key, cancelled_on from marts.fct_order_lines where is_cancelled order by 1"
    assert [tuple(row.values()) for row in changed.warehouse.query(cancelled)] == [
        ("a2", "p2", date(2017, 8, 20)),
        ("r0", "p1", date(2017, 5, 2)),
    ]
    found = changed.warehouse.query("select order_key from intermediate.int_orders_changed")
    orders = {row["order_key"] for row in found}
    assert orders >= {"Cr3", "n1", "r0", "r17"}  # whole groups are matched anew
    assert orders.isdisjoint({"a1", "b1", "e1", "x1", "g1"})  # and nobody else's orders are read
