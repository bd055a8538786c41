"""A shop of 160 households and 200 days in the shape of config/sources.yml: small enough to run the whole chain often."""

from __future__ import annotations

import csv
import gzip
import io
import random
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

ZONE = ZoneInfo("America/New_York")
DEPARTMENTS = ["GROCERY", "PRODUCE", "MEAT", "DELI", "PASTRY", "DRUG GM"]
HOUSEHOLDS = 160
DAYS = 200
UNTIL = date(2017, 10, 1)

SALES = ["basket_id", "household_id", "product_id", "sold_at", "quantity", "sales_value", "discount", "store_id"]
PRODUCTS = [
    "product_id",
    "product_type",
    "department",
    "product_category",
    "brand",
    "manufacturer_id",
    "package_size",
    "term_days",
]
HOUSEHOLD = ["household_id", "first_name", "last_name", "email", "phone", "birth_date", "signed_up_on"]
CONSENT = ["household_id", "channel", "purpose", "status", "changed_at"]


def land_small_shop(landing: Path, until: date = UNTIL, *, seed: int = 7) -> None:
    """History of 200 days until `until`, products, households, consents, one campaign of the past."""
    for day in (until - timedelta(days=back) for back in reversed(range(DAYS))):
        land_sales(landing, day, seed=seed)
    _write(landing / f"shop/products_{until}.csv.gz", PRODUCTS, [_product(i) for i in range(60)])
    land_crm(landing, until)
    campaign = [["1", "Type A", until - timedelta(days=40), until - timedelta(days=20)]]
    _write(landing / f"crm/campaigns_{until}.csv", ["campaign_id", "campaign_type", "start_date", "end_date"], campaign)
    contacts = [["1", str(h), until - timedelta(days=40), "email"] for h in range(1, 40)]
    _write(
        landing / f"crm/campaign_contacts_{until}.csv",
        ["campaign_id", "household_id", "contacted_on", "channel"],
        contacts,
    )


def land_one_more_day(landing: Path, day: date, *, seed: int = 7) -> None:
    """The day's sales and its CRM export."""
    land_sales(landing, day, seed=seed)
    land_crm(landing, day, consents=[["3", "email", "marketing", "withdrawn", f"{day}T12:00:00Z"]])


def land_sales(landing: Path, day: date, *, seed: int = 7) -> None:
    """One day's file: a household buys with its own rhythm, some stop for good."""
    rows: list[list[object]] = []
    for household in range(1, HOUSEHOLDS + 1):
        habit = random.Random(f"{seed}-{household}")
        rate, stops_after = habit.uniform(0.03, 0.35), UNTIL - timedelta(days=int(habit.expovariate(1 / 150)))
        chance = random.Random(f"{seed}-{household}-{day}")
        if chance.random() < (rate if day <= stops_after else rate / 25):
            rows += _basket(household, day, chance)
    _write(landing / f"shop/sales_{day}.csv.gz", SALES, rows)


def land_crm(landing: Path, day: date, *, consents: list[list[object]] | None = None) -> None:
    """Everyone in the CRM; at first all their consents, later only what changed."""
    people = [_household(h, day) for h in range(1, HOUSEHOLDS + 1)]
    _write(landing / f"crm/households_{day}.csv", HOUSEHOLD, people)
    first = [
        [str(h), channel, "marketing", "granted" if (h + shift) % 7 else "withdrawn", "2016-05-01T10:00:00Z"]
        for h in range(1, HOUSEHOLDS + 1)
        for shift, channel in enumerate(("email", "sms", "call"))
        if (h + shift) % 5
    ]
    _write(landing / f"crm/consents_{day}.csv", CONSENT, first if consents is None else consents)


def _basket(household: int, day: date, chance: random.Random) -> list[list[object]]:
    basket = f"3{day:%Y%m%d}{household:04d}"
    moment = datetime.combine(day, time(chance.randrange(8, 21), chance.randrange(60)), tzinfo=ZONE)
    sold_at = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    favourite = household % 6
    lines = []
    for _ in range(chance.randrange(1, 6)):
        product = (favourite if chance.random() < 0.7 else chance.randrange(6)) + 6 * chance.randrange(10)
        price = round(chance.uniform(0.5, 20), 2)
        discount = round(price / 10, 2) if chance.random() < 0.3 else 0
        lines.append([basket, household, product, sold_at, chance.randrange(1, 4), price, discount, household % 4])
    return lines


def _product(number: int) -> list[object]:
    department = DEPARTMENTS[number % 6]
    return [
        number,
        f"{department} {number}",
        department,
        f"category {number % 12}",
        "National",
        number % 5,
        "1 EA",
        None,
    ]


def _household(number: int, day: date) -> list[object]:
    signed_up = date(2015, 1, 1) + timedelta(days=(number * 37) % 365)
    if number == 5:
        signed_up = day.replace(year=2015)  # someone has an anniversary today
    email = f"household{number}@example.com" if number % 11 else ""
    phone = f"+1202555{number:04d}" if number % 13 else ""
    return [number, f"First{number}", f"Last{number}", email, phone, "1980-02-29", signed_up]


def _write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    data = text.getvalue().encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
    hidden.rename(path)
