"""Series: a client's way through the steps, told by what was sent and planned before."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import pyarrow as pa
import pytest

from factories.planned import decide_day
from factories.published import AS_OF, card, client, facts, granted, outcomes
from factories.walked import Walk
from perennial.targeting.facts import SUPPRESSED

STEPS = [
    {"id": "hello", "message": "m_hello"},
    {"id": "tips", "after_days": 2, "message": "m_tips"},
    {"id": "offer", "after_days": 1, "message": "m_offer"},
]


def series(**values) -> dict:
    own = {name: values.pop(name) for name in ("exit_when", "lapse_days", "steps") if name in values}
    return card("c", series={"steps": STEPS, **own}, **values)


def test_a_client_takes_the_steps_one_after_the_other_and_then_no_more():
    walk = Walk([client("a")], [series()])
    assert walk.told(7) == ["hello", "step_not_due", "tips", "offer", "re_entry", "re_entry", "re_entry"]


def test_a_series_goes_on_when_the_audience_no_longer_holds():
    walk = Walk([client("a", recency_days=0)], [series(audience="recency_days < 1")])
    assert walk.told(1) == ["hello"]
    walk.clients = [client("a", recency_days=9)]
    assert walk.told(4) == ["step_not_due", "tips", "offer", "-"]


def test_control_walks_the_same_path_as_target():
    contacted = Walk([client("a")], [series()])
    held_back = Walk([client("a")], [series(control_share=1.0)])
    assert contacted.told(5) == held_back.told(5)
    assert not held_back.sent
    assert {row["arm"] for row in held_back.rows if row["outcome"] == "control"} == {"control"}


def test_a_step_that_no_tool_accepted_is_due_again():
    walk = Walk([client("a")], [series()], accepts=lambda row: row["as_of_date"] != AS_OF + timedelta(days=2))
    assert walk.told(6) == ["hello", "step_not_due", "tips", "tips", "offer", "re_entry"]


def test_an_exit_is_for_good_even_when_it_no_longer_holds():
    walk = Walk([client("a", orders_90d=0)], [series(exit_when="orders_90d > 0")])
    assert walk.told(1) == ["hello"]
    walk.clients = [client("a", orders_90d=1)]
    assert walk.told(1) == ["series_exited"]
    walk.clients = [client("a", orders_90d=0)]
    assert walk.told(4) == ["re_entry"] * 4


def test_who_is_at_the_exit_when_she_would_come_in_may_come_in_later():
    walk = Walk([client("a", orders_90d=1)], [series(exit_when="orders_90d > 0")])
    assert walk.told(1) == ["series_exited"]
    walk.clients = [client("a", orders_90d=0)]
    assert walk.told(2) == ["hello", "step_not_due"]


def test_L9_a_withdrawal_ends_a_series_though_consent_is_given_again():
    walk = Walk([client("a")], [series()])
    walk.told(1)
    walk.consents = [("a", "email", "withdrawn")]
    assert walk.told(1) == ["withdrawn"]
    walk.consents = None
    assert walk.told(3) == ["re_entry"] * 3


def test_a_suppression_ends_a_series():
    walk = Walk([client("a")], [series()])
    walk.told(1)
    barred = pa.Table.from_pylist([{"client_id": "a", "channel": "all"}], schema=SUPPRESSED)
    ledger = facts(as_of=walk.as_of, consents=granted("a"), contacts=walk.sent)
    held = decide_day(
        walk.clients,
        walk.cards,
        as_of=walk.as_of,
        ledger=replace(ledger, suppressed=barred),
        extra={"campaign_outcomes": outcomes(walk.rows)},
    )
    assert held.of("c") == {"a": "suppressed"}
    walk.rows += held.rows
    walk.as_of += timedelta(days=1)
    assert walk.told(2) == ["re_entry", "re_entry"]


def test_after_the_days_of_re_entry_she_may_come_in_again():
    walk = Walk([client("a")], [series(re_entry_days=3)])
    assert walk.told(8) == ["hello", "step_not_due", "tips", "offer", "re_entry", "re_entry", "hello", "step_not_due"]
    assert walk.told(2) == ["tips", "offer"]


def test_a_step_waits_until_its_rule_holds_and_is_not_skipped():
    waiting = [STEPS[0], {**STEPS[1], "when": "recency_days >= 5"}, STEPS[2]]
    walk = Walk([client("a", recency_days=1)], [series(steps=waiting)])
    assert walk.told(4) == ["hello", "step_not_due", "step_waits", "step_waits"]
    walk.clients = [client("a", recency_days=6)]
    assert walk.told(2) == ["tips", "offer"]


def test_a_step_that_could_not_be_sent_for_too_long_ends_the_series():
    walk = Walk([client("a")], [series(lapse_days=2)], accepts=lambda row: row["series_step"] == "hello")
    assert walk.told(7) == ["hello", "step_not_due", "tips", "tips", "tips", "series_lapsed", "re_entry"]


def test_steps_are_judged_by_the_policy_like_any_contact():
    walk = Walk([client("a")], [series()], policy={"caps": [{"contacts": 1, "days": 4}]})
    assert walk.told(5) == ["hello", "step_not_due", "cap_1_in_4d", "cap_1_in_4d", "tips"]


def test_a_step_has_its_own_channels_and_the_cost_of_its_own_offer():
    steps = [STEPS[0], {**STEPS[1], "after_days": 1, "channels": ["sms"], "offer": {"text": "x", "cost": 4.0}}]
    walk = Walk([client("a")], [series(steps=steps, channels=["email", "sms"])])
    walk.told(2)
    assert [(row["series_step"], row["channel"], row["cost"]) for row in walk.rows] == [
        ("hello", "email", 0.01),
        ("tips", "sms", 0.45),
    ]


def test_of_a_step_that_the_card_no_longer_has_nothing_follows():
    walk = Walk([client("a")], [series()])
    walk.told(1)
    walk.cards = [series(steps=[{**STEPS[0], "id": "welcome"}, *STEPS[1:]])]
    assert walk.told(3) == ["re_entry"] * 3


def test_a_contact_that_no_outcome_tells_of_is_never_followed_by_a_first_step():
    walk = Walk([client("a")], [series()], sent=[("c", "a", "email", AS_OF - timedelta(days=1))])
    assert walk.told(2) == ["re_entry", "re_entry"]


def test_steps_of_records_that_were_joined_since_are_those_of_one_client():
    walk = Walk([client("a"), client("b")], [series()])
    for _ in range(3):
        walk.day()
    walk.clients = [client("a")]
    walk.sent = [(campaign, "a", channel, on) for campaign, _, channel, on in walk.sent]
    aliases = pa.table({"client_ref": ["b"], "client_id": ["a"]})
    ledger = facts(as_of=walk.as_of, consents=granted("a"), contacts=walk.sent)
    extra = {"campaign_outcomes": outcomes(walk.rows), "client_aliases": aliases}
    day = decide_day(walk.clients, walk.cards, as_of=walk.as_of, ledger=ledger, extra=extra, caps=[])
    assert [(row["client_id"], row["series_step"], row["rule"]) for row in day.rows] == [("a", "offer", "allocated")]


def test_L2_a_late_rerun_of_a_day_gives_its_lists_again():
    walk = Walk([client("a"), client("b", recency_days=90)], [series(control_share=0.5)])
    days = [walk.day() for _ in range(5)]
    for number, day in enumerate(days):
        walk.as_of = AS_OF + timedelta(days=number)
        assert walk.decide().rows == day.rows


def test_a_card_with_an_event_begins_the_series_on_it_alone():
    clients = [client("a", first_order_on=date(2017, 9, 28)), client("b", first_order_on=date(2017, 9, 1))]
    walk = Walk(clients, [series(schedule={"event": {"name": "first_order_on", "delay_days": 3}})])
    assert walk.told(4) == ["hello", "step_not_due", "tips", "offer"]
    assert {row["client_id"] for row in walk.rows} == {"a"}


def test_L6_without_the_score_of_its_exit_a_series_stands_still():
    walk = Walk([client("a")], [series(exit_when="churn_risk < 0.1")])
    walk.told(1)
    day = walk.decide()
    assert day.of("c") == {"a": "step_not_due"}
    walk.as_of += timedelta(days=1)
    ledger = facts(as_of=walk.as_of, consents=granted("a"), contacts=walk.sent)
    extra = {"campaign_outcomes": outcomes(walk.rows), "client_scores": None}
    late = decide_day(walk.clients, walk.cards, as_of=walk.as_of, ledger=ledger, extra=extra)
    assert late.of("c") == {"a": "score_missing"}


@pytest.mark.parametrize("step", [0, 2])
def test_a_later_revision_of_a_day_keeps_who_had_the_step_on_it(step):
    walk = Walk([client("a")], [series()])
    walk.told(step)
    first = walk.decide()
    ledger = facts(as_of=walk.as_of, consents=granted("a"), contacts=walk.sent, kept=[("c", "a", "email", "target")])
    again = decide_day(
        walk.clients, walk.cards, as_of=walk.as_of, ledger=ledger, extra={"campaign_outcomes": outcomes(walk.rows)}
    )
    [row] = again.rows
    assert (row["rule"], row["outcome"]) == ("already_sent_today", "target")
    assert row["series_step"] == first.of("c", "series_step")["a"] == STEPS[step and 1]["id"]
