"""The landing zone as a source of events; the trigger runs in this loop as it does in the triggerer."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from perennial.orchestration.triggers import LandingTrigger

LONG_AGO = 1_500_000_000
WAIT_SECONDS = 20


@pytest.fixture
def landing(tmp_path, monkeypatch):
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path))
    (tmp_path / "landing/shop").mkdir(parents=True)
    return tmp_path / "landing"


def _settled(path: Path, text: str = "header\n") -> None:
    path.write_text(text)
    os.utime(path, (LONG_AGO, LONG_AGO + len(text)))


async def _next(events):
    return (await asyncio.wait_for(anext(events), WAIT_SECONDS)).payload


def test_files_that_settled_together_are_one_event(landing):
    async def play():
        _settled(landing / "shop/sales_2017-10-01.csv.gz")
        _settled(landing / "shop/sales_2017-10-02.csv.gz")
        return await _next(LandingTrigger(dag="ingest_sales", poll_seconds=0.01).run())

    payload = asyncio.run(play())
    assert payload["files"] == 2
    assert payload["names"] == ["shop/sales_2017-10-01.csv.gz", "shop/sales_2017-10-02.csv.gz"]


def test_a_file_that_is_still_being_written_makes_no_event(landing):
    async def play():
        (landing / "shop/sales_2017-10-01.csv.gz").write_text("half a li")
        events = LandingTrigger(dag="ingest_sales", poll_seconds=0.01).run()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.3)

    asyncio.run(play())


def test_a_file_is_announced_once_and_again_when_it_changed(landing):
    async def play():
        path = landing / "shop/sales_2017-10-01.csv.gz"
        _settled(path)
        events = LandingTrigger(dag="ingest_sales", poll_seconds=0.01).run()
        first = await _next(events)
        pending = asyncio.ensure_future(anext(events))
        done, _ = await asyncio.wait([pending], timeout=0.3)
        _settled(path, "header\nmore\n")
        second = (await asyncio.wait_for(pending, WAIT_SECONDS)).payload
        return first, done, second

    first, done, second = asyncio.run(play())
    assert not done, "the same file was announced twice"
    assert first == second


def test_files_that_nobody_took_are_announced_again_after_a_while(landing, monkeypatch):
    monkeypatch.setattr("perennial.orchestration.triggers._FIRST_REMINDER_SECONDS", 0.05)

    async def play():
        _settled(landing / "shop/sales_2017-10-01.csv.gz")
        events = LandingTrigger(dag="ingest_sales", poll_seconds=0.01).run()
        return await _next(events), await _next(events)

    first, again = asyncio.run(play())
    assert first == again


def test_the_files_of_another_dag_wake_nobody_here(landing):
    async def play():
        _settled(landing / "shop/sales_2017-10-01.csv.gz")
        events = LandingTrigger(dag="ingest_crm", poll_seconds=0.01).run()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(events), 0.3)

    asyncio.run(play())


def test_a_config_with_a_mistake_is_told_and_the_watch_goes_on_when_it_is_mended(
    landing, monkeypatch, tmp_path, caplog
):
    import shutil

    from perennial.core.settings import REPOSITORY

    config = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", config)
    monkeypatch.setenv("PERENNIAL_CONFIG", str(config))
    right = (config / "sources.yml").read_text()
    (config / "sources.yml").write_text(right.replace("cadence: daily", "cadense: daily"))

    async def play():
        _settled(landing / "shop/sales_2017-10-01.csv.gz")
        events = LandingTrigger(dag="ingest_sales", poll_seconds=0.01).run()
        pending = asyncio.ensure_future(anext(events))
        await asyncio.wait([pending], timeout=0.3)
        (config / "sources.yml").write_text(right)
        return (await asyncio.wait_for(pending, WAIT_SECONDS)).payload

    assert asyncio.run(play())["files"] == 1
    assert "cadense" in caplog.text


def test_the_triggerer_can_make_the_trigger_anew():
    trigger = LandingTrigger(dag="ingest_sales", poll_seconds=2.5)
    path, arguments = trigger.serialize()
    assert path == "perennial.orchestration.triggers.LandingTrigger"
    assert LandingTrigger(**arguments).serialize() == trigger.serialize()
