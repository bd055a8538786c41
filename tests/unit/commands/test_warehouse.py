from __future__ import annotations

import json
from datetime import date

import pyarrow as pa

from factories.tiny_warehouse import build_without_dbt, day_run
from perennial.warehouse.publish import publish_marts, publish_table
from perennial.warehouse.versions import parts_dir, versions_dir

DAY, NEXT = date(2017, 10, 1), date(2017, 10, 2)
LINES = [("1", "c1", date(2017, 8, 3), "10.00"), ("2", "c2", date(2017, 9, 30), "5.50")]


def publish(settings, day, lines, **told):
    build_without_dbt(settings, day_run(day), lines)
    return publish_marts(settings, day_run(day), built_from=told)[0]


def test_before_anything_is_published_it_says_so_and_what_to_do(perennial):
    outcome = perennial("warehouse", "status")
    assert outcome.code == 3
    assert "nothing is published yet -> run a day first" in outcome.err


def test_status_says_what_is_published_from_what_and_how_it_differs_from_the_day_before(
    perennial, settings, monkeypatch
):
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-03T04:05:06+00:00")
    before = publish(settings, DAY, LINES)
    told = {"project": "abc123", "tests": {"passed": 7, "warned": 1}}
    publish(settings, NEXT, [*LINES, ("3", "c1", date(2017, 9, 1), "7")], **told, warnings=["late: 3 rows"])
    state = perennial("warehouse", "status", "--json").json
    assert (state["id"], state["as_of"], state["run_id"]) == (
        "000002-2017-10-02-publish",
        "2017-10-02",
        "2017-10-02.r1",
    )
    assert state["published_at"] == "2017-10-03T04:05:06+00:00"
    assert state["compared_with"] == before
    assert {name: state["built_from"][name] for name in told} == told
    lines = next(one for one in state["tables"] if one["table"] == "fct_order_lines")
    assert (lines["rows"], lines["rows_before"], lines["rows_more"], lines["files"]) == (3, 2, 1, 2)
    assert 0 < lines["bytes_written"] < lines["bytes"]  # August was not written again
    shown = perennial("warehouse", "status").out
    assert "Built: unknown how, by the dbt project abc123" in shown
    assert "Tests: 7 passed, 1 warned\n  warned: late: 3 rows" in shown


def test_status_counts_the_batches_of_each_source_with_their_newest_date(perennial, settings):
    from perennial.warehouse.build_db import build_connection

    build_without_dbt(settings, day_run(), LINES)
    with build_connection(settings, day_run(), read_only=False) as connection:
        connection.execute(
            "create table raw.ledger_batches as select 'shop' as source, 'sales' as source_entity, 'committed' as state, "
            "10 as loaded, 1 as quarantined, day as as_of from (values (date '2017-09-30'), (date '2017-10-01')) as d(day)"
        )
    publish_marts(settings, day_run())
    told = perennial("warehouse", "status", "--json").json["built_from"]["sources"]
    counts = {"batches": 2, "rows": 20, "quarantined": 2, "newest": "2017-10-01"}
    assert told == [{"source": "shop", "entity": "sales", **counts}]


def test_versions_are_listed_newest_first_with_the_one_that_readers_open(perennial, settings):
    made = [publish(settings, day, LINES[:count]) for count, day in ((1, DAY), (2, NEXT))]
    listed = perennial("warehouse", "versions", "--json").json
    assert [(one["id"], one["current"]) for one in listed] == [(made[1], True), (made[0], False)]
    assert perennial("warehouse", "versions").code == 0


def scored(settings, day, **more):
    scores = pa.table({"client_id": ["c1"], "as_of_date": [day], "value": [0.5], **more})
    publish_table(settings, day_run(day), "client_scores", scores, step="score")


def test_verify_reads_every_row_and_finds_all_whole_also_of_parts_that_are_older_than_a_column(perennial, settings):
    publish(settings, DAY, LINES)
    scored(settings, DAY)
    publish(settings, NEXT, LINES)
    scored(settings, NEXT, high=[0.75])
    outcome = perennial("warehouse", "verify")
    assert (outcome.code, outcome.out) == (0, "000004-2017-10-02-score: 5 files, whole\n")


def test_verify_names_the_file_that_is_missing_changed_or_broken_and_the_fix(perennial, settings):
    version = publish(settings, DAY, LINES)
    august, september = sorted((parts_dir(settings) / "fct_order_lines").iterdir())
    (kpi,) = (parts_dir(settings) / "kpi_daily").iterdir()
    august.write_bytes(september.read_bytes())
    kpi.write_bytes(kpi.read_bytes()[:-20])
    september.unlink()
    outcome = perennial("warehouse", "verify", "--json", "--version", version)
    assert outcome.code == 3
    problems = {problem["where"].split("/")[-1][:9]: problem for problem in outcome.json["problems"]}
    assert {name: problem["message"].split(":")[0] for name, problem in problems.items()} == {
        "2017-08-" + august.name[8]: "its 1 rows are not the 1 that were written",
        "2017-09-" + september.name[8]: "the file is missing",
        kpi.name[:9]: "it cannot be read",
    }
    assert all("publish again" in problem["fix"] for problem in problems.values())


def test_verify_finds_a_view_that_is_not_the_manifests(perennial, settings):
    version = publish(settings, DAY, LINES)
    manifest = versions_dir(settings) / version / "manifest.json"
    told = json.loads(manifest.read_text())
    told["tables"]["kpi_daily"]["parts"] = []
    manifest.write_text(json.dumps(told))
    outcome = perennial("warehouse", "verify")
    assert outcome.code == 3
    assert "kpi_daily: the view has 2 rows, the manifest 0" in outcome.err
