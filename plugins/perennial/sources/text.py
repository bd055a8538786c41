"""Opening a landed text, packed or not, with its line ends made one, and finding the line of each of its records."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from perennial.contracts.sources import FileFormat


@contextmanager
def open_text(path: Path, form: FileFormat, *, is_gzip: bool, encoding: str | None = None) -> Iterator[TextIO]:
    """The file as text; every kind of line end is read as a line feed."""
    codec = encoding or form.encoding
    if codec.lower().replace("_", "-") in {"utf-8", "utf8"}:
        codec = "utf-8-sig"
    if is_gzip:
        with gzip.open(path, "rt", encoding=codec) as stream:
            yield stream
    else:
        with path.open(encoding=codec) as stream:
            yield stream


def record_lines(stream: TextIO, form: FileFormat) -> Iterator[tuple[int, int, bool]]:
    """For each record behind the header: its number (the header is 1), the line it begins on, whether it is blank.

    Raises csv.Error where Python's reader gives up (a field of more than 128 KiB).
    """
    reader = csv.reader(stream, delimiter=form.delimiter, quotechar=form.quote)
    next(reader, None)
    start = reader.line_num + 1
    for number, row in enumerate(reader, start=2):
        yield number, start, not row
        start = reader.line_num + 1
