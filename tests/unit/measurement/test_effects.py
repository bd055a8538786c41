"""Differences with intervals: the published figures of Hillstrom's test, and the level that the intervals hold."""

from __future__ import annotations

import csv
import gzip
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from tests.reference import reference

from perennial.measurement.effects import adjusted_difference, difference, holm, method_for, slope
from perennial.measurement.moments import Moments, pooled
from perennial.measurement.ratio import sample_ratio


def moments(y, x=None):
    x = np.zeros(len(y)) if x is None else x
    cov = np.cov(x, y)
    skew = float(stats.skew(y)) if np.ptp(y) else 0.0
    return Moments(
        len(y), float(np.mean(y)), float(cov[1, 1]), float(np.mean(x)), float(cov[0, 0]), float(cov[0, 1]), skew
    )


@pytest.fixture(scope="module")
def hillstrom():
    with gzip.open(reference("data/hillstrom/hillstrom.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    found = {}
    for arm in ("Mens E-Mail", "Womens E-Mail", "No E-Mail"):
        inside = [row for row in rows if row["segment"] == arm]
        found[arm] = {name: np.array([float(row[name]) for row in inside]) for name in ("visit", "conversion", "spend")}
    return found


@pytest.mark.parametrize(
    ("arm", "outcome", "effect", "error", "digits"),
    [
        ("Mens E-Mail", "visit", 0.07659, 0.00339, 5),
        ("Womens E-Mail", "visit", 0.04523, 0.00323, 5),
        ("Mens E-Mail", "conversion", 0.00681, 0.00092, 5),
        ("Womens E-Mail", "conversion", 0.00311, 0.00082, 5),
        ("Mens E-Mail", "spend", 0.770, 0.145, 3),
        ("Womens E-Mail", "spend", 0.424, 0.130, 3),
    ],
)
def test_effects_of_hillstrom_are_the_published_ones_to_the_last_digit(hillstrom, arm, outcome, effect, error, digits):
    found = difference(moments(hillstrom[arm][outcome]), moments(hillstrom["No E-Mail"][outcome]))
    assert found.method == "welch"
    assert round(found.difference, digits) == effect
    assert round(found.error, digits) == error
    assert found.separated


def test_arms_of_hillstrom_pass_the_sample_ratio_test(hillstrom):
    sizes = {arm: len(outcomes["visit"]) for arm, outcomes in hillstrom.items()}
    found = sample_ratio(sizes, dict.fromkeys(sizes, 1.0))
    assert round(found.p_value, 3) == 0.904
    assert not found.failed


def test_welch_is_scipys_interval_and_p_value():
    rng = np.random.default_rng(3)
    target, control = rng.normal(5, 1, 40), rng.normal(4.5, 3, 45)
    found = difference(moments(target), moments(control))
    expected = stats.ttest_ind(target, control, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high))
    assert found.p_value == pytest.approx(expected.pvalue)


def test_a_small_skewed_control_shares_its_variance_with_the_target():
    rng = np.random.default_rng(4)
    target, control = rng.lognormal(0, 1.5, 900), rng.lognormal(0, 1.5, 100)
    found = difference(moments(target), moments(control))
    expected = stats.ttest_ind(target, control, equal_var=True).confidence_interval(0.95)
    assert found.method == "pooled"
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_arms_of_equal_size_or_without_skew_are_compared_by_welch():
    skewed, tame = Moments(100, 1, 9, skew_y=6), Moments(2000, 1, 9, skew_y=6)
    assert method_for(skewed, skewed) == "welch"
    assert method_for(tame, skewed) == "pooled"
    assert method_for(Moments(20_000, 1, 1, skew_y=3), Moments(2000, 1, 1, skew_y=3)) == "welch"


def world(rng, clients):
    """Spend of two windows of the same clients, with a heavy tail: gamma rates, lognormal baskets."""
    rate, size = rng.gamma(0.8, 1.2, clients), np.exp(rng.normal(3, 0.7, clients))
    windows = []
    for _ in range(2):
        orders = rng.poisson(rate)
        noise = np.exp(rng.normal(0, 0.6, (int(orders.max()), clients)))
        windows.append(size * (noise * (np.arange(len(noise))[:, None] < orders)).sum(axis=0))
    return windows


def test_l20_intervals_hold_the_truth_as_often_as_they_say_where_welch_alone_does_not():
    rng = np.random.default_rng(11)
    held = {"ours": 0, "adjusted": 0, "welch": 0}
    rounds, gains = 600, []
    for _ in range(rounds):
        before, spend = world(rng, 400)
        is_control = rng.random(400) < 0.1
        arms = [moments(spend[side], before[side]) for side in (~is_control, is_control)]
        plain, adjusted = difference(*arms), adjusted_difference(*arms)
        welch = stats.ttest_ind(spend[~is_control], spend[is_control], equal_var=False).confidence_interval(0.95)
        held["ours"] += plain.low <= 0 <= plain.high
        held["adjusted"] += adjusted.low <= 0 <= adjusted.high
        held["welch"] += welch.low <= 0 <= welch.high
        gains.append(adjusted.gain)
    share = {name: n / rounds for name, n in held.items()}
    # 600 rounds: three standard errors are 2.7 points. The thousands of rounds are tests/bench/bench_effects.py.
    assert 0.925 <= share["ours"] <= 0.98
    assert 0.925 <= share["adjusted"] <= 0.98
    assert share["welch"] < 0.92


def test_the_time_before_takes_off_the_share_of_variance_that_it_explains():
    rng = np.random.default_rng(5)
    before = rng.normal(0, 1, 4000)
    after = 0.8 * before + rng.normal(0, 0.6, 4000)  # correlation 0.8: 64 % of the variance
    target, control = moments(after[:2000] + 0.05, before[:2000]), moments(after[2000:], before[2000:])
    found = adjusted_difference(target, control)
    assert found.gain == pytest.approx(0.64, abs=0.03)
    assert abs(found.difference - 0.05) < abs(difference(target, control).error)


def test_few_clients_or_a_time_before_without_orders_leave_the_plain_difference():
    few = moments(np.arange(20.0), np.arange(20.0))
    assert slope(few, few) is None
    idle = moments(np.arange(200.0))
    assert adjusted_difference(idle, idle) == difference(idle, idle)


def test_one_client_has_no_interval():
    with pytest.raises(ValueError, match="1 clients in target, 5 in control: an interval needs two on each side"):
        difference(Moments(1, 1, 0), Moments(5, 1, 1))


def test_holm_is_the_published_example():
    # Holm 1979 as in Wright 1992, "Adjusted p-values for simultaneous inference", table 2.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=12), min_size=1, max_size=4))
def test_pooling_moments_is_having_the_clients_together(groups):
    arms = [Moments(len(g), float(np.mean(g)), float(np.var(g, ddof=1)) if len(g) > 1 else 0.0) for g in groups]
    everyone = np.concatenate([np.array(g) for g in groups])
    found = pooled(arms)
    assert found.clients == len(everyone)
    assert math.isclose(found.mean_y, float(np.mean(everyone)), rel_tol=1e-9, abs_tol=1e-6)
    expected = float(np.var(everyone, ddof=1)) if len(everyone) > 1 else 0.0
    assert math.isclose(found.var_y, expected, rel_tol=1e-7, abs_tol=1e-4)


def test_l8_a_leak_of_two_points_in_ten_thousand_clients_fails_the_sample_ratio_test():
    fair = sample_ratio({"target": 9020, "control": 980}, {"target": 0.9, "control": 0.1})
    leaking = sample_ratio({"target": 8900, "control": 1180}, {"target": 0.9, "control": 0.1})
    assert not fair.failed
    assert leaking.failed
    assert leaking.expected["control"] == pytest.approx(1008)


def test_sample_ratio_of_arms_without_a_share_is_refused():
    with pytest.raises(ValueError, match=r"\['a', 'b'\] against shares of \['a'\]"):
        sample_ratio({"a": 1, "b": 2}, {"a": 1.0})
