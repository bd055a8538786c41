"""Reading an API over HTTP: real requests to a real server that misbehaves on purpose."""

from __future__ import annotations

import itertools
import json
import logging
import tracemalloc
from datetime import timedelta

import pytest

from factories.rest_api import DROP, TODAY, Reply, asking, running
from perennial.core.errors import ConfigError, ContractViolation, PermanentError, RetryableError
from perennial.sources import rest

PEOPLE = [{"id": n, "name": f"Person {n}", "updated": f"2026-11-{n % 9 + 1:02d}T10:00:00Z"} for n in range(1, 251)]
INCREMENTAL = {"field": "updated", "look_back_seconds": 0}


def _ids(lines):
    return sorted(line["id"] for line in lines)


def _page(asked, name="offset", *, people=PEOPLE, size=100):
    at = int(asked.params.get(name, 0))
    return people[at : at + size], at + size


def _offset(asked):
    page, _next = _page(asked)
    return {"count": len(PEOPLE), "results": page}


def _numbered(asked):
    at = (int(asked.params["page"]) - 1) * 100
    return Reply(PEOPLE[at : at + 100], headers={"X-Pages": "3"})


def _cursor(asked):
    page, after = _page(asked, "after")
    return {"results": page, "paging": {"next": {"after": str(after)}} if after < len(PEOPLE) else {}}


def _cursor_in_the_body(asked):
    at = asked.json["page"].get("after", 0)
    return {"results": PEOPLE[at : at + 100], "next": at + 100, "more": at + 100 < len(PEOPLE)}


def _json_link(asked):
    page, after = _page(asked)
    link = f"http://{asked.headers['host']}/people?offset={after}&limit=100" if after < len(PEOPLE) else None
    return {"results": page, "links": {"next": link}}


def _header_link(asked):
    page, after = _page(asked)
    link = f'</people?offset=0>; rel="first", </people?offset={after}>; rel="next"' if after < len(PEOPLE) else ""
    return Reply(page, headers={"Link": link})


def _since_id(asked):
    return {"results": [one for one in PEOPLE if one["id"] > int(asked.params["after"])][:100]}


RESULTS = {"path": "people", "records": "results"}
KINDS = {
    "offset": (_offset, {"kind": "offset", "total": "count"}, {**RESULTS, "params": {"offset": "{offset}"}}, 3),
    "page": (_numbered, {"kind": "page", "total_pages_header": "X-Pages"}, {"path": "people", "params": {"page": "{page}"}}, 3),
    "cursor": (_cursor, {"kind": "cursor", "next": "paging.next.after"}, {**RESULTS, "params": {"after": "{cursor}"}}, 3),
    "cursor in the body": (
        _cursor_in_the_body,
        {"kind": "cursor", "next": "next", "more": "more"},
        {**RESULTS, "method": "POST", "body": {"page": {"after": "{cursor}", "size": "{limit}"}}},
        3,
    ),
    "link in the body": (_json_link, {"kind": "json_link", "next": "links.next"}, RESULTS, 3),
    "link in a header": (_header_link, {"kind": "header_link"}, {"path": "people"}, 3),
    "since id": (_since_id, {"kind": "since_id", "start": 0}, {**RESULTS, "params": {"after": "{last}"}}, 4),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_record_lands_once_and_a_second_fetch_lands_nothing(tmp_path, kind):
    answer, paginator, endpoint, requests = KINDS[kind]
    with running(answer) as api:
        crm = asking(tmp_path, {"base_url": api.url, "paginator": paginator}, endpoint)
        assert _ids(crm.fetch()) == list(range(1, 251))
        assert len(api.asked) == requests
        assert crm.fetch() == []


def test_L1_an_api_that_is_busy_drops_half_and_hangs_up_loses_nothing(tmp_path):
    troubles = [
        Reply({"code": "rate_limit"}, 429, {"Retry-After": "0"}), DROP, Reply({}, 500), Reply(PEOPLE, cut=True),
        Reply({}, 503, {"Retry-After": "0"}), Reply({}, 429, {"Retry-After": "0"}), Reply({}, 429, {"Retry-After": "0"}),
    ]  # fmt: skip
    script = iter([troubles[0], None, *troubles[1:4], None, *troubles[4:], None])
    with running(lambda asked: next(script) or _offset(asked)) as api:
        crm = asking(tmp_path, {"base_url": api.url, "paginator": KINDS["offset"][1]}, KINDS["offset"][2])
        assert _ids(crm.fetch()) == list(range(1, 251))
        assert len(api.asked) == 3 + len(troubles)


def test_a_wait_that_the_vendor_asks_for_costs_no_attempt_and_an_outage_ends_as_retryable(tmp_path):
    """L19"""
    busy = [Reply({}, 429, {"Retry-After": "0"})] * 20
    with running(lambda _asked: busy.pop() if busy else Reply({}, 502)) as api:
        crm = asking(tmp_path, {"base_url": api.url}, {"path": "people"})
        with pytest.raises(RetryableError, match=r"people: answered 502 \(4 times\)"):
            crm.fetch()
        assert len(api.asked) == 24


def test_a_wait_of_hours_ends_the_fetch_instead_of_holding_it_up(tmp_path):
    with running(lambda _asked: Reply({}, 429, {"Retry-After": "7200"})) as api:
        crm = asking(tmp_path, {"base_url": api.url}, {"path": "people"})
        with pytest.raises(RetryableError, match="7200 s more"):
            crm.fetch()


def test_the_requests_of_a_day_are_counted_across_fetches(tmp_path):
    with running(_offset) as api:
        settings = {
            "base_url": api.url,
            "paginator": KINDS["offset"][1],
            "rate_limit": {"per_second": 1000, "burst": 1000, "per_day": 4},
        }
        crm = asking(tmp_path, settings, KINDS["offset"][2])
        assert len(crm.fetch()) == 250
        with pytest.raises(RetryableError, match="the 4 requests of 2026-11-20"):
            crm.fetch()
        crm.today = TODAY + timedelta(days=1)
        assert crm.fetch() == []


REFUSED = {
    301: "the address has moved",
    401: r"not signed in: 401 \(invalid_token\)",
    403: "scopes",
    404: "base_url, path and version",
    422: "params and body",
}


@pytest.mark.parametrize("status", REFUSED)
def test_L22_a_refusal_says_what_to_do_and_shows_neither_secret_nor_body(tmp_path, status):
    body = {"code": "invalid_token", "message": "anna@example.com may not, says s3cret"}
    with running(lambda _asked: Reply(body, status, {"Location": "/elsewhere"})) as api:
        crm = asking(
            tmp_path,
            {"base_url": f"{api.url}/{{password}}", "auth": {"kind": "api_key", "place": "query", "name": "key"}},
            {"path": "people"},
        )
        with pytest.raises((ConfigError, PermanentError), match=REFUSED[status]) as error:
            crm.fetch()
        assert (api.asked[0].path, api.asked[0].params["key"]) == ("/s3cret/people", "s3cret")
    assert "s3cret" not in str(error.value)
    assert "anna" not in str(error.value)
    assert len(api.asked) == 1


def test_L22_addresses_with_secrets_are_not_logged(tmp_path, caplog, monkeypatch):
    caplog.set_level("DEBUG")
    caplog.set_level("DEBUG", logger="httpx")  # others in this process may have raised or disabled it
    monkeypatch.setattr(logging.getLogger("httpx"), "disabled", False)
    with running(lambda _asked: []) as api:
        asking(
            tmp_path, {"base_url": f"{api.url}/{{password}}", "auth": {"kind": "address"}}, {"path": "people"}
        ).fetch()
        assert api.asked[0].path == "/s3cret/people"
    assert "HTTP Request" in caplog.text
    assert "s3cret" not in caplog.text


AUTH = {
    "bearer": ({"kind": "bearer"}, "authorization", "Bearer s3cret"),
    "header": ({"kind": "api_key", "name": "X-Key"}, "x-key", "s3cret"),
    "basic": ({"kind": "basic"}, "authorization", "Basic bWU6czNjcmV0"),
}


@pytest.mark.parametrize("kind", AUTH)
def test_each_kind_of_authentication_puts_the_secret_where_it_belongs(tmp_path, kind):
    auth, header, value = AUTH[kind]
    with running(lambda asked: [{"id": 1}] if asked.headers.get(header) == value else Reply({}, 401)) as api:
        assert asking(tmp_path, {"base_url": api.url, "auth": auth}, {"path": "x"}, connection={"login": "me"}).fetch()


def test_client_credentials_are_exchanged_once_and_again_when_the_token_is_refused(tmp_path):
    given = itertools.count(1)

    def answer(asked):
        if asked.path == "/token":
            assert asked.body.decode() == "grant_type=client_credentials&client_id=me&client_secret=s3cret&scope=read"
            return {"access_token": f"t{next(given)}", "expires_in": 3600}
        good = asked.headers["authorization"] == ("Bearer t1" if asked.params["offset"] == "0" else "Bearer t2")
        return _offset(asked) if good else Reply({}, 401)

    with running(answer) as api:
        auth = {"kind": "oauth2_client_credentials", "token_url": f"{api.url}/token", "scope": "read"}
        crm = asking(
            tmp_path,
            {"base_url": api.url, "auth": auth, "paginator": KINDS["offset"][1]},
            KINDS["offset"][2],
            connection={"login": "me"},
        )
        assert len(crm.fetch()) == 250
    assert [asked.path for asked in api.asked].count("/token") == 2


class _Rotating:
    """A vendor whose refresh tokens are good for one use."""

    def __init__(self):
        self.refresh, self.access, self.uses = "r0", "", 0

    def __call__(self, asked):
        if asked.path == "/token":
            if asked.json["refresh_token"] != self.refresh:
                return Reply({"error": "invalid_grant"}, 400)
            self.uses += 1
            self.refresh, self.access = f"the newer grant {self.uses}", f"the access token {self.uses}"
            return {"access_token": self.access, "refresh_token": self.refresh, "expires_in": 86400}
        return [{"id": 1}] if asked.headers["authorization"] == f"Bearer {self.access}" else Reply({}, 401)


def test_L22_a_replaced_refresh_token_outlives_the_process_and_is_in_no_file_in_clear(tmp_path):
    vendor = _Rotating()
    with running(vendor) as api:
        auth = {"kind": "oauth2_refresh_token", "token_url": f"{api.url}/token", "send": "json"}
        people = ({"base_url": api.url, "auth": auth}, {"path": "people"})
        who = {"login": "me", "extra": {"refresh_token": "r0"}}
        assert len(asking(tmp_path, *people, connection=who).fetch()) == 1
        vendor.access = "revoked"
        again = asking(tmp_path, *people, connection=who)  # the connection still has r0, which is spent
        again.cursor = {"files": 1}
        assert again.fetch() == []
        assert vendor.uses == 2
        [kept] = (tmp_path / "state").glob("*.tokens")
        assert kept.stat().st_mode & 0o777 == 0o600
        # whole words: two letters are in random bytes now and then
        assert not [
            word for word in (b"the newer grant", b"the access token", b"refresh_token") if word in kept.read_bytes()
        ]
        with pytest.raises(ConfigError, match=r"no token was given: 400 \(invalid_grant\)"):
            asking(tmp_path, *people, connection={**who, "extra": {"refresh_token": "r9"}}).fetch()


CIRCLES = {
    "the same cursor for ever": ({"kind": "cursor", "next": "next"}, {"params": {"at": "{cursor}"}}, "lead back"),
    "a page number that is ignored": (
        {"kind": "page"},
        {"params": {"page": "{page}"}},
        "two pages in a row are the same",
    ),
}


@pytest.mark.parametrize("kind", CIRCLES)
def test_pages_that_never_end_are_found_out(tmp_path, kind):
    paginator, endpoint, told = CIRCLES[kind]
    pages = itertools.count()

    def answer(_asked):
        fresh = next(pages) if paginator["kind"] == "cursor" else 0
        return {"results": [{"id": fresh}], "next": "abc"}

    with running(answer) as api:
        crm = asking(tmp_path, {"base_url": api.url, "paginator": paginator}, {**RESULTS, **endpoint})
        with pytest.raises(PermanentError, match=told):
            crm.fetch()


def test_L22_a_link_to_another_host_is_not_followed(tmp_path):
    with (
        running(lambda _asked: []) as other,
        running(lambda _asked: {"results": [{"id": 1}], "next": f"{other.url}/x"}) as api,
    ):
        crm = asking(
            tmp_path,
            {"base_url": api.url, "paginator": {"kind": "json_link", "next": "next"}, "auth": {"kind": "bearer"}},
            RESULTS,
        )
        with pytest.raises(PermanentError, match="leads to another host"):
            crm.fetch()
        assert other.asked == []


HOSTILE = {
    "a page for people": (b"<html>Sign in</html>", "it is a page for people"),
    "not JSON": (b'{"results": [{"id": 1},', "not JSON from character"),
    "NaN": (b'{"results": [{"id": NaN}]}', "it holds NaN"),
    "a bomb of brackets": (b'{"results": ' + b"[" * 200_000, "nested too deep"),
    "not UTF-8": (b'{"results": [{"id": "\xff"}]}', "not UTF-8"),
    "no list where it should be": (b'{"data": []}', "no list at results"),
    "items that are no objects": (b'{"results": [1]}', "is no object"),
    "a record without a key": (b'{"results": [{"name": "x"}]}', "a record has no id"),
    "too long": (b'{"results": [' + b" " * 2_000_000 + b"]}", "longer than 1000000 bytes"),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_L23_a_hostile_answer_is_told_and_nothing_of_it_is_shown(tmp_path, kind):
    body, told = HOSTILE[kind]
    with running(lambda _asked: Reply(body)) as api:
        crm = asking(tmp_path, {"base_url": api.url, "max_response_bytes": 1_000_000}, RESULTS)
        with pytest.raises(PermanentError, match=told):
            crm.fetch()
    assert crm.landed == []


def test_numbers_land_digit_for_digit(tmp_path):
    text = b'{"results": [\n {"id": 12345678901234567890123, "name": "a\\nb\\u20ac", \n"total": 1.10, "x": 1E-30}\n]}'
    with running(lambda _asked: Reply(text)) as api:
        crm = asking(tmp_path, {"base_url": api.url}, {**RESULTS, "fields": {"sum": "total"}})
        crm.fetch()
    line = (tmp_path / "scratch" / f"{crm.landed[0].suffix}.jsonl").read_text()
    assert (
        line
        == '{"id": 12345678901234567890123, "name": "a\\nb\\u20ac",  "total": 1.10, "x": 1E-30,"sum":1.10,"_deleted":false}\n'
    )


class _Changing:
    """A vendor that filters by time of change."""

    def __init__(self, people=PEOPLE, *, by="id"):
        self.people, self.by = [dict(one) for one in people], by

    def __call__(self, asked):
        since = asked.params.get("since", "")
        found = sorted((p for p in self.people if p["updated"] >= since), key=lambda p: p[self.by])
        page, _next = _page(asked, people=found)
        return {"results": page}


def _incremental(tmp_path, api, **more):
    return asking(
        tmp_path,
        {"base_url": api.url, "paginator": {"kind": "offset"}},
        {**RESULTS, "params": {"since": "{since}", "offset": "{offset}"}, "incremental": {**INCREMENTAL, **more}},
    )


def test_only_what_changed_is_asked_for_and_lands(tmp_path):
    vendor = _Changing()
    with running(vendor) as api:
        crm = _incremental(tmp_path, api)
        assert len(crm.fetch()) == 250
        vendor.people[3] |= {"name": "Changed", "updated": "2026-11-10T00:00:00Z"}
        assert [line["name"] for line in crm.fetch()] == ["Changed"]
        assert api.asked[-1].params["since"] == "2026-11-09T10:00:00Z"
        assert crm.fetch() == []
        assert api.asked[-1].params["since"] == "2026-11-10T00:00:00Z"


def test_a_record_that_is_saved_late_is_found_by_looking_back(tmp_path):
    vendor = _Changing()
    with running(vendor) as api:
        crm = _incremental(tmp_path, api, look_back_seconds=86_400)
        crm.fetch()
        vendor.people.append({"id": 999, "updated": "2026-11-08T12:00:00Z"})
        assert _ids(crm.fetch()) == [999]


def test_a_time_of_change_in_the_far_future_does_not_hide_what_comes_after(tmp_path):
    vendor = _Changing([{"id": 1, "updated": "2199-01-01T00:00:00Z"}, {"id": 2, "updated": "2026-11-01T00:00:00Z"}])
    with running(vendor) as api:
        crm = _incremental(tmp_path, api)
        assert _ids(crm.fetch()) == [1, 2]
        vendor.people.append({"id": 3, "updated": "2026-11-02T00:00:00Z"})
        assert _ids(crm.fetch()) == [3]
    assert "changed in the future" in crm.notes[0]


@pytest.fixture
def small_files(monkeypatch):
    monkeypatch.setattr("perennial.sources.rest.writing.FILE_ROWS", 60)


@pytest.mark.usefixtures("small_files")
@pytest.mark.parametrize("files", range(5))
@pytest.mark.parametrize("ascending", [True, False])
def test_L1_killed_after_any_file_and_fetched_again_nothing_is_missing(tmp_path, files, ascending):
    """A file whose landing is not known lands again; what is known to have landed does not."""
    with running(_Changing(by="updated" if ascending else "id")) as api:
        crm = _incremental(tmp_path, api, ascending=ascending)
        first = crm.fetch(die_after=files)
        second = crm.fetch()
    assert _ids(first + second) == list(range(1, 251))
    assert len({file.suffix for file in crm.landed}) == len(crm.landed)


def test_records_out_of_the_order_that_the_definition_promises_are_told(tmp_path):
    with running(_Changing()) as api, pytest.raises(PermanentError, match="not in the order of updated"):
        _incremental(tmp_path, api, ascending=True).fetch()


def test_two_versions_of_a_record_never_stand_in_one_file(tmp_path):
    people = [{"id": 1, "name": "old"}, {"id": 2}, {"id": 1, "name": "new"}]
    with running(lambda _asked: people) as api:
        crm = asking(tmp_path, {"base_url": api.url}, {"path": "people"})
        assert [line.get("name") for line in crm.fetch()] == ["old", None, "new"]
    assert [file.rows for file in crm.landed] == [2, 1]
    assert [file.suffix for file in crm.landed] == sorted(file.suffix for file in crm.landed)


def _listing(people, gone=()):
    def answer(asked):
        if asked.path != "/people":
            key = int(asked.path.rsplit("/", 1)[-1])
            return Reply({}, 404) if key in gone else {"id": key}
        return people

    return answer


def test_what_is_gone_from_the_listing_and_from_its_own_address_is_a_tombstone(tmp_path):
    people, gone = [dict(one) for one in PEOPLE], {7}
    with running(_listing(people, gone)) as api:
        crm = asking(
            tmp_path,
            {"base_url": api.url},
            {"path": "people", "deletes": {"confirm": "people/{key}"}},
            columns={"client_key": "id", "first_name": "name", "email": "contact.email"},
            deleted={"column": "_deleted"},
        )
        crm.fetch()
        del people[6], people[20]  # 7 is deleted, 22 is only hidden
        assert crm.fetch() == [{"id": "7", "name": None, "contact": {"email": None}, "_deleted": True}]
        assert crm.fetch() == []


def test_without_an_address_of_its_own_a_record_must_be_missing_twice(tmp_path):
    people = [dict(one) for one in PEOPLE]
    with running(_listing(people)) as api:
        crm = asking(tmp_path, {"base_url": api.url}, {"path": "people", "deletes": {}})
        crm.fetch()
        hidden = people.pop(6)
        del people[30]
        assert crm.fetch() == []
        people.append(hidden)
        assert [(line["id"], line["_deleted"]) for line in crm.fetch()] == [("32", True)]


def test_L11_a_listing_that_lost_a_third_deletes_nobody_and_lands_the_rest(tmp_path):
    people = [dict(one) for one in PEOPLE]
    with running(_listing(people)) as api:
        crm = asking(tmp_path, {"base_url": api.url}, {"path": "people", "deletes": {"confirm": "people/{key}"}})
        crm.fetch()
        del people[:90]
        people[0]["name"] = "Changed"
        with pytest.raises(
            ContractViolation, match=r"90 of 250 records are missing from the listing: nothing is deleted"
        ):
            crm.fetch()
        assert crm.landed[-1].rows == 1


def test_L11_an_empty_listing_deletes_nobody_however_few_they_were(tmp_path):
    people = [{"id": 1}, {"id": 2}]
    with running(_listing(people, {1, 2})) as api:
        crm = asking(tmp_path, {"base_url": api.url}, {"path": "people", "deletes": {"confirm": "people/{key}"}})
        crm.fetch()
        people.clear()
        with pytest.raises(ContractViolation, match="2 of 2 records are missing"):
            crm.fetch()


def test_L26_memory_does_not_grow_with_the_number_of_pages(tmp_path, monkeypatch):
    """Beyond one file: the keys of a file are held until it lands."""
    monkeypatch.setattr("perennial.sources.rest.writing.FILE_ROWS", 500)

    def answer(asked):
        at = int(asked.params["offset"])
        page = [{"id": at + n, "name": "x" * 200} for n in range(200)] if at < int(asked.params["of"]) else []
        return {"results": page}

    def peak(folder, records):
        endpoint = {**RESULTS, "params": {"offset": "{offset}", "of": records}}
        with running(answer) as api:
            crm = asking(folder, {"base_url": api.url, "paginator": {"kind": "offset"}}, endpoint)
            tracemalloc.start()
            rows = sum(file.rows for file in rest.fetch(crm.request()))
            _now, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert rows == records
        return most

    peak(tmp_path / "warm", 200)
    assert peak(tmp_path / "many", 6_000) < 1.5 * peak(tmp_path / "few", 1_000)


def test_records_that_vanish_while_pages_are_counted_make_nobody_deleted(tmp_path):
    people = [dict(one) for one in PEOPLE]
    requests = itertools.count()

    def answer(asked):
        if next(requests) == 4:
            del people[:2]  # the second page now begins two records later: two are not seen
        page, _next = _page(asked, people=people)
        return {"count": len(people), "results": page}

    with running(answer) as api:
        crm = asking(
            tmp_path,
            {"base_url": api.url, "paginator": KINDS["offset"][1]},
            {**KINDS["offset"][2], "deletes": {"confirm": "people/{key}"}},
        )
        crm.fetch()
        assert crm.fetch() == []
    assert "the same range is read again" in crm.notes[0]


def test_an_incremental_source_is_listed_whole_once_a_week_to_find_what_was_deleted(tmp_path):
    vendor = _Changing()
    with running(vendor) as api:
        crm = asking(
            tmp_path,
            {"base_url": api.url, "paginator": {"kind": "offset"}},
            {
                **RESULTS,
                "params": {"since": "{since}", "offset": "{offset}"},
                "incremental": INCREMENTAL,
                "deletes": {"confirm": "gone/{key}", "every_days": 7},
            },
        )
        crm.fetch()
        del vendor.people[0]
        answer = Reply({}, 404)
        ordinary = vendor.__call__
        vendor_answers = lambda asked: answer if asked.path.startswith("/gone") else ordinary(asked)  # noqa: E731
        with running(vendor_answers) as later:
            crm = asking(
                tmp_path,
                {"base_url": later.url, "paginator": {"kind": "offset"}},
                {
                    **RESULTS,
                    "params": {"since": "{since}", "offset": "{offset}"},
                    "incremental": INCREMENTAL,
                    "deletes": {"confirm": "gone/{key}", "every_days": 7},
                },
            )
            crm.cursor = {"files": 1, "since": {"time": "2026-11-09T10:00:00+00:00"}, "whole_on": str(TODAY)}
            assert crm.fetch() == []
            crm.today = TODAY + timedelta(days=7)
            assert [(line["id"], line["_deleted"]) for line in crm.fetch()] == [("1", True)]


def test_a_resource_of_each_record_of_another_is_read(tmp_path):
    def answer(asked):
        if asked.path == "/pipelines":
            return {"results": [{"id": "a b/.."}, {"id": "c"}]}
        return {"results": [{"id": f"{asked.path}#{n}"} for n in (1, 2)]}

    with running(answer) as api:
        resources = {"pipelines": {"path": "pipelines", "records": "results"}}
        crm = asking(
            tmp_path,
            {"base_url": api.url, "resources": resources},
            {"path": "pipelines/{parent}/stages", "records": "results", "parent": {"resource": "pipelines"}},
        )
        ids = _ids(crm.fetch())
    assert ids == [
        "/pipelines/a%20b%2F../stages#1",
        "/pipelines/a%20b%2F../stages#2",
        "/pipelines/c/stages#1",
        "/pipelines/c/stages#2",
    ]


def test_an_error_inside_an_answer_200_is_an_error(tmp_path):
    replies = [{"errors": [{"code": "THROTTLED"}]}, {"data": [{"id": 1}]}, {"errors": [{"code": "ACCESS_DENIED"}]}]
    with running(lambda _asked: replies.pop(0)) as api:
        error = {"path": "errors", "code": "errors[0].code", "busy": ["THROTTLED"]}
        crm = asking(tmp_path, {"base_url": api.url, "error": error}, {"path": "graphql", "records": "data"})
        assert _ids(crm.fetch()) == [1]
        with pytest.raises(PermanentError, match=r"refused \(ACCESS_DENIED\)"):
            crm.fetch()


def test_check_says_how_far_one_comes_and_which_field_is_meant(tmp_path):
    with running(
        lambda asked: [{"id": 1, "contact": {"email": "a@example.com"}}] if "x-key" in asked.headers else Reply({}, 401)
    ) as api:
        good = {"base_url": api.url, "auth": {"kind": "api_key", "name": "X-Key"}}
        columns = {"client_key": "id", "email": "contact.emial"}
        steps = asking(tmp_path, good, {"path": "people"}, columns=columns).check()
        assert list(steps.values())[:4] == ["ok"] * 4
        assert steps["fields"] == "email: no record has contact.emial; did you mean contact.email?"
        steps = asking(tmp_path, {"base_url": api.url}, {"path": "people"}).check()
        assert list(steps) == ["definition and connection", "connect", "sign in"]
        assert "not signed in: 401" in steps["sign in"]
    assert "the connection failed" in asking(tmp_path, {"base_url": api.url}, {"path": "people"}).check()["connect"]
    assert (
        "did you mean contacts?"
        in asking(tmp_path, {}, {}, definition="bottlecrm", resource="contact").check()["definition and connection"]
    )


def test_the_cursor_is_plain_json_and_a_person_who_empties_it_gets_everything_again(tmp_path):
    with running(_offset) as api:
        crm = asking(tmp_path, {"base_url": api.url, "paginator": KINDS["offset"][1]}, KINDS["offset"][2])
        crm.fetch()
        assert json.dumps(crm.cursor) == '{"files": 1, "whole_on": "2026-11-20"}'
        crm.cursor = {}
        assert len(crm.fetch()) == 250
