"""What is of one mailing tool alone: Mailchimp, Brevo, listmonk. What all hold stands in test_tool_conformance.py."""

from contextlib import ExitStack
from dataclasses import replace
from decimal import Decimal
from importlib import import_module

import pytest

from contract.emulators.bench import contact, opened
from contract.emulators.people import Person
from contract.emulators.rigs import RIGS
from contract.emulators.server import Answer, Breaks, Refuses, route
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, PermanentError
from perennial.delivery.tools.accounts import base_url
from perennial.delivery.tools.http import Gone
from perennial.delivery.tools.records import ChunkRefused

for _module in ("mailchimp", "brevo", "listmonk"):
    import_module(f"contract.emulators.{_module}")


@pytest.fixture
def on(monkeypatch):
    """Opens the bench of a rig; closed at the end of the test."""
    monkeypatch.setenv("PERENNIAL_CLOCK", "2026-11-10T12:00:00+00:00")
    with ExitStack() as stack:
        yield lambda name: stack.enter_context(opened(RIGS[name]))


# Mailchimp --------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["mailchimp", "mailchimp, batches"])
def test_mailchimps_words_about_a_row_become_reasons(on, name):
    bench = on(name)
    where = bench.prepared()
    bench.emulator.forgotten.add("forgotten@example.com")
    bench.emulator.merge_fields["FNAME"] = "number"
    rows = [contact("c1", "forgotten@example.com"), contact("c2", FNAME="not a number"), contact("c3")]
    told = bench.push("add", rows, where)
    assert {key: one.code for key, one in told.items()} == {"c1": "deleted_in_tool", "c2": "bad_field", "c3": None}
    assert "FNAME" in told["c2"].words


def test_a_bare_403_of_mailchimp_is_a_tool_that_is_busy_and_not_a_key_that_is_wrong(on):
    bench = on("mailchimp")
    where = bench.prepared()
    bench.emulator.plan(
        "POST /lists/{list_id}", Refuses(Answer(b"Forbidden", 403, {"Content-Type": "text/plain"}, "bare"))
    )
    assert bench.accepted("add", [contact("c1")], where) == {"c1"}


def test_L14_a_mailchimp_member_who_waits_to_confirm_is_not_confirmed_by_us(on):
    bench = on("mailchimp")
    double = bench.another(double_opt_in=True)
    where = bench.run(double.prepare(bench.target()))
    bench.push("add", [contact("c1")], where, double)
    [new] = [asked.json["members"][0] for asked in bench.emulator.asked if asked.route == "POST /lists/{list_id}"]
    assert new["status"] == "pending"


def test_mailchimps_batch_whose_results_are_not_there_yet_is_asked_again(on):
    bench = on("mailchimp, batches")
    where = bench.prepared()
    bench.emulator.plan("GET /results/{batch_id}", Breaks(503))
    assert bench.accepted("add", [contact("c1"), contact("c2")], where) == {"c1", "c2"}


def test_mailchimps_key_tells_its_data_centre_and_a_cut_one_is_told(on):
    bench = on("mailchimp")
    bench.tool._connections.connection = Connection("mailchimp", "http", password="0123456789")
    [_, failed, *_] = bench.run(bench.tool.check())
    assert (failed.state, "data centre" in failed.message) == ("failed", True)
    assert "0123456789" not in repr(failed)


def test_a_mailchimp_audience_that_is_not_there_fails_its_own_step(on):
    bench = on("mailchimp")
    steps = bench.run(bench.another(list_id="another").check())
    assert [step.state for step in steps] == ["passed", "passed", "failed", "skipped"]
    assert steps[2].name == "audience"


def test_a_field_that_the_tool_lacks_is_not_made_where_the_settings_say_so(on):
    for name in ("mailchimp", "brevo"):
        bench = on(name)
        strict = bench.another(create_fields=False, fields={"points": bench.rig.number})
        with pytest.raises(ConfigError, match=bench.rig.number):
            bench.run(strict.prepare(bench.target()))
        assert [step.name for step in bench.run(strict.check()) if step.state == "failed"] == ["fields"]


@pytest.mark.parametrize("name", ["mailchimp", "mailchimp, batches", "brevo"])
def test_our_own_names_of_columns_do_for_a_tool_that_writes_its_fields_in_capitals(on, name):
    bench = on(name)
    target = replace(
        bench.target(), fields=(("first_name", "VARCHAR"), ("is_member", "BOOLEAN"), ("spent", "DECIMAL(18,4)"))
    )
    where = bench.run(bench.tool.prepare(target))
    assert bench.run(bench.tool.prepare(target)) == where
    row = contact("c1", first_name="Ann", is_member=True, spent=Decimal("12.5000"))
    assert bench.accepted("add", [row], where) == {"c1"}
    found = bench.emulator.people["c1@example.com"].fields
    assert (found["FIRST_NAME"], found["SPENT"]) == ("Ann", 12.5)
    assert found["IS_MEMBER"] in (True, "true")


# Brevo ------------------------------------------------------------------------------------------------------------------
def test_an_attribute_that_brevo_drops_in_silence_is_told(on):
    bench = on("brevo")
    where = bench.prepared()
    del bench.emulator.attributes["FIRSTNAME"]  # somebody deletes it in Brevo
    told = bench.push("add", [contact("c1", FIRSTNAME="Ann"), contact("c2", POINTS=5)], where)
    assert (told["c1"].state, told["c1"].code, told["c1"].words) == ("rejected", "bad_field", "Brevo dropped FIRSTNAME")
    assert told["c2"].state == "accepted"


def test_a_column_of_text_for_a_number_of_brevo_is_told_before_anything_is_sent(on):
    bench = on("brevo")
    bench.emulator.attributes["FIRSTNAME"] = "float"
    with pytest.raises(ConfigError, match="FIRSTNAME takes float, and we have text"):
        bench.prepared()


def test_a_row_that_brevos_import_leaves_out_is_told(on):
    bench = on("brevo")
    bench.emulator.import_row = _leaving_out(bench)
    told = bench.push("add", [contact("c1"), contact("c2")], bench.prepared())
    assert (told["c1"].state, told["c2"].state, told["c2"].code) == ("accepted", "rejected", "refused_by_tool")


def _leaving_out(bench):
    taking = bench.emulator.import_row
    return lambda row, given, lists: None if row["email"].startswith("c2") else taking(row, given, lists)


def test_L19_brevos_other_calls_keep_to_a_hundred_an_hour(on):
    bench = on("brevo")
    whole = bench.another(rate_share=0.5)
    where = bench.run(whole.prepare(bench.target()))
    begun = bench.time.moment
    bench.push("add", [contact("c1")], where, whole)
    asked = bench.emulator.calls["GET /processes/{process_id}"]
    assert asked == 3
    assert bench.time.moment - begun >= (asked - 1) * 3600 / 100 / 0.5


def test_brevos_removal_of_many_goes_in_the_vendors_portions(on):
    bench = on("brevo")
    where = bench.prepared()
    for number in range(320):
        bench.emulator.give(f"c{number}@example.com", on=where.title)
    rows = [contact(f"c{number}") for number in range(310)]
    assert len(bench.accepted("remove", rows, where)) == 310
    assert bench.on(where) == {f"c{number}@example.com" for number in range(310, 320)}
    assert bench.emulator.calls["POST /contacts/lists/{list_id}/contacts/remove"] == 3


def test_an_open_by_a_mail_programs_proxy_is_marked_as_one_of_a_machine(on):
    bench = on("brevo")
    where = bench.prepared()
    bench.emulator.happened("open", "c1@example.com", where.title)
    bench.emulator.events.append({**bench.emulator.events[0], "event": "loadedByProxy"})
    found, _ = bench.drain(bench.tool.feedback, {})
    assert [one.is_machine for one in found] == [False, True]


def test_L22_what_is_kept_of_an_event_names_nobody(on):
    bench = on("brevo")
    where = bench.prepared()
    for kind in ("click", "hard_bounce"):
        bench.emulator.happened(kind, "c1@example.com", where.title)
    found, cursor = bench.drain(bench.tool.feedback, {})
    assert [one.detail for one in found] == ["https://shop.example/p", "550 *** unknown"]
    assert "example.com" not in repr(cursor) + repr(found)


def test_a_deleted_list_is_told_as_one_and_its_rows_are_not_to_blame(on):
    for name in ("mailchimp", "brevo", "listmonk"):
        bench = on(name)
        where = bench.prepared()
        bench.emulator.delete_list(where.title)
        for action in ("add", "remove"):
            with pytest.raises(PermanentError) as told:
                bench.push(action, [contact("c1")], where)
            assert not isinstance(told.value, ChunkRefused)
            assert isinstance(told.value, Gone)


def test_L14_who_left_one_brevo_list_is_told_by_its_withdrawals_and_no_update_puts_her_back(on):
    bench = on("brevo")
    where = bench.prepared()
    bench.push("add", [contact("c1"), contact("c2")], where)
    bench.emulator.leave("c1@example.com", where.title)
    told = bench.push("update", [contact("c1", FIRSTNAME="Ann"), contact("c2", FIRSTNAME="Bob")], where)
    assert (told["c1"].code, told["c2"].state) == ("unsubscribed_in_tool", "accepted")
    assert bench.rejected("update", [contact("c1", FIRSTNAME="Ann")], where) == {"c1": "unsubscribed_in_tool"}
    assert (bench.on(where), bench.emulator.people["c1@example.com"].statuses) == ({"c2@example.com"}, [])
    found, _ = bench.drain(bench.tool.withdrawals, {})
    assert [(one.address, one.kind, one.list_title) for one in found] == [
        ("c1@example.com", "unsubscribe", where.title)
    ]


# listmonk -----------------------------------------------------------------------------------------------------------------
def test_a_listmonk_subscriber_whom_somebody_made_meanwhile_is_updated_and_not_lost(on):
    bench = on("listmonk")
    where, emulator = bench.prepared(), bench.emulator
    making, other = emulator.make, Person(7, "c1@example.com", {"theirs": 1})
    emulator._table = [
        (method, pattern, expression, _made_before(emulator, making, other) if handler == making else handler)
        for method, pattern, expression, handler in emulator._table
    ]
    assert bench.accepted("add", [contact("c1", first_name="Ann")], where) == {"c1"}
    assert emulator.people["c1@example.com"].fields == {"theirs": 1, "first_name": "Ann"}
    assert bench.on(where) == {"c1@example.com"}


def _made_before(emulator, making, other):
    @route("POST /subscribers")
    def make(asked):
        emulator.people.setdefault(other.address, other)
        return making(asked)

    return make


def test_L14_who_left_one_listmonk_list_is_not_put_back_on_it_but_may_stand_on_others(on):
    bench = on("listmonk")
    where = bench.prepared()
    bench.push("add", [contact("c1")], where)
    bench.emulator.happened("unsubscribe", "c1@example.com", where.title)
    for action in ("add", "update"):
        assert bench.rejected(action, [contact("c1", first_name="Ann")], where) == {"c1": "unsubscribed_in_tool"}
    assert bench.emulator.list_called(where.title).members == {"c1@example.com": "unsubscribed"}
    found, cursor = bench.drain(bench.tool.withdrawals, {})
    assert [(one.address, one.kind, one.list_title) for one in found] == [
        ("c1@example.com", "unsubscribe", where.title)
    ]
    bench.emulator.tick(hours=1)
    assert bench.drain(bench.tool.withdrawals, cursor)[1] == cursor


def test_L13_a_listmonk_subscriber_keeps_the_lists_and_attributes_that_are_not_ours(on):
    bench = on("listmonk")
    where = bench.prepared()
    bench.emulator.lists[9] = type(bench.emulator.list_called(where.title))(9, "theirs", {})
    known = bench.emulator.give("c1@example.com", on="theirs", fields={"theirs": "kept", "first_name": "A"})
    bench.push("add", [contact("c1", first_name="Ann")], where)
    bench.push("remove", [contact("c1")], where)
    assert known.fields == {"theirs": "kept", "first_name": "Ann"}
    assert bench.on(where) == set()
    assert bench.emulator.standing_on("theirs") == {"c1@example.com"}


def test_a_listmonk_subscriber_with_the_same_attributes_is_not_written_again(on):
    bench = on("listmonk")
    where = bench.prepared()
    for _ in range(2):
        bench.push("add", [contact("c1", first_name="Ann", points=5)], where)
    assert bench.emulator.calls["PUT /subscribers/{id}"] == 0


# Addresses ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({"host": None}, "https://api.example.com/v3"),
        ({"host": "tool.example"}, "https://tool.example/v3"),
        ({"host": "tool.example", "port": 9000, "schema": "http"}, "http://tool.example:9000/v3"),
        ({"host": "http://127.0.0.1:1/v9/"}, "http://127.0.0.1:1/v9"),
    ],
)
def test_the_address_of_a_tool_is_its_own_or_the_connections(given, url):
    assert base_url(Connection("tool", "http", **given), "https://api.example.com", "/v3") == url


def test_a_connection_without_an_address_is_told_where_the_tool_has_none_of_its_own():
    with pytest.raises(ConfigError, match="no host"):
        base_url(Connection("tool", "http"), None, "/api")
