"""Between probabilities and log-odds, and the shift that gives a wanted mean."""

from __future__ import annotations

import numpy as np

from perennial.scoring.features import Matrix

_TINY = 1e-9


def logit(probability: Matrix) -> Matrix:
    """Log-odds, with probabilities kept 1e-9 away from 0 and 1."""
    p = np.clip(probability, _TINY, 1 - _TINY)
    return np.asarray(np.log(p / (1 - p)), dtype=np.float64)


def expit(log_odds: Matrix) -> Matrix:
    """Probability of log-odds, without overflow."""
    return np.asarray(0.5 * (1 + np.tanh(log_odds / 2)), dtype=np.float64)


def level(log_odds: Matrix, wanted: float) -> float:
    """The shift of all log-odds that makes the mean probability `wanted`, by bisection."""
    low, high = -20.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(log_odds + middle).mean() < wanted else (low, middle)
    return (low + high) / 2
