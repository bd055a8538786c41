"""BG/NBD, Pareto/NBD and Gamma-Gamma against the published figures of the CDNOW sample (goals.md)."""

from __future__ import annotations

import numpy as np
import pytest

from factories.cdnow import WEEKS, cdnow, cumulative
from perennial.scoring.btyd.bgnbd import BetaGeoNBD
from perennial.scoring.btyd.gamma_gamma import GammaGamma
from perennial.scoring.btyd.pareto import ParetoNBD
from perennial.scoring.metrics import auc, normalised_gini
from reference import reference

MODELS = {"bg": BetaGeoNBD, "pareto": ParetoNBD}


@pytest.fixture(scope="module")
def sample():
    return cdnow(reference("data/cdnow_sample/CDNOW_sample.txt.gz"))


@pytest.fixture(scope="module")
def fitted(sample):
    return {name: model().fit(sample.histories) for name, model in MODELS.items()}


@pytest.fixture(scope="module")
def spend(sample):
    return GammaGamma().fit(sample.spend)


def test_the_sample_is_the_one_that_was_published(sample):
    assert len(sample.bought) == 2357
    assert (sample.histories[:, 0] > 0).sum() == 946
    assert sample.bought.sum() == 1882
    assert sample.spent.sum() == pytest.approx(70_976.39)


@pytest.mark.parametrize(
    ("name", "parameters", "log_likelihood"),
    [
        ("bg", {"r": 0.2426, "alpha": 4.4136, "a": 0.7929, "b": 2.4259}, -9_582.43),
        ("pareto", {"r": 0.5533, "alpha": 10.5777, "s": 0.6062, "beta": 11.6687}, -9_594.98),
    ],
)
def test_parameters_and_likelihood_are_the_published_ones(fitted, name, parameters, log_likelihood):
    model = fitted[name]
    assert model.converged_, model.doubt_
    assert model.parameters_ == pytest.approx(parameters, rel=0.001)
    assert model.log_likelihood_ == pytest.approx(log_likelihood, abs=0.01)


def test_parameters_of_spend_are_the_published_ones(spend):
    assert spend.converged_, spend.doubt_
    assert spend.used_ == 946
    assert spend.parameters_ == pytest.approx({"p": 6.250, "q": 3.744, "v": 15.444}, rel=0.001)


@pytest.mark.parametrize(
    ("name", "total", "correlation", "error", "curve"),
    [("bg", 1653.4, 0.6256, 0.786, 2.63), ("pareto", 1665.5, 0.6302, 0.755, 1.31)],
)
def test_the_holdout_comes_out_as_published(fitted, sample, name, total, correlation, error, curve):
    expected = fitted[name].expected_purchases(sample.histories, WEEKS)
    assert expected.sum() == pytest.approx(total, abs=0.05)
    assert np.corrcoef(expected, sample.bought)[0, 1] == pytest.approx(correlation, abs=0.00005)
    assert np.abs(expected - sample.bought).mean() == pytest.approx(error, abs=0.001)
    made, curve_expected = cumulative(sample, fitted[name])
    off = np.abs(curve_expected - made)[39:] / made[39:]
    assert 100 * off.mean() == pytest.approx(curve, abs=0.005)


def test_spend_of_the_holdout_comes_out_as_published(fitted, spend, sample):
    value = fitted["bg"].expected_purchases(sample.histories, WEEKS) * spend.predict(sample.spend)
    assert value.sum() == pytest.approx(59_932, abs=1)
    assert normalised_gini(sample.spent, value) == pytest.approx(0.638, abs=0.0005)


def test_the_chance_to_be_alive_of_bgnbd_ranks_worse_than_chance_and_is_no_churn_score(fitted, sample):
    bought, alive = sample.bought > 0, fitted["bg"].p_alive(sample.histories)
    assert (alive[sample.histories[:, 0] == 0] == 1).all()
    assert auc(bought, alive) == pytest.approx(0.316, abs=0.0005)
    for score in (
        fitted["bg"].expected_purchases(sample.histories, WEEKS),
        fitted["bg"].p_any(sample.histories, WEEKS),
    ):
        assert auc(bought, score) > 0.75


def test_the_chance_of_a_purchase_is_near_the_share_that_bought(fitted, sample):
    share = (sample.bought > 0).mean()
    assert fitted["bg"].p_any(sample.histories, WEEKS).mean() == pytest.approx(share, abs=0.03)
    assert share == pytest.approx(0.290, abs=0.0005)
