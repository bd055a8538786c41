"""`perennial sources check`: is it reached, are we let in, is there a record, has it what the mapping needs?"""

from __future__ import annotations

import difflib
import itertools
import json
from collections.abc import Iterator
from typing import Any

from perennial.core.errors import PerennialError, PermanentError
from perennial.sources.fetching import Request
from perennial.sources.rest.client import GoneError, SignInError
from perennial.sources.rest.definitions import Plan, plan_of
from perennial.sources.rest.listing import Listing
from perennial.sources.rest.opening import open_client
from perennial.sources.rest.paths import paths_in, resolve
from perennial.sources.rest.records import Record
from perennial.sources.rest.writing import line_of

_LOOKED_AT = 100  # records: a field that is empty in one may be there in another


def check(request: Request) -> list[tuple[str, str]]:
    """Named steps with `ok` or what is wrong and how to mend it; steps behind a failed one are left out."""
    try:
        plan = plan_of(request)
    except PerennialError as error:
        return [("definition and connection", str(error))]
    steps = [("definition and connection", "ok")]
    try:
        with open_client(plan, request, attempts=2) as client:
            since = plan.endpoint.incremental.start if plan.endpoint.incremental else None
            found = list(itertools.islice(Listing(plan, client).records({"since": since}), _LOOKED_AT))
    except SignInError as error:
        return [*steps, ("connect", "ok"), ("sign in", str(error))]
    except (GoneError, PermanentError) as error:
        return [*steps, ("connect", "ok"), ("sign in", "ok"), ("read a record", str(error))]
    except PerennialError as error:
        return [*steps, ("connect", str(error))]
    steps += [("connect", "ok"), ("sign in", "ok")]
    if not found:
        return [*steps, ("read a record", "there is none, so that the fields could not be looked at")]
    return [*steps, ("read a record", "ok"), ("fields", _fields(request, plan, found) or "ok")]


def _fields(request: Request, plan: Plan, records: list[Record]) -> str:
    """Which fields of the mapping no record has, each with the nearest that there is."""
    rows = [row for record in records for row in _rows(json.loads(line_of(record, plan.endpoint)), request)]
    known = sorted({path for row in rows for path in _paths(row)})
    problems = []
    for column, mapped in request.entity.columns.items():
        if mapped.source in known or any(_value(row, mapped.source) is not None for row in rows):
            continue
        near = difflib.get_close_matches(mapped.source, known, n=1, cutoff=0.4)
        problems.append(f"{column}: no record has {mapped.source}" + (f"; did you mean {near[0]}?" if near else ""))
    return ", ".join(problems)


def _rows(record: Any, request: Request) -> Iterator[Any]:
    """The record, or the items of the list that `format.row` names, each with what is above it under `../`."""
    row = request.entity.format.row
    if row is None:
        yield record
        return
    above = {f"../{path}": resolve(record, path) for path in paths_in(record)}
    for item in resolve(record, row) or []:
        yield {**item, **above}


def _value(row: Any, path: str) -> Any:
    return row.get(path) if path.startswith("../") else resolve(row, path)


def _paths(row: dict[str, Any]) -> Iterator[str]:
    above = {name: value for name, value in row.items() if name.startswith("../")}
    yield from above
    yield from paths_in({name: value for name, value in row.items() if name not in above})
