"""The short ways of the gate give what the long ones give: usual forms of values, days in a zone, exact amounts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factories.landing_zone import _BASE
from perennial.contracts.sources import FileFormat, SourceColumn, SourceEntity
from perennial.quality import expressions
from perennial.quality.zones import local_date

_COLUMN = SourceColumn(source="x")
_FORMATS = [FileFormat(), FileFormat(timestamps_in="Europe/London")]
_PIECES = [
    "2017",
    "-",
    "10",
    "1",
    "01",
    "T",
    " ",
    "12",
    ":",
    "00",
    "0",
    "Z",
    "z",
    ".5",
    "+02",
    "\t",
    "\u00a0",
    "e1",
    "/",
    "24",
]
_NASTY = ["2017-10-01T12:00:00Z", "2017-10-01 12:00:00", "2017-10-01", "2017-10-1 ", "2017-10-01  2:00:00", "12.5", " 7 ",
          "20170-1-01T12:00:00Z", "2017-10-01T12:00:0 Z", "2017-10-01 12:00:0 ", "0017-10-01", "infinity", "1e3", "1_0"]  # fmt: skip


@pytest.fixture(scope="module")
def sql():
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def _both(sql, text: str, kind: str, form: FileFormat):
    quick = expressions.typed_quickly("x", _COLUMN, kind, form) or "null"
    whole = expressions.typed(expressions.text_of("x", _COLUMN, odd_spaces=True), kind, form)
    return sql.execute(f"select {quick}, {whole} from (select $1::varchar as x)", [text]).fetchone()


@settings(max_examples=150, deadline=None)
@given(text=st.one_of(st.sampled_from(_NASTY), st.lists(st.sampled_from(_PIECES), max_size=14).map("".join)))
def test_the_quick_form_of_a_value_is_its_value_or_nothing(sql, text):
    for form in _FORMATS:
        for kind in ("decimal", "date", "timestamp"):
            quick, whole = _both(sql, text, kind, form)
            assert quick is None or quick == whole, (kind, text)


def test_the_usual_forms_are_taken_quickly(sql):
    for kind, text in (("timestamp", _NASTY[0]), ("timestamp", _NASTY[1]), ("date", _NASTY[2]), ("decimal", _NASTY[5])):
        assert _both(sql, text, kind, FileFormat())[0] is not None


@pytest.mark.parametrize(
    "zone", ["America/New_York", "Europe/London", "America/St_Johns", "Asia/Kathmandu", "UTC", "Pacific/Apia"]
)
def test_L25_the_day_in_a_zone_is_the_zone_s_around_every_change_of_its_clocks(sql, zone):
    moments, at = (
        [datetime(1999, 12, 31, 23, tzinfo=UTC), datetime(2055, 6, 1, tzinfo=UTC)],
        datetime(2005, 1, 1, tzinfo=UTC),
    )
    rules = ZoneInfo(zone)
    while at < datetime(2026, 1, 1, tzinfo=UTC):
        if at.astimezone(rules).utcoffset() != (at + timedelta(days=1)).astimezone(rules).utcoffset():
            moments += [at + timedelta(minutes=15 * step, seconds=shift) for step in range(100) for shift in (-1, 0)]
        at += timedelta(days=1)
    rows = [[moment.replace(tzinfo=None), moment.astimezone(rules).date()] for moment in moments]
    sql.execute(
        "create or replace table moments as select unnest($1) as x, unnest($2) as day",
        [*map(list, zip(*rows, strict=True))],
    )
    assert (
        sql.execute(f"select x, day, {local_date(zone, 'x')} as ours from moments where ours <> day").fetchall() == []
    )


def test_an_amount_is_exact_whether_it_fits_into_64_bits_or_not(sql):
    contract = _BASE["sources"]["shop"]["entities"]["sales"] | {"references": []}
    columns = {**contract["columns"], "unit_price": "sales_value"}
    del columns["amount"]
    ours = expressions.amount(SourceEntity(**{**contract, "columns": columns}))
    values = [
        "0",
        "1",
        "-3",
        "1.5",
        "99999",
        "100000",
        "-99999",
        "12345.6789",
        "999999999.9999",
        "99999999999999.9999",
        "0.0001",
    ]
    sql.execute("create or replace table v as select unnest($1)::decimal(18,4) as v", [values])
    pairs = "(select a.v as quantity, b.v as unit_price from v as a, v as b)"
    exact = "try_cast(cast(quantity as decimal(19,4)) * cast(unit_price as decimal(19,4)) as decimal(18,4))"
    assert sql.execute(f"select * from {pairs} where ({ours}) is distinct from ({exact})").fetchall() == []
