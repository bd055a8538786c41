"""What people write wrongly: told by file, line, field and fix, or planned without harm; rules seldom met."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from factories.planned import decide_day
from factories.published import (
    AS_OF,
    MemorySession,
    card,
    client,
    days_before,
    facts,
    granted,
    policy,
    put,
    shop_tables,
    write_config,
)
from perennial.core.errors import ConfigError
from perennial.targeting.catalogue import catalogue_of
from perennial.targeting.config import load_targeting

STEPS = [{"id": "one", "message": "m"}, {"id": "two", "after_days": 2, "message": "m"}]


def told_of(folder, *cards, **more) -> list[str]:
    settings = write_config(folder, campaigns=cards, **more)
    names = catalogue_of(MemorySession(shop_tables([client("a")])).tables())
    with pytest.raises(ConfigError) as caught:
        load_targeting(settings, names)
    return [str(problem).removeprefix(f"{settings.config_dir}/") for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"schedule": {"cron": "0 10 1 *"}}, ["schedule.cron"]),
        ({"schedule": {"cron": "0 25 1 * *"}}, ["schedule.cron", "no cron expression", "as in '0 10 1 * *'"]),
        ({"schedule": {"cron": "0 10 30 2 *"}}, ["schedule.cron", "names a day that never comes"]),
        ({"schedule": {"cron": "@daily"}}, ["schedule.cron"]),
        ({"schedule": {"cron": "0 0 1 1 *; drop table x"}}, ["schedule.cron"]),
        ({"schedule": {"weekdays": ["mon"], "cron": "0 10 * * mon"}}, ["weekdays and cron", "keep one"]),
        ({"schedule": {"weekdays": []}}, ["no day is named"]),
        ({"schedule": {"anniversary_of": "signed_on"}}, ["no date is called 'signed_on'", "signed_up_on"]),
        ({"schedule": {"anniversary_of": "recency_days"}}, ["'recency_days' is a number, no date", "first_order_on"]),
        ({"schedule": {"days_before": 3}}, ["schedule.days_before", "days before without an anniversary"]),
        ({"schedule": {"event": {"name": "frst_order_on"}}}, ["schedule.event.name", "did you mean first_order_on"]),
        ({"schedule": {"event": {"name": "lost", "days_before": 3}}}, ["nobody knows when", "use delay_days"]),
        ({"schedule": {"event": {"name": "first_order_on", "days_before": 3, "delay_days": 1}}}, ["keep one"]),
        ({"schedule": {"event": {"name": "first_order_on", "days_before": 3, "within_days": 4}}}, ["within_days"]),
        (
            {"schedule": {"event": {"name": "first_order_on"}, "anniversary_of": "signed_up_on"}},
            ["two occasions", "make two cards"],
        ),
        ({"schedule": {"send_from": "18:00", "send_not_after": "09:00"}}, ["nothing can be sent"]),
        ({"schedule": {"send_not_after": "25:00"}}, ["schedule.send_not_after"]),
        ({"offer": {"text": "x", "code_scheme": "personal"}}, ["offer.code_scheme", "not made yet", "use fixed"]),
        ({"offer": {"text": "x", "value": -5}}, ["offer.value", "less than 0"]),
        ({"budget": {"money": -1}}, ["budget.money", "-1 is less than 0"]),
        ({"budget": {"contacts": -1}}, ["budget.contacts", "-1 is less than 0"]),
        ({"arms": [{"id": "x", "share": 0.7}, {"id": "y", "share": 0.7}]}, ["they overlap", "add up to 1"]),
        ({"arms": [{"id": "x", "share": 0.5}, {"id": "x", "share": 0.5}]}, ["the arm 'x' stands twice"]),
        ({"re_entry_days": 9}, ["re_entry_days", "no series", "cool_down_days"]),
        ({"series": {"steps": STEPS}, "cool_down_days": 3}, ["cool_down_days", "hold back the next step"]),
        ({"series": {"steps": STEPS}, "list_type": "audience"}, ["an audience list has no steps"]),
        ({"series": {"steps": [*STEPS, STEPS[1]]}}, ["series.steps", "'two' stands twice"]),
        ({"series": {"steps": [STEPS[1]]}}, ["series.steps", "the first step has no former one"]),
        ({"series": {"steps": [STEPS[0], {**STEPS[1], "after_days": 0}]}}, ["after_days of 1 or more"]),
        ({"series": {"steps": []}}, ["series.steps"]),
        (
            {"series": {"steps": [STEPS[0], {**STEPS[1], "channels": ["call"]}]}},
            ["series.steps.1.channels.0", "the card has no channel 'call'", "use one of email"],
        ),
        ({"series": {"steps": STEPS, "exit_when": "recencydays > 1"}}, ["series.exit_when", "did you mean recency_days"]),
        ({"series": {"steps": [{**STEPS[0], "when": "recency_days"}]}}, ["series.steps.0.when", "condition is needed"]),
        (
            {"series": {"steps": STEPS}, "arms": [{"id": "x", "share": 1, "message": "other"}]},
            ["arms.0.message", "each step of the series has a message"],
        ),
        ({"merge_defaults": {"first_name": "friend"}}, ["merge_defaults.first_name", "no merge field 'first_name'"]),
        (
            {"merge_fields": ["recency_days"], "merge_defaults": {"recency_days": "none"}},
            ["recency_days is a number, but its default is 'none'", "without quotes"],
        ),
        (
            {"merge_fields": ["signed_up_on"], "merge_defaults": {"signed_up_on": "2017-01-01"}},
            ["only texts and numbers have defaults"],
        ),
        ({"approval": "sometimes"}, ["approval"]),
    ],
)  # fmt: skip
def test_L23_a_mistake_in_a_card_is_told_with_its_place_and_fix(tmp_path, change, parts):
    [told] = told_of(tmp_path, card("one", **change))
    assert told.startswith("campaigns/one.yml:")
    for part in parts:
        assert part in told


def test_two_cards_with_one_id_are_told_by_both_places(tmp_path):
    settings = write_config(tmp_path, campaigns=[card("one")])
    put(settings.config_dir.parent, "campaigns/other.yml", card("one"))
    with pytest.raises(ConfigError, match=r"other.yml:\d+:id: the id 'one' is taken by .*one.yml:\d+:id"):
        load_targeting(settings)


def test_a_time_zone_that_does_not_exist_is_told(tmp_path):
    rules = {"quiet": {"zones": {"GB": "Europe/Lundon"}}}
    [told] = told_of(tmp_path, card("one"), policy=policy(**rules))
    assert "policy.yml" in told
    assert "no time zone is called 'Europe/Lundon'" in told


def test_a_card_past_its_term_and_an_audience_of_nobody_plan_nobody_and_are_told():
    cards = [card("past", ends_on="2017-09-30"), card("nobody", audience="false"), card("all", audience="true")]
    day = decide_day([client("a"), client("b")], cards)
    assert {row["campaign_id"] for row in day.rows} == {"all"}
    assert "past: ended on 2017-09-30, no candidates" in day.notes
    assert "nobody: nobody is in its audience today" in day.notes


def test_a_division_by_zero_in_a_rule_is_no_value_and_no_error():
    clients = [client("a", orders_90d=0), client("b", orders_90d=5)]
    steps = [{**STEPS[0], "when": "revenue_90d / orders_90d > 1"}, STEPS[1]]
    cards = [card("one", audience="revenue_90d / orders_90d > 1"), card("two", series={"steps": steps})]
    day = decide_day(clients, cards, caps=[])
    assert day.of("one") == {"b": "allocated"}
    assert day.of("two") == {"a": "step_waits", "b": "allocated"}


def test_a_day_without_any_card_or_client_is_planned():
    assert decide_day([client("a")], []).rows == []
    assert decide_day([], [card("one", series={"steps": STEPS})]).rows == []


@pytest.mark.parametrize(("age", "rule"), [(17, "too_young"), (18, "allocated"), (None, "allocated")])
def test_who_is_known_to_be_too_young_is_refused_whatever_she_consented_to(age, rule):
    tables = shop_tables([client("a")])["dim_clients"]
    aged = tables.append_column("age", pa.array([age], pa.int64()))
    day = decide_day([client("a")], [card("one")], extra={"dim_clients": aged}, min_age_years=18)
    assert day.of("one") == {"a": rule}
    assert day.of("one", "step") == {"a": "eligible" if rule == "too_young" else "assigned"}


def test_a_cap_by_purpose_counts_that_purpose_alone_and_what_nobody_knows_the_purpose_of():
    cards = [card("poll", purpose="surveys"), card("sale"), card("quiz", purpose="surveys", audience="false")]
    given = facts(
        as_of=AS_OF,
        consents=granted("a", "b", "c"),
        contacts=[("quiz", "a", "email", days_before(2)), ("sale", "b", "email", days_before(2)), (None, "c", "email", days_before(2))],
    )  # fmt: skip
    both = given.consents.set_column(2, "purpose", pa.array(["surveys"] * given.consents.num_rows))
    ledger = replace(given, consents=pa.concat_tables([given.consents, both]))
    caps = [{"contacts": 1, "days": 5, "purpose": "surveys"}, {"contacts": 9, "days": 1}]
    day = decide_day([client(name) for name in "abc"], cards, ledger=ledger, caps=caps)
    assert day.of("poll") == {"a": "cap_surveys_1_in_5d", "b": "allocated", "c": "cap_surveys_1_in_5d"}
    assert set(day.of("sale").values()) == {"allocated"}
