"""Training when due and scoring, on the published tables of a small shop: 160 households, 200 days, the real models."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from factories.small_shop import UNTIL
from perennial.contracts.scores import CLIENT_SCORES
from perennial.core.errors import ContractViolation
from perennial.ledger.cards import champion, record_card
from perennial.ledger.runs import get_run, version_of
from perennial.pipeline import scores
from perennial.pipeline.plan import campaign_summary, plan
from perennial.pipeline.scores import score, score_states
from perennial.warehouse.reader import open_published

REPOSITORY = Path(__file__).resolve().parents[3]


def test_a_first_day_trains_a_champion_and_states_why_a_score_has_too_little_history(built_shop, trained):
    _, report = built_shop
    notes = "\n".join(report.notes)
    assert "churn_risk: there is no model yet" in notes
    assert "value_90d: refused, too little history" in notes
    assert report.rows["churn_risk"] > 500
    (card,) = trained.cards
    assert card.status == "champion"
    assert (trained.settings.home / card.artefact).name.startswith("churn_risk-")
    assert card.model_version.startswith("churn_risk-2017-10-01-")
    files = (trained.settings.home / card.artefact).parent.glob("churn_risk-*.card.json")
    assert card.card in [json.loads(path.read_text()) for path in files]


def test_L2_training_again_from_the_same_published_day_gives_the_same_version(published, trained):
    before = _artefacts(trained)
    published.forget_cards()
    published.train()
    assert published.cards == trained.cards
    assert _artefacts(published) == before


def _artefacts(day):
    return {path.name: path.read_bytes() for path in day.settings.models_dir.glob("*.skops")}


def test_a_day_that_was_trained_is_not_trained_again(trained):
    assert "churn_risk: not due" in trained.train().notes
    assert len(trained.cards) == 1


def test_scores_are_published_as_the_contract_says_one_row_per_client_with_reasons(trained):
    report = trained.score()
    table = trained.scored()
    with open_published(trained.settings, version_of(trained.engine, trained.run.run_id)) as found:
        clients = (
            found.query("select client_id from client_features order by client_id").column("client_id").to_pylist()
        )
    assert table.column("client_id").to_pylist() == clients
    assert report.rows["churn_risk"] == len(clients)
    assert any(note.startswith("value_90d: NO SCORES") and "too little history" in note for note in report.notes)
    assert table.column_names == CLIENT_SCORES.names
    values = table.column("value").to_pylist()
    assert all(0 <= value <= 1 for value in values)
    assert len(set(values)) > 30
    reasons = [json.loads(text) for text in table.column("reasons").to_pylist()]
    assert all(len(found) <= 3 for found in reasons)
    assert any("no purchase for" in sentence for found in reasons for sentence in found)
    assert get_run(trained.engine, trained.run.run_id).state == "scored"


def test_L2_scoring_twice_and_in_small_chunks_gives_the_same_rows(trained, monkeypatch):
    trained.score()
    first = trained.scored()
    monkeypatch.setattr(scores, "CHUNK_ROWS", 2048)
    trained.score()
    assert trained.scored().equals(first)


def test_L6_a_day_without_any_training_is_not_scored(published):
    published.forget_cards()
    with pytest.raises(ContractViolation, match="run the step that trains"):
        published.score()


def _refuse(day, reason):
    """As if the training of the day had been refused."""
    verdict = {"status": "refused", "reason": reason}
    day.altered(card={"verdict": verdict}, status="refused")


def test_L6_without_a_former_model_a_refused_one_stops_what_stands_on_it_and_nothing_else(trained):
    _refuse(trained, "its auc is below that of the baseline recency")
    report = trained.score()
    assert "churn_risk" not in report.rows
    told = "NO SCORES, the training of 2017-10-01 was refused: its auc is below that of the baseline recency"
    assert any(note.startswith(f"churn_risk: {told}") for note in report.notes)
    assert trained.scored().num_rows == 0
    notes = plan(trained.settings, trained.run).notes
    missing = "no churn_reason and no churn_risk and no value_90d of 2017-10-01"
    assert f"retention: {missing}, so its candidates are refused (score_missing)" in notes
    campaigns = {one.campaign_id: one for one in campaign_summary(trained.settings, trained.run)}
    waiting = campaigns["retention"]
    assert waiting.refused["score_missing"] > 0
    assert (waiting.target, waiting.control) == (0, 0)
    assert campaigns["newsletter"].target > 20
    assert "score_missing" not in campaigns["newsletter"].refused


def test_a_score_without_a_model_is_told_as_long_as_it_has_none(trained):
    states = {state.score: state for state in score_states(trained.settings, UNTIL)}
    assert states["churn_risk"].sentence.endswith("trained 0 days ago, is in use")
    assert (
        "value_90d: NO SCORES, the training of 2017-10-01 was refused: too little history"
        in states["value_90d"].sentence
    )


def test_the_former_champion_stays_when_its_challenger_is_refused(trained):
    (card,) = trained.cards
    next_day = UNTIL + timedelta(days=1)
    worse = {**card.card, "verdict": {"reason": "worse than rfm"}}
    record_card(
        trained.engine, replace(card, model_version="worse", status="refused", card=worse, trained_as_of=next_day)
    )
    state = score_states(trained.settings, next_day)[0]
    assert state.used == card
    assert state.sentence.endswith("is in use; the training of 2017-10-02 was refused: worse than rfm")
    trained.score()
    assert set(trained.scored().column("model_version").to_pylist()) == {card.model_version}


def test_L2_a_model_trained_after_the_day_is_never_used_for_it(trained):
    (card,) = trained.cards
    record_card(trained.engine, replace(card, model_version="later", trained_as_of=UNTIL + timedelta(days=1)))
    trained.score()
    assert set(trained.scored().column("model_version").to_pylist()) == {card.model_version}


def test_a_feature_that_is_missing_is_named_and_never_filled(trained):
    (card,) = trained.cards
    trained.altered(card={"features": [*card.card["features"], {"name": "orders_4d", "kind": "number"}]})
    with pytest.raises(ContractViolation, match="client_features:orders_4d"):
        trained.score()


def test_changed_features_make_training_due_and_the_day_can_be_scored_again(trained):
    (card,) = trained.cards
    trained.altered(card={"features": [*card.card["features"], {"name": "orders_4d", "kind": "number"}]})
    notes = trained.train().notes
    assert "churn_risk: the features have changed: now without orders_4d" in notes


def test_an_artefact_that_is_gone_stops_the_day(trained, tmp_path):
    trained.altered(artefact="models/churn_risk-0123456789abcdef.skops")
    with pytest.raises(ContractViolation, match="the artefact of the champion model is gone"):
        trained.score()


def test_drifted_features_make_training_due_and_the_same_ones_do_not(trained):
    (card,) = trained.cards
    earlier = UNTIL - timedelta(days=6)
    older = {**card.card, "trained_as_of": earlier.isoformat()}
    trained.altered(card=older, trained_as_of=earlier, model_version="older")
    assert "churn_risk: not due" in trained.train().notes
    (card,) = trained.cards
    name = card.card["drift_features"][0]
    bins = card.card["bins"][name]
    shares = [1.0] + [0.0] * (len(bins["shares"]) - 1)
    trained.altered(card={"bins": {**card.card["bins"], name: {**bins, "shares": shares}}})
    notes = trained.train().notes
    assert any(note.startswith(f"churn_risk: {name} has drifted: PSI") for note in notes)
    newest = champion(trained.cards, horizon_days=28)
    assert newest is not None
    assert newest.trained_as_of == UNTIL


def test_another_horizon_needs_another_model(trained):
    file = trained.settings.file
    scoring = file.scoring.model_copy(update={"churn_horizon_days": 14})
    other = trained.settings.model_copy(update={"file": file.model_copy(update={"scoring": scoring})})
    with pytest.raises(ContractViolation, match="for 14 days"):
        score(other, trained.run)


def test_the_steps_are_imported_without_scikit_learn():
    code = (
        "import sys, perennial.pipeline.scores; print([m for m in ('sklearn', 'scipy', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
