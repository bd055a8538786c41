"""Events and Airflow: a burst makes batches and not runs, one event wakes only what depends on it, events tell dates."""

from __future__ import annotations

import asyncio
import json
import os
from datetime import UTC, datetime

import pytest

from factories.event_shop import order, write_config
from perennial.core.settings import load_settings

pytestmark = pytest.mark.integration

WAIT_SECONDS = 60


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Settings of the event shop; its files may also be put into the landing zone by others."""
    monkeypatch.setenv("PERENNIAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(write_config(tmp_path / "config")))
    return load_settings()


def _land(settings, number, rows):
    path = settings.landing / f"web/orders_{number:05d}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text("".join(json.dumps(row) + "\n" for row in rows))
    os.utime(part, (1_500_000_000, 1_500_000_000))
    part.replace(path)


@pytest.mark.parametrize("files", [150, pytest.param(1_000, marks=pytest.mark.slow)])
def test_a_burst_of_files_is_a_handful_of_events_and_batches_and_every_row_is_there(shop, files):
    """As the scheduler does it: one run at a time, and the events that came meanwhile wake one more."""
    from perennial.orchestration.triggers import LandingTrigger
    from perennial.pipeline.ingest import ingest

    async def play():
        trigger = LandingTrigger(dag="ingest_sales", poll_seconds=0.02).run()
        events: asyncio.Queue = asyncio.Queue()

        async def listen():
            async for event in trigger:
                events.put_nowait(event)

        listening = asyncio.ensure_future(listen())
        landing = asyncio.ensure_future(asyncio.to_thread(_burst, shop, files))
        runs, reports = 0, []
        while not landing.done() or not events.empty() or _lies_there(shop):
            await asyncio.wait_for(events.get(), WAIT_SECONDS)
            while not events.empty():
                events.get_nowait()  # they wait together, and wake one run
            reports += await asyncio.to_thread(ingest, shop)
            runs += 1
        listening.cancel()
        return runs, reports

    runs, reports = asyncio.run(play())
    assert runs <= 12, f"{runs} runs for one burst"
    assert len(reports) <= runs
    assert sum(report.loaded for report in reports) == files
    assert sum(len(report.files) for report in reports) == files
    assert all(report.landed == report.loaded + report.quarantined + report.duplicate for report in reports)


def _burst(settings, files):
    for number in range(files):
        _land(settings, number, [order(number)])


def _lies_there(settings):
    return any(settings.landing.glob("web/*.jsonl"))


def test_an_asset_event_carries_rows_rejected_rows_batches_and_the_dates_touched(shop, dagbag, airflow_db):
    rows = [order(0), order(2_000), {**order(3), "amount": "a lot"}, *(order(n) for n in range(100, 140))]
    _land(shop, 1, rows)
    run = dagbag.dags["ingest_sales"].test()
    assert [ti.state for ti in run.get_task_instances()] == ["success"]
    extra = _last_event("raw.sales")
    assert (extra["rows"], extra["rejected"], extra["landed"]) == (42, 1, 43)
    assert (extra["first_business_date"], extra["last_business_date"]) == ("2026-01-01", "2026-01-02")
    assert len(extra["batch_ids"]) == extra["batches"] == 1


def _last_event(name):
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        query = session.query(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        return query.filter(AssetModel.name == name).order_by(AssetEvent.id.desc()).first().extra


def test_one_landed_event_wakes_its_ingestion_and_what_that_wakes_and_nothing_else(dagbag):
    """By the schedules as Airflow serialises them."""
    import re

    from airflow.serialization.serialized_objects import DagSerialization

    woken_by = {
        dag_id: set(
            re.findall(r"x-perennial://[a-z_]+/[a-z_]+", str(DagSerialization.to_dict(dag)["dag"]["timetable"]))
        )
        for dag_id, dag in dagbag.dags.items()
    }
    assert [dag_id for dag_id, assets in woken_by.items() if "x-perennial://landing/sales" in assets] == [
        "ingest_sales"
    ]
    assert [dag_id for dag_id, assets in woken_by.items() if "x-perennial://raw/sales" in assets] == ["build_warehouse"]


def test_airflows_backfill_of_a_range_makes_one_run_for_each_of_its_days(dagbag):
    """What `airflow backfill create --dag-id rerun_day` asks the timetable; test_events_in_airflow runs it."""
    from airflow.models.backfill import _get_info_list
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.from_dict(DagSerialization.to_dict(dagbag.dags["rerun_day"]))
    assert dag.timetable.periodic, "without a periodic timetable Airflow refuses a backfill"
    first, last = datetime(2017, 9, 28, tzinfo=UTC), datetime(2017, 10, 1, tzinfo=UTC)
    days = [
        info.logical_date.date().isoformat()
        for info in _get_info_list(dag=dag, from_date=first, to_date=last, reverse=False)
    ]
    assert days == ["2017-09-28", "2017-09-29", "2017-09-30", "2017-10-01"]
