"""JSON lines: an object on each line. A line that is none goes to quarantine with its number, the others are read.

Numbers are kept as they were written. A path leads to a value: `customer.email`; with `row` the items of a list are the
rows, and `../id` is a value of what holds the list.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from perennial.contracts.sources import FileFormat
from perennial.sources import encodings
from perennial.sources.formats.rows import FormatError, Number, RowSink

_LINE_BYTES = 1 << 24
_MOST_DEEP = 64
_PIECE = 1 << 20
_BOM = b"\xef\xbb\xbf"


class _NoRowError(Exception):
    """Why a line is no row, said behind `the line cannot be read: `."""


def read_jsonl(path: Path, form: FileFormat, writer: RowSink) -> None:
    """Write every row of the file. Raises FormatError where the whole file is something else."""
    _refuse_other_things(path, form)
    decoder = _decoder()
    above = _above(writer.wanted)
    for number, line in _lines(path):
        if line is None:
            writer.reject(number, f"it is longer than {_LINE_BYTES:,} bytes", "")
            continue
        try:
            record = _record(decoder, line, form)
            rows = list(_rows(record, form.row, above))
        except _NoRowError as error:
            writer.reject(number, str(error), line.decode("utf-8", "replace"))
            continue
        for row in rows:
            writer.add(number, row)


def _refuse_other_things(path: Path, form: FileFormat) -> None:
    with path.open("rb") as stream:
        head = stream.read(4096)
    if not head.strip():
        return
    looks = encodings.by_mark(head)
    if looks and not looks.startswith("utf-8"):
        raise FormatError(
            f"the file looks like {looks}, not like {form.encoding} text with JSON in it",
            "export it as JSON lines in UTF-8",
            line=1,
        )
    first = head.removeprefix(_BOM).lstrip().splitlines()[0].strip()
    if first.startswith(b"[") or (first == b"{" and head.strip() != b"{"):
        raise FormatError(
            "a JSON document over several lines or a list, not one object on each line",
            "export it as JSON lines (one object on a line, no brackets around all of them)",
            line=1,
        )


def _lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Each line that is not blank with its number; None for one that is too long to be read."""
    with path.open("rb") as stream:
        number = 0
        while line := stream.readline(_LINE_BYTES):
            number += 1
            if number == 1:
                line = line.removeprefix(_BOM)
            if len(line) == _LINE_BYTES and not line.endswith(b"\n"):
                _skip_line(stream)
                yield number, None
            elif line.strip():
                yield number, line.rstrip(b"\r\n")


def _skip_line(stream: Any) -> None:
    while (piece := stream.readline(_PIECE)) and not piece.endswith(b"\n"):
        pass


def _decoder() -> json.JSONDecoder:
    def no_constant(name: str) -> NoReturn:
        raise _NoRowError(f"{name} is no JSON value")

    def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _value in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise _NoRowError(f"the key {twice[:60]!r} stands in it twice")
        return made

    return json.JSONDecoder(
        parse_float=Number, parse_int=Number, parse_constant=no_constant, object_pairs_hook=once_each
    )


def _record(decoder: json.JSONDecoder, line: bytes, form: FileFormat) -> dict[str, Any]:
    try:
        text = line.decode(form.encoding)
        record = decoder.decode(text)
        text.encode("utf-8")
    except UnicodeDecodeError as error:
        looks = encodings.by_sample(encodings.around(line, error.start))
        raise _NoRowError(f"its byte {error.start} is not {form.encoding}; it looks like {looks}") from None
    except json.JSONDecodeError as error:
        raise _NoRowError(f"it is not JSON from character {error.pos + 1} on: {error.msg}") from None
    except RecursionError:
        raise _NoRowError(f"it is nested more than {_MOST_DEEP} deep") from None
    if not isinstance(record, dict):
        raise _NoRowError("it is JSON, but not an object with keys")
    return record


Above = tuple[tuple[str, int, str], ...]  # wanted names that begin with ../: the name, how far up, the path there


def _above(wanted: tuple[str, ...]) -> Above:
    names = [name for name in wanted if name.startswith("../")]
    return tuple((name, name.count("../"), name.rsplit("../", 1)[-1]) for name in names)


def _rows(record: dict[str, Any], row: str | None, above: Above) -> Iterator[dict[str, Any]]:
    """The rows of one line: paths with their values."""
    if row is None:
        yield _flat(record)
    else:
        yield from _items([record], row.split("."), row, above)


def _items(holders: list[dict[str, Any]], keys: list[str], row: str, above: Above) -> Iterator[dict[str, Any]]:
    """The items of the list that `keys` lead to from the last holder; a list on the way holds lists."""
    found: Any = holders[-1]
    for index, key in enumerate(keys, start=1):
        if not isinstance(found, dict):
            raise _NoRowError(f"{row} is not a list in it")
        found = found.get(key)
        if found is None:
            return
        if isinstance(found, list) and index < len(keys):
            for item in found:
                yield from _items([*holders, _object(item, row)], keys[index:], row, above)
            return
    inherited = {name: _at(holders[-up], path) for name, up, path in above if up <= len(holders)}
    for item in found if isinstance(found, list) else [found]:
        yield _flat(_object(item, row)) | inherited


def _object(item: Any, row: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise _NoRowError(f"{row} holds something that is not an object with keys")
    return item


def _at(record: dict[str, Any], path: str) -> Any:
    found: Any = record
    for key in path.split("."):
        found = found.get(key) if isinstance(found, dict) else None
    return _checked(path, found, 0)


def _flat(record: dict[str, Any]) -> dict[str, Any]:
    """Every value by its dotted path; lists are values."""
    flat: dict[str, Any] = {}
    _flatten(record, "", flat, 0)
    return flat


def _flatten(record: dict[str, Any], before: str, flat: dict[str, Any], depth: int) -> None:
    if depth > _MOST_DEEP:
        raise _NoRowError(f"it is nested more than {_MOST_DEEP} deep")
    for key, value in record.items():
        path = before + key
        if isinstance(value, dict):
            _flatten(value, path + ".", flat, depth + 1)
        elif path in flat:
            raise _NoRowError(f"the path {path[:60]!r} stands in it twice")
        else:
            flat[path] = _checked(path, value, depth)


def _checked(path: str, value: Any, depth: int) -> Any:
    """The value, if it can be kept: no half characters and no NUL, which no table takes."""
    if depth > _MOST_DEEP:
        raise _NoRowError(f"it is nested more than {_MOST_DEEP} deep")
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise _NoRowError(f"{path[:60]!r} holds half a character (a lone surrogate)") from None
    if isinstance(value, str) and "\x00" in value:
        raise _NoRowError(f"{path[:60]!r} holds a NUL character")
    if isinstance(value, list):
        for item in value:
            _checked(path, item, depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            _checked(path, key, depth + 1)
            _checked(path, item, depth + 1)
    return value
