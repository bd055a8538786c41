from __future__ import annotations

from datetime import date
from decimal import Decimal

import duckdb
import pytest

from factories.tiny_warehouse import build_without_dbt, day_run, write_raw
from perennial.contracts.entities import ENTITIES
from perennial.core.errors import ContractViolation, RetryableError
from perennial.warehouse.build_db import (
    TableSpec,
    build_connection,
    build_path,
    built_tables,
    mark_built,
    prepare_build,
)

DAY = date(2017, 10, 1)
ORDER = {"order_key": "1", "product_key": "p", "ordered_at": "2017-10-01 10:00:00", "amount": "10"}


def orders(settings, run):
    with build_connection(settings, run, read_only=True) as connection:
        return connection.execute("select order_key, amount from raw.order_lines").fetchall()


def test_raw_holds_exactly_the_files_of_the_runs_batches_and_no_other_file_of_the_folder(settings):
    named = write_raw(settings, "order_lines", "b1", DAY, [ORDER])
    write_raw(settings, "order_lines", "b2", DAY, [{**ORDER, "order_key": "2"}])
    prepare_build(settings, day_run(), raw_files={"order_lines": [named]}, ledger=[])
    assert [key for key, _ in orders(settings, day_run())] == ["1"]


@pytest.mark.parametrize("entity", sorted(ENTITIES))
def test_an_entity_without_a_batch_is_an_empty_relation_of_the_same_columns_and_types(settings, entity):
    def described(files):
        prepare_build(settings, day_run(), raw_files={entity: files}, ledger=[])
        with build_connection(settings, day_run(), read_only=True) as connection:
            rows = connection.execute(f"select count(*) from raw.{entity}").fetchall()[0][0]
            return rows, [row[:2] for row in connection.execute(f"describe raw.{entity}").fetchall()]

    rows, empty = described([])
    assert rows == 0
    assert empty[0][0] == next(iter(ENTITIES[entity].columns))
    assert described([write_raw(settings, entity, "b1", DAY, [{"_line": "1"}])]) == (1, empty)


def test_a_raw_file_that_is_gone_is_told_by_name_before_anything_is_opened(settings):
    gone = settings.raw / "order_lines" / "b1.parquet"
    with pytest.raises(ContractViolation, match=r"raw/order_lines/b1\.parquet.*gone"):
        prepare_build(settings, day_run(), raw_files={"order_lines": [gone]}, ledger=[])
    assert not build_path(settings, day_run()).exists()


def test_L23_a_folder_name_that_duckdb_would_read_as_a_pattern_is_refused(settings):
    path = write_raw(settings, "order_lines", "b1", DAY, [ORDER])
    odd = path.with_name("b[1].parquet")
    path.rename(odd)
    with pytest.raises(ContractViolation, match="pattern"):
        prepare_build(settings, day_run(), raw_files={"order_lines": [odd]}, ledger=[])


def test_L5_the_build_of_another_run_is_not_opened(settings):
    build_without_dbt(settings, day_run(), [])
    other = day_run(revision=2)
    with (
        pytest.raises(ContractViolation, match=r"build of run 2017-10-01\.r1"),
        build_connection(settings, other, read_only=True),
    ):
        pass


def test_L5_a_build_that_was_opened_again_is_not_built_until_its_tests_have_passed(settings):
    build_without_dbt(settings, day_run(), [])
    prepare_build(settings, day_run(), raw_files={}, ledger=[])
    with (
        build_connection(settings, day_run(), read_only=True) as connection,
        pytest.raises(ContractViolation, match="did not pass"),
    ):
        built_tables(connection, day_run())


def test_nothing_built_is_told_as_such(settings):
    with (
        pytest.raises(ContractViolation, match="nothing is built"),
        build_connection(settings, day_run(), read_only=True),
    ):
        pass


def test_L2_a_day_of_the_past_starts_from_nothing_and_leaves_the_newest_days_build_alone(settings):
    newest, past, earlier = (
        day_run(),
        day_run(date(2017, 9, 1), is_latest=False),
        day_run(date(2017, 8, 1), is_latest=False),
    )
    lines = [("1", "c1", date(2017, 8, 1), "1")]
    build_without_dbt(settings, newest, lines)
    build_without_dbt(settings, past, lines)
    prepare_build(settings, earlier, raw_files={}, ledger=[])
    with build_connection(settings, earlier, read_only=True) as connection:
        assert connection.execute("select count(*) from duckdb_tables() where schema_name = 'marts'").fetchall() == [
            (0,)
        ]
    with build_connection(settings, newest, read_only=True) as connection:
        assert connection.execute("select count(*) from marts.fct_order_lines").fetchall() == [(1,)]


def test_a_broken_build_file_is_made_again(settings):
    path = build_path(settings, day_run())
    path.parent.mkdir(parents=True)
    path.write_bytes(b"this is no database" * 1000)
    build_without_dbt(settings, day_run(), [])
    with build_connection(settings, day_run(), read_only=True) as connection:
        assert [table.name for table in built_tables(connection, day_run())] == ["fct_order_lines", "kpi_daily"]


def test_L16_a_file_that_another_process_writes_is_a_reason_to_wait_not_to_remake_it(settings, tmp_path):
    import subprocess
    import sys

    build_without_dbt(settings, day_run(), [])
    path = build_path(settings, day_run())
    holder = subprocess.Popen(
        [sys.executable, "-c", f"import duckdb; c = duckdb.connect({str(path)!r}); print('held', flush=True); input()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RetryableError, match="another process"):
            prepare_build(settings, day_run(), raw_files={}, ledger=[])
    finally:
        holder.communicate(b"\n")
    with build_connection(settings, day_run(), read_only=True) as connection:
        assert built_tables(connection, day_run())


@pytest.mark.parametrize(("column", "declared"), [("email", ()), ("Phone", ()), ("nickname", ("nickname",))])
def test_L22_a_mart_with_personal_data_by_name_or_by_its_models_word_is_not_built(settings, column, declared):
    prepare_build(settings, day_run(), raw_files={}, ledger=[])
    with build_connection(settings, day_run(), read_only=False) as connection:
        connection.execute(f"create table marts.dim_clients as select 'x' as {column}")
    with pytest.raises(ContractViolation, match=rf"dim_clients\.{column}: a published table holds personal data"):
        mark_built(settings, day_run(), [TableSpec("dim_clients", personal=declared)])


def test_L22_nobody_else_may_enter_the_folder_of_the_build_database(settings):
    path = prepare_build(settings, day_run(), raw_files={}, ledger=[])
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_raw_files_of_before_a_column_was_added_are_read_with_null_in_it_beside_those_of_today(settings):
    old = write_raw(settings, "order_lines", "b1", DAY, [ORDER])
    new = write_raw(settings, "order_lines", "b2", DAY, [{**ORDER, "order_key": "2", "cost_amount": "4.5"}])
    with duckdb.connect() as connection:
        connection.execute(f"create table t as select * exclude (cost_amount, currency) from '{old}'")
        old.unlink()
        connection.execute(f"copy t to '{old}' (format parquet)")
    prepare_build(settings, day_run(), raw_files={"order_lines": [old, new]}, ledger=[])
    with build_connection(settings, day_run(), read_only=True) as connection:
        rows = connection.execute("select order_key, cost_amount, currency from raw.order_lines order by 1").fetchall()
    assert rows == [("1", None, None), ("2", Decimal("4.5"), None)]
