from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factories.tiny_warehouse import build_without_dbt, day_run
from perennial.core.errors import ContractViolation
from perennial.core.settings import REPOSITORY, Warehouse
from perennial.warehouse import private
from perennial.warehouse.build_db import TableSpec, build_connection, mark_built, prepare_build
from perennial.warehouse.publish import private_contacts_path, publish_marts, publish_table
from perennial.warehouse.reader import open_published
from perennial.warehouse.versions import all_versions, current_id, parts_dir, prune

DAY, NEXT = date(2017, 10, 1), date(2017, 10, 2)
LINES = [
    ("1", "c1", date(2017, 8, 3), "10.00"),
    ("2", "c2", date(2017, 8, 30), "5.50"),
    ("3", "c1", date(2017, 9, 30), "7.25"),
]


def parts(settings, table):
    return {path.name: path.stat().st_mtime_ns for path in (parts_dir(settings) / table).iterdir()}


def scores(day, *clients):
    return pa.table({"client_id": list(clients), "as_of_date": [day] * len(clients), "value": [0.5] * len(clients)})


def everything(settings, version_id=None):
    """All rows of all tables of a version, in the order of the parts."""
    with open_published(settings, version_id) as published:
        return {name: published.query(f"from {name}").to_pylist() for name in sorted(published.tables())}


def test_what_is_published_is_what_was_built_counted_by_table(settings):
    build_without_dbt(settings, day_run(), LINES)
    version_id, rows = publish_marts(settings, day_run())
    assert (version_id, rows) == ("000001-2017-10-01-publish", {"fct_order_lines": 3, "kpi_daily": 3})
    assert current_id(settings) == version_id
    with open_published(settings) as published:
        assert published.query("select sum(amount) as total from fct_order_lines").to_pylist()[0]["total"] == 22.75
        assert published.manifest["tables"]["fct_order_lines"]["rows"] == 3
        assert [part["key"] for part in published.manifest["tables"]["fct_order_lines"]["parts"]] == [
            "2017-08",
            "2017-09",
        ]


def test_only_the_months_whose_rows_changed_are_written_again(settings):
    build_without_dbt(settings, day_run(), LINES)
    publish_marts(settings, day_run())
    before = parts(settings, "fct_order_lines")
    build_without_dbt(settings, day_run(NEXT), [*LINES[:2], ("3", "c1", date(2017, 9, 30), "7.26")])
    publish_marts(settings, day_run(NEXT))
    after = parts(settings, "fct_order_lines")
    assert before.items() <= after.items()
    assert [name[:7] for name in after.keys() - before.keys()] == ["2017-09"]


def test_L2_the_order_in_which_rows_were_written_changes_neither_name_nor_bytes_of_a_part(settings, tmp_path):
    build_without_dbt(settings, day_run(), LINES)
    publish_marts(settings, day_run())
    written = {path: path.read_bytes() for path in parts_dir(settings).glob("*/*")}
    for path in written:
        path.unlink()
    build_without_dbt(settings, day_run(), LINES, order="desc")
    publish_marts(settings, day_run())
    assert {path: path.read_bytes() for path in parts_dir(settings).glob("*/*")} == written


def test_a_step_that_is_run_again_with_the_same_tables_makes_no_new_version(settings):
    build_without_dbt(settings, day_run(), LINES)
    first, _ = publish_marts(settings, day_run())
    assert publish_marts(settings, day_run())[0] == first
    scored = publish_table(settings, day_run(), "client_scores", scores(DAY, "c1"), step="score")
    assert publish_table(settings, day_run(), "client_scores", scores(DAY, "c1"), step="score") == scored
    assert [version.id for version in all_versions(settings)] == [first, scored]


def test_rows_without_a_date_and_a_table_without_rows_are_published_too(settings):
    build_without_dbt(settings, day_run(), [("1", "c1", None, "1"), ("2", "c1", date(2017, 8, 1), "2")])
    publish_marts(settings, day_run())
    assert [row["order_key"] for row in everything(settings)["fct_order_lines"]] == ["2", "1"]
    build_without_dbt(settings, day_run(), [])
    assert publish_marts(settings, day_run())[1] == {"fct_order_lines": 0, "kpi_daily": 0}
    assert everything(settings) == {"fct_order_lines": [], "kpi_daily": []}


def test_a_reader_of_an_old_version_keeps_reading_it_while_others_are_published_and_pruned(settings):
    settings = settings.model_copy(update={"file": settings.file.model_copy(update={"keep_versions": 2})})
    build_without_dbt(settings, day_run(), LINES)
    first, _ = publish_marts(settings, day_run())
    with open_published(settings, first) as published:
        for day, amount in ((15, "1"), (16, "2"), (17, "3")):
            build_without_dbt(settings, day_run(date(2017, 10, day)), [("1", "c1", date(2017, 8, 3), amount)])
            publish_marts(settings, day_run(date(2017, 10, day)))
        prune(settings)
        assert published.query("select count(*) as n from fct_order_lines").to_pylist() == [{"n": 3}]
    assert prune(settings) == [first]
    with pytest.raises(ContractViolation, match="gone"), open_published(settings, first):
        pass
    assert [row["amount"] for row in everything(settings)["fct_order_lines"]] == [3]


def test_versions_of_the_last_days_stay_beside_the_newest_and_older_ones_go(settings):
    file = settings.file.model_copy(update={"keep_versions": 2, "warehouse": Warehouse(keep_days=3)})
    settings = settings.model_copy(update={"file": file})
    made = []
    for day in (1, 2, 3, 4, 5, 9):
        build_without_dbt(settings, day_run(date(2017, 10, day)), [("1", "c1", date(2017, 8, day), "1")])
        made.append(publish_marts(settings, day_run(date(2017, 10, day)))[0])
        if day == 5:
            assert prune(settings) == made[:2]  # the 3rd, 4th and 5th are the three last days
    assert prune(settings) == made[2:4]  # the 5th is one of the two newest, though it is older than three days
    assert [version.id for version in all_versions(settings)] == made[4:]


def test_pruning_leaves_current_and_the_versions_of_unfinished_runs_and_takes_what_no_version_uses(settings):
    settings = settings.model_copy(update={"file": settings.file.model_copy(update={"keep_versions": 2})})
    made = []
    for month in (5, 6, 7, 8, 9):
        run = day_run(date(2017, month, 1), is_latest=month == 5)
        build_without_dbt(settings, run, [("1", "c1", date(2017, month, 1), "1")])
        made.append(publish_marts(settings, run)[0])
    stray = parts_dir(settings) / "fct_order_lines" / ".half-written.parquet.tmp"
    stray.touch()
    assert current_id(settings) == made[0]
    assert prune(settings, keep=[made[1]]) == [made[2]]
    assert sorted(name[:7] for name in parts(settings, "fct_order_lines")) == [
        "2017-05",
        "2017-06",
        "2017-08",
        "2017-09",
    ]
    for version_id in (made[0], made[1], made[3], made[4]):
        assert len(everything(settings, version_id)["fct_order_lines"]) == 1


def test_a_periodic_table_keeps_other_dates_and_replaces_its_own(settings):
    for day, clients in ((DAY, ("c1",)), (NEXT, ("c1", "c2"))):
        build_without_dbt(settings, day_run(day), LINES)
        publish_marts(settings, day_run(day))
        publish_table(settings, day_run(day), "client_scores", scores(day, *clients), step="score")
    assert [row["as_of_date"] for row in everything(settings)["client_scores"]] == [DAY, NEXT, NEXT]
    publish_table(settings, day_run(NEXT), "client_scores", scores(NEXT, "c3"), step="score")
    found = [(row["as_of_date"], row["client_id"]) for row in everything(settings)["client_scores"]]
    assert found == [(DAY, "c1"), (NEXT, "c3")]


def test_L3_the_marts_of_a_day_carry_scores_of_earlier_dates_only(settings):
    for day in (DAY, NEXT):
        build_without_dbt(settings, day_run(day), LINES)
        publish_marts(settings, day_run(day))
        publish_table(settings, day_run(day), "client_scores", scores(day, "c1"), step="score")
    past = day_run(NEXT, revision=2, is_latest=False)
    build_without_dbt(settings, past, LINES)
    version_id, _ = publish_marts(settings, past)
    assert [row["as_of_date"] for row in everything(settings, version_id)["client_scores"]] == [DAY]


def test_a_periodic_table_may_gain_a_column(settings):
    build_without_dbt(settings, day_run(DAY), LINES)
    publish_marts(settings, day_run(DAY))
    publish_table(settings, day_run(DAY), "client_scores", scores(DAY, "c1"), step="score")
    build_without_dbt(settings, day_run(NEXT), LINES)
    publish_marts(settings, day_run(NEXT))
    wider = scores(NEXT, "c1").append_column("high", pa.array([0.75]))
    publish_table(settings, day_run(NEXT), "client_scores", wider, step="score")
    assert [row["high"] for row in everything(settings)["client_scores"]] == [None, 0.75]


def test_a_day_of_the_past_is_published_without_moving_current(settings):
    build_without_dbt(settings, day_run(), LINES)
    newest, _ = publish_marts(settings, day_run())
    past = day_run(date(2017, 9, 1), is_latest=False)
    build_without_dbt(settings, past, LINES[:1])
    version_id, _ = publish_marts(settings, past)
    publish_table(settings, past, "client_scores", scores(date(2017, 9, 1), "c1"), step="score")
    assert current_id(settings) == newest
    assert len(everything(settings, version_id)["fct_order_lines"]) == 1
    assert (settings.private_dir / "current").read_text() == day_run().run_id
    assert private_contacts_path(settings, past).exists()


def test_a_large_result_is_published_from_a_reader_batch_by_batch(settings):
    build_without_dbt(settings, day_run(), LINES)
    publish_marts(settings, day_run())
    batches = [batch for client in ("c2", "c1") for batch in scores(DAY, client).to_batches()]
    reader = pa.RecordBatchReader.from_batches(batches[0].schema, iter(batches))
    publish_table(settings, day_run(), "client_scores", reader, step="score")
    assert [row["client_id"] for row in everything(settings)["client_scores"]] == ["c1", "c2"]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (scores(NEXT, "c1"), "1 rows are not of 2017-10-01"),
        (scores(DAY, "c1").drop(["as_of_date"]), "no column as_of_date"),
        (scores(DAY, "c1").append_column("email", pa.array(["ann@example.com"])), "personal data"),
    ],
)
def test_L3_L22_a_periodic_table_of_another_date_or_with_personal_data_is_refused(settings, table, said):
    build_without_dbt(settings, day_run(), LINES)
    publish_marts(settings, day_run())
    with pytest.raises(ContractViolation, match=said):
        publish_table(settings, day_run(), "client_scores", table, step="score")
    assert [version.step for version in all_versions(settings)] == ["publish"]


def test_a_periodic_table_before_the_marts_is_refused(settings):
    with pytest.raises(ContractViolation, match="publish first"):
        publish_table(settings, day_run(), "client_scores", scores(DAY, "c1"), step="score")


@pytest.mark.parametrize("name", ["../secrets", "a b", "x;drop", ""])
def test_L23_a_table_name_that_is_a_path_or_sql_is_refused(settings, name):
    with pytest.raises(ContractViolation, match="is not a name"):
        publish_table(settings, day_run(), name, scores(DAY, "c1"), step="score")


def test_L5_an_unfinished_build_is_not_published_and_yesterday_stays(settings):
    build_without_dbt(settings, day_run(), LINES)
    version_id, _ = publish_marts(settings, day_run())
    prepare_build(settings, day_run(NEXT), raw_files={}, ledger=[])
    with pytest.raises(ContractViolation, match="did not pass its tests"):
        publish_marts(settings, day_run(NEXT))
    assert current_id(settings) == version_id


def test_a_sum_that_parquet_would_round_is_refused(settings):
    prepare_build(settings, day_run(), raw_files={}, ledger=[])
    with build_connection(settings, day_run(), read_only=False) as connection:
        connection.execute("create table marts.kpi_daily as select sum(i) as units from range(3) r(i)")
    mark_built(settings, day_run(), [TableSpec("kpi_daily")])
    with pytest.raises(ContractViolation, match=r"kpi_daily\.units: the type HUGEINT"):
        publish_marts(settings, day_run())


def test_L22_addresses_lie_in_a_store_that_only_its_owner_may_read_and_go_with_their_run(settings):
    build_without_dbt(settings, day_run(), LINES)
    publish_marts(settings, day_run())
    path = private_contacts_path(settings, day_run())
    assert pq.read_table(path).to_pylist() == [{"client_id": "c1", "email": "ann@example.com"}]
    modes = [p.stat().st_mode & 0o777 for p in (path.parent, path, path.parent / "current")]
    assert modes == [0o700, 0o600, 0o600]
    assert "ann@example.com" not in repr(everything(settings))
    build_without_dbt(settings, day_run(NEXT), LINES)
    publish_marts(settings, day_run(NEXT))
    private.prune_contacts(settings, keep=[])
    assert private_contacts_path(settings, day_run(NEXT)).exists()
    with pytest.raises(ContractViolation, match="no private contacts"):
        private_contacts_path(settings, day_run())


PUBLISH_AND_DIE = """
import sys
from datetime import date
from pathlib import Path
from factories.tiny_warehouse import day_run, kill_self_at, tiny_settings
from perennial.warehouse.publish import publish_marts
kill_self_at("os.rename", sys.argv[2])
publish_marts(tiny_settings(Path(sys.argv[1])), day_run(date(2017, 10, 2)))
"""


@pytest.mark.parametrize(
    "place", ["2017-09-", "kpi_daily/", "contacts-", "manifest.json", "000002-", "versions/.000002-", "current"]
)
def test_L1_L5_killed_anywhere_while_publishing_readers_keep_yesterday_and_a_rerun_gives_the_same(
    settings, tmp_path, place
):
    build_without_dbt(settings, day_run(), LINES)
    publish_marts(settings, day_run())
    yesterday = everything(settings)
    build_without_dbt(settings, day_run(NEXT), [*LINES, ("4", "c3", date(2017, 9, 2), "3")])
    paths = f"{REPOSITORY / 'plugins'}:{REPOSITORY / 'tests'}"
    died = subprocess.run(
        [sys.executable, "-c", PUBLISH_AND_DIE, str(tmp_path), place], env={"PYTHONPATH": paths}, check=False
    )
    assert died.returncode == -9
    assert everything(settings) == yesterday
    version_id, rows = publish_marts(settings, day_run(NEXT))
    assert rows == {"fct_order_lines": 4, "kpi_daily": 4}
    assert everything(settings) == everything(settings, version_id)
    assert [row["order_key"] for row in everything(settings)["fct_order_lines"]] == ["1", "2", "3", "4"]
    prune(settings)
    assert [path for path in Path(settings.warehouse_dir).rglob(".*") if path.name != ".publish.lock"] == []
