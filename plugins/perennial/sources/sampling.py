"""What a file is, found from its content: type, encoding, delimiter, header, and its first rows as text."""

from __future__ import annotations

import codecs
import csv
import tempfile
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from perennial.contracts.sources import FileFormat
from perennial.core.errors import BatchRefused, Problem
from perennial.sources import encodings
from perennial.sources.formats.rows import FormatError, as_text
from perennial.sources.packing import PackingError, packing_of, unpack

SAMPLED_ROWS = 5_000
_HEAD_BYTES = 1 << 20
_DELIMITERS = ",;\t|"
_LOOKED_THROUGH = 20  # rows of a sheet in which its header may stand
_OLE, _PARQUET, _ZIP = b"\xd0\xcf\x11\xe0", b"PAR1", b"PK\x03\x04"
_AGAIN = "see that it is CSV, Excel, JSON lines, XML or Parquet"


@dataclass
class Sample:
    """How a file is written (keys of `format`), its columns, and the texts of its first rows by column."""

    form: dict[str, Any]
    names: list[str]
    rows: Sequence[Mapping[str, Any]] = ()
    notes: list[str] = field(default_factory=list)
    suffix: str = ""

    def values(self, name: str) -> list[str]:
        """The texts of a column that are not empty."""
        found = (as_text(row.get(name)) for row in self.rows)
        return [text.strip() for text in found if text and text.strip()]


class _EnoughError(Exception):
    """The sample is complete."""


class _Collector:
    """Stands in for a RowWriter: keeps the first rows and ends the reading."""

    def __init__(self, wanted: Sequence[str] = ()) -> None:
        self.wanted = tuple(wanted)
        self.rows: list[Mapping[str, Any]] = []
        self.names: dict[str, None] = {}

    def add(self, _line: int, values: Mapping[str, Any]) -> None:
        self.names.update(dict.fromkeys(values))
        self.rows.append(values)
        if len(self.rows) >= SAMPLED_ROWS:
            raise _EnoughError

    def reject(self, _line: int, _kind: str, _raw: str) -> None:
        """A line that is no row says nothing of the others."""


def sample(path: Path) -> Sample:
    """Look into the file. Raises BatchRefused where it is nothing that can be read."""
    if not path.is_file():
        raise BatchRefused(Problem(str(path), "there is no such file", "name a file"))
    packing = packing_of(path.name)
    with tempfile.TemporaryDirectory(prefix="perennial-") as folder:
        try:
            plain = path
            if packing:
                plain = Path(folder) / "plain"
                unpack(path, packing, plain, limit=FileFormat().max_unpacked_bytes)
            found = _sample(plain)
        except (PackingError, FormatError) as error:
            raise BatchRefused(Problem(path.name, error.message, error.fix)) from None
    suffixes = PurePosixPath(path.name).suffixes[-2 if packing else -1 :]
    found.suffix = "".join(suffixes)
    return found


def _sample(path: Path) -> Sample:
    with path.open("rb") as stream:
        head = stream.read(_HEAD_BYTES)
    if not head.strip():
        raise FormatError("the file is empty", "name one with a header and some rows")
    reader = _reader_of(path, head)
    return reader(path, head)


def _reader_of(path: Path, head: bytes) -> Callable[[Path, bytes], Sample]:
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if head.startswith(_PARQUET):
        return _parquet
    if head.startswith(_OLE) or (head.startswith(_ZIP) and _is_workbook(path)):
        return _excel
    if text.startswith(b"<") or _in(head, "utf-16").lstrip().startswith("<"):
        return _xml
    return _jsonl if text.startswith(b"{") else _csv


def _is_workbook(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return bool({"[Content_Types].xml", "mimetype"} & set(archive.namelist()))
    except (zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _in(head: bytes, encoding: str) -> str:
    """The text of the head, if it is in that encoding; a character that is cut off at its end does not count."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeError:
        return ""


def encoding_of(head: bytes) -> str:
    """The encoding of text, by its mark or by its bytes. Raises FormatError for what is no text."""
    marked = encodings.by_mark(head[:4096])
    if marked.startswith("utf-8") or (not marked and _in(head, "utf-8")):
        return "utf-8"
    found = marked or encodings.by_sample(head)
    try:
        codecs.lookup(found)
    except LookupError:
        raise FormatError(f"it looks like {found}", _AGAIN) from None
    if "\x00" in _in(head, found):
        raise FormatError("it is binary", _AGAIN)
    return found


def _csv(_path: Path, head: bytes) -> Sample:
    encoding = encoding_of(head)
    lines = _in(head, encoding).removeprefix("\ufeff").splitlines(keepends=True)
    whole = lines[:-1] if len(head) == _HEAD_BYTES and len(lines) > 1 else lines
    if not whole or "\x00" in whole[0]:
        raise FormatError("it is binary", _AGAIN)
    quote = _quote_of(whole)
    delimiter = max(_DELIMITERS, key=lambda one: _fit(whole, one, quote))
    form = {"type": "csv", "delimiter": delimiter, "encoding": encoding} | ({"quote": quote} if quote != '"' else {})
    try:
        rows = list(islice(csv.reader(whole, delimiter=delimiter, quotechar=quote), SAMPLED_ROWS + 1))
    except csv.Error as error:
        raise FormatError(f"it is no CSV: {error}", _AGAIN) from None
    names = [name.strip() for name in rows[0]]
    notes = [] if not _is_data(names) else ["the first line looks like a row: the file has no header, and needs one"]
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    notes += [f"the header has {', '.join(twice)} twice: it will be refused"] if twice else []
    body = [dict(zip(names, row, strict=False)) for row in rows[1:] if row]
    return Sample(form, [name for name in names if name], body, notes)


def _quote_of(lines: list[str]) -> str:
    text = "".join(lines[:200])
    return "'" if text.count("'") > 2 * len(lines[:200]) and '"' not in text else '"'


def _fit(lines: list[str], delimiter: str, quote: str) -> tuple[float, int]:
    """How well the delimiter cuts the first lines: the share that has as many fields as the header, and how many."""
    try:
        widths = [len(row) for row in csv.reader(lines[:200], delimiter=delimiter, quotechar=quote) if row]
    except csv.Error:
        return 0.0, 0
    if not widths or widths[0] == 1:
        return 0.0, 0
    return sum(width == widths[0] for width in widths) / len(widths), widths[0]


def _is_data(names: list[str]) -> bool:
    """Whether a first line holds values rather than names."""
    filled = [name for name in names if name]
    return not filled or any(name.lstrip("+-").replace(".", "", 1).replace(",", "", 1).isdigit() for name in filled)


def _excel(path: Path, _head: bytes) -> Sample:
    from perennial.sources.formats.excel import sheet_rows

    with sheet_rows(path, FileFormat(type="excel")) as (said, rows):
        first = list(islice(rows, SAMPLED_ROWS + _LOOKED_THROUGH))
    if not first:
        raise FormatError("the first sheet is empty", "name a workbook whose first sheet has rows")
    at = max(range(min(len(first), _LOOKED_THROUGH)), key=lambda index: (_named(first[index][1]), -index))
    number, header = first[at]
    names = [str(name).strip() if isinstance(name, str) else "" for name in header]
    body = [{n: _cell(c) for n, c in zip(names, cells, strict=False) if n} for _number, cells in first[at + 1 :]]
    form: dict[str, Any] = {"type": "excel", "sheet": said["sheet"]} | ({"header_row": number} if number > 1 else {})
    others = [name for name in said["sheets"] if name != said["sheet"]]
    notes = [f"the workbook has other sheets: {', '.join(others[:10])}"] if others else []
    return Sample(form, [name for name in names if name], body[:SAMPLED_ROWS], notes)


def _named(cells: list[Any]) -> int:
    """How many different texts that are no numbers the row has: a header has most, and the first of several counts."""
    texts = {cell for cell in cells if isinstance(cell, str) and not cell.lstrip("-").replace(".", "", 1).isdigit()}
    return len(texts)


def _cell(cell: Any) -> Any:
    return str(cell["d"]).removesuffix("T00:00:00") if isinstance(cell, dict) else cell


def _jsonl(path: Path, head: bytes) -> Sample:
    from perennial.sources.formats.jsonrows import read_jsonl

    encoding = encoding_of(head)
    collector = _Collector()
    with suppress(_EnoughError):
        read_jsonl(path, FileFormat(type="jsonl", encoding=encoding), collector)
    if not collector.rows:
        raise FormatError("no line of it is a JSON object", _AGAIN)
    form = {"type": "jsonl"} | ({"encoding": encoding} if encoding != "utf-8" else {})
    lists = [name for name in collector.names if any(_is_list_of_rows(row.get(name)) for row in collector.rows)]
    notes = [f"{name} holds lists: set `row: {name}` where their items are the rows" for name in lists]
    return Sample(form, list(collector.names), collector.rows, notes)


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and isinstance(value[0], dict)


def _xml(path: Path, head: bytes) -> Sample:
    from perennial.sources.formats.xmlrows import read_xml
    from perennial.sources.formats.xmlshape import likeliest_row

    row, above = likeliest_row(head)
    collector = _Collector(above)
    with suppress(_EnoughError):
        read_xml(path, FileFormat(type="xml", row=row), collector)
    return Sample({"type": "xml", "row": row}, list(collector.names), collector.rows)


def _parquet(path: Path, _head: bytes) -> Sample:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        batch = next(file.iter_batches(batch_size=SAMPLED_ROWS), None)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"not a whole Parquet file: {str(error).splitlines()[0][:200]}", _AGAIN) from None
    rows = batch.to_pylist() if batch is not None else []
    names = file.schema_arrow.names
    return Sample({"type": "parquet"}, names, [{n: _text(v) for n, v in row.items()} for row in rows])


def _text(value: Any) -> str | None:
    """A value of Parquet as staging gives it, nearly: a whole number without `.0`."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None else str(value)
