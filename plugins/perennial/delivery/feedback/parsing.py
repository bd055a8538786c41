"""What the parsers of all vendors share: a body is hostile until a schema has passed it (L23).

Each item of a body is judged alone: one that does not fit is told with its place and field, and the others go on. No
sentence repeats what stood in the body (L22).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from perennial.core.errors import Problem, RowRejected
from perennial.core.ids import digest_of
from perennial.delivery.tools.records import FeedbackEvent, FeedbackKind

MAX_EVENTS = 10_000
_MAX_PROBLEMS = 20
_DETAIL = 200
_TITLE = 160
_MILLISECONDS = 100_000_000_000  # a unix time above it is told in thousandths
_FIRST_YEAR, _LAST_YEAR = 1990, 2200
_ADDRESS_LIKE = re.compile(r"[^\s<>@\"',;]+@[^\s<>@\"',;]+")
_DIGITS = re.compile(r"\+?\d[\d ().-]{6,}\d")


class Item(BaseModel):
    """One event of a body as a vendor writes it; what we do not read may be there and is not looked at."""

    model_config = ConfigDict(extra="ignore", frozen=True, populate_by_name=True)


def _moment(value: Any) -> Any:
    """Unix seconds, thousandths, or ISO 8601; a moment without a zone is UTC."""
    if isinstance(value, str) and re.fullmatch(r"\d{9,13}(\.\d+)?", value):
        value = float(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 < value < _MILLISECONDS * 100:
            raise ValueError("not a moment")
        return datetime.fromtimestamp(value / 1000 if value > _MILLISECONDS else value, UTC)
    if not isinstance(value, str):
        raise ValueError("not a moment")
    found = datetime.fromisoformat(value.strip().replace(" +", "+"))
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError("not a moment of these days")
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def _clean(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("not a text")
    return "".join(sign for sign in value if sign.isprintable()).strip()


Moment = Annotated[datetime, BeforeValidator(_moment)]
Text = Annotated[str, BeforeValidator(_clean)]
Address = Annotated[str, BeforeValidator(_clean), Field(min_length=3, max_length=320, pattern=r"^[^\s<>,;]+$")]
Key = Annotated[str, BeforeValidator(lambda value: _clean(str(value))), Field(max_length=400)]


@dataclass(frozen=True)
class Parsed:
    """What a body held: events, items that nothing follows from (`ignored`), and sentences about what does not fit."""

    events: tuple[FeedbackEvent, ...] = field(default=(), repr=False)
    ignored: int = 0
    refused: int = 0
    problems: tuple[str, ...] = ()


_Model = TypeVar("_Model", bound=Item)


def read_json(body: bytes) -> Any:
    """The JSON of a body. Raises RowRejected for anything else; nothing of it is repeated."""
    try:
        return json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise RowRejected(Problem("body", "is not JSON", "send application/json in UTF-8")) from None


def _no_constant(_name: str) -> Any:
    raise ValueError("NaN and Infinity are not JSON")


def read_form(body: bytes) -> dict[str, str]:
    """The fields of a form; `data[merges][FNAME]` keeps its brackets. Raises RowRejected for anything else."""
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1_000, errors="strict")
    except (ValueError, UnicodeDecodeError):
        raise RowRejected(Problem("body", "is no form", "send application/x-www-form-urlencoded in UTF-8")) from None
    return dict(pairs)


def items_of(found: Any) -> list[Any]:
    """The items of a body: itself, or those of a list. Raises RowRejected when there are too many."""
    items = found if isinstance(found, list) else [found]
    if len(items) > MAX_EVENTS:
        raise RowRejected(Problem("body", f"holds more than {MAX_EVENTS:,} events", "send fewer at once"))
    return items


def each(
    items: Iterable[Any], model: type[_Model], events_of: Callable[[_Model], Iterable[FeedbackEvent] | None]
) -> Parsed:
    """The events of each item that the schema passes; `events_of` gives None for one that nothing follows from."""
    events: list[FeedbackEvent] = []
    problems: list[str] = []
    ignored = refused = 0
    for place, item in enumerate(items, 1):
        try:
            found = events_of(model.model_validate(item))
        except ValidationError as error:
            refused += 1
            problems += [_sentence(place, one) for one in error.errors(include_input=False, include_url=False)[:3]]
            continue
        ignored += found is None
        events += found or ()
    return Parsed(tuple(events), ignored, refused, tuple(problems[:_MAX_PROBLEMS]))


def _sentence(place: int, error: Mapping[str, Any]) -> str:
    where = ".".join(
        str(part) for part in error["loc"] if not isinstance(part, str) or re.fullmatch(r"[\w $-]{1,60}", part)
    )
    what = "is missing" if error["type"] == "missing" else "is not what the vendor's format says"
    return f"event {place}: {where or 'it'} {what}"


def event(
    kind: FeedbackKind, at: datetime, address: str, *, own_id: str | None = None, detail: str | None = None, **more: Any
) -> FeedbackEvent:
    """An event; without an id of the tool's own it gets a digest of what makes it."""
    title, message_id = (_printable(more.pop(name, None)) for name in ("list_title", "message_id"))
    made = own_id or digest_of([kind, at.isoformat(), address.lower(), title, message_id], length=32)
    return FeedbackEvent(
        event_id=made,
        kind=kind,
        at=at,
        address=address,
        list_title=title[:_TITLE] or None,
        message_id=message_id[:_TITLE] or None,
        detail=plain(detail),
        **more,
    )


def _printable(text: str | None) -> str:
    return "".join(sign for sign in text or "" if sign.isprintable())


def plain(text: str | None) -> str | None:
    """A text that may name a recipient, without addresses and long numbers, cut short."""
    if not text:
        return None
    printable = _printable(text)[: _DETAIL * 4]
    return _DIGITS.sub("(number)", _ADDRESS_LIKE.sub("(address)", printable))[:_DETAIL]


def link(url: str | None) -> str | None:
    """Of a link that was clicked host and path: what stands behind them often names the recipient."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return plain(f"{parts.hostname or ''}{parts.path}")


def our_title(*names: str | None) -> str | None:
    """The first name that looks like a list of ours (`campaign__channel` and perhaps a date), else the first."""
    given = [name for name in names if name]
    return next((name for name in given if "__" in name), given[0] if given else None)
