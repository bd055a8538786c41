"""The same days on PostgreSQL and on the embedded warehouse: equal tables, the same lists (L2)."""

from __future__ import annotations

import shutil
from decimal import Decimal
from pathlib import Path

import pytest

from factories.postgres_warehouse import new_database
from factories.same_tables import differences
from factories.small_shop import land_one_more_day, land_small_shop
from integration.running import REPOSITORY, perennial
from perennial.core.settings import Settings, load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.pipeline.build import build, publish
from perennial.pipeline.plan import plan
from perennial.pipeline.scores import score, train_if_due
from perennial.warehouse.engine import open_published
from reference import reference

URL = "PERENNIAL_WAREHOUSE_URL"


def settings_of(home: Path, url: str | None = None) -> Settings:
    return load_settings({"PERENNIAL_HOME": str(home), **({URL: url} if url else {})})


def files_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# Tables by date: a warehouse that begins with the last day has not the dates before it.
BY_DATE = (
    "client_scores",
    "client_scores_wide",
    "client_next_products",
    "client_next_purchases",
    "client_segments",
    "client_segments_history",
    "segment_sizes",
    "campaign_outcomes",
    "fct_campaign_results",
)


def test_both_engines_publish_equal_tables_to_the_last_bit(small_home, postgres, tmp_path):
    """The small shop's last day, embedded, and built anew from the same ledger and raw on PostgreSQL."""
    home = tmp_path / "home"
    shutil.copytree(small_home.path, home)
    settings = settings_of(home, new_database(postgres))
    run = last_run(open_ledger(settings))
    for step in (build, publish):
        step(settings, run)
    assert differences(settings_of(small_home.path), settings, without=BY_DATE) == {}


@pytest.mark.slow
def test_L2_days_run_by_the_command_on_postgresql_are_those_of_the_embedded_warehouse(small_home, postgres, tmp_path):
    url = new_database(postgres)
    land_small_shop(tmp_path / "landing")
    perennial(tmp_path, "run", **{URL: url})
    land_one_more_day(tmp_path / "landing", small_home.days[-1])
    perennial(tmp_path, "run", **{URL: url})
    assert files_below(tmp_path / "outbox") == files_below(small_home.path / "outbox") != {}
    assert differences(settings_of(small_home.path), settings_of(tmp_path, url)) == {}


@pytest.mark.slow
def test_L2_the_demo_shop_is_the_same_on_both_engines(real_home, postgres, tmp_path):
    url = new_database(postgres)
    for land, day in ((("--until",), real_home.days[0]), (("--day",), real_home.days[1])):
        perennial(tmp_path, "land", *land, str(day))
        perennial(tmp_path, "run", **{URL: url})
    assert files_below(tmp_path / "outbox") == files_below(real_home.path / "outbox") != {}
    assert differences(settings_of(real_home.path), settings_of(tmp_path, url)) == {}


@pytest.mark.slow
def test_online_retail_is_the_same_on_both_engines_and_its_sums_are_those_of_the_data_set(postgres, tmp_path):
    config = {"PERENNIAL_CONFIG": str(REPOSITORY / "config/examples/online_retail")}
    home, url = tmp_path / "home", new_database(postgres)
    perennial(home, "land", "--data", str(reference("data/online_retail_ii")), **config)
    perennial(home, "run", **config)
    embedded = load_settings({"PERENNIAL_HOME": str(home), **config})
    on_postgres = load_settings({"PERENNIAL_HOME": str(tmp_path / "other"), URL: url, **config})
    shutil.copytree(home, tmp_path / "other", ignore=lambda folder, _: {"warehouse"} if Path(folder) == home else set())
    run = last_run(open_ledger(on_postgres))
    for step in (build, publish, train_if_due, score, plan):
        step(on_postgres, run)
    assert differences(embedded, on_postgres) == {}
    query = "select sum(amount) as n from fct_order_lines where order_key like 'C%'"
    with open_published(on_postgres) as published:
        assert published.query(query).column("n")[0].as_py() == Decimal("-1465303.660")
