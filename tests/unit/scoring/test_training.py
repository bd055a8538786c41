"""Training: what it learns, what it must not see, and that equal rows give equal models."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from factories.client_behaviour import CHURN_LABEL, START, buy_and_stop, day, table
from perennial.scoring import store
from perennial.scoring.tasks import choose


def _with(rows, name, values):
    place = rows.column_names.index(name)
    return rows.set_column(place, name, pa.array(values))


def test_a_model_ranks_better_than_recency_and_no_worse_than_rfm_on_a_later_cut(churn):
    figures = churn.card["figures_at_test"]
    assert churn.refused is None
    assert figures["model"]["auc"] > figures["recency"]["auc"] + 0.01
    assert figures["model"]["auc"] > max(figures[n]["auc"] for n in ("rfm_values", "rfm_quintiles")) - 0.01


def test_predicted_lapses_are_as_many_as_there_were(churn):
    model = churn.card["figures_at_test"]["model"]
    assert model["mean_predicted"] == pytest.approx(model["base_rate"], abs=0.05)
    assert model["brier"] < model["base_rate"] * (1 - model["base_rate"])


def test_value_ranks_better_than_the_last_90_days_and_its_total_is_right(value):
    figures = value.card["figures_at_test"]
    assert value.refused is None
    assert figures["model"]["normalised_gini"] > figures["last_90_days"]["normalised_gini"]
    assert abs(figures["model"]["bias"]) < 0.15
    assert 0.65 < value.card["calibration"]["held_at_test"]["interval_80_held"] < 0.95


def test_L3_shuffled_labels_leave_nothing_to_rank_by(trainer):
    """On 4,000 clients AUC is .5 +- .03: nothing of the label is in the features."""
    rows = table(buy_and_stop(4000, seed=5), trainer.dates(trainer.churn))
    mixed = np.random.default_rng(9).permutation(rows.column(CHURN_LABEL).to_numpy())
    labelled, today, schema = trainer.frames(trainer.churn, _with(rows, CHURN_LABEL, mixed), rows)
    from perennial.scoring.training import train

    trained = train(trainer.churn, labelled, today, schema, as_of=trainer.as_of, seed=1)
    assert trained.card["figures_at_test"]["model"]["auc"] == pytest.approx(0.5, abs=0.03)


def test_L3_rows_whose_label_ends_after_today_change_nothing(labelled, churn, shop, trainer):
    rows, today = labelled
    future = table(shop, [trainer.as_of - timedelta(days=27), trainer.as_of, day(290)], value_days=60)
    again = trainer.train(trainer.churn, pa.concat_tables([rows, future]), today)
    assert store.artefact_bytes(again.scorer) == store.artefact_bytes(churn.scorer)
    assert again.card == churn.card


def test_L3_orders_of_the_future_change_no_feature_of_the_past(shop, trainer):
    known = shop.day <= 280
    past = type(shop)(shop.client[known], shop.day[known], shop.amount[known])
    cuts = trainer.dates(trainer.churn)
    assert (
        table(past, cuts, known_until=280)
        .drop_columns("revenue_next_value_horizon")
        .equals(table(shop, cuts, known_until=280).drop_columns("revenue_next_value_horizon"))
    )


def test_L2_the_order_of_rows_changes_no_byte(labelled, churn, trainer):
    rows, today = labelled
    mixed = rows.take(pa.array(np.random.default_rng(4).permutation(rows.num_rows)))
    again = trainer.train(trainer.churn, mixed, today)
    assert store.artefact_bytes(again.scorer) == store.artefact_bytes(churn.scorer)
    assert again.card == churn.card


_IN_A_PROCESS = """
import sys
sys.path[:0] = [{plugins!r}, {tests!r}]
import pyarrow as pa
from factories.client_behaviour import buy_and_stop, day, table
from perennial.scoring import store
from perennial.scoring.features import feature_schema
from perennial.scoring.frames import frame_of
from perennial.scoring.scorer import Scorer
from perennial.scoring.tasks import ChurnTask, ValueTask
from perennial.scoring.threads import one_thread
start = day(0)
shop = buy_and_stop(300, seed=2)
rows = table(shop, [day(100), day(160)])
schema = feature_schema(rows.schema, without=("bought_next_churn_horizon", "revenue_next_value_horizon"))
names = tuple(n for n, _ in schema)
for task in (ChurnTask(28), ValueTask(90)):
    frame = frame_of(rows, schema, start, label=task.label)
    with one_thread():  # as training does
        model = task.new_model(names, "blend", 3).fit(frame.X, task.truth(frame.label))
        model.calibrate(model.raw(frame.X), task.truth(frame.label))
    print(store.digest(store.artefact_bytes(Scorer(model, names, {{"a": 1.0}}, is_probability=task.is_probability))))
"""


def test_L2_other_processes_threads_and_hash_seeds_give_the_same_bytes():
    root = Path(__file__).resolve().parents[3]
    script = _IN_A_PROCESS.format(plugins=str(root / "plugins"), tests=str(root / "tests"))
    seen = set()
    for seed, threads in (("1", "1"), ("77", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": threads}
        done = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert len(done.stdout.split()) == 2
        seen.add(done.stdout)
    assert len(seen) == 1


def test_the_card_says_what_was_done_with_which_rows(churn, trainer):
    card = churn.card
    assert card["cuts"]["test"] == (trainer.as_of - timedelta(days=28)).isoformat()
    assert set(card["rows"]) == set(card["cuts"]["final"])
    assert [f["name"] for f in card["features"]] == list(churn.scorer.feature_names)
    assert set(card["selection"]["candidates"]) == {"linear", "boosting", "blend"}
    assert card["chosen"] in card["selection"]["candidates"]
    assert set(card["bins"]) == set(churn.scorer.feature_names)
    assert {"seed", "versions", "horizon_days", "data_needs", "calibration", "verdict"} <= set(card)


def test_among_equals_the_preferred_candidate_is_chosen():
    assert choose({"linear": 0.8020, "boosting": 0.8004, "blend": 0.8000}) == "blend"
    assert choose({"linear": 0.8100, "boosting": 0.8110, "blend": 0.8000}) == "linear"
    assert choose({"blend": float("nan"), "boosting": 0.7, "linear": 0.6}) == "boosting"
    assert (
        choose({"btyd": 0.80, "two_stage": 0.795, "blend": 0.78}, ("blend", "two_stage", "btyd"), 0.01) == "two_stage"
    )


def _reversing(trainer, *, reversal):
    """Rows in which spend tells lapses exactly until the test cut, and (with `reversal`) the other way round at it."""
    cuts, random = trainer.dates(trainer.churn), np.random.default_rng(6)
    parts = []
    for cut in cuts:
        count = 400
        lapsed = random.random(count) < 0.4
        sign = -1.0 if reversal and cut == cuts[-1] else 1.0
        parts.append(
            pa.table(
                {
                    "client_id": [f"c{i}" for i in range(count)],
                    "as_of_date": pa.array([cut] * count, pa.date32()),
                    "recency_days": np.round(lapsed * 10 + random.random(count) * 40),
                    "orders_total": 5 + random.integers(0, 3, count).astype(float),
                    "revenue_total": 5000 * (1 + sign * np.where(lapsed, -0.5, 0.5)) + random.random(count),
                    "clicks": 100 * (1 + sign * np.where(lapsed, -0.5, 0.5)),
                    CHURN_LABEL: (~lapsed).astype(float),
                }
            )
        )
    return pa.concat_tables(parts)


def test_a_model_worse_than_its_baseline_is_refused_with_the_sentence_why(trainer):
    rows = _reversing(trainer, reversal=True)
    refused = trainer.train(trainer.churn, rows, rows)
    assert refused.scorer is not None
    assert refused.refused is not None
    assert "below" in refused.refused
    assert "baseline recency" in refused.refused
    assert refused.card["verdict"] == {"status": "refused", "reason": refused.refused}


def test_the_same_rows_without_the_reversal_are_promoted(trainer):
    rows = _reversing(trainer, reversal=False)
    assert trainer.train(trainer.churn, rows, rows).refused is None


def test_history_without_room_for_a_second_cut_out_of_time_chooses_by_folds_of_clients(trainer):
    short = trainer.of_shop(trainer.churn, buy_and_stop(900, days=120, seed=8), as_of=day(100))
    assert short.card["cuts"]["validation"] is None
    assert short.card["selection"]["by"] == "5 folds of clients"
    assert short.scorer is not None
    assert date.fromisoformat(short.card["cuts"]["test"]) > START
