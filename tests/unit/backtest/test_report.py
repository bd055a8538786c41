"""The report: one page that needs nothing from outside, figures as they are, texts as texts."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import pytest

from perennial.contracts.backtests import DataSet
from perennial.pipeline.backtesting.pages import as_html, as_markdown, write_pages
from perennial.pipeline.backtesting.report import Report, figure, findings
from perennial.pipeline.backtesting.svg import plot
from perennial.scoring.protocols import Curve, Judged, Row

HOSTILE = "<script>alert(1)</script> | `x` [y](http://z)"


def _report(title="A shop", rule="rfm"):
    rows = (
        Row(
            "2020-01-01",
            "model",
            {"auc": 0.81234, "bias": -0.0714},
            1234,
            is_model=True,
            chosen="blend",
            cpu_seconds=1.25,
        ),
        Row("2020-01-01", rule, {"auc": 0.8, "bias": None}, 1234),
    )
    curve = Curve(
        "Lift",
        "share",
        "found",
        {"model": ([0, 0.5, 1], [0, 0.7, 1]), rule: ([0, 1], [0, 1])},
        "2020-01-01",
        diagonal=True,
    )
    judged = Judged(
        "churn", 90, "auc", rows, (curve,), ("a sentence",), ("2021-01-01: no window",), definitions={"auc": "area"}
    )
    dataset = DataSet.model_validate(
        {
            "name": "shop",
            "title": title,
            "kind": "transactions",
            "file": "a.csv",
            "columns": {"client": "c", "time": "t"},
        }
    )
    return Report(
        dataset,
        {"lines": 12_345},
        ("a note",),
        (judged,),
        {"python": "3.11"},
        {"churn 90 days": 2.0},
        "perennial backtest shop.yml",
    )


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.outside = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.outside += [value for name, value in attrs if name in ("src", "href", "data", "action", "xlink:href")]


def test_the_page_holds_everything_and_asks_for_nothing():
    text = as_html(_report())
    page = _Page()
    page.feed(text)
    assert page.outside == []
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert "url(" not in text
    assert "@import" not in text
    assert re.findall(r"https?://[^\"]*", text) == ["http://www.w3.org/2000/svg"]  # a name, not an address
    assert all(word in text for word in ("0.8123", "-7.1%", "1,234", "12,345", "a sentence", "a note", "3.11"))


def test_L23_what_others_wrote_is_only_text():
    report = _report(title=HOSTILE, rule=HOSTILE)
    page = _Page()
    page.feed(as_html(report))
    assert "script" not in page.tags
    table = [line for line in as_markdown(report).splitlines() if line.startswith("| 2020")]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1
    ET.fromstring(plot(report.judged[0].curves[0]))


def test_three_files_and_a_plot_are_written_and_the_markdown_names_the_plot(tmp_path):
    write_pages(_report(), tmp_path)
    names = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert names == {"report.html", "report.md", "report.json", "plots/churn-90-lift-2020-01-01.svg"}
    assert "plots/churn-90-lift-2020-01-01.svg" in (tmp_path / "report.md").read_text()


def test_equal_reports_are_equal_bytes():
    assert as_html(_report()) == as_html(_report())


def test_the_model_is_compared_with_its_best_baseline_and_refusals_are_told():
    said = findings(_report().judged[0])
    assert said[0] == "auc: the model is better than every baseline at 1 of 1 cuts (+0.0123)"
    assert said[-1] == "refused: 2021-01-01: no window"


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [("auc", 0.79412, "0.7941"), ("bias", 0.092, "+9.2%"), ("mae", 1234567.8, "1,234,568"), ("auc", None, "-"),
     ("auc", float("nan"), "-"), ("savings_to_nobody", -0.5, "-50.0%")],
)  # fmt: skip
def test_a_figure_is_shown_with_what_it_is_worth(name, value, shown):
    assert figure(name, value) == shown


@pytest.mark.parametrize(
    "lines",
    [{}, {"a": ([], [])}, {"a": ([1.0], [2.0])}, {"a": ([float("nan"), 1.0], [1.0, float("inf")])},
     {"a": ([0.0, 1e9], [-1e-9, 1e-9])}, {"a": ([5.0, 5.0], [3.0, 3.0])}],
)  # fmt: skip
def test_a_plot_of_odd_points_is_still_a_picture(lines):
    for diagonal in (False, True):
        text = plot(Curve("t", "x", "y", lines, diagonal=diagonal, markers=True))
        assert "nan" not in text
        assert "inf" not in text.replace("font-family", "")
        ET.fromstring(text)
