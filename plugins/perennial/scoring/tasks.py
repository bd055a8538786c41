"""What differs between the scores: the truth, the figure that chooses, the baselines, the rule that refuses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from perennial.scoring.baselines import churn_baselines, value_baselines
from perennial.scoring.estimators import CANDIDATES, Candidate, ChurnModel
from perennial.scoring.features import Matrix
from perennial.scoring.metrics import (
    amount_figures,
    auc,
    brier,
    calibration_table,
    normalised_gini,
    probability_figures,
)
from perennial.scoring.season import SameChance, SameSpend, SameWindow
from perennial.scoring.value import VALUE_CANDIDATES, ValueModel

MIN_CLIENTS = 100
_MIN_EVENTS = 20  # of either class, or of clients who spent
_MAX_BIAS = 0.5
_ROUNDS, _SAMPLE = 100, 20_000
_NOISE = 2.0  # standard errors: with few clients a model and a baseline that are as good differ by chance
# A later candidate must be better by so much, about the error of the figure on a few thousand clients.
_AUC_BY, _GINI_BY = 0.003, 0.01

Figures = dict[str, float]
Figure = Callable[[Matrix, Matrix], float]
Model = ChurnModel | ValueModel


@dataclass(frozen=True)
class ChurnTask:
    """`churn_risk`: no order within the horizon."""

    horizon_days: int
    score: str = "churn_risk"
    label: str = "bought_next_churn_horizon"
    merit: str = "auc"
    is_probability: bool = True
    candidates: tuple[Candidate, ...] = CANDIDATES  # in the order of preference
    margin: float = _AUC_BY

    def new_model(self, names: Sequence[str], candidate: Candidate, seed: int) -> ChurnModel:
        """An unfitted ChurnModel."""
        return ChurnModel(tuple(names), candidate=candidate, horizon_days=self.horizon_days, seed=seed)

    def same_window(self, names: Sequence[str]) -> SameWindow:
        """What learns the level from the same window of the year before."""
        return SameChance(names)

    def truth(self, label: Matrix) -> Matrix:
        """1 for a client without an order in the horizon."""
        return np.asarray(label <= 0, dtype=np.float64)

    def too_little(self, truth: Matrix) -> str | None:
        """One class only, or too few of one."""
        lapsed, stayed = int(truth.sum()), int(len(truth) - truth.sum())
        if min(lapsed, stayed) >= _MIN_EVENTS:
            return None
        return f"{lapsed} client-dates lapsed and {stayed} did not: at least {_MIN_EVENTS} of each are needed"

    def merit_of(self, truth: Matrix, raw: Matrix) -> float:
        """AUC."""
        return auc(truth, raw)

    def figures(self, truth: Matrix, predicted: Matrix) -> Figures:
        """AUC, PR-AUC, lift, Brier, mean predicted and base rate."""
        return probability_figures(truth, predicted)

    def baselines(self, names: Sequence[str], X: Matrix, truth: Matrix, test: Matrix) -> dict[str, Matrix]:
        """Recency, and logistic on RFM."""
        return churn_baselines(names, X, truth, test)

    def verdict(self, truth: Matrix, predicted: Matrix, baselines: dict[str, Matrix], seed: int) -> str | None:
        """Worse ranking than a baseline beyond the test's own noise, or a worse probability than the base rate."""
        worse = worse_than_baseline(self, truth, predicted, baselines, seed)
        if worse:
            return worse
        everyone = np.full(len(truth), truth.mean())
        error, of_rate = brier(truth, predicted), brier(truth, everyone)
        if error - of_rate > _NOISE * _paired_error(brier, truth, predicted, everyone, seed):
            return f"its Brier score {error:.4f} is worse than {of_rate:.4f} of the base rate given to everyone"
        return None

    def held(self, model: Model, truth: Matrix, predicted: Matrix) -> dict[str, Any]:  # noqa: ARG002
        """Predicted against observed by tenths of the clients."""
        return {"by_tenths": calibration_table(truth, predicted)}


@dataclass(frozen=True)
class ValueTask:
    """`value_90d`: revenue within the horizon."""

    horizon_days: int
    score: str = "value_90d"
    label: str = "revenue_next_value_horizon"
    merit: str = "normalised_gini"
    is_probability: bool = False
    candidates: tuple[Candidate, ...] = VALUE_CANDIDATES
    margin: float = _GINI_BY

    def new_model(self, names: Sequence[str], candidate: Candidate, seed: int) -> ValueModel:
        """An unfitted ValueModel."""
        return ValueModel(tuple(names), candidate=candidate, horizon_days=self.horizon_days, seed=seed)

    def same_window(self, names: Sequence[str]) -> SameWindow:
        """What learns the level from the same window of the year before."""
        return SameSpend(names)

    def truth(self, label: Matrix) -> Matrix:
        """Revenue, at least 0."""
        return np.maximum(label, 0.0)

    def too_little(self, truth: Matrix) -> str | None:
        """Too few who spent anything."""
        spenders = int((truth > 0).sum())
        if spenders >= _MIN_EVENTS:
            return None
        return f"only {spenders} client-dates with revenue: at least {_MIN_EVENTS} are needed"

    def merit_of(self, truth: Matrix, raw: Matrix) -> float:
        """Normalised Gini."""
        return normalised_gini(truth, raw)

    def figures(self, truth: Matrix, predicted: Matrix) -> Figures:
        """Normalised Gini, bias, MAE and means."""
        return amount_figures(truth, predicted)

    def baselines(
        self,
        names: Sequence[str],
        X: Matrix,  # noqa: ARG002 - these rules learn nothing from features
        truth: Matrix,
        test: Matrix,
    ) -> dict[str, Matrix]:
        """The mean, and the last 90 days' revenue."""
        return value_baselines(names, truth, test, horizon_days=self.horizon_days)

    def verdict(self, truth: Matrix, predicted: Matrix, baselines: dict[str, Matrix], seed: int) -> str | None:
        """Worse ranking than a baseline beyond the test's own noise, or a level that is off by more than half."""
        worse = worse_than_baseline(self, truth, predicted, baselines, seed)
        if worse:
            return worse
        bias = amount_figures(truth, predicted)["bias"]
        if abs(bias) > _MAX_BIAS:
            return f"its total is off by {bias:+.0%} at the test cut"
        return None

    def held(self, model: Model, truth: Matrix, predicted: Matrix) -> dict[str, Any]:
        """How often the 80 % interval held."""
        low, high = model.interval(predicted)
        return {"interval_80_held": float(np.mean((truth >= low) & (truth <= high)))}


Task = ChurnTask | ValueTask  # one score: how a model of it is made, judged and refused


def choose(
    merits: dict[str, float], candidates: Sequence[Candidate] = CANDIDATES, margin: float = _AUC_BY
) -> Candidate:
    """The first candidate, in the order of preference, whose figure is within `margin` of the highest."""
    best = max(value for value in merits.values() if value == value)  # noqa: PLR0124 - leaves NaN out
    return next(c for c in candidates if c in merits and merits[c] >= best - margin)


def worse_than_baseline(
    task: Task, truth: Matrix, predicted: Matrix, baselines: dict[str, Matrix], seed: int
) -> str | None:
    """A sentence when a baseline ranks better by more than two standard errors of the paired difference (bootstrap)."""
    merit = task.merit_of(truth, predicted)
    for name, other in baselines.items():
        theirs = task.merit_of(truth, other)
        if theirs - merit > _NOISE * _paired_error(task.merit_of, truth, predicted, other, seed):
            return f"its {task.merit} {merit:.4f} at the test cut is below {theirs:.4f} of the baseline {name}"
    return None


def _paired_error(figure: Figure, truth: Matrix, predicted: Matrix, other: Matrix, seed: int) -> float:
    """Standard error of the difference of a figure, by 100 seeded bootstrap rounds over at most 20,000 clients."""
    random = np.random.default_rng(seed)
    size = min(len(truth), _SAMPLE)
    differences = []
    for _ in range(_ROUNDS):
        rows = random.integers(0, len(truth), size)
        differences.append(figure(truth[rows], predicted[rows]) - figure(truth[rows], other[rows]))
    return float(np.nanstd(differences) * np.sqrt(size / len(truth)))
