"""Churn on generated sales, whose true model is known (G13): how far from its AUC, at which part of a full fit's CPU.

    .perennial/env/bin/python tests/bench/bench_generated_churn.py --sales tx_1m.parquet

`--sales` is what ../shared/bench/gen.py wrote: BG/NBD with known parameters. Features and labels come from the
product's own build; the score is `training.train` on its sample of client-dates, tested on the last date whose 90 days
are known. Beside it boosted trees on every row of the same dates (scikit-learn's histogram boosting, 150 rounds of 31
leaves, LightGBM's defaults), and the true model: the chance of an order in 90 days by the parameters that made the data.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from bench_warehouse import LAST_DAY, _home, _settings
from measuring import REPOSITORY, say, say_machine, say_table
from sklearn.ensemble import HistGradientBoostingClassifier

sys.path.insert(0, str(REPOSITORY / "plugins"))

from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.pipeline.build import training_features
from perennial.pipeline.scores import LABELS
from perennial.scoring.btyd.bgnbd import BetaGeoNBD
from perennial.scoring.cuts import training_dates
from perennial.scoring.features import feature_schema
from perennial.scoring.frames import MAX_ROWS, Frame, frame_of
from perennial.scoring.metrics import auc
from perennial.scoring.tasks import ChurnTask
from perennial.scoring.training import train

TRUTH = {"r": 0.60, "alpha": 45.0, "a": 0.70, "b": 5.0}  # gen.py, in days
START, HORIZON = date(2023, 1, 2), 90


def main() -> None:
    """Build, train, compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sales", type=Path, required=True)
    arguments = parser.parse_args()
    say_machine(1)
    with tempfile.TemporaryDirectory() as folder:
        table = _features(Path(folder) / "home", arguments.sales.resolve())
    compare(table)


def _dates() -> tuple[date, ...]:
    return training_dates(LAST_DAY, START, horizon_days=HORIZON, cuts=6, step_days=14)


def _features(home: Path, sales: Path) -> Any:
    """Features and labels of all clients at the dates of a training on the last day."""
    _home(home, sales)
    settings = _settings(home)
    scoring = settings.scoring.model_copy(update={"churn_horizon_days": HORIZON})
    settings = settings.model_copy(update={"file": settings.file.model_copy(update={"scoring": scoring})})
    run = last_run(open_ledger(settings))
    return training_features(settings, run, _dates())


def compare(table: Any) -> None:
    """One table: AUC and CPU seconds of each."""
    task = ChurnTask(HORIZON)
    schema = feature_schema(table.schema, without=LABELS)
    names = tuple(name for name, _ in schema)
    every = frame_of(table, schema, START, label=task.label, max_rows=10**12)
    test = every.of((LAST_DAY - timedelta(days=HORIZON),))
    rows = []
    started = time.process_time()
    sample = frame_of(table, schema, START, label=task.label, max_rows=MAX_ROWS)
    trained = train(task, sample, None, schema, as_of=LAST_DAY, seed=1)
    ours = time.process_time() - started
    model = trained.tested.model if trained.tested else None
    rows.append(_row(f"ours ({trained.card['chosen']}), {len(sample):,} client-dates", test, task, model.link, ours))
    learned = every.of(tuple(date.fromisoformat(day) for day in trained.card["cuts"]["development"]))
    started = time.process_time()
    trees = HistGradientBoostingClassifier(max_iter=150, max_leaf_nodes=31, early_stopping=False, random_state=1)
    told = ~np.isnan(learned.X).all(axis=0)  # generated sales have no campaigns
    trees.fit(learned.X[:, told], task.truth(learned.label))
    full = time.process_time() - started
    name = f"boosting, {len(learned):,} client-dates"
    rows.append(_row(name, test, task, lambda rows: trees.decision_function(rows[:, told]), full))
    rows.append(_row("the true model", test, task, lambda rows: -_true_chance(names, rows), 0.0))
    gap = rows[2][1] - rows[0][1]
    say_table(["rule", "auc", "CPU s"], [[name, f"{value:.4f}", f"{cost:.1f}"] for name, value, cost in rows])
    say(f"\nGap to the true model {gap:.4f}; CPU {ours / full:.2f} of the full fit's.")


def _row(name: str, test: Frame, task: Any, score: Any, seconds: float) -> tuple[str, float, float]:
    return name, auc(task.truth(test.label), score(test.X)), seconds


def _true_chance(names: tuple[str, ...], clients: Any) -> Any:
    """P(X >= 1) by the parameters of the generator, on x, t_x and T in days."""
    days, age, recency = (
        clients[:, names.index(n)] for n in ("order_days_total", "days_since_first_order", "recency_days")
    )
    x = days - 1
    histories = np.column_stack([x, np.where(x > 0, age - recency, 0.0), age])
    return BetaGeoNBD().with_parameters(**TRUTH).p_any(histories, float(HORIZON))


if __name__ == "__main__":
    main()
