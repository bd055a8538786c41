"""The training calendar: no label of a training cut reaches beyond the cut that it is tested on (L3)."""

from __future__ import annotations

from datetime import date, timedelta

from hypothesis import given
from hypothesis import strategies as st

from perennial.scoring.cuts import MIN_HISTORY_DAYS, calendar, season_targets, training_dates

AS_OF = date(2017, 10, 1)


@given(horizon=st.integers(1, 400), cuts=st.integers(2, 20), step=st.integers(1, 200), history=st.integers(0, 2000))
def test_L3_no_label_ends_after_the_cut_that_judges_it_nor_after_today(horizon, cuts, step, history):
    start = AS_OF - timedelta(days=history)
    dates = training_dates(AS_OF, start, horizon_days=horizon, cuts=cuts, step_days=step)
    reach = timedelta(days=horizon)
    dates = tuple(day for day in dates if day not in season_targets(AS_OF, horizon))
    assert len(dates) <= 2 * cuts - 1
    assert all(cut + reach <= AS_OF and (cut - start).days + 1 >= MIN_HISTORY_DAYS for cut in dates)
    plan = calendar(dates, horizon)
    if plan is None:
        assert len(dates) < 2
        return
    assert all(cut + reach <= plan.test for cut in plan.development)
    assert all(plan.validation is not None and cut + reach <= plan.validation for cut in plan.fit)
    assert plan.all == dates


def test_the_demo_shop_has_a_cut_to_test_on_one_to_choose_on_and_three_to_fit():
    plan = calendar(training_dates(AS_OF, date(2017, 1, 1), horizon_days=28, cuts=6, step_days=14), 28)
    assert plan is not None
    assert plan.test == date(2017, 9, 3)
    assert plan.validation == date(2017, 8, 6)
    assert plan.fit == (date(2017, 6, 11), date(2017, 6, 25), date(2017, 7, 9))


def test_twenty_days_of_history_give_no_calendar():
    dates = training_dates(AS_OF, AS_OF - timedelta(days=19), horizon_days=28, cuts=6, step_days=14)
    assert dates == ()
    assert calendar(dates, 28) is None


def test_one_past_date_alone_is_no_calendar():
    assert calendar((date(2017, 9, 3),), 28) is None
