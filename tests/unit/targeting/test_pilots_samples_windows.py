from __future__ import annotations

import math
from datetime import date, datetime
from itertools import pairwise

import pytest

from perennial.contracts.policy import Arm, Pilot, Quiet
from perennial.contracts.targeting import Campaign
from perennial.targeting.arms import shares
from perennial.targeting.facts import Effect
from perennial.targeting.pilots import gate
from perennial.targeting.samples import (
    in_words,
    least_difference_of_means,
    least_difference_of_proportions,
    size_for_means,
    size_for_proportions,
)
from perennial.targeting.windows import windows

DAY = date(2017, 10, 1)
PILOT = Pilot(share=0.1, minimum_effect=1.0, max_days=14)


def at(day: int, low: float, high: float) -> Effect:
    return Effect(date(2017, 9, day), low, high)


@pytest.mark.parametrize(
    ("effects", "begun", "verdict"),
    [
        ([], None, "continue"),
        ([at(20, 1.0, 9.0)], DAY, "roll_out"),
        ([at(20, 0.99, 9.0)], DAY, "continue"),
        ([at(20, -3.0, 0.99)], DAY, "stop"),
        ([at(28, -3.0, 0.5), at(20, 2.0, 3.0)], DAY, "roll_out"),  # what was decided first stays
        ([at(20, 0.0, 2.0)], date(2017, 9, 17), "stop"),
        ([at(20, 0.0, 2.0)], date(2017, 9, 18), "continue"),
        ([Effect(date(2017, 10, 2), 5.0, 6.0)], DAY, "continue"),  # L2: known a day later
    ],
)
def test_the_gate_decides_by_the_first_interval_on_one_side_and_by_the_days(effects, begun, verdict):
    assert gate(PILOT, effects, begun, DAY) == verdict


def test_the_sample_sizes_are_those_of_the_books():
    # Fleiss, Levin and Paik 2003, table A.4 without the correction: 0.25 against 0.40, 5 %, 80 %
    assert size_for_proportions(0.25, 0.15).target == 152
    # Machin et al. 2018: a standardised difference of a half needs 63 in each group
    assert (size_for_means(1.0, 0.5).target, size_for_means(1.0, 0.5).control) == (63, 63)


@pytest.mark.parametrize("base", [0.01, 0.2, 0.7])
def test_the_least_difference_is_the_one_that_needs_so_many_clients(base):
    least = least_difference_of_proportions(base, 900, 100)
    assert size_for_proportions(base, least, ratio=1 / 9).target == 900
    assert least_difference_of_proportions(base, 9000, 1000) < least
    assert least_difference_of_means(3.0, 100, 100) == pytest.approx(2 * least_difference_of_means(3.0, 400, 400))


def test_a_test_without_clients_or_of_a_few_shows_nothing():
    assert least_difference_of_proportions(0.5, 0, 10) == math.inf
    assert least_difference_of_proportions(0.5, 3, 2) == math.inf
    assert in_words(target=10, control=0, deviation=1, expected=1, currency="USD") is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        size_for_proportions(0.9, 0.2)


def test_a_test_that_is_too_small_is_called_so_with_what_it_needs():
    told = in_words(target=90, control=10, deviation=20.0, expected=2.0, currency="USD")
    assert "too small a test" in told
    need = size_for_means(20.0, 2.0, ratio=1 / 9)
    assert f"{need.target:,} and {need.control:,}" in told
    assert "too small" not in in_words(target=90_000, control=10_000, deviation=20.0, expected=2.0, currency="USD")


@pytest.mark.parametrize(
    ("day", "starts", "ends", "opens", "closes"),
    [
        (date(2017, 10, 1), "21:00", "08:00", datetime(2017, 10, 1, 12), datetime(2017, 10, 2, 1)),
        (date(2017, 3, 12), "21:00", "02:30", datetime(2017, 3, 12, 7, 30), datetime(2017, 3, 13, 1)),  # is left out
        (date(2017, 11, 5), "21:00", "01:30", datetime(2017, 11, 5, 6, 30), datetime(2017, 11, 6, 2)),  # comes twice
        (date(2017, 10, 1), "12:00", "14:00", datetime(2017, 10, 1, 4), datetime(2017, 10, 1, 16)),
        (date(2017, 10, 1), "08:00", "12:00", datetime(2017, 10, 1, 16), datetime(2017, 10, 2, 4)),
    ],
)
def test_L25_quiet_hours_are_by_the_clients_clock_on_days_on_which_clocks_change_too(day, starts, ends, opens, closes):
    quiet = Quiet.model_validate({"hours": {"starts": starts, "ends": ends}, "zones": {"US": "America/New_York"}})
    [elsewhere, there] = windows(quiet, "UTC", day)
    assert (there.country, there.not_before, there.not_after) == ("US", opens, closes)
    assert elsewhere.country is None


def test_holidays_fall_on_a_date_or_on_a_day_of_every_year_in_their_countries():
    holidays = [{"on": "12-25", "name": "Christmas"}, {"on": "2017-07-04", "name": "Fourth", "countries": ["US"]}]
    quiet = Quiet.model_validate({"holidays": holidays, "weekdays": ["sun"]})

    def closed(day):
        return {window.country: window.is_quiet for window in windows(quiet, "UTC", day)}

    assert closed(date(2018, 12, 25)) == {None: True, "US": True}
    assert closed(date(2017, 7, 4)) == {None: False, "US": True}
    assert closed(date(2018, 7, 4)) == {None: False, "US": False}
    assert closed(date(2017, 10, 1)) == {None: True, "US": True}  # a Sunday


def test_the_arms_share_the_whole_interval_without_a_gap():
    card = Campaign.model_construct(id="x", control_share=0.1, arms=())
    assert list(shares(card)) == [("control", 0.0, 0.1), ("target", 0.1, 1.0)]
    third = [Arm(id=name, share=1 / 3) for name in ("a", "b", "c")]
    parts = list(shares(Campaign.model_construct(id="x", control_share=0.25, arms=tuple(third))))
    assert parts[0][1] == 0.0
    assert parts[-1][2] == 1.0
    assert all(one[2] == other[1] for one, other in pairwise(parts))
