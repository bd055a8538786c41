"""Model cards: which model a day is scored with is a function of the cards until that day."""

from __future__ import annotations

from datetime import date

import pytest

from perennial.core.settings import load_settings
from perennial.ledger.cards import StoredCard, cards_until, champion, last_refused, record_card, retire
from perennial.ledger.engine import open_ledger

DAY = date(2017, 10, 1)


@pytest.fixture
def engine(tmp_path):
    return open_ledger(load_settings({"PERENNIAL_HOME": str(tmp_path)}))


def _card(version, day=DAY, *, status="champion", score="churn_risk", horizon=28):
    return StoredCard(version, score, day, status, f"models/{version}.skops", {"horizon_days": horizon, "seed": 1})


def _champion(engine, as_of, horizon=28):
    found = champion(cards_until(engine, "churn_risk", as_of), horizon_days=horizon)
    return found.model_version if found else None


def test_L2_a_past_day_never_meets_a_model_trained_after_it(engine):
    record_card(engine, _card("a", date(2017, 9, 1)))
    record_card(engine, _card("b", date(2017, 10, 20)))
    assert _champion(engine, date(2017, 10, 19)) == "a"
    assert _champion(engine, date(2017, 10, 20)) == "b"
    assert _champion(engine, date(2017, 8, 31)) is None


def test_a_refused_challenger_leaves_the_champion_in_its_place(engine):
    record_card(engine, _card("a", date(2017, 9, 1)))
    record_card(engine, _card("b", status="refused"))
    assert _champion(engine, DAY) == "a"
    refused = last_refused(cards_until(engine, "churn_risk", DAY), horizon_days=28)
    assert refused is not None
    assert refused.model_version == "b"


def test_recording_the_same_version_again_changes_nothing(engine):
    record_card(engine, _card("a"))
    record_card(engine, _card("a", status="refused"))
    assert cards_until(engine, "churn_risk", DAY) == [_card("a")]


def test_a_model_of_another_horizon_or_score_is_no_champion(engine):
    record_card(engine, _card("a", horizon=90))
    record_card(engine, _card("v", score="value_90d"))
    assert _champion(engine, DAY) is None
    assert _champion(engine, DAY, horizon=90) == "a"


def test_a_retired_model_is_followed_by_the_champion_before_it(engine):
    record_card(engine, _card("a", date(2017, 9, 1)))
    record_card(engine, _card("b"))
    retire(engine, "b")
    assert _champion(engine, DAY) == "a"
