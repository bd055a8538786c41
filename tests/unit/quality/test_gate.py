"""The gate's two small frames: what is in them does not grow with the batch and does not depend on chance."""

from __future__ import annotations

import random
import re

import pytest

from factories.landing_zone import SALES_FILE, Zone, sale, sales
from perennial.quality import gate
from unit.quality.checked_files import checked


@pytest.fixture
def small_sample(monkeypatch):
    monkeypatch.setattr(gate, "_SAMPLE_ROWS", 50)


def _sampled(tmp_path, lines) -> list[str]:
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(*lines))
    with checked(zone, "shop", "sales") as checker:
        return sorted(gate._sample_frame(checker, checker.counts().good)["order_key"])


def test_L2_the_sample_is_small_and_the_same_for_the_same_rows_in_any_order(tmp_path, small_sample):
    lines = [sale(10000 + i) for i in range(2000)]
    first = _sampled(tmp_path / "a", lines)
    random.Random(7).shuffle(lines)
    assert _sampled(tmp_path / "b", lines) == first
    assert len(first) == 50


def test_a_small_batch_is_its_own_sample_without_the_bad_rows(tmp_path):
    assert _sampled(tmp_path, [sale(10001), sale(10002, quantity="x"), sale(10003)]) == ["10001", "10003"]


def test_the_profile_has_one_row_per_rule_behind_the_sum_and_a_rule_that_warns_never_stops(tmp_path):
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(sale(), sale(quantity="x"), "too,few", sale(10002)))
    with checked(zone, "shop", "sales") as checker:
        frame = gate._profile_frame(checker.counts(), checker.contract)
    assert frame.iloc[0].to_dict() == {
        "rule": "all rules",
        "rows": 4,
        "bad": 2,
        "share": 0.5,
        "warn": 0.001,
        "stop": 0.05,
    }
    by_rule = frame.set_index("rule")
    assert by_rule["bad"][["type:quantity", "structure", "required:quantity", "reference:client_key"]].to_list() == [
        1,
        1,
        0,
        2,
    ]
    assert by_rule["stop"][["type:quantity", "reference:client_key"]].to_list() == [0.05, 1.0]
    assert by_rule.index.is_unique


def test_great_expectations_tells_when_rows_that_sql_let_through_break_the_contract(tmp_path):
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(sale(), sale(10002)))
    with checked(zone, "shop", "sales") as checker:
        checker.connection.execute("update judged set order_key = 'not a key', quantity = -5")
        with gate.open_gate(zone.settings.data_docs) as judge:
            verdict = judge.judge(checker, checker.counts(), name="shop.sales", batch_id="b1", as_of=None)
    assert not verdict.refused
    assert sorted(verdict.warnings) == [
        "shop.sales: great-expectations finds rows that break expect_column_values_to_be_between on quantity",
        "shop.sales: great-expectations finds rows that break expect_column_values_to_match_regex on order_key",
    ]


def test_every_link_between_pages_of_data_docs_leads_to_a_page(tmp_path):
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(sale()))
    with checked(zone, "shop", "sales") as checker, gate.open_gate(zone.settings.data_docs) as judge:
        judge.judge(checker, checker.counts(), name="shop.sales", batch_id="b1", as_of=None)
    [site] = zone.settings.data_docs.iterdir()
    pages = list(site.rglob("*.html"))
    links = [(page, link) for page in pages for link in re.findall(r'href="([^":#]+\.html)"', page.read_text())]
    assert len(pages) == 5  # the index, two verdicts and their two suites
    assert [(page.name, link) for page, link in links if not (page.parent / link).is_file()] == []


def test_only_the_newest_sites_of_data_docs_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(gate, "_KEPT_SITES", 2)
    zone = Zone(tmp_path)
    zone.land(SALES_FILE, sales(sale()))
    with checked(zone, "shop", "sales") as checker:
        for number in range(3):
            with gate.open_gate(zone.settings.data_docs) as judge:
                judge.judge(checker, checker.counts(), name="shop.sales", batch_id=f"b{number}", as_of=None)
    assert len(list(zone.settings.data_docs.iterdir())) == 2
