"""Training with its backtest: choose a candidate, calibrate, test on a later date, compare, promote or refuse."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from datetime import date
from functools import partial
from typing import Any

import numpy as np
import sklearn
import skops

from perennial.scoring.cuts import Calendar, calendar, season_targets
from perennial.scoring.estimators import Candidate
from perennial.scoring.features import FeatureSchema, Matrix
from perennial.scoring.frames import Frame, folds, observed
from perennial.scoring.reference import importance, median_client, told_cuts, watched
from perennial.scoring.scorer import Scorer, has_ordered
from perennial.scoring.season import Level, Season
from perennial.scoring.tasks import MIN_CLIENTS, Figures, Model, Task, choose
from perennial.scoring.threads import one_thread

RECENT_CUTS = 8  # older ones tell of the shop as it was: 16 ranked worse on Online Retail II's earlier cuts
_FOLDS = 5
_IMPORTANCE_ROWS = 2000
_DIGITS = 6


@dataclass(frozen=True)
class Trained:
    """What training came to: a scorer with its card, or the sentence why there is none (the card then says it too).

    `refused` with a scorer: the model was made and is worse than a baseline; without: too little to learn from.
    """

    score: str
    card: dict[str, Any]
    scorer: Scorer | None = None
    refused: str | None = None
    tested: Tested | None = None  # the model of the test cut and what it predicted there, for plots


@dataclass(frozen=True)
class _Selection:
    """The chosen candidate, the figures of all, how they were had, and raw predictions of the chosen on unseen rows."""

    candidate: Candidate
    merits: dict[str, float]
    how: str
    raw: Matrix
    truth: Matrix
    X: Matrix


@dataclass
class Tested:
    """The model as it would have been at the test cut, and how it did there."""

    model: Model
    raw: Matrix
    predicted: Matrix
    truth: Matrix
    baselines: dict[str, Matrix]
    level: Level | None = None
    figures: dict[str, Figures] = field(default_factory=dict)


def train(task: Task, rows: Frame, today: Frame | None, schema: FeatureSchema, *, as_of: date, seed: int) -> Trained:
    """Train one score at `as_of` from labelled rows of past cuts; `today` are the clients that will be scored.

    Without `today` it ends with the test: what is judged is the model as it would have been at the test cut. Rows of a
    year before (`cuts.season_dates`) tell the level of the season only. Uses one thread: equal rows give an equal
    model, byte for byte. Rows whose label ends after `as_of` are left out.
    """
    names = tuple(name for name, _ in schema)
    buyers, season = _split(task, rows, names, as_of)
    plan = calendar(tuple(sorted(set(buyers.cuts.tolist()))), task.horizon_days)
    card = _head(task, schema, buyers, plan, as_of=as_of, seed=seed)
    reason = _too_little(task, buyers, plan)
    if reason or plan is None:
        return _refused(task, card, reason or "too few past dates")
    with one_thread():
        selection = _select(task, buyers, plan, names, seed)
        if selection is None:
            return _refused(task, card, "too few events among too few clients to choose a model by")
        tested = _test(task, buyers, plan, names, selection, season, seed)
        reason = task.verdict(tested.truth, tested.predicted, tested.baselines, seed)
        if today is None:
            card |= _findings(selection, tested, tested.model, tested.level, task)
            card["verdict"] = {"status": "refused" if reason else "champion", "reason": reason}
            return Trained(task.score, rounded(card), None, reason, tested)
        recent = buyers.of(plan.all[-RECENT_CUTS:])
        final = task.new_model(names, selection.candidate, seed).fit(recent.X, task.truth(recent.label))
        level = season.level(as_of, today.X[has_ordered(today.X, names)])
        _calibrate(final, tested.raw, tested.truth, buyers.of((plan.test,)).X, level)
        if level is not None:
            final.settle(today.X[has_ordered(today.X, names)], level)
        scorer = _scorer(task, final, today, names)
        moves = importance(scorer, scorer.model.link, buyers.of((plan.test,)).X, rows=_IMPORTANCE_ROWS)
    card |= _findings(selection, tested, final, level, task)
    card |= watched(scorer, today, moves)
    card["verdict"] = {"status": "refused" if reason else "champion", "reason": reason}
    return Trained(task.score, rounded(card), scorer, reason, tested)


def _split(task: Task, rows: Frame, names: tuple[str, ...], as_of: date) -> tuple[Frame, Season]:
    """Rows of clients with an order and a known label: those to learn from and test on, and those of a year before."""
    known = observed(rows, task.horizon_days, as_of)
    buyers = known.at(has_ordered(known.X, names))
    apart = np.isin(buyers.cuts, np.array(season_targets(as_of, task.horizon_days), dtype="datetime64[D]"))
    recent, before = buyers.at(~apart), buyers.at(apart)
    make = partial(task.same_window, names)
    return recent, Season(before, recent, task.horizon_days, make, task.truth, task.too_little)


def _calibrate(model: Model, raw: Matrix, truth: Matrix, X: Matrix, level: Level | None) -> None:
    """By out-of-time rows; those that the season says nothing of apart."""
    silent = X[:, model.feature_names.index("recency_days")]
    model.calibrate(raw, truth, silent, level.reach if level else np.inf)


def _refused(task: Task, card: dict[str, Any], reason: str) -> Trained:
    card["verdict"] = {"status": "refused", "reason": reason}
    return Trained(task.score, rounded(card), None, reason)


def _too_little(task: Task, buyers: Frame, plan: Calendar | None) -> str | None:
    """Why these rows cannot teach anything, or None."""
    if plan is None:
        return (
            f"too little history: two past dates {task.horizon_days} days apart are needed, "
            f"the later one {task.horizon_days} days before today"
        )
    clients = len(set(buyers.of((plan.test,)).clients.tolist()))
    if clients < MIN_CLIENTS:
        return f"{clients} clients with an order before {plan.test}: at least {MIN_CLIENTS} are needed"
    for where, cuts in (("to learn from", plan.development), ("to test on", (plan.test,))):
        reason = task.too_little(task.truth(buyers.of(cuts).label))
        if reason:
            return f"{where}, {reason}"
    return None


def _select(task: Task, buyers: Frame, plan: Calendar, names: tuple[str, ...], seed: int) -> _Selection | None:
    """Choose on a later cut where the history has room for one, else by folds of clients in the development cuts."""
    fit, held = buyers.of(plan.fit[-RECENT_CUTS:]), buyers.of((plan.validation,) if plan.validation else ())
    if len(fit) and not task.too_little(task.truth(fit.label)) and not task.too_little(task.truth(held.label)):
        model = task.new_model(names, "blend", seed).fit(fit.X, task.truth(fit.label))
        how = f"validation cut {plan.validation}, out of time"
        return _selection(task, model.raws(held.X), task.truth(held.label), held.X, how)
    rows = buyers.of(plan.development)
    truth, fold = task.truth(rows.label), folds(rows.clients, _FOLDS)
    raw = {c: np.full(len(rows), np.nan) for c in task.candidates}
    for k in range(_FOLDS):
        inside, outside = fold != k, fold == k
        if task.too_little(truth[inside]) or not outside.any():
            continue
        model = task.new_model(names, "blend", seed).fit(rows.X[inside], truth[inside])
        for c, values in model.raws(rows.X[outside]).items():
            raw[c][outside] = values
    done = ~np.isnan(raw["blend"])
    if task.too_little(truth[done]):
        return None
    unseen = {c: v[done] for c, v in raw.items() if not np.isnan(v[done]).any()}
    return _selection(task, unseen, truth[done], rows.X[done], f"{_FOLDS} folds of clients")


def _selection(task: Task, raw: dict[Candidate, Matrix], truth: Matrix, X: Matrix, how: str) -> _Selection:
    merits = {str(c): task.merit_of(truth, values) for c, values in raw.items()}
    chosen = choose(merits, task.candidates, task.margin)
    return _Selection(chosen, merits, how, raw[chosen], truth, X)


def _test(  # noqa: PLR0917
    task: Task,
    buyers: Frame,
    plan: Calendar,
    names: tuple[str, ...],
    selection: _Selection,
    season: Season,
    seed: int,
) -> Tested:
    """Fit on the development cuts, calibrate on what was chosen by, and predict the test cut beside the baselines."""
    past, later = buyers.of(plan.development[-RECENT_CUTS:]), buyers.of((plan.test,))
    learned, truth = task.truth(past.label), task.truth(later.label)
    model = task.new_model(names, selection.candidate, seed).fit(past.X, learned)
    level = season.level(plan.test, later.X)
    _calibrate(model, selection.raw, selection.truth, selection.X, level)
    if level is not None:
        model.settle(later.X, level)
    predicted = model.shown(model.link(later.X))
    baselines = task.baselines(names, past.X, learned, later.X)
    tested = Tested(model, model.raw(later.X), predicted, truth, baselines, level)
    tested.figures["model"] = task.figures(truth, predicted)
    tested.figures |= {name: task.figures(truth, values) for name, values in baselines.items()}
    return tested


def _scorer(task: Task, model: Model, today: Frame, names: tuple[str, ...]) -> Scorer:
    """The artefact: the model, and the median client of today."""
    return Scorer(model, names, median_client(today, names), is_probability=task.is_probability)


def _head(
    task: Task, schema: FeatureSchema, buyers: Frame, plan: Calendar | None, *, as_of: date, seed: int
) -> dict[str, Any]:
    """What a card says before anything is fitted."""
    cuts, counts = np.unique(buyers.cuts, return_counts=True)
    return {
        "score": task.score,
        "trained_as_of": as_of.isoformat(),
        "horizon_days": task.horizon_days,
        "label": task.label,
        "population": "clients with at least one order at the date of the row",
        "data_needs": (
            f"orders of at least {2 * task.horizon_days + 28} days, {MIN_CLIENTS} clients with an order, "
            "and both outcomes among them; the published client_features of past dates"
        ),
        "cuts": told_cuts(plan),
        "rows": {str(cut): int(count) for cut, count in zip(cuts, counts, strict=True)},
        "features": [{"name": name, "kind": kind} for name, kind in schema],
        "seed": seed,
        "versions": versions(),
    }


def _findings(selection: _Selection, tested: Tested, final: Model, level: Level | None, task: Task) -> dict[str, Any]:
    """What a card says of the choice, the test and the calibration."""
    return {
        "selection": {"by": selection.how, "merit": task.merit, "candidates": selection.merits},
        "chosen": selection.candidate,
        "hyper_parameters": {k: v for k, v in final.get_params().items() if k != "feature_names"},
        "figures_at_test": tested.figures,
        "calibration": {
            "learned_on": "the test cut, predicted by the model of the development cuts",
            **final.learned(),
            "level": _of_season(level),
            "at_test": {"learned_on": selection.how, **tested.model.learned(), "level": _of_season(tested.level)},
            "held_at_test": task.held(tested.model, tested.truth, tested.predicted),
        },
    }


def _of_season(level: Level | None) -> dict[str, Any] | str:
    if level is None:
        return "that of the last known cut: there is no window of the year before with clients enough"
    return {**asdict(level), "learned_at": level.learned_at.isoformat()}


def versions() -> dict[str, str]:
    """The versions that a model depends on."""
    return {
        "python": ".".join(platform.python_version_tuple()[:2]),
        "scikit-learn": sklearn.__version__,
        "numpy": np.__version__,
        "skops": skops.__version__,
    }


def rounded(value: Any) -> Any:
    """The value with floats to six digits and without NaN, as JSON can hold it."""
    if isinstance(value, dict):
        return {str(k): rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(v) for v in value]
    if isinstance(value, float | np.floating):
        return round(float(value), _DIGITS) if np.isfinite(value) else None
    return value
