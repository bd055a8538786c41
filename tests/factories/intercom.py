"""A stateful Intercom: contacts that are searched and paged, with every request and answer held to Intercom's own specification.

What the specification says in words holds too: a search by time sees whole days of the workspace's zone, at most 150
contacts a page. Rate limits come with Intercom's headers; troubles come on a schedule.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from openapi_core import OpenAPI
from openapi_core.datatypes import RequestParameters

from factories.rest_api import DROP, Asked, Reply

ZONE = ZoneInfo("America/Los_Angeles")
TOKEN = "dG9rZW4="
_REQUEST = "f0dc95f1-9e46-4e8d-8150-89365c2c5195"
_ORIGIN = "https://api.intercom.io"


class _Request:
    """What openapi-core reads of a request."""

    host_url, path_pattern = _ORIGIN, None

    def __init__(self, asked: Asked) -> None:
        self.path, self.method, self.body = asked.path, asked.method.lower(), asked.body or None
        self.content_type = asked.headers.get("content-type", "application/json").split(";")[0]
        headers = {name.title(): value for name, value in asked.headers.items()}
        self.parameters = RequestParameters(query=asked.params, header=headers, cookie={}, path={})


class _Response:
    """What openapi-core reads of an answer."""

    content_type = "application/json"

    def __init__(self, reply: Reply) -> None:
        self.status_code, self.data, self.headers = reply.status, reply.content, reply.headers


class Intercom:
    """Answers as Intercom does; `every` says on which requests (counted from 1) what goes wrong."""

    def __init__(self, specification: Path, contacts: int, *, trouble: bool = True) -> None:
        self.api = OpenAPI.from_dict(json.loads(specification.read_text(encoding="utf-8")))
        self.contacts = {f"c{n:05d}": _contact(n) for n in range(contacts)}
        self.requests = self.validated = 0
        self.trouble = trouble

    def __call__(self, asked: Asked):
        self.requests += 1
        if self.trouble and self.requests % 7 == 3:
            return DROP
        if self.trouble and self.requests % 7 == 5:
            return Reply({"type": "error.list", "errors": [{"code": "server_error", "message": "Oops"}]}, 500)
        if self.trouble and self.requests % 11 == 6:
            return self._too_many()
        return self._held_to_the_specification(asked)

    def _held_to_the_specification(self, asked: Asked) -> Reply:
        request = _Request(asked)
        self.api.validate_request(request)
        reply = self._answer(asked)
        if reply.status != 404:  # which the specification of this operation does not declare
            self.api.validate_response(request, _Response(reply))
        self.validated += 1
        return reply

    def _answer(self, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Reply(
                {
                    "type": "error.list",
                    "request_id": _REQUEST,
                    "errors": [{"code": "unauthorized", "message": "Access Token Invalid"}],
                },
                401,
            )
        if asked.path == "/contacts/search":
            return self._search(asked.json)
        found = self.contacts.get(asked.path.rsplit("/", 1)[-1])
        missing = {
            "type": "error.list",
            "request_id": _REQUEST,
            "errors": [{"code": "not_found", "message": "User Not Found"}],
        }
        return Reply(found) if found else Reply(missing, 404)

    def _search(self, body: dict) -> Reply:
        [test] = body["query"]["value"]
        assert (test["field"], test["operator"]) == ("updated_at", ">")
        after = _end_of_day(int(test["value"]))
        paging = body["pagination"]
        assert paging["per_page"] <= 150
        last = b64decode(paging.get("starting_after", "")).decode()
        found = [one for key, one in sorted(self.contacts.items()) if one["updated_at"] >= after and key > last]
        page = found[: paging["per_page"]]
        pages = {"type": "pages", "page": 1, "per_page": paging["per_page"], "total_pages": 1}
        if len(found) > len(page):
            cursor = b64encode(page[-1]["id"].encode()).decode()
            pages["next"] = {"per_page": paging["per_page"], "starting_after": cursor}
        return Reply(
            {"type": "list", "data": page, "total_count": len(found), "pages": pages},
            headers={"X-RateLimit-Remaining": "100"},
        )

    def _too_many(self) -> Reply:
        body = {
            "type": "error.list",
            "errors": [{"code": "rate_limit_exceeded", "message": "Exceeded rate limit of 167 in 10_seconds"}],
        }
        reset = str(int(datetime.now(UTC).timestamp()))
        return Reply(body, 429, {"X-RateLimit-Limit": "167", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})


def _end_of_day(moment: int) -> int:
    """The start of the next day of the workspace's zone: what `>` matches from."""
    day = datetime.fromtimestamp(moment, ZONE).date() + timedelta(days=1)
    return int(datetime.combine(day, time.min, tzinfo=ZONE).timestamp())


def _contact(number: int) -> dict:
    changed = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) + number * 1_009
    return {
        "type": "contact", "id": f"c{number:05d}", "external_id": None, "workspace_id": "w", "role": "user",
        "email": f"person{number}@example.com", "email_domain": "example.com", "phone": None, "name": f"Person {number} Ж",
        "owner_id": None, "has_hard_bounced": False, "marked_email_as_spam": False, "unsubscribed_from_emails": False,
        "created_at": changed - 86_400, "updated_at": changed, "signed_up_at": None, "last_seen_at": None,
        "custom_attributes": {"paid": 12.5}, "location": {"type": "location", "country": "Ireland", "region": "Dublin", "city": None},
    }  # fmt: skip
