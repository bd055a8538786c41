"""config/sources.yml: read, validated, and checked for what a model alone cannot see; every mistake with its line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Set
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from perennial.contracts.entities import ENTITIES, NUMBERS, Column
from perennial.contracts.sources import FileFormat, Source, SourceColumn, SourceEntity, SourcesFile
from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import Settings
from perennial.core.yamlfile import Key, YamlDocument, read_yaml, validate

Mistake = tuple[tuple[Key, ...], str, str]  # where in the document, what is wrong, how to mend it

_NOT_IN_RE2 = re.compile(r"\(\?(=|!|<=|<!|>|\()|\\[1-9]|[*+?}]\+")
_SAMPLE_MOMENT = datetime(2017, 10, 1, 13, 14, 15, tzinfo=UTC)


def load_sources(settings: Settings) -> SourcesFile:
    """The sources and their contracts. Raises ConfigError with file, line, field and fix of every mistake."""
    path = settings.config_dir / "sources.yml"
    try:
        status = path.stat()
    except OSError:
        return _load(path, 0, 0)
    return _load(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=16)
def _load(path: Path, _mtime_ns: int, _size: int) -> SourcesFile:
    """Parsed once per content: a trigger asks every second."""
    return read_sources(path)


def read_sources(path: Path) -> SourcesFile:
    """A file of the shape of sources.yml, wherever it lies. Raises ConfigError as `load_sources` does."""
    document = read_yaml(path)
    sources = validate(document, SourcesFile)
    problems = [_problem(document, mistake) for mistake in _mistakes(sources)]
    if problems:
        raise ConfigError(problems)
    return sources


def _problem(document: YamlDocument, mistake: Mistake) -> Problem:
    location, message, fix = mistake
    field = ".".join(str(key) for key in location)
    return Problem(f"{document.path}:{document.line_of(location)}:{field}", message, fix)


def _mistakes(sources: SourcesFile) -> Iterator[Mistake]:
    supplied = {entity.entity for source in sources.sources.values() for entity in source.entities.values()}
    paths: dict[str, str] = {}
    for source_name, source in sources.sources.items():
        yield from _marker_mistakes(("sources", source_name, "ready"), source)
        for entity_name, contract in source.entities.items():
            at: tuple[Key, ...] = ("sources", source_name, "entities", entity_name)
            if contract.path in paths:
                yield (*at, "path"), f"{paths[contract.path]} takes the same files", "give each its own file name"
            paths[contract.path] = f"{source_name}.{entity_name}"
            yield from _path_mistakes(at, contract)
            yield from _event_mistakes(at, source, contract)
            yield from _format_mistakes((*at, "format"), contract.format)
            for name, column in contract.columns.items():
                kind = ENTITIES[contract.entity].columns[name]
                yield from _column_mistakes((*at, "columns", name), kind, column)
            yield from _line_kind_mistakes(at, contract)
            if contract.deleted is not None and ENTITIES[contract.entity].kind == "events":
                yield (*at, "deleted"), f"{contract.entity} are events: what happened is not deleted", "remove it"
            yield from _reference_mistakes(at, contract, supplied)


def _marker_mistakes(at: tuple[Key, ...], source: Source) -> Iterator[Mistake]:
    marker = source.ready.marker
    rest = marker.replace("{name}", "", 1)
    if marker.count("{name}") != 1 or not rest or set("/{}") & set(rest) or marker.startswith("."):
        yield (*at, "marker"), f"{marker!r} is not the name of a file beside {{name}}", "write it as in '{name}.done'"
    if source.ready.by == "marker" and source.connection is not None and source.connection.kind != "files":
        said = f"what comes by a connection of kind {source.connection.kind} lands whole, and without markers"
        yield (*at, "by"), said, "take ready out"


def _path_mistakes(at: tuple[Key, ...], contract: SourceEntity) -> Iterator[Mistake]:
    parts = contract.path.split("/")
    if len(parts) == 1 or any(part in {"", ".", ".."} for part in parts) or set("{}*") & set(parts[0]):
        yield (*at, "path"), f"{contract.path!r} is not a folder and a file name", "write folder/name_{date}.csv"
    if contract.path.count("{date}") > 1 or set("{}") & set(contract.path.replace("{date}", "")):
        yield (*at, "path"), "the only placeholder is {date}, once", "write it once, as in sales_{date}.csv"
    dated = contract.business_date == "{date}"
    if dated and "{date}" not in contract.path:
        yield (
            (*at, "path"),
            "business_date is the file name's, but the path has no {date}",
            "add {date}, or name a column",
        )
    column = ENTITIES[contract.entity].columns.get(contract.business_date)
    known = column is not None and column.type in {"date", "timestamp"} and contract.business_date in contract.columns
    if not dated and not known:
        yield (*at, "business_date"), "neither {date} nor a mapped date or timestamp column", "name one of them"
    if contract.limits.warn > contract.limits.stop:
        yield (*at, "limits"), "warn lies above stop", "let warn be the smaller share"


def _event_mistakes(at: tuple[Key, ...], source: Source, contract: SourceEntity) -> Iterator[Mistake]:
    """Events are gathered into files of their own names, one line of JSON for each row."""
    if contract.events is None:
        return
    if "*" not in contract.path:
        yield (
            (*at, "path"),
            "files of events need names of their own, and the path has no *",
            "write folder/name_*.jsonl",
        )
    if contract.format.type != "jsonl":
        yield (*at, "format"), f"events are gathered as jsonl, not as {contract.format.type}", "write {type: jsonl}"
    is_queue = source.connection is not None and source.connection.kind == "queue"
    if is_queue and not contract.events.stream:
        yield (*at, "events"), "a queue's events need the name of their stream", "add stream: NAME"


def _format_mistakes(at: tuple[Key, ...], form: FileFormat) -> Iterator[Mistake]:
    try:
        codecs.lookup(form.encoding)
    except LookupError:
        yield (*at, "encoding"), f"no encoding is called {form.encoding!r}", "use a name such as utf-8 or cp1252"
    try:
        ZoneInfo(form.timestamps_in)
    except (ZoneInfoNotFoundError, OSError, ValueError):
        yield (*at, "timestamps_in"), f"no time zone is called {form.timestamps_in!r}", "use one such as Europe/London"
    if form.type == "xml" and not (form.row or "").strip("/"):
        yield (*at, "row"), "xml needs the path of the element that is a row", "write row: orders/order, or row: order"
    if form.thousands == form.decimal:
        yield (*at, "thousands"), "thousands and decimal are the same character", "give two characters"
    if form.delimiter == form.quote or "\n" in form.delimiter + form.quote:
        yield (*at, "delimiter"), "delimiter and quote are the same character or a line end", "give two characters"
    if not form.delimiter.isascii() or not form.quote.isascii():
        yield (*at, "delimiter"), "delimiter and quote must be ASCII characters", "use one such as , or ;"
    for name in ("timestamp_format", "date_format"):
        codes = getattr(form, name)
        if codes is not None and not _is_strptime(codes):
            yield (*at, name), f"{codes!r} cannot be read back by strptime", "use codes such as %d.%m.%Y %H:%M"


def _is_strptime(codes: str) -> bool:
    try:
        day = datetime.strptime(_SAMPLE_MOMENT.strftime(codes), codes).date()  # noqa: DTZ007 - a test of the codes
        return day == _SAMPLE_MOMENT.date()
    except ValueError:
        return False


def _column_mistakes(at: tuple[Key, ...], kind: Column, column: SourceColumn) -> Iterator[Mistake]:
    if column.pattern is not None:
        problem = _regex_problem(column.pattern)
        if problem:
            yield (*at, "pattern"), f"not a regular expression of RE2: {problem}", "mend the expression"
    if (column.pattern is not None or column.allowed is not None) and kind.type != "text":
        yield at, f"pattern and allowed are for text, this column is a {kind.type}", "use min and max"
    for name in ("min", "max"):
        bound = getattr(column, name)
        if bound is not None and not _is_bound(kind, bound):
            yield (
                (*at, name),
                f"{bound!r} is not a bound of a {kind.type} column",
                "give a number, or a date YYYY-MM-DD",
            )


def _regex_problem(pattern: str) -> str:
    found = _NOT_IN_RE2.search(pattern)
    if found:
        return f"{found.group()} (look-around, back-references, possessive and atomic groups) is not supported"
    try:
        re.compile(pattern)
    except re.error as error:
        return str(error)
    return ""


def _is_bound(kind: Column, bound: float | str) -> bool:
    try:
        if kind.type in {"date", "timestamp"}:
            return isinstance(bound, str) and bool(date.fromisoformat(bound))
        return kind.type in NUMBERS and Decimal(str(bound)).is_finite()
    except (ValueError, InvalidOperation):
        return False


def _line_kind_mistakes(at: tuple[Key, ...], contract: SourceEntity) -> Iterator[Mistake]:
    if contract.entity != "order_lines":
        for name in ("line_kinds", "negative_quantity_kinds"):
            if getattr(contract, name):
                yield (*at, name), f"{contract.entity} has no order lines", "remove it"
        return
    for index, rule in enumerate(contract.line_kinds):
        where = (*at, "line_kinds", index)
        if rule.column not in contract.columns:
            known = ", ".join(contract.columns)
            yield where, f"column {rule.column!r} is not mapped here", f"name one of {known}"
            continue
        numeric = ENTITIES[contract.entity].columns[rule.column].type in NUMBERS
        if numeric != (rule.below is not None):
            yield where, f"this test does not fit column {rule.column!r}", "below is for numbers, the others for text"


def _reference_mistakes(at: tuple[Key, ...], contract: SourceEntity, supplied: Set[str]) -> Iterator[Mistake]:
    for index, reference in enumerate(contract.references):
        where = (*at, "references", index)
        if reference.column not in contract.columns:
            known = ", ".join(contract.columns)
            yield where, f"column {reference.column!r} is not mapped here", f"name one of {known}"
        if reference.entity not in supplied:
            yield where, f"no source supplies {reference.entity}", "add its file to a source, or remove the reference"
        if len(ENTITIES[reference.entity].key) != 1:
            yield where, f"{reference.entity} has no key of one column", "remove the reference"
