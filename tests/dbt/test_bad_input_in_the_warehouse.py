"""What sources should not send and do: one small world of all of it, built and tested once, each case by its figures."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from math import isfinite
from typing import Any

import duckdb
import pytest

from factories.bad_input import AS_OF, LARGEST, NAMES, bad_world, fill_bad_world
from factories.databases import running_postgres
from factories.dbt_warehouse import NAMESPACE, Raw, Warehouse, line
from factories.postgres_warehouse import PostgresWarehouse, new_database
from factories.same_tables import difference
from perennial.core.ids import client_ref
from perennial.warehouse.postgres.session import open_session

LINES = 4_000  # of the client with very many
TOLD = {"assert_a_product_is_in_one_category": "warn", "assert_ages_of_clients_are_possible": "warn"}
ATMOST = Decimal(LARGEST)


@pytest.fixture(scope="module")
def built_world(tmp_path_factory, parsed):
    warehouse = fill_bad_world(Warehouse(tmp_path_factory.mktemp("bad") / "build.duckdb", parsed), lines=LINES)
    return warehouse, warehouse.build(AS_OF)


@pytest.fixture(scope="module")
def shop(built_world):
    return built_world[0]


@pytest.fixture(scope="module")
def clients(shop):
    """client_metrics by the key that the source gives its client."""
    rows = shop.query("select c.client_key, m.* from marts.client_metrics m join marts.dim_clients c using (client_id)")
    return {row["client_key"]: row for row in rows}


def rows(shop: Any, sql: str) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in shop.query(sql)]


def figures(row: dict[str, Any], *names: str) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)


def told(statuses: dict[str, str]) -> dict[str, str]:
    return {name: said.partition(":")[0] for name, said in statuses.items() if said not in ("success", "pass")}


def test_every_model_is_built_and_all_but_two_warnings_pass(built_world):
    assert told(built_world[1]) == TOLD


def test_no_figure_of_any_published_table_is_infinite_not_a_number_or_an_overflow(shop):
    odd, looked = [], 0
    for table, columns in _columns(shop, "DOUBLE", "DECIMAL(18,4)").items():
        tests = {
            name: f"not isfinite({name})" if kind == "DOUBLE" else f"abs({name}) = {LARGEST}" for name, kind in columns
        }
        looked += len(tests)
        for row in shop.query(f"select * from marts.{table} where {' or '.join(tests.values())}"):
            unbounded = [row[name] for name, kind in columns if kind == "DOUBLE" and row[name] is not None]
            if not all(map(isfinite, unbounded)) or not _may_be_largest(row):
                odd.append((table, row))
    assert odd == []
    assert looked > 150


def _columns(shop: Any, *kinds: str) -> dict[str, list[tuple[str, str]]]:
    """Of every published table its columns of these types."""
    found: dict[str, list[tuple[str, str]]] = {}
    sql = "select table_name, column_name, data_type from duckdb_columns() where schema_name = 'marts' order by 1, 2"
    for table, column, kind in rows(shop, sql):
        if kind in kinds:
            found.setdefault(table, []).append((column, kind))
    return found


def _may_be_largest(row: dict[str, Any]) -> bool:
    """What is sold for the largest amount that there is, on its days, to its client; deals of it; its product."""
    golden = {client_ref(NAMESPACE, "edge"), client_ref(NAMESPACE, "dealer")}
    return (
        row.get("client_id") in golden
        or row.get("business_date") in {date(2017, 5, 1), date(2017, 5, 2)}
        or row.get("product_key") == "gold"
    )


def test_L1_no_line_is_lost_and_clients_and_guests_are_all(shop):
    # one delivery of an order was replaced by the next, one line is of 2999
    assert rows(shop, "select count(*) from marts.fct_order_lines") == rows(
        shop, "select count(*) - 2 from raw.order_lines"
    )
    ((every,),) = rows(shop, "select sum(revenue) from marts.fct_order_lines")
    ((known,),) = rows(shop, "select sum(revenue_total) from marts.client_metrics")
    ((guests,),) = rows(shop, "select sum(revenue) from marts.fct_orders where client_id is null")
    assert guests == Decimal(5)
    assert known + guests == every == sum(EXPECTED.values()) + guests
    assert rows(shop, "select sum(revenue), sum(guest_revenue) from marts.kpi_daily") == [(every, guests)]
    assert rows(shop, "select sum(revenue) from marts.cohort_retention") == [(known,)]
    assert rows(shop, "select sum(revenue_total) from marts.category_metrics") == [(every,)]


EXPECTED = {
    "free": Decimal(0), "paid_back": Decimal(-5), "ghost": Decimal(11), "billions": Decimal(12_345_600_000),
    "nothing": Decimal(0), "edge": Decimal(0), "early": Decimal(-29), "twin": Decimal(124), "dated": Decimal(9),
    "anna": Decimal(35), "long": LINES * 18 * Decimal("0.01") / 20,
}  # fmt: skip


def test_every_client_has_the_revenue_that_her_lines_add_up_to(clients):
    found = {key: row["revenue_total"] for key, row in clients.items() if row["revenue_total"] or key in EXPECTED}
    assert found == EXPECTED


def test_clients_without_orders_are_leads_with_nothing_to_divide(clients):
    leads = {key: row for key, row in clients.items() if row["orders_total"] == 0}
    assert set(leads) == {*NAMES, "lead", "dealer", "early", "aged_120", "aged_121", "aged_200", "roman"}
    for key, row in leads.items():
        assert row["lifecycle_stage"] == "lead", key
        assert figures(row, "average_order_total", "recency_days", "rfm_monetary", "gap_days_mean") == (None,) * 4


def test_orders_without_clients_are_guests_or_clients_whom_no_crm_knows(shop, clients):
    assert rows(shop, "select order_key, revenue from marts.fct_orders where client_id is null order by 1") == [
        ("guest-1", Decimal(7)), ("guest-2", Decimal(-2)),
    ]  # fmt: skip
    assert rows(shop, "select client_key from marts.dim_clients where not is_in_crm order by 1") == [
        ("anna",), ("ghost",), ("long",),
    ]  # fmt: skip
    assert figures(clients["ghost"], "orders_total", "lifecycle_stage") == (1, "new")
    assert rows(shop, "select is_in_catalogue, category from marts.dim_products where product_key = 'nowhere'") == [
        (False, None)
    ]


def test_orders_for_nothing_count_and_their_shares_are_unknown_or_whole(clients):
    free, nothing = clients["free"], clients["nothing"]
    assert figures(free, "orders_total", "average_order_total", "discount_share_total", "returned_share_total") == (
        2, Decimal(0), 1.0, None,
    )  # fmt: skip
    assert figures(nothing, "orders_total", "units_total", "average_order_total", "discount_share_total") == (
        1, Decimal(0), Decimal(0), None,
    )  # fmt: skip
    assert free["concentration_class"] == nothing["concentration_class"] == "C"


def test_a_sale_of_less_than_nothing_is_a_sale_that_brought_less_than_nothing(clients, shop):
    row = clients["paid_back"]
    assert figures(row, "orders_total", "average_order_total", "returned_amount_total", "concentration_class") == (
        1, Decimal(-5), Decimal(0), "C",
    )  # fmt: skip
    assert rows(shop, "select revenue, sold_amount from marts.kpi_daily where business_date = '2017-09-02'") == [
        _of_day(shop, "2017-09-02")
    ]


def _of_day(shop: Any, day: str) -> tuple[Any, ...]:
    found = rows(
        shop,
        "select sum(amount), sum(case when line_kind = 'sale' then amount else 0 end) from raw.order_lines "
        f"where cast(ordered_at as date) = date '{day}'",
    )
    return found[0]


def test_what_came_back_before_it_was_sold_finds_no_sale_and_a_later_cancellation_does(shop, clients):
    found = rows(
        shop,
        "select order_key, sale_order_key, matched_units, days_kept from marts.fct_returns where batch_id <> 'long' order by 1",
    )
    assert found == [
        ("early-1", None, Decimal(0), None), ("early-3", "early-2", Decimal(1), 1), ("early-4", None, Decimal(0), None),
        ("edge-2", "edge-1", Decimal(1), 1),
    ]  # fmt: skip
    assert figures(clients["early"], "returned_amount_total", "returned_share_total", "units_total") == (
        Decimal(49), 2.45, Decimal(-2),
    )  # fmt: skip


def test_L4_of_one_id_the_later_delivery_holds_and_of_two_sources_both_are_sales(shop, clients):
    found = rows(shop, "select source, revenue, lines from marts.fct_orders where order_key = 'same' order by source")
    assert found == [("shop", Decimal(24), 2), ("till", Decimal(100), 1)]
    assert figures(clients["twin"], "orders_total", "average_order_total") == (2, Decimal(62))


def test_a_product_in_two_categories_is_in_that_of_the_more_believed_source_and_is_counted_once(shop):
    assert rows(shop, "select category, department from marts.dim_products where product_key = 'p1'") == [
        ("TEA", "FOOD")
    ]
    ((lines,),) = rows(shop, "select count(*) from marts.fct_order_lines where product_key = 'p1'")
    ((joined,),) = rows(
        shop,
        "select count(*) from marts.fct_order_lines join marts.dim_products using (product_key) where category = 'TEA'",
    )
    assert lines == joined > 0


def test_days_of_1850_and_1970_are_counted_and_those_of_2999_wait(shop, clients):
    row = clients["dated"]
    assert figures(row, "first_order_on", "last_order_on", "orders_total", "days_since_first_order") == (
        date(1850, 3, 1), date(2017, 10, 1), 3, 61_210,
    )  # fmt: skip
    assert figures(row, "gap_days_mean", "lifecycle_stage", "recency_days") == (30_605.0, "won_back", 0)
    assert rows(shop, "select min(business_date), max(business_date) from marts.kpi_daily") == [
        (date(1850, 3, 1), date(2017, 10, 1))
    ]
    assert rows(shop, "select min(business_date) from marts.dim_dates") == [(date(1900, 1, 1),)]
    assert rows(shop, "select revenue from marts.kpi_daily where business_date = '1970-01-01'") == [(Decimal(3),)]
    assert rows(shop, "select count(*) from marts.fct_orders where order_key = 'later'") == [(0,)]
    assert "unborn" not in clients
    assert rows(shop, "select ends_on from marts.dim_campaigns where campaign_key = 'endless'") == [
        (date(2999, 12, 31),)
    ]


def test_clients_of_any_age_have_their_stage_and_history_and_an_age_that_a_person_can_have(shop):
    found = rows(
        shop,
        "select client_key, age from marts.dim_clients where client_key in ('aged_120', 'aged_121', 'aged_200', 'roman')",
    )
    assert dict(found) == {"aged_120": 120, "aged_121": None, "aged_200": None, "roman": None}
    history = rows(
        shop,
        "select client_key, lifecycle_stage, stage_entered_on, count(*) from marts.client_metrics_history "
        "join marts.dim_clients using (client_id) where client_key in ('aged_200', 'roman') group by all order by 1",
    )
    assert history == [("aged_200", "lead", date(1817, 1, 1), 36), ("roman", "lead", date(1, 1, 1), 36)]


def test_a_billion_pieces_without_an_amount_are_multiplied_exactly(shop, clients):
    assert figures(clients["billions"], "units_total", "margin_total", "concentration_class") == (
        Decimal(10) ** 9, Decimal(2_345_500_000), "A",
    )  # fmt: skip
    assert rows(shop, "select revenue, cost, margin from marts.fct_orders where order_key = 'billion'") == [
        (Decimal(12_345_600_000), Decimal(10_000_100_000), Decimal(2_345_500_000))
    ]


def test_the_largest_amount_is_sold_brought_back_and_averaged_and_a_margin_beyond_it_is_unknown(shop, clients):
    row = clients["edge"]
    assert figures(row, "returned_amount_total", "discount_total", "discount_share_total", "returned_share_total") == (
        ATMOST, ATMOST, 0.5, 1.0,
    )  # fmt: skip
    assert rows(shop, "select revenue, margin from marts.fct_orders where order_key like 'edge%' order by 1") == [
        (-ATMOST, None), (ATMOST, None),
    ]  # fmt: skip
    # twenty deals of the largest amount are of that amount on average
    assert clients["dealer"]["average_project_value"] == ATMOST
    averages = rows(shop, "select average_order from marts.kpi_daily where business_date = '2017-05-01'")
    assert averages == [(ATMOST,)]


def test_a_term_of_a_million_years_makes_nothing_due(shop):
    found = rows(shop, "select count(*) from marts.client_product_matrix where due_by = 'term'")
    assert found == [(0,)]


def test_one_person_in_two_records_has_the_orders_of_both_in_metrics_stages_and_history(shop, clients):
    anna = client_ref(NAMESPACE, "anna")
    assert figures(clients["anna"], "client_id", "orders_total", "gap_days_mean", "first_order_on") == (
        anna, 2, 151.0, date(2017, 1, 10),
    )  # fmt: skip
    assert "anna_again" not in clients
    stages = rows(
        shop, f"select changed_on, stage from marts.client_lifecycle_events where client_id = '{anna}' order by 1"
    )
    assert stages == [
        (date(2017, 1, 10), "new"), (date(2017, 2, 7), "at_risk"), (date(2017, 4, 4), "lost"), (date(2017, 6, 10), "won_back"),
        (date(2017, 7, 8), "at_risk"), (date(2017, 9, 2), "lost"),
    ]  # fmt: skip
    history = rows(
        shop,
        f"select month, revenue_total from marts.client_metrics_history where client_id = '{anna}' and row_kind = 'month_end' order by 1",
    )
    assert dict(history)[date(2017, 5, 1)] == Decimal(30)
    assert dict(history)[date(2017, 6, 1)] == Decimal(35)
    assert (history[0][0], len(history)) == (date(2017, 1, 1), 9)


def test_L22_names_in_any_script_stand_in_the_private_contacts_alone(shop):
    kept = rows(shop, "select first_name, last_name from private.contacts where first_name is not null")
    assert set(kept) == set(NAMES.values())
    names = ", ".join("'{}'".format(name.replace("'", "''")) for pair in NAMES.values() for name in pair)
    for table, columns in _columns(shop, "VARCHAR").items():
        test = " or ".join(f"{column} in ({names})" for column, _ in columns)
        assert rows(shop, f"select count(*) from marts.{table} where {test}") == [(0,)], table


def test_a_client_with_very_many_lines_has_the_figures_of_all_of_them(shop, clients):
    _assert_long(shop, clients["long"], LINES)


def _assert_long(shop: Any, row: dict[str, Any], lines: int) -> None:
    sold, back = lines * 19 // 20, lines // 20
    cent = Decimal("0.01")
    assert figures(row, "orders_total", "units_total", "revenue_total", "returned_amount_total", "order_days_total") == (
        lines * 9 // 100 + 1, Decimal(sold - back), (sold - back) * cent, back * cent, 100,
    )  # fmt: skip
    assert figures(row, "gap_days_mean", "gap_days_sd", "gap_days_trend") == (1.0, 0.0, 0.0)
    assert rows(shop, "select lines, revenue from marts.fct_orders where order_key = 'huge'") == [
        (lines // 10, lines * 18 // 200 * cent)
    ]


@pytest.mark.slow
def test_sums_beyond_the_largest_amount_stop_no_model_and_are_told_by_the_data_tests(tmp_path, parsed):
    raw = bad_world()
    more: Raw = raw.add("order_lines", AS_OF, [
        line(f"rich-{n}", "rich", "2017-06-01", LARGEST, product="gold", cost_amount="1", tax_amount=LARGEST) for n in range(30)
    ], batch_seq=20)  # fmt: skip
    warehouse = Warehouse(tmp_path / "build.duckdb", parsed).fill(more, AS_OF)
    statuses = warehouse.dbt("run", AS_OF)
    assert told(statuses) == {}
    assert {said.partition(":")[0] for name, said in told(warehouse.dbt("test", AS_OF, "--select", "test_type:singular")).items()
            if "agrees" in name} == {"fail"}  # fmt: skip
    assert rows(warehouse, "select revenue, average_order from marts.kpi_daily where business_date = '2017-06-01'") == [
        (ATMOST, (ATMOST / 30).quantize(Decimal("0.0001")))
    ]


@pytest.mark.slow
def test_the_world_is_the_same_on_postgresql(built_world, tmp_path):
    shop, statuses = built_world
    with running_postgres() as server:
        other = PostgresWarehouse(new_database(server), tmp_path / "postgres")
        other.target.mkdir(parents=True)
        fill_bad_world(Warehouse(other.raw_copy, other.target), lines=LINES)
        other.take_raw()
        found = other.build(AS_OF)
        assert told(found) == TOLD
        assert set(found) == set(statuses)
        assert _differences(shop, other) == {}


def _differences(ours: Warehouse, theirs: PostgresWarehouse) -> dict[str, str]:
    found = {}
    with duckdb.connect(str(ours.path), read_only=True) as embedded, open_session(theirs.settings) as session:
        for schema, place in (("marts", "build"), ("private", "private")):
            names = embedded.execute(
                "select table_name from duckdb_tables() where schema_name = ?", [schema]
            ).fetchall()
            for (name,) in names:
                table = embedded.sql(f"from {schema}.{name}").to_arrow_table()
                told_of = difference(table, session.table(f"select * from {place}.{name}"))
                if told_of:
                    found[name] = told_of
    return found
