"""The files of a data set, read by DuckDB out of core: found, joined by name, filtered, counted."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from perennial.contracts.backtests import DataFile, DataFormat, DataSet
from perennial.core.errors import BatchRefused, ConfigError, Problem
from perennial.core.sqltext import identifier, literal
from perennial.core.yamlfile import Key, read_yaml
from perennial.pipeline.backtesting.conditions import condition_sql

_MEMORY = "60%"
_SAMPLE_ROWS = 20_480
_SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl"}
_PACKED = (".gz", ".zst")
_MAX_SHOWN = 300
_NUMBERS = ("BIGINT", "DOUBLE", "INTEGER", "HUGEINT", "DECIMAL", "UBIGINT", "SMALLINT", "TINYINT", "FLOAT")


@dataclass(frozen=True)
class Place:
    """Where something stands in the data set's YAML: `file:line:field`."""

    path: Path

    def __call__(self, *keys: Key) -> str:
        """The place of a value."""
        line = read_yaml(self.path).line_of(keys)
        return f"{self.path}:{line}:{'.'.join(str(key) for key in keys)}"


@dataclass
class Given:
    """What was read: the table `given` of the connection, its columns by name and type, and how many rows are there.

    `counts`: rows of the files, rows after each condition, rows after duplicates went. `sniffed`: for columns that came
    as text, the type they look like.
    """

    connection: Any
    columns: dict[str, str]
    sniffed: dict[str, str | None]
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def rows(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a small result."""
        found: list[tuple[Any, ...]] = self.connection.execute(sql, params).fetchall()
        return found


@contextmanager
def read_files(dataset: DataSet, where: Place, folder: Path, scratch: Path) -> Iterator[Given]:
    """Read, filter and de-duplicate the files of a data set into the table `given`, which spills into `scratch`.

    Row order is that of the files. Raises ConfigError for files, columns and conditions that are not there or wrong,
    BatchRefused for a file that cannot be read.
    """
    scratch.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(str(scratch / "given.duckdb")) as connection:
        _make_safe(connection, scratch)
        try:
            yield _read(connection, dataset, where, folder)
        except duckdb.Error as error:
            raise BatchRefused(Problem(where("files"), _words_of(error), "see format and filters")) from None


def _make_safe(connection: Any, scratch: Path) -> None:
    connection.execute(f"set temp_directory = {literal(str(scratch / 'spill'))}")
    connection.execute(f"set memory_limit = '{_MEMORY}'")
    connection.execute("set timezone = 'UTC'")
    connection.execute("set python_enable_replacements = false")
    connection.execute("set autoinstall_known_extensions = false")


def _words_of(error: Exception) -> str:
    """The first line of what DuckDB says, without values of rows (which may be personal)."""
    text = re.split("['\"\n]", str(error))[0]
    return f"the data could not be read: {text[:_MAX_SHOWN].rstrip()}"


def _read(connection: Any, dataset: DataSet, where: Place, folder: Path) -> Given:
    scans, columns, sniffed = [], dict[str, str](), dict[str, str | None]()
    for index, file in enumerate(dataset.files):
        for path in paths_of(file, folder, where("files", index, "path")):
            scan, own = scan_of(connection, path, dataset.format, where("files", index))
            is_text = type_of(path, dataset.format) == "csv"
            types = _looks(connection, scan, own) if is_text else dict.fromkeys(own)
            columns = _together(columns, own)
            sniffed |= {name: _wider(sniffed.get(name, kind), kind) for name, kind in types.items()}
            condition = ""
            if file.where is not None:
                place = where("files", index, "where")
                condition = f" where {condition_sql(file.where, types, place, roles=roles_of(dataset))}"
            scans.append((scan, condition))
    _require_columns(dataset, columns, where)
    conditions = [
        condition_sql(text, {n: sniffed.get(n) for n in columns}, where("filters", index), roles=roles_of(dataset))
        for index, text in enumerate(dataset.filters)
    ]
    given = Given(connection, columns, sniffed)
    _fill(given, dataset, where, scans=scans, conditions=conditions)
    return given


def roles_of(dataset: DataSet) -> dict[str, str]:
    """The columns' names in the files by what they are: client, time, order ..."""
    named = dataset.columns.model_dump(exclude_none=True)
    return {role: name for role, name in named.items() if isinstance(name, str)}


def paths_of(file: DataFile, folder: Path, where: str) -> list[Path]:
    """The files of a path or glob pattern, sorted. Raises ConfigError when there is none."""
    path = Path(file.path)
    base = path if path.is_absolute() else folder / path
    if base.is_file():
        return [base]
    if set("*?[") & set(file.path):
        root = Path(base.anchor)
        found = sorted(one for one in root.glob(str(base.relative_to(root))) if one.is_file())
        if found:
            return found
    near = difflib.get_close_matches(base.name, _names_in(base.parent), n=1)
    fix = f"did you mean {near[0]}?" if near else "name the folder of the data with --data, or mend the path"
    raise ConfigError(Problem(where, f"there is no file {file.path} in {folder}", fix))


def _names_in(folder: Path) -> list[str]:
    return [one.name for one in folder.iterdir()] if folder.is_dir() else []


def type_of(path: Path, given: DataFormat) -> str:
    """csv, parquet or jsonl: as given, else by the name."""
    if given.type:
        return given.type
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() not in _PACKED]
    return _SUFFIXES.get(suffixes[-1] if suffixes else "", "csv")


def scan_of(connection: Any, path: Path, given: DataFormat, where: str) -> tuple[str, dict[str, str]]:
    """SQL that reads one file, and its columns. Raises BatchRefused where it cannot be read."""
    kind = type_of(path, given)
    if path.suffix.lower() in (".xlsx", ".xls", ".zip", ".rar", ".7z", ".bz2"):
        fix = "save it as CSV (it may be packed with gzip) or Parquet"
        raise ConfigError(Problem(where, f"{path.name}: this kind of file is not read here", fix))
    if path.stat().st_size == 0:
        raise BatchRefused(Problem(where, f"{path.name} is empty", "name another file"))
    try:
        scan = _SCANS[kind](path, given)
        return scan, _columns_of(connection, scan)
    except duckdb.Error as error:
        fix = "say in format how it is written: type, delimiter, header, encoding, quote"
        raise BatchRefused(Problem(where, f"{path.name}: {_words_of(error)}", fix)) from None


def _columns_of(connection: Any, scan: str) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.execute(f"describe select * from {scan}").fetchall()}


def _csv(path: Path, given: DataFormat) -> str:
    if given.delimiter == "whitespace":
        return _blanks(path, given)
    options = ["all_varchar = true", "null_padding = true", f"encoding = {literal(_encoding(given))}"]
    options += ["sample_size = 20480", "hive_partitioning = false", "compression = 'auto'", "nullstr = ''"]
    if given.delimiter:
        options.append(f"delim = {literal(given.delimiter)}")
    if given.quote:
        options.append(f"quote = {literal(given.quote)}")
    if given.header is not None:
        options.append(f"header = {str(given.header).lower()}")
    if given.names:
        options.append(f"names = [{', '.join(literal(name) for name in given.names)}]")
    return f"read_csv({_quoted(path)}, {', '.join(options)})"


def _blanks(path: Path, given: DataFormat) -> str:
    """A file whose fields are divided by any run of blanks: each line is cut here."""
    names = given.names or tuple(f"column{k}" for k in range(1, 51))
    whole = (
        f"read_csv({_quoted(path)}, auto_detect = false, header = {str(bool(given.header)).lower()}, "
        "delim = chr(1), quote = '', escape = '', columns = {'line': 'varchar'}, strict_mode = false)"
    )
    parts = ", ".join(f"nullif(cut[{k}], '') as {identifier(name)}" for k, name in enumerate(names, start=1))
    cut = "select string_split_regex(trim(line, ' \t' || chr(13)), '[ \t]+') as cut"
    return f"(select {parts} from ({cut} from {whole} where line is not null))"


def _encoding(given: DataFormat) -> str:
    name = given.encoding.lower().replace("_", "-")
    return {
        "latin1": "latin-1",
        "iso-8859-1": "latin-1",
        "cp1252": "latin-1",
        "utf8": "utf-8",
        "utf-8-sig": "utf-8",
    }.get(name, name)


def _parquet(path: Path, given: DataFormat) -> str:  # noqa: ARG001
    return f"read_parquet({_quoted(path)}, hive_partitioning = false)"


def _jsonl(path: Path, given: DataFormat) -> str:  # noqa: ARG001
    return f"read_json({_quoted(path)}, hive_partitioning = false)"


_SCANS = {"csv": _csv, "parquet": _parquet, "jsonl": _jsonl}


def _quoted(path: Path) -> str:
    """The path as SQL; characters that DuckDB would read as a pattern are put into brackets."""
    return literal("".join(f"[{char}]" if char in "*?[" else char for char in str(path)))


def _looks(connection: Any, scan: str, own: Mapping[str, str]) -> dict[str, str | None]:
    """What each column of text looks like in the first rows: bigint, double, timestamp, or None for a text."""
    tests = []
    for name in own:
        column = f"nullif(trim({identifier(name)}), '')"
        tests += [f"count({column})", f"count(try_cast({column} as double))", f"count(try_cast({column} as timestamp))"]
    sample = f"(select * from {scan} limit {_SAMPLE_ROWS})"
    found = connection.execute(f"select {', '.join(tests)} from {sample}").fetchone()
    looks: dict[str, str | None] = {}
    for index, name in enumerate(own):
        known, numbers, moments = found[3 * index : 3 * index + 3]
        enough = max(1, int(known * 0.99))
        looks[name] = "double" if known and numbers >= enough else "timestamp" if known and moments >= enough else None
    return looks


def _together(first: Mapping[str, str], second: Mapping[str, str]) -> dict[str, str]:
    """The columns of both; a name that differs only in case is the same to DuckDB."""
    known = {name.lower() for name in first}
    return {**first, **{name: kind for name, kind in second.items() if name.lower() not in known}}


def _wider(first: str | None, second: str | None) -> str | None:
    return first if first == second else None


def _require_columns(dataset: DataSet, columns: Mapping[str, str], where: Place) -> None:
    problems = []
    asked: list[tuple[tuple[Key, ...], str]] = [(("columns", role), name) for role, name in roles_of(dataset).items()]
    asked += [(("leave_out",), name) for name in dataset.leave_out]
    asked += [(("categorical",), name) for name in dataset.categorical]
    asked += [(("outcomes",), outcome.column) for outcome in dataset.outcomes]
    by_lower = {name.lower(): name for name in columns}
    for keys, name in asked:
        if name.lower() not in by_lower:
            near = difflib.get_close_matches(name.lower(), by_lower, n=1)
            known = ", ".join(list(columns)[:30])
            fix = f"did you mean {by_lower[near[0]]}?" if near else f"they have {known}"
            problems.append(Problem(where(*keys), f"the files have no column {name!r}", fix))
    if problems:
        raise ConfigError(problems)


def _fill(
    given: Given, dataset: DataSet, where: Place, *, scans: Sequence[tuple[str, str]], conditions: Sequence[str]
) -> None:
    """Make `given`, and count what each condition leaves."""
    connection = given.connection
    views = " union all by name ".join(f"select * from {scan}{condition}" for scan, condition in scans)
    connection.execute(f"create temp view arriving as {views}")
    places = list(range(len(conditions) + 1))
    counted = [f"count(*) filter (where {' and '.join(conditions[:k]) or 'true'})" for k in places]
    of_files = connection.execute(f"select {', '.join(counted)} from arriving").fetchone()
    given.counts["rows of the files"] = int(of_files[0])
    for text, left in zip(dataset.filters, of_files[1:], strict=True):
        given.counts[f"rows with {text}"] = int(left)
    kept = f" where {' and '.join(conditions)}" if conditions else ""
    connection.execute(f"create table given as {_kept_rows(given, dataset, kept)}")
    left = int(connection.execute("select count(*) from given").fetchone()[0])
    if dataset.drop_exact_duplicates:
        given.counts["rows without exact duplicates"] = left
    if not left:
        told = ", ".join(f"{name} {count:,}" for name, count in given.counts.items())
        raise BatchRefused(Problem(where("filters"), f"no row is left ({told})", "see the files, where and filters"))


def _kept_rows(given: Given, dataset: DataSet, kept: str) -> str:
    """The rows that stay; of labelled ones the order may be that of time, and duplicates go without changing it."""
    if not dataset.drop_exact_duplicates:
        return f"select * from arriving{kept}"
    if dataset.is_transactions:
        return f"select distinct * from arriving{kept}"
    names = ", ".join(identifier(name) for name in given.columns)
    numbered = f'select *, row_number() over () as "row of files" from arriving{kept}'
    return f'select {names} from ({numbered}) group by {names} order by min("row of files")'


def actual(columns: Mapping[str, str], name: str) -> str:
    """The column's name as the files have it, whatever its case."""
    return next(found for found in columns if found.lower() == name.lower())


def is_number(kind: str) -> bool:
    """Whether a type of DuckDB is one of numbers."""
    return kind.upper().startswith(_NUMBERS)
