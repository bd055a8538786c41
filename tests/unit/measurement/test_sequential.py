"""Looks before the end: false alarms stay within the level, and what is there is found in the end."""

from __future__ import annotations

import math

import numpy as np
import pytest

from perennial.measurement.effects import Effect, difference
from perennial.measurement.moments import Moments
from perennial.measurement.sequential import always_valid, mixing, split
from perennial.measurement.verdicts import judge


def effect(estimate, error):
    return Effect(estimate, error, math.inf, estimate - 1.96 * error, estimate + 1.96 * error, 0.05, 0.1, "welch")


def test_the_level_is_split_between_looks_and_end():
    assert (split().looks, split().end) == pytest.approx((0.01, 0.04))
    assert (split(has_end=False).looks, split(has_end=False).end) == (0.05, 0.0)
    assert (split(has_looks=False).looks, split(has_looks=False).end) == (0.0, 0.05)


def test_the_interval_is_tightest_against_the_fixed_one_at_the_planned_error():
    planned = 0.1
    widths = {
        error: always_valid(effect(0.0, error), planned_error=planned, level=0.05).high / error
        for error in (0.4, 0.2, 0.1, 0.05, 0.02)
    }
    assert min(widths, key=widths.get) == planned
    assert widths[planned] == pytest.approx(3.035, abs=0.001)  # against 1.96 of one look


def test_the_mixture_is_the_equation_of_its_source():
    # log(1 + 1 / r) + ... is at its least where (1 + m / r) exp(-(1 + m / r)) = level^2 / e, with m the information.
    for level in (0.01, 0.05):
        rho = mixing(0.1, level)
        ratio = 1 + 100 / rho
        assert ratio * math.exp(-ratio) == pytest.approx(level**2 / math.e)


def looks(rng, *, shift, clients=2000, share=0.2, every=50):
    """Differences after every so many clients."""
    y = rng.lognormal(0, 1, clients)
    is_control = rng.random(clients) < share
    y = np.where(is_control, y, y + shift)
    for upto in range(200, clients + 1, every):
        arms = [y[:upto][side] for side in (~is_control[:upto], is_control[:upto])]
        yield difference(*(Moments(len(a), float(a.mean()), float(a.var(ddof=1)), skew_y=6.0) for a in arms))


def alarms(rounds, shift):
    rng = np.random.default_rng(21)
    planned_error = 2.16 * math.sqrt(1 / 1600 + 1 / 400)
    levels = split()
    early = late = naive = 0
    for _ in range(rounds):
        seen = list(looks(rng, shift=shift))
        told = [judge(one, status="interim", levels=levels, planned_error=planned_error) for one in seen[:-1]]
        end = judge(seen[-1], status="final", levels=levels, planned_error=planned_error)
        is_early = any(one.verdict == "separated" for one in told)
        early += is_early
        late += is_early or end.verdict == "separated"
        naive += any(one.separated for one in seen)
    return early / rounds, late / rounds, naive / rounds


def test_l20_looking_every_day_raises_no_more_false_alarms_than_the_level_where_plain_intervals_do():
    _, any_time, naive = alarms(400, 0.0)
    assert any_time <= 0.075  # 5 % and two and a half standard errors of 400 rounds
    assert naive > 0.15


def test_a_large_effect_is_told_before_the_end():
    early, any_time, _ = alarms(60, 0.8)
    assert early > 0.5
    assert any_time > 0.95


def test_verdicts_in_plain_words():
    levels = split()
    clear, faint = effect(1.0, 0.1), effect(0.05, 0.1)
    assert judge(clear, status="final", levels=levels, planned_error=0.1).verdict == "separated"
    assert judge(faint, status="final", levels=levels, planned_error=0.1).verdict == "inconclusive"
    assert judge(faint, status="interim", levels=levels, planned_error=0.1).verdict == "collecting"
    assert judge(None, status="interim", levels=levels, planned_error=0.1).verdict == "collecting"
    assert judge(None, status="final", levels=levels, planned_error=0.1).verdict == "inconclusive"
    assert judge(clear, status="final", levels=levels, planned_error=0.1, comparable=False).verdict == "not_comparable"


def test_several_arms_share_the_level():
    levels = split(has_looks=False)
    borderline = effect(0.21, 0.1)  # p = 0.036
    assert judge(borderline, status="final", levels=levels, planned_error=0.1).verdict == "separated"
    assert judge(borderline, status="final", levels=levels, planned_error=0.1, tests=2).verdict == "inconclusive"
