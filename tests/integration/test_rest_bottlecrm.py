"""The whole path against a real CRM that cannot say what changed: from its API to raw, and only the changes after."""

from __future__ import annotations

import pytest

from factories.bottlecrm import running_bottlecrm
from factories.landing_zone import Zone
from factories.rest_api import Connections
from perennial.core.connections import Connection
from perennial.pipeline.fetch import check, fetch
from perennial.pipeline.ingest import ingest
from perennial.sources.rest.snippets import example_source

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1_800)]


@pytest.fixture(scope="module")
def crm(tmp_path_factory):
    with running_bottlecrm(tmp_path_factory.mktemp("bottlecrm"), contacts=300, seed=7) as server:
        yield server


class _Site:
    """A home whose one source is the CRM, by the ready mapping."""

    def __init__(self, folder, crm):
        def only_the_crm(sources):
            sources.clear()
            sources |= example_source("bottlecrm")
            sources["bottlecrm"]["settle_seconds"] = 0
            sources["bottlecrm"]["connection"]["api"] = {"base_url": crm.url, "rate_limit": {"per_second": 100}}

        self.zone = Zone(folder, only_the_crm)
        self.store = Connections(Connection("bottlecrm", "http", password=crm.token))

    def take(self):
        """Fetch and ingest: rows fetched, and the batches."""
        [report] = fetch(self.zone.settings, connections=self.store)
        assert report.problem is None
        return report.rows, ingest(self.zone.settings)


def test_five_updates_one_insert_and_one_delete_are_exactly_what_lands(tmp_path, crm):
    site = _Site(tmp_path, crm)
    [(_entity, steps)] = check(site.zone.settings, "bottlecrm", connections=site.store)
    assert dict(steps)["fields"] == "ok"
    rows, [batch] = site.take()
    assert (rows, batch.landed, batch.loaded, batch.quarantined, batch.duplicate) == (300, 300, 300, 0, 0)
    assert site.take() == (0, [])

    keys = [key for (key,) in site.zone.raw("clients", "client_key")]
    changed, deleted = keys[:5], keys[150]
    for key in changed:
        crm.call("PATCH", f"contacts/{key}/", {"organization": "Changed Ltd"})
    added = crm.call("POST", "contacts/", {"first_name": "New", "last_name": "Person", "email": "new@example.com"})[
        "id"
    ]
    crm.call("DELETE", f"contacts/{deleted}/")

    rows, [batch] = site.take()
    assert (rows, batch.state, batch.landed, batch.loaded, batch.quarantined) == (7, "committed", 7, 7, 0)
    second = site.zone.raw("clients", "client_key, company_name, email, _deleted, _version")[300:]
    assert {row[0] for row in second if row[1] == "Changed Ltd" and not row[3]} == set(changed)
    assert [row[0] for row in second if row[2] == "new@example.com" and not row[3]] == [added]
    [tombstone] = [row for row in second if row[3]]
    assert tombstone[:3] == (deleted, None, None)
    assert tombstone[4] == max(row[4] for row in second)
    assert site.take() == (0, [])
