"""Operation of the scores: the watch that warns and stops (L6), promotion, what people decide; on the small shop."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from factories.small_shop import UNTIL
from perennial.cli import main
from perennial.core.errors import ContractViolation
from perennial.ledger.checks import newest_checks
from perennial.pipeline.alerts import current_alerts
from perennial.pipeline.models import decide, figures_of
from perennial.pipeline.plan import campaign_summary, plan


def _drifted(day, *, name=None, **changes):
    """As if the champion had been trained in another world: nearly everyone was in the first tenth of a feature."""
    (card,) = day.cards
    name = name or next(n for n in card.card["drift_features"] if n in ("recency_days", "orders_28d", "orders_30d"))
    bins = card.card["bins"][name]
    shares = [0.0001] * len(bins["shares"])
    shares[-2] = 1 - sum(shares[1:])
    day.altered(
        card={"bins": {**card.card["bins"], name: {**bins, "shares": shares}}, **changes.pop("card", {})},
        **changes,
    )
    return name


def test_L6_a_score_that_drifted_too_far_is_not_given_and_someone_is_told_why(trained):
    name = _drifted(trained)
    report = trained.score()
    assert "churn_risk" not in report.rows
    assert trained.scored().num_rows == 0
    assert any(note.startswith(f"churn_risk: STOPPED, NO SCORES: {name} has drifted: PSI") for note in report.notes)
    plan(trained.settings, trained.run)
    campaigns = {one.campaign_id: one for one in campaign_summary(trained.settings, trained.run)}
    assert (campaigns["retention"].target, campaigns["retention"].control) == (0, 0)
    assert campaigns["retention"].refused["score_missing"] > 0
    assert campaigns["newsletter"].target > 20
    (alert,) = [one for one in current_alerts(trained.settings) if one.kind == "stop"]
    assert alert.subject == "score churn_risk"
    assert "no score is given" in alert.message
    (check,) = [one for one in newest_checks(trained.engine) if one.score == "churn_risk"]
    assert (check.verdict, check.as_of) == ("stopped", UNTIL)


def test_L6_a_champion_that_is_too_old_gives_no_score(trained):
    earlier = UNTIL - timedelta(days=181)
    trained.altered(card={"trained_as_of": earlier.isoformat()}, trained_as_of=earlier)
    report = trained.score()
    assert any("the model is 181 days old, after 180 no score is given" in note for note in report.notes)
    assert trained.scored().num_rows == 0


def test_values_that_training_never_saw_warn_and_the_score_is_given(trained):
    (card,) = trained.cards
    name = "recency_days"
    bins = card.card["bins"][name]
    features = [name, *card.card["drift_features"]]
    trained.altered(card={"bins": {**card.card["bins"], name: {**bins, "high": 60.0}}, "drift_features": features})
    report = trained.score()
    assert any(
        note.startswith("churn_risk: warning: recency_days: ") and "training never saw (0 to 60)" in note
        for note in report.notes
    )
    assert report.rows["churn_risk"] > 100
    assert [one.kind for one in current_alerts(trained.settings) if one.subject == "score churn_risk"] == ["drift"]


def test_L6_a_model_made_with_another_version_of_the_library_is_not_used(trained):
    (card,) = trained.cards
    trained.altered(card={"versions": {**card.card["versions"], "scikit-learn": "1.2.0"}})
    with pytest.raises(ContractViolation, match=r"made with scikit-learn 1\.2"):
        trained.score()


def test_a_broken_source_does_not_train_itself_healthy_a_person_decides(trained):
    earlier = UNTIL - timedelta(days=40)
    name = _drifted(
        trained, card={"trained_as_of": earlier.isoformat()}, trained_as_of=earlier, model_version="churn_risk-older"
    )
    notes = trained.train().notes
    waits = next(note for note in notes if "waits for a person" in note)
    assert "changed beyond the limit that stops" in waits
    assert name in waits
    assert "churn_risk" not in trained.score().rows
    challenger = next(card for card in trained.cards if card.status == "challenger")
    assert challenger.card["champion"]["model_version"] == "churn_risk-older"
    assert set(challenger.card["figures_at_test"]) >= {"model", "champion", "recency"}
    _, known_on = decide(trained.settings, challenger.model_version, "approved", reason="new prices", by="ana")
    assert known_on == UNTIL
    trained.score()
    assert set(trained.scored().column("model_version").to_pylist()) == {challenger.model_version}


@pytest.mark.slow
def test_by_approval_no_model_is_used_before_a_person_says_so(published):
    published.forget_cards()
    file = published.settings.file
    scoring = file.scoring.model_copy(update={"promotion": "approval"})
    published.settings = published.settings.model_copy(update={"file": file.model_copy(update={"scoring": scoring})})
    notes = published.train().notes
    assert any("waits for a person, models are promoted by approval" in note for note in notes)
    report = published.score()
    assert "churn_risk" not in report.rows
    assert any(note.startswith("churn_risk: NO SCORES") and "perennial models approve" in note for note in report.notes)
    assert "churn_risk: not due" not in notes
    assert "churn_risk: there is no model yet" in published.train().notes
    (card,) = published.cards
    decide(published.settings, card.model_version, "approved", reason="good", by="ana")
    assert published.score().rows["churn_risk"] > 100


def test_a_card_is_read_in_the_terminal_and_a_decision_is_kept_with_its_reason(trained, capsys, monkeypatch):
    monkeypatch.setenv("PERENNIAL_HOME", str(trained.settings.home))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(trained.settings.config_dir))
    monkeypatch.setenv("PERENNIAL_LEDGER_URL", str(trained.settings.ledger_url))
    trained.score()
    (card,) = trained.cards
    assert main(["models", "list", "--score", "churn_risk"]) == 0
    assert card.model_version in capsys.readouterr().out
    assert main(["models", "show", "churn_risk"]) == 0
    shown = capsys.readouterr().out
    for text in (
        "data needs: orders of at least",
        "rfm_values",
        "By tenths of the clients",
        "The daily watch",
        "passed",
    ):
        assert text in shown
    assert main(["models", "show", "nothing"]) == 1
    assert main(["models", "approve", card.model_version, "--note", "twice"]) == 1
    assert "it is a champion already" in capsys.readouterr().err
    assert main(["models", "retire", "churn_risk", "--note", "prices changed"]) == 0
    assert "is retired from 2017-10-01 on" in capsys.readouterr().out
    assert main(["models", "show", "churn_risk", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["model"]["status"] == "retired"
    assert found["model"]["decided"].endswith(": prices changed")
    assert main(["models", "retire", "churn_risk", "--note", "again"]) == 1


def test_figures_are_told_beside_the_best_baseline_by_kind_where_a_card_has_kinds():
    rules = {"model": {"ndcg": 0.5}, "most_popular": {"ndcg": 0.4}, "by_chance": {"ndcg": None}}
    told = "ndcg 0.500 at 2017-09-03; best baseline most_popular 0.400"
    cuts = {"cuts": {"test": "2017-09-03"}}
    assert figures_of({"figures_at_test": {"new": rules, "repeat": rules}, **cuts}) == f"new: {told}; repeat: {told}"
    rules = {"model": {"auc": 0.7}, "champion": {"auc": 0.65}, "recency": {"auc": 0.6}}
    told = "auc 0.700 at 2017-09-03; best baseline recency 0.600; champion 0.650"
    assert figures_of({"figures_at_test": rules, "selection": {"merit": "auc"}, **cuts}) == told
