from __future__ import annotations

from datetime import date, datetime

import pytest

from factories.planned import decide_day
from factories.published import MemorySession, card, client, shop_tables
from perennial.contracts.schedules import Schedule
from perennial.contracts.targeting import Campaign
from perennial.targeting.cron import first_time
from perennial.targeting.occasions import anniversary
from perennial.targeting.schedule import cool_down_days, not_due, sending_times

SUNDAY = date(2017, 10, 1)


def a_card(**values) -> Campaign:
    return Campaign.model_validate(card("c", **values))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, None),
        ({"schedule": {"weekdays": ["sun", "wed"]}}, None),
        ({"schedule": {"weekdays": ["mon"]}}, "not scheduled on sun"),
        ({"schedule": {"cron": "0 10 1 * *"}}, None),
        ({"schedule": {"cron": "0 10 * * sun"}}, None),
        ({"schedule": {"cron": "30 9 2 * *"}}, "not scheduled on 2017-10-01 (30 9 2 * *)"),
        ({"starts_on": date(2017, 10, 1), "ends_on": date(2017, 10, 1)}, None),
        ({"starts_on": date(2017, 10, 2)}, "starts on 2017-10-02"),
        ({"ends_on": date(2017, 9, 30)}, "ended on 2017-09-30"),
    ],
)
def test_a_card_is_due_on_its_days_within_its_term(values, reason):
    assert not_due(a_card(**values), SUNDAY) == reason


@pytest.mark.parametrize(
    ("expression", "day", "first"),
    [
        ("0 10 29 2 *", date(2016, 2, 29), "10:00"),
        ("0 10 29 2 *", date(2017, 2, 28), None),  # a cron day is a day of the calendar, no anniversary
        ("*/15 8-9 * * mon-fri", date(2017, 10, 2), "08:00"),
        ("30 2 * * *", date(2017, 3, 26), "02:30"),  # left out by the clock change in Berlin, and due all the same
        ("0 0 1 1 *", date(2018, 1, 1), "00:00"),
        ("59 23 31 12 *", date(2017, 12, 31), "23:59"),
    ],
)
def test_a_cron_expression_fires_on_its_days_from_its_first_time_on(expression, day, first):
    found = first_time(expression, day)
    assert (found.strftime("%H:%M") if found else None) == first


@pytest.mark.parametrize(
    ("schedule", "day", "times"),
    [
        ({}, SUNDAY, (None, None)),
        ({"send_from": "08:00", "send_not_after": "18:00"}, SUNDAY, ("2017-10-01 06:00", "2017-10-01 16:00")),
        ({"cron": "30 9 * * *"}, date(2017, 12, 1), ("2017-12-01 08:30", None)),
        # 02:30 is twice on 29 October in Berlin: from the first on, or not after the second.
        ({"send_from": "02:30"}, date(2017, 10, 29), ("2017-10-29 00:30", None)),
        ({"send_not_after": "02:30"}, date(2017, 10, 29), (None, "2017-10-29 01:30")),
        # and never on 26 March: both sides of the gap lie next to it.
        ({"send_not_after": "02:30"}, date(2017, 3, 26), (None, "2017-03-26 01:30")),
    ],
)
def test_L17_L25_sending_times_are_the_business_zones_on_both_clock_change_days(schedule, day, times):
    expected = tuple(datetime.fromisoformat(one) if one else None for one in times)
    assert sending_times(a_card(schedule=schedule), day, "Europe/Berlin") == expected


def celebrating(day: date, window_days: int = 0, days_before: int = 0, **dates: date) -> list[str]:
    session = MemorySession(shop_tables([client(name, signed_up_on=on) for name, on in dates.items()]))
    schedule = Schedule(anniversary_of="signed_up_on", window_days=window_days, days_before=days_before)
    rule = anniversary(schedule, "o")
    query = f"select client_id from client_metrics where {rule.sql} order by 1"
    return session.query(query, {**rule.params, "as_of": day}).column("client_id").to_pylist()


LEAP = date(2016, 2, 29)


@pytest.mark.parametrize(
    ("day", "window_days", "expected"),
    [
        (date(2017, 10, 1), 0, ["a"]),
        (date(2017, 10, 3), 2, ["a"]),
        (date(2017, 10, 4), 2, []),
        (date(2015, 10, 1), 0, []),  # the day itself is no anniversary
        (date(2017, 2, 28), 0, ["l"]),  # 29 February in a common year
        (date(2017, 3, 1), 1, ["l"]),
        (date(2020, 2, 28), 0, []),  # in a leap year it waits for its day
        (date(2020, 2, 29), 0, ["l"]),
        (date(2018, 1, 1), 1, ["d"]),  # the window reaches over the new year
        (date(2017, 1, 1), 1, []),  # signed up yesterday, in the year before
    ],
)
def test_anniversaries_fall_on_their_day_and_in_their_window(day, window_days, expected):
    dates = {"a": date(2015, 10, 1), "l": LEAP, "d": date(2016, 12, 31), "n": None}
    assert celebrating(day, window_days, **dates) == expected


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (date(2017, 9, 24), ["a"]),  # a week ahead
        (date(2017, 9, 25), ["a"]),
        (date(2017, 9, 26), []),
        (date(2017, 2, 21), ["l"]),
        (date(2017, 12, 24), ["d"]),
        (date(2016, 12, 24), []),  # the first one is no anniversary, ahead or not
    ],
)
def test_a_card_may_come_days_before_an_anniversary(day, expected):
    dates = {"a": date(2015, 10, 1), "l": LEAP, "d": date(2016, 12, 31), "n": None}
    assert celebrating(day, 1, 7, **dates) == expected


def test_an_occasion_with_a_window_is_one_occasion():
    assert cool_down_days(a_card(schedule={"anniversary_of": "signed_up_on", "window_days": 3})) == 4
    assert cool_down_days(a_card(schedule={"event": {"name": "first_order_on", "within_days": 7}})) == 8
    assert cool_down_days(a_card(cool_down_days=7)) == 7


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"name": "first_order_on", "delay_days": 3}, {"three"}),
        ({"name": "first_order_on", "delay_days": 3, "within_days": 2}, {"three", "five"}),
        ({"name": "first_order_on"}, {"today"}),
        ({"name": "first_order_on", "days_before": 14}, {"ahead"}),
        ({"name": "first_order_on", "days_before": 16, "within_days": 2}, {"ahead"}),
        ({"name": "first_order_on", "days_before": 13, "within_days": 13}, {"today"}),
    ],
)
def test_an_event_is_due_after_its_delay_or_so_many_days_before_it(event, expected):
    dates = {"three": date(2017, 9, 28), "five": date(2017, 9, 26), "today": SUNDAY, "ahead": date(2017, 10, 15)}
    clients = [client(name, first_order_on=on) for name, on in {**dates, "never": None}.items()]
    day = decide_day(clients, [card("c", schedule={"event": event})])
    assert set(day.of("c")) == expected


def test_what_a_client_may_be_sent_lies_within_her_hours_and_the_cards():
    quiet = {"hours": {"starts": "20:00", "ends": "09:00"}}
    cards = [
        card("early", schedule={"send_from": "07:00", "send_not_after": "12:00"}, cool_down_days=0),
        card("night", schedule={"send_from": "20:00"}),
        card("dawn", schedule={"send_not_after": "09:00"}),
    ]
    day = decide_day([client("a")], cards, quiet=quiet, caps=[{"contacts": 3, "days": 1}])
    [row] = [one for one in day.rows if one["campaign_id"] == "early"]
    assert (row["not_before"], row["not_after"]) == (datetime(2017, 10, 1, 9), datetime(2017, 10, 1, 12))
    assert day.of_client("a") == {"early": "allocated", "night": "quiet_hours", "dawn": "quiet_hours"}
    assert {row["step"] for row in day.rows if row["rule"] == "quiet_hours"} == {"allowed"}
