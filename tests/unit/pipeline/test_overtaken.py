"""A run whose place a newer day or revision takes while it is on its way: it ends quietly, and nothing goes back."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace

import pyarrow as pa
import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from factories.tiny_warehouse import FIRST_DAY, build_without_dbt, open_first_day, open_second_day, tiny_settings
from perennial.core.errors import ContractViolation, Overtaken, Problem
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, get_run, open_run, version_of
from perennial.orchestration import tasks
from perennial.orchestration.errors import as_airflow_errors
from perennial.pipeline.build import build_features, publish
from perennial.pipeline.scores import score, train_if_due
from perennial.warehouse.publish import publish_table
from perennial.warehouse.versions import current_id

DAY = date(2017, 10, 1)


@pytest.fixture
def settings(tmp_path):
    return tiny_settings(tmp_path)


@pytest.fixture
def first(settings):
    """The run of 2017-10-01, built."""
    run = open_first_day(settings)
    _build(settings, run)
    return run


def _build(settings, run):
    build_without_dbt(settings, run, [(order, client, DAY, amount) for order, client, _on, amount in FIRST_DAY])


def _again(settings, run):
    """The run as a task that starts now finds it."""
    return get_run(open_ledger(settings), run.run_id)


def test_a_day_that_is_overtaken_between_build_and_publish_ends_quietly_and_yesterday_stays(settings, first):
    second = open_second_day(settings, first)
    with pytest.raises(Overtaken, match=r"2017-10-02\.r1 took the place of this run") as caught:
        publish(settings, _again(settings, first))
    assert "perennial run --as-of 2017-10-01" in caught.value.problems[0].fix
    assert current_id(settings) is None
    _build(settings, second)
    publish(settings, second)
    assert current_id(settings) == version_of(open_ledger(settings), second.run_id)


def test_a_published_day_whose_build_is_overwritten_is_not_trained_on_another_days_tables(settings, first):
    publish(settings, first)
    second = open_second_day(settings, first)
    _build(settings, second)
    with pytest.raises(Overtaken):
        build_features(settings, _again(settings, first), [DAY])


def test_a_revision_that_is_overtaken_by_the_next_one_of_its_day_ends_quietly_too(settings, first):
    second = open_run(open_ledger(settings), DAY, first.batch_ids, "changed config")
    _build(settings, second)
    with pytest.raises(Overtaken, match=r"2017-10-01\.r2 took the place"):
        publish(settings, first)
    publish(settings, second)


def test_the_newest_run_without_a_build_is_a_mistake_and_not_overtaken(settings):
    run = open_first_day(settings)
    with pytest.raises(ContractViolation, match="nothing is built"):
        publish(settings, run)


def test_L5_current_never_goes_back_when_a_slow_step_ends_after_a_newer_run_has_published(settings, first):
    publish(settings, first)
    second = open_run(open_ledger(settings), DAY, first.batch_ids, "changed config")
    _build(settings, second)
    publish(settings, second)
    newest = current_id(settings)
    rows = pa.table({"client_id": ["c1"], "as_of_date": [DAY], "value": [0.5]})
    version_id = publish_table(
        settings, first, "client_scores", rows, step="scores"
    )  # it still takes itself for newest
    assert version_id != newest
    assert current_id(settings) == newest
    advance(open_ledger(settings), first.run_id, "scored", version_id=version_id)
    publish_table(settings, second, "client_scores", rows, step="scores")
    assert current_id(settings) != newest


@pytest.mark.parametrize("step", [train_if_due, score])
def test_L6_a_run_that_has_published_nothing_is_not_trained_or_scored_on_what_others_have(settings, first, step):
    publish(settings, first)
    with pytest.raises(ContractViolation, match="the run has published nothing"):
        step(settings, open_second_day(settings, first))


def test_airflow_skips_the_task_of_an_overtaken_run_with_the_sentence_and_fails_any_other():
    with pytest.raises(AirflowSkipException, match="took the place"), as_airflow_errors():
        raise Overtaken(Problem("2017-10-01.r1", "2017-10-02.r1 took the place of this run"))
    with pytest.raises(AirflowFailException), as_airflow_errors():
        raise ContractViolation("something else")


def test_of_events_that_waited_together_the_one_of_the_newest_run_counts_in_whatever_order_they_came(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    told = ["2017-10-01.r9", "2017-10-02.r10", "2017-10-02.r9", "2017-10-01.r11"]
    events = [SimpleNamespace(timestamp=n, extra={"run_id": run_id}) for n, run_id in enumerate(told)]
    assert tasks.run_of({"asset": events}, {}) == "2017-10-02.r10"
