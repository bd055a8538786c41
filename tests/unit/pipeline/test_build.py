from __future__ import annotations

import json
import re
import subprocess
import sys
from datetime import date

import pytest

from factories.tiny_warehouse import open_days, open_first_day, open_second_day, tiny_settings, write_model
from perennial.core.errors import ContractViolation
from perennial.core.settings import REPOSITORY
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import get_run, last_run, version_of
from perennial.pipeline.build import build, build_features, publish, training_features
from perennial.pipeline.build_reports import read_report
from perennial.pipeline.dbt_docs import docs_page, refresh_docs
from perennial.pipeline.transform import project_digest
from perennial.warehouse.publish import private_contacts_path
from perennial.warehouse.reader import open_published, run_sql
from perennial.warehouse.versions import current_id

KPI = "models/marts/core/kpi_daily.sql"
KPI_TESTS = "models/marts/core/kpi_daily.yml"


@pytest.fixture
def settings(tmp_path):
    return tiny_settings(tmp_path)


@pytest.fixture
def runs(settings):
    return open_days(settings)


def everything(settings, version_id=None):
    with open_published(settings, version_id) as published:
        return {
            name: published.query(f"from {name}").to_pylist() for name in published.tables() if name != "ledger_runs"
        }


def published_first_day(settings):
    run = open_first_day(settings)
    build(settings, run)
    publish(settings, run)
    return run


def test_a_day_is_built_tested_and_published_with_our_own_count_of_rows(settings, runs):
    report = build(settings, runs[1])
    assert {name: report.rows[name] for name in ("fct_order_lines", "kpi_daily", "ledger_batches")} == {
        "fct_order_lines": 3, "kpi_daily": 3, "ledger_batches": 3,
    }  # fmt: skip
    assert {"prepare", "tests", "kpi_daily"} <= report.seconds.keys()
    published = publish(settings, runs[1])
    assert published.rows == report.rows
    engine = open_ledger(settings)
    assert get_run(engine, runs[1].run_id).state == "published"
    assert version_of(engine, runs[1].run_id) == current_id(settings)
    assert private_contacts_path(settings, runs[1]).exists()
    sums = run_sql(settings, "select sum(landed) = sum(loaded + quarantined + duplicate) as same from ledger_batches")
    assert sums.read_all().to_pylist() == [{"same": True}]
    assert sorted(path.name for path in settings.dbt_project_dir.iterdir()) == [
        "dbt_project.yml",
        "macros",
        "models",
        "profiles.yml",
    ]


def test_L2_L3_two_builds_in_one_process_see_each_their_own_date_and_batches(settings, runs):
    first, second = runs
    for run in (second, first):
        build(settings, run)
        publish(settings, run)
    rows = {run: everything(settings, version_of(open_ledger(settings), run.run_id))["fct_order_lines"] for run in runs}
    assert [row["order_key"] for row in rows[second]] == ["1", "2", "3"]
    assert [row["order_key"] for row in rows[first]] == ["1", "2"]
    assert current_id(settings) == version_of(open_ledger(settings), second.run_id)


def test_L2_building_and_publishing_again_gives_the_same_version(settings, runs):
    build(settings, runs[1])
    first = publish(settings, runs[1])
    build(settings, runs[1])
    assert publish(settings, runs[1]).notes == first.notes


def test_L5_a_failed_test_is_told_with_its_rows_and_yesterday_stays_published(settings):
    yesterday = published_first_day(settings)
    second = open_second_day(settings, yesterday)
    before = everything(settings)
    values = "data_tests: [{accepted_values: {arguments: {values: [1], quote: false}}}]"
    write_model(
        settings.dbt_project_dir,
        KPI_TESTS,
        f"models: [{{name: stg_shop__lines, columns: [{{name: amount, {values}}}]}}]",
    )
    with pytest.raises(
        ContractViolation, match=r"accepted_values_stg_shop__lines_amount.*such as .*value_field=5\.5000"
    ) as caught:
        build(settings, second)
    assert "dbt/latest/target/compiled" in caught.value.problems[0].fix
    report = read_report(settings, second.run_id)
    (failure,) = report["failures"]
    assert (report["state"], failure["name"][:29]) == ("failed", "accepted_values_stg_shop__lin")
    assert "select" in failure["sql"]
    assert {"value_field": "5.5000", "n_records": "1"} in failure["rows"]
    with pytest.raises(ContractViolation, match="did not pass its tests"):
        publish(settings, second)
    assert get_run(open_ledger(settings), second.run_id).state == "open"
    assert everything(settings) == before


def test_L22_a_failed_test_on_addresses_shows_none_of_them(settings, runs):
    tests = "data_tests: [{accepted_values: {arguments: {values: [nobody]}}}]"
    write_model(
        settings.dbt_project_dir, KPI_TESTS, f"models: [{{name: contacts, columns: [{{name: email, {tests}}}]}}]"
    )
    with pytest.raises(ContractViolation, match="n_records=1") as caught:
        build(settings, runs[1])
    assert "ann" not in str(caught.value) + json.dumps(read_report(settings, runs[1].run_id))


def test_L22_a_model_that_fails_on_an_address_does_not_show_it(settings, runs):
    text = "select cast(email as int) as number from {{ source('raw', 'clients') }}"
    write_model(settings.dbt_project_dir, "models/marts/core/bad.sql", text)
    with pytest.raises(
        ContractViolation, match=r"bad: .*Conversion Error: Could not convert string '\*\*\*'"
    ) as caught:
        build(settings, runs[1])
    assert "ann" not in str(caught.value)


def test_L22_a_mart_whose_column_is_tagged_personal_stops_the_build(settings, runs):
    write_model(settings.dbt_project_dir, "models/marts/core/vip.sql", "select 'Ann' as nickname")
    column = "{name: nickname, config: {meta: {personal: true}}}"
    write_model(settings.dbt_project_dir, KPI_TESTS, f"models: [{{name: vip, columns: [{column}]}}]")
    with pytest.raises(ContractViolation, match=r"vip\.nickname: a published table holds personal data"):
        build(settings, runs[1])


def test_a_project_that_cannot_be_parsed_is_told_by_file(settings, runs):
    write_model(settings.dbt_project_dir, KPI, "select {{ nothing(")
    with pytest.raises(ContractViolation, match=re.escape(KPI)):
        build(settings, runs[1])


def test_L2_a_config_that_holds_the_date_is_refused_because_the_parse_is_kept(settings, runs):
    where = """{where: "ordered_on < '{{ var('as_of') }}'"}"""
    tests = f"data_tests: [{{not_null: {{config: {where}}}}}]"
    write_model(
        settings.dbt_project_dir,
        KPI_TESTS,
        f"models: [{{name: stg_shop__lines, columns: [{{name: amount, {tests}}}]}}]",
    )
    with pytest.raises(ContractViolation, match="its config holds the date"):
        build(settings, runs[1])


def test_a_part_of_the_project_can_be_built_and_is_not_for_publication(settings, runs):
    report = build(settings, runs[1], select="+fct_order_lines", extra_vars={"currency": "EUR"})
    assert report.rows == {}
    assert "kpi_daily" not in report.seconds
    assert get_run(open_ledger(settings), runs[1].run_id).state == "open"
    with pytest.raises(ContractViolation, match="did not pass its tests"):
        publish(settings, runs[1])


def test_L3_training_reads_the_days_own_models_for_many_dates_and_changes_nothing_of_the_day(settings, runs):
    build(settings, runs[1])
    dates = [date(2017, 10, 1), date(2017, 9, 1)]
    assert training_features(settings, runs[1], dates).to_pylist() == [
        {"client_id": "c1", "as_of_date": date(2017, 9, 1), "orders": 1, "bought_next": True},
        {"client_id": "c1", "as_of_date": date(2017, 10, 1), "orders": 1, "bought_next": True},
        {"client_id": "c2", "as_of_date": date(2017, 10, 1), "orders": 1, "bought_next": False},
    ]
    sampled = training_features(settings, runs[1], dates, max_clients=1)
    assert len(set(sampled["client_id"].to_pylist())) == 1
    assert publish(settings, runs[1]).rows["client_features"] == 2
    assert {row["as_of_date"] for row in everything(settings)["client_features"]} == {date(2017, 10, 2)}
    assert "client_labels" not in everything(settings)


def test_L3_features_of_a_date_that_the_run_does_not_know_or_before_its_build_are_refused(settings, runs):
    with pytest.raises(ContractViolation, match="2017-10-03 would be made from days"):
        build_features(settings, runs[1], [date(2017, 10, 3)])
    with pytest.raises(ContractViolation, match="nothing is built"):
        build_features(settings, runs[1], [date(2017, 10, 1)])


BUILD_AND_DIE = """
import sys
from pathlib import Path
from factories.tiny_warehouse import kill_self_at, tiny_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.pipeline.build import build
settings = tiny_settings(Path(sys.argv[1]))
kill_self_at("open", sys.argv[2])
build(settings, last_run(open_ledger(settings)))
"""


@pytest.mark.parametrize("place", ["run/perennial/models/marts/core/kpi_daily.sql", "target/partial_parse.msgpack"])
def test_L1_killed_while_building_yesterday_stays_and_a_rerun_gives_the_same_tables(settings, tmp_path, place):
    undisturbed = tiny_settings(tmp_path / "undisturbed")
    for each in (settings, undisturbed):
        open_second_day(each, published_first_day(each))
    yesterday = everything(settings)
    paths = f"{REPOSITORY / 'plugins'}:{REPOSITORY / 'tests'}"
    command = [sys.executable, "-c", BUILD_AND_DIE, str(tmp_path), place]
    assert subprocess.run(command, env={"PYTHONPATH": paths}, check=False).returncode == -9
    assert everything(settings) == yesterday
    with pytest.raises(ContractViolation, match="did not pass its tests"):
        publish(settings, last_run(open_ledger(settings)))
    for each in (settings, undisturbed):
        run = last_run(open_ledger(each))
        build(each, run)
        publish(each, run)
    assert everything(settings) == everything(undisturbed)
    assert len(everything(settings)["fct_order_lines"]) == 3


def test_dbt_docs_are_made_once_for_a_state_of_the_project_and_hold_no_row(settings):
    run = published_first_day(settings)
    assert docs_page(settings) is None
    assert refresh_docs(settings, run)
    page = docs_page(settings)
    assert "kpi_daily" in page.read_text()
    assert "ann@example.com" not in page.read_text()
    assert not refresh_docs(settings, run), "nothing has changed since"
    assert [path.name for path in page.parent.iterdir()] == [f"{project_digest(settings)}.html"]
