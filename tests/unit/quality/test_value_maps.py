"""The contract's own words: for a source's values (`map`), and for what the source does not say (`constants`)."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from factories.landing_zone import SALES_FILE, Zone, sale, sales
from perennial.contracts.sources import SourceColumn
from perennial.core.errors import ConfigError
from perennial.sources.config import load_sources
from unit.quality.checked_files import broken, checked, column


def _mapped(words, **more):
    def change(sources):
        sources["shop"]["entities"]["sales"]["columns"]["store_key"] = {"source": "store_id", "map": words, **more}

    return change


def _land(zone: Zone, *stores: str) -> None:
    zone.land(SALES_FILE, sales(*(sale(store=store) for store in stores)))


def test_a_value_becomes_the_contract_s_word_and_what_is_not_named_stays(tmp_path):
    zone = Zone(tmp_path, _mapped({"GTXPro": "GTX Pro", "-": ""}))
    _land(zone, "GTXPro", " GTXPro ", "gtxpro", "-", "300")
    assert column(zone, "shop", "sales", "store_key") == ["GTX Pro", "GTX Pro", "gtxpro", None, "300"]


def test_L23_a_quotation_mark_in_a_map_is_a_quotation_mark(tmp_path):
    zone = Zone(tmp_path, _mapped({"a' then 'x": "b''; drop table rows_read; --"}))
    _land(zone, "a' then 'x")
    assert column(zone, "shop", "sales", "store_key") == ["b''; drop table rows_read; --"]


def test_what_is_legal_is_judged_by_the_contract_s_word(tmp_path):
    zone = Zone(tmp_path, _mapped({"n": "north"}, transform="lower", allowed=["north"]))
    _land(zone, "N", "north", "s")
    with checked(zone, "shop", "sales") as checker:
        assert broken(checker) == {"allowed:store_key": 1}


@pytest.mark.parametrize(("transform", "key"), [("lower", "North"), ("upper", "n"), ("strip", " n"), ("strip", "")])
def test_a_word_that_the_transform_never_gives_is_a_mistake(transform, key):
    with pytest.raises(ValidationError, match=f"map: the transform {transform} turns"):
        SourceColumn(source="store_id", transform=transform, map={key: "north"})


def _constants(words):
    def change(sources):
        sources["shop"]["entities"]["sales"]["constants"] = words

    return change


def test_a_constant_stands_in_every_row(tmp_path):
    zone = Zone(tmp_path, _constants({"country": "O'Land"}))
    _land(zone, "1", "2")
    assert column(zone, "shop", "sales", "country") == ["O'Land", "O'Land"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"quantity": "1"}, "quantity is no text column of order_lines"),
        ({"town": "x"}, "town is no text column of order_lines"),
        ({"store_key": "1"}, "it is a key, mapped under columns, or empty"),
        ({"order_key": "1"}, "it is a key, mapped under columns, or empty"),
        ({"country": " "}, "it is a key, mapped under columns, or empty"),
    ],
)
def test_a_constant_that_cannot_be_one_is_a_mistake_with_its_line(tmp_path, words, told):
    with pytest.raises(ConfigError, match=told):
        load_sources(Zone(tmp_path, _constants(words)).settings)
