"""When a landed file is whole: by standing still, by a marker, by a rename; landing, trigger and ingestion agree."""

from __future__ import annotations

import asyncio
import os
import time

import pytest

from factories.landing_zone import DAY, PRODUCTS, Zone
from perennial.core.errors import ConfigError
from perennial.orchestration.triggers import LandingTrigger
from perennial.sources.landing import STRAY, look, ready_files
from perennial.sources.shelf import carry_out, to_archive

NAME = f"shop/products_{DAY}.csv"
ROWS = f"{PRODUCTS}\np1,Milk,D,C,B,1,1 L\n"


def _zone(tmp_path, settle: float = 100, **ready) -> Zone:
    def change(sources):
        sources["shop"].update(ready=ready, settle_seconds=settle)
        sources["shop"]["entities"]["products"]["path"] = "shop/products_{date}.csv"

    return Zone(tmp_path, change)


def _age(path, seconds: float = 1_000) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def _ready(zone: Zone) -> dict[str, list[str]]:
    return {entity: [file.name for file in files] for entity, files in ready_files(zone.settings, "shop").items()}


def test_a_renamed_file_is_whole_at_once_and_a_half_written_one_is_never_touched(tmp_path):
    zone = _zone(tmp_path, by="rename")
    part = zone.land(f"{NAME}.part", ROWS[:20])
    zone.land(f"shop/.products_{DAY}.csv", ROWS[:20])
    _age(part)
    assert _ready(zone) == {}
    part.rename(zone.settings.landing / NAME)
    assert _ready(zone) == {"products": [NAME]}


def test_a_marked_file_is_whole_however_young_and_an_unmarked_one_waits_however_old_and_holds_nobody_up(tmp_path):
    zone = _zone(tmp_path, by="marker")
    other = NAME.replace("-02", "-03")
    zone.land(NAME, ROWS)
    zone.land(f"{NAME}.done", "")
    _age(zone.land(other, ROWS[:20]))
    assert _ready(zone) == {"products": [NAME]}
    assert look(zone.settings, "shop").waiting == {"products": [other]}


def test_the_marker_is_taken_away_with_its_file_whether_it_is_archived_or_refused(tmp_path):
    zone = _zone(tmp_path, by="marker", marker="ok_{name}")
    for name, content in ((NAME, ROWS), (NAME.replace("-02", "-03"), "no,header\n")):
        zone.land(name, content)
        zone.land(name.replace("shop/", "shop/ok_"), "")
    assert sorted(report.state for report in zone.ingest("shop")) == ["committed", "refused"]
    assert zone.names("landing") == []
    assert zone.names("archive") == [NAME]


def test_L1_a_marker_is_taken_away_also_when_the_move_was_killed_between_the_two(tmp_path):
    zone = _zone(tmp_path, by="marker")
    zone.land(NAME, ROWS)
    marker = zone.land(f"{NAME}.done", "")
    [move] = to_archive(zone.settings, look(zone.settings, "shop").ready["products"])
    (zone.settings.landing / NAME).unlink()
    carry_out(zone.settings, move)
    assert not marker.exists()


def test_a_new_file_under_the_name_keeps_its_marker(tmp_path):
    zone = _zone(tmp_path, by="marker")
    path, marker = zone.land(NAME, ROWS), zone.land(f"{NAME}.done", "")
    [file] = look(zone.settings, "shop").ready["products"]
    path.write_text(ROWS + "p2,x,D,C,B,1,1 L\n")
    for move in to_archive(zone.settings, [file]):
        carry_out(zone.settings, move)
    assert path.exists()
    assert marker.exists()


def test_a_marker_without_a_file_is_told_once_it_has_stood_for_a_while(tmp_path):
    zone = _zone(tmp_path, by="marker")
    marker = zone.land(f"{NAME}.done", "")
    assert _ready(zone) == {}
    _age(marker)
    assert _ready(zone) == {STRAY: [f"{NAME}.done"]}
    [(_file, problem)] = look(zone.settings, "shop").strays
    assert problem.message == f"a marker without its file {NAME}"


def test_a_file_that_nobody_takes_has_no_marker_and_is_told(tmp_path):
    zone = _zone(tmp_path, by="marker")
    _age(zone.land("shop/readme.txt", "x"))
    assert _ready(zone) == {STRAY: ["shop/readme.txt"]}


def test_the_markers_of_another_source_in_the_same_folder_are_its_own(tmp_path):
    def change(sources):
        sources["crm"]["ready"] = {"by": "marker"}
        sources["crm"]["entities"]["households"]["path"] = "shop/households_{date}.csv"

    zone = Zone(tmp_path, change)
    zone.land("shop/households_2017-10-02.csv", "x")
    zone.land("shop/households_2017-10-02.csv.done", "")
    assert _ready(zone) == {}
    assert [file.marker for file in look(zone.settings, "crm").ready["households"]] == [
        "shop/households_2017-10-02.csv.done"
    ]


@pytest.mark.parametrize("marker", ["done", "{name}", "{name}/done", "{name}{name}.ok", ".{name}", "{name}.{x}"])
def test_a_marker_must_be_the_name_of_a_file_beside_it(tmp_path, marker):
    with pytest.raises(ConfigError, match=r"sources.yml:\d+:sources.shop.ready.marker"):
        ready_files(_zone(tmp_path, by="marker", marker=marker).settings, "shop")


def test_what_is_fetched_has_no_markers_and_to_wait_for_them_is_a_mistake(tmp_path):
    def change(sources):
        entity = {
            **sources["shop"]["entities"]["products"],
            "path": "erp/products_{date}.parquet",
            "database": {"table": "products", "mode": "snapshot", "key": ["id"]},
        }
        sources["erp"] = {
            **sources["shop"],
            "ready": {"by": "marker"},
            "connection": {"kind": "database", "id": "erp"},
            "entities": {"products": entity},
        }

    with pytest.raises(ConfigError, match="what comes by a connection of kind database lands whole"):
        ready_files(Zone(tmp_path, change).settings, "erp")


def test_the_trigger_wakes_for_the_marker_and_not_for_the_file(tmp_path, monkeypatch):
    zone = _zone(tmp_path, by="marker")
    monkeypatch.setenv("PERENNIAL_HOME", str(zone.home))
    monkeypatch.setenv("PERENNIAL_CONFIG", str(zone.settings.config_dir))
    zone.land(NAME, ROWS)

    async def play():
        events = LandingTrigger(dag="ingest_sales", poll_seconds=0.01).run()
        pending = asyncio.ensure_future(anext(events))
        done, _ = await asyncio.wait([pending], timeout=0.2)
        zone.land(f"{NAME}.done", "")
        return done, (await asyncio.wait_for(pending, 20)).payload

    done, payload = asyncio.run(play())
    assert not done
    assert payload["names"] == [NAME]
