"""Versions, tombstones and columns that no contract names, as raw has them."""

from __future__ import annotations

import json

import pytest

from factories.landing_zone import DAY, HOUSEHOLDS, SALES, SALES_FILE, Zone, sale
from perennial.core.errors import ConfigError
from perennial.sources.config import load_sources
from unit.quality.checked_files import broken, checked, values

CLIENTS_FILE = f"crm/households_{DAY}.csv"


def _versioned(source: str, entity: str, **more):
    def change(sources):
        contract = sources[source]["entities"][entity]
        contract.update(version="rev", deleted={"column": "gone", "values": ["Y", "removed"]}, **more)

    return change


def _clients(*rows: str) -> str:
    return "\n".join([f"{HOUSEHOLDS},rev,gone", *rows]) + "\n"


def _client(key: object, name: str = "Ann", rev: object = "", gone: str = "") -> str:
    return f"{key},{name},Lee,,,,2017-01-01,{rev},{gone}"


@pytest.fixture
def crm(tmp_path):
    return Zone(tmp_path, _versioned("crm", "households"))


def _sales(*rows: str) -> str:
    return "\n".join([f"{SALES},rev,gone", *rows]) + "\n"


def test_versions_are_ordered_by_their_text_be_they_numbers_times_or_words(crm):
    newer = ["7", "07.5", "10", "19999999999999999999", "2017-10-02T12:00:00+02:00", "2017-10-02T10:30:00.5Z", "b"]
    crm.land(CLIENTS_FILE, _clients(*(_client(n, rev=rev) for n, rev in enumerate(newer))))
    with checked(crm, "crm", "households") as checker:
        assert broken(checker) == {}
        found = [text for (text,) in values(checker, "version")]
    assert found == sorted(found)
    assert found[4:6] == ["2017-10-02 10:00:00", "2017-10-02 10:30:00.5"]
    assert len(set(found)) == len(newer)


def test_a_key_may_stand_twice_in_a_file_with_different_versions_and_not_with_one(crm):
    rows = [
        _client(1, "Ann", 1),
        _client(1, "Anne", 2),
        _client(2, "Bob", 1),
        _client(2, "Rob", 1),
        _client(3),
        _client(3),
    ]
    crm.land(CLIENTS_FILE, _clients(*rows))
    with checked(crm, "crm", "households") as checker:
        assert broken(checker) == {"key:client_key": 2}


def test_a_tombstone_needs_its_key_and_nothing_else(tmp_path):
    zone = Zone(tmp_path, _versioned("shop", "sales", business_date="ordered_at", path="shop/sales_*.csv.gz"))
    gone = [sale(10001, "", "", quantity="?", value="", store="") + ",,y", ",,,2017-10-02T12:00:00Z,,,,,, removed "]
    zone.land(
        "shop/sales_1.csv.gz", _sales(*gone, "10002,,,,,,,,,Y", sale(10003) + ",,n", sale(10004, product="") + ",,")
    )
    with checked(zone, "shop", "sales") as checker:
        assert [row[0] for row in values(checker, "is_deleted")] == [True, True, True, False, False]
        assert broken(checker) == {"required:order_key": 1, "required:ordered_at": 1, "required:product_key": 1}
        assert checker.counts().guests == 1  # a tombstone is no sale to a guest


def test_L1_L4_a_delete_then_the_same_row_again_is_no_duplicate_and_the_same_delete_twice_is(crm):
    fates = []
    for gone in ("", "", "Y", "Y", ""):
        day = len(fates) + 1
        crm.land(f"crm/households_2017-10-0{day}.csv", _clients(_client(1, gone=gone), _client(100 + day)))
        report = crm.only("crm")
        assert report.landed == report.loaded + report.quarantined + report.duplicate
        fates.append(report.loaded)
    assert fates == [2, 1, 2, 1, 2]
    loaded = crm.raw("clients", "_business_date, _deleted, first_name, _precedence, client_key")
    assert [(day.day, *rest) for day, *rest, key in loaded if key == "1"] == [
        (1, False, "Ann", 100), (3, True, "Ann", 100), (5, False, "Ann", 100),
    ]  # fmt: skip


def test_L4_a_newer_version_with_the_same_content_is_kept_since_an_older_one_may_still_arrive(crm):
    crm.land(CLIENTS_FILE, _clients(_client(1, "Ann", 1), _client(1, "Ann", 3), _client(1, "Ann", 3)))
    assert crm.only("crm").duplicate == 1
    crm.land("crm/households_2017-10-02_late.csv".replace("_late", ""), _clients(_client(1, "Eve", 2)))
    assert crm.only("crm").loaded == 1
    names = crm.raw("clients", "first_name, _version")
    assert [name for name, _version in sorted(names, key=lambda row: row[1])] == ["Ann", "Eve", "Ann"]


def test_versions_and_the_tombstone_of_a_document_are_deliveries_of_their_own(tmp_path):
    zone = Zone(tmp_path, _versioned("shop", "sales"))
    lines = [sale(10001) + ",1,", sale(10001) + ",1,", sale(10001, quantity=2) + ",2,"]
    zone.land(SALES_FILE, _sales(*lines))
    assert zone.only("shop").loaded == 3
    zone.land("shop/sales_2017-10-03.csv.gz", _sales(lines[2], "10001,,,,,,,,3,Y"))
    report = zone.only("shop")
    assert (report.loaded, report.duplicate) == (1, 1)
    assert zone.raw("order_lines", "_deleted, quantity")[-1] == (True, None)


def test_what_no_contract_names_is_kept_as_json_and_version_and_tombstone_are_named(crm):
    row = _client(1, rev=4, gone="n")
    crm.land(CLIENTS_FILE, f'{HOUSEHOLDS},rev,gone,Shoe "size",note\n{row},42,\n')
    report = crm.only("crm")
    assert json.loads(crm.raw("clients", "_extra")[0][0]) == {'Shoe "size"': "42", "note": None}
    assert any("new column 'note'" in warning for warning in report.warnings)
    assert not any("'rev'" in warning or "'gone'" in warning for warning in report.warnings)


def test_a_file_without_the_column_of_the_tombstone_is_refused(crm):
    crm.land(CLIENTS_FILE, f"{HOUSEHOLDS},rev\n{_client(1)[:-1]}\n")
    assert "column gone is missing" in crm.only("crm").reasons[0]


def test_an_event_cannot_be_deleted_and_the_config_says_so(tmp_path):
    zone = Zone(tmp_path, _versioned("crm", "consents"))
    with pytest.raises(ConfigError, match=r"consents\.deleted.*what happened is not deleted"):
        load_sources(zone.settings)
