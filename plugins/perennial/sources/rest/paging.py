"""How one page leads to the next: pure, from the answer alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from perennial.sources.rest.model import (
    CursorPages,
    HeaderLink,
    JsonLink,
    NumberedPages,
    OffsetPages,
    Paginator,
    SinceIdPages,
    SinglePage,
)
from perennial.sources.rest.paths import resolve

_LINK = re.compile(r'<([^<>]*)>\s*((?:;\s*[\w!#$&+.^`|~-]+\*?\s*=\s*(?:"[^"]*"|[^\s;,"]*)\s*)*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]*))', re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What a page's answer tells: headers (lower case), the body without its records, the values of its records."""

    headers: Mapping[str, str]
    envelope: Any
    values: list[Any]


@dataclass(frozen=True)
class Turn:
    """What the next request sends: values for the names in braces, or a whole address."""

    variables: dict[str, Any] = field(default_factory=dict)
    url: str | None = None


class PagesProblemError(ValueError):
    """The answers do not page as the definition says."""


def first_turn(paginator: Paginator) -> Turn:
    """The first page."""
    variables: dict[str, Any] = {}
    if not isinstance(paginator, SinglePage | JsonLink | HeaderLink):
        variables["limit"] = paginator.limit
    if isinstance(paginator, NumberedPages):
        variables["page"] = paginator.first
    if isinstance(paginator, OffsetPages):
        variables["offset"] = 0
    if isinstance(paginator, SinceIdPages):
        variables["last"] = paginator.start
    return Turn(variables)


def next_turn(paginator: Paginator, turn: Turn, answer: Answer) -> Turn | None:
    """The page after `turn`, or None when it was the last. Raises PagesProblemError."""
    match paginator:
        case SinglePage():
            return None
        case JsonLink() | HeaderLink():
            url = _link(paginator, answer)
            return Turn(turn.variables, url) if url else None
        case OffsetPages():
            return _next_offset(paginator, turn, answer)
        case NumberedPages():
            return _next_number(paginator, turn, answer)
        case CursorPages():
            return _next_cursor(paginator, turn, answer)
        case SinceIdPages():
            return _next_since_id(paginator, turn, answer)


def total_of(paginator: Paginator, answer: Answer) -> int | None:
    """How many records there are by the answer, where pages are counted and it tells. Raises PagesProblemError."""
    total = None
    if isinstance(paginator, OffsetPages) and paginator.total:
        total = resolve(answer.envelope, paginator.total)
    if isinstance(paginator, NumberedPages) and paginator.total_header:
        total = answer.headers.get(paginator.total_header.lower())
    return None if total is None else _whole_number(total, "the total")


def links_in(header: str) -> Iterator[tuple[str, str]]:
    """Address and relation of each link of a `Link` header; a link of two relations comes twice."""
    for match in _LINK.finditer(header):
        rel = _REL.search(match[2])
        for one in (rel[1] or rel[2] or "").split() if rel else []:
            yield match[1], one


def _link(paginator: JsonLink | HeaderLink, answer: Answer) -> str | None:
    if isinstance(paginator, JsonLink):
        url = resolve(answer.envelope, paginator.next)
        return str(url) if url else None
    return next((url for url, rel in links_in(answer.headers.get("link", "")) if rel == paginator.rel), None)


def _next_offset(paginator: OffsetPages, turn: Turn, answer: Answer) -> Turn | None:
    if not answer.values:
        return None
    offset = turn.variables["offset"] + len(answer.values)
    total = resolve(answer.envelope, paginator.total) if paginator.total else None
    if total is not None and offset >= _whole_number(total, "the total"):
        return None
    return Turn(turn.variables | {"offset": offset})


def _next_number(paginator: NumberedPages, turn: Turn, answer: Answer) -> Turn | None:
    if not answer.values:
        return None
    page = turn.variables["page"] + 1
    header = paginator.total_pages_header
    last = answer.headers.get(header.lower()) if header else None
    if last is not None and page >= _whole_number(last, "the number of pages") + paginator.first:
        return None
    return Turn(turn.variables | {"page": page})


def _next_cursor(paginator: CursorPages, turn: Turn, answer: Answer) -> Turn | None:
    cursor = resolve(answer.envelope, paginator.next)
    more = resolve(answer.envelope, paginator.more) if paginator.more else True
    if cursor is None or cursor == "" or more is False:
        return None
    if isinstance(cursor, dict | list):
        raise PagesProblemError("the next cursor is no text or number")
    return Turn(turn.variables | {"cursor": cursor})


def _next_since_id(paginator: SinceIdPages, turn: Turn, answer: Answer) -> Turn | None:
    if not answer.values:
        return None
    last = resolve(answer.values[-1], paginator.field)
    if last is None:
        raise PagesProblemError(f"the last record has no {paginator.field}")
    return Turn(turn.variables | {"last": last})


def _whole_number(value: Any, what: str) -> int:
    try:
        return int(value)
    except (ValueError, TypeError, OverflowError):
        raise PagesProblemError(f"{what} is no number") from None
