"""Rows of a chunk before a tool is called: addresses, values; and the examples of the documentation."""

import json
import re
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from perennial.contracts.destinations import DestinationsFile
from perennial.delivery.tools.accounts import moment
from perennial.delivery.tools.events import event_id
from perennial.delivery.tools.records import Contact
from perennial.delivery.tools.rows import normal_address, plain, set_fields, sort_rows

DELIVERY = Path(__file__).resolve().parents[3] / "docs" / "delivery.md"


@pytest.mark.parametrize(
    ("given_", "normal"),
    [
        ("Ann@Example.COM", "ann@example.com"),
        (" a.b+c@x.example\n", "a.b+c@x.example"),
        ("eva@BÜCHER.example", "eva@xn--bcher-kva.example"),
        ("eva@straße.example", "eva@xn--strae-oqa.example"),
        ("иван@пример.example", None),
        ("a b@x.example", None),
        ("a@x", None),
        ("a@-x.example", None),
        ("@x.example", None),
        ("a@@x.example", None),
        ("a@x.example\x00", None),
        ("a" * 65 + "@x.example", None),
        ("", None),
    ],
)
def test_an_address_is_written_as_every_tool_takes_it_or_not_at_all(given_, normal):
    assert normal_address(given_) == normal


@given(st.text(max_size=40), st.sampled_from(["@", "", "@x.example", "@bücher.example"]))
def test_a_normal_address_is_ascii_and_stays_as_it_is(text, tail):
    found = normal_address(text + tail)
    if found is not None:
        assert found.isascii()
        assert not any(character.isspace() for character in found)
        assert normal_address(found) == found


@given(
    st.lists(
        st.tuples(st.sampled_from(["A@x.example", "a@x.example ", "b@x.example", "no"]), st.text(max_size=9)),
        max_size=9,
    )
)
def test_L15_every_row_is_good_or_told_and_no_address_goes_twice(rows):
    contacts = [Contact(f"c{n}", "k", address, {"text": text}) for n, (address, text) in enumerate(rows)]
    sorted_ = sort_rows(contacts, longest_text=5)
    told = [one.client_id for one in sorted_.accept_the_rest()]
    assert sorted(told) == sorted(one.client_id for one in contacts)
    assert {one.code for one in sorted_.outcomes} <= {"bad_address", "shared_address", "bad_field"}
    assert all(len(one.fields["text"]) <= 5 and "\x00" not in one.fields["text"] for one in sorted_.good.values())


def test_L19_what_is_unset_or_empty_is_not_sent_and_zero_and_false_are():
    cells = {
        "none": None,
        "empty": "",
        "nan": float("nan"),
        "endless": float("inf"),
        "zero": 0,
        "false": False,
        "text": "x",
    }
    assert dict(set_fields(Contact("c", "k", "a@x.example", cells))) == {"zero": 0, "false": False, "text": "x"}


def test_values_are_as_json_has_them():
    there = datetime(2026, 3, 29, 2, 30, tzinfo=timezone(timedelta(hours=2)))
    cells = [Decimal("12.5000"), Decimal("12.0000"), date(2026, 2, 28), there, datetime(2026, 1, 1), "x", True]
    written = [12.5, 12, "2026-02-28", "2026-03-29T00:30:00+00:00", "2026-01-01T00:00:00+00:00", "x", True]
    assert json.loads(json.dumps([plain(cell) for cell in cells])) == written


def test_L25_a_vendors_moment_is_one_in_utc():
    for text in (
        "2026-11-01T09:00:00+01:00",
        "2026-11-01T08:00:00Z",
        "2026-11-01T08:00:00.000Z",
        "2026-11-01 08:00:00",
    ):
        assert moment(text) == datetime(2026, 11, 1, 8, tzinfo=UTC)
        assert moment(text).tzinfo is UTC


def test_the_same_event_has_the_same_id_and_another_does_not():
    assert event_id("a", "bc") == event_id("a", "bc") != event_id("ab", "c")


def test_the_examples_of_the_documentation_are_files_that_are_read():
    blocks = re.findall(r"(?:^    destinations:\n(?:    .*\n)+)", DELIVERY.read_text(encoding="utf-8"), re.MULTILINE)
    read = [DestinationsFile.model_validate({"version": 1, **yaml.safe_load(block)}) for block in blocks]
    assert {"mailchimp", "brevo", "listmonk"} <= {name for file in read for name in file.destinations}
