"""The shapes that everything here stands on: an outcome, an arm, a score per client; and average effects by arm.

`treatment` is 1 for clients who were assigned the contact and 0 for the control; effects are analysed as assigned (L8).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chisquare, norm

from perennial.scoring.features import Matrix

BOTH = 2


def check_arms(outcome: Matrix, treatment: Matrix, *others: Matrix) -> None:
    """Raise ValueError unless all are as long, finite, `treatment` is 0/1, and both arms have clients."""
    if outcome.ndim != 1 or treatment.ndim != 1:
        raise ValueError(f"outcome and treatment have one dimension, got {outcome.ndim} and {treatment.ndim}")
    lengths = {len(outcome), len(treatment), *(len(other) for other in others)}
    if len(lengths) > 1:
        raise ValueError(f"outcome, treatment and the rest must be as long: got {sorted(lengths)}")
    if not np.isfinite(outcome).all():
        raise ValueError("an outcome is not finite: leave clients without a complete window out")
    if not np.isin(treatment, (0, 1)).all():
        raise ValueError("treatment is 1 (assigned the contact) or 0 (control), and nothing else")
    if len(np.unique(treatment)) < BOTH:
        raise ValueError("one arm only: there is nothing to compare with")


def check_scores(score: Matrix) -> None:
    """Raise ValueError unless every score is a finite number in one dimension."""
    if score.ndim != 1:
        raise ValueError(f"a score has one dimension, got {score.ndim}")
    if not np.isfinite(score).all():
        raise ValueError("a score is not finite")


@dataclass(frozen=True)
class Effect:
    """The mean difference between two arms, in the outcome's unit; `error` is its standard error (Welch).

    `p` is that of the two-sided normal test of no difference.
    """

    difference: float
    error: float
    treated: int
    control: int
    p: float

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """The normal interval of the difference at this level."""
        reach = float(norm.ppf(0.5 + level / 2)) * self.error
        return self.difference - reach, self.difference + reach


def average_effect(outcome: Matrix, treatment: Matrix) -> Effect:
    """Mean outcome of the treated less that of the control, with s.e. sqrt(var_1 / n_1 + var_0 / n_0) (n - 1 in var).

    Raises ValueError for shapes that do not fit, or an arm of fewer than two clients.
    """
    check_arms(outcome, treatment)
    treated, control = outcome[treatment == 1], outcome[treatment == 0]
    if min(len(treated), len(control)) < BOTH:
        raise ValueError("an arm of one client has no variance")
    difference = float(treated.mean() - control.mean())
    error = float(np.sqrt(treated.var(ddof=1) / len(treated) + control.var(ddof=1) / len(control)))
    far = abs(difference) / error if error > 0 else (0.0 if difference == 0 else np.inf)
    return Effect(difference, error, len(treated), len(control), float(2 * norm.sf(far)))


def sample_ratio_p(counts: Matrix, shares: Matrix | None = None) -> float:
    """The p of the chi-square test that arms of these sizes were drawn with these shares (equal without any).

    The sample-ratio test of L8: below .001 the assignment is broken, and no effect of it is to be read.
    """
    expected = None if shares is None else np.asarray(shares, dtype=np.float64) / np.sum(shares) * np.sum(counts)
    return float(chisquare(np.asarray(counts, dtype=np.float64), expected).pvalue)
