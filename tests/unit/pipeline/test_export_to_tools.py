"""Lists through a tool: in chunks, marked row by row, split, followed, read back, stopped (L12-L18)."""

import asyncio
import contextlib
import sqlite3
from datetime import datetime

import pytest
import sqlalchemy as sa

from factories import exports, published, tool_exports
from factories.kept_tool import KeptTool, Manner
from perennial.core.errors import PerennialError, PermanentError, RetryableError
from perennial.delivery import destinations
from perennial.delivery.engine.pusher import Patience
from perennial.ledger import approvals, pushes
from perennial.ledger.deliveries import lists_of
from perennial.ledger.delivery_tables import approval_requests
from perennial.ledger.engine import open_ledger
from perennial.ledger.locks import hold
from perennial.ledger.tables import deliveries
from perennial.pipeline.export import Options, export
from perennial.pipeline.export.differences import differences
from perennial.pipeline.export.rejects import write_sheet

rejected = deliveries.c.state == "rejected"
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


def test_L15_a_refused_chunk_is_split_until_the_bad_row_stands_alone(made):
    settings, run, tool = made(Manner(poison=("c07@example.com",), bad=("c01@example.com",)))
    [report] = export(settings, run)
    assert sums(report) == (12, 10, 2, 0, 0)
    assert report.reasons == {"refused_by_tool": 1, "bad_address": 1}
    assert sorted(tool.members(LIST)) == [f"{one}@example.com" for one in IDS if one not in {"c01", "c07"}]
    with open_ledger(settings).connect() as connection:
        told = dict(connection.execute(sa.select(deliveries.c.client_id, deliveries.c.reason).where(rejected)).all())
    assert told == {
        "c01": "the tool says that the address cannot be one (Invalid Resource, looks fake); correct it in the CRM; "
        "tried again by itself in the next run",
        "c07": "the tool refused the row (a row of the chunk is bad); see the tool's words; tried again by itself in the "
        "next run",
    }


@pytest.mark.parametrize("fault", ["401", "503"])
def test_an_account_that_says_no_marks_nobody_bad_and_the_rest_goes_with_the_next_run(made, fault):
    settings, run, tool = made(Manner(connections=1))
    tool.break_at(n2=fault)
    with pytest.raises(PerennialError, match=f"answered {fault}"):
        export(settings, run)
    [record] = lists_of(open_ledger(settings), "kept")
    assert (record.sent, record.rejected, record.pending, record.reasons) == (5, 0, 7, {"interrupted": 7})
    assert in_ledger(settings, state="rejected") == []
    [report] = export(settings, run)
    assert sums(report) == (12, 7, 0, 5, 0)
    assert set(tool.messages().values()) == {1}
    assert len(tool.messages()) == 12


@pytest.mark.parametrize("repeatable", [True, False])
def test_L12_a_call_that_broke_after_it_was_accepted_sends_nothing_twice(made, repeatable):
    settings, run, tool = made(Manner(repeatable=repeatable, connections=1))
    tool.break_at(n1="reset_after", n4="reset_before")
    if repeatable:
        with pytest.raises(RetryableError, match="the connection broke"):
            export(settings, run)
    else:
        assert sums(export(settings, run)[0]) == (12, 12, 0, 0, 0)
    export(settings, run)
    assert tool.messages() == {(LIST, f"{one}@example.com"): 1 for one in IDS}
    assert in_ledger(settings, state="accepted") == IDS


def test_L12_what_can_neither_be_repeated_nor_read_back_is_unknown_and_left_to_a_person(made):
    settings, run, tool = made(Manner(repeatable=False, readable=False, connections=1))
    tool.break_at(n1="reset_after")
    [report] = export(settings, run)
    assert sums(report) == (12, 7, 0, 0, 5)
    assert report.reasons == {"unknown_outcome": 5}
    [again] = export(settings, run)
    assert sums(again) == (12, 0, 0, 12, 0)  # never sent again by itself
    engine = open_ledger(settings)
    [unknown] = pushes.unknown_rows(engine)
    assert (unknown["list_id"], unknown["rows"]) == (report.list_id, 5)
    assert pushes.settle_unknown(engine, report.list_id, as_accepted=False) == 5
    [sent] = export(settings, run)
    assert (sent.sent, pushes.unknown_rows(engine)) == (5, [])


def test_L12_a_person_who_saw_the_rows_in_the_tool_says_so_and_the_sum_is_right(made):
    settings, run, tool = made(Manner(repeatable=False, readable=False, connections=1))
    tool.break_at(n1="reset_after")
    [report] = export(settings, run)
    engine = open_ledger(settings)
    pushes.settle_unknown(engine, report.list_id, as_accepted=True)
    record = pushes.read_list(engine, report.list_id)
    assert (record.sent, record.pending, record.reasons) == (12, 0, {})
    assert len(tool.messages()) == 12


def test_jobs_of_a_tool_are_followed_to_their_end(made):
    settings, run, tool = made(Manner(asynchronous=True, bad=("c01@example.com",)))
    assert sums(export(settings, run)[0]) == (12, 11, 1, 0, 0)
    assert len(tool.members(LIST)) == 11


def test_a_job_that_is_left_to_the_next_look_is_followed_then_and_nothing_else_is_sent(made):
    settings, run, tool = made(Manner(asynchronous=True, looks=2))
    patience = Options(patience=Patience(follow=False))
    [report] = export(settings, run, patience)
    assert (sums(report), report.reasons) == ((12, 0, 0, 0, 12), {"in_progress": 12})
    [done] = export(settings, run, patience)
    assert sums(done) == (12, 0, 0, 12, 0)
    assert [record.sent for record in lists_of(open_ledger(settings), "kept")] == [12]
    assert tool.messages() == {(LIST, f"{one}@example.com"): 1 for one in IDS}


def test_a_stalled_push_is_noticed_by_progress_and_followed_by_the_next_run(made):
    settings, run, tool = made(Manner(asynchronous=True, looks=200))

    async def no_pause(_seconds):
        await asyncio.sleep(0)

    with pytest.raises(RetryableError, match="nothing has gone on in kept"):
        export(settings, run, Options(patience=Patience(stall_seconds=0.05, pause=no_pause)))
    export(settings, run, Options(patience=Patience(pause=no_pause)))
    assert set(tool.messages().values()) == {1}
    assert len(in_ledger(settings, state="accepted")) == 12


def test_L9_who_withdraws_while_the_list_is_on_its_way_is_not_sent_to(made):
    settings, run, tool = made(Manner(connections=1))
    first = KeptTool.submit

    async def withdraw_meanwhile(self, chunk, where):
        if not tool.calls():
            exports.consent(settings, ["c00", "c01"], status="withdrawn", on=exports.AS_OF)
        return await first(self, chunk, where)

    kind = type("Slow", (KeptTool,), {"submit": withdraw_meanwhile})
    destinations.TOOLS[tool_exports.KIND] = lambda name, *_: kind(tool.path, tool.manner, name)
    [report] = export(settings, run)
    assert (sums(report), report.reasons) == ((12, 10, 0, 2, 0), {"consent_withdrawn": 2})
    assert {"c00@example.com", "c01@example.com"} & set(tool.members(LIST)) == set()


def test_L17_past_its_last_moment_nothing_of_a_list_is_pushed(made, monkeypatch):
    card = published.card("news", merge_fields=["first_name"], schedule={"send_not_after": "18:00"})
    settings, run, tool = made(None, IDS, card)
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T18:30:00+00:00")
    [report] = export(settings, run)
    assert (sums(report), report.reasons, tool.calls()) == ((12, 0, 0, 12, 0), {"too_late": 12}, [])
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T09:30:00+00:00")
    assert sums(export(settings, run)[0]) == (12, 12, 0, 0, 0)


def test_the_first_list_to_a_new_tool_waits_for_a_person(made):
    settings, run, tool = made(approved=False)
    [report] = export(settings, run)
    assert (sums(report), report.reasons, tool.calls()) == ((12, 0, 0, 0, 12), {"awaits_approval": 12}, [])
    engine = open_ledger(settings)
    [question] = approvals.questions(engine)
    assert (question.why, question.view["size"], question.view["add"]) == (("new_destination",), 12, 12)
    said = approvals.Answer("news", "email", run.as_of, "kept", "approved", 12, question.view, "fine", "ann", "cli")
    approvals.answer(engine, said, hours=24)
    assert sums(export(settings, run)[0]) == (12, 12, 0, 0, 0)
    assert approvals.questions(engine) == []


def test_a_list_that_outgrew_its_approval_is_asked_about_again(made, monkeypatch):
    card = published.card("news", merge_fields=["first_name"], approval="required")
    settings, run, tool = made(None, IDS, card)
    engine = open_ledger(settings)
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T09:00:00+00:00")
    export(settings, run)
    said = approvals.Answer("news", "email", run.as_of, "kept", "approved", 11, {}, "eleven", "ann", "cli")
    approvals.answer(engine, said, hours=24)
    assert approvals.questions(engine) == []
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T10:00:00+00:00")
    assert export(settings, run)[0].reasons == {"awaits_approval": 12}
    [question] = approvals.questions(engine)
    assert question.asked_at == datetime(2017, 10, 1, 10)
    assert tool.calls() == []


def test_a_refused_list_and_one_that_nobody_answered_are_not_sent(made, monkeypatch):
    card = published.card("news", merge_fields=["first_name"], approval="required")
    settings, run, tool = made(None, IDS, card)
    engine = open_ledger(settings)
    export(settings, run)
    with engine.begin() as connection:
        connection.execute(sa.update(approval_requests).values(expires_at=datetime(2017, 1, 1)))
    assert export(settings, run)[0].reasons == {"approval_expired": 12}
    said = approvals.Answer("news", "email", run.as_of, "kept", "refused", 0, {}, "wrong offer", "ann", "page")
    approvals.answer(engine, said, hours=24)
    assert export(settings, run)[0].reasons == {"not_approved": 12}
    assert tool.calls() == []


def test_L16_two_pushers_at_once_one_of_them_waits_for_another_day(made):
    settings, run, tool = made()
    with (
        hold(open_ledger(settings), "kept/news__email"),
        pytest.raises(RetryableError, match="another process is at it"),
    ):
        export(settings, run)
    assert tool.calls() == []


def test_credentials_revoked_in_the_middle_lose_nobody(made):
    settings, run, tool = made(Manner(connections=1))
    tool.break_at(n2="401", n3="401", n4="401")
    for _ in range(3):
        with pytest.raises(PermanentError):
            export(settings, run)
    export(settings, run)
    assert tool.messages() == {(LIST, f"{one}@example.com"): 1 for one in IDS}


def test_L9_who_unsubscribed_in_the_tool_is_read_back_before_the_push(made):
    settings, run, tool = made()
    tool.unsubscribe("c04@example.com")
    [report] = export(settings, run)
    assert (sums(report), report.reasons) == ((12, 11, 0, 1, 0), {"consent_withdrawn": 1})
    assert "c04@example.com" not in tool.members(LIST)


def test_a_dry_run_shows_who_would_leave_and_touches_nothing(made):
    card = published.card("news", merge_fields=["first_name"], list_type="audience")
    settings, run, tool = made(None, IDS, card)
    export(settings, run)
    exports.consent(settings, ["c03"], status="withdrawn", on=exports.AS_OF)
    calls = tool.calls()
    [found] = differences(settings, run)
    assert (found.remove, found.removals) == (1, (("c03", "consent_withdrawn"),))
    assert tool.calls() == calls
    assert in_ledger(settings, action="remove") == []
    export(settings, run)
    assert "c03@example.com" not in tool.members("news__email")
    assert len(tool.members("news__email")) == 11  # L13: the others stay


def test_the_sheet_of_rejects_says_who_masked_why_and_what_to_mend(made, tmp_path):
    settings, run, _tool = made(Manner(bad=("c01@example.com",)))
    export(settings, run)
    path = tmp_path / "rejects.csv"
    assert write_sheet(settings, run.as_of, path) == 1
    [head, row] = path.read_text(encoding="utf-8-sig").splitlines()
    assert head.split(",")[:4] == ["campaign", "channel", "destination", "client_id"]
    assert row.startswith("news,email,kept,c01,")
    assert "c***@e***.com" in row
    assert "c01@example.com" not in row
    assert "correct it in the CRM,tried again by itself in the next run" in row
    assert path.stat().st_mode & 0o777 == 0o600


def test_clock_jumps_neither_send_twice_nor_lose_anybody(made, monkeypatch):
    settings, run, tool = made(Manner(repeatable=False, readable=False, connections=1))
    tool.break_at(n2="503", n4="reset_before")
    for moment in ("2017-10-01T12:00:00+00:00", "2011-01-01T00:00:00+00:00", "2037-01-01T00:00:00+00:00"):
        monkeypatch.setenv("PERENNIAL_CLOCK", moment)
        with contextlib.suppress(RetryableError):
            export(settings, run)
    unknown = in_ledger(settings, state="unknown")
    assert set(tool.messages().values()) == {1}
    assert sorted([*in_ledger(settings, state="accepted"), *unknown]) == IDS


def test_a_full_disk_of_the_ledger_stops_the_push_and_the_next_run_ends_it(made):
    settings, run, tool = made(Manner(connections=1))
    engine = open_ledger(settings)
    full = {"after": 2}

    def no_space(_connection, _cursor, statement, *_):
        if statement.startswith("INSERT INTO push_chunks"):
            full["after"] -= 1
            if full["after"] < 0:
                raise sqlite3.OperationalError("database or disk is full")

    sa.event.listen(engine, "before_cursor_execute", no_space)
    with pytest.raises(Exception, match="disk is full"):
        export(settings, run)
    sa.event.remove(engine, "before_cursor_execute", no_space)
    export(settings, run)
    assert tool.messages() == {(LIST, f"{one}@example.com"): 1 for one in IDS}
    assert in_ledger(settings, state="accepted") == IDS
    assert list((settings.home / "private" / "in_flight").glob("*.arrow")) == []


def test_L17_a_list_whose_last_moment_comes_while_it_is_pushed_ends_there(made, monkeypatch):
    card = published.card("news", merge_fields=["first_name"], schedule={"send_not_after": "18:00"})
    settings, run, tool = made(Manner(connections=1), IDS, card)
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T17:59:59+00:00")
    first = KeptTool.submit

    async def slow(self, chunk, where):
        monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T18:00:01+00:00")
        return await first(self, chunk, where)

    kind = type("Slow", (KeptTool,), {"submit": slow})
    destinations.TOOLS[tool_exports.KIND] = lambda name, *_: kind(tool.path, tool.manner, name)
    [report] = export(settings, run)
    assert (sums(report), report.reasons) == ((12, 5, 0, 7, 0), {"too_late": 7})


def test_quiet_hours_hold_back_what_would_reach_people_at_once(made, monkeypatch):
    settings, run, tool = made(Manner(reaches_people=True))
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T06:00:00+00:00")
    early = datetime(2017, 10, 1, 8)
    targets = [exports.target("news", one, not_before=early if one < "c05" else None) for one in IDS]
    run = exports.planned_day(settings, [exports.person(one) for one in IDS], targets)
    [report] = export(settings, run)
    assert (sums(report), report.reasons) == ((12, 7, 0, 0, 5), {"quiet_hours": 5})
    monkeypatch.setenv("PERENNIAL_CLOCK", "2017-10-01T09:00:00+00:00")
    assert export(settings, run)[0].sent == 5
    assert len(tool.members(LIST)) == 12
