"""Which day is complete, what it is computed from, and when it waits (L2, L6)."""

from __future__ import annotations

import os
from datetime import date

import pytest
import sqlalchemy as sa

from perennial.core import clock
from perennial.core.errors import ContractViolation
from perennial.core.settings import load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance
from perennial.ledger.tables import batches
from perennial.pipeline.day import open_day, unused_batches, waiting_for

DAY, NEXT = date(2017, 10, 1), date(2017, 10, 2)
DAILY = [("shop", "sales"), ("crm", "households"), ("crm", "consents")]
LONG_AGO = 1_500_000_000


@pytest.fixture
def settings(tmp_path):
    return load_settings({"PERENNIAL_HOME": str(tmp_path)})


def _commit(settings, source, entity, as_of, *, first=None):
    row = {
        "batch_id": f"{source}-{entity}-{as_of}",
        "source": source,
        "source_entity": entity,
        "entity": "order_lines",
        "as_of": as_of,
        "state": "committed",
        "first_business_date": first or as_of,
        "last_business_date": as_of,
        "warnings": [],
        "reasons": [],
        "quarantined_by_rule": {},
        "recorded_at": clock.now().replace(tzinfo=None),
    }
    with open_ledger(settings).begin() as connection:
        connection.execute(sa.insert(batches).values(**row))
    return row["batch_id"]


def _commit_day(settings, day):
    return {_commit(settings, source, entity, day) for source, entity in DAILY}


def test_no_day_is_opened_before_anything_has_landed(settings):
    assert open_day(settings) is None
    assert waiting_for(settings) == ("no file has been landed yet",)


def test_L6_a_day_waits_for_every_daily_source_and_says_for_which(settings):
    _commit(settings, "shop", "sales", DAY)
    _commit(settings, "crm", "consents", DAY)
    assert open_day(settings) is None
    assert waiting_for(settings) == ("crm.households has not been landed for 2017-10-01",)
    with pytest.raises(ContractViolation, match=r"crm\.households has not been landed for 2017-10-01"):
        open_day(settings, DAY)


def test_a_complete_day_is_opened_with_exactly_the_batches_that_were_known(settings):
    known = _commit_day(settings, DAY)
    _commit(settings, "shop", "sales", NEXT)
    run = open_day(settings)
    assert run.as_of == DAY
    assert set(run.batch_ids) == known


def test_L2_a_day_that_is_opened_again_is_the_same_run(settings):
    _commit_day(settings, DAY)
    assert open_day(settings) == open_day(settings)


def test_a_late_batch_makes_a_new_revision_of_the_newest_day(settings):
    _commit_day(settings, DAY)
    first = open_day(settings)
    late = _commit(settings, "crm", "redemptions", DAY)
    second = open_day(settings)
    assert (first.run_id, second.run_id) == ("2017-10-01.r1", "2017-10-01.r2")
    assert late in second.batch_ids


def test_L2_a_past_day_keeps_the_batches_that_it_was_run_with(settings):
    _commit_day(settings, DAY)
    first = open_day(settings)
    _commit_day(settings, NEXT)
    assert open_day(settings).as_of == NEXT
    _commit(settings, "crm", "redemptions", DAY)
    past = open_day(settings, DAY)
    assert past.batch_ids == first.batch_ids
    assert not past.is_latest


def test_a_file_of_the_day_that_is_not_committed_yet_is_waited_for(settings):
    _commit_day(settings, DAY)
    path = settings.landing / f"crm/redemptions_{DAY}.csv"
    path.parent.mkdir(parents=True)
    path.write_text("household_id\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert open_day(settings) is None
    assert waiting_for(settings) == (f"crm/redemptions_{DAY}.csv lies in the landing zone",)
    path.unlink()
    assert open_day(settings).as_of == DAY


def test_a_file_of_tomorrow_does_not_hold_up_today(settings):
    _commit_day(settings, DAY)
    path = settings.landing / f"crm/redemptions_{NEXT}.csv"
    path.parent.mkdir(parents=True)
    path.write_text("household_id\n")
    os.utime(path, (LONG_AGO, LONG_AGO))
    assert open_day(settings).as_of == DAY


def test_L6_a_source_that_is_older_than_its_contract_says_stops_the_day(settings, tmp_path, monkeypatch):
    import shutil

    from perennial.core.settings import REPOSITORY

    config = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", config)
    sources = config / "sources.yml"
    on_change = "path: shop/products_{date}.csv.gz\n        cadence: on_change\n"
    assert on_change in sources.read_text()
    sources.write_text(sources.read_text().replace(on_change, on_change + "        max_age_days: 7\n"))
    strict = load_settings({"PERENNIAL_HOME": str(tmp_path / "home"), "PERENNIAL_CONFIG": str(config)})
    _commit_day(strict, DAY)
    with pytest.raises(ContractViolation, match=r"shop\.products: is of no date, more than 7 days before 2017-10-01"):
        open_day(strict)
    _commit(strict, "shop", "products", date(2017, 9, 24))
    assert open_day(strict).as_of == DAY


def test_batches_count_as_unused_until_a_run_with_them_is_done(settings):
    _commit_day(settings, DAY)
    run = open_day(settings)
    assert {report.entity for report in unused_batches(settings, ["crm"])} == {"households", "consents"}
    advance(open_ledger(settings), run.run_id, "done")
    assert unused_batches(settings, ["crm"]) == []
    _commit_day(settings, NEXT)
    assert open_day(settings).as_of == NEXT
    assert {report.as_of for report in unused_batches(settings, ["crm", "shop"])} == {NEXT}
