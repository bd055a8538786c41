"""Response scores of our own campaigns: arms as assigned, orders after, refusals in words; on the small shop."""

from __future__ import annotations

import shutil
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from factories.small_shop import UNTIL
from perennial.ledger.assignments import record
from perennial.ledger.runs import version_of
from perennial.ledger.tables import model_cards
from perennial.scoring.uplift import training as uplift_training
from perennial.warehouse.reader import open_published

ASSIGNED_ON = UNTIL - timedelta(days=30)


@pytest.fixture
def campaign(trained, tmp_path, monkeypatch):
    """The small shop with a newsletter that half of the clients were held back from; few are enough here."""
    config = tmp_path / "config"
    shutil.copytree(trained.settings.config_dir, config)
    card = config / "campaigns/newsletter.yml"
    card.write_text(card.read_text().replace("control_share: 0.1", "control_share: 0.5"))
    trained.settings = trained.settings.model_copy(update={"config_dir": config})
    monkeypatch.setattr(uplift_training, "MIN_CLIENTS", 30)
    monkeypatch.setattr(uplift_training, "MIN_EVENTS", 5)
    return trained


def _buyers_after(day, days=14):
    """Every client with an order before, and whether another came within the window."""
    last = ASSIGNED_ON + timedelta(days=days)
    with open_published(day.settings, version_of(day.engine, day.run.run_id)) as published:
        rows = published.query(
            "select client_id, max(case when ordered_on > ? and ordered_on <= ? then 1 else 0 end) as bought "
            "from fct_orders where ordered_on <= ? group by client_id having min(ordered_on) <= ? order by client_id",
            [ASSIGNED_ON, last, last, ASSIGNED_ON],
        )
    return {row["client_id"]: bool(row["bought"]) for row in rows.to_pylist()}


def _assign(day, arms):
    rows = [{"campaign_id": "newsletter", "client_id": client, "arm": arm} for client, arm in sorted(arms.items())]
    record(day.engine, pa.Table.from_pylist(rows).to_batches(), on=ASSIGNED_ON)


def test_a_campaign_that_changes_nothing_gets_no_response_score_and_the_card_says_why(campaign):
    _assign(campaign, {client: ("target", "control")[n % 2] for n, client in enumerate(_buyers_after(campaign))})
    notes = campaign.train().notes
    assert any("response_newsletter: refused, it is not separated from random" in note for note in notes)
    assert "response_newsletter: not due" in campaign.train().notes
    report = campaign.score()
    assert "churn_risk" in report.rows
    assert "response_newsletter" not in report.rows
    assert any(note.startswith("response_newsletter: NO SCORES") for note in report.notes)


@pytest.mark.slow
def test_a_campaign_that_changes_some_gives_each_client_the_difference_with_an_interval(campaign):
    recent = {client: n % 2 for n, client in enumerate(_buyers_after(campaign))}
    with open_published(campaign.settings, version_of(campaign.engine, campaign.run.run_id)) as published:
        orders = published.query(
            "select client_id, count(*) as n from fct_orders where ordered_on <= ? group by client_id", [ASSIGNED_ON]
        ).to_pylist()
    often = {row["client_id"] for row in sorted(orders, key=lambda row: -row["n"])[: len(orders) // 2]}
    arms = {}
    for client, bought in _buyers_after(campaign).items():  # as if the contact made those buy who buy often
        told = bought if client in often else bool(recent[client])
        arms[client] = "target" if told else "control"
    _assign(campaign, arms)
    notes = campaign.train().notes
    assert any("response_newsletter-2017-10-01" in note and "is the champion (qini" in note for note in notes)
    report = campaign.score()
    assert report.rows["response_newsletter"] == report.rows["churn_risk"]
    scored = campaign.scored("response_newsletter").to_pylist()
    assert all(row["low"] <= row["value"] <= row["high"] for row in scored)
    mean = {group: [r["value"] for r in scored if (r["client_id"] in often) == group] for group in (True, False)}
    assert sum(mean[True]) / len(mean[True]) > sum(mean[False]) / len(mean[False]) + 0.05
    first = campaign.scored("response_newsletter")
    with campaign.engine.begin() as connection:
        connection.execute(sa.delete(model_cards).where(model_cards.c.score == "response_newsletter"))
    campaign.train()
    campaign.score()
    assert campaign.scored("response_newsletter").equals(first)  # L2


def test_L8_arms_that_were_not_drawn_as_the_card_says_teach_nothing():
    task = uplift_training.ResponseTask("response_newsletter", 14, control_share=0.5)
    treatment = np.repeat([1.0, 0.0], [900, 700])
    outcome = np.tile([0.0, 1.0], 800)
    assert "the card draws 50.0%" in str(task.too_few(treatment, outcome))
    assert task.too_few(treatment[100:], outcome[100:]) is None
    assert "at least 30 are needed" in str(task.too_few(treatment[100:], outcome[100:] * 0))


def test_a_campaign_with_few_clients_says_how_many_are_needed(trained):
    _assign(trained, dict.fromkeys(_buyers_after(trained), "target"))
    notes = trained.train().notes
    assert any(
        note.startswith("response_newsletter: not trained, ") and "0 control clients with complete windows" in note
        for note in notes
    )


def test_L3_labels_of_a_response_begin_after_the_assignment_and_end_before_the_day(campaign):
    late = UNTIL - timedelta(days=13)
    rows = [{"campaign_id": "newsletter", "client_id": c, "arm": "target"} for c in _buyers_after(campaign)]
    record(campaign.engine, pa.Table.from_pylist(rows).to_batches(), on=late)
    notes = campaign.train().notes
    assert any("not trained, 0 contacted and 0 control" in note for note in notes)
