"""Is the ruler straight? Campaigns of known effect: coverage, false alarms under daily looks, what the time before gains.

And size and power of the sample-ratio test.

    python tests/bench/bench_effects.py [--campaigns 1000]

Spend has a heavy tail (gamma rates, lognormal baskets); half of the campaigns have no effect, half raise each target
client's spend by 0 to 20 % at random. Figures go into docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "plugins")]

from bench.measuring import say  # noqa: E402 - the path comes first
from perennial.measurement.effects import adjusted_difference, difference  # noqa: E402
from perennial.measurement.moments import Moments  # noqa: E402
from perennial.measurement.ratio import sample_ratio  # noqa: E402
from perennial.measurement.sequential import split  # noqa: E402
from perennial.measurement.verdicts import judge  # noqa: E402

SIZES = ((300, 0.1), (1000, 0.1), (4000, 0.1), (2000, 0.2), (20_000, 0.1), (600, 0.5))


def world(rng, clients):
    """Spend of a client in two windows, the second of which is the campaign's."""
    rate, size = rng.gamma(0.8, 1.2, clients), np.exp(rng.normal(3, 0.7, clients))
    windows = []
    for _ in range(2):
        orders = rng.poisson(rate)
        noise = np.exp(rng.normal(0, 0.6, (int(orders.max()), clients)))
        windows.append(size * (noise * (np.arange(len(noise))[:, None] < orders)).sum(axis=0))
    return windows


def moments(y, x):
    spread = y.std()
    skew = float(((y - y.mean()) ** 3).mean() / spread**3) if spread else 0.0
    cov = np.cov(x, y)
    return Moments(len(y), float(y.mean()), float(cov[1, 1]), float(x.mean()), float(cov[0, 0]), float(cov[0, 1]), skew)


def campaign(rng, clients, share, *, has_effect):
    """(target, control, true effect per client, change of the mean error by the time before that is claimed)."""
    before, spend = world(rng, clients)
    is_control = rng.random(clients) < share
    more = spend * 0.2 * rng.random(clients) if has_effect else np.zeros(clients)
    spend = spend + np.where(is_control, 0.0, more)
    arms = [moments(spend[side], before[side]) for side in (~is_control, is_control)]
    return *arms, float(more.mean())


def coverage(campaigns):
    say("| clients | in control | effect | plain interval | adjusted | variance gained (claimed) | (seen) |")
    say("|---|---|---|---|---|---|---|")
    for has_effect in (False, True):
        for clients, share in SIZES:
            rng = np.random.default_rng(7)
            held, errors, gains = np.zeros(2), [], []
            for _ in range(campaigns):
                target, control, truth = campaign(rng, clients, share, has_effect=has_effect)
                found = difference(target, control), adjusted_difference(target, control)
                held += [one.low <= truth <= one.high for one in found]
                errors.append([one.difference - truth for one in found])
                gains.append(found[1].gain)
            plain, adjusted = np.var(errors, axis=0)
            shares = " | ".join(f"{100 * n / campaigns:.1f} %" for n in held)
            told = "0 to 20 %" if has_effect else "none"
            say(
                f"| {clients:,} | {share:.0%} | {told} | {shares} | {np.mean(gains):.0%} | {1 - adjusted / plain:.0%} |"
            )


def peeking(campaigns):
    say("\n| clients | in control | looks | effect | said before the end | in all | plain interval at every look |")
    say("|---|---|---|---|---|---|---|")
    for clients, share, looks, effect in ((3000, 0.1, 30, 0), (3000, 0.2, 60, 0), (3000, 0.2, 30, 0.25)):
        rng, levels = np.random.default_rng(8), split()
        early = any_time = naive = 0
        for _ in range(campaigns):
            before, spend = world(rng, clients)
            is_control = rng.random(clients) < share
            spend = np.where(is_control, spend, spend * (1 + effect))
            planned = before.std() * math.sqrt((1 / share + 1 / (1 - share)) / clients)
            said, plainly = False, False
            for look in range(1, looks + 1):
                upto = clients * look // looks
                sides = (~is_control[:upto], is_control[:upto])
                if min(side.sum() for side in sides) < 2:
                    continue
                found = adjusted_difference(*(moments(spend[:upto][side], before[:upto][side]) for side in sides))
                status = "final" if look == looks else "interim"
                verdict = judge(found, status=status, levels=levels, planned_error=planned).verdict
                early += verdict == "separated" and not said and status == "interim"
                said |= verdict == "separated"
                plainly |= found.separated
            any_time += said
            naive += plainly
        shares = " | ".join(f"{100 * n / campaigns:.1f} %" for n in (early, any_time, naive))
        say(f"| {clients:,} | {share:.0%} | {looks} | {effect:.0%} | {shares} |")


def leaks(campaigns):
    say("\n| clients drawn | control loses | sample-ratio test fails |")
    say("|---|---|---|")
    for clients, lost in ((10_000, 0.0), (10_000, 0.1), (10_000, 0.2), (100_000, 0.05), (100_000, 0.1)):
        rng = np.random.default_rng(9)
        failed = 0
        for _ in range(20 * campaigns):
            control = rng.binomial(clients, 0.1)
            kept = control - rng.binomial(control, lost)
            shares = {"target": 0.9, "control": 0.1}
            failed += sample_ratio({"target": clients - control, "control": kept}, shares).failed
        say(f"| {clients:,} | {lost:.0%} | {100 * failed / (20 * campaigns):.2f} % |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--campaigns", type=int, default=1000)
    wanted = parser.parse_args().campaigns
    coverage(wanted)
    peeking(max(1, wanted // 2))
    leaks(wanted)
