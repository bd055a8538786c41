"""Backtest of churn risk and value on Complete Journey, by the product's own chain: landing, raw, dbt, training.

    .perennial/env/bin/python tests/bench/bench_churn.py            # the cut of goals.md, 2017-09-04
    .perennial/env/bin/python tests/bench/bench_churn.py --year     # and later cuts, 2017-12-31 as the last known day

For a cut C the features are those of the day before it (everything that happened before C), the label is no basket in
the 28 days from C on, the clients are all households with a purchase before C. What is judged is what `train_if_due`
would have tested on the first day on which that label is known; its training labels end before C. Prints Markdown.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "plugins"))

from perennial.core.settings import Settings, load_settings  # noqa: E402 - the path comes first

HISTORY_START = date(2017, 1, 1)
CHURN_CUTS, VALUE_CUTS = (date(2017, 9, 4),), (date(2017, 7, 4),)
LATER_CHURN_CUTS = (date(2017, 10, 2), date(2017, 10, 30), date(2017, 11, 27))
LATER_VALUE_CUTS = (date(2017, 8, 4), date(2017, 9, 4), date(2017, 10, 3))
CHURN_COLUMNS = ("auc", "pr_auc", "lift_top_decile", "brier", "mean_predicted", "base_rate")
VALUE_COLUMNS = ("normalised_gini", "bias", "mae", "mean_predicted", "mean_actual")
CHUNK = 100_000
_SETTLED_SECONDS = 3


def say(line: str) -> None:
    """One line to the terminal."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Run the chain in a temporary home and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--year", action="store_true", help="also the later cuts, with history to 2017-12-31")
    parser.add_argument("--home", type=Path, help="a home folder to keep (default: a temporary one)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings({"PERENNIAL_HOME": str(arguments.home or folder)})
        until = date(2017, 12, 31) if arguments.year else date(2017, 10, 1)
        print_figures(settings, until, later=arguments.year)


def print_figures(settings: Settings, until: date, *, later: bool) -> None:
    """Build once, train per cut, print one table per score."""
    from perennial.pipeline.build import training_features
    from perennial.pipeline.scores import tasks_of

    run = _built(settings, until)
    tasks = {task.score: task for task in tasks_of(settings)}
    churn, value = tasks["churn_risk"], tasks["value_90d"]
    wanted = [
        (churn, CHURN_CUTS + (LATER_CHURN_CUTS if later else ()), CHURN_COLUMNS),
        (value, VALUE_CUTS + (LATER_VALUE_CUTS if later else ()), VALUE_COLUMNS),
    ]
    days = {day for task, cuts, _ in wanted for cut in cuts for day in _dates(settings, task, cut)}
    started = time.process_time()
    table = training_features(settings, run, sorted(days))
    say(f"{table.num_rows:,} client-dates of {len(days)} dates by dbt: {time.process_time() - started:.1f} CPU s\n")
    for task, cuts, columns in wanted:
        say(f"### {task.score}, {task.horizon_days} days\n")
        say("| cut | n | rule | " + " | ".join(columns) + " |")
        say("|---|---:|---|" + "---:|" * len(columns))
        for cut in cuts:
            trained = _trained(settings, table, task, cut)
            for line in _lines(task, cut, columns, trained):
                say(line)
        say("")
        say(_scoring_cost(settings, table, task, cuts[0], trained) + "\n")


def _built(settings: Settings, until: date) -> Any:
    from perennial.demo.shop import land_history
    from perennial.pipeline.build import build
    from perennial.pipeline.day import open_day
    from perennial.pipeline.ingest import ingest

    if not settings.raw.exists():
        land_history(settings.landing, until)
        time.sleep(_SETTLED_SECONDS)  # a file that changed just now is taken for unfinished
        ingest(settings)
    run = open_day(settings)
    if run is None:
        raise SystemExit("no day is complete: start with an empty home")
    build(settings, run)
    return run


def _as_of(task: Any, cut: date) -> date:
    """The first day on which the label of the cut is known."""
    return cut + timedelta(days=task.horizon_days - 1)


def _dates(settings: Settings, task: Any, cut: date) -> Sequence[date]:
    """The past dates of the training that is tested at the cut, and the day on which it is trained."""
    from perennial.scoring.cuts import training_dates

    scoring = settings.scoring
    dates = training_dates(
        _as_of(task, cut),
        HISTORY_START,
        horizon_days=task.horizon_days,
        cuts=scoring.training_cuts,
        step_days=scoring.cut_step_days,
    )
    return (*dates, _as_of(task, cut))


def _frame(settings: Settings, table: Any, task: Any, cut: date) -> tuple[Any, Any, Any]:
    """Labelled rows of the past dates, rows of the training day, and the features' schema."""
    from perennial.pipeline.scores import LABELS
    from perennial.scoring.features import feature_schema
    from perennial.scoring.frames import frame_of

    schema = feature_schema(table.schema, without=LABELS)
    rows = frame_of(table, schema, HISTORY_START, label=task.label)
    *past, today = _dates(settings, task, cut)
    return rows.of(tuple(past)), rows.of((today,)), schema


def _trained(settings: Settings, table: Any, task: Any, cut: date) -> tuple[Any, float]:
    """What training at the cut comes to, and its CPU seconds."""
    from perennial.scoring.training import train

    past, today, schema = _frame(settings, table, task, cut)
    started = time.process_time()
    trained = train(task, past, today, schema, as_of=_as_of(task, cut), seed=settings.scoring.seed)
    if "figures_at_test" not in trained.card:
        raise SystemExit(f"{task.score} at {cut}: {trained.refused}")
    return trained, time.process_time() - started


def _lines(task: Any, cut: date, columns: Sequence[str], made: tuple[Any, float]) -> Iterator[str]:
    trained, seconds = made
    card = trained.card
    clients = card["rows"][card["cuts"]["test"]]
    for rule, figures in card["figures_at_test"].items():
        shown = f"**{task.score}** ({card['chosen']}, {seconds:.1f} CPU s)" if rule == "model" else rule
        values = " | ".join(f"{figures[c]:+.1%}" if c == "bias" else f"{figures[c]:.4g}" for c in columns)
        yield f"| {cut} | {clients:,} | {shown} | {values} |"


def _scoring_cost(settings: Settings, table: Any, task: Any, cut: date, made: tuple[Any, float]) -> str:
    """CPU seconds of one chunk of 100,000 clients (the same ones, repeated): scores, then reasons."""
    import numpy as np

    from perennial.scoring.reasons import Explainer
    from perennial.scoring.threads import one_thread

    scorer = made[0].scorer
    matrix = np.resize(_frame(settings, table, task, cut)[1].X, (CHUNK, len(scorer.feature_names) + 1))
    with one_thread():
        started = time.process_time()
        scored = scorer.score(matrix)
        middle = time.process_time()
        Explainer(scorer, currency="USD").explain(matrix, scored)
        ended = time.process_time()
    features = len(scorer.feature_names)
    return (
        f"{CHUNK:,} clients x {features} features: scores {middle - started:.2f}, reasons {ended - middle:.1f} CPU s"
        f" ({made[0].card['chosen']})"
    )


if __name__ == "__main__":
    main()
