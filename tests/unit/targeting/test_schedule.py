from __future__ import annotations

from datetime import date

import pytest

from factories.published import MemorySession, card, client, shop_tables
from perennial.contracts.targeting import Campaign
from perennial.targeting.schedule import anniversary_sql, cool_down_days, not_due
from perennial.targeting.session import Binder

SUNDAY = date(2017, 10, 1)


def a_card(**values) -> Campaign:
    return Campaign.model_validate(card("c", **values))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, None),
        ({"schedule": {"weekdays": ["sun", "wed"]}}, None),
        ({"schedule": {"weekdays": ["mon"]}}, "not scheduled on sun"),
        ({"starts_on": date(2017, 10, 1), "ends_on": date(2017, 10, 1)}, None),
        ({"starts_on": date(2017, 10, 2)}, "starts on 2017-10-02"),
        ({"ends_on": date(2017, 9, 30)}, "ended on 2017-09-30"),
    ],
)
def test_a_card_is_due_on_its_week_days_within_its_term(values, reason):
    assert not_due(a_card(**values), SUNDAY) == reason


def celebrating(day: date, window_days: int = 0, **dates: date) -> list[str]:
    session = MemorySession(shop_tables([client(name, signed_up_on=on) for name, on in dates.items()]))
    binder = Binder()
    schedule = {"anniversary_of": "signed_up_on", "window_days": window_days}
    condition = anniversary_sql(a_card(schedule=schedule), day, binder)
    query = f"select client_id from client_metrics where {condition} order by 1"
    return session.query(query, binder.values).column("client_id").to_pylist()


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


def test_an_anniversary_with_a_window_is_one_occasion():
    assert cool_down_days(a_card(schedule={"anniversary_of": "signed_up_on", "window_days": 3})) == 4
    assert cool_down_days(a_card(cool_down_days=7)) == 7
