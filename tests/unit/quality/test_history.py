"""A batch against those before it: rows that are missing or too many, and a source that was silent."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from perennial.contracts.sources import Freshness, SourceEntity, Volume
from perennial.quality.history import History, history_rules, usual_rows

DAY = date(2017, 10, 2)  # a Monday
NOW = datetime(2017, 10, 3, 6)
USUAL = {DAY - timedelta(days=back): 1000 for back in range(1, 20)}


def _contract(**more) -> SourceEntity:
    return SourceEntity(entity="agents", path="a/{date}.csv", columns={"agent_key": {"source": "a"}}, **more)


def _rules(rows_on, before=USUAL, *, by_batch=False, last=None, **more):
    landed = list(before.items()) if isinstance(before, dict) else before
    return {r.rule: r for r in history_rules(_contract(**more), rows_on, History(landed, by_batch, last, NOW))}


def _above(rule):
    return ("stop" if rule.share > rule.stop else "warn") if rule.share > rule.warn else ""


@pytest.mark.parametrize(
    ("rows", "less", "more"),
    [(1000, "", ""), (300, "", ""), (299, "warn", ""), (99, "stop", ""), (0, "stop", ""), (3000, "", ""),
     (3001, "", "warn"), (20000, "", "stop")],
)  # fmt: skip
def test_rows_outside_the_limits_warn_or_stop_and_the_limits_themselves_do_not(rows, less, more):
    found = _rules({DAY: rows}, volume=Volume(warn=(0.3, 3), stop=(0.1, 10)))
    assert (_above(found["volume:less"]), _above(found["volume:more"])) == (less, more)


def test_what_is_told_names_the_date_and_what_is_usual():
    rule = _rules({DAY: 12})["volume:less"]
    assert rule.said == "12 rows for 2017-10-02, usually about 1,000 (median of up to 14 dates before)"
    assert (rule.rows, rule.bad, rule.fix.startswith("ask the source")) == (1000, 988, True)


@pytest.mark.parametrize(
    ("before", "volume"),
    [
        ({}, Volume()),
        ({DAY - timedelta(days=n): 1000 for n in (1, 2)}, Volume()),
        ({DAY - timedelta(days=n): 99 for n in range(1, 9)}, Volume()),
        ({DAY + timedelta(days=n): 1000 for n in range(1, 9)}, Volume()),
        (USUAL, Volume(warn=None)),
        ({DAY - timedelta(days=n): 1000 for n in range(1, 15)}, Volume(weekly=True)),
    ],
    ids=["nothing", "two dates", "few rows", "later dates only", "not asked", "two such weekdays"],
)
def test_a_small_history_says_nothing(before, volume):
    assert _rules({DAY: 0}, before, volume=volume) == {}


def test_weekly_compares_with_the_same_weekday():
    week = {DAY - timedelta(days=n): 5000 if (DAY - timedelta(days=n)).weekday() == 0 else 100 for n in range(1, 60)}
    assert usual_rows(Volume(weekly=True), DAY, list(week.items())) == 5000
    assert usual_rows(Volume(), DAY, list(week.items())) == 100


def test_of_many_dates_in_one_batch_the_worst_is_told_and_earlier_ones_count_as_history():
    bulk = {DAY - timedelta(days=n): 1000 for n in range(10)} | {DAY - timedelta(days=2): 10}
    found = _rules(bulk, {})
    assert "2017-09-30" in found["volume:less"].said


def test_where_names_have_no_date_batches_are_compared_and_not_days():
    ten_a_day = [(DAY, 200)] * 10
    assert _above(_rules({DAY: 190}, ten_a_day, by_batch=True)["volume:less"]) == ""
    assert _above(_rules({DAY: 2}, ten_a_day, by_batch=True)["volume:less"]) == "warn"


@pytest.mark.parametrize(("hours", "bad"), [(24, 0), (25, 1)])
def test_a_batch_after_a_long_silence_is_told_and_never_refused_for_it(hours, bad):
    found = _rules({}, last=NOW - timedelta(hours=hours), freshness=Freshness(warn_hours=24, stop_hours=1))
    assert (found["freshness"].bad, _above(found["freshness"])) == (bad, "warn" if bad else "")
    assert _rules({}, freshness=Freshness(warn_hours=24)) == {}
