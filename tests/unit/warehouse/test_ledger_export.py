from __future__ import annotations

import re
from datetime import date, datetime

import pytest
import sqlalchemy as sa

from factories.tiny_warehouse import commit
from perennial.core.settings import REPOSITORY
from perennial.ledger import export, runs
from perennial.ledger.engine import open_ledger
from perennial.ledger.tables import assignments, deliveries

BEFORE, DAY, NEXT = date(2017, 9, 30), date(2017, 10, 1), date(2017, 10, 2)


@pytest.fixture
def engine(settings):
    return open_ledger(settings)


def exported(engine, run):
    return {name: reader.read_all().to_pylist() for name, reader in export.ledger_tables(engine, run)}


def insert(engine, table, *rows):
    with engine.begin() as connection:
        connection.execute(sa.insert(table), list(rows))


def delivery(client_id, as_of):
    return {
        "campaign_id": "k", "client_id": client_id, "channel": "email", "as_of": as_of, "action": "add",
        "destination": "outbox", "list_id": "l", "row_hash": "h", "state": "accepted",
        "recorded_at": datetime(2017, 10, 3),
    }  # fmt: skip


def test_L2_a_run_sees_its_own_batches_and_their_files_and_no_others(settings, engine):
    commit(settings, "b1", "order_lines", DAY, 3)
    commit(settings, "b2", "order_lines", NEXT, 4)
    found = exported(engine, runs.open_run(engine, DAY, ("b1",), "config"))
    assert [(row["batch_id"], row["landed"], row["warnings"]) for row in found["ledger_batches"]] == [
        ("b1", 3, '["a warning"]')
    ]
    assert [row["name"] for row in found["ledger_batch_files"]] == ["b1.csv"]


def test_L3_nothing_that_was_sent_or_run_after_the_date_is_seen(engine):
    insert(engine, deliveries, *(delivery("c", day) for day in (BEFORE, DAY, NEXT)))
    run = runs.open_run(engine, DAY, (), "config")
    runs.open_run(engine, NEXT, (), "config")
    found = exported(engine, run)
    assert [row["as_of"] for row in found["ledger_deliveries"]] == [BEFORE]
    assert [row["run_id"] for row in found["ledger_runs"]] == ["2017-10-01.r1"]


def test_L26_only_what_models_or_people_read_is_copied(engine):
    found = exported(engine, runs.open_run(engine, DAY, (), "config"))
    sources = (REPOSITORY / "dbt_project/models/sources.yml").read_text(encoding="utf-8")
    assert set(found) == set(re.findall(r"ledger_[a-z_]+", sources))


def test_L2_what_is_copied_of_runs_does_not_change_while_they_work(engine):
    run = runs.open_run(engine, DAY, (), "config")
    before = exported(engine, run)
    runs.advance(engine, run.run_id, "done", version_id="000001-2017-10-01-publish")
    assert exported(engine, run) == before


def test_L26_rows_come_in_chunks_in_the_order_of_the_key(engine, monkeypatch):
    monkeypatch.setattr(export, "_ROWS", 10)
    insert(engine, deliveries, *(delivery(f"c{n:03d}", BEFORE) for n in reversed(range(25))))
    run = runs.open_run(engine, DAY, (), "config")
    tables = {name: list(reader) for name, reader in export.ledger_tables(engine, run)}
    sizes = [batch.num_rows for batch in tables["ledger_deliveries"]]
    ids = [value for batch in tables["ledger_deliveries"] for value in batch.column("client_id").to_pylist()]
    assert sizes == [10, 10, 5]
    assert ids == [f"c{n:03d}" for n in range(25)]


def test_a_copy_that_is_under_way_keeps_no_writer_waiting(engine):
    insert(engine, deliveries, delivery("c", BEFORE))
    run = runs.open_run(engine, DAY, (), "config")
    for name, reader in export.ledger_tables(engine, run):
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":  # elsewhere a writer that waits fails after a minute
                connection.exec_driver_sql("pragma busy_timeout = 0")
            connection.execute(
                sa.insert(assignments),
                {"experiment": "e", "client_id": name[-16:], "arm": "control", "assigned_on": NEXT},
            )
            connection.commit()
        reader.read_all()


def test_raw_files_are_those_of_the_runs_batches_in_the_order_of_their_ids(settings, engine):
    for batch_id in ("b3", "b1", "b2"):
        commit(settings, batch_id, "order_lines", DAY, 1)
    run = runs.open_run(engine, DAY, ("b3", "b1"), "config")
    raw = settings.raw / "order_lines"
    assert export.raw_files(engine, run, settings.home) == {"order_lines": [raw / "b1.parquet", raw / "b3.parquet"]}


def test_versions_of_runs_that_are_not_done_are_in_use(engine):
    for day, state in ((DAY, "done"), (NEXT, "scored"), (date(2017, 10, 3), "open")):
        run = runs.open_run(engine, day, (), "config")
        runs.advance(engine, run.run_id, state, version_id=None if state == "open" else f"v-{day}")
    assert export.unfinished_versions(engine, 6) == ["v-2017-10-02"]
    assert export.unfinished_versions(engine, 1) == []
