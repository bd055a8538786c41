"""Slow fixtures, shared by the whole session."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import pytest

from factories.small_shop import UNTIL, land_one_more_day, land_small_shop
from integration.running import perennial

ONE_MORE = UNTIL + timedelta(days=1)


@dataclass(frozen=True)
class Home:
    """A home folder in which days were run."""

    path: Path
    days: tuple[date, ...]


@pytest.fixture(scope="session")
def small_home(tmp_path_factory) -> Home:
    """The small shop, history and one more day, by the CLI. Read only: the copies are for those who change it."""
    home = tmp_path_factory.mktemp("small")
    land_small_shop(home / "landing")
    perennial(home, "run")
    land_one_more_day(home / "landing", ONE_MORE)
    perennial(home, "run")
    return Home(home, (UNTIL, ONE_MORE))


@pytest.fixture(scope="session")
def real_home(tmp_path_factory) -> Home:
    """The demo shop (Complete Journey), history to 2017-10-01 and one more day, by the CLI. Read only."""
    home = tmp_path_factory.mktemp("real")
    perennial(home, "land", "--until", "2017-10-01")
    perennial(home, "run")
    perennial(home, "land", "--day", "2017-10-02")
    perennial(home, "run")
    return Home(home, (date(2017, 10, 1), date(2017, 10, 2)))


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL of our own, on a Unix socket. Each test makes its own database in it."""
    from factories.databases import running_postgres

    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def peers_cache(tmp_path_factory) -> Path:
    """Where other programs that tests install are kept for the next run: beside the launcher's own environment."""
    home = Path(sys.prefix).parent
    folder = home / "peers" if home.name == ".perennial" else tmp_path_factory.mktemp("peers")
    folder.mkdir(exist_ok=True)
    return folder
