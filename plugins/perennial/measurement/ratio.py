"""The sample-ratio test: did the arms get the shares that were drawn for them? A failed one is the report (L8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import chdtrc

# A leak is rare and a false alarm stops the reading of a campaign: the level that is usual for this test.
# Fabijan et al. 2019, "Diagnosing sample ratio mismatch in online controlled experiments", section 4.
LEVEL = 0.0005


@dataclass(frozen=True)
class SampleRatio:
    """Clients by arm against the shares that were drawn; `p_value` of Pearson's chi-square, 1.0 for a single arm."""

    clients: dict[str, int]
    expected: dict[str, float]
    p_value: float

    @property
    def failed(self) -> bool:
        """Whether the arms are not what was drawn: nothing that is computed from them means anything."""
        return self.p_value < LEVEL


def sample_ratio(clients: Mapping[str, int], shares: Mapping[str, float]) -> SampleRatio:
    """Test clients by arm against shares by arm (any positive weights).

    Raises ValueError for arms without a share, and for shares that are not positive.
    """
    if set(clients) != set(shares):
        raise ValueError(f"arms {sorted(clients)} against shares of {sorted(shares)}")
    if any(share <= 0 for share in shares.values()):
        raise ValueError("every share must be above 0")
    everyone, weight = sum(clients.values()), sum(shares.values())
    expected = {arm: everyone * share / weight for arm, share in shares.items()}
    if len(shares) < 2 or not everyone:  # noqa: PLR2004
        return SampleRatio(dict(clients), expected, 1.0)
    square = sum((clients[arm] - n) ** 2 / n for arm, n in expected.items())
    return SampleRatio(dict(clients), expected, float(chdtrc(len(shares) - 1, square)))
