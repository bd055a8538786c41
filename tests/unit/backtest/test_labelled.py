"""Contractual churn: what is read as what, honest figures, money, and columns that give all away."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import beta

from perennial.contracts.backtests import Benefit, DataSet, read_dataset
from perennial.core.errors import ConfigError
from perennial.pipeline.backtesting.labelled import read_labelled
from perennial.pipeline.backtesting.reading import Place
from perennial.scoring.profit import cost_of, empc, least_risk, savings
from perennial.scoring.protocols import Labelled
from perennial.scoring.protocols.labelled import run
from perennial.scoring.threads import one_thread

HEADER = ("id", "plan", "calls", "joined", "paid", "same", "left", "loss")


def _clients(count=600, seed=5):
    random = np.random.default_rng(seed)
    calls, plan = random.poisson(2, count), random.choice(["basic", "pro", "?"], count, p=[0.6, 0.35, 0.05])
    chance = 1 / (1 + np.exp(2.2 - 0.5 * calls - 0.8 * (plan == "basic")))
    left = random.random(count) < chance
    paid = np.where(random.random(count) < 0.1, "", np.round(random.gamma(2, 30, count), 2).astype(str))
    return [
        (
            1000 + i,
            plan[i],
            calls[i],
            f"2019-{1 + i % 12:02}-03",
            paid[i],
            "EUR",
            "yes" if left[i] else "no",
            20 + i % 7,
        )
        for i in range(count)
    ]


@pytest.fixture
def labelled(bench):
    def read(rows=None, **values):
        bench.file("a.csv", rows or _clients(), header=HEADER)
        path = bench.yaml(kind="labelled", file="a.csv", columns={"label": "left"}, **values)
        return read_labelled(read_dataset(path), Place(path), bench.folder, bench.folder / "scratch")

    return read


def _made(count=1500, seed=0, **changes):
    random = np.random.default_rng(seed)
    features = pd.DataFrame({"a": random.normal(size=count), "b": random.normal(size=count)})
    features["c"] = pd.Categorical(random.choice(["x", "y", "z"], count))
    label = (random.random(count) < 1 / (1 + np.exp(-1.5 * features["a"].to_numpy()))).astype(float)
    dataset = DataSet.model_validate({"name": "m", "kind": "labelled", "files": "a", "columns": {"label": "l"}})
    made = Labelled(dataset, features, label, categorical=("c",), task="churn")
    return replace(made, **changes)


def _figures(judged, rule="model"):
    return next(row.figures for row in judged.rows if row.rule == rule)


def test_columns_are_read_by_what_they_hold_and_ids_and_constants_are_left_out_and_told(labelled):
    data, counts = labelled()
    assert list(data.features.columns) == ["plan", "calls", "joined", "paid", "loss"]
    assert data.categorical == ("plan",)
    assert data.features["plan"].isna().sum() > 0
    assert data.features["paid"].isna().sum() > 0
    assert set(data.label) == {0.0, 1.0}
    assert str(counts["events"]).endswith("left = yes")
    assert [text.split(",")[0] for text in data.sentences] == ["left out: id", "left out: same"]


@pytest.mark.parametrize(
    ("words", "extra", "event"),
    [
        (("0", "1"), {}, "1"),
        (("False.", "True."), {}, "True."),
        (("Existing Customer", "Attrited Customer"), {}, "Attrited Customer"),
        (("stay", "go"), {"positive": "go"}, "go"),
        (("good", "bad"), {}, None),
        (("a", "b", "c"), {}, None),
    ],
)
def test_the_event_is_found_or_asked_for(labelled, words, extra, event):
    rows = [(*row[:6], words[i % len(words)], row[7]) for i, row in enumerate(_clients(60))]
    if event is None:
        with pytest.raises(ConfigError, match="say positive"):
            labelled(rows, **extra)
        return
    data, counts = labelled(rows, **extra)
    assert data.label.tolist() == [float(row[6] == event) for row in rows]
    assert str(counts["events"]).endswith(f"left = {event}")


def test_L22_values_of_a_column_that_is_no_label_stand_in_no_message(labelled):
    with pytest.raises(ConfigError, match="60 different values") as error:
        labelled([(*row[:6], f"ada{i}@home.example", row[7]) for i, row in enumerate(_clients(60))])
    assert "ada" not in str(error.value)


def test_duplicates_of_labelled_rows_go_and_the_order_stays(labelled):
    rows = _clients(50)
    data, counts = labelled([*rows, *rows[::-1]], drop_exact_duplicates=True)
    assert counts["clients"] == 50
    assert data.features["calls"].tolist() == [row[2] for row in rows]


def test_the_model_ranks_and_is_calibrated_and_stands_beside_its_baselines():
    with one_thread():
        judged = run(_made())
    model, base = _figures(judged), _figures(judged, "base rate")
    assert model["auc"] > 0.75
    assert model["mean_predicted"] == pytest.approx(model["base_rate"], abs=0.02)
    assert model["brier"] < base["brier"]
    assert (base["auc"], base["lift_top_decile"]) == (0.5, 1.0)
    assert {row.rule for row in judged.rows} == {"model", "logistic", "boosting", "best single column", "base rate"}
    assert sum(row.is_model for row in judged.rows) == 1


def test_shuffled_labels_give_an_auc_of_one_half():
    data = _made(4000)
    mixed = np.random.default_rng(9).permutation(data.label)
    with one_thread():
        assert _figures(run(replace(data, label=mixed)))["auc"] == pytest.approx(0.5, abs=0.03)


def test_equal_data_give_equal_figures():
    with one_thread():
        first, second = run(_made(300)), run(_made(300))
    assert [row.figures for row in first.rows] == [row.figures for row in second.rows]


def test_a_column_that_gives_all_away_is_told_and_the_model_is_shown_without_it():
    data = _made(400)
    given = data.features.assign(reason=np.where(data.label > 0, 7.0, np.random.default_rng(1).normal(size=400)))
    with one_thread():
        judged = run(replace(data, features=given))
    assert any(text.startswith("reason alone gives an AUC of") for text in judged.sentences)
    assert _figures(judged)["auc"] > 0.99
    assert _figures(judged, "model without those")["auc"] < 0.9


def test_in_order_of_time_the_last_part_is_judged_by_the_first():
    data = _made(1000)
    dataset = data.dataset.model_copy(update={"split": "time", "train_share": 0.7})
    with one_thread():
        judged = run(replace(data, dataset=dataset, task="response"))
    assert {row.n for row in judged.rows} == {300}
    assert "empc" not in _figures(judged)


@pytest.mark.parametrize("events", [0, 5])
def test_too_few_events_are_a_sentence(events):
    data = _made(300)
    judged = run(replace(data, label=np.arange(300.0) < events))
    assert judged.rows == ()
    assert "at least 20 are needed" in judged.refused[0]


@pytest.mark.parametrize(
    "benefit", [Benefit(), Benefit(client_value=100, offer_cost=30, contact_cost=5, accept_alpha=2, accept_beta=3)]
)
@pytest.mark.parametrize(("signal", "digits"), [(1.0, None), (0.0, None), (2.0, 0)])
def test_empc_is_the_integral_of_the_best_profit(benefit, signal, digits):
    random = np.random.default_rng(4)
    truth = (random.random(400) < 0.2).astype(float)
    score = random.normal(size=400) + signal * truth
    score = score if digits is None else np.round(score, digits)
    cuts = np.unique(score)[::-1]
    churners = np.array([0.0, *((score >= cut) @ truth / truth.sum() for cut in cuts)])
    others = np.array([0.0, *((score >= cut) @ (1 - truth) / (1 - truth).sum() for cut in cuts)])
    share, value = truth.mean(), benefit.client_value
    accepted = (np.arange(4000) + 0.5) / 4000
    profit = (
        np.outer(accepted * (value - benefit.offer_cost) - benefit.contact_cost, share * churners)
        - (benefit.offer_cost + benefit.contact_cost) * (1 - share) * others
    ).max(axis=1)
    brute = np.mean(profit * beta.pdf(accepted, benefit.accept_alpha, benefit.accept_beta))
    assert empc(truth, score, benefit).per_client == pytest.approx(brute, rel=1e-4, abs=1e-5)


def test_contacts_by_least_risk_cost_no_more_than_any_other_choice_when_the_probability_is_right():
    random = np.random.default_rng(2)
    chance = random.random(3000)
    costs = {"cost_fp": random.gamma(2, 5, 3000), "cost_fn": random.gamma(2, 20, 3000), "cost_tp": np.full(3000, 3.0)}
    chosen = least_risk(chance, costs)
    mine = cost_of(chance, chosen, costs)  # the expected cost: chances for truths
    for other in (np.zeros(3000), np.ones(3000), (chance > 0.5).astype(float), 1 - chosen):
        assert mine <= cost_of(chance, other, costs)
    found = savings(chance, chosen, costs)
    assert found["savings_to_nobody"] > 0
    assert found["savings_to_everybody"] > 0


def test_savings_are_one_less_the_cost_over_that_of_nobody_and_of_everybody():
    truth, contacted = np.array([1.0, 1.0, 0.0, 0.0]), np.array([1.0, 0.0, 1.0, 0.0])
    costs = {"cost_tp": np.full(4, 2.0), "cost_fp": np.full(4, 2.0), "cost_fn": np.full(4, 10.0)}
    assert savings(truth, contacted, costs) == {
        "savings_to_nobody": pytest.approx(1 - 14 / 20),
        "savings_to_everybody": pytest.approx(1 - 14 / 8),
    }
