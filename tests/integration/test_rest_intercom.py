"""Intercom, as its own specification says it is: every request and every answer is validated against it."""

from __future__ import annotations

import json
from datetime import date

import pytest

from factories.intercom import TOKEN, Intercom
from factories.landing_zone import Zone
from factories.rest_api import Connections, asking, running
from perennial.core.connections import Connection
from perennial.pipeline.fetch import fetch
from perennial.pipeline.ingest import ingest
from perennial.sources.rest.snippets import example_source
from reference import reference

CONTACTS = 2_000


@pytest.fixture(scope="module")
def specification():
    return reference("specs/intercom/intercom-2.15.trimmed.json")


def _asking(folder, api, password=TOKEN):
    return asking(
        folder, {"base_url": api.url}, {}, definition="intercom", resource="contacts", version="updated_at",
        deleted={"column": "_deleted"}, connection={"password": password, "host": "api.intercom.io"},
    )  # fmt: skip


def test_L1_every_contact_lands_exactly_once_through_limits_errors_and_dropped_connections(tmp_path, specification):
    vendor = Intercom(specification, CONTACTS)
    with running(vendor) as api:
        crm = _asking(tmp_path, api)
        lines = crm.fetch()
        assert [line["id"] for line in lines] == sorted(vendor.contacts)
        assert vendor.validated == -(-CONTACTS // 150)
        assert vendor.requests > vendor.validated
        day = 86_400 // 1_009 + 1
        vendor.requests = 0
        assert crm.fetch() == []
        assert vendor.validated <= -(-CONTACTS // 150) + -(-3 * day // 150)  # days of the look-back, not the whole


def test_only_the_contacts_that_changed_land_though_whole_days_are_searched(tmp_path, specification):
    vendor = Intercom(specification, 300, trouble=False)
    newest = max(one["updated_at"] for one in vendor.contacts.values())
    with running(vendor) as api:
        crm = _asking(tmp_path, api)
        crm.fetch()
        for number, seconds in ((7, 60), (130, 5_000), (299, 10)):
            vendor.contacts[f"c{number:05d}"] |= {"name": "Changed", "updated_at": newest + seconds}
        assert [line["id"] for line in crm.fetch()] == ["c00007", "c00130", "c00299"]
        del vendor.contacts["c00005"]  # merged into another
        assert crm.fetch() == []
        crm.today = date(2026, 11, 27)  # the weekly listing of the whole
        [gone] = crm.fetch()
        assert (gone["id"], gone["_deleted"], gone["name"]) == ("c00005", True, None)


def test_a_wrong_token_is_told_with_what_to_do(tmp_path, specification):
    vendor = Intercom(specification, 10, trouble=False)
    with running(vendor) as api:
        steps = _asking(tmp_path, api, "wrong").check()
        assert steps["sign in"].endswith("not signed in: 401 (unauthorized) -> renew the secret in the connection")
        assert "wrong" not in json.dumps(steps)
        assert _asking(tmp_path, api).check()["fields"] == "ok"


def test_the_ready_mapping_takes_contacts_from_the_api_to_raw(tmp_path, specification):
    def only_intercom(sources):
        sources.clear()
        sources["intercom"] = example_source("intercom")["intercom"]
        sources["intercom"]["settle_seconds"] = 0
        sources["intercom"]["connection"]["api"] = {"base_url": api.url}

    vendor = Intercom(specification, 200, trouble=False)
    with running(vendor) as api:
        zone = Zone(tmp_path, only_intercom)
        store = Connections(Connection("intercom", "http", host="api.intercom.io", password=TOKEN))
        [report] = fetch(zone.settings, connections=store)
        assert (report.problem, report.rows) == (None, 200)
        [batch] = ingest(zone.settings)
        assert batch.reasons == ()
        assert (batch.state, batch.landed, batch.loaded, batch.quarantined) == ("committed", 200, 200, 0)
