from __future__ import annotations

import shutil
from datetime import date

import duckdb
import pyarrow as pa
import pytest

from factories.tiny_warehouse import build_without_dbt, day_run, tiny_settings
from perennial.core.errors import ContractViolation, PermanentError
from perennial.warehouse.publish import private_contacts_path, publish_marts, publish_table
from perennial.warehouse.reader import open_published, run_sql
from perennial.warehouse.versions import current_id

LINES = [(f"{n:04d}", f"c{n % 7}", date(2017, 9, 1 + n % 28), f"{n}.25") for n in range(500)]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    settings = tiny_settings(tmp_path_factory.mktemp("published"))
    build_without_dbt(settings, day_run(), LINES)
    publish_marts(settings, day_run())
    return settings


def test_nothing_published_is_told_as_such(settings):
    with pytest.raises(ContractViolation, match="nothing is published"), open_published(settings):
        pass


@pytest.mark.parametrize("version_id", ["000009-2017-10-01-publish", "../../private", "000001-2017-10-01-publish/../x"])
def test_L23_a_version_that_does_not_exist_or_is_a_path_is_refused(published, version_id):
    with pytest.raises(ContractViolation, match=r"gone|is not a version"), open_published(published, version_id):
        pass


def test_L23_a_value_is_bound_and_never_sql(published):
    with open_published(published) as version:
        hostile = "c1' or true --"
        assert version.query("from fct_order_lines where client_id = ?", [hostile]).num_rows == 0
        found = version.query("select count(*) as n from fct_order_lines where client_id = $client", {"client": "c1"})
        assert found.to_pylist() == [{"n": 72}]


def test_L26_batches_come_while_the_rest_is_not_computed_yet(published):
    with open_published(published) as version:
        rows = version.batches(
            "select case when i = 9999999 then error('computed to the end') else i end as i from range(10000000) r(i)",
            rows=2048,
        )
        assert next(rows).num_rows <= 2048
        rows.close()
        sizes = [batch.num_rows for batch in version.batches("from fct_order_lines", rows=100)]
        assert (sum(sizes), max(sizes)) == (500, 100)


def test_a_registered_table_and_temporary_tables_can_be_joined_with(published):
    with open_published(published) as version:
        version.register("wanted", pa.table({"client_id": ["c1", "c2"]}))
        version.execute(
            "create temp table chosen as select * from fct_order_lines join wanted using (client_id) where amount > ?",
            [100],
        )
        assert version.query("select count(*) as n, count(distinct client_id) as c from chosen").to_pylist() == [
            {"n": 115, "c": 2}
        ]


def test_a_name_in_sql_is_a_table_and_never_a_variable_of_the_caller(published):
    wanted = pa.table({"client_id": ["c1"]})
    with open_published(published) as version, pytest.raises(duckdb.CatalogException, match="wanted"):
        version.query("from wanted")
    assert wanted.num_rows == 1


def test_the_manifest_and_the_columns_of_a_version_are_known_without_a_query(published):
    with open_published(published) as version:
        assert version.tables()["fct_order_lines"][2:] == [("ordered_on", "DATE"), ("amount", "DECIMAL(18,4)")]
        assert version.manifest["run_id"] == "2017-10-01.r1"
        assert version.manifest["as_of"] == "2017-10-01"


@pytest.mark.parametrize(
    "sql",
    [
        "from kpi_daily",
        "select count(*) from fct_order_lines",
        "describe kpi_daily",
        "summarize kpi_daily",
        "show tables",
        "explain from kpi_daily",
        "with a as (select 1) from a;",
    ],
)
def test_people_may_ask_whatever_only_reads(published, sql):
    assert run_sql(published, sql).read_all().num_rows > 0


def test_the_answer_to_people_comes_in_batches(published):
    reader = run_sql(published, "select i from range(1000000) r(i)")
    assert max(batch.num_rows for batch in reader) <= 100_000


HOSTILE = [
    "copy kpi_daily to '{home}/out.csv'",
    "copy kpi_daily to '{home}/warehouse/parts/kpi_daily/out.parquet'",
    "attach '{home}/new.duckdb'",
    "attach '{home}/warehouse/build/latest.duckdb' (read_only)",
    "from read_csv('/etc/passwd')",
    "from read_text('/etc/passwd')",
    "from '/etc/passwd'",
    "from glob('/etc/*')",
    "from read_parquet('{contacts}')",
    "from read_blob('{home}/warehouse/current')",
    "select 1; from read_csv('/etc/passwd')",
    "set enable_external_access = true",
    "reset lock_configuration",
    "install httpfs",
    "load json",
    "drop view kpi_daily",
    "insert into kpi_daily values (null, 1)",
    "create temp table x as select 1",
    "export database '{home}/out'",
    "call pragma_version()",
    "pragma database_list",
    "from query('copy kpi_daily to ''{home}/out.csv''')",
    "from nowhere",
    "selekt 1",
    "",
]


@pytest.mark.parametrize("sql", HOSTILE)
def test_L22_L23_anything_but_reading_what_is_published_is_refused_in_plain_words(published, sql):
    before = sorted(path for path in published.home.rglob("*"))
    filled = sql.format(home=published.home, contacts=private_contacts_path(published, day_run()))
    with pytest.raises(PermanentError, match=r"^sql: "):
        run_sql(published, filled).read_all()
    assert sorted(path for path in published.home.rglob("*")) == before


def test_an_error_in_the_middle_of_a_long_answer_is_told_in_plain_words_too(published):
    reader = run_sql(
        published, "select cast(case when i = 900000 then 'x' else '1' end as int) as n from range(1000000) r(i)"
    )
    with pytest.raises(PermanentError, match=r"^sql: Conversion Error"):
        reader.read_all()


@pytest.mark.parametrize("moved", ["elsewhere", "it's elsewhere/deep"])
def test_a_home_that_was_moved_or_restored_elsewhere_is_read_from_where_it_lies(settings, tmp_path, moved):
    build_without_dbt(settings, day_run(), LINES)
    publish_marts(settings, day_run())
    rows = pa.table({"client_id": ["c1"], "as_of_date": [day_run().as_of], "value": [0.5]})
    publish_table(settings, day_run(), "client_scores", rows, step="scores")
    home = tmp_path / moved
    shutil.copytree(settings.home, home)
    there = settings.model_copy(update={"home": home})
    with open_published(settings) as here:
        wanted = {name: here.query(f"from {name}").to_pylist() for name in here.tables()}
    for copied in (False, True):  # while the original is there, and when it is gone
        if copied:
            shutil.rmtree(settings.home)
        with open_published(there) as published:
            assert {name: published.query(f"from {name}").to_pylist() for name in published.tables()} == wanted
            published.execute("create temp table kept as from client_scores")
        assert run_sql(there, "select count(*) as n from fct_order_lines").read_all().to_pylist() == [{"n": len(LINES)}]
    with pytest.raises(PermanentError):
        run_sql(there, f"select * from read_text('{home}/warehouse/current')").read_all()
    publish_table(there, day_run(), "client_scores", rows.slice(0, 0), step="scores")
    with duckdb.connect(str(there.warehouse_dir / "versions" / (current_id(there) or "") / "warehouse.duckdb")) as bi:
        assert bi.execute("select count(*) from fct_order_lines").fetchall() == [(len(LINES),)]
