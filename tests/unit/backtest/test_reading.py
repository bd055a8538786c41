"""Any file of transactions becomes canonical lines, or is refused with what is wrong and how to mend it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import duckdb
import pytest

from perennial.core.errors import BatchRefused, ConfigError, PerennialError

ROWS = [("007", "2020-01-31", "tea", "2.5"), ("007", "2020-01-31", "milk", "1"), ("8", "2020-03-01", "tea", "2.5")]


def _moments(rows):
    return sorted({row[2] for row in rows})


def test_without_an_order_there_is_one_per_client_and_day_and_ids_stay_texts(bench):
    told, rows = bench.lines(file=bench.file("a.csv", ROWS))
    assert {row[0] for row in rows} == {"007|2020-01-31", "8|2020-03-01"}
    assert {row[1] for row in rows} == {"007", "8"}
    assert (told.counts["lines"], told.counts["clients"], told.counts["orders"]) == (3, 2, 2)
    assert "one order per client and day" in told.notes[0]


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters_and_packing_are_found_out(bench, name, delimiter):
    _, rows = bench.lines(file=bench.file(name, ROWS, delimiter=delimiter))
    assert [row[5] for row in rows] == [Decimal("1.0000"), Decimal("2.5000"), Decimal("2.5000")]


def test_runs_of_blanks_divide_and_a_file_may_have_no_header(bench):
    (bench.folder / "a.txt").write_text(" 007 0001  20200131   2.5\n 008 0002  20200301  10.0\n")
    _, rows = bench.lines(
        file="a.txt",
        format={"delimiter": "whitespace", "header": False, "names": ["who", "other", "when", "worth"]},
        columns={"client": "who", "time": "when", "amount": "worth"},
    )
    assert [(row[1], row[2].date().isoformat(), row[5]) for row in rows] == [
        ("007", "2020-01-31", Decimal("2.5000")),
        ("008", "2020-03-01", Decimal("10.0000")),
    ]


def test_parquet_of_typed_columns_several_files_and_a_part_of_one(bench):
    for name, day in (("y1", "2020-01-05"), ("y2", "2020-02-05")):
        duckdb.sql(
            f"select 17850.0 as who, timestamp '{day} 10:00' as \"when\", 'x' as what, 3 as worth"
        ).write_parquet(str(bench.folder / f"{name}.parquet"))
    files = [{"path": "y1.parquet", "where": "\"when\" < '2020-01-01'"}, "y2.parquet"]
    told, rows = bench.lines(files=files)
    assert [(row[1], row[2]) for row in rows] == [("17850", datetime(2020, 2, 5, 10))]
    assert told.counts["rows of the files"] == 1
    assert bench.lines(file="y*.parquet")[0].counts["lines"] == 2


@pytest.mark.parametrize(
    ("written", "extra"),
    [
        (("20200131", "20200301"), {}),
        (("31.01.2020 00:00", "01.03.2020 00:00"), {}),
        (("01/31/2020", "03/01/2020"), {}),
        (("31/01/2020 00:00", "01/03/2020 00:00"), {}),
        (("2020-01-31T00:00:00Z", "2020-03-01T00:00:00Z"), {}),
        (("2020-01-30T18:00:00-06:00", "2020-02-29T18:00:00-06:00"), {}),
        (("1580428800", "1583020800"), {}),
        (("1580428800000", "1583020800000"), {"time_unit": "ms"}),
        (("30", "60"), {"time_unit": "day", "time_origin": "2020-01-01"}),
        (("31-Jan-2020", "01-Mar-2020"), {}),
    ],
)
def test_a_time_is_read_however_it_is_written(bench, written, extra):
    rows = [("a", written[0], "x", "1"), ("b", written[1], "x", "1")]
    _, lines = bench.lines(file=bench.file("a.csv", rows), **extra)
    assert _moments(lines) == [datetime(2020, 1, 31), datetime(2020, 3, 1)]


def test_a_day_is_one_of_the_company_not_of_greenwich(bench):
    rows = [("a", "2020-07-01T02:00:00Z", "x", "1")]
    _, lines = bench.lines(file=bench.file("a.csv", rows), zone="America/New_York")
    assert _moments(lines) == [datetime(2020, 6, 30, 22)]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([("a", "01/02/2020", "x", "1"), ("b", "03/04/2020", "x", "1")], "either way round"),
        ([("a", "12", "x", "1"), ("b", "40", "x", "1")], "what do they count"),
        ([("a", "yesterday", "x", "1"), ("b", "soon", "x", "1")], "cannot be read in any known way"),
    ],
)
def test_a_time_that_could_be_anything_is_refused(bench, rows, words):
    with pytest.raises(ConfigError, match=words):
        bench.lines(file=bench.file("a.csv", rows))


def test_what_cannot_be_read_is_left_out_and_counted(bench):
    rows = [*ROWS * 20, ("", "2020-01-01", "x", "1"), ("9", "", "x", "1"), ("9", "2020-01-02", "x", "dear")]
    told, _ = bench.lines(file=bench.file("a.csv", rows))
    assert told.counts["rows without a client"] == 1
    assert told.counts["rows without a time that can be read"] == 1
    assert told.counts["rows without an amount that can be read"] == 1
    assert told.counts["lines"] == 60


def test_a_slip_of_the_pen_does_not_make_a_century_of_history(bench):
    told, _ = bench.lines(
        file=bench.file("a.csv", [*ROWS * 10, ("9", "1900-01-01", "x", "1"), ("9", "2099-12-31", "x", "1")])
    )
    assert (told.first_day.year, told.last_day.year) == (2020, 2020)
    assert told.counts["rows with a time years apart from all others"] == 2


def test_negative_amounts_are_returns_and_told(bench):
    told, rows = bench.lines(file=bench.file("a.csv", [*ROWS, ("007", "2020-02-02", "tea", "-2.5")]))
    assert [(row[4], row[5]) for row in rows if row[5] < 0] == [(Decimal("-1.0000"), Decimal("-2.5000"))]
    assert "1 lines with a negative quantity or amount are taken for returns" in told.notes


def test_an_order_of_several_clients_or_days_is_divided(bench):
    header = ("who", "when", "what", "worth", "nr")
    rows = [("a", "2020-01-01", "x", "1", "7"), ("b", "2020-01-01", "x", "1", "7"), ("b", "2020-02-01", "x", "1", "8"),
            ("b", "2020-02-09", "x", "1", "8"), ("b", "2020-02-09", "x", "1", "")]  # fmt: skip
    columns = {"client": "who", "time": "when", "amount": "worth", "order": "nr"}
    told, _ = bench.lines(file=bench.file("a.csv", rows, header=header), columns=columns)
    assert told.counts["orders"] == 5
    assert len([note for note in told.notes if "order" in note]) == 3


def test_quantity_times_price_decimal_commas_and_currency_signs(bench):
    rows = [("a", "2020-01-01", "2", "1.234,50"), ("a", "2020-01-02", "1", "€ 3,25")]
    _, lines = bench.lines(
        file=bench.file("a.csv", rows, delimiter=";", header=("who", "when", "many", "each")),
        format={"decimal": ",", "thousands": "."},
        columns={"client": "who", "time": "when", "quantity": "many", "price": "each"},
    )
    assert [line[5] for line in lines] == [Decimal("2469.0000"), Decimal("3.2500")]


def test_conditions_and_duplicates_are_counted_one_by_one(bench):
    told, _ = bench.lines(
        file=bench.file("a.csv", [*ROWS, ROWS[0]]), filters=["worth > 1", "what <> 'milk'"], drop_exact_duplicates=True
    )
    found = list(told.counts.items())[:4]
    assert found == [("rows of the files", 4), ("rows with worth > 1", 3), ("rows with what <> 'milk'", 3),
                     ("rows without exact duplicates", 2)]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ({"file": "none.csv"}, ConfigError, "there is no file none.csv"),
        ({"file": "a.cvs"}, ConfigError, "did you mean a.csv?"),
        ({"file": "a.xlsx"}, ConfigError, "save it as CSV"),
        ({"file": "empty.csv"}, BatchRefused, "is empty"),
        ({"file": "a.parquet"}, BatchRefused, "could not be read"),
        ({"columns": {"client": "whom", "time": "when"}}, ConfigError, "did you mean who?"),
        ({"filters": ["worth > 1e9"]}, BatchRefused, "no row is left"),
    ],
)
def test_what_is_not_there_or_cannot_be_read_is_told(bench, values, kind, words):
    bench.file("a.csv", ROWS)
    for name in ("a.xlsx", "a.parquet"):
        (bench.folder / name).write_bytes(b"PAR1 this is no such file")
    (bench.folder / "empty.csv").write_bytes(b"")
    with pytest.raises(kind, match=words) as error:
        bench.lines(**{"file": "a.csv", **values})
    assert "set.yml:" in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "1 = 1; drop table given",
        "(select count(*) from given) > 0",
        "who in (select client from read_csv('/etc/passwd'))",
        "read_text('/etc/passwd') <> ''",
        "getenv('HOME') <> ''",
        "who = current_setting('temp_directory')",
        "exists(from given)",
        "worth > 0 union select 1",
        "columns('.*') is not null",
        "nextval('x') > 0",
        "sleep(9) is null",
        "worth > (",
        "",
        "who",
        "x" * 5000,
        "(" * 900 + "worth > 0" + ")" * 900,
    ],
)
def test_L23_a_hostile_or_broken_condition_is_refused(bench, text):
    with pytest.raises(PerennialError) as error:
        bench.lines(file=bench.file("a.csv", ROWS), filters=[text])
    assert "set.yml:" in str(error.value)


def test_L23_quotes_in_names_of_columns_and_files_are_only_names(bench):
    header = ('w"ho', "when'", "what", "worth")
    name = bench.file("it's [a] *file.csv", ROWS, header=header)
    columns = {"client": 'w"ho', "time": "when'", "amount": "worth"}
    _, rows = bench.lines(file=name, columns=columns, filters=['"w""ho" <> \'8\''])
    assert {row[1] for row in rows} == {"007"}


@pytest.mark.parametrize("line", ['ada@home.example,2020-01-01,"x,1', "ada@home.example,2020-01-01,x,1"])
def test_L22_a_value_of_a_row_stands_in_no_message(bench, line):
    (bench.folder / "a.csv").write_text(f"who,when,what,worth\n{line}\n")
    with pytest.raises(PerennialError) as error:
        bench.lines(file="a.csv", format={"delimiter": ",", "quote": '"'}, filters=["cast(who as integer) > 0"])
    assert "ada" not in str(error.value)
