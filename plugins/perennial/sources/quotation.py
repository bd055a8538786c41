"""Quotation marks that nobody closed: what they swallow is no line of any count, so the file is refused (L1).

DuckDB makes one reject of all that such a mark swallows, be it a million lines. A few lines are kept as that one
reject, as a person left them in a cell; of more than one cell may hold the share of bad rows would say nothing.
"""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import duckdb

from perennial.contracts.sources import FileFormat, SourceEntity
from perennial.core.errors import Problem
from perennial.sources.inspection import Inspected
from perennial.sources.staging import groups

_MOST_LINES = 100
_MOST_BYTES = 1 << 20


def swallowed(
    connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected], contract: SourceEntity
) -> dict[str, Problem]:
    """By file name the first mark behind which more than 100 lines, or 1 MiB of lines, are rejected as one.

    To be asked once `judged` is there. Nothing is read of files of which each line is a row or a reject.
    """
    if contract.format.type != "csv":
        return {}
    by_path = {str(file.readable): file for file in files}
    found: dict[str, Problem] = {}
    for path, rejects in groupby(_rejects(connection, files), key=lambda reject: reject[0]):
        places = [(place, rows, rejected) for _path, place, rows, rejected in rejects]
        file = by_path[path]
        if places[0][1] + places[0][2] + 1 == file.lines:
            continue
        problem = _first_mark(file, [place for place, _rows, _rejected in places], contract.format)
        if problem is not None:
            found[file.file.name] = problem
    return found


def _rejects(connection: duckdb.DuckDBPyConnection, files: Sequence[Inspected]) -> list[tuple[str, int, int, int]]:
    """The path and the byte, from 0, of each reject, in order; beside it the rows and the rejected records of its file.

    Of a mark that is not closed DuckDB gives the byte of the mark (that of the line is wrong where the mark swallows
    its buffer), of all others that of the line.
    """
    parts = [
        f"""
        select path, file_no, errors.line, case
            when error_type::varchar = 'UNQUOTED VALUE' then byte_position else line_byte_position
        end - 1 as place
        from errors_{number} as errors
        inner join scans_{number} as scans on errors.scan_id = scans.scan_id and errors.file_id = scans.file_id
        inner join files on scans.file_path = files.path
        """
        for number in range(len(groups(files)))
    ]
    if not parts:
        return []
    connection.execute(f"create or replace temp table places_of_rejects as {' union all '.join(parts)}")
    if connection.execute("select count(*) from places_of_rejects").fetchone() == (0,):
        return []
    found: list[tuple[str, int, int, int]] = connection.execute("""
        select path, place, coalesce(rows, 0), count(distinct line) over (partition by path)
        from places_of_rejects
        left join (select file_no, count(*) as rows from judged group by file_no) using (file_no)
        where place is not null
        order by path, place
    """).fetchall()
    return found


def _first_mark(file: Inspected, places: Iterable[int], form: FileFormat) -> Problem | None:
    assert file.readable is not None  # noqa: S101 - a file with a problem is never read
    with gzip.open(file.readable) if file.is_gzip else file.readable.open("rb") as stream:
        lines = _Lines(stream)
        for place in places:
            if not lines.go_to(place):
                continue
            text = lines.text[place - lines.start :]
            if text == b"\n":  # with two bytes at the ends of lines DuckDB's place of a line is one too low
                text = lines.next()
            number = lines.number
            most, size, before = _longest_field(text, lines, form)
            if most and (most > _MOST_LINES or size > _MOST_BYTES):
                said = f"a quotation mark is opened here that swallows {most:,} lines"
                fix = "close it, or double it where it is part of the value, and send the file again"
                return Problem(f"{file.file.name}:{number + before}", said, fix)
    return None


class _Lines:
    """The physical lines of a file, passed over once: the text of the present one, its number and its first byte."""

    def __init__(self, stream: Iterable[bytes]) -> None:
        self._lines: Iterator[bytes] = iter(stream)
        self.text, self.number, self.start = b"", 0, 0

    def next(self) -> bytes:
        """The next line, empty behind the last."""
        self.start += len(self.text)
        self.text = next(self._lines, b"")
        self.number += 1
        return self.text

    def go_to(self, place: int) -> bool:
        """Whether the line with this byte lies ahead, or is the present one; then it is the present one."""
        while self.start + len(self.text) <= place:
            if not self.next():
                return False
        return self.start <= place


def _longest_field(text: bytes, lines: _Lines, form: FileFormat) -> tuple[int, int, int]:
    """Of the quoted fields from here to the end of the record, the one with most line ends.

    Returns its line ends, its bytes, and how many lines behind the first one it begins.
    """
    quote, delimiter = form.quote.encode(), form.delimiter.encode()
    longest, begun, at = (0, 0, 0), lines.number, 0
    while True:
        if not text.startswith(quote, at):
            behind = text.find(delimiter, at)
            if behind < 0:
                return longest
            at = behind + len(delimiter)
            continue
        opened, size, at = lines.number, 0, at + len(quote)
        while (end := _closing(text, at, quote)) < 0:
            size += len(text) - at
            text, at = lines.next(), 0
            if not text:
                return max(longest, (lines.number - 1 - opened, size, opened - begun))
        longest = max(longest, (lines.number - opened, size + end - at, opened - begun))
        at = end + len(quote)
        if not text.startswith(delimiter, at):
            return longest
        at += len(delimiter)


def _closing(text: bytes, at: int, quote: bytes) -> int:
    """Where the next mark stands that is not doubled, -1 when it is not on this line."""
    while (at := text.find(quote, at)) >= 0 and text.startswith(quote, at + len(quote)):
        at += 2 * len(quote)
    return at
