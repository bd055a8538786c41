"""Moving files once their fate is written down; a plan survives its process."""

from __future__ import annotations

import pytest

from factories.landing_zone import SALES_FILE, Zone
from perennial.core.errors import Problem
from perennial.sources.landing import ready_files
from perennial.sources.shelf import Journal, to_archive, to_refused


@pytest.fixture
def zone(tmp_path):
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, "first", pack=False)
    return zone


def _files(zone):
    return ready_files(zone.settings, "shop")["sales"]


def test_a_plan_is_carried_out_by_whoever_finds_it_and_then_forgotten(zone):
    Journal(zone.settings, "shop").plan("b1", to_archive(zone.settings, _files(zone)))
    journal = Journal(zone.settings, "shop")
    assert journal.planned() == ["b1"]
    journal.carry_out("b1")
    assert (journal.planned(), zone.names("landing"), zone.names("archive")) == ([], [], [SALES_FILE])


def test_another_file_that_came_under_the_name_meanwhile_is_not_moved(zone):
    journal = Journal(zone.settings, "shop")
    journal.plan("b1", to_archive(zone.settings, _files(zone)))
    zone.land(SALES_FILE, "the second one", pack=False)
    journal.carry_out("b1")
    assert (zone.names("landing"), zone.names("archive"), journal.planned()) == ([SALES_FILE], [], [])


def test_a_plan_of_which_the_ledger_knows_nothing_is_dropped(zone):
    journal = Journal(zone.settings, "shop")
    journal.plan("b1", to_archive(zone.settings, _files(zone)))
    assert zone.settings.archive.exists() is False
    zone.ingest("crm")
    assert journal.planned() == ["b1"]  # of another source
    journal.forget("b1")
    assert (journal.planned(), zone.names("landing")) == ([], [SALES_FILE])


def test_nothing_on_a_shelf_is_overwritten(zone):
    journal = Journal(zone.settings, "shop")
    for number in range(3):
        zone.land(SALES_FILE, f"content {number}", pack=False)
        journal.plan(
            "b1", to_refused(zone.settings, [(file, Problem(file.name, f"bad {number}")) for file in _files(zone)])
        )
        journal.carry_out("b1")
    shelf = zone.settings.refused
    assert [(shelf / f"{SALES_FILE}{end}").read_text() for end in ("", ".1", ".2")] == [
        "content 0",
        "content 1",
        "content 2",
    ]
    assert (shelf / f"{SALES_FILE}.2.reason.txt").read_text() == f"{SALES_FILE}: bad 2\n"
