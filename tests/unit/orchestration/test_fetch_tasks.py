"""Which sources a run of fetch_sources asks, and what a source's problems are to Airflow."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from factories.remote_home import RemoteHome, content
from perennial.core.errors import RetryableError
from perennial.orchestration import tasks

OLD = 1_500_000_000


@pytest.fixture
def home(tmp_path, monkeypatch):
    place = tmp_path / "far"
    place.mkdir()
    more = {"path": "partner/{date}.csv", "remote": {"glob": "dated_*.csv"}}
    made = RemoteHome(tmp_path / "near", f"file://{place}", settle_seconds=0, entities={"dated": more})
    made.place = place
    monkeypatch.setenv("PERENNIAL_HOME", str(made.home))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(made.settings.config_dir))
    return made


def _put(home, name: str, text: str) -> None:
    (home.place / name).write_text(text)
    os.utime(home.place / name, (OLD, OLD))


def _events(*sources: str):
    """What Airflow hands over for events of a trigger."""
    extra = {"from_trigger": True, "payload": {"sources": list(sources)}}
    return {"landing.due": [SimpleNamespace(timestamp=datetime.now(UTC), extra=extra)]}


def test_the_sources_of_the_event_are_asked_a_persons_own_before_them_and_else_all(home):
    assert tasks.sources_to_fetch(_events("partner"), {}) == ["partner"]
    assert tasks.sources_to_fetch(_events("partner"), {"source": "other"}) == ["other"]
    assert tasks.sources_to_fetch({}, {}) == ["partner"]


def test_an_event_of_a_source_that_is_gone_asks_nobody(home):
    with pytest.raises(AirflowSkipException):
        tasks.sources_to_fetch(_events("gone"), {})


def test_what_may_pass_is_retried_after_everything_else_was_landed(home):
    _put(home, "sales_1.csv", content(1))
    _put(home, "dated_2017-10-02.csv", content(2))
    (home.settings.landing / "partner").mkdir(parents=True)
    (home.settings.landing / "partner/2017-10-02.csv").write_text("not taken in yet")
    with pytest.raises(RetryableError, match="not taken in yet"):
        tasks.fetch_source("partner")
    assert len(home.landed()) == 2


def test_what_a_person_must_mend_fails_at_once(home):
    home.place.rmdir()
    with pytest.raises(AirflowFailException, match="there is no such place"):
        tasks.fetch_source("partner")
