"""Model cards: which model a day is scored with is a function of the cards until that day."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from perennial.core.settings import load_settings
from perennial.ledger.cards import (
    StoredCard,
    all_cards,
    cards_until,
    champion,
    last_refused,
    record_card,
    record_decision,
    waiting,
)
from perennial.ledger.checks import ScoreCheck, checks_of, newest_checks, record_check
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, open_run

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


def _decide(engine, version, decision):
    return record_decision(engine, version, decision, reason="looked at", by="ana")


def test_L2_a_decision_holds_from_the_day_that_knew_of_it_and_changes_no_day_that_is_done(engine):
    record_card(engine, _card("a", date(2017, 9, 1)))
    record_card(engine, _card("b"))
    run = open_run(engine, DAY, (), "0" * 16)
    advance(engine, run.run_id, "done")
    known_on = _decide(engine, "b", "retired")
    assert known_on == DAY + timedelta(days=1)
    assert _champion(engine, DAY) == "b"
    assert _champion(engine, known_on) == "a"
    again = open_run(engine, known_on, (), "0" * 16)
    assert again.state == "open"
    assert _decide(engine, "b", "approved") == known_on
    assert _champion(engine, known_on) == "b"


def test_a_challenger_waits_until_someone_approves_it_and_the_card_says_who(engine):
    open_run(engine, DAY, (), "0" * 16)
    record_card(engine, _card("a", date(2017, 9, 1)))
    record_card(engine, _card("b", date(2017, 9, 20), status="challenger"))
    cards = cards_until(engine, "churn_risk", DAY)
    assert _champion(engine, DAY) == "a"
    assert [found.model_version for found in [waiting(cards, horizon_days=28)] if found] == ["b"]
    _decide(engine, "b", "approved")
    cards = cards_until(engine, "churn_risk", DAY)
    assert _champion(engine, DAY) == "b"
    assert waiting(cards, horizon_days=28) is None
    (card,) = [one for one in all_cards(engine) if one.model_version == "b"]
    assert (card.status, card.since, card.decided) == ("champion", DAY, "approved by ana: looked at")
    assert [one.status for one in all_cards(engine, date(2017, 9, 20))] == ["challenger", "champion"]


def test_the_check_of_a_day_is_written_anew_when_the_day_is_run_again(engine):
    record_check(engine, ScoreCheck(DAY, "churn_risk", "a", "warned", ("recency_days",), {"psi": 0.3}))
    record_check(engine, ScoreCheck(DAY, "churn_risk", "a", "passed"))
    record_check(engine, ScoreCheck(DAY - timedelta(days=1), "churn_risk", "a", "stopped", ("drift",)))
    assert newest_checks(engine) == [ScoreCheck(DAY, "churn_risk", "a", "passed")]
    assert [one.verdict for one in checks_of(engine, "a")] == ["passed", "stopped"]
