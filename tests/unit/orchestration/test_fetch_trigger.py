"""Outside systems as a source of events; the trigger runs in this loop as it does in the triggerer."""

from __future__ import annotations

import asyncio
import os

import pytest

from factories.landing_zone import Zone
from factories.remote_home import RemoteHome, content
from perennial.core.connections import EnvironmentConnections
from perennial.orchestration.fetch_trigger import FetchTrigger, fetch_triggers

WAIT_SECONDS = 20
OLD = 1_500_000_000


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path, place, monkeypatch):
    made = RemoteHome(tmp_path / "near", f"file://{place}", settle_seconds=0, every_minutes=0.0001)
    _use(made, monkeypatch)
    return made


def _use(zone: Zone, monkeypatch) -> None:
    monkeypatch.setenv("PERENNIAL_HOME", str(zone.home))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(zone.settings.config_dir))


def _put(place, name: str, text: str) -> None:
    (place / name).write_text(text)
    os.utime(place / name, (OLD, OLD))


def _trigger() -> FetchTrigger:
    trigger = FetchTrigger(poll_seconds=0.01)
    trigger.connections = EnvironmentConnections({})
    return trigger


async def _next(events):
    return (await asyncio.wait_for(anext(events), WAIT_SECONDS)).payload


async def _is_silent(events) -> bool:
    """Whether nothing is told for a while; the trigger goes on after it."""
    pending = asyncio.ensure_future(anext(events))
    done, _ = await asyncio.wait([pending], timeout=0.3)
    pending.cancel()
    return not done


def test_a_new_file_wakes_once_and_the_next_one_again(home, place):
    async def play():
        events = _trigger().run()
        _put(place, "sales_1.csv", content(1))
        first = await _next(events)
        pending = asyncio.ensure_future(anext(events))
        twice, _ = await asyncio.wait([pending], timeout=0.3)
        await asyncio.to_thread(home.fetch)
        _put(place, "sales_2.csv", content(2))
        second = (await asyncio.wait_for(pending, WAIT_SECONDS)).payload
        return first, twice, second

    first, twice, second = asyncio.run(play())
    assert first == second == {"sources": ["partner"]}
    assert not twice, "the same file was told twice"


def test_a_folder_in_which_nothing_is_new_makes_no_run(home, place):
    _put(place, "sales_1.csv", content(1))
    home.fetch()

    async def play():
        return await _is_silent(_trigger().run())

    assert asyncio.run(play())


def test_a_source_that_was_just_asked_is_left_alone_until_its_minutes_have_passed(tmp_path, place, monkeypatch):
    home = RemoteHome(tmp_path / "near", f"file://{place}", settle_seconds=0, every_minutes=60)
    _use(home, monkeypatch)
    home.fetch()
    _put(place, "sales_1.csv", content(1))

    async def play():
        return await _is_silent(_trigger().run())

    assert asyncio.run(play())


def test_a_source_that_nobody_fetched_is_told_again_after_a_while(home, place, monkeypatch):
    monkeypatch.setattr("perennial.orchestration.fetch_trigger._FIRST_REMINDER_SECONDS", 0.05)
    _put(place, "sales_1.csv", content(1))

    async def play():
        events = _trigger().run()
        return await _next(events), await _next(events)

    first, again = asyncio.run(play())
    assert first == again


def test_a_system_that_cannot_be_looked_at_wakes_the_run_that_says_why(home, place, caplog):
    place.rmdir()

    async def play():
        return await _next(_trigger().run())

    assert asyncio.run(play()) == {"sources": ["partner"]}
    assert "there is no such place" in caplog.text


def test_without_a_fetched_source_there_is_no_trigger_at_all_and_no_ledger(tmp_path, monkeypatch):
    zone = Zone(tmp_path)
    _use(zone, monkeypatch)
    assert fetch_triggers() == {}
    assert not zone.home.exists()


def test_a_config_that_cannot_be_read_gives_no_trigger_and_is_told(home, caplog):
    assert set(fetch_triggers()) == {"ask_sources"}
    (home.settings.config_dir / "sources.yml").write_text("version: 1\nsorces: {}\n")
    assert fetch_triggers() == {}
    assert "sorces" in caplog.text


def test_the_triggerer_can_make_the_trigger_anew():
    trigger = FetchTrigger(poll_seconds=2.5)
    path, arguments = trigger.serialize()
    assert path == "perennial.orchestration.fetch_trigger.FetchTrigger"
    assert FetchTrigger(**arguments).serialize() == trigger.serialize()
