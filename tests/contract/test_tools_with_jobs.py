"""What is of one mailing tool alone: SendGrid, Klaviyo, Resend, whose rows go as jobs. What all hold stands in test_tool_conformance.py."""

from contextlib import ExitStack
from importlib import import_module

import pytest

from contract.emulators.bench import KEY, contact, opened
from contract.emulators.rigs import RIGS
from perennial.core.errors import ConfigError, PermanentError
from perennial.delivery.tools.records import ListTarget
from perennial.delivery.tools.sendgrid_errors import errors_in

for _module in ("sendgrid", "klaviyo", "resend"):
    import_module(f"contract.emulators.{_module}")

ROWS = [contact("c1"), contact("c2"), contact("c3")]


@pytest.fixture
def on(monkeypatch):
    """Opens the bench of a rig; closed at the end of the test."""
    monkeypatch.setenv("PERENNIAL_CLOCK", "2026-11-10T12:00:00+00:00")
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(opened(RIGS[name]))


def _target(*fields):
    return ListTarget(KEY, "audience", fields)


def _states(told):
    return {name: one.state for name, one in told.items()}


# All three ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["sendgrid", "klaviyo", "resend"])
def test_L9_a_push_reads_only_who_withdrew_after_the_callers_cursor_and_refuses_them(on, name):
    bench = on(name)
    where = bench.prepared()
    bench.emulator.give("before@example.com", withdrew="complaint")
    cursor = bench.drain(bench.tool.withdrawals, {})[1]
    bench.emulator.tick(minutes=1)
    bench.emulator.give("after@example.com", withdrew="hard_bounce")
    listings, tool = bench.emulator.calls["GET /contacts"], bench.another()
    tool.go_on_from(cursor)
    told = bench.push("add", [contact("after"), contact("fine")], where, tool)
    assert (told["after"].code, told["fine"].state) == ("bounced_in_tool", "accepted")
    assert bench.emulator.calls["GET /contacts"] == listings  # Resend's whole list of contacts is not read again
    first = bench.another()
    first.go_on_from({})  # nobody has read anything yet
    assert bench.push("add", [contact("before")], where, first)["before"].code == "complained_in_tool"


# SendGrid -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["csv", "json", "lines", "gzip"])
@pytest.mark.parametrize("action", ["add", "update"])
def test_L15_sendgrids_error_file_names_the_rows_that_failed(on, form, action):
    bench = on("sendgrid")
    where = bench.prepared()
    bench.emulator.error_form = form
    bench.emulator.refused["c2@example.com"] = "contact c2@example.com has another identifier"
    told = bench.push(action, ROWS, where)
    assert _states(told) == {"c1": "accepted", "c2": "rejected", "c3": "accepted"}
    assert told["c2"].words == "contact *** has another identifier"


@pytest.mark.parametrize("form", ["none", "short"])
def test_L15_where_sendgrid_names_too_few_rows_the_list_is_read_and_of_updates_nothing_is_claimed(on, form):
    bench = on("sendgrid")
    where = bench.prepared()
    bench.emulator.error_form = form
    bench.emulator.refused |= {"c1@example.com": "no", "c2@example.com": "no"}
    assert _states(bench.push("add", ROWS, where)) == {"c1": "rejected", "c2": "rejected", "c3": "accepted"}
    unsure = _states(bench.push("update", ROWS, where))
    assert unsure == {"c1": "unknown", "c2": "unknown" if form == "none" else "rejected", "c3": "unknown"}


def test_a_sendgrid_job_that_failed_as_a_whole_accepts_nobody(on):
    bench = on("sendgrid")
    where = bench.prepared()
    bench.emulator.error_form = "none"
    bench.emulator.refused |= {f"c{number}@example.com": "no" for number in (1, 2, 3)}
    assert set(_states(bench.push("update", ROWS, where)).values()) == {"rejected"}


def test_whom_sendgrid_did_not_take_off_the_list_is_told(on):
    bench = on("sendgrid")
    where = bench.prepared()
    bench.push("add", ROWS, where)
    bench.emulator.removals_fail = True
    told = bench.push("remove", [*ROWS, contact("never.there")], where)
    assert _states(told) == {"c1": "rejected", "c2": "rejected", "c3": "rejected", "never.there": "accepted"}


def test_our_key_goes_to_no_other_address_than_sendgrids_and_errors_are_read_over_https_only(on):
    bench = on("sendgrid")
    where = bench.prepared()
    bench.emulator.refused["c1@example.com"] = "no"
    here = bench.emulator.url
    bench.emulator.url = here.replace("127.0.0.1", "localhost")  # another address, as an error file has
    with pytest.raises(PermanentError, match="not https"):
        bench.push("add", ROWS, where)
    assert not [one for one in bench.emulator.asked if one.path.startswith("/errors/")]
    bench.emulator.url = here
    assert bench.rejected("add", ROWS, where) == {"c1": "refused_by_tool"}  # the emulator sees that no key comes along


def test_a_sendgrid_field_of_another_type_is_told_and_text_takes_everything(on):
    bench = on("sendgrid")
    bench.run(bench.tool.prepare(_target(("points", "BIGINT"), ("note", "VARCHAR"), ("until", "DATE"))))
    assert [one["field_type"] for one in bench.emulator.custom.values()] == ["Number", "Text", "Date"]
    where = bench.run(bench.tool.prepare(_target(("NOTE", "BIGINT"))))
    assert bench.accepted("add", [contact("c1", NOTE=7)], where) == {"c1"}
    assert bench.emulator.people["c1@example.com"].fields == {"note": "7"}
    with pytest.raises(ConfigError, match="is a Number in SendGrid"):
        bench.run(bench.tool.prepare(_target(("points", "VARCHAR"))))


@pytest.mark.parametrize("field", ["created_at", "with space", "9th", "x" * 101, "prénom"])
def test_a_field_that_sendgrid_cannot_have_is_told(on, field):
    bench = on("sendgrid")
    with pytest.raises(ConfigError, match="field"):
        bench.run(bench.tool.prepare(_target((field, "VARCHAR"))))


def test_sendgrids_own_fields_go_as_its_own_and_their_lengths_are_told(on):
    bench = on("sendgrid")
    where = bench.run(bench.tool.prepare(_target(("first_name", "VARCHAR"), ("city", "VARCHAR"))))
    assert where.ids.keys() == {"list"}
    told = bench.push("add", [contact("c1", first_name="A" * 51), contact("c2", city="Ghent")], where)
    assert (told["c1"].code, told["c1"].words) == ("bad_field", "first_name is longer than 50 characters")
    assert bench.emulator.people["c2@example.com"].fields == {"city": "Ghent"}


@pytest.mark.parametrize(("groups", "found"), [((), {"a@example.com", "b@example.com"}), ((7,), {"b@example.com"})])
def test_L9_who_left_an_unsubscribe_group_of_sendgrid_has_withdrawn(on, groups, found):
    bench = on("sendgrid")
    bench.emulator.leave_group("a@example.com", 5)
    bench.emulator.leave_group("b@example.com", 7)
    told, cursor = bench.drain(bench.another(unsubscribe_groups=groups).withdrawals, {})
    assert {one.address for one in told} == found
    assert bench.drain(bench.another(unsubscribe_groups=groups).withdrawals, cursor)[0] == []


def test_more_activity_than_sendgrid_tells_at_once_is_read_in_shorter_spans(on):
    bench = on("sendgrid")
    where = bench.prepared()
    for _ in range(1_100):
        bench.emulator.happened("delivered", "c1@example.com", where.title)
    found, _ = bench.drain(bench.tool.feedback, {})
    assert len({one.event_id for one in found}) == 1_100


@pytest.mark.parametrize("content", [b"", b"\x1f\x8bnot packed", b"{broken", b"[1, 2]", b"a,b\n1,2\n", b"\xff\xfe"])
def test_an_error_file_that_cannot_be_read_names_nobody(content):
    assert list(errors_in(content)) == []


# Klaviyo ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", ["payload", "pointer", "none"])
def test_L15_klaviyos_import_errors_name_the_rows_that_failed(on, form):
    bench = on("klaviyo")
    where = bench.prepared()
    bench.emulator.error_form, bench.emulator.page_limit = form, 1
    bench.emulator.refused |= {"c1@example.com": "Invalid phone +4420 7946 0958", "c3@example.com": "Invalid phone"}
    told = bench.push("add", ROWS, where)
    assert _states(told) == {"c1": "rejected", "c2": "accepted", "c3": "rejected"}
    if form != "none":
        assert told["c1"].words == "Invalid phone ***"


def test_a_klaviyo_import_that_was_cancelled_is_judged_by_the_list(on):
    bench = on("klaviyo")
    where = bench.prepared()
    bench.emulator.job_ends = "cancelled"
    bench.emulator.refused["c1@example.com"] = "cancelled before its turn"
    told = bench.push("add", ROWS, where)
    assert _states(told) == {"c1": "rejected", "c2": "accepted", "c3": "accepted"}
    assert told["c1"].words == "the import was cancelled in Klaviyo"


def test_every_call_to_klaviyo_names_its_revision_and_speaks_json_api(on):
    bench = on("klaviyo")
    where = bench.prepared()
    bench.push("add", ROWS, where)
    assert {one.headers["revision"] for one in bench.emulator.asked} == {"2026-07-15"}
    assert {one.headers["Content-Type"] for one in bench.emulator.asked if one.body} == {"application/vnd.api+json"}


@pytest.mark.parametrize("field", ["$consent", "email", "location.planet"])
def test_a_field_that_klaviyo_keeps_for_itself_is_told(on, field):
    bench = on("klaviyo")
    with pytest.raises(ConfigError, match="field"):
        bench.run(bench.tool.prepare(_target((field, "VARCHAR"))))


def test_klaviyos_own_fields_places_and_properties_go_where_they_belong(on):
    bench = on("klaviyo")
    where = bench.run(
        bench.tool.prepare(_target(("last_name", "VARCHAR"), ("location.city", "VARCHAR"), ("tier", "VARCHAR")))
    )
    told = bench.push(
        "add",
        [contact("c1", last_name="Maes", **{"location.city": "Ghent"}, tier="gold"), contact("c2", tier="x" * 100_000)],
        where,
    )
    assert bench.emulator.people["c1@example.com"].fields == {
        "last_name": "Maes",
        "location": {"city": "Ghent"},
        "tier": "gold",
    }
    assert (told["c2"].state, told["c2"].code) == ("rejected", "bad_field")


def test_L9_who_left_a_single_list_of_klaviyo_has_withdrawn(on):
    bench = on("klaviyo")
    bench.emulator.give("c1@example.com")
    bench.emulator.leave_list("c1@example.com")
    told, cursor = bench.drain(bench.tool.withdrawals, {})
    assert [(one.kind, one.address) for one in told] == [("unsubscribe", "c1@example.com")]
    assert bench.drain(bench.another().withdrawals, cursor)[0] == []


def test_L22_an_open_by_a_machine_is_marked_and_a_bounces_reason_names_nobody(on):
    bench = on("klaviyo")
    bench.emulator.give("c1@example.com")
    bench.prepared()
    for kind in ("open", "soft_bounce", "click"):
        bench.emulator.happened(kind, "c1@example.com", "news__email")
    found = {one.kind: one for one in bench.drain(bench.tool.feedback, {})[0]}
    assert (found["open"].is_machine, found["click"].is_machine) == (True, False)
    assert found["soft_bounce"].detail == "550 no ***"
    assert "c1@" not in repr(found)


# Resend -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("rows", [3, 120])
def test_L15_rows_that_resend_does_not_name_are_found_in_pieces(on, rows):
    bench = on("resend")
    where = bench.prepared()
    bench.emulator.refused |= {"c0@example.com", "c2@example.com"}
    told = bench.push("add", [contact(f"c{number}", favourite="tea") for number in range(rows)], where)
    assert {name for name, one in told.items() if one.state == "rejected"} == {"c0", "c2"}
    assert len(bench.on(where)) == rows - 2
    assert bench.emulator.calls["GET /contacts/{id}"] <= 50


def test_L15_an_update_that_resend_did_not_take_is_found_by_what_the_contact_has(on):
    bench = on("resend")
    where = bench.prepared()
    bench.push("add", [contact("c1", favourite="tea"), contact("c2", favourite="tea")], where)
    bench.emulator.refused.add("c2@example.com")
    told = bench.push(
        "update", [contact("c1", favourite="milk", POINTS=3), contact("c2", favourite="milk", POINTS=3)], where
    )
    assert _states(told) == {"c1": "accepted", "c2": "rejected"}


def test_L19_rows_go_to_resend_by_the_fields_that_they_have_so_that_no_empty_cell_is_sent(on):
    bench = on("resend")
    where = bench.run(bench.tool.prepare(_target(("first_name", "VARCHAR"), ("favourite", "VARCHAR"))))
    rows = [
        contact("c1", first_name="Ann", favourite=None),
        contact("c2", first_name=None, favourite="tea"),
        contact("c3", first_name="Eve", favourite=None),
    ]
    assert bench.accepted("add", rows, where) == {"c1", "c2", "c3"}
    sent = [
        one.form["file"].decode().splitlines() for one in bench.emulator.asked if one.route == "POST /contacts/imports"
    ]
    assert sent == [
        ["email,first_name", "c1@example.com,Ann", "c3@example.com,Eve"],
        ["email,favourite", "c2@example.com,tea"],
    ]


def test_L9_who_unsubscribed_from_resend_is_told_once_and_again_after_coming_back(on):
    bench = on("resend")
    person = bench.emulator.give("c1@example.com", withdrew="unsubscribe")

    def told(cursor):
        found, after = bench.drain(bench.another().withdrawals, cursor)
        return [one.address for one in found], after

    found, cursor = told({})
    assert found == ["c1@example.com"]
    assert "c1@" not in str(cursor)
    assert told(cursor) == ([], cursor)
    person.withdrew = None
    assert told(cursor)[0] == []
    cursor = told(cursor)[1]
    person.withdrew = "unsubscribe"
    assert told(cursor)[0] == ["c1@example.com"]


def test_L9_without_reading_all_contacts_of_resend_who_left_by_a_broadcast_is_told(on):
    bench = on("resend")
    where = bench.prepared()
    bench.emulator.give("c1@example.com", withdrew="unsubscribe", on=where.title)
    bench.emulator.happened("unsubscribe", "c1@example.com", where.title)
    found, _ = bench.drain(bench.another(reads_contacts=False).withdrawals, {})
    assert [one.address for one in found] == ["c1@example.com"]
    assert bench.emulator.calls["GET /contacts"] == 0


@pytest.mark.parametrize("field", ["email", "unsubscribed", "x" * 51])
def test_a_field_that_resend_keeps_for_itself_is_told(on, field):
    bench = on("resend")
    with pytest.raises(ConfigError, match="field"):
        bench.run(bench.tool.prepare(_target((field, "VARCHAR"))))
