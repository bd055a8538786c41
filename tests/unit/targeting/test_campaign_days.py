"""Three weeks of a small shop in memory: caps, cool-downs, distances, series and exits hold over all of its days."""

from __future__ import annotations

import random
from collections import Counter
from datetime import date, timedelta

import pytest

from factories.campaign_days import Days, problems_of, table_of
from factories.published import AS_OF, card, client, granted, policy
from factories.walked import Walk
from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign

DAYS, CLIENTS = 21, 60
PRICE = {"group": "price", "days": 7}
CAPS = [{"contacts": 1, "days": 3}, {"contacts": 3, "days": 14}, {"contacts": 1, "days": 14, "channel": "sms"}]
WELCOME = {
    "steps": [
        {"id": "hello", "message": "m1"},
        {"id": "tips", "after_days": 4, "message": "m2"},
        {"id": "offer", "after_days": 3, "message": "m3", "offer": {"text": "3 off", "cost": 3.0}},
    ],
    "exit_when": "orders_90d >= 10",
}
WORTH = {"basis": "value_90d", "prior_effect": 0.4, "prior_source": "assumed", "margin_share": 0.5}
CARDS = [
    card("welcome", audience="lifecycle_stage = 'new'", series=WELCOME, control_share=0.2, expected_value=WORTH),
    card("news", schedule={"weekdays": ["sun", "wed"]}, cool_down_days=6, control_share=0.1),
    card("cross", audience="orders_90d >= 4", exclusivity=PRICE, cool_down_days=10, max_contacts_per_day=8),
    card("stay", audience="churn_risk > 0.5", exclusivity=PRICE, cool_down_days=9, channels=["sms", "email"]),
    card("years", schedule={"anniversary_of": "signed_up_on", "window_days": 2}, nature="emotional"),
]
POLICY = {"caps": CAPS, "gaps": [{"after": "stay", "before": "news", "days": 5}]}


def people(day: int) -> list[dict]:
    """The clients as they are on a day: some buy, some fall silent, a few are new."""
    found = []
    for number in range(CLIENTS):
        habit = random.Random(f"person-{number}")
        buys = sum(random.Random(f"{number}-{n}").random() < habit.uniform(0.05, 0.4) for n in range(day + 1))
        found.append(
            client(
                f"c{number:02}",
                lifecycle_stage="new" if number % 4 == 0 else "active",
                orders_90d=habit.randrange(8) + buys,
                churn_risk=round(habit.random(), 3),
                value_90d=round(habit.uniform(50, 500), 2),
                signed_up_on=AS_OF.replace(year=2014) + timedelta(days=number % 40),
            )
        )
    return found


@pytest.fixture(scope="module")
def days() -> Days:
    """Every day planned and sent; three clients withdraw in the second week."""
    everyone = [f"c{number:02}" for number in range(CLIENTS)]
    walk = Walk(people(0), CARDS, policy=POLICY, consents=granted(*everyone))
    withdrawn: dict[date, frozenset[tuple[str, str]]] = {}
    for day in range(DAYS):
        walk.clients = people(day)
        if day == 8:
            gone = [(who, channel, "withdrawn") for who in everyone[:9:4] for channel in ("email", "sms", "call")]
            walk.consents = [one for one in granted(*everyone) if one[0] not in everyone[:9:4]] + gone
        withdrawn[walk.as_of] = frozenset(
            (who, channel) for who, channel, status in walk.consents if status != "granted"
        )
        walk.day()
    cards = tuple(Campaign.model_validate(one) for one in sorted(CARDS, key=lambda one: one["id"]))
    rules = PolicyFile.model_validate(policy(**POLICY))
    return Days(walk.rows, cards, rules, frozenset(walk.sent), withdrawn=withdrawn)


def test_L7_L8_L9_L10_nothing_that_was_promised_is_broken_on_any_day(days):
    assert problems_of(days) == []


def test_every_promise_was_put_to_the_test(days):
    refused = Counter(row["rule"] for row in days.rows if row["outcome"] == "refused")
    rules = {"cap_1_in_3d", "cap_3_in_14d", "cap_sms_1_in_14d", "cool_down", "exclusive_price", "gap_5d_after_stay"}
    for rule in (*rules, "daily_limit", "withdrawn", "series_exited", "step_not_due"):
        assert refused[rule], rule
    steps = Counter(row["series_step"] for row in days.rows if row["rule"] == "allocated" and row["series_step"])
    assert steps["hello"] >= steps["tips"] > steps["offer"] > 0, steps
    assert Counter(row["outcome"] for row in days.rows)["control"] > 10


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"cool_down_days": 30}, "cool_down"),
        ({"exclusivity": {"group": "price", "days": 14}}, "exclusive_price"),
    ],
)
def test_a_stricter_card_would_have_been_broken_by_these_days(days, change, word):
    stricter = tuple(one.model_copy(update=_parsed(change)) for one in days.cards)
    assert any(word in problem for problem in problems_of(Days(days.rows, stricter, days.policy, days.accepted)))


def test_a_stricter_cap_would_have_been_broken_by_these_days(days):
    strict = PolicyFile.model_validate(policy(caps=[{"contacts": 1, "days": 14}]))
    assert any("cap_1_in_14d" in problem for problem in problems_of(Days(days.rows, days.cards, strict, days.accepted)))


def test_the_table_tells_each_day_and_each_refusal(days):
    lines = table_of(days).splitlines()
    assert lines[0].startswith("| campaign | Sun 1 | Mon 2 |")
    assert {line.split("|")[1].strip(" `") for line in lines[2:7]} == {one["id"] for one in CARDS}
    refused = sum(row["outcome"] == "refused" for row in days.rows)
    numbers = [int(cell.replace(",", "")) for line in lines[10:] for cell in line.split("|")[2:-1] if cell.strip()]
    assert sum(numbers) == refused


def _parsed(change):
    made = Campaign.model_validate(card("x", **change))
    return {name: getattr(made, name) for name in change}
