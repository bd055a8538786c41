"""Money: decimal(18,4) inside, the currency's minor unit only where shown or exported (borders.md)."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

MONEY_SQL_TYPE = "decimal(18,4)"


def shown(amount: Decimal | float | int, *, minor_digits: int = 2) -> Decimal:
    """The amount rounded half-up to the currency's minor unit, for people and for exports."""
    return Decimal(str(amount)).quantize(Decimal(1).scaleb(-minor_digits), rounding=ROUND_HALF_UP)
