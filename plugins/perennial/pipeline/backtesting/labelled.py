"""A `labelled` data set: one row per client as columns of numbers and words, with label, costs, arms and outcomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from perennial.contracts.backtests import DataSet
from perennial.core.errors import BatchRefused, ConfigError, Problem
from perennial.core.sqltext import identifier, literals
from perennial.pipeline.backtesting.reading import Given, Place, actual, read_files, roles_of

if TYPE_CHECKING:
    from perennial.scoring.protocols import Labelled

MAX_ROWS = 500_000
_MISSING = ("", "?", "na", "n/a", "nan", "null", "#n/a")
_POSITIVE = ("1", "1.0", "yes", "y", "true", "t", "churn", "churned", "exited", "left", "lapsed", "cancelled", "lost")
_NEGATIVE = ("0", "0.0", "no", "n", "false", "f", "stayed", "retained", "active", "existing", "-1", "kept")
_MANY = 200  # different words: of more, a column of words is read as an id when it has them for every other row
_MOSTLY = 0.99  # of the known values are numbers: the others are taken for unknown
_TWO, _FEW = 2, 10


@dataclass(frozen=True)
class _Column:
    """What a column of features holds: `number`, `word`, `moment`, or why it is left out."""

    name: str
    kind: str
    reason: str = ""


def read_labelled(dataset: DataSet, where: Place, data: Path, scratch: Path) -> tuple[Labelled, dict[str, int | str]]:
    """The data set with its counts. Raises ConfigError when the label's event cannot be told, BatchRefused for no rows.

    Ids, constants and columns without a value are left out of the features and named in `sentences`. Of more than
    500,000 rows a sample by the hash of their number is taken.
    """
    from perennial.scoring.protocols import Labelled

    with read_files(dataset, where, data, scratch) as given:
        sentences = _number_rows(given, dataset, where)
        label, event = _label(given, dataset, where)
        columns = _columns(given, dataset)
        sentences += [f"left out: {column.name}, {column.reason}" for column in columns if column.reason]
        kept = [column for column in columns if not column.reason]
        if not kept:
            raise BatchRefused(Problem(where("columns"), "no column is left to learn from", "see leave_out"))
        features = _frame(given, dataset, kept)
        costs = {name: _cost(given, dataset, value, where) for name, value in dataset.columns.costs.items()}
        outcomes = {one.column: _outcome(given, dataset, one.column, where) for one in dataset.outcomes}
        treatment = _words(given, str(dataset.columns.treatment)) if dataset.is_randomised else None
        counts: dict[str, int | str] = {**given.counts, "clients": len(features), "columns": len(kept)}
    if label is not None:
        counts["events"] = f"{int(label.sum()):,} ({label.mean():.4f}), {event}"
    words = tuple(column.name for column in kept if column.kind == "word")
    made = Labelled(
        dataset, features, label, costs, treatment, outcomes, tuple(sentences), dataset.seed, categorical=words
    )
    return made, counts


def _number_rows(given: Given, dataset: DataSet, where: Place) -> list[str]:
    """Make `numbered`: the rows in the order of time or of the files, those without a label left out."""
    said = []
    known = "true"
    if dataset.columns.label:
        label = identifier(actual(given.columns, dataset.columns.label))
        known = f"not ({_is_missing(label, dataset)})"
        without = given.rows(f"select count(*) from given where not ({known})")[0][0]
        if without:
            said.append(f"{without:,} rows without a label are left out")
    order = "rowid"
    if dataset.columns.time:
        from perennial.pipeline.backtesting.moments import moments_of

        order = f"{moments_of(given, dataset, where).sql}, rowid"
    rows = given.rows(f"select count(*) from given where {known}")[0][0]
    if not rows:
        raise BatchRefused(Problem(where("columns"), "no row is left", "see the filters and the label"))
    sample = ""
    if rows > MAX_ROWS:
        said.append(f"of {rows:,} rows {MAX_ROWS:,} are taken, by the hash of their number")
        sample = f" order by md5(rowid::varchar) limit {MAX_ROWS}"
    given.connection.execute(
        f'create table numbered as select *, row_number() over (order by {order}) as "row number" '
        f"from (select *, rowid from given where {known}{sample}) order by {order}"
    )
    return said


def _is_missing(column: str, dataset: DataSet) -> str:
    words = literals([*_MISSING, *(word.lower() for word in dataset.missing)])
    return f"{column} is null or lower(trim(cast({column} as varchar))) in ({words})"


def _label(given: Given, dataset: DataSet, where: Place) -> tuple[Any, str]:
    """0/1 of every row, and which value is the event."""
    if dataset.columns.label is None:
        return None, ""
    name = actual(given.columns, dataset.columns.label)
    words = _words(given, name)
    found = sorted(set(words.tolist()))
    event = _event(found, dataset, where)
    return (words == event).astype(np.float64), f"{name} = {event}"


def _event(found: Sequence[str], dataset: DataSet, where: Place) -> str:
    if dataset.positive is not None:
        wanted = str(dataset.positive).lower()
        for word in found:
            if word.lower() == wanted or _as_number(word) == _as_number(wanted) is not None:
                return word
        raise ConfigError(Problem(where("positive"), f"the label has no value {wanted!r}", f"it has {_shown(found)}"))
    if len(found) != _TWO:
        said = f"the label is no event: it has {_shown(found)}"
        raise ConfigError(Problem(where("columns", "label"), said, "say positive: the value that is the event"))
    bare = [word.lower().rstrip(".").split(" ")[0] for word in found]
    events = [word for word, short in zip(found, bare, strict=True) if short in _POSITIVE]
    others = [word for word, short in zip(found, bare, strict=True) if short in _NEGATIVE]
    if len(events) == 1:
        return events[0]
    if len(others) == 1:
        return next(word for word in found if word not in others)
    fix = f"say positive: {found[0]} or {found[1]}"
    raise ConfigError(Problem(where("columns", "label"), "which value is the event cannot be told", fix))


def _shown(found: Sequence[str]) -> str:
    """The values of a label; where there are many it is no label, and they may be personal (L22)."""
    return ", ".join(found) if len(found) <= _FEW else f"{len(found):,} different values"


def _as_number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:
        return None


def _words(given: Given, name: str) -> Any:
    column = identifier(actual(given.columns, name))
    rows = given.rows(f'select trim(cast({column} as varchar)) from numbered order by "row number"')
    return np.array([row[0] for row in rows], dtype=object)


def _outcome(given: Given, dataset: DataSet, name: str, where: Place) -> Any:
    """A number of every row; a row without one counts as nothing."""
    column = identifier(actual(given.columns, name))
    number = f"try_cast({column} as double)"
    rows = given.rows(f'select {number} from numbered order by "row number"')
    values = np.array([row[0] for row in rows], dtype=np.float64)
    if np.isnan(values).all():
        words = _words(given, name)
        return (words == _event(sorted(set(words.tolist())), dataset, where)).astype(np.float64)
    return np.nan_to_num(values)


def _cost(given: Given, dataset: DataSet, value: str | float, where: Place) -> Any:
    rows = given.rows("select count(*) from numbered")[0][0]
    if not isinstance(value, str):
        return np.full(rows, float(value))
    return _outcome(given, dataset, value, where)


def _columns(given: Given, dataset: DataSet) -> list[_Column]:
    """What each column that is no role is read as, or why it is left out."""
    apart = {name.lower() for name in (*roles_of(dataset).values(), *(one.column for one in dataset.outcomes))}
    left_out = {name.lower() for name in dataset.leave_out}
    found = []
    for name, kind in given.columns.items():
        if name.lower() in left_out:
            found.append(_Column(name, "", "as the data set says"))
        elif name.lower() not in apart:
            found.append(_look(given, dataset, name, kind))
    return found


def _look(given: Given, dataset: DataSet, name: str, kind: str) -> _Column:
    column = identifier(name)
    known = f"not ({_is_missing(column, dataset)})"
    number = f"try_cast({column} as double)"
    moment = f"try_cast(cast({column} as varchar) as timestamp)"
    tests = [f"count(*) filter (where {known})", f"count(distinct {column}) filter (where {known})"]
    tests += [f"count(*) filter (where {known} and {test} is not null)" for test in (number, moment)]
    tests += [f"count(*) filter (where {known} and {number} is not null and {number} <> floor({number}))", "count(*)"]
    values, different, numbers, moments, broken, rows = given.rows(f"select {', '.join(tests)} from numbered")[0]
    is_listed = name.lower() in {one.lower() for one in dataset.categorical}
    if not values:
        return _Column(name, "", "it has no value")
    if different == 1 and values == rows:
        return _Column(name, "", "it is the same for everyone")
    if kind == "BOOLEAN" or (numbers >= _MOSTLY * values and not is_listed):
        is_id = different == rows and not broken and rows > _MANY
        return _Column(name, "number", "it looks like an id: another whole number for everyone" if is_id else "")
    if moments >= _MOSTLY * values and not is_listed:
        return _Column(name, "moment")
    is_text = different > max(_MANY, rows // 2)
    reason = "it looks like an id or free text: other words for almost everyone"
    return _Column(name, "word", reason if is_text else "")


def _frame(given: Given, dataset: DataSet, columns: Sequence[_Column]) -> Any:
    """The features as a pandas frame: float64, and category with the words in their order."""
    import pandas as pd

    parts = []
    for one in columns:
        column = identifier(one.name)
        value = {
            "number": f"try_cast({column} as double)",
            "moment": f"epoch(try_cast(cast({column} as varchar) as timestamp)) / 86400.0",
            "word": f"trim(cast({column} as varchar))",
        }[one.kind]
        parts.append(f"case when not ({_is_missing(column, dataset)}) then {value} end as {column}")
    table = given.connection.sql(f'select {", ".join(parts)} from numbered order by "row number"').to_arrow_table()
    frame: dict[str, Any] = {}
    for one in columns:
        values = table.column(one.name)
        if one.kind == "word":
            frame[one.name] = pd.Categorical(values.to_pylist(), ordered=False)
        else:
            numbers = values.to_numpy().astype(np.float64)
            frame[one.name] = np.where(np.isinf(numbers), np.nan, numbers)
    return pd.DataFrame(frame)
