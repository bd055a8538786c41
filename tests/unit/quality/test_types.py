"""From text to typed values: numbers, dates, times and zones, white space, kinds of lines."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal

import pytest

from factories.landing_zone import DAY, HOUSEHOLDS, SALES_FILE, Zone, sale, sales
from perennial.core.errors import ConfigError
from perennial.core.ids import client_ref
from unit.quality.checked_files import broken, checked, column, values


def _sales_format(**changes):
    def change(sources):
        sources["shop"]["entities"]["sales"]["format"].update(changes)

    return change


def _land_quantities(zone: Zone, *texts: str, delimiter: str = ",") -> None:
    lines = [sale(quantity=text) for text in texts] if delimiter == "," else []
    if delimiter != ",":
        lines = [delimiter.join(["10001", "1", "p", "2017-10-02T12:00:00Z", text, "1", "0", "s"]) for text in texts]
    zone.land(SALES_FILE, sales(*lines).replace(",", delimiter, 7) if delimiter != "," else sales(*lines))


def test_a_number_is_exact_and_zero_is_a_number(tmp_path):
    zone = Zone(tmp_path)
    _land_quantities(zone, "0", "0.0", "10", "100", "1.2345", "+3", "0.1")
    found = column(zone, "shop", "sales", "quantity")
    assert found == [Decimal(n) for n in ("0", "0", "10", "100", "1.2345", "3", "0.1")]


@pytest.mark.parametrize("text", ["two", "1 000", "nan", "inf", "0x10", "1.2.3", "99999999999999999999", "-", "1,5"])
def test_what_is_not_a_number_is_told_and_not_guessed(tmp_path, text):
    zone = Zone(tmp_path)
    _land_quantities(zone, f'"{text}"')
    with checked(zone, "shop", "sales") as checker:
        assert broken(checker) == {"type:quantity": 1}


def test_a_decimal_comma_is_read_where_the_contract_says_so_and_a_point_is_then_no_number(tmp_path):
    zone = Zone(tmp_path, _sales_format(decimal=",", delimiter=";"))
    _land_quantities(zone, "1,5", "0,25", "7", "1.5", "1.234,5", delimiter=";")
    assert column(zone, "shop", "sales", "quantity") == [Decimal("1.5"), Decimal("0.25"), Decimal(7), None, None]


@pytest.mark.parametrize(
    ("decimal", "thousands", "good"),
    [
        (",", ".", {"1.234,56": "1234.56", "12": "12", "-1.234.567,8": "-1234567.8", "1234,5": "1234.5"}),
        (".", ",", {"1,234.56": "1234.56", "1,234": "1234", "0.5": "0.5"}),
        (",", " ", {"1 234,5": "1234.5", "1\u00a0234\u202f567": "1234567"}),
        (".", "'", {"1'234.5": "1234.5", "1\u2019234": "1234"}),
    ],
)
def test_thousands_are_read_where_the_contract_says_so_and_only_between_groups_of_three(
    tmp_path, decimal, thousands, good
):
    zone = Zone(tmp_path, _sales_format(delimiter=";", decimal=decimal, thousands=thousands))
    mark = thousands or ""
    bad = [f"1{mark}23", f"12{mark}3456", f"12{mark}34", f"1{mark}{mark}234", "1e3", "1_000", f"1{decimal}5{mark}000"]
    _land_quantities(zone, *good, *bad, delimiter=";")
    read = column(zone, "shop", "sales", "quantity")
    assert [str(value.normalize()) if value is not None else None for value in read] == [
        *(str(Decimal(text).normalize()) for text in good.values()),
        *[None] * len(bad),
    ]


def _times(zone: Zone, *texts: str) -> list:
    zone.land(SALES_FILE, sales(*(sale(at=text) for text in texts)))
    return column(zone, "shop", "sales", "ordered_at")


def test_L25_a_time_with_an_offset_is_that_moment_and_one_without_is_in_the_contract_s_zone(tmp_path):
    found = _times(
        Zone(tmp_path, _sales_format(timestamps_in="Europe/London")),
        "2017-07-01T12:00:00Z", "2017-07-01T12:00:00+02:00", "2017-07-01 12:00:00", "2017-07-01T12:00", "2017-12-01 12:00:00.5",
        "2017-07-01T12:00:00-0330",
    )  # fmt: skip
    assert found == [
        datetime(2017, 7, 1, 12),
        datetime(2017, 7, 1, 10),
        datetime(2017, 7, 1, 11),
        datetime(2017, 7, 1, 11),
        datetime(2017, 12, 1, 12, 0, 0, 500_000),
        datetime(2017, 7, 1, 15, 30),
    ]


def test_a_time_with_an_offset_is_that_moment_also_where_the_zone_is_utc(tmp_path):
    assert _times(Zone(tmp_path), "2017-07-01T12:00:00+02:00", "2017-07-01 12:00:00") == [
        datetime(2017, 7, 1, 10),
        datetime(2017, 7, 1, 12),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "01.07.2017 12:00",
        "2017-13-01T00:00:00Z",
        "2017-02-30 10:00",
        "1498910400",
        "infinity",
        "epoch",
        "2017-07-01T25:00:00Z",
    ],
)
def test_what_is_not_a_time_is_null_and_told(tmp_path, text):
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(sale(at=text)))
    with checked(zone, "shop", "sales") as checker:
        assert values(checker, "ordered_at") == [(None,)]
        assert broken(checker) == {"type:ordered_at": 1}


def test_times_in_a_format_of_strptime_codes(tmp_path):
    zone = Zone(tmp_path, _sales_format(timestamp_format="%d.%m.%Y %H:%M", timestamps_in="Europe/Berlin"))
    assert _times(zone, "01.07.2017 12:00", "2017-07-01 12:00") == [datetime(2017, 7, 1, 10), None]
    zone = Zone(tmp_path / "z", _sales_format(timestamp_format="%d/%m/%Y %H:%M %z", timestamps_in="Europe/Berlin"))
    assert _times(zone, "01/07/2017 12:00 -0400") == [datetime(2017, 7, 1, 16)]


def test_dates_are_iso_or_in_the_contract_s_format(tmp_path):
    def german(sources):
        sources["crm"]["entities"]["households"]["format"] = {"date_format": "%d.%m.%Y"}

    rows = [
        f"{i},A,B,,,{text},2017-01-01"
        for i, text in enumerate(["1980-02-29", "1980-2-9", "29.02.1980", "1981-02-29", "1980/02/29", "infinity"])
    ]
    for folder, change, wanted in (
        ("iso", None, [date(1980, 2, 29), None, None, None, None, None]),
        ("german", german, [None, None, date(1980, 2, 29), None, None, None]),
    ):
        zone = Zone(tmp_path / folder, change)
        zone.land(f"crm/households_{DAY}.csv", "\n".join([HOUSEHOLDS, *rows]) + "\n")
        assert column(zone, "crm", "households", "birth_date") == wanted


def test_L25_the_business_date_of_a_column_is_the_company_s_on_both_days_when_the_clocks_change(tmp_path):
    def by_column(sources):
        sources["shop"]["entities"]["sales"].update(business_date="ordered_at", path="shop/sales_*.csv.gz")

    zone = Zone(tmp_path, by_column)  # New York: 12 March and 5 November 2017
    moments = [
        ("2017-03-12T04:59:59Z", date(2017, 3, 11)), ("2017-03-12T05:00:00Z", date(2017, 3, 12)),
        ("2017-03-13T03:59:59Z", date(2017, 3, 12)), ("2017-03-13T04:00:00Z", date(2017, 3, 13)),
        ("2017-11-05T03:59:59Z", date(2017, 11, 4)), ("2017-11-05T04:00:00Z", date(2017, 11, 5)),
        ("2017-11-06T04:59:59Z", date(2017, 11, 5)), ("2017-11-06T05:00:00Z", date(2017, 11, 6)),
    ]  # fmt: skip
    zone.land("shop/sales_all.csv.gz", sales(*(sale(at=moment) for moment, _day in moments)))
    with checked(zone, "shop", "sales") as checker:
        assert [day for (day,) in values(checker, "business_date")] == [day for _moment, day in moments]
        assert broken(checker) == {}


def test_white_space_around_values_goes_and_empty_is_null(tmp_path):
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(sale(store="  a b "), sale(store="\ta\u00a0"), sale(store="   "), sale(store="")))
    assert column(zone, "shop", "sales", "store_key") == ["a b", "a", None, None]


def test_values_are_transformed_before_they_are_judged_and_hashed(tmp_path):
    def shouting(sources):
        columns = sources["shop"]["entities"]["sales"]["columns"]
        columns["product_key"] = {"source": "product_id", "transform": "upper", "allowed": ["P1"]}
        columns["store_key"] = {"source": "store_id", "transform": "none"}

    zone = Zone(tmp_path, shouting)
    zone.land(SALES_FILE, sales(sale(product=" p1 ", store=" s "), sale(product="p2")))
    with checked(zone, "shop", "sales") as checker:
        assert values(checker, "product_key", "store_key")[0] == ("P1", " s ")
        assert broken(checker) == {"allowed:product_key": 1}


def test_the_client_ref_in_sql_is_that_of_core_ids(tmp_path):
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(sale(household=77), sale(household="")))
    assert column(zone, "shop", "sales", "client_ref") == [client_ref("household", "77"), None]


def _by_price(sources):
    contract = sources["shop"]["entities"]["sales"]
    columns = contract["columns"]
    columns["unit_price"] = {"source": "sales_value"}
    del columns["amount"]
    columns["quantity"] = "quantity"
    contract["negative_quantity_kinds"] = ["cancellation"]
    contract["line_kinds"] = [
        {"kind": "fee", "column": "product_key", "one_of": ["POST", "it's"]},
        {"kind": "adjustment", "column": "store_key", "starts_with": "A%"},
        {"kind": "cancellation", "column": "quantity", "below": 0},
    ]


def test_an_amount_that_is_not_delivered_is_quantity_times_price_exactly(tmp_path):
    zone = Zone(tmp_path, _by_price)
    zone.land(
        SALES_FILE,
        sales(
            sale(quantity=3, value="0.1"),
            sale(quantity="-2", value="1.2345"),
            sale(quantity="9999999999", value="9999999999"),
        ),
    )
    with checked(zone, "shop", "sales") as checker:
        assert values(checker, "amount") == [(Decimal("0.3"),), (Decimal("-2.469"),), (None,)]
        assert broken(checker) == {"required:amount": 1}


def test_the_first_rule_that_matches_gives_the_kind_of_a_line(tmp_path):
    zone = Zone(tmp_path, _by_price)
    lines = [
        sale(product="POST", quantity=-1),
        sale(product="it's"),
        sale(store="A%1"),
        sale(store="AB"),
        sale(quantity=-1),
    ]
    zone.land(SALES_FILE, sales(*lines))
    with checked(zone, "shop", "sales") as checker:
        assert [k for (k,) in values(checker, "line_kind")] == ["fee", "fee", "adjustment", "sale", "cancellation"]
        assert broken(checker) == {"negative:quantity": 1}  # a fee may not be negative here


def test_bounds_of_dates_and_times_include_the_day_itself(tmp_path):
    def bounded(sources):
        sources["shop"]["entities"]["sales"]["columns"]["ordered_at"] = {
            "source": "sold_at",
            "min": "2017-10-01",
            "max": "2017-10-01",
        }

    zone = Zone(tmp_path, bounded)
    moments = ["2017-10-01T03:59:59Z", "2017-10-01T04:00:00Z", "2017-10-02T03:59:59Z", "2017-10-02T04:00:00Z"]
    zone.land(SALES_FILE, sales(*(sale(at=moment) for moment in moments)))
    with checked(zone, "shop", "sales") as checker:
        assert [bits != 0 for (bits,) in values(checker, "broken")] == [True, False, False, True]


def test_many_rules_fit_into_the_mask(tmp_path):
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(sale()))
    with checked(zone, "shop", "sales") as checker:
        narrow = checker.mask_type
        checker.rules = checker.rules * 4
        assert (narrow, checker.mask_type) == ("bigint", "hugeint")
        for table in ("judged", "known_0", "known_1"):
            checker.connection.execute(f"drop table {table}")
        checker.connection.execute("drop table errors_0; drop table scans_0")
        checker.judge_arriving({})
        assert values(checker, "broken") == [(0,)]


def test_a_pattern_that_only_re2_refuses_is_a_config_error(tmp_path):
    def too_many(sources):
        sources["shop"]["entities"]["sales"]["columns"]["order_key"] = {"source": "basket_id", "pattern": "a{1,5000}"}

    zone = Zone(tmp_path, too_many)
    zone.land(SALES_FILE, sales(sale()))
    told = pytest.raises(ConfigError, match=r"order_key\.pattern: RE2 does not take it")
    with told, checked(zone, "shop", "sales"):
        raise AssertionError("the check must not come to its end")
