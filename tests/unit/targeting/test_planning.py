from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from factories.planned import decide_day
from factories.published import AS_OF, SALT, card, client, days_before, facts, granted, outcomes, scores
from perennial.contracts.next_steps import CLIENT_NEXT_PRODUCTS
from perennial.contracts.scores import CAMPAIGN_OUTCOMES
from perennial.core.errors import ContractViolation
from perennial.core.ids import unit_interval

YESTERDAY = days_before(1)
EVERYONE = ("a", "b", "c", "d")
CLIENTS = [client(name) for name in EVERYONE]


def with_consents(*consents: tuple[str, str, str], **kwargs):
    return facts(consents=consents, **kwargs)


def all_granted(**kwargs):
    return facts(consents=granted(*EVERYONE), **kwargs)


def value_card(campaign_id: str, effect: float, **values):
    expected = {"basis": "value_90d", "prior_effect": effect, "prior_source": "assumed", "margin_share": 0.5}
    return card(campaign_id, expected_value=expected, **values)


def held_back(campaign_id: str, client_id: str, on: date, **values):
    row = {"campaign_id": campaign_id, "client_id": client_id, "as_of_date": on, "channel": "email"}
    return {**row, "outcome": "control", "arm": "control", "rule": "allocated", **values}


def test_the_outcomes_have_the_columns_of_the_contract():
    day = decide_day(CLIENTS, [card("news")])
    assert list(day.rows[0]) == CAMPAIGN_OUTCOMES.names
    assert {type(row["as_of_date"]) for row in day.rows} == {date}


def test_the_expected_value_is_basis_times_effect_times_margin_less_the_costs():
    offer = {"text": "x", "cost": 3.0}
    who = [client("a", churn_risk=0.4, value_90d=500.0, revenue_365d=730)]

    def worth(basis):
        expected = {"basis": basis, "prior_effect": 0.2, "prior_source": "x", "margin_share": 0.25}
        [row] = decide_day(who, [card("one", channels=["sms"], offer=offer, expected_value=expected)]).rows
        return row["value"], row["cost"]

    cost = pytest.approx(0.05 + 3 * 0.2)
    assert worth("value_90d") == (pytest.approx(500 * 0.2 * 0.25 - 0.65), cost)
    assert worth("churn_risk_x_value_90d") == (pytest.approx(200 * 0.2 * 0.25 - 0.65), cost)
    assert worth("revenue_365d_daily_x_90") == (pytest.approx(180 * 0.2 * 0.25 - 0.65), cost)


def test_the_first_channel_with_an_address_and_consent_is_taken():
    clients = [client("a"), client("b", has_email=False), client("c"), client("d", has_email=False, has_phone=False)]
    consents = with_consents(*granted("a", "b", "d"), ("c", "call", "granted"))
    day = decide_day(clients, [card("one", channels=["email", "sms", "call"])], ledger=consents)
    assert day.of("one", "channel") == {"a": "email", "b": "sms", "c": "call", "d": None}
    assert day.of("one")["d"] == "no_address"


def test_L9_nobody_without_consent_is_reached_and_a_withdrawal_is_told_as_such():
    consents = with_consents(("a", "email", "withdrawn"), ("b", "sms", "granted"), ("d", "email", "granted"))
    day = decide_day(CLIENTS, [card("one")], ledger=consents)
    assert day.of("one") == {"a": "withdrawn", "b": "no_consent", "c": "no_consent", "d": "allocated"}


def test_L9_a_withdrawal_in_one_channel_leaves_the_other_and_closes_a_channel_that_needs_no_consent():
    consents = with_consents(
        ("a", "email", "withdrawn"), ("a", "sms", "granted"), ("b", "account_manager", "withdrawn")
    )
    day = decide_day(
        CLIENTS, [card("one", channels=["email", "sms"]), card("two", channels=["account_manager"])], ledger=consents
    )
    assert day.of("one", "channel")["a"] == "sms"
    assert day.of("two")["b"] == "withdrawn"
    assert day.of("two")["c"] == "allocated"


def test_L9_what_was_said_of_everything_holds_where_nothing_else_was_said():
    consents = with_consents(
        ("a", "all", "withdrawn"), ("b", "all", "granted"), ("c", "all", "withdrawn"), ("c", "email", "granted")
    )
    day = decide_day(CLIENTS, [card("one", channels=["email"])], ledger=consents)
    assert day.of("one") == {"a": "withdrawn", "b": "allocated", "c": "allocated", "d": "no_consent"}


def test_L9_consent_to_another_purpose_is_none():
    day = decide_day(CLIENTS, [card("one", purpose="surveys")])
    assert set(day.of("one").values()) == {"no_consent"}


def test_L10_a_cap_counts_what_we_sent_what_others_sent_and_who_was_held_back():
    sent = all_granted(contacts=[("old", "a", "email", YESTERDAY)])
    others = [{"client_id": "b", "channel": "mail", "contacted_on": AS_OF}]
    before = outcomes([held_back("old", "c", days_before(2))])
    day = decide_day(CLIENTS, [card("one")], ledger=sent, others=others, extra={"campaign_outcomes": before})
    assert day.of("one") == {"a": "cap_1_in_3d", "b": "cap_1_in_3d", "c": "cap_1_in_3d", "d": "allocated"}


def test_L10_what_the_warehouse_repeats_of_our_own_sends_is_not_counted_twice():
    sent = all_granted(contacts=[("old", "a", "email", YESTERDAY)])
    others = [{"reported_by": "perennial", "client_id": "a", "channel": "email", "contacted_on": YESTERDAY}]
    day = decide_day(CLIENTS, [card("one")], ledger=sent, others=others, caps=[{"contacts": 2, "days": 3}])
    assert day.of("one")["a"] == "allocated"


@pytest.mark.parametrize(("days_ago", "rule"), [(0, "cap_1_in_3d"), (2, "cap_1_in_3d"), (3, "allocated")])
def test_L10_a_window_of_three_days_holds_today_and_the_two_days_before(days_ago, rule):
    others = [{"client_id": "a", "channel": "mail", "contacted_on": days_before(days_ago)}]
    assert decide_day(CLIENTS, [card("one")], others=others).of("one")["a"] == rule


def test_L10_a_cap_of_one_channel_leaves_the_others_alone():
    sent = all_granted(contacts=[("old", "a", "sms", days_before(5)), ("old", "b", "email", days_before(5))])
    caps = [{"contacts": 1, "days": 14, "channel": "sms"}]
    day = decide_day(CLIENTS, [card("one", channels=["sms"])], ledger=sent, caps=caps)
    assert (day.of("one")["a"], day.of("one")["b"]) == ("cap_sms_1_in_14d", "allocated")


def test_the_first_cap_of_the_file_that_is_used_up_is_named():
    sent = all_granted(contacts=[("old", "a", "sms", YESTERDAY)])
    caps = [{"contacts": 5, "days": 30}, {"contacts": 1, "days": 14, "channel": "sms"}, {"contacts": 1, "days": 3}]
    assert (
        decide_day(CLIENTS, [card("one", channels=["sms"])], ledger=sent, caps=caps).of("one")["a"]
        == "cap_sms_1_in_14d"
    )


def test_a_client_of_several_campaigns_gets_the_one_that_expects_most_and_the_others_say_so():
    day = decide_day(CLIENTS, [value_card("small", 0.1), value_card("large", 0.3), value_card("middle", 0.2)])
    assert day.of_client("a") == {"large": "allocated", "middle": "lost_to_large", "small": "lost_to_large"}


def test_equal_values_are_decided_by_priority_then_by_id():
    day = decide_day(CLIENTS, [card("x", priority=2), card("y", priority=1), card("w", priority=2)])
    assert day.of_client("a") == {"w": "lost_to_y", "x": "lost_to_y", "y": "allocated"}
    assert decide_day(CLIENTS, [card("x"), card("w")]).of_client("a") == {"w": "allocated", "x": "lost_to_w"}


def test_where_the_caps_leave_room_for_two_the_two_best_are_sent():
    cards = [value_card("small", 0.1), value_card("large", 0.3), value_card("middle", 0.2)]
    day = decide_day(CLIENTS, cards, caps=[{"contacts": 2, "days": 3}])
    assert day.of_client("a") == {"large": "allocated", "middle": "allocated", "small": "lost_to_large"}


def test_a_full_channel_gives_the_contact_to_the_next_campaign_in_another():
    cards = [
        value_card("first", 0.3, channels=["sms"]),
        value_card("second", 0.2, channels=["sms"]),
        value_card("third", 0.1, channels=["email"]),
    ]
    caps = [{"contacts": 2, "days": 3}, {"contacts": 1, "days": 7, "channel": "sms"}]
    day = decide_day(CLIENTS, cards, caps=caps)
    assert day.of_client("a") == {"first": "allocated", "second": "lost_to_first", "third": "allocated"}


def test_a_daily_limit_goes_to_the_most_valuable_and_the_others_go_to_their_next_campaign():
    clients = [client(name, value_90d=100.0 * (index + 1)) for index, name in enumerate(EVERYONE)]
    day = decide_day(clients, [value_card("large", 0.3, max_contacts_per_day=2), value_card("small", 0.1)])
    assert day.of("large") == {"a": "daily_limit", "b": "daily_limit", "c": "allocated", "d": "allocated"}
    assert day.of("small") == {"a": "allocated", "b": "allocated", "c": "lost_to_large", "d": "lost_to_large"}


def test_a_limit_of_nothing_sends_nothing():
    assert set(decide_day(CLIENTS, [card("one", max_contacts_per_day=0)]).of("one").values()) == {"daily_limit"}


@pytest.mark.parametrize(("days_ago", "rule"), [(6, "cool_down"), (7, "allocated")])
def test_a_campaign_waits_for_its_cool_down_also_for_those_held_back(days_ago, rule):
    contacts = [("one", "a", "email", days_before(days_ago)), ("other", "b", "email", days_before(days_ago))]
    before = outcomes([held_back("one", "c", days_before(days_ago))])
    day = decide_day(
        CLIENTS,
        [card("one", cool_down_days=7)],
        ledger=all_granted(contacts=contacts),
        extra={"campaign_outcomes": before},
    )
    assert day.of("one") == {"a": rule, "b": "allocated", "c": rule, "d": "allocated"}


def test_what_is_worth_less_than_the_minimum_is_not_sent():
    clients = [client("a", value_90d=10.0), client("b", value_90d=1000.0)]
    day = decide_day(clients, [card("one")], minimum_expected_value=1.0)
    assert day.of("one") == {"a": "below_minimum_value", "b": "allocated"}


def test_L6_a_client_without_a_score_is_refused_by_name():
    day = decide_day([client("a", value_90d=None), client("b")], [card("one")])
    assert day.of("one") == {"a": "score_missing", "b": "allocated"}


@pytest.mark.parametrize("old", [None, scores(CLIENTS, YESTERDAY)])
def test_L6_without_scores_of_the_day_only_what_does_not_stand_on_them_is_sent(old):
    rules = {"risky": "churn_risk > 0.3 and has_email", "quiet": "not risky"}
    revenue = {"basis": "revenue_365d_daily_x_90", "prior_effect": 0.1, "prior_source": "x"}
    cards = [
        card("by_value"),
        card("by_audience", audience="quiet", expected_value=revenue),
        card("by_revenue", expected_value=revenue),
    ]
    clients = [client("a"), client("b", has_email=False)]
    day = decide_day(clients, cards, rules=rules, extra={"client_scores": old})
    assert day.of("by_value") == {"a": "score_missing", "b": "no_address"}
    assert day.of("by_audience")["a"] == "score_missing"
    assert day.of("by_revenue")["a"] == "allocated"
    assert "by_audience: no churn_risk of 2017-10-01, so its candidates are refused (score_missing)" in day.notes


def test_L6_metrics_of_another_day_stop_the_plan():
    with pytest.raises(ContractViolation, match="is of 2017-10-01, but the day is 2017-10-02"):
        decide_day(CLIENTS, [card("one")], ledger=facts(as_of=date(2017, 10, 2)))


def test_L8_the_arm_is_the_salted_hash_of_campaign_and_client():
    clients = [client(f"c{i}") for i in range(200)]
    day = decide_day(clients, [card("one", control_share=0.3)])
    expected = {
        c["client_id"]: "control" if unit_interval(SALT, "one", c["client_id"]) < 0.3 else "target" for c in clients
    }
    assert day.of("one", "arm") == expected
    assert set(expected.values()) == {"control", "target"}
    assert day.of("one", "outcome") == expected


@pytest.mark.parametrize(("share", "arm"), [(0.0, "target"), (1.0, "control")])
def test_L8_a_share_of_nothing_or_all_is_taken_at_its_word(share, arm):
    assert set(decide_day(CLIENTS, [card("one", control_share=share)]).of("one", "arm").values()) == {arm}


def test_L8_an_arm_that_was_drawn_before_stays_whatever_the_share_is_now():
    ledger = all_granted(arms=[("one", "a", "control"), ("one", "b", "target"), ("other", "c", "control")])
    day = decide_day(CLIENTS, [card("one", control_share=0.0)], ledger=ledger)
    assert day.of("one", "arm") == {"a": "control", "b": "target", "c": "target", "d": "target"}
    assert decide_day(CLIENTS, [card("one", control_share=1.0)], ledger=ledger).of("one", "arm")["b"] == "target"


def test_the_control_group_does_not_change_who_is_allocated():
    clients = [client(f"c{i}", value_90d=100.0 + i) for i in range(60)]

    def allocated(share):
        day = decide_day(
            clients,
            [value_card("x", 0.3, max_contacts_per_day=20, control_share=share), card("y", control_share=share)],
        )
        return {(row["campaign_id"], row["client_id"]) for row in day.rows if row["rule"] == "allocated"}

    assert allocated(0.0) == allocated(0.5) == allocated(1.0)


def test_what_an_earlier_revision_of_the_day_sent_stays_and_uses_the_contact():
    kept = [("small", "a", "email", "target"), ("small", "b", "email", "control")]
    day = decide_day(CLIENTS, [value_card("small", 0.1), value_card("large", 0.3)], ledger=all_granted(kept=kept))
    assert day.of("small") == {
        "a": "already_sent_today",
        "b": "already_sent_today",
        "c": "lost_to_large",
        "d": "lost_to_large",
    }
    assert day.of("small", "outcome")["a"] == "target"
    assert day.of("small", "outcome")["b"] == "control"
    assert day.of("large") == {"a": "lost_to_small", "b": "lost_to_small", "c": "allocated", "d": "allocated"}


def test_what_was_sent_today_stays_in_its_channel_counts_in_the_limit_and_stays_outside_the_audience():
    clients = [client("a", recency_days=99), *CLIENTS[1:]]
    kept = [("one", "a", "sms", "target")]
    cards = [card("one", audience="recency_days < 9", channels=["email", "sms"], max_contacts_per_day=2)]
    day = decide_day(clients, cards, ledger=all_granted(kept=kept))
    assert (day.of("one")["a"], day.of("one", "channel")["a"]) == ("already_sent_today", "sms")
    assert sorted(day.of("one").values()) == ["allocated", "already_sent_today", "daily_limit", "daily_limit"]


def test_L9_a_withdrawal_after_the_first_revision_beats_what_was_kept():
    ledger = facts(
        consents=[("a", "email", "withdrawn"), ("a", "sms", "granted")], kept=[("one", "a", "email", "target")]
    )
    assert decide_day(CLIENTS, [card("one", channels=["email", "sms"])], ledger=ledger).of("one")["a"] == "withdrawn"


def test_an_audience_keeps_its_members_without_a_new_contact_until_they_leave():
    members = [("club", name, "email") for name in ("a", "b", "c")]
    sent = [("club", name, "email", days_before(2)) for name in ("a", "b", "c")]
    clients = [client("a"), client("b", recency_days=99), *CLIENTS[2:]]
    consents = [*granted("a", "b", "d"), ("c", "email", "withdrawn")]
    club = card("club", audience="recency_days < 9", list_type="audience", cool_down_days=30)
    day = decide_day(clients, [club, card("news")], ledger=facts(consents=consents, members=members, contacts=sent))
    assert day.of("club") == {"a": "already_in_list", "c": "withdrawn", "d": "allocated"}
    assert day.of("club", "outcome")["a"] == "target"
    assert day.of("news")["a"] == "cap_1_in_3d"


def test_an_audience_stands_on_its_list_while_scores_are_missing():
    club = card("club", audience="churn_risk > 0.1", list_type="audience")
    ledger = all_granted(members=[("club", "a", "email")])
    day = decide_day(CLIENTS, [club], ledger=ledger, extra={"client_scores": None})
    assert day.of("club") == {"a": "already_in_list", "b": "score_missing", "c": "score_missing", "d": "score_missing"}


def test_those_held_back_from_an_audience_stay_held_back_until_they_leave():
    club = card("club", list_type="audience", control_share=0.0, cool_down_days=60)
    old, last = days_before(9), days_before(1)
    before = outcomes(
        [
            held_back("club", "a", old), held_back("club", "b", old),
            held_back("club", "a", last, rule="already_in_list"),
        ]
    )  # fmt: skip
    day = decide_day(CLIENTS, [club, card("news")], extra={"campaign_outcomes": before})
    assert (day.of("club")["a"], day.of("club", "outcome")["a"]) == ("already_in_list", "control")
    assert day.of("club")["b"] == "cool_down"  # left and came back
    assert day.of("news")["a"] == "allocated"  # a place on a list is no contact


def test_the_next_product_is_what_others_with_the_same_main_department_buy_most():
    grocers = [client(f"g{i}", departments=("GROCERY", "DELI") if i < 20 else ("GROCERY", "MEAT")) for i in range(50)]
    few = [client(f"m{i}", main_department_365d="MEAT", departments=("MEAT", "FLORAL")) for i in range(5)]
    card_ = card("cross", next_product="department_not_yet_bought", never_propose=["FLORAL"])
    day = decide_day([*grocers, *few], [card_])
    assert day.of("cross", "next_product")["g0"] == "MEAT"
    assert day.of("cross", "next_product")["g40"] == "DELI"
    assert day.of("cross", "next_product")["m0"] == "GROCERY"  # too few like them: what all clients buy


def _proposed(*rows):
    """The day's client_next_products: (client, rank, product, line, kind)."""
    names = ("client_id", "rank", "product_name", "product_line", "kind")
    more = {
        "as_of_date": AS_OF,
        "product_id": "p",
        "probability": 0.1,
        "amount": 1.0,
        "reason": "bought with TEA by ...",
    }
    made = [{**dict(zip(names, row, strict=True)), **more, "model_version": "m"} for row in rows]
    return {"client_next_products": pa.Table.from_pylist(made, schema=CLIENT_NEXT_PRODUCTS)}


def test_the_next_product_is_the_best_learned_one_of_the_cards_kind_that_may_be_proposed():
    rows = [
        ("a", 1, "TEA", "GROCERY", "repeat"),
        ("a", 2, "PETROL", "FUEL", "cross_sell"),
        ("a", 3, "COFFEE", "GROCERY", "cross_sell"),
        ("a", 4, "BEST COFFEE", "GROCERY", "up_sell"),
    ]
    wanted = {"repeat": "TEA", "cross_sell": "COFFEE", "up_sell": "BEST COFFEE"}
    for kind, product in wanted.items():
        cards = [card("cross", next_product=kind, never_propose=["FUEL"])]
        day = decide_day([client("a"), client("b")], cards, extra=_proposed(*rows))
        assert day.of("cross", "next_product") == {"a": product, "b": None}
        assert day.of("cross")["b"] == "no_next_product"


def test_L6_proposals_of_another_day_are_none_and_cross_sell_falls_back_to_a_department():
    table = _proposed(("a", 1, "COFFEE", "GROCERY", "cross_sell"))["client_next_products"]
    old = table.set_column(1, "as_of_date", pa.array([YESTERDAY], pa.date32()))
    clients = [client("a", departments=("GROCERY",)), client("b", departments=("GROCERY", "MEAT"))]
    day = decide_day(clients, [card("cross", next_product="cross_sell")], extra={"client_next_products": old})
    assert day.of("cross", "next_product")["a"] == "MEAT"


def test_a_client_who_bought_everything_has_no_next_product():
    clients = [client("a", departments=("DELI", "MEAT")), client("b", departments=("DELI",))]
    day = decide_day(clients, [card("cross", next_product="department_not_yet_bought")])
    assert day.of("cross") == {"a": "no_next_product", "b": "allocated"}


def test_a_card_that_is_not_due_has_no_candidates_and_says_why():
    cards = [card("ended", ends_on=YESTERDAY), card("monday", schedule={"weekdays": ["mon"]}), card("due")]
    day = decide_day(CLIENTS, cards)
    assert {row["campaign_id"] for row in day.rows} == {"due"}
    assert "ended: ended on 2017-09-30, no candidates" in day.notes
    assert "monday: not scheduled on sun, no candidates" in day.notes


def test_an_empty_audience_and_a_rule_that_holds_everyone_are_told():
    day = decide_day(
        CLIENTS, [card("one", audience="recency_days > 999")], rules={"all_of_them": "true", "none": "false"}
    )
    assert not day.rows
    assert "one: nobody is in its audience today" in day.notes
    assert "segment all_of_them holds everyone (4 clients): it selects nothing" in day.notes


def test_segments_that_stand_on_segments_are_one_scan():
    rules = {"c_top": "b_mid and has_email", "b_mid": "not a_low", "a_low": "recency_days > 10"}
    clients = [client("a", recency_days=11), client("b"), client("c", recency_days=None), client("d", has_email=False)]
    day = decide_day(clients, [card("one", audience="c_top")], rules=rules)
    assert set(day.of("one")) == {"b", "c"}


def test_no_clients_and_no_campaigns_give_no_outcomes():
    assert decide_day([], [card("one")]).rows == []
    assert decide_day(CLIENTS, []).rows == []
