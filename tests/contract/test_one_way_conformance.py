"""What every tool must hold that only takes: nothing of it can be read back, so that what is unknown stays with people."""

from importlib import import_module

import pytest

from contract.emulators.bench import contact, opened
from contract.emulators.one_way import ONE_WAY
from contract.emulators.rigs import RIGS
from contract.emulators.server import Answer, Breaks, Refuses, Resets, Slow, TooMany
from perennial.core.errors import ContractViolation, PermanentError, RetryableError
from perennial.delivery.destinations import TOOLS
from perennial.delivery.tools.records import OutcomeUnknown


@pytest.fixture(params=list(ONE_WAY))
def bench(request):
    with opened(ONE_WAY[request.param]) as made:
        yield made


def test_every_kind_of_tool_is_held_to_a_suite():
    for module in ("mailchimp", "brevo", "listmonk", "sendgrid", "klaviyo", "resend"):
        import_module(f"contract.emulators.{module}")
    held = {name.partition(",")[0] for name in (*RIGS, *ONE_WAY)}
    elsewhere = {"smtp", "museletter"}  # on a real SMTP server, on the real engine: tests/integration
    assert held | elsewhere == set(TOOLS)


def row(name, text="hello"):
    return contact(name, TEXT=text)


def where_of(bench):
    return bench.run(bench.tool.prepare(bench.target("TEXT")))


def test_it_describes_itself_and_shows_no_secret(bench):
    described = bench.tool.describe()
    assert (described.name, described.channels) == ("tool", ("email",))
    assert bench.emulator.key not in repr(described) + repr(bench.tool)


def test_its_check_is_of_named_steps_hands_in_nobody_and_says_when_the_key_does_not_work(bench):
    steps = bench.run(bench.tool.check())
    assert {step.state for step in steps} == {"passed"}
    assert bench.emulator.rows_taken == []
    bench.emulator.revoke()
    failed = [step for step in bench.run(bench.tool.check()) if step.state == "failed"]
    assert len(failed) == 1
    assert failed[0].fix


def test_it_declares_no_more_than_it_can(bench):
    can = bench.tool.capabilities
    assert {can.readable, can.asynchronous, can.knows_withdrawals, can.starts_sends} == {False}
    assert can.feedback == ()
    assert bench.drain(bench.tool.withdrawals, {}) == ([], {})
    assert bench.drain(bench.tool.feedback, {"kept": 1}) == ([], {"kept": 1})
    with pytest.raises(ContractViolation):
        bench.run(bench.tool.read_back(where_of(bench), [row("c1")]))


def test_the_same_target_is_the_same_place(bench):
    assert where_of(bench) == bench.run(bench.another().prepare(bench.target("TEXT")))


@pytest.mark.parametrize("action", ["add", "update", "remove"])
def test_it_does_each_verb_that_it_declares(bench, action):
    assert action in bench.tool.capabilities.actions
    assert bench.accepted(action, [row("c1"), row("c2")], where_of(bench)) == {"c1", "c2"}
    assert [one["to"] for one in bench.emulator.rows_taken] == ["c1@example.com", "c2@example.com"]


def test_L23_hostile_text_arrives_as_it_is(bench):
    texts = ["=cmd|' /C calc'!A0", '","x', "{{ 7*7 }}", "{% for a in b %}", "a\r\nb: c", "Zoë 🙂"]
    bench.push("add", [row(f"c{n}", text) for n, text in enumerate(texts)], where_of(bench))
    assert [one["text"] for one in bench.emulator.rows_taken] == texts


def test_L19_the_wait_that_the_tool_asks_for_is_kept_and_costs_no_attempt(bench):
    impatient = bench.another(manners=bench.time.manners(attempts=1))
    bench.emulator.plan(bench.rig.hand_in["add"], TooMany(retry_after=7), times=3)
    assert bench.push("add", [row("c1")], where_of(bench), impatient)["c1"].state == "accepted"
    assert bench.time.waits.count(7.0) == 3


@pytest.mark.parametrize("fault", [Resets(after=True), Breaks(500, after=True), Breaks(502)], ids=repr)
def test_L12_what_breaks_is_repeated_only_where_the_tool_knows_a_repeat(bench, fault):
    where, route = where_of(bench), bench.rig.hand_in["add"]
    bench.emulator.plan(route, fault)
    if bench.tool.capabilities.repeatable:
        assert bench.accepted("add", [row("c1")], where) == {"c1"}
        assert bench.emulator.calls[route] == 2
    else:
        with pytest.raises(OutcomeUnknown) as told:
            bench.push("add", [row("c1")], where)
        assert "example.com" not in str(told.value)
        assert bench.emulator.calls[route] == 1
    assert len(bench.emulator.rows_taken) <= 1


def test_L12_what_breaks_every_time_is_unknown(bench):
    where = where_of(bench)
    bench.emulator.plan(bench.rig.hand_in["add"], Resets(after=True), times=100)
    with pytest.raises(OutcomeUnknown):
        bench.push("add", [row("c1")], where)


@pytest.mark.parametrize("action", ["add", "remove"])
def test_a_key_that_is_revoked_in_the_middle_says_nothing_about_any_person(bench, action):
    where = where_of(bench)
    bench.emulator.revoke()
    with pytest.raises(PermanentError) as told:
        bench.push(action, [row("c1")], where)
    assert told.value.problems[0].fix
    assert "example.com" not in str(told.value)
    assert bench.emulator.key.removeprefix("revoked-") not in str(told.value)


def test_an_account_over_its_plan_and_a_page_for_people_are_told(bench):
    where, route = where_of(bench), bench.rig.hand_in["add"]
    for status in (402, 302):
        bench.emulator.plan(route, Refuses(Answer({"error": "no"}, status, {"Location": "https://x.example"})))
        with pytest.raises(PermanentError):
            bench.push("add", [row("c1")], where)
    assert bench.emulator.rows_taken == []


def test_an_answer_that_is_slow_is_waited_for_and_a_tool_that_stays_down_is_left_for_later(bench):
    where, route = where_of(bench), bench.rig.hand_in["add"]
    bench.emulator.plan(route, Slow(0.05))
    assert bench.accepted("add", [row("c1")], where) == {"c1"}
    bench.emulator.plan(route, Breaks(503), times=100)
    with pytest.raises(RetryableError) as told:
        bench.push("add", [row("c1")], where)
    assert not isinstance(told.value, OutcomeUnknown)


def test_L19_calls_keep_to_the_share_of_the_rate(bench):
    slow = bench.another(rate_share=0.1)
    where = bench.run(slow.prepare(bench.target("TEXT")))
    begun = bench.time.moment
    for number in range(5):
        bench.push("add", [row(f"c{number}")], where, slow)
    assert bench.time.moment - begun >= 4 / slow.limits.calls_per_second - 1e-6
