"""XML: the elements at one path are the rows. No DTD, no entities, nothing from outside, and bounded in every way.

From the row lead `name`, `customer/email`, `@id`, `customer/@id` downwards, `../@id` and `../customer/email` to what
holds the row. A path that occurs several times in a row gives a JSON list. Name spaces are left out of names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import DefusedXMLParser  # type: ignore[import-untyped]

from perennial.contracts.sources import FileFormat
from perennial.sources.formats.rows import FormatError, RowSink

_CHUNK = 1 << 16
_MOST_DEEP, _MOST_NAMES = 100, 10_000
_ROW_CHARACTERS = 1 << 24
_TAG_BYTES = 1 << 22  # of one tag with its attributes, which the parser keeps until it ends
_MOST_WAITING = 20_000  # rows that wait for a value behind them in what holds them
_AGAIN = "export it again as well-formed XML"


def read_xml(path: Path, form: FileFormat, writer: RowSink) -> None:
    """Write every row of the file. Raises FormatError where it is not XML of this shape."""
    rows = _Rows(form.row or "", writer)
    parser = DefusedXMLParser(target=rows, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    rows.parser = parser.parser
    seen = 0
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                seen += len(chunk)
                parser.feed(chunk)
                if seen - max(rows.parser.CurrentByteIndex, 0) > _TAG_BYTES:
                    raise FormatError("one tag is longer than 4 MiB", _AGAIN, line=rows.line)
        if not seen:
            raise FormatError("the file is empty", "send it again; a day without rows has an element around them")
        parser.close()
    except ParseError as error:
        raise FormatError(f"not well-formed XML: {error}", _AGAIN, line=error.position[0]) from None
    except DefusedXmlException as error:
        kind = type(error).__name__.replace("Forbidden", "")
        raise FormatError(
            f"it holds {'a DTD' if kind == 'DTD' else 'an entity or an external reference'}, which is never read",
            "export it without a document type (<!DOCTYPE ...>)",
            line=rows.line,
        ) from None
    except (UnicodeError, LookupError, ValueError) as error:
        raise FormatError(f"its encoding cannot be read: {error}", "export it in UTF-8", line=rows.line) from None
    rows.write(final=True)


@dataclass
class _Holder:
    """An open element that is no part of a row: what is wanted of it from the rows inside."""

    values: dict[str, Any] = field(default_factory=dict)
    is_closed: bool = False


@dataclass
class _Waiting:
    """A row, and what it still lacks: the wanted name, the holder and the path from there."""

    line: int
    values: dict[str, Any]
    lacks: list[tuple[str, _Holder, str]]

    @property
    def is_whole(self) -> bool:
        return all(holder.is_closed or path in holder.values for _name, holder, path in self.lacks)


class _Rows:
    """The parser's target."""

    parser: Any

    def __init__(self, row: str, writer: RowSink) -> None:
        self.writer = writer
        self._is_absolute, self._row = row.startswith("/"), [part for part in row.split("/") if part]
        above = [name for name in writer.wanted if name.startswith("../")]
        self._above = [(name, name.count("../"), name.rsplit("../", 1)[-1]) for name in above]
        self._above_paths = {path for _name, _up, path in self._above}
        self._stack: list[str] = []
        self._holders: list[_Holder] = []
        self._names: set[str] = set()
        self._inside: list[str] = []  # the path within the row
        self._texts: list[list[str]] = []
        self._has_children: list[bool] = []
        self._values: dict[str, Any] | None = None  # of the row that is open
        self._characters = 0
        self._row_line = 0
        self._queue: deque[_Waiting] = deque()

    @property
    def line(self) -> int:
        """The line that the parser has come to."""
        return int(self.parser.CurrentLineNumber)

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        name = self._known(_local(tag))
        self._stack.append(name)
        if len(self._stack) > _MOST_DEEP:
            raise FormatError(f"it is nested more than {_MOST_DEEP} deep", "export it flatter", line=self.line)
        if self._has_children:
            self._has_children[-1] = True
        self._has_children.append(False)
        self._texts.append([])
        own = {"@" + self._known(_local(key)): value for key, value in attributes.items()}
        if self._values is not None:
            self._inside.append(name)
            for key, value in own.items():
                self._keep("/".join([*self._inside, key]), value)
        elif self._is_row():
            self._values, self._row_line, self._characters = {}, self.line, 0
            for key, value in own.items():
                self._keep(key, value)
        else:
            self._holders.append(_Holder())
            for key, value in own.items():
                self._note_above(key, value)

    def data(self, text: str) -> None:
        if self._texts and (self._values is not None or self._above_paths):
            self._count(len(text))
            self._texts[-1].append(text)

    def end(self, _tag: str) -> None:
        text = "".join(self._texts.pop()).strip()
        has_children = self._has_children.pop()
        if self._values is None:
            if not has_children:
                self._note_above("", text)
            self._characters = 0
            self._holders.pop().is_closed = True
        elif self._inside:
            if text or not has_children:
                self._keep("/".join(self._inside), text or None)
            self._inside.pop()
        else:
            if text:
                self._keep(".", text)
            self._end_row(self._values)
        self._stack.pop()
        if self._values is None:
            self.write()

    def close(self) -> None:
        """The document has ended."""

    def write(self, *, final: bool = False) -> None:
        """Write the rows that lack nothing any more, in their order."""
        while self._queue and (final or self._queue[0].is_whole):
            one = self._queue.popleft()
            values = one.values | {name: holder.values.get(path) for name, holder, path in one.lacks}
            self.writer.add(one.line, values)

    def _is_row(self) -> bool:
        return self._stack == self._row if self._is_absolute else self._stack[-len(self._row) :] == self._row

    def _end_row(self, values: dict[str, Any]) -> None:
        lacks = [(name, self._holders[-up], path) for name, up, path in self._above if up <= len(self._holders)]
        self._queue.append(_Waiting(self._row_line, values, lacks))
        self._values = None
        self.write()
        if len(self._queue) > _MOST_WAITING:
            name = next(name for name, holder, path in self._queue[0].lacks if path not in holder.values)
            raise FormatError(
                f"{name} stands behind more than {_MOST_WAITING:,} rows, or nowhere",
                f"have it written before them, or take {name} out of the columns",
                line=self.line,
            )

    def _keep(self, path: str, value: str | None) -> None:
        values = self._values
        if values is None:
            return
        self._count(len(value or ""))
        if path not in values:
            values[path] = value
        elif isinstance(values[path], list):
            values[path].append(value)
        else:
            values[path] = [values[path], value]

    def _count(self, characters: int) -> None:
        self._characters += characters + 1
        if self._characters > _ROW_CHARACTERS:
            raise FormatError(
                "one row is longer than 16 MiB", "see that `row:` names the right element", line=self.line
            )

    def _note_above(self, key: str, value: str) -> None:
        """Keep the value for the rows of each open element from which its path is wanted."""
        for index, holder in enumerate(self._holders):
            parts = [*self._stack[index + 1 :], key] if key else self._stack[index + 1 :]
            path = "/".join(parts)
            if path in self._above_paths:
                holder.values.setdefault(path, value or None)

    def _known(self, name: str) -> str:
        if name not in self._names:
            if len(self._names) >= _MOST_NAMES:
                raise FormatError(f"it has more than {_MOST_NAMES:,} names of elements", _AGAIN, line=self.line)
            self._names.add(name)
        return name


def _local(tag: str) -> str:
    return tag.rsplit("}", 1)[-1]
