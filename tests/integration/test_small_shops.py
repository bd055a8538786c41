"""The day goes on for odd clients and small shops: each score is given with its uncertainty, or refused in a sentence."""

from __future__ import annotations

import random
import shutil
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from perennial.core.settings import REPOSITORY, load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.pipeline.day import run_day
from perennial.pipeline.explain import explain

pytestmark = [pytest.mark.integration, pytest.mark.slow]

END = datetime(2011, 12, 9, 12)
RETURNS_ONLY, ONE_ORDER, GIANT, GAP = 20001, 20002, 20003, 20004


def line(invoice, client, day, *, quantity=1, price=5.0):
    return {
        "Invoice": invoice,
        "StockCode": f"P{(client or 0) % 9}",
        "Description": "A thing",
        "Quantity": quantity,
        "InvoiceDate": day,
        "Price": price,
        "Customer ID": float(client) if client else None,
        "Country": "United Kingdom",
    }


def ordinary(clients, days, seed=3):
    """Clients who buy by chance at a pace of their own; one in three stops."""
    chance = random.Random(seed)
    rows = [line("500000", 10001, END)]
    for client in range(10001, 10001 + clients):
        pace, stops = chance.uniform(0.02, 0.2), chance.choice([days, days, chance.randrange(days)])
        for day in range(days):
            if day < stops and chance.random() < pace:
                moment = END - timedelta(days=days - day)
                price = round(chance.uniform(2, 30), 2)
                rows.append(line(f"5{len(rows):05d}", client, moment, quantity=chance.randrange(1, 5), price=price))
    return rows


def odd():
    rows = [line(f"C6{n}000", RETURNS_ONLY, END - timedelta(days=9 + n), quantity=-2) for n in range(3)]
    rows += [line("600001", ONE_ORDER, END - timedelta(days=20))]
    rows += [line("600002", GIANT, END - timedelta(days=30), quantity=80_000, price=12.5)]
    rows += [line("600003", GAP, datetime(2009, 12, 2, 9)), line("600004", GAP, END - timedelta(days=3))]
    return [*rows, line("600005", None, END - timedelta(days=1))]


def shop(folder, rows):
    """The settings of a home in which the day of these rows was run, and what the run told."""
    config = folder / "config"
    shutil.copytree(REPOSITORY / "config/examples/online_retail", config)
    sources = config / "sources.yml"
    sources.write_text(sources.read_text().replace("settle_seconds: 2", "settle_seconds: 0"))
    settings = load_settings({"PERENNIAL_HOME": str(folder / "home"), "PERENNIAL_CONFIG": str(config)})
    target = settings.landing / "online_retail"
    target.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), target / "year_2011.parquet")
    result = run_day(settings)
    assert result.run is not None
    assert result.run.state == "done"
    return settings, {step.step: step for step in result.steps}


def told(settings, client):
    run = last_run(open_ledger(settings))
    assert run is not None
    found = explain(settings, str(client), run)
    return {score["score"]: score for score in found["scores"]}, found["no_score"]


def test_odd_clients_have_a_score_with_its_uncertainty_or_a_sentence(tmp_path):
    settings, steps = shop(tmp_path, ordinary(150, 420) + odd())
    churn = {}
    for client in (10001, ONE_ORDER, GIANT, GAP):
        scores, missing = told(settings, client)
        churn[client] = scores["churn_risk"]["value"]
        assert 0 < churn[client] < 1
        for name, score in scores.items():
            if name.startswith("value_"):
                assert score["low"] <= score["value"] <= score["high"], f"{name} of {client}"
                assert score["value"] < 2_000_000
        assert "churn_risk" not in missing
    assert len({round(value, 4) for value in churn.values()}) == 4
    scores, missing = told(settings, RETURNS_ONLY)
    assert scores == {}
    assert "no order that counts until 2011-12-09" in missing["churn_risk"]
    assert steps["score"].rows["churn_risk"] > 140


def test_a_shop_of_thirty_clients_and_twenty_days_says_why_it_has_no_scores_and_its_day_is_done(tmp_path):
    settings, steps = shop(tmp_path, ordinary(30, 20))
    refused = [note for note in steps["score"].notes if "NO SCORES" in note]
    assert refused
    assert all("too little history" in note for note in refused)
    scores, missing = told(settings, 10001)
    assert scores == {}
    assert "too little history" in missing["churn_risk"]
    assert steps["score"].rows.get("churn_risk", 0) == 0
