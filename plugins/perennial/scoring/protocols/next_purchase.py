"""Days to the next purchase: at each cut the model as it would have been there, beside the training median.

For a cut C the features are those of the day before it; day 1 is C itself. Errors are over clients who bought within
the horizon, each rule saying when, given that they do; so is the coverage of the 80 % interval. The model is
chosen on earlier cuts, whose labels end before C.
"""

from __future__ import annotations

import time
from datetime import date, timedelta

from perennial.core.settings import Scoring
from perennial.scoring.cuts import training_dates
from perennial.scoring.features import feature_schema
from perennial.scoring.frames import MAX_ROWS, frame_of
from perennial.scoring.next_purchase.training import NextPurchaseTask, train_next_purchase
from perennial.scoring.protocols import Judged, Row, Transactions
from perennial.scoring.training import Trained

_SHOWN = {
    "mae_days": "mean absolute error in days, over clients who bought within the horizon",
    "skill": "1 less that error over the error of the training median",
    "interval_80_held": "share of those buyers whose next purchase lay in the 80 % interval",
    "below_median": "share of those buyers who bought by the predicted median",
    "predicted_share_within_horizon": "mean predicted probability of a purchase within the horizon",
    "observed_share_within_horizon": "share of clients who bought within it",
}


def run(data: Transactions, horizon_days: int) -> Judged:
    """Figures at each cut that the data have room for; why there are none at the others."""
    task = NextPurchaseTask(horizon_days)
    rows: list[Row] = []
    sentences: list[str] = []
    refused: list[str] = []
    for cut in data.cuts:
        started = time.process_time()
        known = cut + timedelta(days=horizon_days - 1)
        if cut <= data.first_day or known > data.last_day:
            refused.append(f"{cut}: its window ends on {known}, the data are of {data.first_day} to {data.last_day}")
            continue
        trained = _trained(data, task, cut)
        if "figures_at_test" not in trained.card:
            refused.append(f"{cut}: {trained.refused}")
            continue
        rows += _rows(trained, cut, time.process_time() - started)
        if trained.refused:
            sentences.append(f"{cut}: the product would refuse this model: {trained.refused}")
    return Judged(
        "next_purchase", horizon_days, "mae_days", tuple(rows), (), tuple(sentences), tuple(refused),
        higher_is_better=False, definitions=_SHOWN,
    )  # fmt: skip


def _trained(data: Transactions, task: NextPurchaseTask, cut: date) -> Trained:
    as_of = cut + timedelta(days=task.horizon_days - 1)
    defaults = Scoring()
    dates = training_dates(
        as_of, data.first_day, horizon_days=task.horizon_days,
        cuts=defaults.training_cuts, step_days=defaults.cut_step_days,
    )  # fmt: skip
    table = data.features(dates, task.horizon_days)
    schema = feature_schema(table.schema, without=data.labels())
    rows = frame_of(table, schema, data.first_day, label=task.label, max_rows=2 * MAX_ROWS)
    return train_next_purchase(task, rows, None, schema, as_of=as_of, seed=data.seed)


def _rows(trained: Trained, cut: date, seconds: float) -> list[Row]:
    card = trained.card
    chosen = f"{card['chosen']}, by {card['selection']['by']}"
    found = []
    for rule, figures in card["figures_at_test"].items():
        values = {name: figures.get(name) for name in _SHOWN}
        buyers = int(figures["clients"])
        if rule == "model":
            found.append(
                Row(str(cut), trained.score, values, buyers, is_model=True, chosen=chosen, cpu_seconds=seconds)
            )
        else:
            found.append(Row(str(cut), rule, values, buyers))
    return found
