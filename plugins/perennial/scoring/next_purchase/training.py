"""Training of `next_purchase_days` with its backtest: chosen on an earlier cut, tested on a later one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.scoring.cuts import Calendar, calendar, season_targets
from perennial.scoring.features import FeatureSchema, Matrix
from perennial.scoring.frames import Frame, folds, observed
from perennial.scoring.next_purchase.hazard import BEYOND, HAZARDS, HazardKind, NextPurchaseModel
from perennial.scoring.reference import importance, median_client, told_cuts, watched
from perennial.scoring.scorer import WithIntervals, has_ordered
from perennial.scoring.threads import one_thread
from perennial.scoring.training import Trained, rounded, versions

MIN_CLIENTS = 100
_MIN_BUYERS = 50
_IMPORTANCE_ROWS = 250
_MERIT = "skill"
Figures = dict[str, float | None]


@dataclass(frozen=True)
class NextPurchaseTask:
    """`next_purchase_days`: days from the row's date to the next purchase; more than the horizon: none within it."""

    horizon_days: int
    score: str = "next_purchase_days"
    label: str = "days_to_next_order"
    merit: str = _MERIT


class NextPurchaseScorer(WithIntervals):
    """What is stored as one artefact: the model, and the median client of its training day. Gives whole days."""

    _unsound = "numbers of days are not finite or below 0"

    def _of_buyers(self, X: Matrix) -> tuple[Matrix, Matrix, Matrix]:
        low, value, high = (np.maximum(1.0, np.ceil(part)) for part in self.model.interval(self.model.curves(X)))
        return value, low, high

    def _is_sound(self, value: Matrix) -> npt.NDArray[np.bool_]:
        return np.asarray(np.isfinite(value) & (value >= 0))


def train_next_purchase(
    task: NextPurchaseTask, rows: Frame, today: Frame | None, schema: FeatureSchema, *, as_of: date, seed: int
) -> Trained:
    """Train at `as_of` from labelled rows of past cuts, as `scoring.training.train` does for churn and value.

    Without `today` it ends with the test. Refused when it is no better than the median of the training rows. Uses one
    thread; rows whose label ends after `as_of` are left out.
    """
    names = tuple(name for name, _ in schema)
    known = observed(rows, task.horizon_days, as_of)
    apart = np.isin(known.cuts, np.array(season_targets(as_of, task.horizon_days), dtype="datetime64[D]"))
    buyers = known.at(has_ordered(known.X, names) & ~apart)
    plan = calendar(tuple(sorted(set(buyers.cuts.tolist()))), task.horizon_days)
    card = _head(task, schema, buyers, as_of=as_of, seed=seed)
    reason = _too_little(task, buyers, plan)
    if reason or plan is None:
        card["verdict"] = {"status": "refused", "reason": reason or "too few past dates"}
        return Trained(task.score, rounded(card), None, reason or "too few past dates")
    with one_thread():
        chosen, merits, how = _choose(task, buyers, plan, names, seed)
        past, later = buyers.of(plan.development), buyers.of((plan.test,))
        model = _new(task, names, chosen, seed).fit(past.X, past.label)
        figures, reason = judge(task, model, names, past, later)
        card |= {
            "cuts": told_cuts(plan),
            "selection": {"by": how, "merit": _MERIT, "candidates": merits},
            "chosen": chosen,
            "figures_at_test": figures,
            "verdict": {"status": "refused" if reason else "champion", "reason": reason},
        }
        if today is None:
            return Trained(task.score, rounded(card), None, reason)
        final = _new(task, names, chosen, seed).fit(buyers.X, buyers.label)
        scorer = NextPurchaseScorer(final, names, median_client(today, names))
        card |= watched(scorer, today, importance(scorer, final.link, later.X, rows=_IMPORTANCE_ROWS))
    return Trained(task.score, rounded(card), scorer, reason)


def _new(task: NextPurchaseTask, names: tuple[str, ...], kind: HazardKind, seed: int) -> NextPurchaseModel:
    return NextPurchaseModel(names, kind, task.horizon_days, seed=seed)


def _too_little(task: NextPurchaseTask, buyers: Frame, plan: Calendar | None) -> str | None:
    if plan is None:
        return (
            f"too little history: two past dates {task.horizon_days} days apart are needed, "
            f"the later one {task.horizon_days} days before today"
        )
    test = buyers.of((plan.test,))
    if len(test) < MIN_CLIENTS:
        return f"{len(test)} clients with an order before {plan.test}: at least {MIN_CLIENTS} are needed"
    for where, frame in (("to learn from", buyers.of(plan.development)), ("to test on", test)):
        found = int((frame.label <= task.horizon_days).sum())
        if found < _MIN_BUYERS:
            return (
                f"{where}, {found} client-dates with a purchase in {task.horizon_days} days: {_MIN_BUYERS} are needed"
            )
    return None


def _choose(
    task: NextPurchaseTask, buyers: Frame, plan: Calendar, names: tuple[str, ...], seed: int
) -> tuple[HazardKind, dict[str, float | None], str]:
    """The kind by its mean error at the validation cut, or between two halves of clients where there is none."""
    fit, held = buyers.of(plan.fit), buyers.of((plan.validation,) if plan.validation else ())
    how = f"validation cut {plan.validation}, out of time"
    if min(int((frame.label <= task.horizon_days).sum()) for frame in (fit, held)) < _MIN_BUYERS:
        rows = buyers.of(plan.development)
        half = folds(rows.clients, 2) == 0
        fit, held, how = rows.at(half), rows.at(~half), "two halves of clients"
    if not (fit.label <= task.horizon_days).any():
        fit = held
    model = _new(task, names, "blend", seed).fit(fit.X, fit.label)
    curves = {kind: model.curves(held.X, kind) for kind in HAZARDS}
    merits = {kind: _skill(task, model, values, fit, held) for kind, values in curves.items()}
    chosen = max(HAZARDS, key=lambda kind: merits[kind])
    return chosen, {str(kind): merit for kind, merit in merits.items()}, how


def _skill(task: NextPurchaseTask, model: NextPurchaseModel, curves: Matrix, fit: Frame, held: Frame) -> float:
    bought = held.label <= task.horizon_days
    error = np.abs(held.label - model.among_buyers(curves)[1])[bought].mean()
    usual = np.abs(held.label - np.median(fit.label[fit.label <= task.horizon_days]))[bought].mean()
    return float(1 - error / max(usual, 1e-9))


def judge(
    task: NextPurchaseTask, model: NextPurchaseModel, names: Sequence[str], past: Frame, later: Frame
) -> tuple[dict[str, Figures], str | None]:
    """(figures by rule at the test cut, why the model is refused or None).

    Errors are over clients who bought within the horizon, each rule saying when, given that they do; so is the
    coverage of the 80 % interval, for of those who bought later nobody knows when.
    """
    curves = model.curves(later.X)
    horizon = task.horizon_days
    bought = later.label <= horizon
    usual = float(np.median(past.label[past.label <= horizon]))
    errors = {
        "model": np.abs(later.label - model.among_buyers(curves)[1])[bought],
        "training_median": np.abs(later.label - usual)[bought],
    }
    gap = gap_rule(names, later.X, horizon)
    if gap is not None:
        errors["usual_gap_minus_recency"] = np.abs(later.label - gap)[bought]
    base = float(errors["training_median"].mean())
    figures: dict[str, Figures] = {
        rule: {"mae_days": float(e.mean()), _MERIT: float(1 - e.mean() / max(base, 1e-9)), "clients": float(len(e))}
        for rule, e in errors.items()
    }
    figures["model"] |= _coverage(model, curves, later.label, horizon)
    mine = float(errors["model"].mean())
    reason = None
    if mine >= base:
        reason = f"its mean error of {mine:.1f} days at the test cut is not below {base:.1f} of the training median"
    return figures, reason


def _coverage(model: NextPurchaseModel, curves: Matrix, days: Matrix, horizon: int) -> Figures:
    bought = days <= horizon
    came = days[bought]
    low, middle, high = model.among_buyers(curves[bought])
    return {
        "interval_80_held": float(((came >= np.ceil(low)) & (came <= np.ceil(high))).mean()),
        "below_median": float((came <= np.ceil(middle)).mean()),
        "predicted_share_within_horizon": float(curves[:, -1].mean()),
        "observed_share_within_horizon": float(bought.mean()),
    }


def gap_rule(names: Sequence[str], X: Matrix, horizon_days: int) -> Matrix | None:
    """The usual gap less recency, from 1 day to the horizon; who has no gap gets the median gap of all."""
    if not {"gap_days_median", "recency_days"} <= set(names):
        return None
    gap, recency = X[:, list(names).index("gap_days_median")], X[:, list(names).index("recency_days")]
    if np.isnan(gap).all():
        return None
    return np.asarray(np.clip(np.where(np.isnan(gap), np.nanmedian(gap), gap) - recency, 1, horizon_days))


def _head(task: NextPurchaseTask, schema: FeatureSchema, buyers: Frame, *, as_of: date, seed: int) -> dict[str, Any]:
    cuts, counts = np.unique(buyers.cuts, return_counts=True)
    return {
        "score": task.score,
        "trained_as_of": as_of.isoformat(),
        "horizon_days": task.horizon_days,
        "label": task.label,
        "population": f"clients with an order at the date of the row; days beyond {BEYOND:.0f} are not told apart",
        "data_needs": (
            f"orders of at least {2 * task.horizon_days + 28} days, {MIN_CLIENTS} clients with an order, {_MIN_BUYERS} "
            "who bought again in the horizon; the published client_features of past dates"
        ),
        "rows": {str(cut): int(count) for cut, count in zip(cuts, counts, strict=True)},
        "features": [{"name": name, "kind": kind} for name, kind in schema],
        "seed": seed,
        "versions": versions(),
    }
