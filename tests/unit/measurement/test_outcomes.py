"""What clients did in their windows, and the rows that are made of it: against sums by hand."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from tests.factories.published import MemorySession

from perennial.contracts.measurement import ASSIGNED, CAMPAIGN_RESULTS, METRICS, Experiment
from perennial.measurement.outcomes import read_outcomes
from perennial.measurement.results import campaign_results

AS_OF = date(2017, 10, 1)
DRAWN_ON = date(2017, 8, 1)
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
FIRST = pa.schema([("client_id", pa.string()), ("first_order_on", pa.date32())])
PLANNED = pa.schema(
    [
        ("campaign_id", pa.string()),
        ("client_id", pa.string()),
        ("outcome", pa.string()),
        ("as_of_date", pa.date32()),
        ("cost", pa.float64()),
    ]
)
COMPLAINTS = pa.schema([("client_id", pa.string()), ("interaction_kind", pa.string()), ("happened_on", pa.date32())])
CARD = Experiment("card", 28, "revenue", {"target": 0.8, "control": 0.2}, 0.25, ends_on=date(2017, 8, 25))


def order(client, on, revenue, *, margin=None, counts=True):
    return {
        "client_id": client,
        "ordered_on": on,
        "revenue": Decimal(revenue),
        "margin": None if margin is None else Decimal(margin),
        "units": Decimal(1),
        "counts_as_order": counts,
    }


def session(orders, *, first=(), complaints=None, planned=None):
    tables = {
        "fct_orders": pa.Table.from_pylist(list(orders), schema=ORDERS),
        "client_metrics": pa.Table.from_pylist([{"client_id": c, "first_order_on": d} for c, d in first], schema=FIRST),
    }
    if complaints is not None:
        rows = [{"client_id": c, "interaction_kind": k, "happened_on": d} for c, k, d in complaints]
        tables["fct_interactions"] = pa.Table.from_pylist(rows, schema=COMPLAINTS)
    if planned is not None:
        tables["campaign_outcomes"] = pa.Table.from_pylist(planned, schema=PLANNED)
    return MemorySession(tables)


def drawn(arms, *, on=DRAWN_ON, campaign="card"):
    rows = [{"campaign_id": campaign, "client_id": c, "arm": arm, "assigned_on": on} for c, arm in arms.items()]
    return pa.Table.from_pylist(rows, schema=ASSIGNED).to_batches()


def read(orders, arms, *, card=CARD, as_of=AS_OF, on=DRAWN_ON, **more):
    return {
        (one.arm, one.is_closed): one
        for one in read_outcomes(session(orders, **more), [card], drawn(arms, on=on), as_of)
    }


def test_the_window_is_the_days_after_the_drawing_and_the_time_before_as_many_up_to_it():
    edges = {-28: 0, -27: 1, 0: 1, 1: 2, 28: 2, 29: 0}  # day: 0 outside, 1 before, 2 window
    for day, side in edges.items():
        [found] = read([order("a", DRAWN_ON + timedelta(days=day), "10")], {"a": "target"}).values()
        spent = found.moments["revenue"]
        assert (spent.mean_y, spent.mean_x) == (10.0 * (side == 2), 10.0 * (side == 1)), day


def test_l8_clients_count_as_assigned_whether_they_bought_or_not():
    orders = [
        order("a", DRAWN_ON + timedelta(days=3), "30"),
        order("a", DRAWN_ON + timedelta(days=9), "-10", counts=False),
    ]
    found = read(orders, {"a": "target", "b": "target", "c": "control"})
    target = found["target", True]
    assert target.clients == 2
    assert target.moments["revenue"].mean_y == 10.0  # 30 less 10 returned, over two clients
    assert target.moments["orders"].mean_y == 0.5
    assert target.moments["buyers"].mean_y == 0.5
    assert found["control", True].moments["revenue"].mean_y == 0.0


def test_l2_nothing_after_the_date_counts_and_open_windows_stand_apart():
    as_of = DRAWN_ON + timedelta(days=10)
    orders = [order("a", DRAWN_ON + timedelta(days=d), "10") for d in (5, 10, 11)]
    found = read(orders, {"a": "target"}, as_of=as_of)
    assert set(found) == {("target", False)}
    assert found["target", False].moments["revenue"].mean_y == 20.0


def test_margins_that_are_not_known_are_assumed_and_told():
    known = read([order("a", DRAWN_ON + timedelta(days=1), "100", margin="30")], {"a": "target"})["target", True]
    unknown = read([order("a", DRAWN_ON + timedelta(days=1), "100")], {"a": "target"})["target", True]
    assert (known.moments["margin"].mean_y, known.margin_is_assumed) == (30.0, False)
    assert (unknown.moments["margin"].mean_y, unknown.margin_is_assumed) == (25.0, True)


def test_new_clients_and_complaints_are_counted_in_the_window():
    day = DRAWN_ON + timedelta(days=4)
    found = read(
        [order("a", day, "5")],
        {"a": "target", "b": "target"},
        first=[("a", day), ("b", DRAWN_ON)],
        complaints=[("b", "complaint", day), ("b", "visit", day), ("b", "complaint", DRAWN_ON)],
    )["target", True]
    assert found.moments["new_clients"].mean_y == 0.5
    assert (found.moments["complaints"].mean_y, found.moments["complaints"].mean_x) == (0.5, 0.5)


def shop(clients, *, effect=0.0, share=0.2, seed=1):
    """Orders before and in the window, and the arms; `effect` more per target client."""
    rng = np.random.default_rng(seed)
    arms = {f"c{i:05}": "control" if rng.random() < share else "target" for i in range(clients)}
    orders = []
    for who, arm in arms.items():
        usual = rng.lognormal(3, 0.5)
        for day in (-10, 7):
            more = effect if arm == "target" and day > 0 else 0.0
            orders.append(order(who, DRAWN_ON + timedelta(days=day), f"{usual * rng.lognormal(0, 0.3) + more:.4f}"))
    return orders, arms


def results(orders, arms, *, card=CARD, as_of=AS_OF, on=DRAWN_ON, **more):
    outcomes = read_outcomes(session(orders, **more), [card], drawn(arms, on=on), as_of)
    rows, notes = campaign_results([card], outcomes, as_of)
    pa.Table.from_pylist(rows, schema=CAMPAIGN_RESULTS)  # every column is there, and of its type
    assert all(set(row) == set(CAMPAIGN_RESULTS.names) for row in rows)
    return {(row["arm"], row["metric"]): row for row in rows}, notes


def test_l20_money_against_control_with_an_interval_and_a_plain_verdict():
    rows, notes = results(*shop(1500, effect=5.0))
    revenue = rows["target", "revenue"]
    assert (revenue["status"], revenue["verdict"], revenue["is_headline"]) == ("final", "separated", True)
    assert revenue["low"] < 5.0 < revenue["high"]
    assert revenue["variance_gain"] > 0.3
    assert revenue["total"] == pytest.approx(revenue["difference"] * revenue["target_clients"], rel=1e-6)
    assert "25% is assumed" in rows["target", "margin"]["note"]
    assert {metric for _, metric in rows} == set(METRICS)
    assert notes == []


def test_without_an_effect_the_verdict_is_inconclusive():
    rows, _ = results(*shop(1500))
    assert rows["target", "revenue"]["verdict"] == "inconclusive"


def test_while_windows_are_open_it_is_collecting():
    rows, _ = results(*shop(300, effect=5.0), as_of=DRAWN_ON + timedelta(days=12))
    revenue = rows["target", "revenue"]
    assert (revenue["verdict"], revenue["target_clients"], revenue["open_clients"]) == ("collecting", 0, 300)
    assert revenue["difference"] is None


def test_l8_a_failed_sample_ratio_is_the_report():
    orders, arms = shop(1000)
    leaking = {who: arm for i, (who, arm) in enumerate(arms.items()) if arm == "target" or i % 2}
    rows, [note] = results(orders, leaking)
    assert rows["target", "revenue"]["verdict"] == "not_comparable"
    assert rows["target", "revenue"]["difference"] is None
    assert "the arms are not as drawn" in note
    assert "do not read the effect" in note


def test_arms_that_the_card_does_not_have_are_told():
    orders, arms = shop(200)
    arms = dict.fromkeys(list(arms)[:5], "old_version") | dict(list(arms.items())[5:])
    rows, notes = results(orders, arms)
    assert rows["target", "revenue"]["verdict"] == "not_comparable"
    assert "old_version" in notes[0]
    assert "new id" in notes[0]


def test_a_campaign_without_control_or_of_twelve_clients_has_no_verdict_that_it_cannot_have():
    alone, _ = results(
        *(shop(300, share=0.0)), card=Experiment("card", 28, "revenue", {"target": 1.0}, 0.25, CARD.ends_on)
    )
    assert alone["target", "revenue"]["verdict"] == "inconclusive"
    assert alone["target", "revenue"]["low"] is None
    few, _ = results(*shop(12, effect=5.0, seed=3))
    assert few["target", "revenue"]["verdict"] == "inconclusive"
    assert few["target", "revenue"]["low"] < 0 < few["target", "revenue"]["high"]


def test_a_verdict_that_a_few_large_orders_carry_says_so():
    orders, arms = shop(4000, effect=0.0, seed=6)
    rich = [who for who, arm in arms.items() if arm == "target"][:30]
    orders += [order(who, DRAWN_ON + timedelta(days=2), "900") for who in rich]
    rows, _ = results(orders, arms)
    assert rows["target", "revenue"]["verdict"] == "separated"
    assert "a few large orders carry it" in rows["target", "revenue"]["note"]


def test_several_arms_share_the_level_and_are_each_compared_with_control():
    orders, arms = shop(2000, effect=4.0)
    arms = {who: (f"arm_{i % 2}" if arm == "target" else arm) for i, (who, arm) in enumerate(arms.items())}
    card = Experiment("card", 28, "revenue", {"arm_0": 0.4, "arm_1": 0.4, "control": 0.2}, 0.25, CARD.ends_on)
    rows, _ = results(orders, arms, card=card)
    assert {arm for arm, _ in rows} == {"arm_0", "arm_1"}
    one = rows["arm_0", "revenue"]
    assert one["p_value_corrected"] >= one["p_value"]
    assert one["decided_high"] - one["decided_low"] > one["high"] - one["low"]


def test_what_contacts_and_offers_cost_is_taken_off_the_margin():
    orders, arms = shop(1500, effect=5.0)
    planned = [
        {"campaign_id": "card", "client_id": who, "outcome": "target" if arm == "target" else "control",
         "as_of_date": on, "cost": 0.5}
        for who, arm in arms.items()
        for on in (DRAWN_ON, DRAWN_ON + timedelta(days=7), AS_OF)
    ]  # fmt: skip
    rows, _ = results(orders, arms, planned=planned)
    margin, clients = rows["target", "margin"], rows["target", "margin"]["target_clients"]
    assert margin["cost"] == pytest.approx(clients * 2 * 0.5)  # two days before today; nothing for control
    assert margin["profit"] == pytest.approx(margin["total"] - margin["cost"])
    assert margin["roi"] == pytest.approx(margin["profit"] / margin["cost"])
    assert rows["target", "revenue"]["profit"] is None
