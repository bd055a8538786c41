"""Lists through a tool: in chunks, marked row by row, split, followed, read back, stopped (L12-L18)."""

import pytest
import sqlalchemy as sa

from factories import tool_exports
from factories.kept_tool import Manner
from perennial.delivery import destinations
from perennial.ledger.engine import open_ledger
from perennial.ledger.tables import deliveries
from perennial.pipeline.export import export

IDS = [f"c{n:02}" for n in range(12)]
LIST = "news__email__2017-10-01"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Makes (settings, run, tool) for a manner of the tool; everything lies in the test's folder."""

    def make(manner=None, ids=IDS, *cards, approved=True, **more):
        registry = dict(destinations.TOOLS)
        tool_exports.use(tmp_path, manner, registry)
        monkeypatch.setattr(destinations, "TOOLS", registry)
        settings = tool_exports.shop(tmp_path, ids, *cards, **more)
        if approved:
            tool_exports.approve_before(settings)
        return settings, tool_exports.planned(settings, ids), tool_exports.tool_at(tmp_path, manner)

    return make


def sums(report):
    return (report.size, report.sent, report.rejected, report.skipped, report.pending)


def in_ledger(settings, **wanted):
    query = sa.select(deliveries).where(*(deliveries.c[name] == value for name, value in wanted.items()))
    with open_ledger(settings).connect() as connection:
        return sorted(row.client_id for row in connection.execute(query))


def test_a_list_goes_out_in_chunks_and_each_row_is_marked(made):
    settings, run, tool = made()
    [report] = export(settings, run)
    assert sums(report) == (12, 12, 0, 0, 0)
    assert sorted(tool.calls()) == [("add", 2), ("add", 5), ("add", 5)]
    assert tool.members(LIST)["c03@example.com"] == {"FNAME": "First c03"}
    assert in_ledger(settings, state="accepted") == IDS
    assert list((settings.home / "private" / "in_flight").iterdir()) == []


def test_L12_a_second_run_of_the_day_calls_the_tool_for_nobody(made):
    settings, run, tool = made()
    export(settings, run)
    [report] = export(settings, run)
    assert sums(report) == (12, 0, 0, 12, 0)
    assert len(tool.calls()) == 3
