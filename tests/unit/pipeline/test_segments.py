from __future__ import annotations

import json
from datetime import timedelta

import pytest
import yaml

from factories.published import AS_OF, card, client, publish_shop, put, write_config
from perennial.cli import main
from perennial.core.errors import ConfigError, ContractViolation
from perennial.core.settings import REPOSITORY
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import version_of
from perennial.pipeline.plan import plan
from perennial.pipeline.segments import check_segments, list_segments, preview_segments
from perennial.warehouse.reader import open_published

TUESDAY = AS_OF + timedelta(days=2)
RULES = {
    "risky": "churn_risk >= 0.5",
    "recent": "recency_days < 5",
    "both": "risky and recent",
    "newly": "entered(recent, 7)",
    "gone": "exited(recent, 7)",
    "all_of_them": "true",
}


def shop(*recencies: int, **values) -> list[dict]:
    return [client(f"c{place:02}", recency_days=days, **values) for place, days in enumerate(recencies)]


def day(settings, clients, as_of=AS_OF, batches=()):
    run = publish_shop(settings, clients, as_of=as_of, batches=batches)
    plan(settings, run)
    return run


def rows(settings, run, table):
    with open_published(settings, version_of(open_ledger(settings), run.run_id)) as published:
        return published.query(f"from {table} order by all").to_pylist()


def test_L2_a_day_planned_again_and_a_past_day_change_nothing_of_history(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("news")], segments=RULES)
    day(settings, shop(1, 1, 9))
    run = day(settings, shop(2, 9, 1), TUESDAY)
    tables = ("client_segments", "client_segments_history", "segment_sizes")
    before = [rows(settings, run, table) for table in tables]
    plan(settings, run)
    assert [rows(settings, run, table) for table in tables] == before
    past = day(settings, shop(9, 9, 9), AS_OF, batches=("late",))
    assert not past.is_latest
    assert [rows(settings, run, table) for table in tables] == before


def test_a_preview_counts_reach_revenue_overlap_and_change_and_shows_masked_clients(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("news")], segments=RULES)
    day(settings, shop(1, 1, 9))
    run = day(settings, shop(2, 9, 1, revenue_365d=100), TUESDAY)
    told = preview_segments(settings, "recent", run)
    [one] = told["segments"]
    assert (one["clients"], one["of"], one["revenue_365d"], one["revenue_share"]) == (2, 3, 200.0, 0.666667)
    assert one["mailable"] == {"account_manager": 2, "call": 0, "email": 0, "sms": 0}  # nobody has said yes
    assert next((o["segment"], o["in_both"], o["jaccard"]) for o in one["overlaps"]) == ("both", 2, 1.0)
    assert one["change"] == {
        "since": AS_OF, "clients_before": 2, "is_new_rule": False, "entered": 1, "exited": 1,
    }  # fmt: skip
    assert [(d["as_of_date"], d["clients"]) for d in one["drift"]] == [(AS_OF, 2), (TUESDAY, 2)]
    assert one["examples"][0] == {
        "client": "c00***",
        "why": [{"term": "recency_days < 5", "holds": True, "values": {"recency_days": 2}}],
    }
    assert told["scan"]["clients"] == 3
    assert told["scan"]["segments"] == len(RULES)
    assert "recent and both are nearly the same clients" in told["remarks"]


def test_a_preview_of_a_file_stands_beside_ours_and_writes_nothing(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("news")], segments=RULES)
    day(settings, shop(1, 1, 9))
    run = day(settings, shop(1, 1, 9), TUESDAY)
    file = tmp_path / "new.yml"
    file.write_text(yaml.safe_dump({"version": 1, "segments": [
        {"id": "recent", "description": "instead of ours", "where": "recency_days > 5"},
        {"id": "fresh", "description": "new", "where": "both or percentile(revenue_365d) > 50"},
    ]}))  # fmt: skip
    before = rows(settings, run, "segment_sizes")
    told = preview_segments(settings, str(file), run)
    assert [(one["segment"], one["clients"]) for one in told["segments"]] == [("recent", 1), ("fresh", 1)]
    assert told["segments"][0]["change"]["is_new_rule"]
    assert told["segments"][1]["change"] is None
    assert rows(settings, run, "segment_sizes") == before


def test_clients_of_whom_a_value_is_not_known_are_counted(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("news")], segments=RULES)
    run = day(settings, shop(1, 9, None))
    [one] = preview_segments(settings, "recent", run)["segments"]
    assert (one["clients"], one["unknown"]) == (1, 1)


def test_a_name_that_is_near_and_a_file_that_is_wrong_are_told(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("news")], segments=RULES)
    run = day(settings, shop(1))
    with pytest.raises(ConfigError, match="did you mean recent"):
        preview_segments(settings, "recnt", run)
    file = put(
        tmp_path, "segments/wrong.yml", "version: 1\nsegments: [{id: x, description: '', where: recncy_days > 3}]\n"
    )
    with pytest.raises(ConfigError, match=r"wrong.yml:2:segments.0.where.*did you mean recency_days"):
        check_segments(settings, file, run)
    with pytest.raises(ConfigError, match="does not exist"):
        preview_segments(settings, str(tmp_path / "none.yml"), run)


def test_a_check_tells_rules_of_everyone_and_of_nobody(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("news")], segments={**RULES, "none": "recency_days > 99"})
    told = check_segments(settings, None, day(settings, shop(1, 9)))
    assert told["segments"] == len(RULES) + 1
    assert "all_of_them looks at no metric and no segment: it selects everyone or nobody" in told["remarks"]
    assert {"all_of_them selects everyone", "none selects nobody"} <= set(told["remarks"])


def test_before_anything_is_published_names_are_checked_by_the_contracts(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("news")], segments={"a": "'DAIRY' in categories_180d", "b": "a"})
    assert check_segments(settings, None, None) == {"segments": 2, "remarks": []}
    assert [(one["segment"], one["used_by"], one["clients"]) for one in list_segments(settings, None)] == [
        ("a", ["b"], None), ("b", [], None),
    ]  # fmt: skip


def test_the_command_lists_checks_and_previews(tmp_path, monkeypatch, capsys):
    settings = write_config(tmp_path, campaigns=[card("news")], segments=RULES)
    monkeypatch.setenv("PERENNIAL_CONFIG", str(settings.config_dir))
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    assert main(["segments", "check"]) == 0
    assert "6 segments are right" in capsys.readouterr().out
    day(settings, shop(1, 9))
    assert main(["segments", "list", "--json"]) == 0
    assert {one["segment"]: one["clients"] for one in json.loads(capsys.readouterr().out)}["recent"] == 1
    assert main(["segments", "preview", "recent", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["segments"][0]["clients"] == 1
    assert main(["segments", "preview", "recent"]) == 0
    shown = capsys.readouterr().out
    assert "1 of 2 (50.0%)" in shown
    assert "c00***" in shown
    assert main(["segments", "preview", "recent", "--as-of", "2011-01-01"]) == ContractViolation.exit_code


def test_the_schema_for_editors_is_that_of_the_files(capsys):
    assert main(["segments", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert set(schema["$defs"]["Segment"]["required"]) == {"id", "description", "where"}
    stored = REPOSITORY / "config" / "schemas" / "segments.schema.json"
    assert json.loads(stored.read_text(encoding="utf-8")) == schema
