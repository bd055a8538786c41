"""Whom the build looks at: only records that share something with another one."""

from __future__ import annotations

from datetime import date

import duckdb
import pyarrow as pa
import pytest

from factories.planted_clients import plant
from perennial.contracts.entities import ENTITIES, RAW_COLUMNS, SQL_TYPES
from perennial.demo.people import Household, person_of
from perennial.identity.linking import link
from perennial.identity.scratch import Rules
from perennial.pipeline.identity import look


@pytest.fixture
def raw():
    """A database with an empty raw.clients."""
    with duckdb.connect(":memory:") as connection:
        types = {name: SQL_TYPES[column.type] for name, column in ENTITIES["clients"].columns.items()} | RAW_COLUMNS
        columns = ", ".join(f"{name} {sql_type}" for name, sql_type in types.items())
        connection.execute(f"create schema raw; create table raw.clients ({columns})")
        yield connection


def wanted(raw, rows, *decided):
    names = {name for row in rows for name in row}
    known = [{"_business_date": date(2017, 10, 1), **dict.fromkeys(names), **row} for row in rows]
    raw.register("arriving", pa.Table.from_pylist(known))
    raw.execute("insert into raw.clients by name select * from arriving")
    for statement in look("2017-10-01", list(decided)):
        raw.execute(statement)
    return {ref for (ref,) in raw.execute("from wanted").fetchall()}


def test_in_the_demo_shop_nobody_is_looked_at(raw):
    people = [person_of(Household(number, date(2017, 1, 2), None)) for number in range(1, 2501)]
    rows = [
        {
            "client_ref": f"c{one.household_id}",
            "email": one.email,
            "phone": one.phone,
            "birth_date": one.birth_date,
            "first_name": one.first_name,
        }
        for one in people
    ]
    assert wanted(raw, rows) == set()


def test_who_shares_a_value_in_whatever_spelling_is_looked_at(raw):
    pairs = {
        "a": ({"email": "A.B+x@GoogleMail.com"}, {"email": "ab@gmail.com"}),
        "b": ({"phone": "+12025550123"}, {"phone": "(202) 555-0123 ext 7"}),
        "c": ({"phone": "+12025550124"}, {"phone": "+12025550124"}),
        "d": ({"phone": "+4402079460958"}, {"phone": "+442079460958"}),
        "e": ({"tax_number": "DE 136695976"}, {"tax_number": "136695976"}),
        "f": ({"card_number": "2900-0012 345"}, {"card_number": "29000012345"}),
        "g": ({"birth_date": date(1980, 5, 17), "postcode": "10001-1234"}, {"birth_date": date(1980, 5, 17), "postcode": "10001"}),
    }  # fmt: skip
    rows = [{"client_ref": f"{name}{n}", **said} for name, two in pairs.items() for n, said in enumerate(two)]
    alone = [{"client_ref": "z1", "email": "zoe@x.com", "phone": "+13125550199"}, {"client_ref": "z2"}]
    assert wanted(raw, [*rows, *alone], "z2") == {row["client_ref"] for row in rows} | {"z2"}


def test_nobody_whom_the_rules_would_join_is_overlooked(raw):
    planted = plant(600, seed=5)
    with link(planted.tables(), [], Rules(region="US")) as linked:
        joined = {row["client_ref"] for row in linked.map_reader().read_all().to_pylist()}
    names = {"tax": "tax_number", "card": "card_number"}
    rows = [
        {name: one[name] for name in ("client_ref", "birth_date", "postcode", "first_name", "last_name")}
        for one in planted.records
    ]
    rows += [{"client_ref": ref, names.get(what, what): value} for ref, what, value, _ in planted.values]
    assert joined <= wanted(raw, rows)
    assert len(joined) > 300
