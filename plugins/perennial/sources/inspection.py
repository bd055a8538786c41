"""One file, read once from end to end without keeping it: is it whole, in its encoding, and does its header fit?

What is told about a file that is not: the line and byte where that is so, what was found, and how to mend it.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from perennial.contracts.sources import FileFormat, SourceEntity
from perennial.core.errors import Problem
from perennial.sources import encodings
from perennial.sources.landing import LandedFile
from perennial.sources.packing import PackingError, bounded, inflated, packing_of, unpack
from perennial.sources.text import open_text

if TYPE_CHECKING:
    from hashlib import _Hash

_CHUNK = 1 << 20
_HEADER_LIMIT = 1 << 16
_LINE_LIMIT = 1 << 24
_DELIMITERS = ",;\t|"
_NAMES = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a vertical bar"}


@dataclass(frozen=True)
class Inspected:
    """A file as it was found. `problem` is None when it can be read; `readable` is what DuckDB then reads."""

    file: LandedFile
    sha256: str
    lines: int  # physical lines, the header among them; rows plus one for Parquet
    header: tuple[str, ...] = ()
    types: tuple[str, ...] = ()  # of a Parquet file's columns
    readable: Path | None = None
    is_gzip: bool = False
    line_column: str = ""  # of Excel, JSON and XML made Parquet: its column that has each row's line
    rejects: Path | None = None  # Parquet of what is no row of such a file: _line, _row, kind, raw
    odd_spaces: bool = True  # whether there may be white space other than blanks in it
    is_plain: bool = False  # neither blanks nor quotation marks: a value has nothing at its ends, and is not empty
    problem: Problem | None = None


@dataclass
class _Text:
    """What passing over a text collects."""

    decoder: codecs.IncrementalDecoder
    head: bytes = b""
    size: int = 0
    line_feeds: int = 0
    returns: int = 0
    pairs: int = 0
    last: bytes = b""
    odd_spaces: bool = False
    is_plain: bool = True
    mistake: tuple[int, int, str] | None = None  # line, byte offset in the text, the likeliest encoding
    open_bytes: int = 0  # since the last end of a line
    long_line: int = 0  # the first that is longer than can be read

    @property
    def lines(self) -> int:
        ends = self.line_feeds + self.returns - self.pairs
        return ends + (self.size > 0 and self.last not in {b"\n", b"\r"})

    @property
    def has_mixed_line_ends(self) -> bool:
        return 0 < self.pairs < self.line_feeds or (self.returns > self.pairs)


def inspect(path: Path, file: LandedFile, contract: SourceEntity, scratch: Path) -> Inspected:
    """Read the file once: checksum, packing, encoding, header. What DuckDB can read of it is put into `scratch`.

    Raises FileNotFoundError if the file has gone.
    """
    try:
        return _inspect(path, file, contract, scratch)
    except PermissionError as error:
        problem = Problem(file.name, f"cannot be opened: {error.strerror}", "let the service's user read it")
        return Inspected(file, hashlib.sha256(file.name.encode()).hexdigest(), 0, problem=problem)


def _inspect(path: Path, file: LandedFile, contract: SourceEntity, scratch: Path) -> Inspected:
    kind, packing = contract.format.type, packing_of(file.name)
    if kind == "csv" and packing in {"", "gzip"}:
        return _inspect_csv(path, file, contract, scratch)
    if not packing:
        return _inspect_other(path, file, contract, scratch)
    checksum, plain = checksum_of(path), _new_name(scratch)
    try:
        unpack(path, packing, plain, limit=contract.format.max_unpacked_bytes)
    except PackingError as error:
        plain.unlink(missing_ok=True)
        return Inspected(file, checksum, 0, problem=Problem(file.name, error.message, error.fix))
    found = (_inspect_csv if kind == "csv" else _inspect_other)(plain, file, contract, scratch)
    if found.readable is None or not found.readable.is_symlink():
        plain.unlink()
    return replace(found, sha256=checksum)


def _inspect_other(path: Path, file: LandedFile, contract: SourceEntity, scratch: Path) -> Inspected:
    if contract.format.type == "parquet":
        return _inspect_parquet(path, file, contract, scratch)
    return _inspect_converted(path, file, contract, scratch)


def checksum_of(path: Path) -> str:
    """sha256 of the file's bytes; of a symbolic link the place that it names is summed, not what lies there."""
    hasher = hashlib.sha256()
    if path.is_symlink():
        hasher.update(os.fsencode(path.readlink()))
        return hasher.hexdigest()
    with path.open("rb") as stream:
        for _chunk in _hashed(stream, hasher):
            pass
    return hasher.hexdigest()


def _inspect_csv(path: Path, file: LandedFile, contract: SourceEntity, scratch: Path) -> Inspected:
    form = contract.format
    hasher = hashlib.sha256()
    text = _Text(codecs.getincrementaldecoder("utf-8-sig" if _is_utf8(form) else form.encoding)())
    is_gzip, gzip_problem = path.name.endswith(".gz"), None
    try:
        for chunk in _content(path, hasher, is_gzip=is_gzip, limit=form.max_unpacked_bytes):
            _pass_over(text, chunk, form)
        _pass_over(text, b"", form, final=True)
    except PackingError as error:
        gzip_problem = Problem(file.name, error.message, error.fix)
    header: tuple[str, ...] = ()
    problem = gzip_problem or _text_problem(file.name, text, form)
    if problem is None:
        header = tuple(_header(text.head, form))
        problem = _header_problem(file.name, header, contract, text.head)
    if problem is not None:
        lines = 0 if gzip_problem else text.lines  # of a file that is cut off nobody can count them
        return Inspected(file, hasher.hexdigest(), lines, problem=problem)
    readable = _link(path, scratch)
    if not _is_utf8(form) or text.has_mixed_line_ends:
        _rewrite(path, readable, form, is_gzip=is_gzip)
        is_gzip = False
    return Inspected(
        file,
        hasher.hexdigest(),
        text.lines,
        header,
        readable=readable,
        is_gzip=is_gzip,
        odd_spaces=text.odd_spaces,
        is_plain=text.is_plain and not text.odd_spaces and _is_utf8(form),
    )


def _content(path: Path, hasher: _Hash, *, is_gzip: bool, limit: int) -> Iterator[bytes]:
    """The file's content in chunks, unpacked; the checksum is over the bytes as they lie on disk, all of them."""
    with path.open("rb") as stream:
        chunks = _hashed(stream, hasher)
        try:
            yield from bounded(inflated(chunks), limit) if is_gzip else chunks
        finally:
            for _rest in chunks:  # a file that is cut off still has a checksum
                pass


def _hashed(stream: BinaryIO, hasher: _Hash) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        hasher.update(chunk)
        yield chunk


def _pass_over(text: _Text, chunk: bytes, form: FileFormat, *, final: bool = False) -> None:
    if len(text.head) < _HEADER_LIMIT:
        text.head += chunk[: _HEADER_LIMIT - len(text.head)]
    plain = _is_utf8(form) and chunk.isascii() and b"\x00" not in chunk and not text.decoder.getstate()[0]
    if text.mistake is None and (final or not plain):
        _decode(text, chunk, final=final)
    if chunk:
        _measure_line(text, chunk)
        text.line_feeds += chunk.count(b"\n")
        returns = chunk.count(b"\r")
        text.returns += returns
        text.pairs += text.last == b"\r" and chunk.startswith(b"\n")
        text.pairs += chunk.count(b"\r\n") if returns else 0  # a search for two bytes costs as much as all the rest
        text.odd_spaces = text.odd_spaces or b"\t" in chunk or not chunk.isascii()
        text.is_plain = text.is_plain and b" " not in chunk and form.quote.encode() not in chunk
        text.last = chunk[-1:]
        text.size += len(chunk)


def _measure_line(text: _Text, chunk: bytes) -> None:
    """Find a line that is too long: DuckDB passes over lines beyond its buffer without a word."""
    last = max(chunk.rfind(b"\n"), chunk.rfind(b"\r"))
    ends = [at for at in (chunk.find(b"\n"), chunk.find(b"\r")) if at >= 0]
    if text.open_bytes + (min(ends) if ends else len(chunk)) > _LINE_LIMIT and not text.long_line:
        text.long_line = text.line_feeds + text.returns - text.pairs + 1
    text.open_bytes = len(chunk) - last - 1 if ends else text.open_bytes + len(chunk)


def _decode(text: _Text, chunk: bytes, *, final: bool) -> None:
    pending = text.decoder.getstate()[0]
    try:
        decoded = text.decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        at = error.start - len(pending)
        looks = encodings.by_mark(text.head[:4096]) or encodings.by_sample(
            encodings.around(pending + chunk, error.start)
        )
        text.mistake = (text.line_feeds + chunk.count(b"\n", 0, max(at, 0)) + 1, text.size + at, looks)
        return
    if "\x00" in decoded:
        at = chunk.find(b"\x00")
        looks = encodings.by_mark(text.head[:4096]) or "binary"
        text.mistake = (text.line_feeds + chunk.count(b"\n", 0, at) + 1, text.size + at, looks)


def _is_utf8(form: FileFormat) -> bool:
    return codecs.lookup(form.encoding).name in {"utf-8", "utf-8-sig", "ascii"}


def _text_problem(name: str, text: _Text, form: FileFormat) -> Problem | None:
    if text.size == 0:
        return Problem(
            name, "the file is empty, without even a header", "send it again; a day without rows has a header"
        )
    if text.long_line:
        said, fix = (
            f"the line is longer than {_LINE_LIMIT:,} bytes",
            "see that its line ends and quotation marks are right",
        )
        return Problem(f"{name}:{text.long_line}", said, fix)
    if text.mistake is None:
        return None
    line, offset, looks = text.mistake
    return Problem(
        f"{name}:{line}",
        f"byte {offset} is not {form.encoding}; the file looks like {looks}",
        f"save it as {form.encoding}, or set `encoding:` in sources.yml",
    )


def _header(head: bytes, form: FileFormat, delimiter: str | None = None) -> list[str]:
    """The fields of the first line, stripped."""
    codec = "utf-8-sig" if _is_utf8(form) else form.encoding
    text = codecs.getincrementaldecoder(codec)().decode(head).replace("\r\n", "\n").replace("\r", "\n")
    rows = csv.reader(text.splitlines(keepends=True), delimiter=delimiter or form.delimiter, quotechar=form.quote)
    return [field.strip() for field in next(rows, [])]


def _header_problem(name: str, header: tuple[str, ...], contract: SourceEntity, head: bytes = b"") -> Problem | None:
    where = f"{name}:1" if contract.format.type == "csv" else name
    wanted = list(contract.source_columns)
    missing = [column for column in wanted if column not in header]
    if missing and contract.format.type == "csv":
        other = _other_delimiter(head, contract.format, wanted, found=len(wanted) - len(missing))
        if other:
            said = _NAMES.get(contract.format.delimiter, repr(contract.format.delimiter))
            return Problem(
                where,
                f"the columns are separated by {_NAMES[other]}, the contract says {said}",
                f"export with {said}, or set `delimiter:` in sources.yml",
            )
    if missing:
        return _missing_problem(where, header, wanted, missing)
    twice = [column for column, count in Counter(header).items() if count > 1 and column]
    if twice:
        return Problem(where, f"the header has {', '.join(twice)} twice", "export each column once")
    return None


def _other_delimiter(head: bytes, form: FileFormat, wanted: list[str], *, found: int) -> str:
    """The delimiter under which more of the wanted columns are found than under the contract's."""
    counts = {
        other: len(set(_header(head, form, other)) & set(wanted)) for other in _DELIMITERS if other != form.delimiter
    }
    best = max(counts, key=lambda other: counts[other])
    return best if counts[best] > max(found, 1) or (counts[best] == len(wanted)) else ""


def _missing_problem(where: str, header: tuple[str, ...], wanted: list[str], missing: list[str]) -> Problem:
    free = [column for column in header if column not in wanted]
    lower = {column.lower(): column for column in free}
    hints = []
    for column in missing:
        near = difflib.get_close_matches(column.lower(), lower, n=1, cutoff=0.5)
        if near:
            hints.append(f"{column} may be called {lower[near[0]]} now")
    found = ", ".join(header[:30]) or "nothing"
    fix = "; ".join(hints) + ": rename it, or set its `source:` in sources.yml" if hints else "export it again with it"
    return Problem(where, f"column {', '.join(missing)} is missing; the header has {found}", fix)


def _link(path: Path, scratch: Path) -> Path:
    """A name for the file that nobody outside chose: neither a glob nor a quotation mark reaches DuckDB (L23)."""
    link = _new_name(scratch)
    link.symlink_to(path)
    return link


def _new_name(scratch: Path) -> Path:
    number = len(os.listdir(scratch)) + 1  # noqa: PTH208 - it is counted for every file
    while os.path.lexists(scratch / f"f{number:06d}"):
        number += 1
    return scratch / f"f{number:06d}"


def _rewrite(path: Path, readable: Path, form: FileFormat, *, is_gzip: bool) -> None:
    """A copy in UTF-8 with line feeds at the ends of lines, in place of the link."""
    readable.unlink()
    with open_text(path, form, is_gzip=is_gzip) as source, readable.open("w", encoding="utf-8", newline="\n") as target:
        shutil.copyfileobj(source, target, _CHUNK)


def _inspect_parquet(path: Path, file: LandedFile, contract: SourceEntity, scratch: Path) -> Inspected:
    import pyarrow as pa
    import pyarrow.parquet as pq

    checksum = checksum_of(path)
    if path.stat().st_size == 0:
        empty = Problem(file.name, "the file is empty", "send it again; a day without rows has a schema")
        return Inspected(file, checksum, 0, problem=empty)
    try:
        metadata = pq.ParquetFile(path)
        schema, rows = metadata.schema_arrow, metadata.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        broken = Problem(file.name, f"not a whole Parquet file: {reason}", "send the file again, whole")
        return Inspected(file, checksum, 0, problem=broken)
    header = tuple(schema.names)
    problem = _header_problem(file.name, header, contract)
    if problem is not None:
        return Inspected(file, checksum, rows + 1, problem=problem)
    types = tuple(str(kind) for kind in schema.types)
    return Inspected(file, checksum, rows + 1, header, types, _link(path, scratch))


def _inspect_converted(path: Path, file: LandedFile, contract: SourceEntity, scratch: Path) -> Inspected:
    from perennial.sources.formats.converting import convert, missing_paths
    from perennial.sources.formats.rows import FormatError

    checksum, target = checksum_of(path), _new_name(scratch)
    rejects = target.with_suffix(".rejects")
    try:
        found = convert(path, contract, target, rejects, converted_columns(contract))
    except FormatError as error:
        return Inspected(file, checksum, 0, problem=error.problem(file.name))
    lines = found.rows + found.rejected + 1
    if contract.format.type == "excel":
        problem = _header_problem(file.name, found.names, contract)
    else:
        problem = missing_paths(file.name, found, contract)
    if problem is not None:
        return Inspected(file, checksum, lines, found.names, problem=problem)
    return Inspected(
        file,
        checksum,
        lines,
        found.names,
        readable=target,
        line_column=found.line_column,
        rejects=rejects if found.rejected else None,
    )


def converted_columns(contract: SourceEntity) -> list[str]:
    """What the columns c0, c1, ... of a converted file are: each `source` of the contract once, in its order.

    The columns of versions and tombstones stand behind those that are mapped.
    """
    others = [contract.version, contract.deleted.column if contract.deleted else None]
    sources = [column.source for column in contract.columns.values()]
    return list(dict.fromkeys([*sources, *(other for other in others if other)]))
