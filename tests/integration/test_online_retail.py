"""Online Retail II by the CLI with its own config: a wholesaler with cancellations and two files that overlap.

Expected figures are those of the data set's own description, in exact decimals over the 1,044,847 lines.
"""

from __future__ import annotations

import csv
from decimal import Decimal

import pytest

from integration.running import REPOSITORY, perennial, perennial_json
from reference import reference

pytestmark = pytest.mark.slow
DAY = "2011-12-09"
CONFIG = {"PERENNIAL_CONFIG": str(REPOSITORY / "config/examples/online_retail")}
# Their large orders were taken back: gross, they would be among the best of their year.
TAKEN_BACK = {"12346", "16446"}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Both files landed, and the day run."""
    folder = tmp_path_factory.mktemp("online_retail")
    data = reference("data/online_retail_ii")
    perennial(folder, "land", "--data", str(data), **CONFIG)
    perennial(folder, "run", **CONFIG)
    return folder


def _sql(home, query):
    return perennial_json(home, "sql", query, **CONFIG)


def _lists(home):
    return {path.parent.name: list(csv.DictReader(path.open())) for path in home.glob(f"outbox/{DAY}/*/list.csv")}


def test_L1_every_landed_line_is_loaded_or_the_duplicate_of_one(home):
    (batch,) = _sql(home, "select landed, loaded, quarantined, duplicate from ledger_batches")
    assert batch == {"landed": 1_067_370, "loaded": 1_044_847, "quarantined": 0, "duplicate": 22_523}
    (lines,) = _sql(home, "select count(*) as n from fct_order_lines")
    assert lines["n"] == batch["loaded"]


def test_sales_and_cancellations_are_those_of_the_data_set_to_the_tenth_of_a_penny(home):
    (sums,) = _sql(
        home,
        "select cast(sum(amount) filter (where order_key not like 'C%' and order_key not like 'A%' and quantity > 0) as text)"
        " as sales, cast(sum(amount) filter (where order_key like 'C%') as text) as cancellations from fct_order_lines",
    )
    assert Decimal(sums["sales"]) == Decimal("20522661.858")
    assert Decimal(sums["cancellations"]) == Decimal("-1465303.660")


def test_sales_without_a_client_are_shown_as_guests_and_belong_to_no_client(home):
    (sums,) = _sql(
        home,
        "select cast(sum(amount) as text) as guests from fct_order_lines where client_id is null"
        " and order_key not like 'C%' and order_key not like 'A%' and quantity > 0",
    )
    assert Decimal(sums["guests"]) == Decimal("3091128.680")
    (kpis,) = _sql(
        home, "select cast(sum(guest_revenue) as text) as guests, cast(sum(revenue) as text) as revenue from kpi_daily"
    )
    (facts,) = _sql(
        home,
        "select cast(sum(revenue) filter (where client_id is null) as text) as guests, cast(sum(revenue) as text) as revenue"
        " from fct_orders",
    )
    (clients,) = _sql(home, "select cast(sum(revenue_total) as text) as known from client_metrics")
    assert kpis == facts
    assert Decimal(facts["revenue"]) - Decimal(facts["guests"]) == Decimal(clients["known"])


def test_what_was_written_off_without_a_client_is_no_return(home):
    kinds = {
        row["line_kind"]: row
        for row in _sql(
            home,
            "select line_kind, count(*) as lines, cast(sum(revenue) as text) as revenue, sum(units) as units,"
            " count(client_id) as clients from fct_order_lines where quantity < 0 group by line_kind",
        )
    }
    assert kinds["write_off"]["clients"] == 0
    assert Decimal(kinds["write_off"]["revenue"]) == 0
    assert kinds["write_off"]["units"] == 0
    assert "return" not in kinds  # a wholesaler's files know cancellations only


@pytest.mark.parametrize(("sale", "cancellation"), [("541431", "C541433"), ("581483", "C581484")])
def test_the_two_large_orders_that_were_taken_back_are_netted(home, sale, cancellation):
    orders = _sql(
        home,
        "select order_key, counts_as_order, cast(revenue as text) as revenue, voided_on is not null as voided"
        f" from fct_orders where order_key in ('{sale}', '{cancellation}') order by order_key",
    )
    assert [row["order_key"] for row in orders] == [sale, cancellation]
    assert sum(Decimal(row["revenue"]) for row in orders) == 0
    assert [(row["counts_as_order"], row["voided"]) for row in orders] == [(False, True), (False, False)]


def test_postage_fees_and_bad_debt_are_kept_apart_from_revenue(home):
    rows = _sql(
        home,
        "select line_kind, cast(sum(amount) as text) as amount, cast(sum(revenue) as text) as revenue from fct_order_lines"
        " where line_kind in ('fee', 'adjustment') group by line_kind order by line_kind",
    )
    assert [row["line_kind"] for row in rows] == ["adjustment", "fee"]
    assert all(Decimal(row["amount"]) != 0 and Decimal(row["revenue"]) == 0 for row in rows)


def test_cancellations_are_netted_so_that_an_order_taken_back_makes_nobody_a_best_client(home):
    metrics = _sql(
        home,
        "select d.client_key, m.revenue_365d, m.orders_365d, m.revenue_total from client_metrics as m"
        " join dim_clients as d using (client_id) where d.client_key in ('12346', '16446') order by 1",
    )
    assert metrics == [
        {"client_key": "12346", "revenue_365d": 0.0, "orders_365d": 0, "revenue_total": 169.36},
        {"client_key": "16446", "revenue_365d": 2.9, "orders_365d": 1, "revenue_total": 2.9},
    ]
    gross = _sql(
        home,
        "select client_key from fct_order_lines join dim_clients using (client_id) where line_kind = 'sale'"
        f" and ordered_on > date '{DAY}' - 365 group by client_key order by sum(amount) desc limit 20",
    )
    assert {row["client_key"] for row in gross} >= TAKEN_BACK


def test_lists_are_ordered_by_value_and_led_by_real_accounts(home):
    lists = _lists(home)
    assert set(lists) == {"best_accounts__account_manager", "overdue_accounts__account_manager"}
    for name, rows in lists.items():
        values = [Decimal(row["value"]) for row in rows]
        assert len(values) > 20, name
        assert values == sorted(values, reverse=True)
        assert {row["client_key"] for row in rows}.isdisjoint(TAKEN_BACK)


def test_it_is_explained_why_the_client_whose_order_was_taken_back_is_on_no_list(home):
    told = perennial(home, "explain", "12346", "--as-of", DAY, **CONFIG).stdout
    assert "revenue_365d > 0 (revenue_365d is 0.0); orders_365d >= 2 (orders_365d is 0)" in told
    assert told.count("not_in_audience") == 2
