from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perennial.core import clock, ids, money, personal
from perennial.core.dates import anniversary, business_date, day_bounds_utc

NEW_YORK = ZoneInfo("America/New_York")


def test_L25_the_day_of_the_spring_change_has_23_hours_and_that_of_the_autumn_change_25():
    for day, hours in ((date(2017, 3, 12), 23), (date(2017, 11, 5), 25), (date(2017, 10, 1), 24)):
        start, end = day_bounds_utc(day, NEW_YORK)
        assert end - start == timedelta(hours=hours)


@given(st.datetimes(datetime(2016, 1, 1), datetime(2018, 12, 31)))
def test_L25_every_moment_lies_in_the_bounds_of_its_business_day(moment):
    start, end = day_bounds_utc(business_date(moment, NEW_YORK), NEW_YORK)
    assert start <= moment.replace(tzinfo=UTC) < end


def test_an_anniversary_of_29_february_falls_on_28_february_in_common_years():
    assert anniversary(date(2016, 2, 29), 2017) == date(2017, 2, 28)
    assert anniversary(date(2016, 2, 29), 2020) == date(2020, 2, 29)


def test_L2_the_operational_clock_can_be_set(monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T06:00:00-04:00")
    assert clock.now() == datetime(2017, 10, 1, 10, 0, tzinfo=UTC)


def test_a_client_is_known_by_namespace_and_key_together():
    assert ids.client_ref("household", "1") == ids.client_ref("household", "1")
    assert ids.client_ref("household", "1") != ids.client_ref("customer", "1")
    assert len(ids.client_ref("household", "1")) == 16


def test_the_digest_does_not_confuse_where_parts_end():
    assert ids.digest_of(["ab", "c"]) != ids.digest_of(["a", "bc"])


def test_L8_the_hash_that_draws_arms_is_uniform():
    drawn = [ids.unit_interval("salt", "campaign", f"c{i}") for i in range(20_000)]
    counts = [sum(int(value * 10) == tenth for value in drawn) for tenth in range(10)]
    chi_square = sum((count - 2_000) ** 2 / 2_000 for count in counts)
    assert chi_square < 27.9  # 9 degrees of freedom, p = .001


@pytest.mark.parametrize(("amount", "text"), [("0.005", "0.01"), ("-0.005", "-0.01"), ("2.675", "2.68"), (1, "1.00")])
def test_money_is_shown_rounded_half_up(amount, text):
    from decimal import Decimal

    assert str(money.shown(Decimal(amount))) == text


@given(st.emails(), st.from_regex(r"\+[0-9]{8,15}", fullmatch=True))
def test_L22_a_masked_address_does_not_give_the_address_away(address, phone):
    assert personal.mask_email(address) != address
    assert phone[2:-2] not in personal.mask_phone(phone)
