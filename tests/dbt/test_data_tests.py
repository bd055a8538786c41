"""The data tests of the project find what they are there for."""

from __future__ import annotations

import shutil

import duckdb
import pytest

LOST = "assert_every_loaded_line_is_in_the_facts_or_replaced"
LINES = "assert_order_lines_sum_to_orders_to_the_cent"
DAILY = "assert_kpi_daily_agrees_with_orders_and_spend"
METRICS = "assert_metrics_revenue_agrees_with_orders"
DATED = "assert_no_line_is_dated_after_as_of"
VALID = "valid_rows_client_metrics_[0-9a-f]*"
STAGES = "assert_stages_of_a_client_follow_each_other_without_gaps"
COHORTS = "assert_cohorts_sum_to_the_revenue_of_known_clients"
GOODS = "assert_lines_and_what_has_none_sum_to_all_revenue"
CURVE = "assert_concentration_ends_with_all_clients_and_their_revenue"
DAMAGE = [
    (STAGES, "delete from marts.client_lifecycle_events where stage = 'at_risk'"),
    (STAGES, "update marts.client_lifecycle_events set left_on = left_on + 1 where left_on is not null"),
    (COHORTS, "update marts.cohort_retention set revenue = revenue + 0.01 where month_number = 0"),
    (COHORTS, "delete from marts.cohort_retention where month_number = 0 and cohort_month = date '2017-09-01'"),
    (GOODS, "delete from marts.category_metrics where product_line = '(none)'"),
    (CURVE, "update marts.concentration set clients = clients + 1 where percent_of_clients = 100"),
    (CURVE, "update marts.concentration set cumulative_revenue = -1 where percent_of_clients = 50"),
    (LOST, "update raw.ledger_batches set loaded = loaded + 1"),
    (LOST, "delete from raw.ledger_batches"),
    (LOST, "delete from intermediate.int_order_lines_netted where order_key = 'r3' and product_key = 'p1'"),
    (LOST, "delete from intermediate.int_order_lines_netted where order_key = 'r3'"),
    (
        LOST,
        "delete from raw.order_lines where order_key = 'r3'; delete from intermediate.int_order_lines_netted where order_key = 'r3'",
    ),
    (LOST, "insert into intermediate.int_order_lines_netted from intermediate.int_order_lines_netted limit 1"),
    (LINES, "update marts.fct_orders set revenue = revenue + 0.01 where order_key = 'r3'"),
    (LINES, "delete from marts.fct_orders"),
    (DAILY, "update marts.kpi_daily set revenue = revenue + 0.01 where business_date = date '2017-08-20'"),
    (DAILY, "update marts.kpi_daily set spend = spend + 0.01 where business_date = date '2017-08-20'"),
    (DAILY, "delete from marts.kpi_daily where business_date = date '2017-08-20'"),
    (METRICS, "update marts.client_metrics set revenue_total = revenue_total + 0.01 where orders_total = 18"),
    (METRICS, "update marts.client_metrics set orders_total = 17 where orders_total = 18"),
    (METRICS, "delete from marts.client_metrics where orders_total = 18"),
    (DATED, "update intermediate.int_order_lines_netted set ordered_on = date '2017-10-02' where order_key = 'g2'"),
    (VALID, "insert into marts.client_metrics from marts.client_metrics limit 1"),
    (VALID, "update marts.client_metrics set weekend_share_180d = 1.5 where orders_total = 18"),
    (VALID, "update marts.client_metrics set recency_days = -1 where orders_total = 18"),
    (VALID, "update marts.client_metrics set lifecycle_stage = null where orders_total = 18"),
    (VALID, "update marts.client_metrics set rfm_recency = 6 where orders_total = 18"),
    (VALID, "update marts.client_metrics set orders_30d = 400 where orders_total = 18"),
]


@pytest.fixture(scope="module")
def connection(built, tmp_path_factory):
    path = tmp_path_factory.mktemp("damaged") / built.path.name
    shutil.copy(built.path, path)
    with duckdb.connect(str(path)) as connected:
        yield connected


def sql_of(built, test):
    (path,) = (built.target / "compiled").rglob(f"{test}.sql")
    return path.read_text()


@pytest.mark.parametrize(("test", "damage"), DAMAGE)
def test_a_damage_is_found_by_the_test_that_is_there_for_it(built, connection, test, damage):
    query = sql_of(built, test)
    assert connection.sql(query).fetchall() == []
    connection.begin()
    try:
        connection.execute(damage)
        assert connection.sql(query).fetchall() != []
    finally:
        connection.rollback()


def test_all_dbt_unit_tests_pass(built):
    statuses = built.dbt("test", "2017-10-01", "--select", "test_type:unit")
    assert len(statuses) >= 14
    assert {name: status for name, status in statuses.items() if status != "pass"} == {}
