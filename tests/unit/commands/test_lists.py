from __future__ import annotations

import shutil
from datetime import date, datetime

import pyarrow as pa
import pytest
import sqlalchemy as sa

from factories.tiny_warehouse import build_without_dbt
from perennial.contracts.scores import CAMPAIGN_OUTCOMES
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, open_run
from perennial.ledger.tables import lists
from perennial.warehouse.publish import publish_marts, publish_table

CARD = """
version: 1
id: win_back
name: Win back
owner: marketing
goal: lost clients come back
kind: win_back
nature: bonus
audience: churn_risk > 0.5
channels: [email]
message: We miss you
offer: {text: five off}
expected_value: {basis: value_90d, prior_effect: 0.02, prior_source: a guess}
success_metric: orders_90d
success_window_days: 28
"""
DAY = date(2017, 10, 1)


@pytest.fixture
def planned(settings):
    """A day of one campaign: two targets, one control, three refused; a list of two."""
    for name in ("segments", "campaigns"):
        shutil.rmtree(settings.config_dir / name, ignore_errors=True)
    (settings.config_dir / "campaigns").mkdir()
    (settings.config_dir / "campaigns" / "win_back.yml").write_text(CARD)
    engine = open_ledger(settings)
    run = open_run(engine, DAY, (), settings.config_digest())
    build_without_dbt(settings, run, [])
    publish_marts(settings, run)
    outcomes = ["target", "target", "control", "refused", "refused", "refused"]
    rules = ["allocated", "allocated", "allocated", "no_consent", "no_consent", "cap"]
    rows = [
        {
            "as_of_date": DAY,
            "campaign_id": "win_back",
            "client_id": f"c{n}",
            "channel": "email",
            "outcome": outcome,
            "rule": rule,
            "value": 2.5,
            "cost": 0.01,
        }
        for n, (outcome, rule) in enumerate(zip(outcomes, rules, strict=True))
    ]
    table = pa.Table.from_pylist(rows, schema=CAMPAIGN_OUTCOMES)
    version = publish_table(settings, run, "campaign_outcomes", table, step="plan")
    advance(engine, run.run_id, "planned", version_id=version)
    counts = {"size": 2, "sent": 2, "rejected": 0, "skipped": 0, "pending": 0}
    with engine.begin() as connection:
        connection.execute(
            sa.insert(lists).values(
                list_id="2017-10-01/win_back__email", run_id=run.run_id, destination="outbox", campaign_id="win_back",
                channel="email", as_of=DAY, list_type="send", state="delivered", **counts, reasons={}, recorded_at=datetime(2017, 10, 2),
                path="outbox/2017-10-01/win_back__email",
            )
        )  # fmt: skip
    return settings


def test_L7_the_counts_of_a_campaign_and_its_rules_are_told(perennial, planned):
    found = perennial("lists", "--json").json
    assert found["as_of"] == "2017-10-01"
    [campaign] = found["campaigns"]
    assert campaign["campaign_id"] == "win_back"
    assert (campaign["candidates"], campaign["target"], campaign["control"]) == (6, 2, 1)
    assert campaign["refused"] == {"no_consent": 2, "cap": 1}
    assert campaign["expected_value"] == 5.0


def test_L15_the_lists_are_told_with_their_sums_and_their_place(perennial, planned):
    [one] = perennial("lists", "--json").json["lists"]
    assert one["sent"] + one["rejected"] + one["skipped"] + one["pending"] == one["size"] == 2
    assert one["path"] == str(planned.home / "outbox/2017-10-01/win_back__email")


def test_people_see_a_table(perennial, planned):
    outcome = perennial("lists", "--as-of", "2017-10-01")
    assert outcome.code == 0
    [row] = [line.split() for line in outcome.out.splitlines() if line.startswith("win_back") and "no_consent" in line]
    assert row[:6] == ["win_back", "6", "3", "1", "2", "5.00"]
    assert "no_consent 2, cap 1" in outcome.out
    assert "win_back__email" in outcome.out


@pytest.mark.parametrize("arguments", [[], ["--as-of", "2017-09-30"]])
def test_a_day_that_was_not_planned_is_told_with_the_command_that_plans_it(arguments, perennial, settings):
    outcome = perennial("lists", *arguments, "--json")
    assert outcome.code == 3
    assert "planned yet" in outcome.err
    assert "perennial run" in outcome.err
