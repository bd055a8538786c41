"""What config/policy.yml and the policy's parts of a card decide, each by a whole day."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta

import pyarrow as pa
import pytest

from factories.planned import decide_day
from factories.published import AS_OF, SALT, card, client, days_before, facts, granted
from perennial.contracts.scores import CLIENT_SCORES
from perennial.core.ids import unit_interval
from perennial.targeting.facts import ARMS, HELD, SUPPRESSED, YOUNG, Effect

EVERYONE = ("a", "b", "c", "d")
CLIENTS = [client(name, value_90d=100.0 * (place + 1)) for place, name in enumerate(EVERYONE)]
WEEKLY = [{"contacts": 9, "days": 7}]


def granted_to_all(**values):
    return facts(consents=granted(*EVERYONE), **values)


def value_card(campaign_id, effect=0.1, **values):
    expected = {"basis": "value_90d", "prior_effect": effect, "prior_source": "assumed", "margin_share": 0.5}
    return card(campaign_id, expected_value=expected, **values)


def rows(schema, *values):
    return pa.Table.from_pylist([dict(zip(schema.names, row, strict=True)) for row in values], schema=schema)


def test_L10_a_cap_by_nature_counts_that_nature_and_whatever_others_sent():
    cards = [card("gift", nature="bonus"), card("news"), card("old_gift", nature="bonus", ends_on=days_before(1))]
    ledger = granted_to_all(
        contacts=[("old_gift", "a", "email", days_before(2)), ("news", "b", "email", days_before(2))]
    )
    others = [{"client_id": "c", "channel": "mail", "contacted_on": days_before(3)}]
    caps = [{"contacts": 1, "days": 7, "nature": "bonus"}]
    day = decide_day(CLIENTS, cards, ledger=ledger, others=others, caps=caps)
    refused, allowed = "cap_bonus_1_in_7d", "allocated"
    assert day.of("gift") == {"a": refused, "b": allowed, "c": refused, "d": allowed}
    assert set(day.of("news").values()) == {allowed}


def test_a_cap_of_a_segment_holds_for_its_clients_alone():
    clients = [client("a", recency_days=99), *CLIENTS[1:]]
    caps = [*WEEKLY, {"contacts": 1, "days": 14, "channel": "email", "segment": "sleepers"}]
    ledger = granted_to_all(contacts=[("old", name, "email", days_before(5)) for name in ("a", "b")])
    day = decide_day(clients, [card("news")], ledger=ledger, caps=caps, rules={"sleepers": "recency_days > 60"})
    assert day.of("news")["a"] == "cap_sleepers_email_1_in_14d"
    assert day.of("news")["b"] == "allocated"


@pytest.mark.parametrize(("days_ago", "rule"), [(6, "gap_7d_after_gift"), (7, "allocated")])
def test_a_gap_keeps_a_campaign_away_from_another(days_ago, rule):
    gaps = [{"after": "gift", "before": "news", "days": 7}]
    ledger = granted_to_all(contacts=[("gift", "a", "email", days_before(days_ago))])
    cards = [card("gift", audience="false"), card("news")]
    assert decide_day(CLIENTS, cards, ledger=ledger, caps=WEEKLY, gaps=gaps).of("news")["a"] == rule


def test_two_campaigns_with_a_gap_or_of_one_group_do_not_reach_a_client_on_one_day():
    gaps = [{"after": "bonus", "before": "informational", "days": 2}]
    group = {"group": "price_offers", "days": 14}
    cards = [
        value_card("gift", 0.3, nature="bonus", exclusivity=group),
        value_card("sale", 0.2, nature="bonus", exclusivity=group),
        value_card("news", 0.1),
        value_card("thanks", 0.1, nature="emotional"),
    ]
    day = decide_day(CLIENTS, cards, caps=WEEKLY, gaps=gaps)
    assert day.of_client("a") == {
        "gift": "allocated", "sale": "lost_to_gift", "news": "lost_to_gift", "thanks": "allocated"
    }  # fmt: skip
    ledger = granted_to_all(contacts=[("sale", "a", "email", days_before(13))])
    later = decide_day(CLIENTS, cards, ledger=ledger, caps=WEEKLY, gaps=gaps)
    assert later.of_client("a")["gift"] == "exclusive_price_offers"


def test_a_quiet_day_is_that_of_the_clients_country_and_windows_are_by_her_clock():
    clients = [client("a", country="DE"), client("b", country="US"), *CLIENTS[2:]]
    quiet = {
        "holidays": [{"on": "10-01", "name": "a day of rest", "countries": ["DE"]}],
        "hours": {"starts": "21:00", "ends": "08:00"},
        "zones": {"DE": "Europe/Berlin", "US": "America/New_York"},
    }
    day = decide_day(clients, [card("news"), card("visit", channels=["account_manager"])], caps=WEEKLY, quiet=quiet)
    assert (day.of("news")["a"], day.of("news")["b"], day.of("visit")["a"]) == ("quiet_day", "allocated", "allocated")
    assert day.of("news", "not_before")["b"] == datetime(2017, 10, 1, 12)
    assert day.of("news", "not_after")["b"] == datetime(2017, 10, 2, 1)
    assert day.of("news", "not_before")["c"] == datetime(2017, 10, 1, 8)  # the company's zone
    assert day.of("news", "not_before")["a"] is None
    assert day.of("visit", "not_before")["b"] is None


def test_L9_suppression_beats_consent_and_a_grant_that_is_too_young_waits():
    channels = {
        "email": {"cost": 0.01, "address": "email", "min_consent_days": 3},
        "sms": {"cost": 0.05, "address": "phone"},
    }
    ledger = replace(
        granted_to_all(),
        suppressed=rows(SUPPRESSED, ("a", "email"), ("b", "all")),
        young=rows(YOUNG, ("c", "email", "marketing")),
    )
    day = decide_day(
        CLIENTS, [card("one", channels=["email", "sms"]), card("two")], ledger=ledger, channels=channels, caps=WEEKLY
    )
    assert day.of("one", "channel") == {"a": "sms", "b": None, "c": "sms", "d": "email"}
    assert day.of("two") == {"a": "suppressed", "b": "suppressed", "c": "consent_too_young", "d": "allocated"}


def test_nobody_is_contacted_while_a_complaint_or_a_ticket_is_open():
    said = [("a", "complaint", 5), ("b", "complaint", 5), ("b", "resolved", 3), ("c", "ticket", 40), ("d", "Ticket", 2)]
    interactions = pa.Table.from_pylist(
        [
            {
                "client_id": who,
                "interaction_kind": kind,
                "happened_at": datetime.combine(days_before(days), datetime.min.time()),
                "happened_on": days_before(days),
            }
            for who, kind, days in said
        ]
    )
    essential = {"purposes": ["service"]}
    ledger = facts(consents=granted(*EVERYONE))
    service = pa.concat_tables([ledger.consents, ledger.consents.set_column(2, "purpose", pa.array(["service"] * 12))])
    day = decide_day(
        CLIENTS,
        [card("news"), card("repair", purpose="service")],
        ledger=replace(ledger, consents=service),
        extra={"fct_interactions": interactions},
        caps=WEEKLY,
        essential=essential,
    )
    assert day.of("news") == {"a": "open_complaint", "b": "allocated", "c": "allocated", "d": "open_ticket"}
    assert set(day.of("repair").values()) == {"allocated"}


def test_of_a_company_one_person_is_contacted_the_first_by_role():
    groups = pa.table({"client_id": ["a", "b", "c"], "company_id": ["x", "x", "y"]})
    persons = pa.table({"client_id": ["a", "b", "c"], "role": ["User", "Buyer", "User"]})
    accounts = {"days": 14, "roles": ["buyer", "user"]}
    given = {"extra": {"client_groups": groups, "dim_contact_persons": persons}, "caps": WEEKLY, "accounts": accounts}
    day = decide_day(CLIENTS, [card("one"), card("two")], **given)
    assert day.of("one") == {"a": "other_contact_person", "b": "allocated", "c": "allocated", "d": "allocated"}
    assert day.of("two")["b"] == "allocated"
    ledger = granted_to_all(contacts=[("old", "a", "email", days_before(13))])
    later = decide_day(CLIENTS, [card("one")], ledger=ledger, **given)
    assert (later.of("one")["a"], later.of("one")["b"]) == ("allocated", "account_contacted")


def test_a_channels_capacity_and_the_days_budget_go_to_the_most_valuable():
    channels = {
        "email": {"cost": 1.0, "address": "email"},
        "call": {"cost": 2.0, "address": "phone", "capacity_per_day": 2},
    }
    cards = [value_card("talk", 0.3, channels=["call"]), value_card("news", 0.1)]
    day = decide_day(CLIENTS, cards, channels=channels)
    assert day.of("talk") == {"a": "capacity_call", "b": "capacity_call", "c": "allocated", "d": "allocated"}
    assert day.of("news") == {"a": "allocated", "b": "allocated", "c": "lost_to_talk", "d": "lost_to_talk"}
    tight = decide_day(CLIENTS, cards, channels=channels, day_budget={"money": 3.0})
    assert sum(row["cost"] for row in tight.rows if row["rule"] == "allocated") <= 3.0
    assert tight.of("news")["a"] == "day_budget"


def test_a_budget_counts_what_the_term_has_spent():
    ledger = replace(granted_to_all(), spent={("one", "email"): 8, ("two", "email"): 300})
    cards = [
        card("one", budget={"contacts": 10}),
        card("two", budget={"money": 3.01}),
        card("three", budget={"money_per_day": 0.03}),
    ]
    day = decide_day(CLIENTS, cards, ledger=ledger, caps=WEEKLY)
    counts = {name: list(day.of(name).values()).count("allocated") for name in ("one", "two", "three")}
    assert counts == {"one": 2, "two": 1, "three": 3}
    assert day.of("one")["a"] == "campaign_budget"


@pytest.mark.parametrize("treatment", ["first", "exempt"])
def test_nobody_is_starved_of_service_messages(treatment):
    ledger = facts(consents=granted(*EVERYONE))
    service = pa.concat_tables([ledger.consents, ledger.consents.set_column(2, "purpose", pa.array(["service"] * 12))])
    worthless = {"basis": "value_90d", "prior_effect": 0.0, "prior_source": "it is a duty"}
    cards = [value_card("gift", 0.3), card("recall", purpose="service", expected_value=worthless)]
    day = decide_day(
        CLIENTS,
        cards,
        ledger=replace(ledger, consents=service),
        caps=[{"contacts": 1, "days": 3}],
        essential={"purposes": ["service"], "treatment": treatment},
    )
    assert set(day.of("recall").values()) == {"allocated"}
    assert set(day.of("gift").values()) == {"lost_to_recall" if treatment == "first" else "allocated"}


def test_L8_the_global_hold_out_gets_nothing_uses_its_caps_and_keeps_its_draw():
    clients = [client(f"c{i}") for i in range(120)]
    hold_out = {"share": 0.2, "since": "2017-09-01"}
    day = decide_day(clients, [card("one", control_share=0.5)], hold_out=hold_out)
    drawn = {c["client_id"] for c in clients if unit_interval(SALT, "hold_out:2017-09-01", c["client_id"]) < 0.2}
    assert {who for who, arm in day.of("one", "arm").items() if arm == "hold_out"} == drawn != set()
    assert {day.of("one", "outcome")[who] for who in drawn} == {"control"}
    assert set(day.of("one").values()) == {"allocated"}
    ledger = facts(consents=granted(*(c["client_id"] for c in clients)))
    free, held = min(drawn), min({c["client_id"] for c in clients} - drawn)
    again = decide_day(
        clients,
        [card("one")],
        ledger=replace(ledger, held=rows(HELD, (free, "open"), (held, "held"))),
        hold_out=hold_out,
    )
    assert (again.of("one", "arm")[free], again.of("one", "arm")[held]) == ("target", "hold_out")


def test_L8_named_arms_share_those_who_are_not_in_control_and_stay():
    clients = [client(f"c{i}") for i in range(300)]
    arms = [{"id": "short", "share": 0.25}, {"id": "long", "share": 0.75}]
    day = decide_day(clients, [card("one", control_share=0.2, arms=arms)])

    def expected(who):
        unit = unit_interval(SALT, "one", who)
        return "control" if unit < 0.2 else "short" if unit < 0.4 else "long"

    assert day.of("one", "arm") == {c["client_id"]: expected(c["client_id"]) for c in clients}
    assert {day.of("one", "outcome")[who] for who, arm in day.of("one", "arm").items() if arm != "control"} == {
        "target"
    }
    ledger = facts(consents=granted("c1"))
    kept = decide_day(
        [clients[1]], [card("one", arms=arms)], ledger=replace(ledger, arms=rows(ARMS, ("one", "c1", "short")))
    )
    assert kept.of("one", "arm") == {"c1": "short"}


def test_a_pilot_holds_the_others_back_until_the_gate_decides():
    clients = [client(f"c{i}") for i in range(100)]
    ledger = facts(consents=granted(*(c["client_id"] for c in clients)))
    pilot = card("one", control_share=0.5, pilot={"share": 0.3, "minimum_effect": 1.0, "max_days": 10})

    def rules(**values):
        return set(decide_day(clients, [pilot], ledger=replace(ledger, **values)).of("one").values())

    day = decide_day(clients, [pilot], ledger=ledger).of("one")
    assert {who for who, rule in day.items() if rule == "allocated"} == {
        c["client_id"] for c in clients if unit_interval(SALT, "pilot", "one", c["client_id"]) < 0.3
    }
    known = AS_OF - timedelta(days=1)
    assert rules(effects={"one": (Effect(known, 1.0, 4.0),)}) == {"allocated"}
    assert rules(effects={"one": (Effect(known, -2.0, 0.9),)}) == {"pilot_stopped"}
    assert rules(effects={"one": (Effect(known, 0.5, 3.0),)}) == {"allocated", "pilot_waits"}
    assert rules(begun={"one": days_before(10)}) == {"pilot_stopped"}


def test_a_measured_effect_takes_the_priors_place():
    scores = [
        ("a", "value_90d", 100.0),
        ("b", "value_90d", 100.0),
        ("a", "response_one", 0.4),
        ("b", "response_one", -0.1),
    ]
    names = ("client_id", "score", "value")
    made = [{**dict(zip(names, row, strict=True)), "as_of_date": AS_OF, "model_version": "m"} for row in scores]
    made = pa.Table.from_pylist(made, schema=CLIENT_SCORES)
    day = decide_day([client("a"), client("b")], [value_card("one", 0.1)], extra={"client_scores": made})
    assert day.of("one", "value") == {"a": pytest.approx(100 * 0.4 * 0.5 - 0.01), "b": pytest.approx(-5.01)}
    assert day.of("one") == {"a": "allocated", "b": "below_minimum_value"}


def test_L7_the_step_tells_how_far_a_candidate_came():
    ledger = facts(consents=granted("a", "b", "c"), contacts=[("old", "b", "email", date(2017, 9, 30))])
    day = decide_day(CLIENTS, [value_card("one", 0.3, max_contacts_per_day=1)], ledger=ledger)
    assert day.of("one", "step") == {"a": "allocated", "b": "allowed", "c": "assigned", "d": "eligible"}
