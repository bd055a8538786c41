"""From a file to the YAML that takes it in: how it is written, which entity it is, which column is which."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import combinations
from pathlib import Path
from typing import Any

from perennial.contracts.entities import ENTITIES
from perennial.sources import guessing
from perennial.sources.mapping import Match, Profile, best_match, profile
from perennial.sources.sampling import Sample, sample

UNKNOWN = "?"  # stands for a needed column that was not found
_DATE_IN_NAME = re.compile(r"(?<!\d)\d{4}-\d{2}-\d{2}(?!\d)")
_PLAIN = re.compile(r"[^\W\d_][\w./@ -]*[\w.]")
_YAML_WORDS = frozenset({"y", "n", "yes", "no", "true", "false", "on", "off", "null"})
_FEW, _SHORT, _A_FEW_DAYS = 8, 20, 2


@dataclass(frozen=True)
class Inferred:
    """A whole sources.yml for one file, and what a person should look at."""

    yaml: str
    notes: tuple[str, ...]


def infer(path: Path) -> Inferred:
    """Look at the file's first rows. Raises BatchRefused where it is nothing that can be read."""
    found = sample(path)
    profiles = {name: profile(name, found.values(name)) for name in found.names}
    matched = best_match(profiles)
    form = found.form | _marks(profiles) | _moments(matched, profiles)
    notes = [*found.notes, *_notes(matched, profiles)]
    return Inferred("\n".join(_document(path, form, found, matched, profiles)) + "\n", tuple(notes))


def _marks(profiles: Mapping[str, Profile]) -> dict[str, Any]:
    """The decimal mark and the separator of thousands under which most columns of numbers are read."""
    numbers = [one for one in profiles.values() if one.numbers and not guessing.all_whole(one.values)]
    styles = {one.numbers for one in numbers if one.numbers}
    if not styles:
        return {}

    def readable(style: tuple[str, str | None]) -> tuple[int, bool]:
        return sum(all(guessing.is_number(v, *style) for v in one.values) for one in numbers), style[1] is None

    decimal, thousands = max(sorted(styles, key=str), key=readable)
    return ({"decimal": decimal} if decimal != "." else {}) | ({"thousands": thousands} if thousands else {})


def _moments(matched: Match, profiles: Mapping[str, Profile]) -> dict[str, Any]:
    """The formats of the mapped columns of dates and of times, where they are not ISO 8601."""
    formats: dict[str, Any] = {}
    for kind, key in (("timestamp", "timestamp_format"), ("date", "date_format")):
        columns = [profiles[name] for column, name in matched.columns.items()
                   if matched.entity.columns[column].type == kind]  # fmt: skip
        styles = Counter(style.codes for one in columns if (style := one.times or one.dates) is not None)
        if styles and (most := styles.most_common(1)[0][0]) is not None:
            formats[key] = most
    return formats


def _notes(matched: Match, profiles: Mapping[str, Profile]) -> Iterator[str]:
    for column in matched.missing:
        yield f"{matched.entity.name} needs {column}, and no column looks like it: put its name in place of {UNKNOWN!r}"
    for name in matched.columns.values():
        style = profiles[name].times or profiles[name].dates
        if style is not None and style.swapped:
            yield f"{name}: day and month can be read both ways; {style.codes} was taken, {style.swapped} reads it too"


def _document(
    path: Path, form: Mapping[str, Any], found: Sample, matched: Match, profiles: Mapping[str, Profile]
) -> Iterator[str]:
    entity = matched.entity
    source = _slug(path.name.removesuffix(found.suffix))
    dag = "ingest_sales" if entity.name in {"order_lines", "products"} else "ingest_crm"
    where, dated = _path_and_date(path.name, found.suffix, matched, profiles)
    yield "version: 1"
    yield "sources:"
    yield f"  {source}:"
    yield f"    description: {_scalar('Files like ' + path.name)}"
    yield "    owner: data-engineering"
    yield f"    dag: {dag}"
    yield f"    namespace: {source}  # sources with the same client keys have the same"
    yield "    entities:"
    yield f"      {entity.name}:"
    yield f"        entity: {entity.name}"
    yield f"        path: {_scalar(f'{source}/{where}')}"
    yield f"        business_date: {_scalar(dated)}"
    yield f"        format: {{{', '.join(f'{key}: {_scalar(value)}' for key, value in form.items())}}}"
    yield "        columns:"
    for column in entity.columns:
        if column in matched.columns:
            name = matched.columns[column]
            seen = "" if entity.columns[column].personal else _seen(profiles[name], form)
            yield f"          {column}: {_scalar(name)}{seen}"
        elif column in matched.missing:
            yield f"          {column}: {_scalar(UNKNOWN)}  # needed, and not found"
    unused = [name for name in found.names if name not in matched.columns.values()]
    if unused:
        yield f"        # kept, and not mapped: {_comment(', '.join(unused))}"
    for key in _keys(found, matched):
        yield f"        # different in each of the {len(found.rows):,} rows looked at: {_comment(key)}"


def _path_and_date(name: str, suffix: str, matched: Match, profiles: Mapping[str, Profile]) -> tuple[str, str]:
    """The pattern of the files' names, and where their business date is from."""
    safe = "*" + suffix if set("{}*") & set(name) or not name.isprintable() else name
    in_name = _DATE_IN_NAME.search(safe)
    pattern = _DATE_IN_NAME.sub("{date}", safe, count=1) if in_name else safe
    kinds = {column: matched.entity.columns[column] for column in matched.columns}
    dated = [
        c for c, kind in kinds.items() if kind.type in {"timestamp", "date"} and not kind.personal and kind.required
    ]
    own = dated if matched.entity.kind != "entities" else []
    if in_name and not (own and _span_days(profiles[matched.columns[own[0]]]) > _A_FEW_DAYS):
        return pattern, "{date}"
    if own:
        return pattern if in_name or "*" in pattern else pattern.removesuffix(suffix) + "*" + suffix, own[0]
    return (pattern if "{date}" in pattern else pattern.removesuffix(suffix).rstrip("*") + "_{date}" + suffix), "{date}"


def _span_days(one: Profile) -> int:
    style = one.times or one.dates
    codes = style.codes if style else None
    days = [moment.toordinal() for value in one.values if (moment := guessing.moment(value, codes)) is not None]
    return max(days) - min(days) if days else 0


def _seen(one: Profile, form: Mapping[str, Any]) -> str:
    """A comment: the bounds of numbers and dates in the sample, or the few values that a text has."""
    style = one.dates or one.times
    if not one.values:
        return "  # empty in the rows looked at"
    if style is not None:
        moments = sorted(
            m.replace(tzinfo=None) for v in one.values if (m := guessing.moment(v, style.codes)) is not None
        )
        return f"  # {moments[0]:%Y-%m-%d} .. {moments[-1]:%Y-%m-%d}" if moments else ""
    if one.numbers is not None and not any(value.startswith("0") and value.isdigit() for value in one.values):
        numbers = [n for value in one.values if (n := _number(value, form)) is not None]
        return f"  # {min(numbers)} .. {max(numbers)}" if numbers else ""
    few = sorted(set(one.values))
    if len(few) <= _FEW and len(few) * 2 <= len(one.values) and all(len(text) <= _SHORT for text in few):
        return f"  # {_comment(', '.join(few))}"
    return ""


def _number(value: str, form: Mapping[str, Any]) -> Decimal | None:
    plain = re.sub(r"[\s'\u2019_]", "", value.replace(form.get("thousands") or "\0", ""))
    try:
        return Decimal(plain.replace(form.get("decimal", "."), "."))
    except InvalidOperation:
        return None


def _keys(found: Sample, matched: Match) -> Iterator[str]:
    """Columns, or the entity's own key, that differ in every row of the sample."""
    if len(found.rows) <= 1:
        return
    single = [name for name in found.names[:30] if len(set(found.values(name))) == len(found.rows)]
    yield from single[:3]
    key = [matched.columns[column] for column in ENTITIES[matched.entity.name].key if column in matched.columns]
    pairs = [tuple(key)] if len(key) > 1 else list(combinations(list(matched.columns.values())[:5], 2))
    for pair in pairs if not single else []:
        seen = {tuple(str(row.get(name)) for name in pair) for row in found.rows}
        if len(seen) == len(found.rows):
            yield " with ".join(pair)
            return


def _slug(name: str) -> str:
    """A name of a source: the letters of the file's name, without its date."""
    text = re.sub(r"[^a-z0-9]+", "_", _DATE_IN_NAME.sub("", name).lower()).strip("_")
    return text if text[:1].isalpha() and text not in _YAML_WORDS else f"files_{text}".rstrip("_")


def _scalar(value: Any) -> str:
    """The value in YAML; a text is quoted where YAML would read something else (L23)."""
    if not isinstance(value, str):
        return json.dumps(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _YAML_WORDS:
        return value
    return json.dumps(value, ensure_ascii=not value.isprintable())


def _comment(text: str) -> str:
    return "".join(char if char.isprintable() else " " for char in text)[:300]
