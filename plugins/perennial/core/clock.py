"""The operational clock: for sending, expiry and `send_not_after` only (borders.md, L2).

Nothing that computes reads it: what computes takes `as_of`. `PERENNIAL_CLOCK` sets it in the demo and in tests.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime


def now() -> datetime:
    """The present moment in UTC, or the one that `PERENNIAL_CLOCK` (ISO 8601 with a zone) says."""
    fixed = os.environ.get("PERENNIAL_CLOCK")
    if fixed:
        return datetime.fromisoformat(fixed).astimezone(UTC)
    return datetime.now(UTC)
