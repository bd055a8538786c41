"""What must hold for any clients, histories, cards and policies (hypothesis; each example is a whole day or several)."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from factories.planned import Decided, decide_day
from factories.published import AS_OF, card, client, facts, outcomes
from perennial.targeting.facts import SUPPRESSED

CHANNELS = ("email", "sms", "call")
# Few by default, for each example plans whole days: tests/bench/bench_plan_laws.py runs the same laws over many.
TIMES = int(os.environ.get("PERENNIAL_EXAMPLES_TIMES", "1"))
_ANY_DAY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

clients_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "value_90d": st.sampled_from([None, 0.0, 50.0, 51.0, 200.0, 900.0]),
            "churn_risk": st.sampled_from([0.0, 0.4, 1.0]),
            "recency_days": st.sampled_from([None, 0, 5, 90]),
            "has_email": st.sampled_from([True, True, False]),
            "has_phone": st.sampled_from([True, True, False]),
        }
    ),
    min_size=1,
    max_size=6,
).map(lambda drawn: [client(f"c{i}", **values) for i, values in enumerate(drawn)])

cards_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "audience": st.sampled_from(
                ["true", "recency_days < 30", "churn_risk >= 0.4 or recency_days is null", "false"]
            ),
            "channels": st.lists(st.sampled_from(CHANNELS), min_size=1, max_size=3, unique=True),
            "priority": st.integers(1, 3),
            "cool_down_days": st.integers(0, 4),
            "max_contacts_per_day": st.none() | st.integers(0, 3),
            "control_share": st.sampled_from([0.0, 0.3, 1.0]),
            "offer": st.sampled_from([{"text": "x"}, {"text": "x", "cost": 4.0}]),
            "expected_value": st.sampled_from(
                [
                    {"basis": "value_90d", "prior_effect": 0.1, "prior_source": "x"},
                    {"basis": "value_90d", "prior_effect": 0.1, "prior_source": "x", "margin_share": 0.5},
                    {"basis": "revenue_365d_daily_x_90", "prior_effect": 0.05, "prior_source": "x"},
                ]
            ),
        }
    ),
    min_size=1,
    max_size=3,
).map(lambda drawn: [card(f"k{i}", **values) for i, values in enumerate(drawn)])

caps_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "contacts": st.integers(0, 3),
            "days": st.integers(1, 5),
            "channel": st.none() | st.sampled_from(CHANNELS),
        }
    ),
    max_size=3,
    unique_by=lambda cap: (cap["contacts"], cap["days"], cap["channel"]),
)
# Most have granted most: what is drawn are the exceptions.
consents_strategy = st.dictionaries(
    st.tuples(st.integers(0, 5).map(lambda i: f"c{i}"), st.sampled_from(CHANNELS)),
    st.sampled_from(["missing", "withdrawn"]),
    max_size=8,
).map(
    lambda exceptions: [
        (who, channel, exceptions.get((who, channel), "granted"))
        for who in (f"c{i}" for i in range(6))
        for channel in CHANNELS
        if exceptions.get((who, channel)) != "missing"
    ]
)


def everyone_is_accounted_for(day: Decided, clients: list[dict[str, Any]], cards: list[dict[str, Any]]) -> None:
    pairs = Counter((row["campaign_id"], row["client_id"]) for row in day.rows)
    expected = {(c["id"], who["client_id"]) for c in cards for who in clients if _in_audience(c["audience"], who)}
    assert set(pairs) == expected
    assert set(pairs.values()) <= {1}
    for row in day.rows:
        assert row["outcome"] in ("target", "control", "refused")
        assert (row["arm"] is None) == (row["outcome"] == "refused")
        assert (row["rule"] == "allocated") == (row["outcome"] != "refused")


def _in_audience(rule: str, who: dict[str, Any]) -> bool:
    recency = who["recency_days"]
    return {
        "true": True,
        "false": False,
        "recency_days < 30": recency is not None and recency < 30,
        "churn_risk >= 0.4 or recency_days is null": who["churn_risk"] >= 0.4 or recency is None,
    }[rule]


def nobody_is_reached_without_consent_and_address(day: Decided, clients: list[dict[str, Any]], consents) -> None:
    said = {(who, channel): status for who, channel, status in consents}
    has = {(c["client_id"], "email"): c["has_email"] for c in clients}
    has |= {(c["client_id"], channel): c["has_phone"] for c in clients for channel in ("sms", "call")}
    for row in day.rows:
        if row["outcome"] != "refused":
            place = (row["client_id"], row["channel"])
            assert said.get(place) == "granted"
            assert has[place]


def no_cap_is_exceeded(contacts: list[tuple[str, str, date]], caps: list[dict[str, Any]]) -> None:
    """(client, channel, day) of targets and controls: in no window of any cap are there more than it allows."""
    for cap in caps:
        counted = [(who, day) for who, channel, day in contacts if cap["channel"] in (None, channel)]
        for who, last in counted:
            window = [d for w, d in counted if w == who and last - timedelta(days=cap["days"]) < d <= last]
            assert len(window) <= cap["contacts"]


def limits_are_kept(day: Decided, cards: list[dict[str, Any]]) -> None:
    sent = Counter(row["campaign_id"] for row in day.rows if row["rule"] == "allocated")
    for one in cards:
        limit = one["max_contacts_per_day"]
        assert limit is None or sent[one["id"]] <= limit


@settings(max_examples=5 * TIMES, **_ANY_DAY)
@given(clients_strategy, cards_strategy, caps_strategy, consents_strategy)
def test_L7_L9_L10_hold_on_every_day_of_a_growing_history(clients, cards, caps, consents):
    sent: list[tuple[str, str, str, date]] = []
    held: list[dict[str, Any]] = []
    for offset in range(3):
        as_of = AS_OF + timedelta(days=offset)
        ledger = facts(as_of=as_of, consents=consents, contacts=sent)
        day = decide_day(
            clients, cards, as_of=as_of, ledger=ledger, caps=caps, extra={"campaign_outcomes": outcomes(held)}
        )
        everyone_is_accounted_for(day, clients, cards)
        nobody_is_reached_without_consent_and_address(day, clients, consents)
        limits_are_kept(day, cards)
        sent += [(r["campaign_id"], r["client_id"], r["channel"], as_of) for r in day.rows if r["outcome"] == "target"]
        held += [row for row in day.rows if row["outcome"] == "control"]
        contacts = [(who, channel, on) for _, who, channel, on in sent]
        contacts += [(row["client_id"], row["channel"], row["as_of_date"]) for row in held]
        no_cap_is_exceeded(contacts, caps)


@settings(max_examples=4 * TIMES, **_ANY_DAY)
@given(clients_strategy, cards_strategy, caps_strategy, consents_strategy, st.randoms(use_true_random=False))
def test_L2_the_order_of_clients_cards_and_facts_decides_nothing(clients, cards, caps, consents, chance):
    first = decide_day(clients, cards, ledger=facts(consents=consents), caps=caps)
    for things in (clients, cards, consents):
        chance.shuffle(things)
    assert decide_day(clients, cards, ledger=facts(consents=consents), caps=caps).rows == first.rows


@settings(max_examples=4 * TIMES, **_ANY_DAY)
@given(clients_strategy, cards_strategy, caps_strategy, consents_strategy, st.sampled_from([0.0, 200.0, 999.0]))
def test_L8_one_more_client_changes_no_others_arm(clients, cards, caps, consents, value):
    before = decide_day(clients, cards, ledger=facts(consents=consents), caps=caps)
    more = [*clients, client("new", value_90d=value)]
    after = decide_day(more, cards, ledger=facts(consents=[*consents, ("new", "email", "granted")]), caps=caps)
    arms = {(row["campaign_id"], row["client_id"]): row["arm"] for row in after.rows}
    for row in before.rows:
        now = arms[row["campaign_id"], row["client_id"]]
        assert row["arm"] is None or now is None or now == row["arm"]


@settings(max_examples=6 * TIMES, **_ANY_DAY)
@given(clients_strategy, cards_strategy, st.integers(1, 2))
def test_the_allocation_is_worth_what_a_solver_finds(clients, cards, contacts):
    """A stable matching is not asked for: a client may get her second campaign where the first helps another more."""
    consents = [(c["client_id"], channel, "granted") for c in clients for channel in CHANNELS]
    day = decide_day(clients, cards, ledger=facts(consents=consents), caps=[{"contacts": contacts, "days": 1}])
    open_pairs = [r for r in day.rows if r["rule"] in ("allocated", "daily_limit") or r["rule"].startswith("lost_to_")]
    limit = {one["id"]: one["max_contacts_per_day"] for one in cards}
    groups = {("who", r["client_id"]): contacts for r in open_pairs}
    groups |= {("card", r["campaign_id"]): limit[r["campaign_id"]] for r in open_pairs}
    rows = [
        ([float(r["client_id" if kind == "who" else "campaign_id"] == name) for r in open_pairs], most)
        for (kind, name), most in groups.items()
        if most is not None
    ]
    best = 0.0
    if open_pairs:
        constraints = LinearConstraint([row for row, _ in rows], ub=[most for _, most in rows])
        values = [-(r["value"] + 1e-6) for r in open_pairs]
        best = -milp(values, constraints=constraints, integrality=[1] * len(values), bounds=Bounds(0, 1)).fun
    reached = sum(r["value"] + 1e-6 for r in open_pairs if r["rule"] == "allocated")
    assert abs(reached - best) < 1e-4


gaps_strategy = st.lists(
    st.fixed_dictionaries(
        {
            "after": st.sampled_from(["k0", "k1", "informational"]),
            "before": st.sampled_from(["k0", "k2", "informational"]),
            "days": st.integers(1, 4),
        }
    ),
    max_size=2,
    unique_by=lambda gap: (gap["after"], gap["before"]),
).map(lambda gaps: [gap for gap in gaps if gap["after"] != gap["before"] or gap["after"] == "informational"])
policy_strategy = st.fixed_dictionaries(
    {
        "day_budget": st.sampled_from([{}, {"contacts": 3}, {"money": 1.0}, {"money": 0.0}]),
        "hold_out": st.sampled_from([None, {"share": 0.3, "since": "2017-09-01"}]),
        "essential": st.sampled_from([{}, {"purposes": ["marketing"], "treatment": "first"}]),
        "suppress": st.lists(st.tuples(st.sampled_from(["c0", "c3"]), st.sampled_from(["all", "email"])), max_size=2),
    }
)


@settings(max_examples=3 * TIMES, **_ANY_DAY)
@given(clients_strategy, cards_strategy, caps_strategy, gaps_strategy, policy_strategy)
def test_gaps_budgets_and_suppressions_hold_on_every_day_and_planning_again_gives_the_same(
    clients, cards, caps, gaps, policy
):
    """Four cards, so that every gap names one; budgets of the day, suppressions, the hold-out, essential purposes."""
    cards = [*cards, *(card(f"k{n}", audience="false") for n in range(len(cards), 4))]
    suppressed = policy["suppress"]
    rules = {name: value for name, value in policy.items() if name != "suppress"}
    rules["gaps"] = [] if rules["essential"] else gaps  # which do not hold for what is essential
    consents = [(c["client_id"], channel, "granted") for c in clients for channel in CHANNELS]
    sent: list[tuple[str, str, str, date]] = []
    for offset in range(2):
        as_of = AS_OF + timedelta(days=offset)
        barred = pa.Table.from_pylist(
            [{"client_id": who, "channel": channel} for who, channel in suppressed], schema=SUPPRESSED
        )
        ledger = replace(facts(as_of=as_of, consents=consents, contacts=sent), suppressed=barred)
        day = decide_day(clients, cards, as_of=as_of, ledger=ledger, caps=caps, **rules)
        again = decide_day(clients, list(reversed(cards)), as_of=as_of, ledger=ledger, caps=caps, **rules)
        assert day.rows == again.rows
        reached = [row for row in day.rows if row["outcome"] != "refused"]
        assert not {(row["client_id"], row["channel"]) for row in reached} & set(suppressed)
        assert not {row["client_id"] for row in reached} & {who for who, channel in suppressed if channel == "all"}
        limits = rules["day_budget"]
        assert len(reached) <= limits.get("contacts", len(reached))
        assert sum(row["cost"] for row in reached) <= limits.get("money", 1e9) + 1e-9
        contacts = [(row["campaign_id"], row["client_id"], row["channel"], as_of) for row in reached]
        assert no_gap_is_broken([*sent, *contacts], as_of, rules["gaps"])
        sent += contacts


def no_gap_is_broken(contacts, day, gaps) -> bool:
    """No contact of the day came too soon after one that a gap names, be it of the same day."""
    todays = [one for one in contacts if one[3] == day]
    return not any(
        before[1] == after[1]
        and before[0] != after[0]
        and gap["before"] in (before[0], "informational")
        and gap["after"] in (after[0], "informational")
        and 0 <= (day - after[3]).days < gap["days"]
        for gap in gaps
        for before in todays
        for after in contacts
    )
