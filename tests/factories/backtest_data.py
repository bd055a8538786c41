"""Purchases of a small shop, as rows of a file."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np


def purchases(clients=400, days=300, seed=3, start=date(2020, 1, 1)):
    """(client, day, product, amount) of clients who buy at a pace of their own and stop for good one day."""
    random = np.random.default_rng(seed)
    rows = []
    for client in range(clients):
        day, until = int(random.integers(0, days // 2)), random.exponential(250)
        pace, first = random.gamma(2.0, 12.0) + 2, day
        while day < days and day - first <= until:
            bought = start + timedelta(days=day)
            rows.append((f"c{client:04}", bought.isoformat(), f"p{random.integers(9)}", f"{random.gamma(2, 20):.2f}"))
            day += 1 + int(random.exponential(pace))
    return sorted(rows, key=lambda row: (row[1], row[0]))
