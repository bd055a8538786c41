"""The records of an endpoint, page by page; with a parent, once for each of its records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urljoin

from perennial.core.errors import PermanentError, Problem
from perennial.sources.rest.client import Asked, Client, Got
from perennial.sources.rest.definitions import Plan
from perennial.sources.rest.model import Endpoint
from perennial.sources.rest.paging import Answer, PagesProblemError, Turn, first_turn, next_turn, total_of
from perennial.sources.rest.paths import resolve
from perennial.sources.rest.records import Record
from perennial.sources.rest.templates import fill, fill_path


class Listing:
    """Reads the endpoint of a plan."""

    def __init__(self, plan: Plan, client: Client) -> None:
        self._plan, self._client = plan, client
        self.steady = True  # False: records went while pages were counted, so that one may not have been seen

    def records(self, variables: Mapping[str, Any]) -> Iterator[Record]:
        """Every record, one after the other. Raises PermanentError when the pages go in a circle."""
        return self._of(self._plan.endpoint, self._plan.parents, variables)

    def has(self, path: str, key: str) -> bool:
        """Does the API still show the record of this key?"""
        parts = json.loads(key)
        return self._client.exists(
            self._asked(
                path,
                Turn({"key": parts[-1]}),
                self._plan.endpoint.model_copy(update={"method": "GET", "params": {}, "body": None, "path": path}),
            )
        )

    def _of(self, endpoint: Endpoint, parents: tuple[Endpoint, ...], variables: Mapping[str, Any]) -> Iterator[Record]:
        if endpoint.parent is None:
            yield from self._pages(endpoint, variables)
            return
        for parent in self._of(parents[0], parents[1:], {}):
            value = resolve(parent.value, endpoint.parent.field)
            if value is not None:
                yield from self._pages(endpoint, {**variables, "parent": value})

    def _pages(self, endpoint: Endpoint, variables: Mapping[str, Any]) -> Iterator[Record]:
        paginator = self._plan.paginator_of(endpoint)
        turn: Turn | None = first_turn(paginator)
        asked_before: set[bytes] = set()
        page_before: bytes = b""
        total: int | None = None
        for _page in range(endpoint.max_pages):
            if turn is None:
                return
            asked = self._asked(endpoint.path, Turn({**variables, **turn.variables}, turn.url), endpoint)
            self._refuse_circle(asked, asked_before)
            got = self._client.get(asked, endpoint.records)
            records = self._records(got, endpoint)
            page = _digest([record.text for record in records])
            if records and page == page_before:
                raise self._problem(endpoint, "two pages in a row are the same", "correct the paginator's parameters")
            yield from records
            page_before = page
            answer = Answer(got.headers, got.envelope, [record.value for record in records])
            turn, total = self._next(endpoint, turn, answer, total)
        raise self._problem(endpoint, f"there are more than {endpoint.max_pages} pages", "raise max_pages")

    def _next(
        self, endpoint: Endpoint, turn: Turn, answer: Answer, total: int | None
    ) -> tuple[Turn | None, int | None]:
        """The next turn, and the total of this page. More records are seen twice at worst; fewer hide one."""
        paginator = self._plan.paginator_of(endpoint)
        try:
            now = total_of(paginator, answer)
            self.steady &= total is None or now is None or now >= total
            return next_turn(paginator, turn, answer), now
        except PagesProblemError as problem:
            raise self._problem(endpoint, str(problem), "correct the paginator") from None

    def _asked(self, where: str, turn: Turn, endpoint: Endpoint) -> Asked:
        base = self._client.base_url
        if turn.url is not None:
            return Asked(where, endpoint.method, urljoin(f"{base}/", turn.url), {}, endpoint.body)
        path = fill_path(endpoint.path, turn.variables).lstrip("/")
        body = fill(endpoint.body, turn.variables) if endpoint.body is not None else None
        url = f"{base}/{path}" if path else base
        return Asked(where or "/", endpoint.method, url, fill(endpoint.params, turn.variables), body)

    def _records(self, got: Got, endpoint: Endpoint) -> list[Record]:
        if got.records is not None:
            return got.records
        if endpoint.records_optional:
            return []
        raise self._problem(endpoint, f"the answer has no list at {endpoint.records or 'its top'}", "correct records")

    def _refuse_circle(self, asked: Asked, before: set[bytes]) -> None:
        digest = _digest([asked.url, json.dumps([asked.params, asked.body], sort_keys=True, default=str)])
        if digest in before:
            raise PermanentError(
                Problem(asked.where, "the pages lead back to one that was read", "correct the paginator")
            )
        before.add(digest)

    def _problem(self, endpoint: Endpoint, what: str, fix: str) -> PermanentError:
        return PermanentError(Problem(f"{self._plan.where} ({endpoint.path})", what, fix))


def _digest(texts: list[str]) -> bytes:
    hasher = hashlib.sha256()
    for text in texts:
        hasher.update(text.encode("utf-8", "backslashreplace"))
        hasher.update(b"\x1f")
    return hasher.digest()[:16]
