"""What every connector of a mailing tool must hold, on an emulator that is held to the vendor's specification.

A new connector adds an entry to RIGS in its emulator's module, and the module to EMULATORS.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib import import_module

import pytest

from contract.emulators.bench import DAY, contact, opened
from contract.emulators.rigs import RIGS
from contract.emulators.server import Answer, Breaks, Refuses, Resets, Silent, Slow, TooMany
from perennial.core.errors import ConfigError, PerennialError, PermanentError, RetryableError
from perennial.delivery.reasons import REASONS
from perennial.delivery.records import ListKey
from perennial.delivery.tools.records import ChunkRefused, Contact, OutcomeUnknown

EMULATORS = ("mailchimp", "brevo", "listmonk", "sendgrid", "klaviyo", "resend")
for _module in EMULATORS:
    import_module(f"contract.emulators.{_module}")


@pytest.fixture(params=list(RIGS))
def bench(request, monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLOCK", "2026-11-10T12:00:00+00:00")
    rig = RIGS[request.param]
    with opened(rig) as made:
        yield made


# Describing and checking --------------------------------------------------------------------------------------------
def test_it_describes_itself_without_a_secret(bench):
    described = bench.tool.describe()
    assert (described.name, described.channels) == ("tool", ("email",))
    assert bench.emulator.key not in repr(described)
    assert bench.emulator.key not in repr(bench.tool)


def test_it_declares_limits_and_takes_its_share_of_them(bench):
    half, whole = bench.another(rate_share=0.5).limits, bench.another(rate_share=1.0).limits
    assert half.calls_per_second == pytest.approx(whole.calls_per_second / 2)
    assert whole.rows_per_call >= half.rows_per_call > 0
    assert half.connections > 0


def test_its_check_is_of_named_steps_and_changes_nothing(bench):
    steps = bench.run(bench.tool.check())
    assert len({step.name for step in steps}) == len(steps) > 1
    assert {step.state for step in steps} == {"passed"}
    assert (bench.emulator.people, bench.emulator.lists) == ({}, {})


def test_its_check_says_that_the_key_does_not_work_and_skips_what_comes_after(bench):
    bench.emulator.revoke()
    steps = bench.run(bench.tool.check())
    states = [step.state for step in steps]
    failed = states.index("failed")
    assert set(states[:failed]) <= {"passed"}
    assert set(states[failed + 1 :]) <= {"skipped"}
    assert steps[failed].fix


# Lists --------------------------------------------------------------------------------------------------------------
def test_the_same_target_gives_the_same_list_after_a_restart_too(bench):
    first = bench.prepared()
    again = bench.run(bench.another().prepare(bench.target()))
    assert again == first
    assert [one.title for one in bench.emulator.lists.values()].count(first.title) == 1


def test_another_list_does_not_share_its_members(bench):
    where = bench.prepared()
    other = bench.run(bench.tool.prepare(bench.target(key=ListKey("thanks", "email", DAY), list_type="send")))
    bench.push("add", [contact("c1")], where)
    assert bench.on(where) == {"c1@example.com"}
    assert bench.on(other) == set()


def test_it_finds_its_list_among_more_lists_than_one_page_holds(bench):
    where = bench.prepared()
    bench.emulator.page_limit = 2
    for name in ("a", "b", "c"):
        bench.run(bench.tool.prepare(bench.target(key=ListKey(name, "email", DAY))))
    assert bench.run(bench.another().prepare(bench.target())) == where


def test_a_field_that_the_tool_cannot_have_is_told_and_not_dropped(bench):
    if bench.rig.unknown is None:
        where = bench.run(bench.tool.prepare(bench.target("any_name_at_all")))
        bench.push("add", [contact("c1", any_name_at_all="here")], where)
        assert "here" in bench.emulator.people["c1@example.com"].fields.values()
        return
    with pytest.raises(ConfigError, match=bench.rig.unknown):
        bench.run(bench.tool.prepare(bench.target(bench.rig.unknown)))


# The three verbs (L13) ------------------------------------------------------------------------------------------------
def test_it_adds_updates_and_removes(bench):
    where, text = bench.prepared(), bench.rig.text
    assert bench.accepted("add", [contact("c1", **{text: "Ann"}), contact("c2", **{text: "Bob"})], where) == {
        "c1",
        "c2",
    }
    assert bench.on(where) == {"c1@example.com", "c2@example.com"}
    assert bench.accepted("update", [contact("c1", **{text: "Anna"})], where) == {"c1"}
    assert bench.emulator.people["c1@example.com"].fields[text] == "Anna"
    assert bench.accepted("remove", [contact("c1")], where) == {"c1"}
    assert bench.on(where) == {"c2@example.com"}


def test_L13_only_what_we_put_there_is_touched(bench):
    where = bench.prepared()
    by_hand = bench.emulator.give("by.hand@example.com", on=where.title, fields={bench.rig.text: "Theirs"})
    elsewhere = bench.emulator.give("elsewhere@example.com", fields={bench.rig.text: "Theirs"})
    bench.push("add", [contact("c1"), contact("c2")], where)
    bench.push("remove", [contact("c1")], where)
    assert bench.on(where) == {"by.hand@example.com", "c2@example.com"}
    assert by_hand.fields == elsewhere.fields == {bench.rig.text: "Theirs"}
    assert set(bench.emulator.people) == {
        "by.hand@example.com",
        "elsewhere@example.com",
        "c1@example.com",
        "c2@example.com",
    }
    assert bench.emulator.people["c1@example.com"].withdrew is None


def test_L12_the_same_chunk_again_has_no_second_effect(bench):
    assert bench.tool.capabilities.repeatable
    where = bench.prepared()
    rows = [contact("c1", **{bench.rig.text: "Ann"}), contact("c2")]
    first, again = bench.accepted("add", rows, where), bench.accepted("add", rows, where)
    assert first == again == {"c1", "c2"}
    assert bench.on(where) == {"c1@example.com", "c2@example.com"}
    assert bench.accepted("remove", rows, where) == bench.accepted("remove", rows, where) == {"c1", "c2"}
    assert bench.on(where) == set()


def test_a_chunk_of_nobody_is_no_call_that_the_tool_refuses(bench):
    where = bench.prepared()
    for action in ("add", "update", "remove"):
        assert bench.push(action, [], where) == {}


def test_who_stands_on_the_list_is_read_back(bench):
    assert bench.tool.capabilities.readable
    where = bench.prepared()
    bench.push("add", [contact("c1"), contact("c2")], where)
    asked = [contact("c1"), contact("c2"), contact("c3")]
    assert bench.run(bench.tool.read_back(where, asked)) == {"c1", "c2"}


def test_who_stands_on_a_long_list_is_read_back_too(bench):
    where = bench.prepared()
    bench.emulator.page_limit = 3
    for number in range(10):
        bench.emulator.give(f"other{number}@example.com", on=where.title)
    bench.push("add", [contact("c1")], where)
    assert bench.run(bench.tool.read_back(where, [contact("c1"), contact("c2")])) == {"c1"}


# Withdrawals (L14) and unset values (L19) -------------------------------------------------------------------------------
@pytest.mark.parametrize("withdrew", ["unsubscribe", "complaint", "hard_bounce"])
@pytest.mark.parametrize("action", ["add", "update"])
def test_L14_who_withdrew_in_the_tool_is_never_made_active_again(bench, withdrew, action):
    where = bench.prepared()
    gone = bench.emulator.give("gone@example.com", withdrew=withdrew)
    told = bench.push(action, [contact("c1", "gone@example.com", **{bench.rig.text: "Ann"}), contact("c2")], where)
    assert (gone.withdrew, gone.statuses) == (withdrew, [])
    assert (told["c1"].state, told["c2"].state) == ("rejected", "accepted")
    assert told["c1"].code in {"unsubscribed_in_tool", "bounced_in_tool", "complained_in_tool"}
    assert bench.on(where) == {"c2@example.com"}


def test_L14_no_status_is_written_for_a_contact_that_the_tool_knows(bench):
    where = bench.prepared()
    known = bench.emulator.give("known@example.com")
    bench.push("add", [contact("c1", "known@example.com")], where)
    bench.push("update", [contact("c1", "known@example.com", **{bench.rig.text: "Ann"})], where)
    bench.push("remove", [contact("c1", "known@example.com")], where)
    assert known.statuses == []


def test_L19_an_unset_value_erases_nothing(bench):
    where, text, number = bench.prepared(), bench.rig.text, bench.rig.number
    known = bench.emulator.give("known@example.com", fields={text: "Kept", number: 7})
    for action in ("add", "update"):
        bench.push(action, [contact("c1", "known@example.com", **{text: None, number: Decimal(8)})], where)
        assert known.fields[text] == "Kept"
    assert float(known.fields[number]) == 8
    bench.push("update", [contact("c1", "known@example.com", **{text: "", number: None})], where)
    assert (known.fields[text], float(known.fields[number])) == ("Kept", 8)


# Bad input --------------------------------------------------------------------------------------------------------------
def test_addresses_in_capitals_with_spaces_around_and_in_a_foreign_script_are_one_person_each(bench):
    where = bench.prepared()
    rows = [contact("c1", "ANN@Example.COM"), contact("c2", "  bob@example.com "), contact("c3", "eva@bücher.example")]
    assert bench.accepted("add", rows, where) == {"c1", "c2", "c3"}
    assert bench.on(where) == {"ann@example.com", "bob@example.com", "eva@xn--bcher-kva.example"}
    assert bench.accepted("add", [contact("c1", "ann@example.com")], where) == {"c1"}
    assert len(bench.emulator.people) == 3


def test_addresses_that_cannot_be_one_are_told_and_the_rest_goes_on(bench):
    where = bench.prepared()
    wrong = ["no at", "an na@example.com", "жанна@example.com", "a@b", "@example.com", "", "a@b..c", "a@b@c.example"]
    rows = [Contact(f"w{number}", "k", address) for number, address in enumerate(wrong)]
    told = bench.push("add", [*rows[:3], contact("c1"), *rows[3:]], where)
    assert told.pop("c1").state == "accepted"
    assert {(one.state, one.code) for one in told.values()} == {("rejected", "bad_address")}
    assert bench.on(where) == {"c1@example.com"}


def test_one_address_of_two_clients_goes_once(bench):
    where = bench.prepared()
    told = bench.push("add", [contact("c1", "one@example.com"), contact("c2", "ONE@example.com")], where)
    assert [told[name].state for name in ("c1", "c2")] == ["accepted", "rejected"]
    assert told["c2"].code == "shared_address"


def test_a_field_of_ten_kilobytes_or_with_a_null_byte_spoils_its_row_only(bench):
    where, text = bench.prepared(), bench.rig.text
    told = bench.push(
        "add",
        [contact("c1", **{text: "x" * 10_000}), contact("c2", **{text: "a\x00b"}), contact("c3", **{text: "Zoë 🙂"})],
        where,
    )
    assert (told["c2"].state, told["c2"].code) == ("rejected", "bad_field")
    assert told["c3"].state == "accepted"
    assert bench.emulator.people["c3@example.com"].fields[text] == "Zoë 🙂"
    if told["c1"].state == "rejected":
        assert told["c1"].code == "bad_field"
    else:
        assert bench.emulator.people["c1@example.com"].fields[text] == "x" * 10_000


def test_L23_hostile_text_arrives_as_it_is(bench):
    where, text = bench.prepared(), bench.rig.text
    hostile = ["=cmd|' /C calc'!A0", "'; drop table subscribers; --", '","x', "{{7*7}}", "a\r\nb: c", "Zoë 🙂"]
    rows = [contact(f"c{n}", f"o'neil{n}@example.com", **{text: one}) for n, one in enumerate(hostile)]
    assert len(bench.accepted("add", rows, where)) == len(rows)
    assert [bench.emulator.people[f"o'neil{n}@example.com"].fields[text] for n in range(len(rows))] == hostile
    assert len(bench.run(bench.tool.read_back(where, rows))) == len(rows)


def test_L15_every_rejected_row_has_a_reason_that_people_can_read_and_no_address_in_it(bench):
    where = bench.prepared()
    bench.emulator.give("gone@example.com", withdrew="unsubscribe")
    rows = [contact("c1", "gone@example.com"), contact("c2", "not one"), contact("c3", **{bench.rig.text: "a\x00b"})]
    for one in bench.push("add", rows, where).values():
        assert one.state == "rejected"
        assert REASONS[one.code].sentence()
        assert "example.com" not in (one.words or "")


# What goes wrong on the way ---------------------------------------------------------------------------------------------
def test_L19_the_wait_that_the_tool_asks_for_is_kept_and_costs_no_attempt(bench):
    where = bench.prepared()
    impatient = bench.another(manners=bench.time.manners(attempts=1))
    bench.emulator.plan(bench.rig.hand_in["add"], TooMany(retry_after=7), times=3)
    told = bench.push("add", [contact("c1")], where, impatient)
    assert told["c1"].state == "accepted"
    assert sum(wait >= 7 for wait in bench.time.waits) >= 3


def test_a_tool_that_stays_busy_is_left_for_later_and_nobody_is_marked(bench):
    where = bench.prepared()
    bench.emulator.plan(bench.rig.hand_in["add"], TooMany(retry_after=400), times=50)
    with pytest.raises(RetryableError) as told:
        bench.push("add", [contact("c1")], where)
    assert not isinstance(told.value, OutcomeUnknown)
    assert "example.com" not in str(told.value)


def test_a_short_trouble_is_tried_again(bench):
    where = bench.prepared()
    bench.emulator.plan(bench.rig.hand_in["add"], Breaks(503))
    assert bench.accepted("add", [contact("c1")], where) == {"c1"}


@pytest.mark.parametrize(
    "fault", [Resets(after=True), Breaks(500, rows=1), Breaks(500, after=True), Breaks(502)], ids=repr
)
def test_L12_a_break_after_the_tool_may_have_accepted_ends_in_the_same_state(bench, fault):
    where = bench.prepared()
    rows = [contact("c1"), contact("c2"), contact("c3")]
    bench.emulator.plan(bench.rig.hand_in["add"], fault)
    try:
        told = bench.push("add", rows, where)
    except OutcomeUnknown:
        assert bench.run(bench.tool.read_back(where, rows)) <= {"c1", "c2", "c3"}
        told = bench.push("add", rows, where)
    assert {one.state for one in told.values()} == {"accepted"}
    assert bench.on(where) == {"c1@example.com", "c2@example.com", "c3@example.com"}
    assert len(bench.emulator.people) == 3


@pytest.mark.parametrize("fault", [Resets(after=True), Breaks(500, after=True)], ids=repr)
def test_L12_what_breaks_every_time_is_unknown_and_can_be_read_back(bench, fault):
    where = bench.prepared()
    bench.emulator.plan(bench.rig.hand_in["add"], fault, times=100)
    with pytest.raises(OutcomeUnknown) as told:
        bench.push("add", [contact("c1")], where)
    assert "example.com" not in str(told.value)
    assert bench.run(bench.tool.read_back(where, [contact("c1")])) <= {"c1"}


def test_an_answer_that_does_not_come_is_unknown_and_one_that_is_slow_is_waited_for(bench):
    where = bench.prepared()
    route = bench.rig.hand_in["add"]
    bench.emulator.plan(route, Slow(0.05))
    assert bench.accepted("add", [contact("c1")], where) == {"c1"}
    hasty = bench.another(timeout_seconds=0.3, manners=bench.time.manners(attempts=1))
    bench.emulator.plan(route, Silent(after=True))
    with pytest.raises(OutcomeUnknown):
        bench.push("add", [contact("c2")], where, hasty)


@pytest.mark.parametrize("action", ["add", "update", "remove"])
def test_a_key_that_is_revoked_in_the_middle_says_nothing_about_any_person(bench, action):
    where = bench.prepared()
    bench.push("add", [contact("c1")], where)
    bench.emulator.revoke()
    with pytest.raises(PermanentError) as told:
        bench.push(action, [contact("c1"), contact("c2")], where)
    assert bench.emulator.key.removeprefix("revoked-") not in str(told.value)
    assert "example.com" not in str(told.value)
    assert told.value.problems[0].fix


def test_an_account_over_its_plan_is_told_and_says_nothing_about_any_person(bench):
    where = bench.prepared()
    bench.emulator.plan(bench.rig.hand_in["add"], Refuses(bench.emulator.over_plan()), times=10)
    with pytest.raises(PermanentError) as told:
        bench.push("add", [contact("c1")], where)
    assert told.value.problems[0].fix
    assert bench.on(where) == set()


def test_a_list_that_was_deleted_in_the_tool_is_told_and_made_again_by_the_next_prepare(bench):
    where = bench.prepared()
    bench.push("add", [contact("c1")], where)
    bench.emulator.delete_list(where.title)
    with pytest.raises(PerennialError) as told:
        bench.push("add", [contact("c2")], where)
    assert not isinstance(told.value, RetryableError | ChunkRefused)  # no row is at fault: nothing is split
    assert bench.run(bench.tool.read_back(bench.prepared(), [contact("c1")])) == frozenset()


def test_a_page_for_people_instead_of_an_answer_is_told(bench):
    bench.emulator.plan("*", Refuses(Answer(b"<html>moved</html>", 302, {"Location": "https://x.example"}, "a fault")))
    with pytest.raises(PermanentError, match="moved"):
        bench.prepared()


def test_L19_calls_keep_to_the_share_of_the_vendors_rate(bench):
    slow = bench.another(rate_share=0.1)
    where = bench.run(slow.prepare(bench.target()))
    begun, calls = bench.time.moment, bench.emulator.calls.total()
    for number in range(5):
        bench.push("add", [contact(f"c{number}")], where, slow)
    made = bench.emulator.calls.total() - calls
    assert bench.time.moment - begun >= (made - 1) / slow.limits.calls_per_second - 1e-6


# Pulling --------------------------------------------------------------------------------------------------------------
def test_L9_who_withdrew_in_the_tool_is_read_with_a_cursor(bench):
    assert bench.tool.capabilities.knows_withdrawals
    kinds = {"unsubscribe": "a@example.com", "hard_bounce": "b@example.com", "complaint": "c@example.com"}
    for kind, address in kinds.items():
        bench.emulator.give(address, withdrew=kind)
    bench.emulator.give("fine@example.com")
    found, cursor = bench.drain(bench.tool.withdrawals, {})
    assert {one.address for one in found} == set(kinds.values())
    assert {(one.kind, one.address) for one in found} >= {
        ("unsubscribe", "a@example.com"),
        ("hard_bounce", "b@example.com"),
    }
    assert all(one.at.utcoffset().total_seconds() == 0 and one.at >= datetime(2026, 11, 1, tzinfo=UTC) for one in found)
    bench.emulator.tick(hours=1)
    bench.emulator.give("late@example.com", withdrew="unsubscribe")
    later, last = bench.drain(bench.another().withdrawals, cursor)
    assert "late@example.com" in {one.address for one in later}
    assert "a@example.com" not in {one.address for one in later}
    assert bench.drain(bench.tool.withdrawals, last)[1] == last


@pytest.mark.parametrize("limit", [1, 3])
def test_a_page_size_that_the_tool_changed_loses_nobody(bench, limit):
    for number in range(7):
        bench.emulator.give(f"gone{number}@example.com", withdrew="unsubscribe")
    bench.emulator.page_limit = limit
    found, _ = bench.drain(bench.tool.withdrawals, {})
    assert {one.address for one in found} == {f"gone{number}@example.com" for number in range(7)}


def test_a_pull_of_withdrawals_that_breaks_goes_on_from_its_cursor(bench):
    for number in range(6):
        bench.emulator.give(f"gone{number}@example.com", withdrew="unsubscribe")
        bench.emulator.tick(minutes=1)
    bench.emulator.page_limit = 2

    async def first_pages():
        found, cursor, pull = [], {}, bench.tool.withdrawals({})
        async for page, after in pull:
            found, cursor = [*found, *page], json.loads(json.dumps(after))
            if found:
                await pull.aclose()
                break
        return found, cursor

    page, cursor = bench.run(first_pages())
    rest, _ = bench.drain(bench.another().withdrawals, cursor)
    assert {one.address for one in [*page, *rest]} == {f"gone{number}@example.com" for number in range(6)}


def test_feedback_is_read_with_a_cursor_and_the_same_event_has_the_same_id(bench):
    kinds = bench.tool.capabilities.feedback
    if not kinds:
        assert bench.drain(bench.tool.feedback, {}) == ([], {})
        return
    where = bench.prepared()
    bench.push("add", [contact("c1"), contact("c2")], where)
    for kind in kinds:
        bench.emulator.happened(kind, "c1@example.com", where.title)
    found, cursor = bench.drain(bench.tool.feedback, {})
    assert {one.kind for one in found} == set(kinds)
    assert {one.address for one in found} == {"c1@example.com"}
    again, _ = bench.drain(bench.another().feedback, {})
    assert {one.event_id for one in again} == {one.event_id for one in found}
    assert len({one.event_id for one in found}) == len({(one.kind, one.at) for one in found})
    bench.emulator.tick(minutes=5)
    bench.emulator.happened(kinds[0] if kinds[0] != "delivered" else kinds[1], "c2@example.com", where.title)
    later, _ = bench.drain(bench.another().feedback, cursor)
    assert "c2@example.com" in {one.address for one in later}


# The suite itself -------------------------------------------------------------------------------------------------------
def test_every_call_was_held_to_the_specification(bench):
    where = bench.prepared()
    bench.push("add", [contact("c1")], where)
    assert bench.emulator.validated == bench.emulator.calls.total() > 0
    assert bench.emulator.violations == []


@pytest.mark.slow
def test_a_chunk_of_many_rows_is_taken(bench):
    where = bench.prepared()
    size = min(bench.tool.limits.rows_per_call, 500)
    rows = [replace(contact(f"c{number}"), fields={bench.rig.number: number}) for number in range(size)]
    assert len(bench.accepted("add", rows, where)) == size
    assert len(bench.on(where)) == size
