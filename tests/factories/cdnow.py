"""The CDNOW sample below PERENNIAL_REFERENCE, cut into calibration (to 1997-09-30) and hold-out (to 1998-06-30)."""

from __future__ import annotations

import gzip
from collections import defaultdict
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

CUT, END = date(1997, 9, 30), date(1998, 6, 30)
WEEKS = 39.0  # the length of the hold-out


@dataclass(frozen=True)
class Cdnow:
    """One row per client, in the order of ids; times in weeks, fractions kept."""

    histories: np.ndarray  # x, t_x, T
    spend: np.ndarray  # repeat purchases of the calibration, their mean
    bought: np.ndarray  # purchases in the hold-out
    spent: np.ndarray  # and their sum, USD
    first_day: np.ndarray  # days since 1997-01-01
    repeat_days: np.ndarray  # of every repeat purchase, days since 1997-01-01


def purchases_by_day(path: Path) -> list[tuple[str, date, float]]:
    """Client, day and amount: one purchase per client and day."""
    found: dict[tuple[str, date], float] = defaultdict(float)
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        _, client, day, _, amount = line.split()
        found[client, date(int(day[:4]), int(day[4:6]), int(day[6:]))] += float(amount)
    return [(client, day, amount) for (client, day), amount in sorted(found.items())]


def cdnow(path: Path) -> Cdnow:
    """The sample as the literature cuts it."""
    clients: dict[str, dict[date, float]] = defaultdict(dict)
    for client, day, amount in purchases_by_day(path):
        clients[client][day] = amount
    histories, spend, bought, spent, first_day, repeats = [], [], [], [], [], []
    for client in sorted(clients):
        days = sorted(clients[client])
        before = [day for day in days[1:] if day <= CUT]
        after = [day for day in days if CUT < day <= END]
        last = max(before, default=days[0])
        histories.append((len(before), (last - days[0]).days / 7, (CUT - days[0]).days / 7))
        spend.append((len(before), np.mean([clients[client][day] for day in before]) if before else 0.0))
        bought.append(len(after))
        spent.append(sum(clients[client][day] for day in after))
        first_day.append((days[0] - date(1997, 1, 1)).days)
        repeats += [(day - date(1997, 1, 1)).days for day in days[1:]]
    return Cdnow(
        *(np.array(values, dtype=float) for values in (histories, spend, bought, spent, first_day, sorted(repeats)))
    )


def cumulative(sample: Cdnow, model) -> tuple[np.ndarray, np.ndarray]:
    """Repeat purchases up to the end of each of the weeks 1 to 78 of 1997-98: made, and expected by the model."""
    ends = 7 * np.arange(1, 79)
    made = np.searchsorted(sample.repeat_days, ends, side="left")
    since_first = (ends[:, None] - 1 - sample.first_day) / 7
    return made.astype(float), model.expected_cumulative(since_first).sum(axis=1)
