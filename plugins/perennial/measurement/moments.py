"""What a comparison needs to know of an arm: counts, means, variances. SQL gives them in one pass."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Moments:
    """Clients of one arm as assigned: a metric `y` in the window, and a covariate `x` known before the assignment.

    Variances and the covariance are those of a sample (divided by n - 1); 0 for fewer than two clients. `skew_y` is the
    third standardised moment of y, as a measure of heavy tails.
    """

    clients: int
    mean_y: float
    var_y: float
    mean_x: float = 0.0
    var_x: float = 0.0
    cov_xy: float = 0.0
    skew_y: float = 0.0

    @property
    def total_y(self) -> float:
        """The sum of the metric over the arm's clients."""
        return self.clients * self.mean_y

    def adjusted(self, theta: float) -> Moments:
        """The moments of y - theta * x: what is left of the metric once the time before is taken off.

        Deng, Xu, Kohavi and Walker 2013, "Improving the sensitivity of online controlled experiments by utilizing
        pre-experiment data", section 3.1. The skew of the difference is not known from moments: it stays that of y.
        """
        variance = self.var_y - 2 * theta * self.cov_xy + theta**2 * self.var_x
        return Moments(self.clients, self.mean_y - theta * self.mean_x, max(variance, 0.0), skew_y=self.skew_y)


def pooled(arms: list[Moments]) -> Moments:
    """The moments of several arms taken together as one group (law of total variance); raises ValueError for no arm."""
    if not arms:
        raise ValueError("no arm to pool")
    clients = sum(arm.clients for arm in arms)
    if not clients:
        return Moments(0, 0.0, 0.0)
    mean_y = math.fsum(arm.total_y for arm in arms) / clients
    mean_x = math.fsum(arm.clients * arm.mean_x for arm in arms) / clients

    def second(name: str, left: str, right: str, mean_left: float, mean_right: float) -> float:
        inside = math.fsum((arm.clients - 1) * getattr(arm, name) for arm in arms if arm.clients)
        between = math.fsum(
            arm.clients * (getattr(arm, left) - mean_left) * (getattr(arm, right) - mean_right) for arm in arms
        )
        return (inside + between) / (clients - 1) if clients > 1 else 0.0

    return Moments(
        clients,
        mean_y,
        second("var_y", "mean_y", "mean_y", mean_y, mean_y),
        mean_x,
        second("var_x", "mean_x", "mean_x", mean_x, mean_x),
        second("cov_xy", "mean_x", "mean_y", mean_x, mean_y),
    )
