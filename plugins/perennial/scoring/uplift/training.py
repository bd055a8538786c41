"""Training of a response model on a campaign's own randomised history: judged over named halves, kept or refused."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.base import clone

from perennial.scoring.features import FeatureSchema, Matrix
from perennial.scoring.frames import Frame
from perennial.scoring.reference import importance, median_client, watched
from perennial.scoring.threads import one_thread
from perennial.scoring.training import Trained, rounded, versions
from perennial.scoring.uplift.arms import average_effect
from perennial.scoring.uplift.curves import uplift_by_decile
from perennial.scoring.uplift.learners import ClassTransformation, Interaction, Learner, ResponseModel, TwoModel
from perennial.scoring.uplift.scorer import ResponseScorer, WithInterval, prepared
from perennial.scoring.uplift.separation import NAMED_HALVES, Repeats, halves, repeat_halves, simplest_of_the_best

MIN_CLIENTS = 200  # in each arm
MIN_EVENTS = 30  # of either outcome, in each arm
BASELINE = "response"
_PENALTY = 0.02  # many correlated features, few clients
_BROKEN = 0.001  # p of the sample-ratio test
_ROWS = 2_000


@dataclass(frozen=True)
class ResponseTask:
    """`response_<campaign>`: what a contact changes of P(an order within the success window)."""

    score: str
    horizon_days: int
    control_share: float

    def too_few(self, treatment: Matrix, outcome: Matrix) -> str | None:
        """Why these clients (one row each, complete windows) cannot teach anything, or None."""
        treated, held_back = int(treatment.sum()), int(len(treatment) - treatment.sum())
        if min(treated, held_back) < MIN_CLIENTS:
            return (
                f"{treated} contacted and {held_back} control clients with complete windows of {self.horizon_days} "
                f"days: at least {MIN_CLIENTS} of each are needed"
            )
        events = [int(min(outcome[treatment == arm].sum(), (1 - outcome[treatment == arm]).sum())) for arm in (0, 1)]
        if min(events) < MIN_EVENTS:
            return f"an arm has {min(events)} clients of one outcome: at least {MIN_EVENTS} are needed"
        p = binomtest(held_back, len(treatment), self.control_share).pvalue
        if p < _BROKEN:
            share, drawn = f"{held_back / len(treatment):.1%}", f"{self.control_share:.1%}"
            return f"control is {share} of the clients, the card draws {drawn}: broken, or the card was changed (L8)"
        return None


def train_response(
    task: ResponseTask, rows: Frame, treatment: Matrix, today: Frame, schema: FeatureSchema, *, as_of: date, seed: int
) -> Trained:
    """Train at `as_of`; `rows` has one row per assigned client: features of the day of assignment, `label` 0/1 after.

    `treatment` 0/1 as assigned (L8). Refused: too few clients, a broken assignment, not separated from random, or a
    plain response model that ranks better. One thread: equal rows give an equal model, byte for byte.
    """
    card = _head(task, rows, schema, as_of=as_of, seed=seed)
    reason = task.too_few(treatment, rows.label)
    if reason:
        card["verdict"] = {"status": "refused", "reason": reason}
        return Trained(task.score, rounded(card), None, reason)
    X, y, names = prepared(rows.X), rows.label, tuple(name for name, _ in schema)
    with one_thread():
        found = repeat_halves(_learners(seed), X, y, treatment)
        best = simplest_of_the_best({name: one.mean for name, one in found.items() if name != BASELINE})
        reason = _refusal(found, best)
        model = WithInterval(_learners(seed)[best], seed=seed).fit(X, y, treatment)
        scorer = ResponseScorer(model, names, median_client(today, names))
        moves = importance(scorer, scorer.link, rows.X, rows=_ROWS)
        card |= _findings(found, best, X, y, treatment, seed) | watched(scorer, today, moves)
    card["verdict"] = {"status": "refused" if reason else "champion", "reason": reason}
    return Trained(task.score, rounded(card), scorer, reason)


def _learners(seed: int) -> dict[str, Learner]:
    return {
        "two_model": TwoModel("logistic", _PENALTY, seed),
        "class_transformation": ClassTransformation("logistic", _PENALTY, seed),
        "interaction": Interaction("logistic", _PENALTY, seed),
        BASELINE: ResponseModel("logistic", _PENALTY, seed),
    }


def _refusal(found: dict[str, Repeats], best: str) -> str | None:
    mine, plain = found[best], found[BASELINE]
    if mine.sentence:
        return mine.sentence
    if plain.mean - mine.mean > mine.chance:
        return f"a plain response model ranks better: mean Qini {plain.mean:.4f} to {mine.mean:.4f}"
    return None


def _head(task: ResponseTask, rows: Frame, schema: FeatureSchema, *, as_of: date, seed: int) -> dict[str, Any]:
    days, counts = np.unique(rows.cuts, return_counts=True)
    return {
        "score": task.score,
        "trained_as_of": as_of.isoformat(),
        "horizon_days": task.horizon_days,
        "label": f"an order within {task.horizon_days} days after the day of assignment",
        "population": "clients who were assigned to an arm of the campaign, and had an order before",
        "data_needs": (
            f"{MIN_CLIENTS} contacted and {MIN_CLIENTS} control clients with complete windows, "
            f"{MIN_EVENTS} of either outcome in each arm"
        ),
        "cuts": {},
        "rows": {str(day): int(count) for day, count in zip(days, counts, strict=True)},
        "features": [{"name": name, "kind": kind} for name, kind in schema],
        "seed": seed,
        "versions": versions(),
    }


def _findings(  # noqa: PLR0917
    found: dict[str, Repeats], best: str, X: Matrix, y: Matrix, treatment: Matrix, seed: int
) -> dict[str, Any]:
    """What a card says of the choice and the test; tenths are those of the first half."""
    effect = average_effect(y, treatment)
    fitted, tested = halves(y, treatment, NAMED_HALVES[0])
    model = clone(_learners(seed)[best]).fit(X[fitted], y[fitted], treatment[fitted])
    tenths = uplift_by_decile(y[tested], model.predict_uplift(X[tested]), treatment[tested], level=0.8)
    others = {name: one.figures() for name, one in found.items() if name not in (best, BASELINE)}
    how = f"{len(NAMED_HALVES)} named halves, stratified by arm and outcome"
    low, high = effect.interval()
    return {
        "selection": {"by": how, "merit": "qini", "candidates": {name: one.mean for name, one in found.items()}},
        "chosen": best,
        "figures_at_test": {"model": found[best].figures(), BASELINE: found[BASELINE].figures(), **others},
        "calibration": {
            "average_effect": effect.difference,
            "average_effect_95": f"{low:.4f} to {high:.4f}, p {effect.p:.2g}",
            "held_at_test": {"by_tenths": [asdict(tenth) for tenth in tenths]},
        },
    }
