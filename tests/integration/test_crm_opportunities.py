"""CRM Sales Opportunities: a B2B company of which we know the CRM alone (issue 3)."""

from __future__ import annotations

import csv
import gzip
import shutil
from collections import Counter
from decimal import Decimal

import duckdb
import pytest

from integration.running import REPOSITORY, perennial, perennial_json
from perennial.core.settings import load_settings
from perennial.ledger.batches import committed
from perennial.ledger.engine import open_ledger
from perennial.pipeline.ingest import ingest
from reference import reference

pytestmark = pytest.mark.integration
DAY = "2017-12-31"
CONFIG = REPOSITORY / "config/examples/crm_opportunities"
TABLES = ("accounts", "products", "sales_teams", "sales_pipeline")


def _export(folder):
    """The files under the names that the example gives them."""
    data = reference("data/crm_sales_opportunities")
    folder.mkdir(parents=True)
    for table in TABLES:
        shutil.copyfile(data / f"{table}.csv.gz", folder / f"{table}_{DAY}.csv.gz")
    return folder


@pytest.fixture(scope="module")
def crm(tmp_path_factory):
    """The reports by entity, and what gives the rows of a raw table."""
    folder = tmp_path_factory.mktemp("crm")
    shutil.copytree(CONFIG, folder / "config")
    sources = folder / "config/sources.yml"
    sources.write_text(
        sources.read_text().replace("namespace: account #", "namespace: account\n    settle_seconds: 0 #")
    )
    settings = load_settings({"PERENNIAL_HOME": str(folder / "home"), "PERENNIAL_CONFIG": str(folder / "config")})
    _export(settings.landing / "crm")
    reports = {report.entity: report for report in ingest(settings)}

    def raw(entity: str, query: str) -> list[tuple]:
        [batch] = committed(open_ledger(settings), entity=entity)
        rows = duckdb.read_parquet(str(settings.home / batch.raw_path))
        return rows.query("raw", query).fetchall()

    return reports, raw


def test_L1_every_deal_is_accounted_for(crm):
    reports, _raw = crm
    rows = {name: (r.state, r.landed, r.loaded, r.quarantined, r.duplicate) for name, r in reports.items()}
    assert rows == {
        "accounts": ("committed", 85, 85, 0, 0),
        "products": ("committed", 7, 7, 0, 0),
        "agents": ("committed", 35, 35, 0, 0),
        "deals": ("committed", 8_800, 8_800, 0, 0),
    }


def test_stages_amounts_and_dates_are_those_of_the_data_set(crm):
    _reports, raw = crm
    stages = dict(raw("deals", "select stage, count(*) from raw group by stage"))
    assert stages == {"Won": 4_238, "Lost": 2_473, "Engaging": 1_589, "Prospecting": 500}
    [found] = raw(
        "deals",
        """
        select
            sum(amount) filter (stage = 'Won'), sum(amount) filter (stage = 'Lost'),
            count(*) filter (client_key is null), count(*) filter (stage = 'Prospecting' and opened_on is null),
            count(*) filter (stage in ('Won', 'Lost') and (opened_on is null or closed_on is null or amount is null)),
            min(opened_on)::varchar, max(closed_on)::varchar
        from raw
        """,
    )
    assert found == (Decimal(10_005_534), Decimal(0), 1_425, 500, 0, "2016-10-20", "2017-12-31")


def test_the_pipelines_word_for_a_product_and_misspelt_words_are_the_contract_s(crm):
    _reports, raw = crm
    products = dict(raw("deals", "select product_key, count(*) from raw group by product_key"))
    assert products["GTX Pro"] == 1_480
    assert set(products) <= {key for (key,) in raw("products", "select product_key from raw")}
    kinds = raw("clients", "select distinct client_kind from raw")
    assert kinds == [("company",)]
    [(misspelt,)] = raw(
        "clients", "select count(*) from raw where line_of_business = 'technolgy' or country = 'Philipines'"
    )
    [(mended,)] = raw("clients", "select count(*) from raw where line_of_business = 'technology'")
    assert (misspelt, mended) == (0, _sectors()["technolgy"])


def test_a_product_has_the_price_of_the_list(crm):
    _reports, raw = crm
    prices = dict(raw("products", "select product_key, list_price from raw"))
    assert (prices["GTX Pro"], prices["MG Special"], len(prices)) == (Decimal(4_821), Decimal(55), 7)


def _sectors() -> Counter:
    with gzip.open(reference("data/crm_sales_opportunities/accounts.csv.gz"), "rt") as file:
        return Counter(row["sector"] for row in csv.DictReader(file))


@pytest.mark.slow
def test_a_day_opens_and_builds_with_the_crm_alone(tmp_path):
    home, config = tmp_path / "home", {"PERENNIAL_CONFIG": str(CONFIG)}
    perennial(home, "land", "--data", str(_export(tmp_path / "export")), **config)
    perennial(home, "run", **config)
    [metrics] = perennial_json(
        home,
        "sql",
        "select count(*) as clients, sum(orders_total) as orders, sum(revenue_total) as revenue from client_metrics",
        **config,
    )
    assert (metrics["clients"], metrics["orders"], float(metrics["revenue"] or 0)) == (85, 0, 0)
    [deals] = perennial_json(
        home, "sql", "select count(*) as n, count(distinct client_id) as accounts from fct_deals", **config
    )
    assert deals == {"n": 8_800, "accounts": 85}
    [accounts] = perennial_json(
        home,
        "sql",
        "select count(*) as n, sum(members) as branches, sum(open_deals + won_deals) as deals, sum(won_amount) as won "
        "from dim_accounts where account_kind = 'company'",
        **config,
    )
    assert (accounts["n"], accounts["branches"], float(accounts["won"])) == (85, 15, 10_005_534)
    [segment] = perennial_json(
        home, "sql", "select count(*) as n from client_segments where segment = 'accounts_abroad'", **config
    )
    assert 0 < segment["n"] < 85
