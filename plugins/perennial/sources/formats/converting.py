"""One file of Excel, JSON lines or XML made Parquet, by the module of its format."""

from __future__ import annotations

import codecs
import difflib
import shutil
from pathlib import Path

from perennial.contracts.entities import ENTITIES
from perennial.contracts.sources import FileFormat, SourceEntity
from perennial.core.errors import Problem
from perennial.sources.formats.rows import Converted, FormatError, RowWriter

_CHUNK = 1 << 20
_RENAMED = 0.8  # how much alike a missing path and a new one must be


def convert(path: Path, contract: SourceEntity, target: Path, rejects: Path, wanted: list[str]) -> Converted:
    """Write the rows to `target` and what is no row to `rejects`. Raises FormatError for a file that is neither."""
    form = contract.format
    with RowWriter(target, rejects, wanted) as writer:
        if form.type == "excel":
            from perennial.sources.formats.excel import read_excel

            writer.names_are(read_excel(path, contract, writer))
        elif form.type == "jsonl":
            from perennial.sources.formats.jsonrows import read_jsonl

            plain = _in_utf8(path, form, target.with_suffix(".utf8"))
            utf8 = form if plain == path else form.model_copy(update={"encoding": "utf-8"})
            read_jsonl(plain, utf8, writer)
        else:
            from perennial.sources.formats.xmlrows import read_xml

            read_xml(path, form, writer)
    return writer.converted


def _in_utf8(path: Path, form: FileFormat, copy: Path) -> Path:
    """The file, or a copy of it in UTF-8 where a line feed is more than one byte."""
    if not codecs.lookup(form.encoding).name.startswith(("utf-16", "utf-32")):
        return path
    try:
        with path.open(encoding=form.encoding, newline="") as source, copy.open("w", encoding="utf-8") as target:
            shutil.copyfileobj(source, target, _CHUNK)
    except UnicodeError as error:
        raise FormatError(f"it is not {form.encoding}: {error}", "set `encoding:` in sources.yml") from None
    return copy


def missing_paths(name: str, found: Converted, contract: SourceEntity) -> Problem | None:
    """What is told of wanted paths that no row has: nothing of those that may be empty, unless they were renamed."""
    if not found.rows:
        return None
    canonical = ENTITIES[contract.entity].columns
    hints, missing = [], []
    mapped = {column.source for column in contract.columns.values()}
    free = {other.lower(): other for other in found.names if other not in mapped}
    for key, column in contract.columns.items():
        if column.source in found.seen:
            continue
        needed = canonical[key].required if column.required is None else column.required
        near = difflib.get_close_matches(column.source.lower(), free, n=1, cutoff=0.5 if needed else _RENAMED)
        if needed or near:
            missing.append(column.source)
            hints += [f"{column.source} may be called {free[near[0]]} now"] if near else []
    if not missing:
        return None
    shown = ", ".join(found.names[:30]) or "nothing"
    fix = "; ".join(hints) + ": rename it, or set its `source:` in sources.yml" if hints else "export it again with it"
    return Problem(name, f"no row has {', '.join(missing)}; the rows have {shown}", fix)
