"""How values are written is guessed from many of them, and the setting that reads them is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from factories.landed_formats import products_zone
from factories.landing_zone import SALES_FILE, Zone, sale, sales
from perennial.contracts.sources import FileFormat
from perennial.sources.guessing import Moments, date_style, number_style, time_style
from perennial.sources.hints import setting_for


@pytest.mark.parametrize(
    ("values", "style"),
    [
        (["1", "-2.50", "1000"], (".", None)),
        (["1", "2,5"], (",", None)),
        (["1.234,56", "7"], (",", ".")),
        (["1,234", "12,500"], (".", ",")),
        (["1,234", "1,5"], (",", None)),
        (["1,234.5"], (".", ",")),
        (["1\u00a0234,5", "12"], (",", " ")),
        (["1'234.5"], (".", "'")),
        (["12a", "b"], None),
        ([""], None),
    ],
)
def test_the_marks_of_numbers(values, style):
    assert number_style(values) == style


@pytest.mark.parametrize(
    ("values", "style"),
    [
        (["2017-10-02"], Moments(None)),
        (["02.10.2017", "31.12.2017"], Moments("%d.%m.%Y")),
        (["10/02/2017", "10/31/2017"], Moments("%m/%d/%Y")),
        (["01/10/2017", "05/10/2017"], Moments("%d/%m/%Y", "%m/%d/%Y")),
        (["10/01/2017", "10/05/2017"], Moments("%m/%d/%Y", "%d/%m/%Y")),
        (["20171002"], Moments("%Y%m%d")),
        (["12345678"], None),
        (["1", "2"], None),
        (["2017-13-45"], None),
        (["", "tomorrow"], None),
    ],
)
def test_the_format_of_dates(values, style):
    assert date_style(values) == style


@pytest.mark.parametrize("codes", ["%d.%m.%Y %H:%M", "%m/%d/%Y %I:%M %p", "%d.%m.%y %H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f"])
def test_the_format_of_times_is_found_again_or_is_iso(codes):
    start = datetime(2017, 10, 20, 9, 30, 15, 120, tzinfo=UTC)
    values = [(start + timedelta(hours=7 * step)).strftime(codes) for step in range(10)]
    assert time_style(values).codes == (None if codes.startswith("%Y-") else codes)


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        (["1.234,56"] * 3, "decimal", "set decimal: ',', thousands: '.' in the format"),
        (["1,5"] * 3, "decimal", "a comma before the decimals: set decimal: ','"),
        (["1 234"] * 3, "integer", "a blank between thousands"),
        (["02.10.2017"] * 3, "date", "set date_format"),
        (["02.10.2017 12:00"] * 3, "timestamp", "of the form '%d.%m.%Y %H:%M': set timestamp_format"),
        (["abc"] * 3, "decimal", ""),
        (["1,5"] * 2, "decimal", ""),
    ],
)
def test_the_setting_that_would_read_bad_values_is_told(values, kind, told):
    said = setting_for(values, kind, FileFormat())
    assert told in said
    assert bool(said) == bool(told)


def test_a_wrong_decimal_mark_is_told_with_the_right_one_on_the_batch(tmp_path):
    zone = Zone(tmp_path, lambda s: s["shop"]["entities"]["sales"]["format"].update(delimiter=";"))
    zone.land(SALES_FILE, sales(*[sale(10000 + i, value="1.234,5", discount="0,50") for i in range(20)]).replace(",", ";")
              .replace("1.234;5", "1.234,5").replace("0;50", "0,50"))  # fmt: skip
    report = zone.only("shop")
    assert report.state == "refused"
    told = [reason for reason in report.reasons if "cannot be read" in reason]
    assert [reason.split(";")[0] for reason in told] == [
        "sales_value: 20 values cannot be read",
        "discount: 20 values cannot be read",
    ]
    assert told[0].endswith("set decimal: ',', thousands: '.' in the format of sources.yml")


def test_a_contract_whose_marks_are_the_same_is_a_mistake(tmp_path):
    from perennial.core.errors import ConfigError

    zone = products_zone(tmp_path, ".csv", {"decimal": ",", "thousands": ","})
    with pytest.raises(ConfigError, match="thousands and decimal are the same character"):
        zone.ingest("shop")
