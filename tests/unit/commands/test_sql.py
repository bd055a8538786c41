from __future__ import annotations

import csv
import io
from datetime import date

import pytest

from factories.tiny_warehouse import build_without_dbt, day_run
from perennial.warehouse.publish import publish_marts

LINES = [("1", "=cmd()", date(2017, 9, 30), "10.00"), ("2", "c2", date(2017, 10, 1), "5.50")]


@pytest.fixture
def published(settings):
    run = day_run()
    build_without_dbt(settings, run, LINES)
    return publish_marts(settings, run)[0]


def test_a_question_is_answered_as_a_table(perennial, published):
    outcome = perennial("sql", "select order_key, amount from fct_order_lines order by 1")
    assert outcome.code == 0
    assert [line.split() for line in outcome.out.splitlines()] == [
        ["order_key", "amount"],
        ["---------", "------"],
        ["1", "10.00"],
        ["2", "5.50"],
    ]


def test_more_rows_than_are_shown_are_told(perennial, published):
    outcome = perennial("sql", "from fct_order_lines", "--limit", "1")
    assert "... and more" in outcome.out
    assert "more" not in perennial("sql", "from fct_order_lines", "--limit", "2").out


def test_json_is_a_list_of_objects(perennial, published):
    query = "select client_id, ordered_on, amount from fct_order_lines order by order_key"
    assert perennial("sql", query, "--json").json == [
        {"client_id": "=cmd()", "ordered_on": "2017-09-30", "amount": 10.0},
        {"client_id": "c2", "ordered_on": "2017-10-01", "amount": 5.5},
    ]
    assert perennial("sql", query, "--json", "--limit", "1").json[0]["client_id"] == "=cmd()"
    assert perennial("sql", "from fct_order_lines where amount < 0", "--json").json == []


def test_L23_csv_holds_no_formula_that_a_spreadsheet_would_run(perennial, published):
    text = perennial("sql", "select order_key, client_id from fct_order_lines order by 1", "--csv").out
    rows = list(csv.reader(io.StringIO(text)))
    assert rows == [["order_key", "client_id"], ["1", "'=cmd()"], ["2", "c2"]]
    limited = perennial("sql", "select order_key from fct_order_lines order by 1", "--csv", "--limit", "1").out
    assert list(csv.reader(io.StringIO(limited))) == [["order_key"], ["1"]]


@pytest.mark.parametrize(
    "query", ["select * from nowhere", "selec 1", "drop table fct_order_lines", "select 1; select 2", ""]
)
def test_a_statement_that_is_wrong_or_writes_fails_with_one_line(query, perennial, published):
    outcome = perennial("sql", query, "--json")
    assert outcome.code == 1
    assert outcome.out == ""
    assert outcome.err.startswith("sql: ")


def test_before_anything_is_published_it_says_so(perennial):
    outcome = perennial("sql", "select 1")
    assert outcome.code == 3
    assert "nothing is published yet" in outcome.err


def test_a_limit_is_a_number(perennial):
    assert perennial("sql", "select 1", "--limit", "-1").code == 2
    assert perennial("sql", "select 1", "--json", "--csv").code == 2
