"""Relations that hold for every model of purchases, whatever the data; what odd histories come to."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betaln, hyp2f1
from sklearn.base import clone

from perennial.scoring.btyd.bgnbd import BetaGeoNBD
from perennial.scoring.btyd.choose import purchase_model
from perennial.scoring.btyd.gamma_gamma import GammaGamma
from perennial.scoring.btyd.histories import distinct, drawn, histories_of
from perennial.scoring.btyd.integrals import dropout_integral, purchases_while_alive
from perennial.scoring.btyd.nbd import NBD
from perennial.scoring.btyd.pareto import ParetoNBD
from perennial.scoring.btyd.value import lifetime_values

BG = BetaGeoNBD().with_parameters(r=0.25, alpha=4.4, a=0.8, b=2.4)
PARETO = ParetoNBD().with_parameters(r=0.55, alpha=10.6, s=0.6, beta=11.7)
PLAIN = NBD().with_parameters(r=0.4, alpha=9.0)
MODELS = [BG, PARETO, PLAIN]
SPEND = GammaGamma().with_parameters(p=6.25, q=3.74, v=15.4)

_LOGS = st.floats(-3, 3)
_HISTORY = st.tuples(st.integers(0, 5000), st.floats(0, 1), st.floats(0, 5000)).map(
    lambda one: (one[0], one[1] * one[2] if one[0] else 0.0, one[2])
)


def simulated(clients=1500, *, days=300, lifetime=150.0, seed=3, born=0):
    """Poisson buyers with gamma paces who leave for good after an exponential time; days are whole."""
    random = np.random.default_rng(seed)
    first = np.floor(random.uniform(born, days, clients))
    pace, ends = random.gamma(0.8, 1 / 40, clients), first + random.exponential(lifetime, clients)
    rows = []
    for start, rate, end in zip(first, pace, np.minimum(ends, days), strict=True):
        made = np.unique(
            np.ceil(start + random.uniform(0, 1, random.poisson(rate * max(end - start, 0))) * (end - start))
        )
        made = made[(made > start) & (made <= days)]
        rows.append((len(made), (made.max() - start) if len(made) else 0.0, days - start))
    return np.array(rows, dtype=float)


@pytest.fixture(scope="module")
def histories():
    return simulated()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@settings(max_examples=40, deadline=None)
@given(rows=st.lists(_HISTORY, max_size=5), horizons=st.tuples(st.floats(0, 2000), st.floats(0, 2000)))
def test_expectations_of_any_history_are_sound(model, rows, horizons):
    x = np.array(rows, dtype=float).reshape(-1, 3)
    near, far = sorted(horizons)
    alive = model.p_alive(x)
    assert ((alive >= 0) & (alive <= 1)).all()
    assert (model.expected_purchases(x, 0) == 0).all()
    assert (model.p_any(x, 0) == 0).all()
    for asked in (model.expected_purchases, model.p_any):
        first, second = asked(x, near), asked(x, far)
        assert np.isfinite(second).all()
        assert (second >= first - 1e-9 * np.abs(second)).all()
    assert (model.p_any(x, far) <= np.minimum(model.expected_purchases(x, far), 1) + 1e-9).all()


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_new_client_is_a_history_of_no_time_and_the_curve_rises_from_zero(model):
    times = np.array([-3.0, 0.0, 1.0, 30.0, 300.0])
    curve = model.expected_cumulative(times)
    assert (curve[:2] == 0).all()
    assert (np.diff(curve[1:]) > 0).all()
    unknown = np.zeros((1, 3))
    assert curve[2:] == pytest.approx([model.expected_purchases(unknown, t)[0] for t in times[2:]], rel=1e-12)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@settings(max_examples=25, deadline=None)
@given(logs=st.lists(_LOGS, min_size=4, max_size=4), rows=st.lists(_HISTORY, min_size=1, max_size=4))
def test_gradients_are_those_of_finite_differences(model, logs, rows):
    x = np.array(rows, dtype=float)
    theta = np.array(logs[: len(model.names)])
    _, gradient = model.gradient(x, theta)
    steps = np.eye(len(theta)) * 1e-5
    differences = [(model.gradient(x, theta + s)[0] - model.gradient(x, theta - s)[0]) / 2e-5 for s in steps]
    assert gradient == pytest.approx(differences, rel=1e-5, abs=1e-5 * max(1.0, abs(model.gradient(x, theta)[0])))


@settings(max_examples=25, deadline=None)
@given(
    logs=st.lists(_LOGS, min_size=3, max_size=3),
    rows=st.lists(st.tuples(st.integers(1, 3000), st.floats(0.01, 1e6)), min_size=1, max_size=4),
)
def test_gradients_of_spend_are_those_of_finite_differences(logs, rows):
    x, theta = np.array(rows, dtype=float), np.array(logs)
    value, gradient = SPEND.gradient(x, theta)
    steps = np.eye(3) * 1e-5
    differences = [(SPEND.gradient(x, theta + s)[0] - SPEND.gradient(x, theta - s)[0]) / 2e-5 for s in steps]
    assert gradient == pytest.approx(differences, rel=1e-5, abs=1e-5 * max(1.0, abs(value)))


@pytest.mark.parametrize("kind", [BetaGeoNBD, ParetoNBD, NBD])
def test_weights_are_repeated_rows_and_the_order_of_rows_changes_nothing(kind, histories):
    few = histories[:150]
    weights = 1.0 + np.arange(len(few)) % 3
    repeated = np.repeat(few, weights.astype(int), axis=0)
    weighed = kind().fit(few, sample_weight=weights)
    shuffled = kind().fit(repeated[np.random.default_rng(0).permutation(len(repeated))])
    assert weighed.parameters_ == pytest.approx(shuffled.parameters_, rel=1e-6)
    assert weighed.log_likelihood_ == pytest.approx(shuffled.log_likelihood_, rel=1e-12)
    assert weighed.clients_ == shuffled.clients_ == len(repeated)


def test_weights_of_spend_are_repeated_rows():
    random = np.random.default_rng(5)
    spent = np.column_stack([random.integers(1, 9, 200), random.gamma(3, 10, 200)]).astype(float)
    weights = 1.0 + np.arange(200) % 3
    repeated = np.repeat(spent, weights.astype(int), axis=0)
    one, other = GammaGamma().fit(spent, sample_weight=weights), GammaGamma().fit(repeated)
    assert one.parameters_ == pytest.approx(other.parameters_, rel=1e-4)
    assert one.log_likelihood_ == pytest.approx(other.log_likelihood_, rel=1e-10)


@pytest.mark.parametrize("kind", [BetaGeoNBD, ParetoNBD])
def test_another_unit_of_time_scales_the_parameters_of_time_and_nothing_else(kind, histories):
    days, weeks = kind().fit(histories), kind().fit(histories / [1, 7, 7])
    timed = {"alpha", "beta"}
    expected = {name: value * (7 if name in timed else 1) for name, value in weeks.parameters_.items()}
    assert days.parameters_ == pytest.approx(expected, rel=1e-3)
    assert days.expected_purchases(histories, 70.0) == pytest.approx(
        weeks.expected_purchases(histories / [1, 7, 7], 10.0), rel=1e-4
    )


def test_clients_who_are_almost_surely_gone_still_differ():
    long_gone = np.array([[40.0, 50.0, 400.0], [40.0, 50.0, 500.0], [200.0, 50.0, 500.0]])
    alive = BG.p_alive(long_gone)
    assert (alive > 0).all()
    assert (np.diff(alive) < 0).all()


def test_a_pilot_on_few_rows_leads_to_the_optimum_of_all(histories):
    by_pilot, at_once = BetaGeoNBD(pilot_rows=200).fit(histories), BetaGeoNBD().fit(histories)
    assert by_pilot.parameters_ == pytest.approx(at_once.parameters_, rel=1e-4)


def test_a_sample_of_the_clients_stands_for_all(histories):
    many = np.repeat(histories, 4, axis=0)
    sampled = BetaGeoNBD(max_rows=len(histories)).fit(many)
    assert sampled.rows_ <= len(histories)
    assert sampled.clients_ == len(many)
    assert sampled.expected_purchases(histories, 90).sum() == pytest.approx(
        BetaGeoNBD().fit(many).expected_purchases(histories, 90).sum(), rel=1e-3
    )


def test_what_is_drawn_is_spread_over_all_rows_and_the_same_again():
    places = drawn(10_000, 100, seed=1)
    assert (places // 100 == np.arange(100)).all()
    assert np.array_equal(places, drawn(10_000, 100, seed=1))
    assert drawn(10, 100, seed=1) == slice(None)


def test_distinct_histories_are_counted_alike_with_weights_and_without():
    rows = np.array([[1, 3, 9], [0, 0, 9], [1, 3, 9], [1, 3, 8], [0, 0, 9]], dtype=float)
    for scale in (1.0, 1 / 7):
        for weights in (None, np.ones(5), np.array([2.0, 1, 2, 2, 1]) / 2):
            found = distinct(histories_of(rows * [1, scale, scale], weights))
            assert found.x.tolist() == [0, 1, 1]
            assert pytest.approx(np.array([9, 8, 9]) * scale) == found.T
            assert found.weight == pytest.approx([2, 1, 2] if weights is None or weights[1] == 1 else [1, 1, 2])


@settings(max_examples=60, deadline=None)
@given(a=st.floats(0.05, 6), b=st.floats(0.05, 30), shape=st.floats(0.02, 200), z=st.floats(1e-6, 60))
def test_purchases_while_alive_are_the_integral_that_they_stand_for(a, b, shape, z):
    def integrand(log_odds):
        p = 1 / (1 + np.exp(-log_odds))
        density = np.exp(-a * np.logaddexp(0, -log_odds) - b * np.logaddexp(0, log_odds) - betaln(a, b))
        return density * -np.expm1(-shape * np.log1p(p * z)) / p

    parts = (-600, -60, -8, 0, 8, 60, 600)
    exact = sum(quad(integrand, low, high, epsabs=0, epsrel=1e-10, limit=200)[0] for low, high in pairwise(parts))
    assert purchases_while_alive(np.array([shape]), a, np.array([b]), np.array([z]))[0] == pytest.approx(
        exact, rel=1e-7
    )


@pytest.mark.parametrize("a", [1 - 1e-9, 1.0, 1 + 1e-9])
def test_expectations_of_bgnbd_pass_through_a_of_one(a):
    shape, b, z = np.array([0.3, 3.3]), np.array([2.0, 5.0]), np.array([0.7, 400.0])
    around = [purchases_while_alive(shape, one, b, z) for one in (0.999, 1.001)]
    assert purchases_while_alive(shape, a, b, z) == pytest.approx(np.mean(around, axis=0), rel=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    power=st.floats(0.05, 20), alpha=st.floats(0.5, 60), s=st.floats(0.05, 8), beta=st.floats(0.5, 60),
    start=st.floats(0, 50), length=st.floats(0.01, 100),
)  # fmt: skip
def test_the_dropout_integral_is_the_published_difference_of_two_2f1(power, alpha, s, beta, start, length):
    least, most, order = min(alpha, beta), max(alpha, beta), power + s

    def published(t):
        second = s + 1 if alpha >= beta else power
        return hyp2f1(order, second, order + 1, (most - least) / (most + t)) / (most + t) ** order / order

    ends = [published(t) for t in (start, start + length)]
    found = dropout_integral(np.array([power]), alpha, s, beta, np.array([start]), np.array([start + length]))
    lost = 1e-13 * ends[0]  # what the difference of the published form cannot know
    assert np.exp(found.log[0]) == pytest.approx(ends[0] - ends[1], rel=1e-9, abs=lost)


def test_the_chance_of_a_purchase_is_that_of_simulated_clients():
    random = np.random.default_rng(1)
    draws, x, t_x, age, horizon = 2_000_000, 3, 20.0, 25.0, 10.0
    rate = random.gamma(PARETO.r_ + x, 1 / (PARETO.alpha_ + age), draws)
    leaves = random.gamma(PARETO.s_, 1 / (PARETO.beta_ + age), draws)
    until = np.minimum(random.exponential(1, draws) / leaves, horizon)
    one = np.array([[x, t_x, age]])
    alive = PARETO.p_alive(one)[0]
    assert PARETO.p_any(one, horizon)[0] == pytest.approx(alive * -np.expm1(-rate * until).mean(), rel=0.003)
    assert PARETO.expected_purchases(one, horizon)[0] == pytest.approx(alive * (rate * until).mean(), rel=0.003)


def test_histories_without_dropout_are_told_and_fall_back_to_a_model_without_it():
    loyal = simulated(800, lifetime=1e9)
    pareto = ParetoNBD().fit(loyal)
    assert not pareto.converged_
    assert "beta" in pareto.doubt_
    chosen = purchase_model(loyal)
    assert isinstance(chosen.model, NBD)
    assert any("left truncation" in sentence for sentence in chosen.said)
    assert any(sentence.startswith("NBD is used instead") for sentence in chosen.said)


def test_where_clients_leave_the_likelier_of_both_models_is_taken(histories):
    chosen = purchase_model(histories)
    fitted = [kind().fit(histories) for kind in (BetaGeoNBD, ParetoNBD)]
    assert chosen.model.log_likelihood_ == max(model.log_likelihood_ for model in fitted)
    assert chosen.said == ()


@pytest.mark.parametrize(
    "rows",
    [
        [[0, 0, 0]],
        [[0, 0, 30]] * 5,
        [[4, 20, 20]] * 3,
        [[100_000, 5000, 5000]],
        [[1, 1, 1], [0, 0, 0], [100_000, 3000, 3000]],
        [[1, 0, 0]],
    ],
    ids=["no time", "nobody came again", "last on the last day", "huge", "mixed", "twice at once"],
)
def test_odd_histories_end_in_a_stated_doubt_or_a_finite_model(rows):
    x = np.array(rows, dtype=float)
    for kind in (BetaGeoNBD, ParetoNBD, NBD):
        model = kind().fit(x)
        assert model.converged_ == (model.doubt_ is None)
    expected = purchase_model(x).model.expected_purchases(x, 90)
    assert np.isfinite(expected).all()
    assert (expected >= 0).all()


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([[1, 2]], "expected rows x"),
        ([[1, np.nan, 3]], "1 of 1 histories hold no finite number"),
        ([[-1, 0, 3]], "no whole count"),
        ([[1.5, 1, 3]], "no whole count"),
        ([[1, 4, 3], [1, 2, 3]], "1 of 2 histories have their last purchase before the first or after the end"),
        ([[0, 2, 3]], "but none was made"),
        (np.empty((0, 3)), "no history to fit on"),
    ],
)
def test_what_is_no_history_is_refused_with_counts_only(rows, said):
    with pytest.raises(ValueError, match=said):
        BetaGeoNBD().fit(np.array(rows, dtype=float))


@pytest.mark.parametrize(
    ("rows", "weights", "said"),
    [
        ([[1, 1, 3]], [1, 2], "weights of shape"),
        ([[1, 1, 3]], [-1], "negative weight"),
        ([[1, 1, 3]], [0], "no history"),
    ],
)
def test_odd_weights_are_refused(rows, weights, said):
    with pytest.raises(ValueError, match=said):
        BetaGeoNBD().fit(np.array(rows, dtype=float), sample_weight=np.array(weights, dtype=float))


def test_no_client_gives_no_row_and_a_horizon_is_a_number():
    for model in MODELS:
        assert model.expected_purchases(np.empty((0, 3)), 90).shape == (0,)
        assert model.p_any(np.empty((0, 3)), 90).shape == (0,)
        for wrong in (-1, np.inf, np.nan):
            with pytest.raises(ValueError, match="finite number, 0 or more"):
                model.expected_purchases(np.zeros((1, 3)), wrong)


@pytest.mark.parametrize("given_", [{"r": 1.0}, {"r": 1.0, "alpha": 0.0}, {"r": 1.0, "alpha": 1.0, "s": 1.0}])
def test_parameters_by_hand_are_positive_and_complete(given_):
    with pytest.raises(ValueError, match="positive numbers are needed for r, alpha"):
        NBD().with_parameters(**given_)


def test_estimators_are_cloned_unfitted_with_their_settings():
    for model in (BetaGeoNBD(max_rows=10, seed=3), ParetoNBD(pilot_rows=7), GammaGamma(max_rows=None)):
        copy = clone(model)
        assert copy.get_params() == model.get_params()
        assert not hasattr(copy, "theta_")


def test_equal_rows_give_equal_parameters_to_the_last_bit(histories):
    assert np.array_equal(ParetoNBD().fit(histories).theta_, ParetoNBD().fit(histories).theta_)


def test_expected_spend_lies_between_the_clients_own_mean_and_that_of_all():
    everyone = SPEND.predict(np.array([[0.0, np.nan], [3.0, 0.0]]))
    assert everyone == pytest.approx([SPEND.p_ * SPEND.v_ / (SPEND.q_ - 1)] * 2)
    for mean in (5.0, 500.0):
        known = SPEND.predict(np.array([[1.0, mean], [10.0, mean], [10_000.0, mean]]))
        assert np.abs(known - mean).tolist() == sorted(np.abs(known - mean), reverse=True)
        assert (np.sign(known - mean) == np.sign(everyone[0] - mean)).all()
    assert SPEND.predict(np.empty((0, 2))).shape == (0,)


def test_a_tail_without_a_mean_is_doubted_and_predicts_nothing_for_strangers():
    random = np.random.default_rng(2)
    spent = np.column_stack([np.full(3000, 4.0), random.gamma(3, 1, 3000) / 3 / random.gamma(0.6, 1, 3000)])
    model = GammaGamma().fit(spent)
    assert not model.is_usable_
    assert "infinite" in model.doubt_
    assert np.isnan(model.predict(np.array([[0.0, 0.0]]))).all()
    assert np.isfinite(model.predict(spent)).all()


def test_spend_of_nobody_and_of_no_number_is_refused():
    for rows, said in (([[0.0, 0.0]], "nobody spent"), ([[1.0, np.nan]], "1 of 1 rows"), ([[1.0]], "expected rows")):
        with pytest.raises(ValueError, match=said):
            GammaGamma().fit(np.array(rows))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_lifetime_value_rises_with_the_horizon_and_falls_with_the_discount(model):
    x = np.array([[0, 0, 100], [5, 90, 100], [5, 10, 100]], dtype=float)
    spent = np.array([[0, 0], [5, 30.0], [5, 30.0]])
    plain = lifetime_values(model, SPEND, x, spent)
    assert plain.shape == (3, 3)
    assert (np.diff(plain, axis=1) > 0).all()
    assert plain[:, 0] == pytest.approx(model.expected_purchases(x, 90) * SPEND.predict(spent))
    discounted = lifetime_values(model, SPEND, x, spent, discount_rate_annual=0.1)
    assert (discounted < plain).all()
    assert (discounted > plain * 1.1 ** (-np.array([90, 182, 365]) / 365)).all()
    weeks = lifetime_values(model, SPEND, x, spent, horizons_days=(0, 70), days_per_unit=7)
    assert weeks[:, 1] == pytest.approx(model.expected_purchases(x, 10) * SPEND.predict(spent))
    assert (weeks[:, 0] == 0).all()


def test_a_discount_weighs_each_purchase_by_its_day():
    x, rate = np.array([[2.0, 30.0, 60.0]]), np.log(1.1) / 365
    days = np.arange(366.0)
    by_day = np.diff([BG.expected_purchases(x, day)[0] for day in days]) @ np.exp(-rate * (days[1:] - 0.5))
    assert BG.expected_purchases_at(x, (365,), rate_per_unit=rate)[0, 0] == pytest.approx(by_day, rel=1e-5)
    with pytest.raises(ValueError, match="above -1"):
        lifetime_values(BG, SPEND, x, np.array([[3.0, 10.0]]), discount_rate_annual=-1.0)
