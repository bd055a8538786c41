"""Looking at the landing zone: what is whole, whose it is, and at what price."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from datetime import date

import pytest

from factories.landing_zone import SALES_FILE, Zone
from perennial.core.errors import ConfigError
from perennial.core.settings import REPOSITORY
from perennial.sources.landing import STRAY, look, ready_files


def _slow(sources):
    for source in sources.values():
        source["settle_seconds"] = 100


@pytest.fixture
def zone(tmp_path):
    return Zone(tmp_path, _slow)


def _age(path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_ready_files_have_their_name_below_landing_size_time_and_date(zone):
    path = zone.land(SALES_FILE, "x" * 10, pack=False)
    _age(path, 200)
    [file] = ready_files(zone.settings, "shop")["sales"]
    assert (file.name, file.size, file.file_date) == (SALES_FILE, 10, date(2017, 10, 2))
    assert file.mtime_ns == path.stat().st_mtime_ns


def test_all_files_of_an_entity_wait_while_one_of_them_is_unsettled_and_become_one_batch(zone):
    for day in (1, 2, 3):
        _age(zone.land(f"shop/sales_2017-10-0{day}.csv.gz", "x"), 200)
    _age(zone.land("shop/sales_2017-10-04.csv.gz", "x"), 10)
    found = look(zone.settings, "shop")
    assert found.ready == {}
    assert found.waiting == {"sales": ["shop/sales_2017-10-04.csv.gz"]}
    _age(zone.home / "landing/shop/sales_2017-10-04.csv.gz", 200)
    assert [f.file_date.day for f in ready_files(zone.settings, "shop")["sales"]] == [1, 2, 3, 4]


def test_a_time_of_change_that_lies_in_the_future_does_not_hold_a_file_up_for_ever(zone):
    _age(zone.land(SALES_FILE, "x"), -7200)
    assert [f.name for f in ready_files(zone.settings, "shop")["sales"]] == [SALES_FILE]


def test_settled_files_that_nobody_takes_stand_under_their_own_key(zone):
    _age(zone.land("shop/readme.txt", "x"), 200)
    zone.land("shop/being_written.txt", "x")
    assert {key: [f.name for f in files] for key, files in ready_files(zone.settings, "shop").items()} == {
        STRAY: ["shop/readme.txt"]
    }


def test_files_in_folders_of_no_source_are_nobodys_business(zone):
    _age(zone.land("elsewhere/sales_2017-10-02.csv.gz", "x"), 200)
    _age(zone.land("sales_2017-10-02.csv.gz", "x"), 200)
    assert ready_files(zone.settings, "shop") == {}


def test_a_file_of_another_source_in_the_same_folder_is_not_refused(tmp_path):
    def same_folder(sources):
        sources["crm"]["entities"]["households"]["path"] = "shop/households_{date}.csv"

    zone = Zone(tmp_path, same_folder)
    zone.land("shop/households_2017-10-02.csv", "x")
    assert ready_files(zone.settings, "shop") == {}
    assert list(ready_files(zone.settings, "crm")) == ["households"]


def test_a_name_that_two_entities_take_is_refused_with_both(tmp_path):
    def overlapping(sources):
        sources["shop"]["entities"]["products"]["path"] = "shop/*_{date}.csv.gz"

    zone = Zone(tmp_path, overlapping)
    zone.land(SALES_FILE, "x")
    [(_file, problem)] = look(zone.settings, "shop").strays
    assert problem.message == "sales and products both take this file name"


def test_a_pipe_is_never_opened(zone):
    zone.settings.landing.joinpath("shop").mkdir(parents=True)
    os.mkfifo(zone.settings.landing / SALES_FILE)
    assert look(zone.settings, "shop").ready == {}


def test_an_unknown_source_is_told_with_the_known_ones(zone):
    with pytest.raises(ConfigError, match="there is no source 'shopp' -> name one of shop, crm"):
        ready_files(zone.settings, "shopp")


def test_looking_imports_neither_pandas_nor_duckdb_nor_arrow():
    code = (
        "import sys; from perennial.sources.landing import ready_files; from perennial.sources.config import load_sources;"
        "print([m for m in ('pandas', 'duckdb', 'pyarrow', 'great_expectations', 'sqlalchemy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY / "plugins")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
