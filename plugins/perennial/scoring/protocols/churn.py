"""Churn risk and value: at each cut the model as it would have been there, beside its baselines on the same clients.

For a cut C the features are those of the day before it, the label is what happened in the horizon from C on, the
clients are all who had bought before C. What is judged is what a training would have tested on the first day on which
the label of C is known: chosen and calibrated on earlier cuts, whose labels end before C, and not refitted on C.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from perennial.core.settings import Scoring
from perennial.scoring.cuts import training_dates
from perennial.scoring.features import Matrix, feature_schema
from perennial.scoring.frames import MAX_ROWS, frame_of
from perennial.scoring.metrics import calibration_table, lift_top_decile, pr_auc
from perennial.scoring.protocols import Curve, Judged, Row, Transactions, lift_curve
from perennial.scoring.tasks import ChurnTask, Task, ValueTask
from perennial.scoring.training import Tested, Trained, train

MODEL = "model"
_SHOWN: dict[str, tuple[str, ...]] = {
    "churn": (
        *("auc", "pr_auc", "lift_top_decile", "pr_auc_buying", "lift_buying"),
        *("brier", "mean_predicted", "base_rate"),
    ),
    "value": ("normalised_gini", "bias", "mae", "mean_predicted", "mean_actual", "interval_80_held"),
}
_DEFINITIONS = {
    "auc": "area under the ROC curve of the event (churn: no purchase within the horizon), ties counted half",
    "pr_auc": "average precision of the event",
    "lift_top_decile": "share of events among the tenth with the highest scores, over the share among all",
    "pr_auc_buying": "average precision of the other event: a purchase within the horizon",
    "lift_buying": "share of buyers among the tenth with the lowest scores, over the share among all",
    "brier": "mean squared error of the probability",
    "mean_predicted": "mean of the prediction; to be held against the base rate, or the mean of what was spent",
    "base_rate": "share of clients with the event",
    "normalised_gini": "Gini of the gain curve ordered by the prediction, over that ordered by the truth",
    "bias": "predicted over actual total, less one",
    "mae": "mean absolute error",
    "mean_actual": "mean of what was spent",
    "interval_80_held": "share of clients whose spend lay in the model's 80 % interval",
}


def run(data: Transactions, horizon_days: int) -> Judged:
    """Figures and curves at each cut that the data have room for; why there are none at the others."""
    task = ChurnTask(horizon_days) if data.task == "churn" else ValueTask(horizon_days, score=f"value_{horizon_days}d")
    shown = _SHOWN[data.task]
    judged = Judged(data.task, horizon_days, shown[0], definitions={k: _DEFINITIONS[k] for k in shown})
    rows: list[Row] = []
    curves: list[Curve] = []
    sentences: list[str] = []
    refused: list[str] = []
    for cut in data.cuts:
        started = time.process_time()
        reason, trained = _trained(data, task, cut)
        if trained is None or trained.tested is None:
            refused.append(f"{cut}: {reason or (trained and trained.refused)}")
            continue
        seconds = time.process_time() - started
        rows += _rows(task, cut, trained, trained.tested, shown, seconds)
        curves += _curves(data.task, task.score, cut, trained.tested)
        if trained.refused:
            sentences.append(f"{cut}: the product would refuse this model: {trained.refused}")
    return Judged(
        judged.task, horizon_days, judged.merit, tuple(rows), tuple(curves), tuple(sentences), tuple(refused),
        definitions=judged.definitions,
    )  # fmt: skip


def _trained(data: Transactions, task: Task, cut: date) -> tuple[str | None, Trained | None]:
    """What training comes to at the cut, or why there is none."""
    known = cut + timedelta(days=task.horizon_days - 1)  # the last day of the label
    if cut <= data.first_day or known > data.last_day:
        window = f"the data are of {data.first_day} to {data.last_day}, its window ends on {known}"
        return f"its window lies outside the data: {window}", None
    dates = _dates(data, task, cut)
    table = data.features(dates, task.horizon_days)
    schema = feature_schema(table.schema, without=data.labels())
    rows = frame_of(table, schema, data.first_day, label=task.label, max_rows=2 * MAX_ROWS)
    return None, train(task, rows, None, schema, as_of=known, seed=data.seed)


def _dates(data: Transactions, task: Task, cut: date) -> Sequence[date]:
    """The past dates of the training whose test date is the day before the cut."""
    defaults = Scoring()
    return training_dates(
        cut + timedelta(days=task.horizon_days - 1),
        data.first_day,
        horizon_days=task.horizon_days,
        cuts=defaults.training_cuts,
        step_days=defaults.cut_step_days,
    )


def _rows(  # noqa: PLR0917
    task: Task, cut: date, trained: Trained, tested: Tested, shown: Sequence[str], seconds: float
) -> Iterator[Row]:
    card = trained.card
    chosen = f"{card['chosen']}, by {card['selection']['by']}"
    for rule, figures in tested.figures.items():
        scores = tested.predicted if rule == MODEL else tested.baselines[rule]
        both = {**figures, **_of_buying(task, tested, scores)}
        if rule == MODEL:
            both |= {k: v for k, v in card["calibration"]["held_at_test"].items() if k in shown}
        values = {name: both.get(name) for name in shown}
        if rule == MODEL:
            yield Row(str(cut), task.score, values, len(tested.truth), True, chosen, seconds)  # noqa: FBT003
        else:
            yield Row(str(cut), rule, values, len(tested.truth))


def _of_buying(task: Task, tested: Tested, scores: Matrix) -> dict[str, float]:
    """The same ranking, asked for those who buy."""
    if not task.is_probability:
        return {}
    buys = 1 - tested.truth
    return {"pr_auc_buying": pr_auc(buys, -scores), "lift_buying": lift_top_decile(buys, -scores)}


def _curves(task: str, score: str, cut: date, tested: Tested) -> list[Curve]:
    scores: dict[str, Any] = {score: tested.predicted, **tested.baselines}
    found = [lift_curve(tested.truth, scores, title="Lift", cut=str(cut))]
    title, y = ("Calibration", "share observed") if task == "churn" else ("Predicted and spent", "mean spent")
    lines = {name: _by_tenths(tested.truth, values) for name, values in scores.items()}
    x = "mean predicted of a tenth of the clients"
    found.append(Curve(title, x, y, lines, str(cut), diagonal=True, markers=True))
    return found


def _by_tenths(truth: Any, predicted: Any) -> tuple[list[float], list[float]]:
    table = calibration_table(truth, predicted)
    return [part["predicted"] for part in table], [part["observed"] for part in table]
