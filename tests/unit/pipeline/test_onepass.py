"""Rows go from the files to raw in one pass, or by a table of them all: what comes out is the same, whatever landed."""

from __future__ import annotations

import dataclasses
import gzip
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factories.landing_zone import CONSENTS, DAY, SALES, SALES_FILE, Zone, many_sales, sale, sales
from perennial.contracts.records import BatchReport
from perennial.pipeline import intake, onepass

LATER = "shop/sales_2017-10-03.csv.gz"
CONSENTS_FILE = f"crm/consents_{DAY}.csv"
_GRANTED = "".join(f"{n},email,marketing,granted,2017-10-02T10:00:00Z\n" for n in range(1, 60))
_GOOD = [sale(10_000 + n, household=n % 7 if n % 5 else "", store=f"s{n % 3}") for n in range(300)]
_BAD = (
    sale(90_001, quantity="x"),
    sale(90_002, value=""),
    sale("", at="yesterday"),
    sale(90_003, at="2017-10-03T12:00:00Z"),
)


def _with_limits(sources: dict[str, Any]) -> None:
    contract = sources["shop"]["entities"]["sales"]
    contract["limits"] = {"warn": 0.9, "stop": 1.0}
    contract["columns"]["store_key"] = {"source": "store_id", "allowed": ["s0", "s1", "s2"]}


@pytest.fixture
def ways(monkeypatch):
    """How each batch was read, in the order of the batches."""
    seen: list[str] = []
    read_at_once = onepass.read_at_once

    def watched(*arguments: Any) -> onepass.Read | None:
        read = read_at_once(*arguments)
        seen.append("one pass" if read else "given up")
        return read

    monkeypatch.setattr(intake, "read_at_once", watched)
    return seen


def _landed(folder, monkeypatch, deliveries: list[dict[str, str | bytes]], *, by_table: bool) -> dict[str, Any]:
    with monkeypatch.context() as patch:
        if by_table:
            patch.setattr(intake, "may_be_read_at_once", lambda *_all: False)
        zone = Zone(folder, _with_limits)
        reports: list[BatchReport] = []
        for delivery in deliveries:
            for name, content in delivery.items():
                zone.land(name, content)
            reports += zone.ingest()
        return {
            "reports": [dataclasses.asdict(report) for report in reports],
            "sales": zone.raw("order_lines"),
            "in order": [
                _places(path) for path in sorted((zone.home / "raw").rglob("*.parquet")) if "repeats" not in path.name
            ],
            "consents": zone.raw("consents"),
            "quarantined": zone.quarantined("order_lines", "*"),
            "files": zone.ledger_files(),
            "ledger": zone.ledger("batch_id", "batch_seq", "state", "landed", "loaded", "quarantined", "duplicate"),
        }


def _places(path) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        return connection.execute("select _file, _line from read_parquet(?)", [str(path)]).fetchall()


DELIVERIES: dict[str, tuple[list[str], list[dict[str, str | bytes]]]] = {
    "good rows alone": (["one pass"], [{SALES_FILE: sales(*_GOOD)}]),
    "bad rows among them": (["one pass"], [{SALES_FILE: sales(*_GOOD[:100], *_BAD, *_GOOD[100:], _BAD[0])}]),
    "two files": (["one pass"], [{SALES_FILE: sales(*_GOOD[:9], _BAD[1]), LATER: sales(_BAD[2], *_GOOD[9:])}]),
    "a file without a row": (["one pass"], [{SALES_FILE: sales(), LATER: sales(*_GOOD)}]),
    "line ends of Windows": (["one pass"], [{SALES_FILE: sales(*_GOOD, _BAD[0]).replace("\n", "\r\n")}]),
    "blanks around values": (
        ["one pass"],
        [{SALES_FILE: sales(*_GOOD, sale(" 90077 ", product=" p 1 ", store="s1 "))}],
    ),
    "empty quoted values": (["one pass"], [{SALES_FILE: sales(*_GOOD, sale(90_077, household='""'), sale('""'))}]),
    "a value of two lines": (["given up"], [{SALES_FILE: sales(*_GOOD, sale(90_077, product='"a\nb"'), _BAD[0])}]),
    "a blank line": (["given up"], [{SALES_FILE: sales(*_GOOD[:50], "", *_GOOD[50:], _BAD[0])}]),
    "a line that is no row": (["given up"], [{SALES_FILE: sales(*_GOOD[:50], "a,b", *_GOOD[50:], _BAD[0])}]),
    "rows that are loaded": (["one pass", "given up"], [{SALES_FILE: sales(*_GOOD[:50])}, {LATER: sales(*_GOOD)}]),
    "a day behind a day": (["one pass"] * 2, [{SALES_FILE: sales(*_GOOD[:50])}, {LATER: sales(*_GOOD[50:])}]),
    "other columns in one": (
        [],
        [{SALES_FILE: sales(*_GOOD[:50]), LATER: f"{SALES},more\n" + "\n".join(f"{row},1" for row in _GOOD[50:])}],
    ),
    "events": (
        ["one pass"],
        [{CONSENTS_FILE: f"{CONSENTS}\n{_GRANTED}1,email,marketing,maybe,2017-10-02T11:00:00Z\n"}],
    ),
    "good events alone": (["one pass"], [{CONSENTS_FILE: f"{CONSENTS}\n{_GRANTED}"}]),
    "an event twice": (["given up"], [{CONSENTS_FILE: f"{CONSENTS}\n{_GRANTED}{_GRANTED}"}]),
}


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_L1_one_pass_and_the_table_load_and_set_aside_the_same(tmp_path, monkeypatch, ways, delivery):
    wanted, deliveries = DELIVERIES[delivery]
    at_once = _landed(tmp_path / "once", monkeypatch, deliveries, by_table=False)
    assert ways == wanted
    assert sum(report["loaded"] for report in at_once["reports"]) > 0
    assert at_once == _landed(tmp_path / "table", monkeypatch, deliveries, by_table=True)


_CELL = st.sampled_from(["1", "x", "", " 2 ", '"3"', '""', "-1", "1e3", "ü", "s1", "2017-10-02T12:00:00Z", '"a\nb"'])
_LINE = st.one_of(
    st.sampled_from([*_GOOD[:20], *_BAD]),
    st.lists(_CELL, min_size=7, max_size=9).map(",".join),
)


@given(st.lists(st.lists(_LINE, max_size=12), min_size=1, max_size=2))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_L1_one_pass_and_the_table_agree_on_whatever_lands(tmp_path_factory, monkeypatch, files):
    folder = tmp_path_factory.mktemp("either")
    delivery = {name: sales(*lines) for name, lines in zip((SALES_FILE, LATER), files, strict=False)}
    at_once = _landed(folder / "once", monkeypatch, [delivery], by_table=False)
    assert at_once == _landed(folder / "table", monkeypatch, [delivery], by_table=True)


def test_a_batch_with_more_bad_rows_than_are_put_aside_goes_by_the_table(tmp_path, monkeypatch, ways):
    monkeypatch.setattr("perennial.quality.onepass._MOST_ASIDE", 3)
    deliveries = [{SALES_FILE: sales(*_GOOD, *_BAD, _BAD[0])}]
    at_once = _landed(tmp_path / "once", monkeypatch, deliveries, by_table=False)
    assert ways == ["given up"]
    assert at_once == _landed(tmp_path / "table", monkeypatch, deliveries, by_table=True)


def test_a_batch_whose_number_another_source_took_meanwhile_is_written_with_its_own(tmp_path, monkeypatch, ways):
    zone = Zone(tmp_path)
    guessed = iter([7])
    monkeypatch.setattr(intake.batches, "next_seq", lambda engine: next(guessed, 1))
    zone.land(SALES_FILE, gzip.compress(sales(*many_sales(20)).encode()), pack=False)
    report = zone.only()
    assert (ways, report.loaded) == (["one pass"], 20)
    assert set(zone.raw("order_lines", "_batch_seq, _batch_id")) == {(1, report.batch_id)}
