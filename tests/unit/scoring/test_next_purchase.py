"""When a client buys next: the hazard model against known distributions, its verdict and leaks; renewal by category."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from factories.client_behaviour import CHURN_LABEL, START, VALUE_LABEL, table
from perennial.contracts.next_steps import CLIENT_NEXT_PURCHASES
from perennial.scoring import store
from perennial.scoring.features import feature_schema
from perennial.scoring.frames import frame_of
from perennial.scoring.next_purchase.hazard import BEYOND, NextPurchaseModel
from perennial.scoring.next_purchase.renewal import next_purchases, renewal
from perennial.scoring.next_purchase.training import NextPurchaseTask, train_next_purchase

TASK = NextPurchaseTask(28)
NAMES = ("recency_days", "gap_days_median")


def label(shop, rows, horizon=28) -> np.ndarray:
    """Days from each row's date to the client's next order in the shop; horizon + 1 for none within it."""
    found = []
    for client, day in zip(rows.column("client_id").to_pylist(), rows.column("as_of_date").to_pylist(), strict=True):
        days = shop.day[shop.client == int(client[1:])] - (day - START).days
        later = days[(days > 0) & (days <= horizon)]
        found.append(later.min() if len(later) else horizon + 1)
    return np.asarray(found, dtype=np.float64)


@pytest.fixture(scope="module")
def frames(shop, trainer):
    rows = table(shop, trainer.dates(trainer.churn), value_days=60)
    schema = feature_schema(rows.schema, without=(CHURN_LABEL, VALUE_LABEL))
    rows = rows.append_column(TASK.label, pa.array(label(shop, rows)))
    today = table(shop, [trainer.as_of], value_days=60, known_until=280)
    return frame_of(rows, schema, START, label=TASK.label), frame_of(today, schema, START), schema


@pytest.fixture(scope="module")
def trained(frames, trainer):
    rows, today, schema = frames
    return train_next_purchase(TASK, rows, today, schema, as_of=trainer.as_of, seed=1)


def test_the_model_beats_the_training_median_and_its_interval_holds_about_four_fifths(trained):
    figures = trained.card["figures_at_test"]
    assert trained.refused is None
    assert figures["model"]["mae_days"] < figures["training_median"]["mae_days"]
    assert figures["model"]["mae_days"] < figures["usual_gap_minus_recency"]["mae_days"]
    assert figures["model"]["interval_80_held"] == pytest.approx(0.85, abs=0.1)  # whole days hold a little more


def test_every_client_with_an_order_gets_days_inside_their_interval(trained, frames):
    scored = trained.scorer.score(frames[1].X)
    assert scored.given.all()
    assert (scored.low <= scored.value).all()
    assert (scored.value <= scored.high).all()
    assert (scored.high <= BEYOND).all()
    assert (scored.low >= 0).all()


def test_a_client_without_an_order_has_no_day(trained, frames):
    rows = frames[1].X[:2].copy()
    rows[0, [name for name, _ in frames[2]].index("recency_days")] = np.nan
    assert trained.scorer.score(rows).given.tolist() == [False, True]


def test_L2_equal_rows_give_an_equal_artefact_and_it_survives_the_store(trained, frames, trainer, tmp_path):
    rows, today, schema = frames
    again = train_next_purchase(TASK, rows, today, schema, as_of=trainer.as_of, seed=1)
    content = store.artefact_bytes(trained.scorer)
    assert store.artefact_bytes(again.scorer) == content
    path = store.save(tmp_path, f"next-{store.digest(content)}.skops", content)
    np.testing.assert_array_equal(store.load(path).score(today.X).value, trained.scorer.score(today.X).value)


def test_rows_whose_label_ends_after_the_day_change_nothing(trained, frames, trainer):
    rows, _, schema = frames
    late = rows.of((max(rows.cuts.astype("datetime64[D]").tolist()),))
    days = np.array([trainer.as_of - timedelta(days=5)] * len(late), dtype="datetime64[D]")
    late = replace(late, cuts=days, label=np.ones(len(late)))
    joined = type(rows)(
        *(np.concatenate([getattr(f, n) for f in (rows, late)]) for n in ("clients", "cuts", "X", "label"))
    )
    again = train_next_purchase(TASK, joined, None, schema, as_of=trainer.as_of, seed=1)
    assert again.card["figures_at_test"] == trained.card["figures_at_test"]
    assert again.card["rows"] == trained.card["rows"]


def test_shuffled_labels_are_refused_or_no_better_than_chance(frames, trainer):
    rows, _, schema = frames
    shuffled = replace(rows, label=np.random.default_rng(4).permutation(rows.label))
    made = train_next_purchase(TASK, shuffled, None, schema, as_of=trainer.as_of, seed=1)
    assert made.refused is None or "training median" in made.refused
    assert made.card["figures_at_test"]["model"]["skill"] < 0.03


@pytest.mark.parametrize("most", [0, 40])
def test_few_clients_are_refused_with_the_reason(frames, trainer, most):
    rows, today, schema = frames
    few = rows.at(np.isin(rows.clients, sorted(set(rows.clients))[:most]))
    made = train_next_purchase(TASK, few, today, schema, as_of=trainer.as_of, seed=1)
    assert made.scorer is None
    assert "are needed" in made.refused


@pytest.fixture(scope="module")
def exponential():
    """A model of clients who all buy at 0.05 a day, whatever they did."""
    random = np.random.default_rng(2)
    rows = np.column_stack([random.integers(0, 60, 4000), random.integers(1, 40, 4000), np.full(4000, 300.0)]).astype(
        float
    )
    days = np.minimum(np.ceil(random.exponential(20, 4000)), 41)
    return NextPurchaseModel(NAMES, "blend", 40).fit(rows, days), rows, days


def test_a_constant_pace_gives_the_exponential_distribution_within_and_beyond_the_horizon(exponential):
    model, rows, _ = exponential
    curves = model.curves(rows[:500])
    for level in (0.2, 0.5, 0.8, 0.95):  # the horizon of 40 days holds 86 %
        exact = stats.expon(scale=20).ppf(level)
        assert np.median(model.quantile(curves, level)) == pytest.approx(exact, rel=0.12)
    assert (np.diff(curves, axis=1) >= 0).all()


def test_share_until_is_the_inverse_of_the_quantile(exponential):
    model, rows, _ = exponential
    curves = model.curves(rows[:50])
    days = model.quantile(curves, 0.4)
    np.testing.assert_allclose(model.share_until(curves, days + 0.5), 0.4, atol=1e-9)


def test_nobody_bought_is_an_error_that_says_so():
    with pytest.raises(ValueError, match="nobody bought"):
        NextPurchaseModel(NAMES, "linear", 28).fit(np.ones((5, 3)), np.full(5, 29.0))


PRIOR = (np.log(10.0), 0.5)


def of_renewal(gaps, mean, sd, silent, prior=PRIOR):
    arrays = [np.atleast_1d(np.asarray(v, dtype=float)) for v in (gaps, mean, sd, silent)]
    ones = np.ones(len(arrays[0]))
    return renewal(*arrays, (prior[0] * ones, prior[1] * ones))


def test_a_client_with_very_many_gaps_has_their_own_gamma_distribution():
    found = of_renewal(1e9, 20.0, 10.0, 0.0)
    exact = stats.gamma(4, scale=5).ppf([0.1, 0.5, 0.9])
    np.testing.assert_allclose([found.low[0], found.median[0], found.high[0]], exact, rtol=1e-6)


def test_silence_is_conditioned_on_and_a_late_client_is_not_due_in_no_days():
    late = of_renewal(1e9, 20.0, 10.0, 25.0)
    tail = stats.gamma(4, scale=5)
    exact = tail.isf(tail.sf(25) * 0.5) - 25
    assert late.median[0] == pytest.approx(exact)
    assert late.median[0] < of_renewal(1e9, 20.0, 10.0, 0.0).median[0]
    assert late.low[0] >= 1


def test_few_gaps_are_pulled_to_the_line_and_a_line_left_long_ago_has_no_day():
    few, many = of_renewal(2, 40.0, 5.0, 0.0), of_renewal(200, 40.0, 5.0, 0.0)
    assert few.median[0] < many.median[0]
    assert np.isnan(of_renewal(50, 10.0, 2.0, 300.0).median[0])


def test_rows_of_next_purchases_take_a_term_for_what_it_is_and_leave_out_lines_no_longer_bought():
    batch = pa.RecordBatch.from_pylist(
        [
            {
                "client_id": name,
                "category": "MILK",
                "gaps": 20.0,
                "mean_gap": 7.0,
                "sd_gap": 2.0,
                "silent": silent,
                "term_days": term,
            }
            for name, silent, term in (("a", 3.0, None), ("b", 400.0, None), ("c", 3.0, 30.0))
        ],
        schema=pa.schema(
            [("client_id", pa.string()), ("category", pa.string())]
            + [(n, pa.float64()) for n in ("gaps", "mean_gap", "sd_gap", "silent", "term_days")]
        ),
    )
    batch = batch.append_column("as_of_date", pa.array([START] * 3, pa.date32()))
    priors = pa.table({"category": ["MILK"], "log_gap": [np.log(7.0)], "cv": [0.3]})
    rows = next_purchases(batch, priors, CLIENT_NEXT_PURCHASES).to_pylist()
    assert [row["client_id"] for row in rows] == ["a", "c"]
    assert rows[0]["low"] < rows[0]["days"] < rows[0]["high"] < 7
    assert (rows[1]["days"], rows[1]["low"]) == (30.0, None)
