"""The spool: durable before it is acknowledged, landed by whoever comes first, whole after a kill."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from factories.event_shop import age_spool, order, rows_below, write_config
from perennial.contracts.connections import EventRead
from perennial.core.errors import RetryableError, RowRejected
from perennial.core.settings import load_settings
from perennial.sources import events
from perennial.sources.config import load_sources
from perennial.sources.eventrows import parse_events, rows_of
from perennial.sources.events import Spool, gathered, land_due


@pytest.fixture
def settings(tmp_path):
    """Settings of the event shop."""
    config = write_config(tmp_path / "config", wakes_within_seconds=10, port=1)
    return load_settings({"PERENNIAL_HOME": str(tmp_path / "home"), "PERENNIAL_CONFIG": str(config)})


@pytest.fixture
def web(settings):
    """The source `web`."""
    return load_sources(settings).sources["web"]


def _spool(settings, web, **more):
    return Spool(settings, "web", "orders", web.entities["orders"], **more)


def _line(number: int) -> bytes:
    return json.dumps(order(number)).encode()


def test_what_is_gathered_is_not_seen_by_ingestion_until_it_is_landed(settings, web):
    from perennial.sources.landing import look

    spool = _spool(settings, web)
    spool.append([_line(1), _line(2)])
    assert look(settings, "web").ready == {}
    assert gathered(settings, "web", web) == {"orders": len(_line(1)) + len(_line(2)) + 2}
    (name,) = land_due(settings, "web", web, everything=True)
    assert [file.name for file in look(settings, "web").ready["orders"]] == [name]
    assert gathered(settings, "web", web) == {}


def test_events_wait_no_longer_than_the_entity_says_and_all_files_of_it_go_together(settings, web):
    _spool(settings, web).append([_line(1)])
    age_spool(settings.landing, 9)
    assert land_due(settings, "web", web) == []
    age_spool(settings.landing, 2)
    _spool(settings, web).append([_line(2)])  # another process, a moment ago
    assert len(land_due(settings, "web", web)) == 2
    assert land_due(settings, "web", web) == []


def test_a_steady_stream_lands_by_the_hand_of_its_writer(settings, web):
    spool = _spool(settings, web)
    spool.append([_line(1)])
    (path,) = settings.landing.glob("web/.spool/*/*.jsonl")
    age_spool(settings.landing, 11)
    spool._path = next(path.parent.glob("*.jsonl"))
    spool.append([_line(2)])
    assert [row["order_id"] for row in rows_below(settings.landing, "web/orders_*.jsonl")] == ["o1", "o2"]


def test_a_time_in_the_future_is_no_reason_to_wait(settings, web):
    _spool(settings, web).append([_line(1)])
    age_spool(settings.landing, -3_600)
    assert len(land_due(settings, "web", web)) == 1


def test_a_writer_whose_file_was_landed_goes_on_in_a_new_one(settings, web):
    spool = _spool(settings, web)
    spool.append([_line(1)])
    land_due(settings, "web", web, everything=True)
    spool.append([_line(2)])
    assert [row["order_id"] for row in rows_below(settings.landing, "web/orders_*.jsonl")] == ["o1"]
    assert [row["order_id"] for row in rows_below(settings.landing, "web/.spool/*/*.jsonl")] == ["o2"]


def test_two_processes_never_share_a_file(settings, web):
    first, second = _spool(settings, web), _spool(settings, web)
    first.append([_line(1)])
    second.append([_line(2)])
    assert len(list(settings.landing.glob("web/.spool/*/*.jsonl"))) == 2


def test_a_forked_child_leaves_its_parents_file_alone(settings, web):
    spool = _spool(settings, web)
    spool.append([_line(1)])
    child = os.fork()
    if child == 0:
        spool.append([_line(2)])
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    spool.append([_line(3)])
    by_file = [
        [json.loads(line)["order_id"] for line in path.read_text().splitlines()]
        for path in sorted(settings.landing.glob("web/.spool/*/*.jsonl"))
    ]
    assert by_file == [["o1", "o3"], ["o2"]]


def test_a_large_file_lands_at_once(settings, web, monkeypatch):
    monkeypatch.setattr(events, "ROTATE_BYTES", 500)
    spool = _spool(settings, web)
    for number in range(12):
        spool.append([_line(number)])
    assert len(rows_below(settings.landing, "web/orders_*.jsonl")) >= 8
    everything = rows_below(settings.landing, "web/orders_*.jsonl") + rows_below(
        settings.landing, "web/.spool/*/*.jsonl"
    )
    assert sorted(row["order_id"] for row in everything) == sorted(f"o{n}" for n in range(12))


def test_a_file_of_so_many_rows_lands_at_once(settings, web):
    spool = _spool(settings, web, max_rows=3)
    for number in range(7):
        spool.append([_line(number)])
    assert len(rows_below(settings.landing, "web/orders_*.jsonl")) == 6


def test_L1_half_a_line_that_a_kill_left_is_cut_off_and_kept_aside(settings, web):
    _spool(settings, web).append([_line(1), _line(2)])
    (path,) = settings.landing.glob("web/.spool/*/*.jsonl")
    torn = b'{"order_id": "o3", "cust' + b"x" * 70_000
    with path.open("ab") as file:
        file.write(torn)
    land_due(settings, "web", web, everything=True)
    assert [row["order_id"] for row in rows_below(settings.landing, "web/orders_*.jsonl")] == ["o1", "o2"]
    (aside,) = settings.refused.glob("spool/*.torn")
    assert aside.read_bytes() == torn
    assert aside.stat().st_mode & 0o077 == 0


def test_a_file_of_nothing_but_half_a_line_or_of_nothing_is_gone(settings, web):
    folder = events.spool_folder(settings, "web", "orders", web.entities["orders"])
    folder.mkdir(parents=True)
    (folder / "00000000000000000001-a.jsonl").write_bytes(b"")
    (folder / "00000000000000000002-b.jsonl").write_bytes(b'{"order_id"')
    assert land_due(settings, "web", web) == []
    assert list(folder.iterdir()) == []
    assert list(settings.landing.glob("web/*.jsonl")) == []


def test_a_folder_that_cannot_be_written_is_told_as_a_thing_to_try_again(settings, web):
    settings.landing.mkdir(parents=True)
    (settings.landing / "web").write_text("a file where the folder should be")
    with pytest.raises(RetryableError, match=r"web\.orders: events cannot be kept: .*free space"):
        _spool(settings, web).append([_line(1)])


def test_a_failed_sync_promises_nothing_and_the_next_event_has_a_new_file(settings, web, monkeypatch):
    spool = _spool(settings, web)
    spool.append([_line(1)])
    real = os.fsync

    def broken(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").readlink().suffix == ".jsonl":
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(RetryableError):
        spool.append([_line(2)])
    monkeypatch.setattr(os, "fsync", real)
    spool.append([_line(2)])
    assert len(list(settings.landing.glob("web/.spool/*/*.jsonl"))) == 2
    assert [row["order_id"] for row in rows_below(settings.landing, "web/.spool/*/*.jsonl")] == ["o1", "o2"]


def _entity(settings, **reading):
    entity = load_sources(settings).sources["web"].entities["orders"]
    return entity.model_copy(update={"events": EventRead.model_validate(reading)})


EVENT = {
    "topic": "orders/create",
    "order": {"id": 7, "paid": True},
    "tags": ["a"],
    "data": {"items": [{"sku": "x"}, {"sku": "x"}]},
}


@pytest.mark.parametrize(
    ("match", "rows"),
    [
        ({}, 1),
        ({"topic": "orders/create"}, 1),
        ({"topic": "orders/paid"}, 0),
        ({"order.id": "7", "order.paid": "true"}, 1),
        ({"order.paid": "True"}, 0),
        ({"order": "7"}, 0),
        ({"tags": "a"}, 0),
        ({"nothing.here": ""}, 0),
    ],
)
def test_events_are_matched_by_dotted_fields(settings, match, rows):
    assert len(rows_of(EVENT, _entity(settings, match=match), "web", arrival=1)) == rows


def test_rows_of_a_list_within_an_event_carry_the_event_without_its_lists(settings):
    rows = [json.loads(row) for row in rows_of(EVENT, _entity(settings, records="data.items"), "web", arrival=5)]
    parent = {
        "topic": "orders/create",
        "order": {"id": 7, "paid": True},
        "data": {"items": [{"sku": "x"}, {"sku": "x"}]},
    }
    assert [row["sku"] for row in rows] == ["x", "x"], "equal lines of one event are real"
    assert rows[0]["_event"]["order"] == parent["order"]
    assert "tags" not in rows[0]["_event"]
    assert {row["_sequence"] for row in rows} == {5}


@pytest.mark.parametrize("records", ["order.id", "nothing", "tags"])
def test_an_event_without_its_list_of_rows_is_refused(settings, records):
    with pytest.raises(RowRejected, match=f"field '{records}' of the event is not a list of objects"):
        rows_of(EVENT, _entity(settings, records=records), "web", arrival=1)


def test_L23_a_small_event_cannot_become_gigabytes(settings):
    event = {"text": "x" * 100_000, "rows": [{"n": n} for n in range(10_000)]}
    with pytest.raises(RowRejected, match="come to more than"):
        rows_of(event, _entity(settings, records="rows"), "web", arrival=1)


def test_the_body_of_many_events_is_taken_apart():
    assert parse_events(b' [{"a": 1}, {"a": 2}] ', "web") == [{"a": 1}, {"a": 2}]
    assert parse_events(b"[]", "web") == []


def test_a_config_whose_events_cannot_be_gathered_is_told_with_its_line(tmp_path):
    from perennial.core.errors import ConfigError

    config = write_config(tmp_path / "config", port=1)
    text = (config / "sources.yml").read_text()
    text = text.replace("web/orders_*.jsonl", "web/orders.jsonl").replace("stream: shop.orders", "stream: ''")
    (config / "sources.yml").write_text(text)
    settings = load_settings({"PERENNIAL_HOME": str(tmp_path / "home"), "PERENNIAL_CONFIG": str(config)})
    with pytest.raises(ConfigError) as raised:
        load_sources(settings)
    said = [(problem.where.split(":")[-1], problem.message) for problem in raised.value.problems]
    assert said == [
        ("sources.web.entities.orders.path", "files of events need names of their own, and the path has no *"),
        ("sources.bus.entities.orders.events", "a queue's events need the name of their stream"),
    ]
