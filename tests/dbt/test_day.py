"""One build of a small world, and what must hold of it."""

from __future__ import annotations

import shutil
from datetime import date
from decimal import Decimal

import pytest

from factories.dbt_warehouse import NAMESPACE, Raw, Warehouse, line, small_world
from perennial.core.ids import client_ref

AS_OF = "2017-10-01"
CUTS = ["2017-06-30", "2017-08-15", "2017-09-20"]
PERSONAL = {"first_name", "last_name", "email", "phone", "birth_date"}
MEASURED = {
    # 18 orders of 15.01 on the 1st, 11th and 21st of April to September
    "1": {
        "recency_days": 10, "days_since_first_order": 183, "tenure_days": 190, "orders_30d": 2, "orders_90d": 8,
        "orders_180d": 17, "orders_365d": 18, "orders_total": 18, "revenue_30d": Decimal("30.02"),
        "revenue_total": Decimal("270.18"), "average_order_365d": Decimal("15.01"), "lines_per_order_365d": 2.0,
        "discount_share_365d": 18 / 288.18, "gap_days_median": 10.0, "days_until_due": 0, "departments_180d": 2,
        "stores_180d": 2, "main_department_365d": "GROCERY", "orders_trend_90d": 8 / 9 - 1, "campaign_contacts_90d": 0,
        "campaign_contacts_total": 1, "redemptions_365d": 1, "rfm_recency": 5, "rfm_frequency": 5, "rfm_monetary": 5,
        "concentration_class": "A", "lifecycle_stage": "active", "currency": "USD", "as_of_date": date(2017, 10, 1),
        "signed_up_on": date(2017, 3, 25), "first_order_on": date(2017, 4, 1), "last_order_on": date(2017, 9, 21),
        "weekend_share_180d": 3 / 17, "revenue_share_total": 270.18 / 332.68,
    },
    # ordered for 7.00, then for 50.00, which a cancellation took back ten days later
    "2": {
        "orders_total": 1, "orders_90d": 0, "revenue_total": Decimal("7.00"), "revenue_90d": Decimal("0.00"),
        "returned_amount_365d": Decimal("50.00"), "last_order_on": date(2017, 6, 5), "departments_180d": 1,
        "lifecycle_stage": "lost", "days_until_due": None,
    },
    # never ordered
    "3": {
        "orders_total": 0, "revenue_total": Decimal("0.00"), "recency_days": None, "first_order_on": None,
        "average_order_365d": None, "discount_share_365d": None, "rfm_recency": None, "tenure_days": 190,
        "lifecycle_stage": "lead", "concentration_class": "C", "departments_180d": 0, "gap_days_median": None,
    },
    # known from a sale alone, of a product that no catalogue lists
    "4": {
        "orders_total": 1, "revenue_total": Decimal("12.50"), "main_department_365d": None, "departments_180d": 0,
        "signed_up_on": None, "tenure_days": 42, "stores_180d": 1, "lifecycle_stage": "at_risk",
    },
    # two equal lines are real, the postage is not revenue, one piece came back
    "5": {
        "orders_total": 1, "revenue_total": Decimal("40.00"), "returned_amount_365d": Decimal("40.00"),
        "units_90d": Decimal("1.00"), "lines_per_order_365d": 2.0, "lifecycle_stage": "new", "recency_days": 16,
    },
}  # fmt: skip


def row_of(warehouse, table, client_key):
    (row,) = warehouse.query(f"select * from {table} where client_id = ?", [client_ref(NAMESPACE, client_key)])
    return row


def plain(value):
    return float(value) if isinstance(value, Decimal) else value


@pytest.fixture(scope="module")
def trained(built, tmp_path_factory):
    """A copy of the built day with features and labels of past dates beside it."""
    copy = Warehouse(tmp_path_factory.mktemp("trained") / "build.duckdb", tmp_path_factory.mktemp("training_target"))
    shutil.copy(built.path, copy.path)
    copy.dbt("run", AS_OF, "--select", "client_features", "client_labels", training=True, as_of_dates=[*CUTS, AS_OF])
    return copy


def test_every_model_is_built_and_every_data_test_passes(day):
    _, statuses = day
    assert len(statuses) >= 45
    assert {name: status for name, status in statuses.items() if status not in ("success", "pass")} == {}


@pytest.mark.parametrize("client_key", sorted(MEASURED))
def test_a_client_is_measured_as_by_hand(built, client_key):
    found, expected = row_of(built, "marts.client_metrics", client_key), MEASURED[client_key]
    assert {name: plain(found[name]) for name in expected} == pytest.approx(
        {name: plain(value) for name, value in expected.items()}
    )


def test_guests_have_no_metrics_and_are_in_the_daily_figures(built):
    assert len(built.query("from marts.client_metrics")) == len(built.query("from marts.dim_clients")) == 6
    (day,) = built.query("from marts.kpi_daily where business_date = date '2017-08-20'")
    assert (day["revenue"], day["guest_revenue"], day["orders"], day["buyers"], day["new_clients"]) == (
        Decimal("62.4900"), Decimal("99.9900"), 2, 1, 1,
    )  # fmt: skip
    assert len(built.query("from marts.kpi_daily")) == 184


def test_a_client_of_sales_alone_has_the_country_of_her_order_and_is_marked(built):
    known, unknown = row_of(built, "marts.dim_clients", "1"), row_of(built, "marts.dim_clients", "4")
    assert (known["is_in_crm"], known["has_email"], known["has_phone"], known["age_band"]) == (
        True,
        True,
        False,
        "45-54",
    )
    assert (unknown["is_in_crm"], unknown["has_email"], unknown["country"], unknown["client_key"]) == (
        False, False, "CA", "4",
    )  # fmt: skip


def test_departments_of_a_client_are_those_she_bought_and_kept(built):
    bought = built.query(
        "select product_line, orders_180d, revenue_180d from marts.client_product_matrix where client_id in (?, ?) order by all",
        [client_ref(NAMESPACE, "1"), client_ref(NAMESPACE, "2")],
    )
    assert [tuple(row.values()) for row in bought] == [
        ("GROCERY", 1, Decimal("7.0000")), ("GROCERY", 17, Decimal("170.1700")), ("HOME", 17, Decimal("85.0000")),
    ]  # fmt: skip


def test_L3_metrics_and_features_of_one_date_are_equal_in_every_column_they_share(built):
    metrics = {row["client_id"]: row for row in built.query("from marts.client_metrics where orders_total > 0")}
    features = {row["client_id"]: row for row in built.query("from marts.client_features")}
    shared = set(next(iter(metrics.values()))) & set(next(iter(features.values())))
    assert metrics.keys() == features.keys()
    assert len(shared) >= 25
    for client_id, row in features.items():
        assert {name: plain(metrics[client_id][name]) for name in shared} == pytest.approx(
            {name: plain(row[name]) for name in shared}, abs=0.00005
        )


@pytest.mark.parametrize("cut", CUTS)
def test_L3_features_of_a_past_date_are_those_that_were_made_on_that_day(empty, trained, cut):
    empty.fill(small_world().known_on(cut), cut).dbt("run", cut, "--select", "+client_features")
    then = empty.query("from marts.client_features order by client_id")
    now = trained.query("from training.client_features where as_of_date = cast(? as date) order by client_id", [cut])
    assert then
    assert now == then


def test_L3_training_leaves_what_the_day_publishes_as_it_was(built, trained):
    assert trained.tables("marts") == built.tables("marts")
    at_as_of = trained.query("from training.client_features where as_of_date = date '2017-10-01' order by all")
    assert at_as_of == built.query("from marts.client_features order by all")


def test_a_label_tells_what_followed_where_its_horizon_is_observed(trained):
    labels = {
        (row["client_id"], row["as_of_date"].isoformat()): row for row in trained.query("from training.client_labels")
    }
    regular, stopped, buyer = (client_ref(NAMESPACE, key) for key in ("1", "6", "2"))
    first = labels[regular, "2017-06-30"]
    # (2017-06-30, 2017-09-28] holds the nine orders of July, August and September
    assert (first["bought_next_churn_horizon"], first["revenue_next_value_horizon"]) == (1, Decimal("135.0900"))
    assert labels[stopped, "2017-06-30"]["bought_next_churn_horizon"] == 0
    assert labels[buyer, "2017-06-30"]["revenue_next_value_horizon"] == Decimal("0.0000")
    # her order of 2017-08-10 lies before the date; nothing followed it but its cancellation
    assert labels[buyer, "2017-08-15"]["bought_next_churn_horizon"] == 0
    late = labels[regular, "2017-09-20"]
    assert (late["churn_horizon_observed"], late["value_horizon_observed"]) == (False, False)
    assert (late["bought_next_churn_horizon"], late["revenue_next_value_horizon"]) == (None, None)


def test_the_labels_pass_their_unit_tests(trained):
    statuses = trained.dbt("test", AS_OF, "--select", "client_labels,test_type:unit", training=True)
    assert set(statuses.values()) == {"pass"}


def test_L2_rows_dated_after_the_business_date_change_nothing(built, empty):
    later = Raw()
    later.add("order_lines", "2017-10-02", [
        line("n1", "1", "2017-10-02", "500.00"), line("n2", "9", "2017-10-02", "1.00"),
        line("r17", "1", "2017-10-02", "0.01"),  # a correction of an order of September
        line("Cn", "5", "2017-10-02", "-40.00", quantity=-1, line_kind="cancellation"),
    ], batch_seq=7)  # fmt: skip
    later.add("clients", "2017-10-02", [{"client_key": "1", "email": None}, {"client_key": "8"}], batch_seq=7)
    later.add("products", "2017-10-02", [{"product_key": "p1", "department": "TEA"}], batch_seq=7)
    later.add("campaign_contacts", "2017-10-02", [
        {"campaign_key": "k1", "client_key": "3", "contacted_on": "2017-09-30"}
    ], batch_seq=7)  # fmt: skip
    later.add("redemptions", "2017-10-02", [
        {"client_key": "1", "coupon_key": "u9", "redeemed_on": "2017-09-30"}
    ], batch_seq=7)  # fmt: skip
    empty.fill(small_world().joined(later), AS_OF)
    statuses = empty.build(AS_OF)
    assert set(statuses.values()) == {"success", "pass"}
    assert empty.tables("marts") == built.tables("marts")
    assert empty.tables("private") == built.tables("private")


def test_L4_a_corrected_order_gives_the_tables_of_an_order_that_was_right_at_once(empty, tmp_path, parsed):
    corrected = [line("r17", "1", "2017-09-21", "20.00"), line("r17", "1", "2017-09-21", "20.00")]
    late = small_world().add("order_lines", "2017-09-30", corrected, batch_seq=5)
    at_once = small_world()
    kept = [row for row in at_once.rows["order_lines"] if row["order_key"] != "r17"]
    at_once = Raw({**at_once.rows, "order_lines": kept}).add("order_lines", "2017-09-30", corrected, batch_seq=5)
    empty.fill(late, AS_OF)
    other = Warehouse(tmp_path / "other.duckdb", parsed).fill(at_once, AS_OF)
    assert {*empty.dbt("run", AS_OF).values(), *other.dbt("run", AS_OF).values()} == {"success"}
    assert empty.tables("marts") == other.tables("marts")


def test_L22_personal_columns_stand_in_the_private_schema_alone(built):
    columns = built.query(
        "select schema_name, table_name, column_name from duckdb_columns() where schema_name <> 'raw' and not internal"
    )
    personal = {row["schema_name"] for row in columns if row["column_name"] in PERSONAL}
    assert personal == {"private"}
    (contact,) = built.query("from private.contacts where client_id = ?", [client_ref(NAMESPACE, "1")])
    assert (contact["first_name"], contact["email"]) == ("Ann", "1@example.com")
    text = str(built.tables("marts"))
    assert "example.com" not in text
    assert "Ann" not in text
