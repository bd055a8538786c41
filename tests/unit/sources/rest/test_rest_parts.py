"""The parts of the REST reader that are pure: paths, records, pages, marks, rates, names, tokens, mistakes."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from factories.rest_api import asking
from perennial.contracts.sources import SourceEntity
from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, RetryableError
from perennial.sources.rest.codes import code_in
from perennial.sources.rest.definitions import plan_of
from perennial.sources.rest.memory import Memory
from perennial.sources.rest.model import Endpoint, Incremental, Paginator
from perennial.sources.rest.paging import Answer, PagesProblemError, first_turn, links_in, next_turn, total_of
from perennial.sources.rest.paths import paths_in, resolve, steps_of
from perennial.sources.rest.rates import Bucket, DayCount
from perennial.sources.rest.records import NotAnAnswerError, Record, content_hash, split, with_fields
from perennial.sources.rest.since import back, from_json, mark_of, to_json, written
from perennial.sources.rest.templates import fill, fill_connection, fill_path
from perennial.sources.rest.tokens import TokenFile, Tokens
from perennial.sources.rest.writing import line_of, tombstone

DEAL = {
    "id": 7, "contact": {"emails": [{"type": "home", "v": "h"}, {"type": "work", "v": "w", "main": True}]}, "none": None,
}  # fmt: skip


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("id", 7),
        ("contact.emails[1].v", "w"),
        ("contact.emails[type=work].v", "w"),
        ("contact.emails[main=true].v", "w"),
        ("contact.emails[type=other].v", None),
        ("contact.emails[9].v", None),
        ("contact.emails.v", None),
        ("none.deeper", None),
        ("id.deeper", None),
        ("", DEAL),
    ],
)
def test_a_path_leads_to_a_value_or_to_nothing(path, found):
    assert resolve(DEAL, path) == found


@pytest.mark.parametrize("path", ["a..b", "a.", "[", "a[b", "a]", "a[=]", "a[0]b"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match=r"is not a path|ends with a dot"):
        steps_of(path)


def test_paths_of_a_record_are_those_that_can_be_named():
    found = list(paths_in(DEAL))
    assert found == ["id", "contact.emails[0].type", "contact.emails[0].v", "none"]
    assert [resolve(DEAL, path) for path in found] == [7, "home", "h", None]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.lists(st.dictionaries(st.text(max_size=5), JSON, max_size=4), max_size=5), st.sampled_from([None, 2]))
def test_every_record_is_cut_out_with_its_own_text_on_one_line(records, indent):
    body = json.dumps({"meta": {"n": 1}, "data": {"items": records, "more": False}}, indent=indent).encode()
    envelope, found = split(body, "data.items")
    assert [json.loads(record.text) for record in found] == records
    assert not [record for record in found if "\n" in record.text]
    assert envelope == {"meta": {"n": 1}, "data": {"items": None, "more": False}}


@given(st.binary(max_size=60))
def test_L23_any_bytes_are_records_or_no_answer_and_never_another_error(body):
    try:
        _envelope, records = split(body, "data")
    except NotAnAnswerError as problem:
        records = str(problem)
    assert records is None or isinstance(records, list) or records


@pytest.mark.parametrize(
    "body", [b'{"data": [{"a": 1},]}', b'{"data": [{"a": 1}],}', b'{"data": []} x', b"{,}", b"{1: 2}", b""]
)
def test_what_only_looks_like_json_is_refused(body):
    with pytest.raises(NotAnAnswerError):
        split(body, "data")


def test_a_missing_list_is_not_an_empty_one():
    assert split(b'{"data": []}', "data")[1] == []
    assert split(b'{"data": null}', "data")[1] is None
    assert split(b'{"other": []}', "data")[1] is None
    assert split(b'{"data": {"id": 1}}', "data")[1] == [Record('{"id": 1}', {"id": 1})]


def test_content_is_the_same_whatever_the_order_of_names_and_without_what_is_ignored():
    one, two = ({"a": 1, "b": Decimal("1.50"), "seen": 3}, {"b": Decimal("1.50"), "seen": 4, "a": 1})
    assert content_hash(Record("", one), ["seen"]) == content_hash(Record("", two), ["seen"])
    assert content_hash(Record("", one), []) != content_hash(Record("", two), [])
    assert content_hash(Record("", {"a": Decimal("1.5")}), []) != content_hash(Record("", {"a": Decimal("1.50")}), [])


@pytest.mark.parametrize("text", ["{}", "{ }", '{"a": 1}', '{"a": 1 } '])
def test_added_fields_stand_behind_the_records_own(text):
    made = json.loads(with_fields(text, {"x": Decimal("1.10"), "y": None, "z": 'q"\n', "list": [1]}))
    assert made == {**json.loads(text), "x": 1.1, "y": None, "z": 'q"\n', "list": None}


def _turns(paginator, *answers):
    """The variables of each turn, as the answers lead on."""
    kind = TypeAdapter(Paginator).validate_python(paginator)
    turn, seen = first_turn(kind), []
    for answer in answers:
        seen.append(turn.url or turn.variables)
        turn = next_turn(kind, turn, answer)
        if turn is None:
            return seen, "end"
    return seen, turn


def _answer(values=(), envelope=None, headers=None):
    return Answer(headers or {}, envelope or {}, list(values))


def test_offsets_grow_by_what_came_though_pages_are_shorter_than_asked_for():
    seen, end = _turns({"kind": "offset", "limit": 9}, _answer([1, 2]), _answer([3]), _answer())
    assert (seen, end) == ([{"limit": 9, "offset": offset} for offset in (0, 2, 3)], "end")


def test_a_total_spares_the_last_empty_page_and_must_be_a_number():
    assert _turns({"kind": "offset", "total": "n"}, _answer([1, 2], {"n": "2"}))[1] == "end"
    with pytest.raises(PagesProblemError, match="the total is no number"):
        _turns({"kind": "offset", "total": "n"}, _answer([1], {"n": "many"}))


@pytest.mark.parametrize("first", [0, 1])
def test_numbered_pages_end_at_the_number_that_the_header_tells(first):
    paginator = {"kind": "page", "first": first, "total_pages_header": "X-Pages"}
    seen, end = _turns(paginator, *[_answer([1], headers={"x-pages": "2"})] * 3)
    assert ([one["page"] for one in seen], end) == ([first, first + 1], "end")


def test_a_cursor_ends_when_it_is_empty_absent_or_when_there_is_no_more():
    paginator = {"kind": "cursor", "next": "next", "more": "more"}
    assert _turns(paginator, _answer([1], {"next": "a", "more": True}), _answer([1], {"next": "b", "more": False})) == (
        [{"limit": 100}, {"limit": 100, "cursor": "a"}],
        "end",
    )
    assert _turns(paginator, _answer([1], {"next": ""}))[1] == "end"
    with pytest.raises(PagesProblemError):
        _turns(paginator, _answer([1], {"next": {"a": 1}}))


def test_since_id_goes_on_behind_the_last_record():
    paginator = {"kind": "since_id", "start": 0, "field": "k.id"}
    seen, end = _turns(paginator, _answer([{"k": {"id": 3}}, {"k": {"id": 9}}]), _answer())
    assert ([one["last"] for one in seen], end) == ([0, 9], "end")
    with pytest.raises(PagesProblemError, match=r"has no k\.id"):
        _turns(paginator, _answer([{}]))


def test_links_of_a_header_are_found_by_their_relation():
    header = '<https://a/x?p=1,2>; title="a;b"; rel="prev first", </y>; rel=next , <z>'
    assert list(links_in(header)) == [("https://a/x?p=1,2", "prev"), ("https://a/x?p=1,2", "first"), ("/y", "next")]


def test_totals_are_told_only_where_pages_are_counted():
    offset = TypeAdapter(Paginator).validate_python({"kind": "offset", "total": "n"})
    assert total_of(offset, _answer((), {"n": "3"})) == 3
    single = TypeAdapter(Paginator).validate_python({"kind": "single"})
    assert total_of(single, _answer((), {"n": 3})) is None


@pytest.mark.parametrize(
    ("reads", "value", "writes", "sent"),
    [
        ("iso", "2026-01-02T03:04:05+03:00", "iso", "2026-01-02T00:04:05Z"),
        ("iso", "2026-01-02 03:04:05", "%d.%m.%Y %H:%M", "02.01.2026 03:04"),
        ("epoch", 1_767_322_800, "epoch", 1_767_322_800),
        ("epoch", 1_767_322_800, "iso", "2026-01-02T03:00:00Z"),
        ("epoch_ms", 1_767_322_800_123, "epoch_ms", 1_767_322_800_123),
        ("number", 12345678901234567890, "number", 12345678901234567890),
    ],
)
def test_a_mark_is_read_and_written_back_as_the_vendor_does(reads, value, writes, sent):
    incremental = Incremental(field="at", reads=reads, writes=writes, look_back_seconds=0)
    mark = mark_of(Record("", {"at": value}), incremental)
    assert from_json(json.loads(json.dumps(to_json(mark)))) == mark
    assert written(back(mark, incremental), incremental) == sent


@pytest.mark.parametrize("bad", ["2026-99-01", "x", True, 1e400, {"a": 1}])
def test_what_is_no_time_is_told_without_showing_it(bad):
    with pytest.raises(ValueError, match=r"^at is not written as iso$"):
        mark_of(Record("", {"at": bad}), Incremental(field="at"))


def test_names_that_have_no_value_yet_leave_their_key_out_and_a_name_alone_keeps_its_type():
    body = {
        "q": "x{page}",
        "n": "{page}",
        "after": "{cursor}",
        "list": [{"v": "{since}"}, "{cursor}"],
        "gql": "{ a { b } }",
    }
    assert fill(body, {"page": 2, "since": 0}) == {"q": "x2", "n": 2, "list": [{"v": 0}], "gql": "{ a { b } }"}


def test_L23_a_value_cannot_leave_its_place_in_a_path():
    assert fill_path("a/{key}/b", {"key": "../../x?y=1#z"}) == "a/..%2F..%2Fx%3Fy%3D1%23z/b"


def test_an_address_takes_what_the_connection_holds_and_says_what_it_lacks():
    connection = Connection("crm", "http", host="https://shop.example.com/", port=8443, extra={"team": "a b"})
    assert (
        fill_connection("https://{address}/{extra_team}", connection, where="x")
        == "https://shop.example.com:8443/a%20b"
    )
    with pytest.raises(ConfigError, match="the connection crm has no extra region"):
        fill_connection("{extra_region}", connection, where="x")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"errors": [{"code": "unauthorized"}], "type": "error.list"}, " (unauthorized)"),
        ({"error": {"message": "anna@example.com"}}, ""),
        ({"code": "anna@example.com"}, ""),
        ({"code": 12}, ""),
        (None, ""),
    ],
)
def test_L22_only_a_code_is_shown_of_what_a_vendor_says(body, told):
    assert code_in(body) == told


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_L19_a_bucket_lets_a_burst_through_and_then_so_many_a_second():
    clock = _Clock()
    bucket = Bucket(per_second=2, burst=3, now=clock)
    assert [bucket.take() for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    clock.now = 1.5  # three more: two paid back, one left
    assert [bucket.take() for _ in range(2)] == [0, 0.5]
    clock.now = 100.0
    assert [bucket.take() for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_new_day_has_its_own_requests(tmp_path):
    count = DayCount(tmp_path / "crm.requests", 2, date(2026, 11, 20))
    count.take("x")
    DayCount(tmp_path / "crm.requests", 2, date(2026, 11, 20)).take("x")
    with pytest.raises(RetryableError, match="tomorrow"):
        count.take("x")
    DayCount(tmp_path / "crm.requests", 2, date(2026, 11, 21)).take("x")
    DayCount(tmp_path / "other.requests", None, date(2026, 11, 20)).take("x")
    assert not (tmp_path / "other.requests").exists()


def test_what_was_not_committed_is_not_remembered(tmp_path):
    with Memory(tmp_path / "m", afresh=False) as memory:
        memory.note("a", b"1")
        memory.commit()
        memory.note("a", b"2")
        memory.note("b", b"1")
    with Memory(tmp_path / "m", afresh=False) as memory:
        assert (memory.is_news("a", b"1"), memory.is_news("a", b"2"), memory.is_news("b", b"1")) == (False, True, True)
        assert (memory.size(), memory.unseen()) == (1, 1)
    assert (tmp_path / "m").stat().st_mode & 0o777 == 0o600


def test_what_is_missing_is_told_in_its_order_and_only_after_so_many_listings(tmp_path):
    keys = [f"k{number:04d}" for number in range(2_500)]
    with Memory(tmp_path / "m", afresh=False) as memory:
        for key in keys:
            memory.note(key, b"1")
        memory.commit()
    for times in (1, 2):
        with Memory(tmp_path / "m", afresh=False) as memory:
            memory.note(keys[7], b"1")
            memory.miss()
            memory.commit()
            assert list(memory.missing(times=times)) == [key for key in keys if key != keys[7]]
            assert list(memory.missing(times=times + 1)) == []


def _connection(**extra):
    return Connection("crm", "http", login="me", password="client secret", extra=extra)


# Long words: two letters are found in random bytes by chance.
def test_L22_tokens_are_unreadable_without_the_connections_secret_and_a_newer_grant_replaces_them(tmp_path):
    TokenFile(tmp_path, _connection(refresh_token="r0")).write(
        Tokens(
            TokenFile(tmp_path, _connection(refresh_token="r0")).read().root, "the newer grant", "the access token", 9e9
        )
    )
    assert TokenFile(tmp_path, _connection(refresh_token="r0")).read().refresh_token == "the newer grant"
    assert TokenFile(tmp_path, _connection()).read().refresh_token == "the newer grant"
    assert TokenFile(tmp_path, _connection(refresh_token="new")).read().refresh_token == "new"
    stranger = Connection("crm", "http", login="me", password="other", extra={"refresh_token": "r0"})
    assert TokenFile(tmp_path, stranger).read().refresh_token == "r0"
    sealed = (tmp_path / "crm.tokens").read_bytes()
    assert not [word for word in (b"the newer grant", b"the access token", b"client secret") if word in sealed]
    assert "the newer grant" not in repr(TokenFile(tmp_path, _connection(refresh_token="r0")).read())


def _entity(columns, **more):
    return SourceEntity.model_validate(
        {"entity": "order_lines", "path": "a/b_{date}*.jsonl", "columns": columns, "rest": {"resource": "x"}, **more}
    )


def test_a_tombstone_of_a_document_has_one_empty_line_its_key_and_the_newest_version(monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLOCK", "2026-11-22T10:00:00+00:00")
    columns = {
        "order_key": "../number",
        "product_key": "sku.code",
        "ordered_at": "../at",
        "quantity": "n",
        "amount": "sum",
    }
    entity = _entity(
        columns, business_date="ordered_at", version="../changed", format={"type": "jsonl", "row": "data.lines"},
        deleted={"column": "../status", "values": ["void"]},
    )  # fmt: skip
    endpoint = Endpoint(
        path="x",
        fields={"number": {"path": "id", "prefix": "shop-"}},
        incremental={"field": "changed", "reads": "epoch"},
    )
    assert json.loads(tombstone('["7"]', endpoint, entity)) == {
        "id": "7", "number": "shop-7", "at": "2026-11-22T10:00:00Z", "changed": 1_795_341_600, "status": "void",
        "data": {"lines": [{"sku": {"code": None}, "n": None, "sum": None}]}, "_deleted": True,
    }  # fmt: skip


def test_added_fields_tell_moments_as_dates_and_leave_out_words_that_mean_nothing():
    fields = {
        "day": {"path": "at", "reads": "epoch"}, "time": {"path": "iso", "reads": "iso", "lands": "timestamp"},
        "client": {"path": "customer", "empty": ["0"]}, "company": {"path": "org", "prefix": "c-"}, "bad": {"path": "x", "reads": "iso"},
    }  # fmt: skip
    value = {"id": 1, "at": 1_465_396_143, "iso": "2026-01-01T00:00:00+03:00", "customer": 0, "org": 5, "x": "soon"}
    [record] = split(json.dumps([value]).encode(), "")[1]
    line = json.loads(line_of(record, Endpoint(path="x", fields=fields)))
    assert {name: line[name] for name in fields} == {
        "day": "2016-06-08", "time": "2025-12-31T21:00:00+00:00", "client": None, "company": "c-5", "bad": "soon",
    }  # fmt: skip


MISTAKES = {
    "no such definition": ({"definition": "hubspott"}, {}, {}, "did you mean hubspot?"),
    "no such resource": ({"definition": "hubspot", "resource": "contcts"}, {}, {}, "did you mean contacts?"),
    "an unknown key": ({}, {"base_url": "https://a", "bse": 1}, {"path": "x"}, r"crm\.connection\.api\.bse: this key is not known"),
    "no base_url": ({}, {}, {"path": "x"}, r"api\.base_url: this key is missing"),
    "a bad path": ({}, {"base_url": "https://a"}, {"path": "x", "records": "a..b"}, r"endpoint\.records: 'a\.\.b' is not a path"),
    "plain http": ({}, {"base_url": "http://crm.example.com"}, {"path": "x"}, "plain http would show the secret"),
    "no address": ({}, {"base_url": "ftp://a"}, {"path": "x"}, "is not https://host"),
    "a user in the address": ({}, {"base_url": "https://a@b"}, {"path": "x"}, "is not https://host"),
    "a connection without host": ({}, {"base_url": "https://{host}"}, {"path": "x"}, "the connection crm has no host"),
    "a made-up way of writing": ({}, {"base_url": "https://a"}, {"path": "x", "incremental": {"field": "a", "writes": "ISO"}}, "writes is one of iso"),
}  # fmt: skip


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_in_sources_yml_is_told_with_its_place_and_what_to_do(tmp_path, kind):
    names, api, endpoint, told = MISTAKES[kind]
    with pytest.raises(ConfigError, match=told):
        plan_of(asking(tmp_path, api, endpoint, **names).request())


def test_what_sources_yml_says_goes_over_the_definition_key_by_key_and_null_takes_away(tmp_path):
    api = {"rate_limit": {"per_second": 1}, "auth": {"kind": "basic"}}
    endpoint = {"body": {"limit": 50, "sorts": None}, "deletes": None}
    plan = plan_of(asking(tmp_path, api, endpoint, definition="hubspot", resource="contacts").request())
    assert (plan.definition.rate_limit.per_second, plan.definition.auth.kind) == (1, "basic")
    assert (plan.endpoint.body["limit"], "sorts" in plan.endpoint.body, plan.endpoint.deletes) == (50, False, None)
    assert plan.endpoint.body["filterGroups"]


def test_a_resource_cannot_be_its_own_ancestor(tmp_path):
    resources = {"a": {"path": "a", "parent": {"resource": "b"}}, "b": {"path": "b", "parent": {"resource": "a"}}}
    crm = asking(tmp_path, {"base_url": "https://a", "resources": resources}, {}, resource="a")
    with pytest.raises(ConfigError, match="lead back to it"):
        plan_of(crm.request())
    with pytest.raises(ValidationError):
        Endpoint(path="x", key=())


def test_the_earliest_time_that_is_asked_for_is_one_that_every_vendor_knows():
    incremental = Incremental(field="at", look_back_seconds=31_536_000)
    assert back(datetime(1971, 6, 1, tzinfo=UTC), incremental) == datetime(1971, 1, 1, tzinfo=UTC)
