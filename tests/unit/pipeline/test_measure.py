"""The step that measures: what was drawn is read from the ledger, what was sold from the published version."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa

from factories.published import AS_OF, card, client, publish_shop, write_config
from perennial.ledger import assignments, effects
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import published_version
from perennial.pipeline.measure import RESULTS_TABLE, measure
from perennial.warehouse.engine import open_published

ORDERS = pa.schema(
    [
        ("client_id", pa.string()),
        ("ordered_on", pa.date32()),
        ("revenue", pa.decimal128(18, 4)),
        ("margin", pa.decimal128(18, 4)),
        ("units", pa.decimal128(18, 4)),
        ("counts_as_order", pa.bool_()),
    ]
)
CLIENTS = [f"c{n:03}" for n in range(400)]
ARMS = {who: "control" if n % 4 == 0 else "target" for n, who in enumerate(CLIENTS)}
DRAWN_ON = AS_OF - timedelta(days=40)


def orders(effect):
    rng = np.random.default_rng(2)
    rows = []
    for who in CLIENTS:
        usual = rng.lognormal(3, 0.3)
        for day in (-5, 6):
            more = effect if ARMS[who] == "target" and day > 0 else 0
            spent = Decimal(f"{usual + rng.normal(0, 1) + more:.2f}")
            rows.append(
                {"client_id": who, "ordered_on": DRAWN_ON + timedelta(days=day), "revenue": spent, "margin": spent / 2,
                 "units": Decimal(1), "counts_as_order": True}
            )  # fmt: skip
    return pa.Table.from_pylist(rows, schema=ORDERS)


def shop(folder, *, effect=5.0, as_of=AS_OF, **values):
    values = {"control_share": 0.25, "success_window_days": 28, "success_metric": "revenue"} | values
    settings = write_config(folder, campaigns=[card("thanks", **values)])
    run = publish_shop(settings, [client(who) for who in CLIENTS], as_of=as_of, more={"fct_orders": orders(effect)})
    return settings, run


def draw(settings, arms=None, on=DRAWN_ON):
    rows = [{"campaign_id": "thanks", "client_id": who, "arm": arm} for who, arm in (arms or ARMS).items()]
    table = pa.Table.from_pylist(rows, schema=assignments.ASSIGNED)
    assignments.record(open_ledger(settings), table.to_batches(), on=on)


def results(settings, run):
    with open_published(settings, published_version(open_ledger(settings), run.run_id)) as published:
        if RESULTS_TABLE not in published.tables():
            return {}
        rows = published.query(
            f"select * from {RESULTS_TABLE} where as_of_date = cast($day as date)", {"day": run.as_of}
        ).to_pylist()
    return {(row["arm"], row["metric"]): row for row in rows}


def test_L20_a_campaign_is_measured_against_the_control_that_the_ledger_drew(tmp_path):
    settings, run = shop(tmp_path, ends_on=(DRAWN_ON + timedelta(days=1)).isoformat())
    draw(settings)
    report = measure(settings, run)
    found = results(settings, run)
    assert report.rows == {RESULTS_TABLE: len(found)}
    revenue = found["target", "revenue"]
    assert (revenue["target_clients"], revenue["control_clients"], revenue["verdict"]) == (300, 100, "separated")
    assert revenue["low"] < 5 < revenue["high"]
    assert found["target", "margin"]["low"] < 2.5 < found["target", "margin"]["high"]


def test_a_day_before_any_campaign_publishes_nothing(tmp_path):
    settings, run = shop(tmp_path)
    before = published_version(open_ledger(settings), run.run_id)
    assert measure(settings, run).rows == {}
    assert published_version(open_ledger(settings), run.run_id) == before


def test_L2_measured_again_the_rows_are_the_same_and_draws_of_the_day_itself_do_not_count(tmp_path):
    settings, run = shop(tmp_path)
    half = dict(list(ARMS.items())[:200])
    draw(settings, half)
    measure(settings, run)
    first = results(settings, run)
    draw(settings, dict(list(ARMS.items())[200:]), on=AS_OF)
    measure(settings, run)
    assert results(settings, run) == first
    assert first["target", "revenue"]["target_clients"] == 150


def test_L21_what_is_final_stays_as_it_was_reported(tmp_path):
    settings, run = shop(tmp_path, ends_on=DRAWN_ON.isoformat())
    draw(settings)
    measure(settings, run)
    first = results(settings, run)
    assert {row["frozen_on"] for row in first.values()} == {AS_OF}
    again, later = shop(tmp_path, effect=-30.0, as_of=AS_OF + timedelta(days=1), ends_on=DRAWN_ON.isoformat())
    measure(again, later)
    without_day = [{**row, "as_of_date": None} for row in first.values()]
    assert [{**row, "as_of_date": None} for row in results(again, later).values()] == without_day


def test_the_gate_of_a_pilot_gets_the_interval_that_holds_at_every_look(tmp_path):
    settings, run = shop(tmp_path, pilot={"share": 0.5})
    draw(settings)
    measure(settings, run)
    margin = results(settings, run)["target", "margin"]
    assert margin["status"] == "interim"
    [(campaign, known_on, low, high)] = effects.effects_of(open_ledger(settings), ["thanks"], AS_OF)
    assert (campaign, known_on) == ("thanks", AS_OF)
    assert (low, high) == (margin["decided_low"], margin["decided_high"])
    assert high - low > margin["high"] - margin["low"]


def test_a_campaign_that_has_no_end_is_never_final(tmp_path):
    settings, run = shop(tmp_path)
    draw(settings, on=date(2016, 1, 1))
    measure(settings, run)
    assert {row["status"] for row in results(settings, run).values()} == {"interim"}
