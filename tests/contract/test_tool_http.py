"""Calls over HTTP with manners: what is tried again, what is unknown, what is told, against a server that misbehaves by plan."""

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from aiohttp import FormData

from contract.emulators.people import MailingEmulator
from contract.emulators.rigs import OurTime
from contract.emulators.server import Answer, Breaks, Refuses, Resets, Silent, TooMany, route, running
from perennial.core.errors import PermanentError, RetryableError
from perennial.delivery.tools.http import Api, Busy, Gone, NotLetIn
from perennial.delivery.tools.rates import Bucket
from perennial.delivery.tools.records import ChunkRefused, Limits, OutcomeUnknown
from perennial.delivery.tools.words import bare_link, code_in, masked

READ, WRITE = "GET /things/{id}", "POST /things"
SECRET = "s3cr3t-of-ours"


class Things(MailingEmulator):
    """A server of no vendor: counts what was written."""

    def __init__(self):
        super().__init__()
        self.written = []

    @route(READ)
    def read(self, asked):
        return {"id": asked.ids["id"], "said": asked.query}

    @route(WRITE)
    def write(self, asked):
        for row in self.rows(asked.form or asked.json):
            self.written.append(row)
        return {"written": len(self.written)}


@contextmanager
def server():
    with asyncio.Runner() as runner, running(Things()) as things:
        opened = []

        def api(time, *, calls_per_second=10.0, timeout_seconds=5.0, headers=None, pool="", **more):
            limits = Limits(500, calls_per_second, 4, timeout_seconds=timeout_seconds)
            given = {"Authorization": SECRET} if headers is None else headers
            opened.append(
                Api("tool", things.url, headers=given, limits=limits, manners=time.manners(**more), pool=pool)
            )
            return opened[-1]

        async def end():
            for one in opened:
                await one.close()

        yield things, api, runner.run
        runner.run(end())


@pytest.fixture(scope="module")
def started():
    with server() as made:
        yield made


@pytest.fixture
def world(started):
    things, api, run = started
    things.written.clear()
    things.asked.clear()
    things._faults.clear()
    return things, api, run


def test_what_only_reads_is_tried_again_until_it_answers(world):
    things, api, run = world
    for fault in (Breaks(500), Breaks(502), Breaks(429), Resets(), Resets(after=False)):
        things.plan(READ, fault)
    time = OurTime()
    assert run(api(time).call("GET", "/things/{id}", ids={"id": "a/b c"})).json()["id"] == "a/b c"
    assert len([wait for wait in time.waits if wait >= 0.5]) >= 3  # aiohttp by itself repeats a GET once


def test_L19_a_wait_that_is_asked_for_is_kept_to_the_second_and_costs_no_attempt(world):
    things, api, run = world
    things.plan(READ, TooMany(11), times=4)
    time = OurTime()
    run(api(time, attempts=1).call("GET", "/things/{id}", ids={"id": 1}))
    assert time.waits.count(11.0) == 4


def test_a_wait_may_be_asked_for_as_a_date_by_the_tools_own_clock(world):
    things, api, run = world
    later = things.now.replace(microsecond=0).strftime("%a, %d %b %Y %H:%M:")
    things.plan(READ, Refuses(Answer({}, 503, {"Retry-After": f"{later}30 GMT", "Date": f"{later}00 GMT"})))
    time = OurTime()
    run(api(time, attempts=1).call("GET", "/things/{id}", ids={"id": 1}))
    assert 30.0 in time.waits


def test_a_wait_may_be_told_as_a_moment_since_1970(world):
    things, api, run = world
    at = datetime(2026, 11, 1, 8, 0, 20, tzinfo=UTC)
    headers = {"X-RateLimit-Reset": str(int(at.timestamp())), "Date": "Sun, 01 Nov 2026 08:00:00 GMT"}
    things.plan(READ, Refuses(Answer({}, 429, headers)))
    time = OurTime()
    run(api(time, wait_headers=("retry-after", "x-ratelimit-reset")).call("GET", "/things/{id}", ids={"id": 1}))
    assert 20.0 in time.waits


def test_who_asks_us_to_wait_too_long_is_left_for_later_with_the_time(world):
    things, api, run = world
    things.plan(READ, TooMany(500), times=3)
    with pytest.raises(Busy) as told:
        run(api(OurTime()).call("GET", "/things/{id}", ids={"id": 1}))
    assert told.value.wait_seconds == 500


@pytest.mark.parametrize(
    "fault", [Resets(after=True), Breaks(500, rows=1), Breaks(502), Breaks(504, after=True)], ids=repr
)
def test_L12_what_must_not_be_made_twice_is_made_once_and_unknown_when_it_breaks(world, fault):
    things, api, run = world
    things.plan(WRITE, fault)
    with pytest.raises(OutcomeUnknown):
        run(api(OurTime()).call("POST", "/things", body=["a", "b"]))
    assert len(things.asked) == 1


@pytest.mark.parametrize("fault", [TooMany(1), Breaks(503)], ids=repr)
def test_what_was_surely_not_begun_is_tried_again_even_if_it_must_not_be_made_twice(world, fault):
    things, api, run = world
    things.plan(WRITE, fault)
    run(api(OurTime()).call("POST", "/things", body=["a"]))
    assert things.written == ["a"]


def test_nobody_at_the_door_is_not_unknown_but_for_later(world):
    _, _, run = world
    time = OurTime()
    closed = Api("tool", "http://127.0.0.1:9", headers={}, limits=Limits(1, 10, 1), manners=time.manners(attempts=3))
    with pytest.raises(RetryableError) as told:
        run(closed.call("POST", "/things", body=["a"]))
    assert not isinstance(told.value, OutcomeUnknown)
    run(closed.close())


def test_a_form_is_made_anew_for_each_attempt(world):
    things, api, run = world
    things.plan(WRITE, Breaks(503))

    def form():
        made = FormData()
        made.add_field("rows", b"a,b", filename="rows.csv", content_type="text/csv")
        return made

    run(api(OurTime()).call("POST", "/things", form=form, effect="repeatable"))
    assert things.written == ["rows"]


def test_a_silent_tool_is_given_up_after_the_declared_time(world):
    things, api, run = world
    things.plan(READ, Silent(), times=2)
    with pytest.raises(RetryableError, match="no answer in time"):
        run(api(OurTime(), timeout_seconds=0.1, attempts=2).call("GET", "/things/{id}", ids={"id": 1}))


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, NotLetIn), (402, NotLetIn), (403, NotLetIn), (404, Gone), (410, Gone), (400, ChunkRefused), (409, ChunkRefused),
     (413, ChunkRefused), (422, ChunkRefused), (405, PermanentError), (302, PermanentError)],
)  # fmt: skip
def test_a_refusal_says_of_what_kind_it_is_and_how_to_mend_it(world, status, error):
    things, api, run = world
    body = {"code": "invalid_parameter", "message": f"ann@example.com said no to {SECRET!r} 0049 170 1234567"}
    things.plan(WRITE, Refuses(Answer(body, status, {"Location": "https://elsewhere.example/x"})))
    with pytest.raises(error) as told:
        run(api(OurTime()).call("POST", "/things", body=["a"], params={"email": "ann@example.com"}))
    assert type(told.value) is error
    assert told.value.problems[0].fix
    assert "(invalid_parameter)" in str(told.value)
    assert not {"ann@", SECRET, "1234567"} & set(str(told.value).split())
    assert "ann@" not in str(told.value)
    assert SECRET not in str(told.value)


def test_L22_a_secret_and_an_address_stand_in_no_repr_and_go_to_no_other_host(world):
    things, api, run = world
    made = api(OurTime())
    run(made.fetch(f"{things.url}/things/7"))
    assert "Authorization" not in things.asked[-1].headers
    assert SECRET not in repr(vars(made)["_bucket"])


def test_L19_all_who_speak_to_one_account_share_its_rate(world):
    _, api, run = world
    time = OurTime()
    one, other = api(time, calls_per_second=2), api(time, calls_per_second=2)
    third = api(time, calls_per_second=2, headers={"Authorization": "another account"})

    async def ask(*apis):
        begun = time.moment
        await asyncio.gather(*(each.call("GET", "/things/{id}", ids={"id": 1}) for each in apis))
        return time.moment - begun

    assert run(ask(one, other, one, other)) >= 1.5
    assert run(ask(third)) == 0


def test_calls_that_the_vendor_counts_apart_have_a_bucket_of_their_own(world):
    _, api, run = world
    time = OurTime()
    run(api(time, calls_per_second=1).call("GET", "/things/{id}", ids={"id": 1}))
    run(api(time, calls_per_second=1, pool="others").call("GET", "/things/{id}", ids={"id": 1}))
    assert time.waits == []


def test_a_bucket_gives_one_token_at_a_time_and_none_while_it_is_held():
    time = OurTime()
    bucket = Bucket(4.0, time.monotonic)
    assert [bucket.take() for _ in range(3)] == [0.0, 0.25, 0.5]
    bucket.hold(10)
    assert bucket.take() == 10.0
    time.moment = 60
    assert bucket.take() == 0.0
    bucket.slow_down(1.0)
    assert bucket.take() == pytest.approx(0.25)
    assert bucket.take() == pytest.approx(1.25)


def test_a_tool_may_be_called_from_one_loop_after_another(world):
    things, api, run = world
    made = api(OurTime())
    run(made.call("GET", "/things/{id}", ids={"id": 1}))
    with asyncio.Runner() as other:
        other.run(made.call("GET", "/things/{id}", ids={"id": 2}))
        other.run(made.close())
    assert [asked.ids["id"] for asked in things.asked] == ["1", "2"]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("ann@example.com is already a list member", "*** is already a list member"),
        ("the phone +1 202 555 0123 is not one", "the phone *** is not one"),
        ('value "Ann Smith" is too long', "value *** is too long"),
        ("too\x00many\nlines", "too many lines"),
        ("x" * 900, "x" * 200),
    ],
)
def test_L22_a_tools_own_words_are_kept_without_people_in_them(said, kept):
    assert masked(said) == kept


def test_L22_a_code_is_kept_only_where_it_surely_is_one():
    assert code_in({"code": "not_found"}) == " (not_found)"
    assert code_in({"errors": [{"code": "duplicate"}]}) == " (duplicate)"
    assert code_in({"code": "ann@example.com"}) == code_in(["x"]) == code_in({"code": 5}) == ""


def test_L22_a_clicked_link_is_kept_without_what_may_name_a_person():
    assert bare_link("https://ann:pw@shop.example/p/1?email=ann@example.com#me") == "https://shop.example/p/1"
    assert bare_link(None) is None
