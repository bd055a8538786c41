from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import date, datetime

import pyarrow as pa
import pytest
import sqlalchemy as sa

from factories.published import AS_OF, card, client, granted, publish_shop, put, write_config
from perennial.core.errors import ContractViolation
from perennial.core.settings import REPOSITORY
from perennial.ledger.consents import append_events
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import get_run, open_run, version_of
from perennial.ledger.tables import assignments, deliveries, lists
from perennial.pipeline.plan import campaign_summary, plan
from perennial.warehouse.reader import open_published

NEXT_DAY = date(2017, 10, 2)
CLIENTS = [client(f"c{i:02}", value_90d=100.0 + i) for i in range(40)]
CARDS = (
    card("news", control_share=0.25, cool_down_days=2),
    card("risk", audience="risky", control_share=0.5, priority=1, schedule={"weekdays": ["mon"]}),
)
RULES = {"risky": "churn_risk >= 0.5 and recency_days < 30", "nobody": "recency_days > 999"}


@pytest.fixture
def settings(tmp_path):
    settings = write_config(tmp_path, campaigns=CARDS, segments=RULES)
    consent(settings, *(c["client_id"] for c in CLIENTS[:36]))
    return settings


def consent(settings, *client_ids, channels=("email",), status="granted", known_on=AS_OF):
    said = {"purpose": "marketing", "changed_at": datetime(2017, 1, 1), "known_on": known_on, "status": status}
    rows = [
        {"client_ref": who, "channel": channel, **said} for who, channel, _ in granted(*client_ids, channels=channels)
    ]
    with open_ledger(settings).begin() as connection:
        append_events(connection, pa.Table.from_pylist(rows), source="crm")


def planned(settings, run):
    """The rows of both tables of the run's day, in order."""
    with open_published(settings, version_of(open_ledger(settings), run.run_id)) as published:
        return tuple(
            published.query(f"from {name} where as_of_date = $day order by all", {"day": run.as_of}).to_pylist()
            for name in ("campaign_outcomes", "client_segments")
        )


def parts(settings, run):
    """The content of the day's parts, as the manifest names it."""
    with open_published(settings, version_of(open_ledger(settings), run.run_id)) as published:
        tables = published.manifest["tables"]
        names = ("campaign_outcomes", "client_segments")
        return {name: [part["checksum"] for part in tables[name]["parts"]] for name in names}


def arms(settings):
    with open_ledger(settings).connect() as connection:
        return sorted(map(tuple, connection.execute(sa.select(assignments)).all()))


def deliver(settings, run, campaign_id="news"):
    """What the export writes when the destination has taken the run's targets."""
    targets = [
        row for row in planned(settings, run)[0] if (row["campaign_id"], row["outcome"]) == (campaign_id, "target")
    ]
    list_id = f"{run.as_of}/{campaign_id}__email.{run.revision}"
    shared = {
        "list_id": list_id,
        "destination": "outbox",
        "campaign_id": campaign_id,
        "channel": "email",
        "as_of": run.as_of,
    }
    numbers = {"size": len(targets), "sent": len(targets), "rejected": 0, "skipped": 0, "pending": 0, "reasons": {}}
    at = {"recorded_at": datetime(2017, 10, 1)}
    with open_ledger(settings).begin() as connection:
        connection.execute(
            sa.insert(lists).values(**shared, **numbers, **at, run_id=run.run_id, list_type="send", state="delivered")
        )
        sent = [{**shared, **at, "client_id": row["client_id"]} for row in targets]
        connection.execute(
            sa.insert(deliveries), [{**row, "action": "add", "row_hash": "x", "state": "accepted"} for row in sent]
        )
    return {row["client_id"] for row in targets}


def of(rows, campaign_id, key="rule"):
    return {row["client_id"]: row[key] for row in rows if row["campaign_id"] == campaign_id}


def test_L7_the_day_is_published_with_one_outcome_for_each_candidate(settings):
    run = publish_shop(settings, CLIENTS)
    report = plan(settings, run)
    outcomes, segments = planned(settings, run)
    assert len(outcomes) == report.rows["campaign_outcomes"] == report.rows["news.candidates"] == 40
    assert report.rows["news.candidates"] == sum(report.rows[f"news.{o}"] for o in ("target", "control", "refused"))
    assert report.rows["news.refused"] == 4
    assert {row["segment"] for row in segments} == {"risky"}
    assert len(segments) == 40
    assert "risk: not scheduled on sun, no candidates" in report.notes
    assert get_run(open_ledger(settings), run.run_id).state == "planned"


def test_L8_arms_are_written_down_with_their_date(settings):
    run = publish_shop(settings, CLIENTS)
    plan(settings, run)
    outcomes, _ = planned(settings, run)
    drawn = {who: arm for who, arm in of(outcomes, "news", "arm").items() if arm}
    assert arms(settings) == [("news", who, arm, AS_OF) for who, arm in sorted(drawn.items())]
    assert set(drawn.values()) == {"target", "control"}


def test_L2_planned_again_everything_is_the_same_also_after_the_lists_are_out(settings):
    run = publish_shop(settings, CLIENTS)
    plan(settings, run)
    first, drawn, content = planned(settings, run), arms(settings), parts(settings, run)
    plan(settings, run)
    assert (planned(settings, run), arms(settings), parts(settings, run)) == (first, drawn, content)
    assert deliver(settings, run)
    plan(settings, run)
    assert (planned(settings, run), arms(settings), parts(settings, run)) == (first, drawn, content)


def test_L10_the_next_day_counts_what_was_sent_and_who_was_held_back(settings):
    run = publish_shop(settings, CLIENTS)
    plan(settings, run)
    outcomes, _ = planned(settings, run)
    sent = deliver(settings, run)
    held = {who for who, outcome in of(outcomes, "news", "outcome").items() if outcome == "control"}
    tomorrow = publish_shop(settings, CLIENTS, as_of=NEXT_DAY)
    plan(settings, tomorrow)
    rules = planned(settings, tomorrow)[0]
    assert {who for who, rule in of(rules, "news").items() if rule == "cool_down"} == sent | held
    assert {who for who, rule in of(rules, "risk").items() if rule == "cap_1_in_3d"} == sent | held
    assert sent
    assert held


def test_a_second_revision_of_the_day_keeps_what_the_first_sent_and_held_back(settings):
    first = publish_shop(settings, CLIENTS[:20])
    plan(settings, first)
    before = planned(settings, first)[0]
    sent = deliver(settings, first)
    second = publish_shop(settings, CLIENTS, batches=("late",))
    assert (second.as_of, second.revision) == (AS_OF, 2)
    plan(settings, second)
    after = planned(settings, second)[0]
    kept = {who for who, rule in of(after, "news").items() if rule == "already_sent_today"}
    assert kept == {who for who, outcome in of(before, "news", "outcome").items() if outcome != "refused"}
    assert sent < kept
    assert all(of(after, "news", "outcome")[who] == of(before, "news", "outcome")[who] for who in kept)
    assert {of(after, "news")[c["client_id"]] for c in CLIENTS[20:36]} == {"allocated"}
    plan(settings, second)
    assert planned(settings, second)[0] == after


def test_L8_a_changed_share_redraws_nobody(settings, tmp_path):
    run = publish_shop(settings, CLIENTS)
    plan(settings, run)
    drawn = arms(settings)
    put(tmp_path, "campaigns/news.yml", card("news", control_share=1.0))
    again = publish_shop(settings, CLIENTS)
    assert again.revision == 2
    plan(settings, again)
    assert arms(settings) == drawn
    assert {(w, a) for w, a in of(planned(settings, again)[0], "news", "arm").items() if a} == {
        row[1:3] for row in drawn
    }


def test_a_past_day_is_planned_for_comparison_and_draws_no_arms(settings):
    today = publish_shop(settings, CLIENTS, as_of=NEXT_DAY)
    plan(settings, today)
    drawn = arms(settings)
    with open_published(settings) as published:
        current = published.manifest["id"]
    past = publish_shop(settings, CLIENTS)
    assert not past.is_latest
    plan(settings, past)
    assert len(planned(settings, past)[0]) == 40
    assert arms(settings) == drawn
    with open_published(settings) as published:
        assert published.manifest["id"] == current


def test_L9_a_withdrawal_known_by_the_day_is_in_the_plan(settings):
    consent(settings, "c03", status="withdrawn")
    consent(settings, "c04", status="withdrawn", known_on=NEXT_DAY)
    run = publish_shop(settings, CLIENTS)
    plan(settings, run)
    rules = of(planned(settings, run)[0], "news")
    assert (rules["c03"], rules["c04"]) == ("withdrawn", "allocated")


def test_L2_a_config_that_changed_since_the_run_was_opened_stops_the_plan(settings, tmp_path):
    run = publish_shop(settings, CLIENTS)
    put(tmp_path, "campaigns/news.yml", card("news", control_share=0.9))
    with pytest.raises(ContractViolation, match=r"changed since 2017-10-01\.r1 was opened -> build the day again"):
        plan(settings, run)


def test_L6_a_run_that_has_published_nothing_is_not_planned(settings):
    run = open_run(open_ledger(settings), AS_OF, (), settings.config_digest())
    with pytest.raises(ContractViolation, match="the run has published nothing"):
        plan(settings, run)


def test_the_summary_adds_up_and_says_why_a_campaign_has_nobody(settings):
    run = publish_shop(settings, CLIENTS)
    plan(settings, run)
    news, risk = campaign_summary(settings, run)
    outcomes = [row for row in planned(settings, run)[0] if row["outcome"] == "target"]
    assert news.candidates == news.target + news.control + sum(news.refused.values()) == 40
    assert news.refused == {"no_consent": 4}
    assert news.target == len(outcomes)
    assert news.expected_value == pytest.approx(sum(row["value"] for row in outcomes), abs=0.01)
    assert news.cost == pytest.approx(0.01 * len(outcomes), abs=0.005)
    assert (risk.candidates, risk.note) == (0, "not scheduled on sun")


def test_a_day_that_is_not_planned_has_no_summary(settings):
    with pytest.raises(ContractViolation, match="has not been planned"):
        campaign_summary(settings, publish_shop(settings, CLIENTS))


PLAN_AND_DIE = """
import sys
from factories.tiny_warehouse import kill_self_at
from perennial.core.settings import load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.pipeline.plan import plan
settings = load_settings()
kill_self_at("os.rename", sys.argv[1])
plan(settings, last_run(open_ledger(settings)))
"""


@pytest.mark.parametrize("place", ["client_segments/", "versions/.000003-", "campaign_outcomes/", "versions/.000004-"])
def test_L1_L8_killed_anywhere_while_planning_a_rerun_gives_the_same(settings, tmp_path, place):
    run = publish_shop(settings, CLIENTS)
    environ = {
        **os.environ,
        "PERENNIAL_CONFIG": str(settings.config_dir),
        "PERENNIAL_HOME": str(settings.home),
        "PYTHONPATH": f"{REPOSITORY / 'plugins'}:{REPOSITORY / 'tests'}",
    }
    died = subprocess.run(
        [sys.executable, "-c", PLAN_AND_DIE, place], check=False, env=environ, capture_output=True, text=True
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    drawn = arms(settings)
    plan(settings, run)
    once = planned(settings, run)
    assert arms(settings) == drawn
    assert len(once[0]) == 40
    whole = write_config(tmp_path / "whole", campaigns=CARDS, segments=RULES)
    consent(whole, *(c["client_id"] for c in CLIENTS[:36]))
    other = publish_shop(whole, CLIENTS)
    plan(whole, other)
    assert (planned(whole, other), arms(whole), parts(whole, other)) == (once, drawn, parts(settings, run))
