"""What must hold for any clients, histories, cards and policies (hypothesis; each example is a whole day or several)."""

from __future__ import annotations

from collections import Counter
from datetime import date, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories.planned import Decided, decide_day
from factories.published import AS_OF, card, client, facts, outcomes

CHANNELS = ("email", "sms", "call")
_TODAY_ONLY = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large]}

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
    max_size=8,
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
    max_size=4,
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
    st.tuples(st.integers(0, 7).map(lambda i: f"c{i}"), st.sampled_from(CHANNELS)),
    st.sampled_from(["missing", "withdrawn"]),
    max_size=8,
).map(
    lambda exceptions: [
        (who, channel, exceptions.get((who, channel), "granted"))
        for who in (f"c{i}" for i in range(8))
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


@settings(max_examples=12, **_TODAY_ONLY)
@given(clients_strategy, cards_strategy, caps_strategy, consents_strategy)
def test_L7_L9_L10_hold_on_every_day_of_a_growing_history(clients, cards, caps, consents):
    sent: list[tuple[str, str, str, date]] = []
    held: list[dict[str, Any]] = []
    for offset in range(4):
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


@settings(max_examples=15, **_TODAY_ONLY)
@given(clients_strategy, cards_strategy, caps_strategy, consents_strategy, st.randoms(use_true_random=False))
def test_L2_the_order_of_clients_cards_and_facts_decides_nothing(clients, cards, caps, consents, chance):
    first = decide_day(clients, cards, ledger=facts(consents=consents), caps=caps)
    for things in (clients, cards, consents):
        chance.shuffle(things)
    assert decide_day(clients, cards, ledger=facts(consents=consents), caps=caps).rows == first.rows


@settings(max_examples=15, **_TODAY_ONLY)
@given(clients_strategy, cards_strategy, caps_strategy, consents_strategy, st.sampled_from([0.0, 200.0, 999.0]))
def test_L8_one_more_client_changes_no_others_arm(clients, cards, caps, consents, value):
    before = decide_day(clients, cards, ledger=facts(consents=consents), caps=caps)
    more = [*clients, client("new", value_90d=value)]
    after = decide_day(more, cards, ledger=facts(consents=[*consents, ("new", "email", "granted")]), caps=caps)
    arms = {(row["campaign_id"], row["client_id"]): row["arm"] for row in after.rows}
    for row in before.rows:
        now = arms[row["campaign_id"], row["client_id"]]
        assert row["arm"] is None or now is None or now == row["arm"]


@settings(max_examples=15, **_TODAY_ONLY)
@given(clients_strategy, cards_strategy)
def test_no_pair_of_client_and_campaign_would_both_rather_have_each_other(clients, cards):
    """Stability of the allocation: a client loses a campaign only to a better one, a campaign a client only to a better one."""
    consents = [(c["client_id"], channel, "granted") for c in clients for channel in CHANNELS]
    day = decide_day(clients, cards, ledger=facts(consents=consents), caps=[{"contacts": 1, "days": 1}])
    priority = {one["id"]: one["priority"] for one in cards}
    better_first = {
        (r["campaign_id"], r["client_id"]): (-(r["value"] or 0), priority[r["campaign_id"]], r["campaign_id"])
        for r in day.rows
    }
    given_to = {row["client_id"]: row["campaign_id"] for row in day.rows if row["rule"] == "allocated"}
    for row in day.rows:
        pair = (row["campaign_id"], row["client_id"])
        if row["rule"].startswith("lost_to_"):
            assert better_first[given_to[row["client_id"]], row["client_id"]] < better_first[pair]
        if row["rule"] == "daily_limit":
            chosen = [
                r["value"] for r in day.rows if r["campaign_id"] == row["campaign_id"] and r["rule"] == "allocated"
            ]
            assert all(value >= row["value"] for value in chosen)
