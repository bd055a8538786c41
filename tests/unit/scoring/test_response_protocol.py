"""The protocol of randomised campaigns: effects, learners beside a response model, refusals, curves."""

from __future__ import annotations

import numpy as np
import pandas as pd

from perennial.contracts.backtests import DataSet
from perennial.scoring.protocols import Labelled
from perennial.scoring.protocols.response import matrix_of, run

DATASET = {
    "name": "drawn",
    "kind": "labelled",
    "file": "drawn.csv",
    "columns": {"treatment": "arm"},
    "control": "nobody",
    "outcomes": ["visit", {"column": "spend", "kind": "amount"}],
}


def drawn(clients: int, *, moves: float, shares=(0.5, 0.5)) -> Labelled:
    random = np.random.default_rng(4)
    kind = random.choice(["new", "old"], clients)
    mail = random.random(clients) < shares[1]
    visit = random.random(clients) < 0.15 + moves * mail * (kind == "new")
    features = pd.DataFrame({"kind": pd.Categorical(kind), "spent": random.normal(size=clients)})
    outcomes = {"visit": visit.astype(float), "spend": visit * 10.0}
    arms = np.where(mail, "mail", "nobody")
    return Labelled(DataSet.model_validate(DATASET), features, None, treatment=arms, outcomes=outcomes)


def test_a_campaign_that_changes_some_is_told_with_effects_learners_baseline_and_curves():
    judged = run(drawn(3000, moves=0.3))
    by_rule = {(row.cut, row.rule): row.figures for row in judged.rows}
    assert 12 < by_rule["mail, visit", "average effect"]["effect"] < 18
    assert set(by_rule["mail, spend", "average effect"]) == {"effect", "error", "p"}
    model = next(row for row in judged.rows if row.chosen)
    assert model.figures["qini"] > by_rule["mail, visit", "response"]["qini"]
    assert judged.refused == ()
    assert any("separated from random" in sentence for sentence in judged.sentences)
    qini = judged.curves[0].lines
    assert set(qini) == {model.rule, "response", "chance"}
    assert qini["chance"][1][-1] == qini[model.rule][1][-1]
    assert set(by_rule["mail, visit", "response"]) <= set(judged.definitions)


def test_a_campaign_that_changes_all_alike_is_refused_in_words():
    judged = run(drawn(1500, moves=0.0))
    assert ["not separated from random" in sentence for sentence in judged.refused] == [True]


def test_arms_that_were_not_drawn_alike_are_refused_before_any_effect_is_read_l8():
    judged = run(drawn(2000, moves=0.3, shares=(0.4, 0.6)))
    assert judged.rows == ()
    assert "broken (L8)" in judged.refused[0]


def test_data_without_a_control_or_with_too_few_events_are_a_sentence():
    data = drawn(60, moves=0.0)
    assert "at least 20 are needed" in run(data).refused[0]
    nobody = Labelled(data.dataset, data.features, None, treatment=np.full(60, "mail"), outcomes=data.outcomes)
    assert "is none of the arms" in run(nobody).refused[0]
    assert "no column of arms" in run(Labelled(data.dataset, data.features, None)).refused[0]


def test_words_become_columns_and_unknown_numbers_stay_unknown():
    frame = pd.DataFrame({"kind": pd.Categorical(["a", "b", None]), "spent": [1.0, np.nan, 2.0]})
    matrix = matrix_of(frame)
    assert matrix.shape == (3, 3)
    assert np.isnan(matrix).sum() == 1
