"""Whether an order by uplift is told from chance: repeated halves, each beside random orders of the same clients.

A model is separated from random when the mean Qini coefficient of its named halves is more than two standard
deviations of a random order's on *one* half above 0. The halves share clients, so their mean varies less than one half
and more than a tenth of it: the rule errs towards refusing, also for the choice among several learners.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from perennial.scoring.features import Matrix
from perennial.scoring.uplift.arms import check_arms
from perennial.scoring.uplift.curves import auuc, perfect_area, qini_coefficient
from perennial.scoring.uplift.learners import Learner

NAMED_HALVES = tuple(range(10))  # seeds
Rows = npt.NDArray[np.int64]
_PERMUTATIONS = 20  # random orders per half: 200 in all, 5 % error of their spread
_SEPARATED = 2.0
_SIMPLER_BY = 0.001


@dataclass(frozen=True)
class Repeats:
    """One learner on all halves: Qini coefficient and AUUC by half, and the Qini coefficients of random orders."""

    name: str
    qini: Matrix
    auuc: Matrix
    by_chance: Matrix

    @property
    def mean(self) -> float:
        """Mean Qini coefficient of the halves."""
        return float(self.qini.mean())

    @property
    def chance(self) -> float:
        """Standard deviation of a random order's Qini coefficient on one half."""
        return float(self.by_chance.std())

    @property
    def separated(self) -> bool:
        """Whether the order is told from a random one."""
        return bool(self.mean > _SEPARATED * self.chance)

    @property
    def sentence(self) -> str | None:
        """Why the model is refused, or None."""
        if self.separated:
            return None
        return (
            f"it is not separated from random: mean Qini {self.mean:.4f} of {len(self.qini)} halves, "
            f"a random order reaches {_SEPARATED * self.chance:.4f}"
        )

    def figures(self) -> dict[str, float]:
        """What a table shows of it."""
        return {
            "qini": self.mean,
            "qini_sd": float(self.qini.std()),
            "auuc": float(self.auuc.mean()),
            "random_sd": self.chance,
            "separated": float(self.separated),
        }


def repeat_halves(
    learners: Mapping[str, Learner], X: Matrix, y: Matrix, treatment: Matrix, seeds: Sequence[int] = NAMED_HALVES
) -> dict[str, Repeats]:
    """Fit each learner on one half and judge it on the other, for each seed; halves are stratified by arm and outcome.

    `X` rows x columns, `y` and `treatment` 0/1 per row. Raises ValueError when an arm has fewer than two clients of an
    outcome, so that no half could have one.
    """
    check_arms(y, treatment)
    found: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in learners}
    by_chance = []
    for seed in seeds:
        fitted, tested = halves(y, treatment, seed)
        asked = y[tested], treatment[tested]
        perfect = perfect_area(*asked)
        for name, learner in learners.items():
            model = clone(learner).fit(X[fitted], y[fitted], treatment[fitted])
            score = model.predict_uplift(X[tested])
            found[name][0].append(qini_coefficient(asked[0], score, asked[1], perfect=perfect))
            found[name][1].append(auuc(asked[0], score, asked[1]))
        random = np.random.default_rng(seed)
        orders = (random.permutation(len(tested)).astype(np.float64) for _ in range(_PERMUTATIONS))
        by_chance += [qini_coefficient(asked[0], order, asked[1], perfect=perfect) for order in orders]
    chance = np.asarray(by_chance)
    return {name: Repeats(name, np.asarray(q), np.asarray(a), chance) for name, (q, a) in found.items()}


def simplest_of_the_best(means: Mapping[str, float]) -> str:
    """The learner with the highest mean coefficient; the earlier one among those within 0.001 of it."""
    best = max(means.values())
    return next(name for name, mean in means.items() if mean >= best - _SIMPLER_BY)


def halves(y: Matrix, treatment: Matrix, seed: int) -> tuple[Rows, Rows]:
    """Rows to fit on and rows to test on, half and half, stratified by arm and outcome; the seed names them."""
    rows = np.arange(len(y))
    fitted, tested = train_test_split(rows, test_size=0.5, random_state=seed, stratify=treatment * 2 + y)
    return fitted, tested
