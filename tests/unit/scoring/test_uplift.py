"""Response (uplift): curves by hand, learners on a drawn world, shapes, refusals; and the Hillstrom test itself."""

from __future__ import annotations

import csv
import gzip

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from perennial.scoring.store import artefact_bytes
from perennial.scoring.uplift.arms import average_effect, sample_ratio_p
from perennial.scoring.uplift.curves import (
    auuc,
    perfect_score,
    qini_coefficient,
    qini_curve,
    uplift_by_decile,
    uplift_curve,
)
from perennial.scoring.uplift.learners import ClassTransformation, Interaction, ResponseModel, TwoModel
from perennial.scoring.uplift.separation import repeat_halves
from reference import reference

LEARNERS = [TwoModel(), ClassTransformation(), Interaction(), TwoModel("boosting"), Interaction("boosting")]


def world(clients: int, *, share: float = 0.5, seed: int = 1, moves: float = 0.25):
    """Clients with two columns: the first says who answers anyway, the second whom a contact changes (by `moves`)."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(clients, 2))
    treatment = (random.random(clients) < share).astype(float)
    effect = moves * (x[:, 1] > 0)
    chance = 0.1 + 0.15 * (x[:, 0] > 0) + effect * treatment
    return x, (random.random(clients) < chance).astype(float), treatment, effect


def by_hand_qini(outcome, score, treatment):
    """Radcliffe's curve, client by client, for scores without ties."""
    gains = [0.0]
    for k in range(1, len(score) + 1):
        first = np.argsort(-score, kind="stable")[:k]
        treated, control = first[treatment[first] == 1], first[treatment[first] == 0]
        scaled = outcome[control].sum() * len(treated) / len(control) if len(control) else 0.0
        gains.append(outcome[treated].sum() - scaled)
    return np.array(gains)


def test_qini_curve_is_the_one_counted_client_by_client():
    _, outcome, treatment, _ = world(60)
    score = np.random.default_rng(5).permutation(60).astype(float)
    curve = qini_curve(outcome, score, treatment)
    assert_allclose(curve.gain, by_hand_qini(outcome, score, treatment))
    assert_allclose(curve.clients, np.arange(61))


def test_clients_of_an_equal_score_enter_the_curve_together_in_whatever_order_they_come():
    _, outcome, treatment, _ = world(400)
    score = np.random.default_rng(5).integers(0, 7, 400).astype(float)
    shuffled = np.random.default_rng(6).permutation(400)
    curve = qini_curve(outcome, score, treatment)
    again = qini_curve(outcome[shuffled], score[shuffled], treatment[shuffled])
    assert len(curve.gain) == 8
    assert_allclose(again.gain, curve.gain)
    assert qini_coefficient(outcome, np.zeros(400), treatment) == 0.0


def test_the_perfect_order_has_coefficient_one_and_its_reverse_is_below_chance():
    _, outcome, treatment, _ = world(500)
    perfect = perfect_score(outcome, treatment)
    assert_allclose(qini_coefficient(outcome, perfect, treatment), 1.0)
    assert qini_coefficient(outcome, -perfect, treatment) < -0.5


def test_all_curves_end_at_the_average_effect():
    _, outcome, treatment, _ = world(3000)
    score = np.random.default_rng(2).normal(size=3000)
    effect = average_effect(outcome, treatment)
    assert_allclose(uplift_curve(outcome, score, treatment).gain[-1], effect.difference * 3000)
    assert_allclose(qini_curve(outcome, score, treatment).gain[-1], effect.difference * effect.treated)
    assert_allclose(auuc(outcome, np.zeros(3000), treatment), effect.difference / 2)


def test_tenths_add_up_to_all_clients_and_their_intervals_hold_the_true_effect():
    x, outcome, treatment, effect = world(60_000)
    tenths = uplift_by_decile(outcome, x[:, 1], treatment)
    truth = [part.mean() for part in np.array_split(effect[np.argsort(-x[:, 1], kind="stable")], 10)]
    assert sum(tenth.clients for tenth in tenths) == 60_000
    assert sum(tenth.treated for tenth in tenths) == int(treatment.sum())
    held = [tenth.low <= value <= tenth.high for tenth, value in zip(tenths, truth, strict=True)]
    assert sum(held) >= 8
    assert tenths[0].effect > 0.2
    assert tenths[-1].effect < 0.05


def test_a_tenth_without_one_of_the_arms_has_no_effect_rather_than_a_wrong_one():
    treatment = np.repeat([1.0, 0.0], 50)
    tenths = uplift_by_decile(np.tile([0.0, 1.0], 50), treatment, treatment)
    assert all(np.isnan([tenth.effect, tenth.low, tenth.high]).all() for tenth in tenths)


@pytest.mark.parametrize("learner", LEARNERS, ids=lambda learner: f"{type(learner).__name__}-{learner.base}")
def test_each_learner_finds_whom_a_contact_changes(learner):
    x, outcome, treatment, effect = world(12_000)
    found = clone(learner).fit(x[:8000], outcome[:8000], treatment[:8000]).predict_uplift(x[8000:])
    asked = effect[8000:]
    assert found[asked > 0].mean() - found[asked == 0].mean() > 0.1
    assert abs(found.mean() - asked.mean()) < 0.04
    responders = ResponseModel().fit(x[:8000], outcome[:8000], treatment[:8000]).predict_uplift(x[8000:])
    later = outcome[8000:], treatment[8000:]
    assert qini_coefficient(later[0], found, later[1]) > qini_coefficient(later[0], responders, later[1]) + 0.05


@pytest.mark.parametrize("share", [0.1, 0.8])
def test_class_transformation_is_level_where_arms_are_unequal(share):
    x, outcome, treatment, effect = world(30_000, share=share)
    found = ClassTransformation().fit(x, outcome, treatment).predict_uplift(x)
    assert abs(found.mean() - effect.mean()) < 0.03
    by_row = ClassTransformation().fit(x, outcome, treatment, np.full(len(x), share)).predict_uplift(x)
    assert_allclose(by_row, found, atol=0.03)


def test_a_learner_is_cloned_with_its_hyper_parameters_and_equal_rows_give_equal_bytes_l2():
    x, outcome, treatment, _ = world(2000)
    learner = clone(ClassTransformation("boosting", propensity=0.5, seed=3))
    assert learner.get_params()["propensity"] == 0.5
    first, second = (artefact_bytes(clone(learner).fit(x, outcome, treatment)) for _ in range(2))
    assert first == second


def test_shapes_that_do_not_fit_are_refused_with_a_sentence():
    x, outcome, treatment, _ = world(100)
    wrong = [
        (x, outcome[:99], treatment, "as long"),
        (x[:99], outcome, treatment, "100 rows"),
        (x, outcome, np.ones(100), "one arm only"),
        (x, outcome, treatment + 1, "1 \\(assigned"),
        (x, np.full(100, np.nan), treatment, "not finite"),
        (x, outcome * 2, treatment, "0 or 1"),
        (x, treatment, treatment, "one outcome only"),
        (x, outcome[:, None], treatment, "one dimension"),
    ]
    for columns, y, arm, sentence in wrong:
        with pytest.raises(ValueError, match=sentence):
            TwoModel().fit(columns, y, arm)
    fitted = TwoModel().fit(x, outcome, treatment)
    with pytest.raises(ValueError, match="2 columns"):
        fitted.predict_uplift(x[:, :1])
    with pytest.raises(ValueError, match="a score is not finite"):
        qini_coefficient(outcome, np.full(100, np.nan), treatment)
    with pytest.raises(ValueError, match="a propensity"):
        ClassTransformation().fit(x, outcome, treatment, np.ones(100))


def test_unknown_values_are_filled_from_the_rows_that_were_learned_from():
    x, outcome, treatment, _ = world(4000)
    x[::3, 0] = np.nan
    for learner in LEARNERS:
        assert np.isfinite(clone(learner).fit(x, outcome, treatment).predict_uplift(x)).all()


def test_a_world_where_nobody_is_changed_more_than_another_is_refused_and_a_real_one_is_not():
    x, outcome, treatment, _ = world(6000, moves=0.0)
    nothing = repeat_halves({"two": TwoModel()}, x, outcome, treatment, seeds=range(4))["two"]
    assert not nothing.separated
    assert "not separated from random" in str(nothing.sentence)
    x, outcome, treatment, _ = world(6000)
    something = repeat_halves({"two": TwoModel()}, x, outcome, treatment, seeds=range(4))["two"]
    assert something.separated
    assert something.sentence is None


# --- Hillstrom's e-mail test, 64,000 clients, two weeks


@pytest.fixture(scope="module")
def hillstrom():
    with gzip.open(reference("data/hillstrom/hillstrom.csv.gz"), "rt") as file:
        rows = list(csv.DictReader(file))
    numbers = {
        name: np.array([float(row[name]) for row in rows])
        for name in ("recency", "history", "mens", "womens", "newbie", "visit", "conversion", "spend")
    }
    words = {name: np.array([row[name] for row in rows]) for name in ("zip_code", "channel", "segment")}
    columns = [numbers[name] for name in ("recency", "history", "mens", "womens", "newbie")]
    dummies = [words[name] == value for name in ("zip_code", "channel") for value in np.unique(words[name])]
    return np.column_stack([*columns, *dummies]).astype(float), numbers, words["segment"]


def against_nobody(hillstrom, arm, outcome):
    x, numbers, segment = hillstrom
    inside = np.isin(segment, [arm, "No E-Mail"])
    return x[inside], numbers[outcome][inside], (segment[inside] == arm).astype(float)


@pytest.mark.parametrize(
    ("arm", "outcome", "effect", "error", "digits"),
    [
        ("Mens E-Mail", "visit", 7.659, 0.339, 3),
        ("Womens E-Mail", "visit", 4.523, 0.323, 3),
        ("Mens E-Mail", "conversion", 0.681, 0.092, 3),
        ("Womens E-Mail", "conversion", 0.311, 0.082, 3),
        ("Mens E-Mail", "spend", 77.0, 14.5, 1),
        ("Womens E-Mail", "spend", 42.4, 13.0, 1),
    ],
)
def test_average_effects_of_hillstrom_are_the_published_ones_to_the_last_digit(
    hillstrom, arm, outcome, effect, error, digits
):
    _, y, treatment = against_nobody(hillstrom, arm, outcome)
    found = average_effect(y, treatment)
    assert round(100 * found.difference, digits) == effect
    assert round(100 * found.error, digits) == error


def test_arms_of_hillstrom_pass_the_sample_ratio_test_l8(hillstrom):
    counts = np.unique(hillstrom[2], return_counts=True)[1].astype(float)
    assert round(sample_ratio_p(counts), 3) == 0.904


def test_womens_mail_on_visits_reaches_the_qini_of_the_reference_over_ten_named_halves(hillstrom):
    found = repeat_halves({"two": TwoModel()}, *against_nobody(hillstrom, "Womens E-Mail", "visit"))["two"]
    assert len(found.qini) == 10
    assert found.mean >= 0.055
    assert round(found.mean, 4) == 0.0623
    assert found.separated


def test_mens_mail_on_visits_is_ranked_better_by_a_plain_response_model(hillstrom):
    learners = {"class": ClassTransformation(), "response": ResponseModel()}
    found = repeat_halves(learners, *against_nobody(hillstrom, "Mens E-Mail", "visit"))
    assert round(found["class"].mean, 4) == 0.0137
    assert round(found["response"].mean, 4) == 0.0252
    assert not found["class"].separated


@pytest.mark.parametrize("arm", ["Mens E-Mail", "Womens E-Mail"])
def test_conversions_of_hillstrom_are_refused(hillstrom, arm):
    learners = {"two": TwoModel(), "class": ClassTransformation()}
    found = repeat_halves(learners, *against_nobody(hillstrom, arm, "conversion"))
    assert all("not separated from random" in str(one.sentence) for one in found.values())
