"""The day by the CLI on the small shop: what people see, what reruns give, what a broken input does."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
from datetime import timedelta

import pytest

from factories.small_shop import HOUSEHOLDS, UNTIL, land_crm, land_one_more_day, land_sales
from integration.running import perennial, perennial_json, tree

ONE_MORE = UNTIL + timedelta(days=1)


def _copy(home, tmp_path):
    folder = tmp_path / "home"
    shutil.copytree(home.path, folder)
    return folder


def _sql(home, query):
    return perennial_json(home, "sql", query)


def test_lists_of_both_days_lie_in_the_outbox_with_manifests_that_hold(small_home):
    import hashlib

    for day in small_home.days:
        folders = sorted((small_home.path / "outbox" / str(day)).iterdir())
        assert folders, f"no list was written for {day}"
        for folder in folders:
            manifest = json.loads((folder / "manifest.json").read_text())
            for file in manifest["files"]:
                assert hashlib.sha256((folder / file["name"]).read_bytes()).hexdigest() == file["sha256"]


def test_L1_every_landed_row_is_accounted_for_and_anyone_can_ask(small_home):
    (sums,) = _sql(
        small_home.path,
        "select sum(landed) as landed, sum(loaded + quarantined + duplicate) as accounted from ledger_batches",
    )
    assert sums["landed"] == sums["accounted"]
    landed = 0
    for path in (small_home.path / "archive").rglob("*.csv*"):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt") as file:
            landed += sum(1 for _ in csv.reader(file)) - 1
    assert sums["landed"] == landed


def test_L7_every_candidate_has_exactly_one_outcome(small_home):
    (row,) = _sql(
        small_home.path,
        "select count(*) as outcomes, count(distinct (as_of_date, campaign_id, client_id)) as candidates,"
        " count(*) filter (outcome not in ('target', 'control', 'refused')) as unknown,"
        " count(*) filter (rule is null or rule = '') as unexplained from campaign_outcomes",
    )
    assert row["outcomes"] == row["candidates"] > 0
    assert row["unknown"] == row["unexplained"] == 0


def test_L20_the_day_after_its_first_draw_a_campaign_is_measured_and_collecting(small_home):
    found = perennial_json(small_home.path, "results")
    assert found, "no campaign of the first day is measured on the second"
    drawn = _sql(
        small_home.path,
        "select distinct campaign_id from campaign_outcomes"
        f" where outcome in ('target', 'control') and as_of_date < date '{ONE_MORE}'",
    )
    assert {row["campaign_id"] for row in found} == {row["campaign_id"] for row in drawn}
    assert {row["verdict"] for row in found} == {"collecting"}
    assert all(row["open_clients"] > 0 for row in found)


def test_L8_and_L9_no_control_client_and_no_one_who_withdrew_is_in_a_list(small_home):
    control = {
        (row["campaign_id"], row["client_id"])
        for row in _sql(
            small_home.path, "select campaign_id, client_id from campaign_outcomes where outcome = 'control'"
        )
    }
    listed = set()
    for path in (small_home.path / "outbox").rglob("list.csv"):
        campaign = path.parent.name.split("__")[0]
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert rows
        listed |= {(campaign, row["client_id"]) for row in rows}
        if path.parts[-3] == str(ONE_MORE) and "email" in path.parent.name:
            assert all(row.get("email") != "household3@example.com" for row in rows), "client 3 withdrew that morning"
    assert listed
    assert not listed & control


def test_L22_the_published_warehouse_holds_no_address_and_no_name(small_home):
    parts = list((small_home.path / "warehouse/parts").rglob("*.parquet"))
    assert parts
    for path in parts:
        content = path.read_bytes()
        assert b"@example.com" not in content, path
    for table in ("dim_clients", "client_metrics"):
        (row,) = _sql(small_home.path, f"select * from {table} limit 1")
        assert not {"email", "phone", "first_name", "last_name", "birth_date"} & set(row)


def test_a_run_with_nothing_new_writes_nothing(small_home, tmp_path):
    home = _copy(small_home, tmp_path)
    before = tree(home / "outbox")
    times = {path: path.stat().st_mtime_ns for path in (home / "outbox").rglob("*")}
    result = perennial_json(home, "run")
    assert "nothing new" in json.dumps(result)
    assert tree(home / "outbox") == before
    assert {path: path.stat().st_mtime_ns for path in (home / "outbox").rglob("*")} == times


def test_L2_a_past_day_run_again_gives_the_same_lists_byte_for_byte_and_pushes_nothing(small_home, tmp_path):
    home = _copy(small_home, tmp_path)
    before = tree(home / "outbox")
    current = (home / "warehouse/current").read_text()
    perennial(home, "run", "--as-of", str(UNTIL), "--to", str(tmp_path / "again"))
    assert tree(home / "outbox") == before
    assert (home / "warehouse/current").read_text() == current
    outbox = {name: digest for name, digest in before.items() if name.startswith(str(UNTIL))}
    again = tree(tmp_path / "again")
    assert again, "the past day's lists were not written"
    assert {name.split("/", 1)[1]: d for name, d in outbox.items()} == {
        (name.split("/", 1)[1] if name.startswith(str(UNTIL)) else name): d for name, d in again.items()
    }


def test_L2_the_same_files_in_a_fresh_home_give_the_same_lists(small_home, tmp_path):
    for name in tree(small_home.path / "archive"):
        if str(ONE_MORE) not in name:
            target = tmp_path / "landing" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(small_home.path / "archive" / name, target)
    perennial(tmp_path, "run")
    expected = {n: d for n, d in tree(small_home.path / "outbox").items() if n.startswith(str(UNTIL))}
    assert tree(tmp_path / "outbox") == expected


def test_the_one_more_day_used_only_what_landed_that_day(small_home):
    batches = _sql(
        small_home.path, f"select source_entity, landed from ledger_batches where as_of = date '{ONE_MORE}' order by 1"
    )
    assert {row["source_entity"] for row in batches} == {"sales", "households", "consents"}
    assert all(row["landed"] <= HOUSEHOLDS * 6 for row in batches)


def test_L6_a_day_whose_crm_export_is_refused_is_not_run_and_someone_is_told(small_home, tmp_path):
    home = _copy(small_home, tmp_path)
    day = ONE_MORE + timedelta(days=1)
    land_sales(home / "landing", day)
    land_crm(home / "landing", day, consents=[])
    broken = home / f"landing/crm/households_{day}.csv"
    broken.write_text(broken.read_text().replace("household_id,first_name", "household,first_name"))
    result = perennial(home, "run", fails=True)
    assert result.returncode == 4
    assert f"the next day waits: crm.households has not been landed for {day}" in result.stdout
    assert "household_id" in result.stderr
    assert not (home / "outbox" / str(day)).exists()
    reason = (home / f"refused/crm/households_{day}.csv.reason.txt").read_text()
    assert "household_id" in reason
    asked = perennial(home, "run", "--as-of", str(day), fails=True)
    assert f"crm.households has not been landed for {day}" in asked.stderr


def test_a_mended_file_that_is_dropped_again_carries_the_day_to_its_lists(small_home, tmp_path):
    home = _copy(small_home, tmp_path)
    day = ONE_MORE + timedelta(days=6)  # a Sunday: the newsletter's day, a week after the last one
    land_one_more_day(home / "landing", day)
    file = home / f"landing/crm/households_{day}.csv"
    right = file.read_bytes()
    file.write_bytes(b"")
    perennial(home, "run", fails=True)
    assert not (home / "outbox" / str(day)).exists()
    file.write_bytes(right)
    perennial(home, "run")
    assert (home / "outbox" / str(day)).is_dir()


def test_a_config_with_a_typo_is_told_with_file_line_and_fix_and_nothing_runs(small_home, tmp_path):
    home = _copy(small_home, tmp_path)
    config = tmp_path / "config"
    shutil.copytree("config", config)
    policy = config / "policy.yml"
    policy.write_text(policy.read_text().replace("minimum_expected_value", "minimum_expected_vallue"))
    done = perennial(home, "check", fails=True, PERENNIAL_CONFIG=str(config))
    assert "policy.yml:" in done.stdout + done.stderr
    assert "did you mean minimum_expected_value?" in done.stdout + done.stderr
    land_one_more_day(home / "landing", ONE_MORE + timedelta(days=1))
    done = perennial(home, "run", fails=True, PERENNIAL_CONFIG=str(config))
    assert "did you mean minimum_expected_value?" in done.stderr
    assert "Traceback" not in done.stderr


def test_explain_tells_metrics_scores_with_reasons_and_each_campaign_with_its_rule(small_home):
    told = perennial_json(small_home.path, "explain", "1", "--as-of", str(UNTIL))
    text = json.dumps(told)
    assert "recency_days" in text
    assert "churn_risk" in text
    campaigns = told["campaigns"]
    assert campaigns
    assert all(campaign["outcome"] and campaign["rule"] for campaign in campaigns)


@pytest.mark.parametrize(
    "query",
    [
        "copy (select 1) to '{tmp}/x.csv'",
        "select * from read_csv('/etc/passwd')",
        "attach '{tmp}/x.duckdb'",
        "drop view dim_clients",
    ],
)
def test_L23_sql_only_reads_what_is_published(small_home, tmp_path, query):
    done = perennial(small_home.path, "sql", query.format(tmp=tmp_path), fails=True)
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_person_who_misnames_a_file_is_told_at_once_and_by_the_exit_code(small_home, tmp_path):
    home = _copy(small_home, tmp_path)
    (home / "landing/shop").mkdir(parents=True, exist_ok=True)
    (home / "landing/shop/sale.csv.gz").write_bytes(b"x")
    done = perennial(home, "run", fails=True)
    assert done.returncode == 4
    assert "sale.csv.gz: no entity takes this file name; patterns are shop/sales_{date}.csv.gz" in done.stderr
    assert "-> rename the file" in done.stderr


def test_a_day_that_is_half_there_is_told_beside_the_one_that_is_done(small_home, tmp_path):
    home = _copy(small_home, tmp_path)
    land_sales(home / "landing", ONE_MORE + timedelta(days=1))
    notes = perennial_json(home, "run")["notes"]
    assert notes == [
        "nothing new: 2017-10-02.r1 is done",
        "the next day waits: crm.households has not been landed for 2017-10-03",
        "the next day waits: crm.consents has not been landed for 2017-10-03",
    ]
