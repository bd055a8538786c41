"""Answers as records, each with its own text: numbers are landed as the vendor wrote them, digit for digit."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from json import decoder
from typing import Any

from perennial.sources.rest.paths import Step, steps_of

_STRING: Any = decoder.scanstring  # type: ignore[attr-defined]  # what json itself reads strings by
_BLANK = " \t\r\n"
_LONGEST_INTEGER = 400  # digits; Python refuses to read far longer ones


class NotAnAnswerError(ValueError):
    """The body is not the JSON that the definition says; the message holds nothing of the body."""


@dataclass(frozen=True)
class Record:
    """One record: its JSON text on one line, and its value (numbers as int or Decimal)."""

    text: str
    value: Any


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else digits


def _constant(name: str) -> Any:
    raise NotAnAnswerError(f"it holds {name}, which is no JSON")


_DECODER = json.JSONDecoder(parse_float=Decimal, parse_int=_integer, parse_constant=_constant)


def split(body: bytes, path: str) -> tuple[Any, list[Record] | None]:
    """The answer without its records, and the records at `path`: None when there is nothing at that path.

    One object in the place of a list is one record. Raises NotAnAnswerError.
    """
    try:
        text = body.decode("utf-8-sig")
        envelope, records, end = _walk(text, _skip(text, 0), steps_of(path))
        if _skip(text, end) != len(text):
            raise NotAnAnswerError("something follows the JSON")
    except UnicodeDecodeError:
        raise NotAnAnswerError("it is not UTF-8 text") from None
    except RecursionError:
        raise NotAnAnswerError("it is nested too deep") from None
    except json.JSONDecodeError as error:
        raise NotAnAnswerError(f"it is not JSON from character {error.pos} on") from None
    return envelope, records


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _BLANK:
        at += 1
    return at


def _walk(text: str, at: int, steps: tuple[Step, ...]) -> tuple[Any, list[Record] | None, int]:
    if not steps:
        return _records(text, at)
    if text[at : at + 1] != "{":
        value, end = _decode(text, at)
        return value, None, end
    return _object(text, at, steps)


def _object(text: str, at: int, steps: tuple[Step, ...]) -> tuple[dict[str, Any], list[Record] | None, int]:
    found: dict[str, Any] = {}
    records: list[Record] | None = None
    at = _skip(text, at + 1)
    while text[at : at + 1] != "}":
        if text[at : at + 1] != '"':
            raise json.JSONDecodeError("", text, at)
        name, at = _STRING(text, at + 1, True)  # noqa: FBT003 - the standard library's
        at = _expect(text, _skip(text, at), ":")
        if name == steps[0]:
            found[name], records, at = _walk(text, at, steps[1:])
        else:
            found[name], at = _decode(text, at)
        at = _next_item(text, at, "}")
    return found, records, at + 1


def _records(text: str, at: int) -> tuple[Any, list[Record] | None, int]:
    """The list (or the one object) at `at`; null stands for no list."""
    if text[at : at + 1] != "[":
        value, end = _decode(text, at)
        return None, ([_record(text, at, end, value)] if isinstance(value, dict) else None), end
    records: list[Record] = []
    at = _skip(text, at + 1)
    while text[at : at + 1] != "]":
        value, end = _decode(text, at)
        if not isinstance(value, dict):
            raise NotAnAnswerError("an item of the list of records is no object")
        records.append(_record(text, at, end, value))
        at = _next_item(text, end, "]")
    return None, records, at + 1


def _record(text: str, start: int, end: int, value: Any) -> Record:
    # Within a string a line end must be escaped, so that those here lie between values.
    return Record(text[start:end].replace("\r", " ").replace("\n", " "), value)


def _decode(text: str, at: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, at)
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        raise error if isinstance(error, NotAnAnswerError) else NotAnAnswerError("a number is not one") from None


def _expect(text: str, at: int, char: str) -> int:
    if text[at : at + 1] != char:
        raise json.JSONDecodeError("", text, at)
    return _skip(text, at + 1)


def _next_item(text: str, at: int, closing: str) -> int:
    """Behind an item: at the next one, or at the closing bracket; a comma before the bracket is no JSON."""
    at = _skip(text, at)
    if text[at : at + 1] == closing:
        return at
    at = _expect(text, at, ",")
    if text[at : at + 1] == closing:
        raise json.JSONDecodeError("", text, at)
    return at


def with_fields(text: str, fields: dict[str, Any]) -> str:
    """The object's text with more names behind its own; their values are scalars."""
    if not fields:
        return text
    added = ",".join(f"{json.dumps(name)}:{_scalar(value)}" for name, value in fields.items())
    head = text.rstrip()[:-1].rstrip()
    return f"{head}{'' if head == '{' else ','}{added}}}"


def _scalar(value: Any) -> str:
    if isinstance(value, Decimal):
        return str(value)
    return "null" if isinstance(value, dict | list) else json.dumps(value, ensure_ascii=False)


def content_hash(record: Record, ignore: Iterable[str]) -> bytes:
    """16 bytes that change when the record does, whatever the order of its names."""
    left_out = set(ignore)
    value = {name: item for name, item in record.value.items() if name not in left_out}
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).digest()[:16]
