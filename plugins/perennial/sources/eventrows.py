"""From the body of an event to rows of a source entity: parsed with bounds, matched, one line of JSON for each row.

What an event holds is hostile (L23): its depth and what its rows come to are bounded, and what cannot be used is
refused with a reason that shows nothing of it (L22).
"""

from __future__ import annotations

import json
import threading
import time
from decimal import Decimal
from typing import Any

from perennial.contracts.connections import ARRIVAL, EventRead
from perennial.contracts.sources import SourceEntity
from perennial.core.errors import Problem, RowRejected

MAX_DEPTH = 32
MAX_ROWS_BYTES = 10_000_000  # of one event: a small event may not become gigabytes
_PARENT = "_event"
_MISSING = object()


def parse_events(body: bytes, where: str) -> list[dict[str, Any]]:
    """The JSON object of the body, or the objects of its list. Raises RowRejected with what is wrong."""
    try:
        found = json.loads(body, parse_float=_number, parse_constant=_refuse_constant)
    except UnicodeDecodeError:
        raise _refused(where, "the body is not UTF-8", "send JSON in UTF-8") from None
    except RecursionError:
        raise _too_deep(where) from None
    except json.JSONDecodeError as error:
        at = f"line {error.lineno} column {error.colno}"
        raise _refused(where, f"the body is not JSON ({error.msg} at {at})", "send one JSON object or list") from None
    except ValueError:
        raise _refused(where, "the body has a number that cannot be read", "send numbers as JSON has them") from None
    _refuse_deep(found, where)
    events = found if isinstance(found, list) else [found]
    if not all(isinstance(event, dict) for event in events):
        raise _refused(where, "the body is neither a JSON object nor a list of objects", "send an object per event")
    return events


class Arrivals:
    """Stamps for events in the order in which this process took them: nanoseconds, never the same twice."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> int:
        """The next stamp."""
        with self._lock:
            self._last = max(self._last + 1, time.time_ns())
            return self._last


def rows_of(event: dict[str, Any], entity: SourceEntity, where: str, *, arrival: int) -> list[bytes]:
    """The rows that the event holds for an entity, one line of JSON each; none when it does not match.

    With `records` a row is an item of that list, with the event's other fields (lists apart) under `_event`. `arrival`
    orders the events of a key where the contract names no version. Raises RowRejected when the list is not there, or
    when a row cannot be written as text.
    """
    reading = entity.events or EventRead()
    if any(_text(_at(event, path)) != wanted for path, wanted in reading.match.items()):
        return []
    stamp = {ARRIVAL: arrival} if entity.version == ARRIVAL else {}
    if reading.records is None:
        return [_line({**event, **stamp}, where)]
    found = _at(event, reading.records)
    items = [found] if isinstance(found, dict) else found
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        fix = "mend `records` in sources.yml, or the sender"
        raise _refused(where, f"field {reading.records!r} of the event is not a list of objects", fix)
    parent = {key: value for key, value in event.items() if not isinstance(value, list) and value is not found}
    rows, total = [], 0
    for item in items:
        rows.append(_line({**item, _PARENT: parent, **stamp}, where))
        total += len(rows[-1])
        if total > MAX_ROWS_BYTES:
            raise _refused(where, f"the event's rows come to more than {MAX_ROWS_BYTES:,} bytes", "send smaller events")
    return rows


def _line(row: dict[str, Any], where: str) -> bytes:
    try:
        text = json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise _refused(where, "a text of the event is half a character (a lone surrogate)", "send UTF-8") from None
    if b"\\u0000" in text:
        raise _refused(where, "a text of the event holds the character NUL", "send text without it")
    return text


def _at(event: Any, path: str) -> Any:
    """The value at a dotted path; a field whose own name has dots is found first."""
    if isinstance(event, dict) and path in event:
        return event[path]
    for key in path.split("."):
        if not isinstance(event, dict) or key not in event:
            return _MISSING
        event = event[key]
    return event


def _text(value: Any) -> str | None:
    """A scalar as sources.yml would write it; None for what is no scalar."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (str, int, float)) else None


def _number(text: str) -> float | str:
    """A number as a double where that is exact enough to give the same digits again, else as its text: money."""
    value = float(text)
    return value if Decimal(repr(value)) == Decimal(text) else text


def _refuse_constant(name: str) -> float:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _refuse_deep(found: Any, where: str) -> None:
    level = [found]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for value in level:
            inner += value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        level = [value for value in inner if isinstance(value, (dict, list))]
        if not level:
            return
    raise _too_deep(where)


def _too_deep(where: str) -> RowRejected:
    return _refused(where, f"the body is nested deeper than {MAX_DEPTH} levels", "send flatter JSON")


def _refused(where: str, message: str, fix: str) -> RowRejected:
    return RowRejected(Problem(where, message, fix))
