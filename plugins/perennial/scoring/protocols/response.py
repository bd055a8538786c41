"""Response (uplift) on a randomised campaign: average effects by arm, then who is changed more, over ten named halves.

Ten halves, stratified by arm and outcome (seeds 0 to 9): learned on one half, judged on the other, beside a response
model that leaves the arm out and random orders of the same clients. What is not separated from random is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from perennial.contracts.backtests import Outcome
from perennial.scoring.features import Matrix
from perennial.scoring.protocols import Curve, Judged, Labelled, Row
from perennial.scoring.threads import one_thread
from perennial.scoring.uplift.arms import average_effect, sample_ratio_p
from perennial.scoring.uplift.curves import qini_curve, uplift_by_decile
from perennial.scoring.uplift.learners import ClassTransformation, Interaction, Learner, ResponseModel, TwoModel
from perennial.scoring.uplift.separation import NAMED_HALVES, Repeats, halves, repeat_halves, simplest_of_the_best

BASELINE = "response"
LEARNERS: dict[str, Learner] = {
    "two_model": TwoModel(),
    "class_transformation": ClassTransformation(),
    "interaction": Interaction(),
    "two_model_boosting": TwoModel("boosting"),
    BASELINE: ResponseModel(),
}
_POINTS = 101
_MIN_EVENTS = 20  # of each outcome in each arm
_BROKEN = 0.001  # p of the sample-ratio test
_DEFINITIONS = {
    "effect": "mean of the arm less mean of the control, as assigned, in points (events) or units (amounts)",
    "error": "standard error of the effect: sqrt(var/n of the arm + var/n of the control)",
    "p": "two-sided normal test of no effect",
    "qini": "mean over the halves of: area between the Qini curve (R1 - R0 N1/N0 among the first k) and the line of "
    "chance, over the same area of the perfect order, negative effects counted",
    "qini_sd": "standard deviation of the Qini coefficient over the halves",
    "auuc": "area under (R1/N1 - R0/N0)(N1 + N0) over n squared, not normalised; chance gives half the average effect",
    "random_sd": "standard deviation of a random order's Qini coefficient on one half",
    "separated": "1 where the mean is more than two of those above 0",
}


def run(data: Labelled) -> Judged:
    """Every arm against the control, every outcome: effects, then (events) learners over the named halves."""
    judged = Judged("response", None, "qini", definitions=_DEFINITIONS)
    reason = _unfit(data)
    if reason:
        return _with(judged, refused=(reason,))
    arms, counts = np.unique(_words(data), return_counts=True)
    p = sample_ratio_p(counts.astype(np.float64))
    sizes = ", ".join(f"{arm} {count:,}" for arm, count in zip(arms.tolist(), counts.tolist(), strict=True))
    if p < _BROKEN:
        return _with(judged, refused=(f"the arms ({sizes}) are not of equal size, chi-square p {p:.2g}: broken (L8)",))
    columns = matrix_of(data.features)
    for arm in arms.tolist():
        if arm != data.dataset.control:
            for outcome, values in _outcomes(data):
                inside = np.isin(_words(data), [arm, data.dataset.control])
                treatment = (_words(data)[inside] == arm).astype(np.float64)
                part = _one(f"{arm}, {outcome.column}", outcome, columns[inside], values[inside], treatment)
                judged = _with(judged, part.rows, part.curves, part.sentences, part.refused)
    return _with(judged, sentences=(f"sample-ratio test: arms {sizes}, chi-square p {p:.3f} (L8)",))


def _with(judged: Judged, rows: Any = (), curves: Any = (), sentences: Any = (), refused: Any = ()) -> Judged:
    return Judged(
        judged.task,
        judged.horizon_days,
        judged.merit,
        (*judged.rows, *rows),
        (*judged.curves, *curves),
        (*judged.sentences, *sentences),
        (*judged.refused, *refused),
        definitions=judged.definitions,
    )


def _unfit(data: Labelled) -> str | None:
    """Why nothing can be said of these data at all, or None."""
    if data.treatment is None:
        return "there is no column of arms: without a randomised control nobody knows what a contact changes"
    arms = np.unique(_words(data)).tolist()
    if data.dataset.control not in arms:
        return f"control: {data.dataset.control!r} is none of the arms {', '.join(map(str, arms))}"
    return None if len(arms) > 1 else "one arm only: there is nothing to compare with"


def _words(data: Labelled) -> Any:
    return np.asarray(data.treatment).astype(str)


def _outcomes(data: Labelled) -> Iterator[tuple[Outcome, Matrix]]:
    if data.label is not None and data.dataset.columns.label is not None:
        yield Outcome(column=data.dataset.columns.label), data.label
    for outcome in data.dataset.outcomes:
        if outcome.column in data.outcomes and outcome.column != data.dataset.columns.label:
            yield outcome, data.outcomes[outcome.column]


def matrix_of(features: Any) -> Matrix:
    """Rows x columns of numbers: words become one column of 0/1 for each word."""
    import pandas as pd

    words = list(features.select_dtypes(include=["category", "object", "string"]).columns)
    return np.asarray(pd.get_dummies(features, columns=words, dtype=float), dtype=np.float64)


def _one(where: str, outcome: Outcome, X: Matrix, y: Matrix, treatment: Matrix) -> Judged:
    """One arm and outcome: its effect; for an event also the learners."""
    effect = average_effect(y, treatment)
    scale = 100.0 if outcome.kind == "event" else 1.0
    figures = {"effect": scale * effect.difference, "error": scale * effect.error, "p": effect.p}
    rows = [Row(where, "average effect", figures, effect.treated + effect.control)]
    part = Judged("response", None, "qini")
    if outcome.kind != "event":
        return _with(part, rows)
    events = [int(min(y[treatment == arm].sum(), (1 - y[treatment == arm]).sum())) for arm in (0, 1)]
    if min(events) < _MIN_EVENTS:
        reason = f"{where}: {min(events)} clients of an arm with one outcome: at least {_MIN_EVENTS} are needed"
        return _with(part, rows, refused=(reason,))
    with one_thread():
        found = repeat_halves(LEARNERS, X, y, treatment)
        best = simplest_of_the_best({name: one.mean for name, one in found.items() if name != BASELINE})
        rows += [_row(where, one, best, len(y)) for one in found.values()]
        curves = _curves(where, best, X, y, treatment)
    return _with(part, rows, curves, *_said(where, found, best))


def _row(where: str, one: Repeats, best: str, n: int) -> Row:
    chosen = f"of {len(LEARNERS) - 1} learners, by the mean of the same halves" if one.name == best else ""
    return Row(where, one.name, one.figures(), n, is_model=one.name != BASELINE, chosen=chosen)


def _said(where: str, found: Mapping[str, Repeats], best: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sentences of what holds, and of what is refused."""
    mine, plain = found[best], found[BASELINE]
    if mine.sentence:
        refused = f"{where}: {best} is refused: {mine.sentence}"
        if not plain.separated:
            return (), (f"{refused}; nothing separates from random here, not even the response model",)
        told = f"{where}: a plain response model ranks better than uplift models ({plain.mean:.4f} to {mine.mean:.4f})"
        return (told,), (refused,)
    told = f"{where}: {best} is separated from random, mean Qini {mine.mean:.4f} of {len(NAMED_HALVES)} halves"
    return (f"{told}; the response model {plain.mean:.4f}",), ()


def _curves(where: str, best: str, X: Matrix, y: Matrix, treatment: Matrix) -> list[Curve]:
    """Qini curves and tenths of the first named half."""
    fitted, tested = halves(y, treatment, NAMED_HALVES[0])
    asked, arm, lines = y[tested], treatment[tested], {}
    scores = {}
    for name in (best, BASELINE):
        scores[name] = LEARNERS[name].fit(X[fitted], y[fitted], treatment[fitted]).predict_uplift(X[tested])
        curve = qini_curve(asked, scores[name], arm)
        shares = np.linspace(0, 1, _POINTS)
        gains = np.interp(shares, curve.clients / curve.clients[-1], curve.gain)
        lines[name] = (shares.tolist(), gains.tolist())
    lines["chance"] = ([0.0, 1.0], [0.0, lines[best][1][-1]])
    tenths = uplift_by_decile(asked, scores[best], arm)
    places = [float(place) for place in range(1, len(tenths) + 1)]
    by_tenth = {
        best: (places, [tenth.effect for tenth in tenths]),
        "95 % interval, low": (places, [tenth.low for tenth in tenths]),
        "95 % interval, high": (places, [tenth.high for tenth in tenths]),
        "predicted": (places, [tenth.predicted for tenth in tenths]),
    }
    share, title = "share of clients, highest score first", "Qini curve of the first half"
    return [
        Curve(title, share, "incremental outcomes among the treated", lines, where),
        Curve("effect by tenth, first half", "tenth, highest first", "effect", by_tenth, where, markers=True),
    ]
