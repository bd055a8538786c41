"""The published day of the small shop, trained once for all tests of scores; each test has a ledger of its own."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
import sqlalchemy as sa

from factories.small_shop import land_small_shop
from perennial.core.settings import load_settings
from perennial.ledger.cards import cards_until
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run, version_of
from perennial.ledger.tables import model_cards
from perennial.pipeline.build import build, publish
from perennial.pipeline.day import open_day
from perennial.pipeline.ingest import ingest
from perennial.pipeline.scores import score, train_if_due
from perennial.warehouse.reader import open_published

REPOSITORY = Path(__file__).resolve().parents[3]


class Day:
    """The published day of the small shop with a ledger of its own: what a test does to the ledger, others do not see."""

    def __init__(self, settings):
        self.settings = settings

    @property
    def engine(self):
        return open_ledger(self.settings)

    @property
    def run(self):
        run = last_run(self.engine)
        assert run is not None
        return run

    @property
    def cards(self):
        return cards_until(self.engine, "churn_risk", date(2100, 1, 1))

    def train(self):
        return train_if_due(self.settings, self.run)

    def score(self):
        return score(self.settings, self.run)

    def scored(self, name="churn_risk") -> pa.Table:
        """The published rows of one score."""
        with open_published(self.settings, version_of(self.engine, self.run.run_id)) as published:
            return published.query("select * from client_scores where score = ? order by client_id", [name])

    def altered(self, **changes):
        """The one card of churn with other values; `card` is merged into what it says."""
        (card,) = self.cards
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(model_cards)
                .where(model_cards.c.model_version == card.model_version)
                .values(card={**card.card, **changes.pop("card", {})}, **changes)
            )

    def forget_cards(self):
        with self.engine.begin() as connection:
            connection.execute(sa.delete(model_cards))


@pytest.fixture(scope="session")
def built_shop(tmp_path_factory):
    """A home whose day is published and trained, and copies of its ledger before and after training."""
    home = tmp_path_factory.mktemp("small")
    settings = load_settings({"PERENNIAL_HOME": str(home), "PERENNIAL_CONFIG": str(_config(home))})
    land_small_shop(settings.landing)
    ingest(settings)
    run = open_day(settings)
    assert run is not None
    build(settings, run)
    publish(settings, run)
    _copy(settings, home / "published.db")
    report = train_if_due(settings, run)
    _copy(settings, home / "trained.db")
    return settings, report


def _config(home):
    """The demo shop's config, but for a sender whose files are complete when they are there."""
    config = home / "config"
    shutil.copytree(REPOSITORY / "config", config)
    sources = config / "sources.yml"
    sources.write_text(sources.read_text().replace("settle_seconds: 2", "settle_seconds: 0"))
    return config


def _copy(settings, target):
    open_ledger(settings).dispose()
    with sa.create_engine(f"sqlite:///{settings.home / 'ledger.db'}").connect() as connection:
        connection.exec_driver_sql(f"vacuum into '{target}'")


def _day(built_shop, name, tmp_path):
    settings, _ = built_shop
    ledger = tmp_path / "ledger.db"
    shutil.copy(settings.home / f"{name}.db", ledger)
    return Day(settings.model_copy(update={"ledger_override": f"sqlite:///{ledger}"}))


@pytest.fixture
def published(built_shop, tmp_path):
    return _day(built_shop, "published", tmp_path)


@pytest.fixture
def trained(built_shop, tmp_path):
    return _day(built_shop, "trained", tmp_path)
