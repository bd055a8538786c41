"""One source entity, read from its first page to its last: what is news goes into files, and how far is told.

At least once, never less: the cursor of a file holds once that file is landed, what is remembered is written down after
it, and what was read twice is known by its content.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

from perennial.core import clock
from perennial.core.errors import ContractViolation, PermanentError, Problem
from perennial.sources.fetching import FetchedFile, Request
from perennial.sources.rest.client import Client
from perennial.sources.rest.definitions import Plan
from perennial.sources.rest.listing import Listing
from perennial.sources.rest.memory import Memory
from perennial.sources.rest.model import Deletes
from perennial.sources.rest.records import Record, content_hash
from perennial.sources.rest.since import BadMarkError, Mark, back, from_json, later, mark_of, to_json, written
from perennial.sources.rest.writing import FieldClashError, Writer, key_of, line_of, tombstone

_AHEAD = timedelta(days=1)  # a mark further in the future is a mistake, and never a place to go on from


class Reading:
    """One fetch of one source entity."""

    def __init__(self, request: Request, plan: Plan, client: Client, memory: Memory) -> None:
        self._request, self._plan, self._client, self._memory = request, plan, client, memory
        self._incremental, self._deletes = plan.endpoint.incremental, plan.endpoint.deletes
        self._cursor: dict[str, Any] = dict(request.cursor)
        self._writer = Writer(request.scratch, request.today, int(self._cursor.get("files", 0)))
        self._limit = clock.now() + _AHEAD
        self._far_ahead = 0
        self._mark = later(from_json(self._cursor.get("since")), from_json(json.loads(memory.mark("since") or "{}")))
        self._whole_on = max(self._cursor.get("whole_on", ""), memory.mark("whole_on") or "")
        self._whole = self._is_whole()

    def files(self) -> Iterator[FetchedFile]:
        """Files of what is news. Raises as `Fetcher.fetch` does."""
        try:
            yield from self._changes()
            if self._whole and self._deletes is not None:
                yield from self._deletions(self._deletes)
            yield from self._last()
        finally:
            self._writer.close()

    def _is_whole(self) -> bool:
        """Is everything listed this time, so that what is missing is gone?"""
        if self._incremental is None or self._mark is None:
            return True
        if self._deletes is None or not self._whole_on:
            return self._deletes is not None
        return (self._request.today - date.fromisoformat(self._whole_on)).days >= self._deletes.every_days

    def _changes(self) -> Iterator[FetchedFile]:
        listing = Listing(self._plan, self._client)
        best: Mark | None = None
        for record in listing.records({"since": self._since()}):
            key, mark = self._key(record), self._mark_of(record)
            content = content_hash(record, self._plan.endpoint.ignore)
            if self._memory.is_news(key, content):
                if self._writer.is_full or self._writer.has(key):
                    yield from self._landed(self._half_way(best))  # commits: only then is this record noted
                self._writer.add(key, self._line(record))
            self._memory.note(key, content)
            best = self._later(best, mark)
        if listing.steady:
            self._mark = later(self._mark, best)
            return
        self._note("records went while it was read: the same range is read again next time")
        self._whole = False

    def _since(self) -> str | int | None:
        if self._incremental is None:
            return None
        if self._mark is None or self._whole:
            return self._incremental.start
        return written(back(self._mark, self._incremental), self._incremental)

    def _key(self, record: Record) -> str:
        key = key_of(record, self._plan.endpoint)
        if key is None:
            what = f"a record has no {' and '.join(self._plan.endpoint.key)}, which is its key"
            raise PermanentError(Problem(self._plan.where, what, "correct endpoint.key"))
        return key

    def _line(self, record: Record) -> str:
        try:
            return line_of(record, self._plan.endpoint)
        except FieldClashError as problem:
            raise PermanentError(Problem(self._plan.where, str(problem), "correct endpoint.fields")) from None

    def _mark_of(self, record: Record) -> Mark | None:
        if self._incremental is None:
            return None
        try:
            mark = mark_of(record, self._incremental)
        except BadMarkError as problem:
            raise PermanentError(Problem(self._plan.where, str(problem), "correct incremental.reads")) from None
        if isinstance(mark, datetime) and mark > self._limit:
            self._far_ahead += 1
            return None
        return mark

    def _later(self, best: Mark | None, mark: Mark | None) -> Mark | None:
        found = later(best, mark)
        if self._incremental is not None and self._incremental.ascending and mark is not None and found != mark:
            what = f"the records are not in the order of {self._incremental.field}"
            raise PermanentError(
                Problem(self._plan.where, what, "sort by it in params, or remove incremental.ascending")
            )
        return found

    def _note(self, text: str) -> None:
        self._request.notes.append(f"{self._plan.where}: {text}")

    def _half_way(self, best: Mark | None) -> Mark | None:
        """Where the next fetch may go on after a file: only records that come in order let it go on in between."""
        ordered = self._incremental is not None and self._incremental.ascending
        return later(self._mark, best) if ordered else self._mark

    def _landed(self, mark: Mark | None) -> Iterator[FetchedFile]:
        """Hand over the file; behind the yield it is landed, and what is remembered may be written down."""
        yield self._writer.take(self._cursor_at(mark))
        self._memory.commit()

    def _cursor_at(self, mark: Mark | None) -> dict[str, Any]:
        cursor = {**self._cursor, "files": self._writer.number + 1}
        if mark is not None:
            cursor["since"] = to_json(mark)
        if self._whole_on:
            cursor["whole_on"] = self._whole_on
        return cursor

    def _last(self) -> Iterator[FetchedFile]:
        """The rest, with the cursor that holds after the whole. Nothing new yields nothing."""
        if self._whole:
            self._whole_on = self._request.today.isoformat()
        if self._writer.rows:
            yield self._writer.take(self._cursor_at(self._mark))
        if self._far_ahead:
            self._note(f"{self._far_ahead} records say that they were changed in the future; that is not gone by")
        if self._mark is not None:
            self._memory.set_mark("since", json.dumps(to_json(self._mark)))
        self._memory.set_mark("whole_on", self._whole_on)
        self._memory.commit()

    def _deletions(self, deletes: Deletes) -> Iterator[FetchedFile]:
        unseen, size = self._memory.unseen(), self._memory.size()
        kept = from_json(self._cursor.get("since"))
        nobody_is_left = 0 < size == unseen and deletes.max_share < 1
        if nobody_is_left or unseen > max(deletes.least, deletes.max_share * size):
            if self._writer.rows:
                yield from self._landed(kept)
            what = f"{unseen} of {size} records are missing from the listing: nothing is deleted (L11)"
            fix = "see whether the account shows them all; if they are gone, raise deletes.max_share for one fetch"
            raise ContractViolation(Problem(self._plan.where, what, fix))
        self._memory.miss()
        for key in self._memory.missing(times=1 if deletes.confirm else 2):
            if deletes.confirm and Listing(self._plan, self._client).has(deletes.confirm, key):
                continue
            if self._writer.is_full:
                yield from self._landed(kept)
            self._writer.add(key, tombstone(key, self._plan.endpoint, self._request.entity))
            self._memory.forget(key)
