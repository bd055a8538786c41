"""PostgreSQL as the warehouse: publication in one transaction, what readers see, who may read what."""

from __future__ import annotations

import threading
from datetime import date
from decimal import Decimal

import duckdb
import psycopg2
import pyarrow as pa
import pytest

from factories.postgres_builds import ask, build_in_postgres, login, next_day, settings_of
from factories.tiny_warehouse import FIRST_DAY, SECOND_DAY, day_run, write_raw
from perennial.core.errors import ContractViolation, Overtaken, PerennialError, PermanentError
from perennial.core.settings import load_settings
from perennial.warehouse.postgres import (
    clear_out,
    current_id,
    damages,
    known_versions,
    last_record,
    open_published,
    prepare_build,
    publish_marts,
    publish_table,
    published_state,
    raw_connection,
    register_contacts,
    run_sql,
)
from perennial.warehouse.postgres.roles import initialise
from perennial.warehouse.postgres.session import open_session

FIRST = day_run()
SECOND = next_day(FIRST, date(2017, 10, 2))
HIDDEN = (
    "raw_store.order_lines", "raw.order_lines", "raw.build_info", "build.fct_order_lines", "private.contacts",
    "delivery.contacts", "marketing.contacts", "past_marts.x", "past_build.x", "staging.x", "intermediate.x",
)  # fmt: skip


@pytest.fixture(scope="module")
def server(postgres):
    return postgres


@pytest.fixture
def settings(server, tmp_path):
    return settings_of(server, tmp_path / "home")


@pytest.fixture(scope="module")
def shown(server, tmp_path_factory):
    """A warehouse with one published day, which nobody changes."""
    settings = settings_of(server, tmp_path_factory.mktemp("shown"))
    build_in_postgres(settings, FIRST, FIRST_DAY)
    publish_marts(settings, FIRST)
    return settings


def orders_and_days(published):
    lines = published.query("select count(*) as n from fct_order_lines").column("n")[0].as_py()
    days = published.query("select sum(orders) as n from kpi_daily").column("n")[0].as_py()
    return lines, int(days)


def scores_of(run, value):
    return pa.table({"as_of_date": pa.array([run.as_of], pa.date32()), "client_id": ["c1"], "value": [value]})


def test_L5_who_reads_while_a_day_is_published_sees_all_of_yesterday_and_then_all_of_today(settings, server):
    build_in_postgres(settings, FIRST, FIRST_DAY)
    publish_marts(settings, FIRST)
    build_in_postgres(settings, SECOND, (*FIRST_DAY, *SECOND_DAY))
    both = "select (select count(*) from marts.fct_order_lines), (select sum(orders) from marts.kpi_daily)"
    with open_session(settings) as blocker, open_published(settings) as reader:
        assert orders_and_days(reader) == (2, 2)
        blocker.execute("lock table build.kpi_daily in access exclusive mode")
        publisher = threading.Thread(target=publish_marts, args=(settings, SECOND))
        publisher.start()
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        while not ask(settings.warehouse_url, waiting)[0][0]:
            pass  # the lines are written, and not to be seen
        assert ask(settings.warehouse_url, both) == [(2, 2)]
        blocker.commit()
        publisher.join()
        assert ask(settings.warehouse_url, both) == [(3, 3)]
        assert orders_and_days(reader) == (2, 2)
    with open_published(settings) as reader:
        assert orders_and_days(reader) == (3, 3)


def test_L5_a_build_that_failed_its_tests_leaves_yesterday(settings):
    build_in_postgres(settings, FIRST, FIRST_DAY)
    before, _ = publish_marts(settings, FIRST)
    build_in_postgres(settings, SECOND, (*FIRST_DAY, *SECOND_DAY), is_good=False)
    with pytest.raises(ContractViolation, match="did not pass its tests"):
        publish_marts(settings, SECOND)
    assert current_id(settings) == before
    with open_published(settings) as reader:
        assert orders_and_days(reader) == (2, 2)


def test_only_rows_that_differ_are_written_and_a_row_that_is_gone_goes(settings):
    build_in_postgres(settings, FIRST, FIRST_DAY)
    publish_marts(settings, FIRST)
    of_rows = "select order_key, xmin::text, amount from marts.fct_order_lines order by 1"
    before = ask(settings.warehouse_url, of_rows)
    changed = (FIRST_DAY[0], ("3", "c1", date(2017, 10, 2), "7.25"))
    build_in_postgres(settings, SECOND, changed)
    publish_marts(settings, SECOND)
    after = ask(settings.warehouse_url, of_rows)
    assert [row[0] for row in after] == ["1", "3"]
    assert after[0] == before[0]


def test_columns_of_a_published_table_may_change_and_descriptions_come_along(settings):
    build_in_postgres(settings, FIRST, FIRST_DAY)
    publish_marts(settings, FIRST)
    build_in_postgres(settings, SECOND, FIRST_DAY)
    with open_session(settings) as session:
        session.execute("alter table build.kpi_daily add column revenue numeric(18,4)")
        session.commit()
    publish_marts(settings, SECOND)
    with open_published(settings) as reader:
        assert reader.tables()["kpi_daily"][-1] == ("revenue", "DECIMAL(18,4)")
    described = (
        "select obj_description('marts.fct_order_lines'::regclass), col_description('marts.kpi_daily'::regclass, 2)"
    )
    assert ask(settings.warehouse_url, described) == [("Lines of orders.", "how many")]


def test_tables_by_date_stay_with_the_dates_before_and_a_step_that_is_run_again_replaces_its_own(settings):
    build_in_postgres(settings, FIRST, FIRST_DAY)
    published, _ = publish_marts(settings, FIRST)
    publish_table(settings, FIRST, "client_scores", scores_of(FIRST, 0.5), step="score")
    scored = publish_table(settings, FIRST, "client_scores", scores_of(FIRST, 0.25), step="score")
    with open_published(settings, published) as reader:  # a later step of the run stands for the earlier one
        assert reader.manifest["id"] == scored
        assert reader.query("select value from client_scores").to_pylist() == [{"value": 0.25}]
    build_in_postgres(settings, SECOND, FIRST_DAY)
    publish_marts(settings, SECOND)
    publish_table(settings, SECOND, "client_scores", scores_of(SECOND, 0.75), step="score")
    with open_published(settings) as reader:
        rows = reader.query("select as_of_date, value from client_scores order by 1").to_pylist()
    assert [row["value"] for row in rows] == [0.25, 0.75]
    with pytest.raises(ContractViolation, match="gone"), open_published(settings, published):
        pass
    with pytest.raises(Overtaken, match="newer"):
        publish_table(settings, FIRST, "client_scores", scores_of(FIRST, 1.0), step="score")
    with pytest.raises(ContractViolation, match="not of"):
        publish_table(settings, SECOND, "client_scores", scores_of(FIRST, 1.0), step="score")


def test_a_past_day_is_built_and_published_beside_the_newest_one(settings):
    build_in_postgres(settings, SECOND, (*FIRST_DAY, *SECOND_DAY))
    newest, _ = publish_marts(settings, SECOND)
    past = day_run(is_latest=False)
    build_in_postgres(settings, past, FIRST_DAY)
    version_id, rows = publish_marts(settings, past)
    assert rows["fct_order_lines"] == 2
    assert current_id(settings) == newest
    with open_published(settings, version_id) as reader:
        assert orders_and_days(reader) == (2, 2)
    with open_published(settings) as reader:
        assert orders_and_days(reader) == (3, 3)


@pytest.mark.parametrize("table", HIDDEN)
def test_L22_bi_reader_sees_marts_and_nothing_else(shown, server, table):
    analyst = login(server, shown, "analyst", "bi_reader")
    assert ask(analyst, "select count(*) from marts.fct_order_lines") == [(2,)]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(analyst, f"select * from {table}")


def test_L22_bi_reader_writes_nothing_and_a_stranger_reads_nothing(shown, server):
    analyst, stranger = (login(server, shown, "analyst", "bi_reader"), login(server, shown, "stranger", None))
    for sql in ("delete from marts.kpi_daily", "create table marts.mine (i int)", "truncate marts.kpi_daily"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(analyst, sql)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(stranger, "select * from marts.kpi_daily")


def test_L22_marketing_sees_masked_addresses_and_delivery_alone_sees_them(shown, server):
    marketer = login(server, shown, "marketer", "marketing")
    assert ask(marketer, "select email, phone from marketing.contacts") == [("a***@e***.com", "**********42")]
    assert ask(marketer, "select count(*) from marts.kpi_daily") == [(2,)]
    for table in ("delivery.contacts", "private.contacts"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(marketer, f"select * from {table}")
    sender = login(server, shown, "sender", "perennial_delivery")
    assert ask(sender, "select email from delivery.contacts") == [("ann@example.com",)]
    with open_published(shown) as published:
        register_contacts(shown, published, FIRST, "people")
        assert published.query("select email from people").to_pylist() == [{"email": "ann@example.com"}]
        with pytest.raises(ContractViolation, match="no private contacts"):
            register_contacts(shown, published, SECOND, "nobody")


def test_L22_addresses_of_runs_that_nobody_needs_are_removed(settings):
    for run in (FIRST, SECOND):
        build_in_postgres(settings, run, FIRST_DAY)
        publish_marts(settings, run)
    clear_out(settings, keep=())
    assert ask(settings.warehouse_url, "select run_id from delivery.contacts") == [(SECOND.run_id,)]


@pytest.mark.parametrize(
    "sql",
    [
        "select * from private.contacts",
        "select set_config('role', 'postgres', true), query_to_xml('select * from delivery.contacts', true, true, '')",
        "select * from marts.kpi_daily where orders::text = table_to_xml('delivery.contacts', true, true, '')::text",
        "with gone as (delete from marts.kpi_daily returning 1) select * from gone",
        "select 1; drop schema marts cascade",
        "reset role",
        "commit",
        "select pg_read_file('/etc/passwd')",
        "select lo_create(0)",
        "copy marts.kpi_daily to '/tmp/out'",
        "select * from nothing",
        "select",
        "",
    ],
)
def test_L22_L23_what_people_ask_reads_marts_and_nothing_else(shown, sql):
    with pytest.raises(PerennialError) as refused:
        run_sql(shown, sql).read_all()
    assert "ann@example.com" not in str(refused.value)
    assert run_sql(shown, "select count(*) as n from kpi_daily").read_all().to_pylist() == [{"n": 2}]


def test_people_ask_in_postgresqls_sql_and_get_exact_types(shown):
    asked = run_sql(shown, "select order_key, amount, ordered_on, amount * 1.5 as half from fct_order_lines order by 1")
    assert asked.schema.field("amount").type == pa.decimal128(18, 4)
    assert [row["order_key"] for row in asked.read_all().to_pylist()] == ["1", "2"]
    tables = [row["name"] for row in run_sql(shown, "show tables").read_all().to_pylist()]
    assert tables == ["fct_order_lines", "kpi_daily", "published_versions"]
    described = run_sql(shown, "describe kpi_daily").read_all().to_pylist()
    assert [(row["column_name"], row["column_type"]) for row in described] == [
        ("ordered_on", "date"),
        ("orders", "bigint"),
    ]
    assert run_sql(shown, "explain select * from kpi_daily").read_all().num_rows > 0
    assert run_sql(shown, "select * from kpi_daily where false").read_all().num_rows == 0


def test_a_statement_of_people_that_takes_too_long_is_ended(shown):
    hasty = shown.file.model_copy(
        update={"warehouse": shown.file.warehouse.model_copy(update={"statement_seconds": 1})}
    )
    with pytest.raises(PermanentError, match="timeout"):
        run_sql(shown.model_copy(update={"file": hasty}), "select count(*) from generate_series(1, 1e12)").read_all()


def test_who_may_not_make_roles_is_told_which_statements_are_missing(settings, server):
    builder = login(server, settings, "builder", None)
    limited = settings.model_copy(update={"warehouse_url": builder})
    database = builder.partition("?")[0].rpartition("/")[2]
    with pytest.raises(ContractViolation, match=f'grant create, temporary on database "{database}" to "builder"'):
        initialise(limited)
    server.run("postgres", f"grant create, temporary on database {database} to builder")
    if server.run("postgres", "select 1 from pg_roles where rolname = 'bi_reader'"):
        server.run("postgres", "revoke bi_reader, marketing, perennial_delivery from builder")
    initialised = initialise(settings)
    assert [line.split(":")[0] for line in initialised] == ["bi_reader", "marketing", "perennial_delivery"]
    assert initialise(settings) == initialised


def test_a_database_that_does_not_sort_byte_by_byte_is_refused_with_the_statement_that_makes_a_right_one(
    server, tmp_path
):
    name = server.create()
    server.run("postgres", f"drop database {name}")
    server.run("postgres", f"create database {name} template template0 encoding 'UTF8' lc_collate 'C' lc_ctype 'C'")
    wrong = load_settings({"PERENNIAL_HOME": str(tmp_path), "PERENNIAL_WAREHOUSE_URL": server.uri(name)})
    with pytest.raises(ContractViolation, match=r"builtin_locale 'C\.UTF-8'"):
        prepare_build(wrong, FIRST, raw_files={}, ledger=[])


def test_L1_a_batch_is_loaded_once_and_a_run_sees_its_own_batches_alone(settings):
    lines = [{"order_key": "1", "product_key": "p", "ordered_at": "2017-10-01 12:00:00", "product_name": "a\0b"}]
    one, two = (write_raw(settings, "order_lines", f"order_lines-{n}", FIRST.as_of, lines) for n in (1, 2))
    count = "select count(*), count(distinct _batch_id) from raw.order_lines"
    prepare_build(settings, FIRST, raw_files={"order_lines": [one, two]}, ledger=[])
    assert ask(settings.warehouse_url, count) == [(2, 2)]
    prepare_build(settings, FIRST, raw_files={"order_lines": [one, two]}, ledger=[])
    assert ask(settings.warehouse_url, count) == [(2, 2)]
    prepare_build(settings, FIRST, raw_files={"order_lines": [two]}, ledger=[])
    assert ask(settings.warehouse_url, count) == [(1, 1)]
    assert ask(settings.warehouse_url, "select product_name from raw.order_lines") == [("a\ufffdb",)]
    with raw_connection(settings, FIRST) as connection:
        assert connection.execute("select _batch_id from raw.order_lines").fetchall() == [("order_lines-2",)]


def test_a_server_that_does_not_answer_is_asked_again_later_and_its_address_is_not_told(tmp_path):
    from perennial.core.errors import RetryableError

    url = f"postgresql://perennial:s3cret@/warehouse?host={tmp_path}"
    nowhere = load_settings({"PERENNIAL_HOME": str(tmp_path), "PERENNIAL_WAREHOUSE_URL": url})
    with pytest.raises(RetryableError) as told:
        current_id(nowhere)
    assert "s3cret" not in str(told.value)


def test_people_see_what_is_published_and_whether_all_of_it_is_there(settings):
    build_in_postgres(settings, FIRST, FIRST_DAY)
    publish_marts(settings, FIRST, built_from={"tests": {"passed": 3}})
    build_in_postgres(settings, SECOND, (*FIRST_DAY, *SECOND_DAY))
    version_id, _ = publish_marts(settings, SECOND)
    state = published_state(settings)
    assert (state["id"], state["as_of"], state["rows"]) == (version_id, SECOND.as_of, 6)
    assert [(t["table"], t["rows"], t["rows_more"]) for t in state["tables"]] == [
        ("fct_order_lines", 3, 1),
        ("kpi_daily", 3, 1),
    ]
    assert [(one["run_id"], one["current"]) for one in known_versions(settings)] == [
        (SECOND.run_id, True),
        (FIRST.run_id, False),
    ]
    assert state["built_from"]["batches"] == 0
    assert damages(settings) == (version_id, 2, [])
    with open_session(settings) as session:
        session.execute("delete from marts.kpi_daily where orders = 1 and ordered_on = date '2017-10-02'")
        session.commit()
    (problem,) = damages(settings)[2]
    assert problem.message == "it has 2 rows, 3 were published"


@pytest.mark.parametrize(
    "sql",
    [
        "select round(v, 2) as r, round(v, 0) as whole, cast(v as varchar) as t from numbers order by v desc",
        "select cast(n as varchar) as whole, cast(m as varchar) as amount, cast(s as varchar) as small from numbers order by n",
        "select v from numbers order by v desc, t limit 3",
        "select t, v from numbers order by t desc, v",
        "select v / 3 as third, n / 2 as half, v / nullif(n, 0) as each from numbers order by v, n, t",
        "select arg_max(t, n) as last, max(v) filter (where n > 0) as top, count(*) as c from numbers",
        "select md5(concat_ws(chr(31), 'salt', coalesce(cast(v as varchar), chr(30)), cast(d as varchar))) as h from numbers order by 1",
        "select substr(sha256('a|' || t), 1, 13) as h from numbers where t is not null order by 1",
        r"""select t, regexp_full_match(t, '[^@\s\p{C}",;]{1,64}@[a-z.]+') as good from numbers order by t""",
        "select cast($x as date) as x, cast($y as varchar) as y, cast($x as date) as again from numbers limit 1",
        "select extract(year from d) * 100 + extract(month from d) as ym, d + 3 as later from numbers order by d, 2",
    ],
)
def test_what_our_rooms_ask_in_duckdbs_sql_is_the_same_on_postgresql(shown, sql):
    numbers = pa.table(
        {
            "v": [0.125, 2.5, -2.5, 1e15, 1e16, 1.0, 1e-5, 0.1 + 0.2, None],
            "n": [1, 2, 3, 0, 5, 6, 7, 8, None],
            "t": ["a@b.com", "Z@b.com", "é@b.com", "a b@c.com", "a\u00a0b@c.com", "a\u200bb@c.com", None, "", "zz"],
            "d": pa.array([date(2017, 1, 1)] * 8 + [None], pa.date32()),
            "m": pa.array([Decimal("3.60"), Decimal("100.00"), *[Decimal("-0.05")] * 6, None], pa.decimal128(18, 2)),
            "s": pa.array([100, 1, 2, 3, 4, 5, 6, 7, None], pa.int32()),
        }
    )
    params = {name: value for name, value in (("x", date(2017, 1, 2)), ("y", "o'clock")) if f"${name}" in sql}
    with duckdb.connect() as connection, open_published(shown) as published:
        connection.register("numbers", numbers)
        published.register("numbers", numbers)
        expected = connection.execute(sql, params).to_arrow_table().to_pylist()
        found = published.query(sql, params).to_pylist()
    assert found == expected


def test_L5_a_crash_of_the_server_costs_the_build_and_nothing_that_was_published(settings, server):
    lines = [{"order_key": "1", "product_key": "p", "ordered_at": "2017-10-01 12:00:00"}]
    raw = {"order_lines": [write_raw(settings, "order_lines", "order_lines-1", FIRST.as_of, lines)]}
    build_in_postgres(settings, FIRST, FIRST_DAY)
    publish_marts(settings, FIRST)
    prepare_build(settings, SECOND, raw_files=raw, ledger=[])
    server.stop()
    server.start()
    with open_published(settings) as reader:
        assert orders_and_days(reader) == (2, 2)
    assert last_record(settings, SECOND) is None
    with pytest.raises(ContractViolation, match="nothing is built"):
        publish_marts(settings, SECOND)
    prepare_build(settings, SECOND, raw_files=raw, ledger=[])
    assert ask(settings.warehouse_url, "select count(*) from raw.order_lines") == [(1,)]
