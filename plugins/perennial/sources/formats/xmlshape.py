"""The shape of an XML file: which of its elements is likely a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from xml.etree.ElementTree import ParseError

from defusedxml import DefusedXmlException  # type: ignore[import-untyped]
from defusedxml.ElementTree import DefusedXMLParser  # type: ignore[import-untyped]

from perennial.sources.formats.rows import FormatError

_MOST_DEEP = 100


class _Shape:
    """Counts the paths of the elements that hold something, the deepest of those that repeat is a row."""

    def __init__(self) -> None:
        self.stack: list[str] = []
        self.counts: Counter[str] = Counter()
        self.holding: set[str] = set()
        self.leaves: dict[str, None] = {}  # elements and attributes

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        if self.stack:
            self.holding.add("/".join(self.stack))
        self.stack.append(tag.rsplit("}", 1)[-1])
        if len(self.stack) > _MOST_DEEP:
            raise FormatError(f"it is nested more than {_MOST_DEEP} deep", "export it flatter")
        path = "/".join(self.stack)
        self.counts[path] += 1
        self.leaves.update(dict.fromkeys([path, *(f"{path}/@{name.rsplit('}', 1)[-1]}" for name in attributes)]))
        if attributes:
            self.holding.add(path)

    def end(self, _tag: str) -> None:
        self.stack.pop()

    def data(self, _text: str) -> None:
        """Texts say nothing of the shape."""

    def close(self) -> None:
        """The head has ended."""


def likeliest_row(head: bytes) -> tuple[str, list[str]]:
    """The path of the element that is likely a row, and the paths from it to values in what holds it.

    Of the elements that hold others it is the one that occurs most often.
    """
    shape = _Shape()
    parser = DefusedXMLParser(target=shape, forbid_dtd=True)
    try:
        parser.feed(head)
    except ParseError as error:
        if not shape.counts:
            raise FormatError(f"not well-formed XML: {error}", "export it again as well-formed XML") from None
    except DefusedXmlException:
        raise FormatError("it holds a DTD or an entity, which is never read", "export it without <!DOCTYPE>") from None
    rows = [path for path in shape.holding if "/" in path]
    if not rows:
        raise FormatError("no element holds others", "export rows with a value in each element or attribute")
    row = max(rows, key=lambda path: (shape.counts[path], path.count("/"), path))
    return row, list(_above(row, shape))


def _above(row: str, shape: _Shape) -> Iterator[str]:
    """`../date`, `../@id`: what stands beside the row, or in an element around it."""
    parts = row.split("/")
    for leaf in shape.leaves:
        holder, _, name = leaf.rpartition("/")
        if leaf not in shape.holding and leaf != row and f"{row}/".startswith(f"{holder}/") and holder not in {"", row}:
            yield "../" * (len(parts) - holder.count("/") - 1) + name
