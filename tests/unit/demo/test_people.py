from __future__ import annotations

import re
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from perennial.demo.people import GENERATED, Household, person_of

ZONE = ZoneInfo("America/New_York")
OLD = date(2017, 1, 5)
PEOPLE = [person_of(Household(number, OLD, None)) for number in range(1, 2001)]


def _share(predicate) -> float:
    return sum(map(predicate, PEOPLE)) / len(PEOPLE)


def test_addresses_are_unique_and_cannot_reach_anyone():
    emails = [person.email for person in PEOPLE if person.email]
    assert len(set(emails)) == len(emails)
    assert all(re.fullmatch(r"[a-z0-9.]+@example\.com", email) for email in emails)
    phones = [person.phone for person in PEOPLE if person.phone]
    assert len(set(phones)) == len(phones)
    assert all(re.fullmatch(r"\+1[2-9][0-9]{2}55501[0-9]{2}", phone) for phone in phones)


def test_a_few_households_have_no_email_or_no_phone():
    assert 0.01 < _share(lambda person: person.email is None) < 0.06
    assert 0.03 < _share(lambda person: person.phone is None) < 0.12


def test_L2_a_household_is_the_same_whoever_else_there_is():
    assert [person_of(Household(n, OLD, None)) for n in (1500, 7)] == [PEOPLE[1499], PEOPLE[6]]


@pytest.mark.parametrize(
    ("band", "youngest", "oldest"), [("19-24", 19, 24), ("45-54", 45, 54), ("65+", 65, 88), (None, 19, 84)]
)
def test_birth_date_is_of_the_age_band(band, youngest, oldest):
    on = date(2017, 7, 1)
    born = [person_of(Household(number, OLD, band)).birth_date for number in range(1, 500)]
    ages = {on.year - day.year - ((on.month, on.day) < (day.month, day.day)) for day in born if day}
    assert youngest == min(ages)
    assert oldest == max(ages)


def test_households_that_were_clients_before_the_data_begins_signed_up_in_2014_to_2016():
    years = {person.signed_up_on.year for person in PEOPLE}
    assert years == {2014, 2015, 2016}
    contacted = [person_of(Household(number, date(2016, 11, 14), None)) for number in range(1, 2001)]
    assert max(person.signed_up_on for person in contacted) <= date(2016, 11, 14)


def test_later_households_signed_up_at_most_two_weeks_before_their_first_trace():
    seen = date(2017, 6, 15)
    delays = {(seen - person_of(Household(number, seen, None)).signed_up_on).days for number in range(1, 500)}
    assert delays == set(range(15))


def test_anniversaries_of_sign_ups_are_spread_over_the_year():
    by_month = [_share(lambda person, month=month: person.signed_up_on.month == month) for month in range(1, 13)]
    assert min(by_month) > 0.05
    assert max(by_month) < 0.12


def test_consents_are_granted_at_sign_up_and_some_are_withdrawn_later():
    for channel, share in {"email": 0.80, "sms": 0.45, "call": 0.25}.items():
        granted = [p for p in PEOPLE if any(e.channel == channel and e.status == "granted" for e in p.consents)]
        withdrawn = [p for p in granted if any(e.channel == channel and e.status == "withdrawn" for e in p.consents)]
        assert len(granted) / len(PEOPLE) == pytest.approx(share, abs=0.04)
        assert len(withdrawn) / len(granted) == pytest.approx(0.08, abs=0.04)
    for person in PEOPLE:
        for event in person.consents:
            if event.status == "granted":
                assert event.changed_on == person.signed_up_on
            else:
                assert max(person.signed_up_on, date(2016, 6, 30)) < event.changed_on <= date(2017, 12, 31)


def test_L25_the_date_of_a_consent_is_its_moment_in_the_shops_zone():
    events = [event for person in PEOPLE for event in person.consents]
    assert all(event.changed_at.astimezone(ZONE).date() == event.changed_on for event in events)
    assert all(event.changed_at > datetime(2014, 1, 1, tzinfo=UTC) for event in events)


def test_what_is_generated_is_declared():
    for thing in ("names", "example.com", "phone", "birth dates", "sign-up", "consents"):
        assert thing in GENERATED
