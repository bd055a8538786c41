"""Artefacts that cannot be altered unseen, the watch on drift, and the sentence why training is due."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
import skops.io

from perennial.core.errors import ContractViolation
from perennial.scoring import store
from perennial.scoring.drift import bin_counts, drift, needed_bins, reference_bins
from perennial.scoring.due import RETRY_DAYS, due_reason, schema_changes
from perennial.scoring.estimators import CANDIDATES, ChurnModel
from perennial.scoring.features import feature_schema, to_matrix
from perennial.scoring.frames import frame_of
from perennial.scoring.scorer import Scorer
from perennial.scoring.value import ValueModel


def _stored(folder, model):
    content = store.artefact_bytes(model)
    return store.save(folder, f"churn_risk-{store.digest(content)}.skops", content)


def test_a_stored_model_scores_as_the_one_in_memory(tmp_path, churn, labelled, trainer):
    loaded = store.load(_stored(tmp_path, churn.scorer))
    x = to_matrix(labelled[1], churn.scorer.feature_names, date(2017, 1, 1))
    assert np.array_equal(loaded.score(x).value, churn.scorer.score(x).value)


@pytest.mark.parametrize("candidate", CANDIDATES)
@pytest.mark.parametrize("kind", [ChurnModel, ValueModel])
def test_every_candidate_is_stored_with_trusted_types_only(tmp_path, kind, candidate):
    random = np.random.default_rng(0)
    x = np.column_stack([random.random(300) * 90, random.poisson(3, 300), np.full(300, 200.0)])
    y = (x[:, 0] > 40).astype(float)
    model = kind(("recency_days", "orders_28d"), candidate=candidate).fit(x, y)
    model.calibrate(model.raw(x), y)
    loaded = store.load(_stored(tmp_path, Scorer(model, ("recency_days", "orders_28d"), {"recency_days": 1.0})))
    assert np.array_equal(loaded.model.link(x), model.link(x))


def test_an_altered_artefact_is_refused(tmp_path, churn):
    path = _stored(tmp_path, churn.scorer)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(ContractViolation, match="altered"):
        store.load(path)


def test_an_artefact_that_is_gone_says_what_to_do(tmp_path):
    with pytest.raises(ContractViolation, match="restore the file"):
        store.load(tmp_path / "churn_risk-0123456789abcdef.skops")


def test_L23_an_artefact_that_asks_for_other_types_is_refused(tmp_path):
    content = skops.io.dumps({"run": print, "where": tmp_path.__class__})
    path = store.save(tmp_path, f"churn_risk-{store.digest(content)}.skops", content)
    with pytest.raises(ContractViolation, match="asks for the types"):
        store.load(path)


def test_every_row_is_in_one_bin_and_the_unknown_in_the_last():
    values = np.array([0, 0, 0, 1, 2, 50, np.nan])
    bins = reference_bins(values)
    counts = bin_counts(values, np.array(bins["edges"]))
    assert counts.sum() == 7
    assert counts[-1] == 1
    assert len(bins["shares"]) == len(bins["edges"]) + 2


def test_drift_is_nought_on_the_training_day_and_large_when_everyone_is_silent(churn, labelled):
    _, today = labelled
    bins = needed_bins(churn.card) | {"recency_days": churn.card["bins"]["recency_days"]}
    assert max(drift(bins, today.to_batches(max_chunksize=100)).values()) < 0.001
    later = today.column("recency_days").to_numpy() + 60
    place = today.column_names.index("recency_days")
    silent = today.set_column(place, "recency_days", [later])
    assert drift(bins, silent.to_batches())["recency_days"] > 0.25


def test_what_grows_with_the_calendar_is_not_asked_for_drift(churn):
    ages = ["days_since_first_order", "orders_total"]
    assert set(needed_bins({**churn.card, "drift_features": [*ages, "recency_days"]})) == {"recency_days"}
    assert not needed_bins({**churn.card, "drift_features": ages})


class _Asked:
    def __init__(self, **found):
        self.found, self.times = found, 0

    def __call__(self, bins):
        self.times += 1
        return self.found


@pytest.fixture
def due(churn, labelled):
    schema = feature_schema(labelled[1].schema, without=("bought_next_churn_horizon", "revenue_next_value_horizon"))
    trained = date.fromisoformat(churn.card["trained_as_of"])

    def reason(days_later=1, *, card=churn.card, found=schema, refused=None, drift_of=None):
        return due_reason(
            card,
            as_of=trained + timedelta(days=days_later),
            schema=found,
            train_every_days=28,
            max_psi=0.25,
            last_refused=trained + timedelta(days=refused) if refused is not None else None,
            drift_of=drift_of or _Asked(recency_days=0.01),
        )

    reason.schema = schema
    return reason


def test_training_is_due_without_a_model_and_not_the_day_after(due):
    assert due(card=None) == "there is no model yet"
    assert due(1) is None


def test_training_is_due_when_the_model_is_old(due):
    assert due(27) is None
    assert due(28) == "the model is 28 days old, 28 are allowed"


def test_training_is_due_when_a_feature_has_drifted(due):
    assert due(3, drift_of=_Asked(orders_28d=0.1, recency_days=0.31)) == (
        "recency_days has drifted: PSI 0.31, 0.25 is allowed"
    )


def test_without_a_feature_to_ask_for_nothing_is_read(due, churn):
    asked = _Asked(recency_days=9.0)
    assert due(3, card={**churn.card, "drift_features": ["days_since_first_order"]}, drift_of=asked) is None
    assert asked.times == 0


def test_a_model_of_the_same_day_is_never_due_again_for_age_or_drift(due):
    asked = _Asked(recency_days=9.0)
    assert due(0, drift_of=asked) is None
    assert asked.times == 0


def test_a_refused_challenger_is_tried_again_after_a_week_and_not_every_day(due):
    assert due(40, refused=38) is None
    assert "days old" in due(38 + RETRY_DAYS, refused=38)


def test_training_is_due_at_once_when_the_features_or_the_library_changed(due, churn):
    renamed = [("orders_4w" if name == "orders_28d" else name, kind) for name, kind in due.schema]
    assert due(0, found=renamed, refused=0) == "the features have changed: now without orders_28d and with orders_4w"
    retyped = [(name, "string" if name == "orders_28d" else kind) for name, kind in due.schema]
    assert schema_changes(churn.card, retyped) == "the features have changed: now of other types"
    older = {**churn.card, "versions": {**churn.card["versions"], "scikit-learn": "1.2.0"}}
    assert "scikit-learn 1.2" in due(1, card=older)


def test_rows_of_a_card_are_counted_by_cut(churn, labelled, trainer):
    rows, _ = labelled
    frame = frame_of(rows, feature_schema(rows.schema), date(2017, 1, 1))
    for cut, count in churn.card["rows"].items():
        assert count == int((frame.cuts == np.datetime64(cut)).sum())
