"""One world of what is not lines alone: calendar, currencies, accounts, portrait, touches, messages, spend, hostile dates."""

from __future__ import annotations

from calendar import isleap, monthrange
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from factories.changing_days import ChangedWarehouse, Day, differences
from factories.dbt_warehouse import NAMESPACE, Raw, Warehouse, line
from perennial.core.ids import client_ref

AS_OF = "2017-10-01"
DAY = date.fromisoformat(AS_OF)
ZONE = ZoneInfo("America/New_York")
FISCAL = 4  # the fiscal year starts in April
CHANGES = [date(2016, 11, 6), date(2017, 3, 12)]  # 25 and 23 hours
BORN = [
    "1917-10-01", "1896-02-29", "1897-10-01", "1897-09-30", "1817-01-01", "2017-10-01", "2017-10-02", "1970-01-01", "2999-01-01",
    "1992-02-29", "1999-10-01", "1999-10-02", "1999-09-30",
]  # fmt: skip
NAMES = {"b0": ("Ольга", "Иванова"), "b1": ("ليلى", "حداد"), "b2": ("נועה", "לוי")}


def world() -> Raw:
    raw = Raw()
    raw.add("order_lines", AS_OF, _clock_change_lines(), batch_seq=1)
    raw.add("order_lines", AS_OF, [
        line("first", "buyer", "1970-01-02", "1.00"), line("later", "buyer", "2017-05-02", "10.00"),
        line("other", "firm", "2017-05-03", "20.00", device="mobile"),
        line("abroad", "firm", "2017-05-03", "12.00", currency="eur", tax_amount="2.00", cost_amount="7.00",
             sales_channel="web", discount_amount="1.00"),
        line("back", "firm", "2017-05-03", "-12.00", currency="EUR", tax_amount="-2.00", cost_amount="-7.00",
             quantity=-1, line_kind="return"),
    ], batch_seq=2)  # fmt: skip
    people = [{"client_key": f"b{n}", "birth_date": born} for n, born in enumerate(BORN)]
    people = [
        {**row, **dict(zip(("first_name", "last_name"), NAMES.get(row["client_key"], ()), strict=False))}
        for row in people
    ]
    raw.add("clients", "2017-04-01", [
        *people,
        {"client_key": "buyer", "sex": "f", "region": "Maine"},
        {"client_key": "home", "client_kind": "Household"},
        {"client_key": "firm", "client_kind": "company", "company_name": "Иванов & Söhne", "line_of_business": "steel",
         "employees": 12, "revenue_band": "1-5 m", "country": "DE"},
    ])  # fmt: skip
    raw.add("contact_persons", "2017-04-01", [
        {"contact_key": key, "client_key": "firm", "role": role}
        for key, role in (("a", "User"), ("b", "decider"), ("c", "user"), ("d", None))
    ])  # fmt: skip
    raw.add("deals", "2017-04-01", [
        {"deal_key": "won", "client_key": "firm", "stage": "won", "amount": "100", "currency": "eur",
         "opened_on": "2017-05-01", "closed_on": "2017-05-04"},
        {"deal_key": "open", "client_key": "firm", "stage": "talk", "amount": "100", "currency": "EUR", "opened_on": "2017-05-01"},
        {"deal_key": "unpriced", "client_key": "firm", "stage": "talk", "currency": "JPY"},
    ])  # fmt: skip
    raw.add("exchange_rates", "2017-05-04", [
        {"rate_on": "2017-05-01", "currency": "EUR", "rate": "1.09999999"},
        {"rate_on": "2017-05-04", "currency": "eur", "rate": "1.2"},
        {"rate_on": "2017-05-01", "currency": "GBP", "rate": "1.28000005"},
    ])  # fmt: skip
    raw.add("spend", "2017-05-04", [
        {"spent_on": "2017-05-03", "spend_channel": "search", "campaign_key": "k1", "amount": "0.0500", "currency": "GBP", "clicks": 3},
        {"spent_on": "2017-05-05", "spend_channel": "search", "campaign_key": "k1", "amount": "7.0000", "currency": " eur "},
        {"spent_on": "2017-05-05", "spend_channel": "print", "campaign_key": "k2", "amount": "3.0000"},
    ])  # fmt: skip
    raw.add("spend", "2017-05-06", [
        {"spent_on": "2017-05-05", "spend_channel": "print", "campaign_key": "k2", "amount": "4.0000"},
    ], batch_seq=2)  # fmt: skip
    raw.add("touches", "2017-05-01", [
        {"touch_key": "t1", "visitor_key": "cookie", "touched_at": "2017-05-01 10:00:00", "touch_channel": "search",
         "campaign_key": "k1", "device": "desktop"},
        {"touch_key": "t2", "visitor_key": "cookie", "client_key": "buyer", "touched_at": "2017-05-01 11:00:00", "device": "mobile"},
        {"touch_key": "t3", "client_key": "buyer", "touched_at": "2017-05-03 11:00:00", "device": "mobile"},
    ])  # fmt: skip
    raw.add("message_events", "2017-05-01", [
        {"communication_key": "m1", "client_key": "buyer", "event_kind": kind, "happened_at": at, "channel": "email"}
        for kind, at in (("Sent", "2017-05-01 10:00:00"), ("opened", "2017-05-01 12:00:00"))
    ])  # fmt: skip
    raw.add("products", "2017-04-01", [
        {"product_key": f"s{n}", "substitute_group": "tea", "list_price": str(n % 7), "category": "TEA"} for n in range(14)
    ])  # fmt: skip
    raw.add("products", AS_OF, [{"product_key": "s1", "category": "COFFEE"}], batch_seq=2)
    return raw


def _clock_change_lines() -> list[dict[str, object]]:
    """A guest's order every half hour, from the day before each clock change to the day after."""
    lines = []
    for day in CHANGES:
        start = datetime.combine(day - timedelta(days=1), datetime.min.time(), tzinfo=UTC)
        for step in range(2 * 24 * 3):
            at = start + timedelta(minutes=30 * step)
            lines.append(line(f"{at:%m%d%H%M}", None, AS_OF, "1.00", ordered_at=f"{at:%Y-%m-%d %H:%M:%S}"))
    return lines


@pytest.fixture(scope="module")
def built_world(tmp_path_factory, parsed):
    warehouse = Warehouse(tmp_path_factory.mktemp("world") / "build.duckdb", parsed).fill(world(), AS_OF)
    return warehouse, warehouse.build(AS_OF, fiscal_year_starts=FISCAL, revenue_includes_tax=False)


@pytest.fixture(scope="module")
def shop(built_world):
    return built_world[0]


def rows(shop, sql):
    return [tuple(row.values()) for row in shop.query(sql)]


def test_impossible_ages_and_a_second_category_are_told_and_stop_nothing(built_world):
    _, statuses = built_world
    told = {name: said for name, said in statuses.items() if said not in ("success", "pass")}
    assert {name: said.partition(":")[0] for name, said in told.items()} == {
        "assert_a_product_is_in_one_category": "warn", "assert_ages_of_clients_are_possible": "warn",
    }  # fmt: skip


def test_an_age_is_in_full_years_and_null_where_nobody_can_have_it(shop):
    found = dict(
        rows(
            shop, "select client_key, age from marts.dim_clients where client_key like 'b_%' and client_key <> 'buyer'"
        )
    )
    assert found == {f"b{n}": _age(date.fromisoformat(born)) for n, born in enumerate(BORN)}
    assert sum(age is None for age in found.values()) == 4


def _age(born: date) -> int | None:
    years = DAY.year - born.year - ((DAY.month, DAY.day) < (born.month, born.day))
    return years if 0 <= years <= 120 else None


def test_L22_names_in_any_script_are_in_the_private_contacts_and_nowhere_else(shop):
    kept = rows(shop, "select first_name, last_name from private.contacts where first_name is not null")
    assert set(kept) == set(NAMES.values())
    published = str(shop.tables("marts"))
    assert [name for pair in NAMES.values() for name in pair if name in published] == []
    assert "Иванов & Söhne" in published  # a company is no person


def test_the_calendar_says_of_every_day_what_python_says_of_it(shop):
    days = shop.query("select * from marts.dim_dates order by business_date")
    assert (days[0]["business_date"], days[-1]["business_date"]) == (date(1970, 1, 2), DAY + timedelta(days=366))
    assert all(after["business_date"] - day["business_date"] == timedelta(days=1) for day, after in pairwise(days))
    assert [day for day in days if day != _calendar_day(day["business_date"])] == []
    assert sum(day["is_leap_day"] for day in days) == 12  # 1972 to 2016


def _calendar_day(day: date) -> dict[str, object]:
    iso, length = day.isocalendar(), monthrange(day.year, day.month)[1]
    fiscal_month = (day.month - FISCAL) % 12 + 1
    return {
        "business_date": day, "year": day.year, "quarter": (day.month + 2) // 3, "month": day.month,
        "day_of_month": day.day, "day_of_year": day.timetuple().tm_yday, "weekday": iso.weekday,
        "weekday_name": f"{day:%A}", "is_weekend": iso.weekday >= 6, "iso_year": iso.year, "iso_week": iso.week,
        "month_starts_on": day.replace(day=1), "month_ends_on": day.replace(day=length),
        "is_month_end": day.day == length, "is_quarter_end": day.day == length and day.month % 3 == 0,
        "days_in_month": length, "is_leap_day": isleap(day.year) and (day.month, day.day) == (2, 29),
        "fiscal_year": day.year + (day.month >= FISCAL), "fiscal_quarter": (fiscal_month + 2) // 3,
        "fiscal_month": fiscal_month, "is_fiscal_year_end": (day.month, day.day) == (3, 31), "has_happened": day <= DAY,
    }  # fmt: skip


def test_L25_around_both_clock_changes_an_order_is_of_the_day_on_the_shops_wall(shop):
    found = rows(shop, "select ordered_at, ordered_on from marts.fct_orders where client_id is null")
    assert len(found) == 2 * 144
    assert all(on == at.replace(tzinfo=UTC).astimezone(ZONE).date() for at, on in found)
    counted = dict(rows(shop, "select business_date, orders from marts.kpi_daily where orders > 10"))
    assert [counted[day] for day in CHANGES] == [50, 46]  # two in each of 25 and of 23 hours


def test_a_sale_abroad_and_its_return_are_converted_without_their_tax_and_take_each_other_back(shop):
    columns = "original_amount, amount, revenue, discount_amount, tax_amount, cost_amount, margin, original_currency"
    sold, back = rows(
        shop, f"select {columns} from marts.fct_order_lines where order_key in ('abroad', 'back') order by 2 desc"
    )
    rate = Decimal("1.09999999")

    def exact(amount: str) -> Decimal:
        return (Decimal(amount) * rate).quantize(Decimal("0.0001"), ROUND_HALF_UP)

    revenue, margin = exact("10"), exact("3")
    assert sold == (Decimal(10), revenue, revenue, exact("1"), exact("2"), exact("7"), margin, "EUR")
    assert back == (Decimal(-10), -revenue, -revenue, Decimal(0), exact("-2"), exact("-7"), -margin, "EUR")
    kpi = rows(
        shop, "select revenue, margin, margin_revenue, returns from marts.kpi_daily where business_date = '2017-05-03'"
    )
    assert kpi == [(Decimal(20), Decimal(0), Decimal(0), 1)]


def test_spend_is_converted_by_the_latest_rate_on_or_before_its_day_and_the_last_word_holds(shop):
    found = rows(
        shop, "select spend_channel, original_currency, original_amount, amount from marts.fct_spend order by all"
    )
    exact = (Decimal("0.05") * Decimal("1.28000005")).quantize(Decimal("0.0001"), ROUND_HALF_UP)
    assert found == [
        ("print", "USD", Decimal(4), Decimal(4)),
        ("search", "EUR", Decimal(7), Decimal("8.4")),
        ("search", "GBP", Decimal("0.05"), exact),
    ]
    assert rows(shop, "select sum(spend) from marts.kpi_daily") == [(Decimal("12.4") + exact,)]


def test_a_deal_is_worth_what_it_was_on_its_last_day_and_an_open_one_what_it_is_today(shop):
    found = dict(rows(shop, "select deal_key, amount from marts.fct_deals"))
    assert found == {"won": Decimal(120), "open": Decimal(120), "unpriced": None}


def test_an_account_has_its_committee_and_its_deals(shop):
    (firm,) = shop.query("select * from marts.dim_accounts where account_kind = 'company'")
    assert firm["account_id"] == firm["client_id"] == client_ref(NAMESPACE, "firm")
    assert {name: firm[name] for name in ("contact_persons", "roles_covered", "roles", "open_deals", "won_amount", "employees")} == {
        "contact_persons": 4, "roles_covered": 2, "roles": "decider, user", "open_deals": 2, "won_amount": Decimal(120),
        "employees": 12,
    }  # fmt: skip
    assert rows(shop, "select account_id, members from marts.dim_accounts where account_kind = 'household'") == [
        (client_ref(NAMESPACE, "home"), 0)
    ]


def test_a_portrait_is_what_the_crm_says_and_what_touches_show(shop):
    found = rows(
        shop,
        "select client_kind, sex, region, device from marts.dim_clients where client_key in ('buyer', 'home') order by client_key",
    )
    assert found == [("person", "f", "Maine", "mobile"), ("household", None, None, None)]


def test_touches_count_up_to_the_first_order_and_a_visitor_becomes_the_client(shop):
    found = rows(
        shop,
        "select touch_key, touch_number, is_first_touch, is_last_touch, is_before_first_order, visitor_id is null from marts.fct_touches order by 1",
    )
    assert found == [
        ("t1", 1, True, False, False, False), ("t2", 2, False, False, False, False), ("t3", 3, False, True, False, True),
    ]  # fmt: skip
    assert "cookie" not in str(shop.query("select visitor_id from marts.fct_touches"))


def test_substitutes_are_the_nearest_in_price_of_the_same_group(shop):
    found = rows(
        shop,
        "select substitute_key from marts.dim_product_substitutes where product_key = 's0' order by substitute_rank",
    )
    in_order = sorted((f"s{n}" for n in range(14)), key=lambda key: (int(key[1:]) % 7, key))
    # what is said of s1 last names no group
    in_order = [key for key in in_order if key != "s1"]
    assert found == [(key,) for key in in_order[1:6]]


def test_L4_a_rate_that_comes_late_or_is_corrected_changes_the_orders_of_its_days_as_a_rebuild_does(tmp_path, parsed):
    def bought(order: str, day: str, **more: object) -> dict[str, object]:
        return line(order, "buyer", day, "10.00", currency="EUR", **more)

    def given(day: str, rate: str) -> dict[str, object]:
        return {"rate_on": day, "currency": "EUR", "rate": rate}

    first = Raw().add("order_lines", "2017-05-04", [bought("a", "2017-05-02"), bought("b", "2017-05-03", device="tv")])
    first.add("exchange_rates", "2017-05-04", [given("2017-05-01", "1.1"), given("2017-05-04", "1.4")])
    second = Raw().add("order_lines", "2017-05-05", [bought("c", "2017-05-05")], batch_seq=2)
    second.add("exchange_rates", "2017-05-05", [given("2017-05-03", "1.2"), given("2017-05-04", "1.5")], batch_seq=2)
    days = [Day(date(2017, 5, 4), first, {}), Day(date(2017, 5, 5), second, {})]
    changed = ChangedWarehouse(Warehouse(tmp_path / "build.duckdb", parsed))
    changed.first(days[0])
    assert set(changed.then(days[1]).values()) == {"success"}
    found = rows(changed.warehouse, "select order_key, revenue from marts.fct_orders order by 1")
    assert found == [("a", Decimal(11)), ("b", Decimal(12)), ("c", Decimal(15))]
    anew = ChangedWarehouse(Warehouse(tmp_path / "anew.duckdb", parsed))
    anew.first(Day(days[1].as_of, changed.known, {}))
    assert differences(changed.warehouse, anew.warehouse) == {}


def test_a_missing_rate_stops_the_build_and_is_told_by_currency_and_days(shop, tmp_path):
    import shutil

    copy = Warehouse(tmp_path / "build.duckdb", shop.target)
    shutil.copy(shop.path, copy.path)
    copy.execute("delete from raw.exchange_rates where currency = 'GBP'")
    chosen = "int_rates_of_days int_rates_changed int_exchange_rates fct_spend assert_every_amount_has_a_rate"
    statuses = copy.dbt("build", AS_OF, "--exclude-resource-type", "unit_test", "--select", *chosen.split())
    assert statuses["assert_every_amount_has_a_rate"].startswith("fail")
    told = (copy.target / "compiled/perennial/tests/assert_every_amount_has_a_rate.sql").read_text()
    (row,) = copy.query(told)
    assert (row["original_currency"], row["first_day"], row["amounts"]) == ("GBP", date(2017, 5, 3), 1)
    assert "land rates" in row["what_to_do"]
