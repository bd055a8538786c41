"""Lifetime value: purchases to come times what a purchase is worth."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perennial.scoring.btyd.gamma_gamma import GammaGamma
from perennial.scoring.btyd.purchases import PurchaseModel
from perennial.scoring.features import Matrix

HORIZONS_DAYS = (90, 182, 365)
DAYS_PER_YEAR = 365.0


def lifetime_values(
    purchases: PurchaseModel,
    spend: GammaGamma,
    X: Matrix,
    spent: Matrix,
    *,
    horizons_days: Sequence[int] = HORIZONS_DAYS,
    discount_rate_annual: float = 0.0,
    days_per_unit: float = 1.0,
) -> Matrix:
    """Rows x horizons: expected revenue within each horizon after the end of the histories.

    `X` and `spent` are the matrices of the two models, `days_per_unit` the days in the histories' unit of time (7 for
    weeks). With a discount, a sale t days away is worth (1 + rate)^(-t / 365) of one today. Counts and spend are taken
    as independent (Fader and Hardie 2013): check their correlation. NaN where spend is unknown.
    """
    units = tuple(days / days_per_unit for days in horizons_days)
    rate = rate_per_day(discount_rate_annual) * days_per_unit
    counts = purchases.expected_purchases_at(X, units, rate_per_unit=rate)
    return np.asarray(counts * spend.predict(spent)[:, None], dtype=np.float64)


def rate_per_day(discount_rate_annual: float) -> float:
    """The continuous rate per day of a yearly discount rate: 0.1 makes a sale in a year worth 1 / 1.1."""
    if not discount_rate_annual > -1:
        raise ValueError("a discount rate is above -1")
    return float(np.log1p(discount_rate_annual) / DAYS_PER_YEAR)
