"""Segments for people: what they are today, what one would be before it is in config/, and whether all are right."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from perennial.contracts.records import DayRun
from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import Settings
from perennial.core.yamlfile import read_yaml
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import published_version
from perennial.pipeline.plan import day_facts
from perennial.pipeline.rekey import aliases_of
from perennial.targeting import sizing
from perennial.targeting.catalogue import catalogue_of, contracted_tables, nearest
from perennial.targeting.config import Targeting, load_rules
from perennial.targeting.facts import DayFacts
from perennial.targeting.scan import (
    Known,
    known_of,
    published_catalogue,
    scan_clients,
    sizes,
    undecided,
    version_of_rules,
)
from perennial.targeting.why import terms_of
from perennial.warehouse.engine import Published, open_published

Told = dict[str, Any]
_SHOWN = 5  # characters of a client's id


@dataclass(frozen=True)
class _Day:
    """A published day with the segments computed for it, and what that cost."""

    published: Published
    targeting: Targeting
    known: Known
    engine: sa.Engine
    run: DayRun
    scan_ms: float


def list_segments(settings: Settings, run: DayRun | None) -> list[Told]:
    """Each segment by id: description, rule, what names it, and what the newest planned day says of its size."""
    if run is None:
        targeting = load_rules(settings, catalogue_of(contracted_tables(settings.dbt_project_dir)))
        newest: dict[str, Told] = {}
    else:
        with open_published(settings, published_version(open_ledger(settings), run.run_id)) as published:
            targeting = load_rules(settings, published_catalogue(published, published.tables()))
            known = known_of(published, published.tables(), run.as_of, targeting)
            newest = sizing.newest_sizes(published, known, run.as_of)
    used: dict[str, list[str]] = {segment.id: [] for segment in targeting.segments}
    for name, rule in targeting.segment_rules.items():
        for below in rule.segments:
            used[below].append(name)
    return [
        {
            "segment": one.id,
            "description": one.description,
            "where": one.where,
            "used_by": sorted(used[one.id]),
            **{key: newest.get(one.id, {}).get(key) for key in ("as_of_date", "clients", "entered", "exited")},
        }
        for one in sorted(targeting.segments, key=lambda one: one.id)
    ]


def check_segments(settings: Settings, file: Path | None, run: DayRun | None) -> Told:
    """Whether all rules are right, by the published names or else the contracted ones; with a day, what they select.

    Gives `segments`, how many there are, and `remarks`. Raises ConfigError with every mistake.
    """
    if run is None:
        targeting = load_rules(settings, catalogue_of(contracted_tables(settings.dbt_project_dir)), file)
        return {"segments": len(targeting.segments), "remarks": _constant(targeting)}
    with _scanned(settings, run, file) as day:
        targeting = day.targeting
        remarks = [*_constant(targeting), *sizing.strange_categories(day.published, targeting, day.known)]
        found = sizes(day.published, targeting)
        everyone = sizing.worth(day.published, "true")["clients"]
        waiting = undecided(targeting, day.known.scores)
        for name, clients in sorted(found.items()):
            if name in waiting:
                remarks.append(f"{name} stands on a score that {run.as_of} does not have")
            elif clients in (0, everyone):
                remarks.append(f"{name} selects {'everyone' if clients else 'nobody'}")
        return {"segments": len(targeting.segments), "remarks": remarks, "scan_ms": day.scan_ms}


def preview_segments(settings: Settings, file_or_id: str, run: DayRun) -> Told:
    """The segments of a file, or one of config/segments, on the run's day, as a plan would compute them.

    Per segment: size, share of revenue, who may be written to by channel, overlaps, change, drift, and ten masked
    clients with the values that their rule met. Nothing is written. Raises ConfigError with every mistake.
    """
    path = Path(file_or_id)
    is_file = path.suffix in (".yml", ".yaml") or path.is_file()
    with _scanned(settings, run, path if is_file else None) as day:
        wanted = _wanted(day.targeting, file_or_id, path if is_file else None)
        facts, _mixed = day_facts(settings, day.engine, run, day.targeting, aliases_of(day.published))
        told = [_told(day, facts, segment) for segment in wanted]
        rows = sizing.worth(day.published, "true")["clients"]
        strange = sizing.strange_categories(day.published, day.targeting, day.known)
    return {
        "as_of": run.as_of,
        "run_id": run.run_id,
        "scan": {"ms": day.scan_ms, "clients": rows, "segments": len(day.targeting.segments)},
        "segments": told,
        "remarks": [*sizing.remarks(told), *strange],
    }


@contextmanager
def _scanned(settings: Settings, run: DayRun, file: Path | None) -> Iterator[_Day]:
    engine = open_ledger(settings)
    with open_published(settings, published_version(engine, run.run_id)) as published:
        tables = published.tables()
        targeting = load_rules(settings, published_catalogue(published, tables), file)
        known = known_of(published, tables, run.as_of, targeting)
        started = time.perf_counter()
        scan_clients(published, targeting, known)
        spent = round((time.perf_counter() - started) * 1000, 1)
        yield _Day(published, targeting, known, engine, run, spent)


def _wanted(targeting: Targeting, name: str, file: Path | None) -> list[str]:
    known = [segment.id for segment in targeting.segments]
    if file is not None:
        written = [one["id"] for one in read_yaml(file).data["segments"]]
        return [segment for segment in written if segment in known]
    if name not in known:
        fix = nearest(name, known) or "`perennial segments list` names them; a file ends in .yml"
        raise ConfigError(Problem("segments", f"no segment is called {name!r}", fix))
    return [name]


def _told(day: _Day, facts: DayFacts, segment: str) -> Told:
    published, targeting, known = day.published, day.targeting, day.known
    test = sizing.test_of(targeting, segment)
    version = version_of_rules(targeting)[segment]
    one = next(one for one in targeting.segments if one.id == segment)
    return {
        "segment": segment,
        "description": one.description,
        "where": one.where,
        "is_undecided": segment in undecided(targeting, known.scores),
        **sizing.worth(published, test),
        "unknown": sizing.unknown(published, targeting, known, segment),
        "mailable": sizing.mailable(published, targeting.policy, facts, test),
        "overlaps": sizing.overlaps(published, targeting, segment, test),
        "change": sizing.change(published, known, segment, version, test),
        "drift": sizing.drift(published, known, segment),
        "examples": _examples(day, segment, one.where, test),
    }


def _examples(day: _Day, segment: str, where: str, test: str) -> list[Told]:
    ids = sizing.some(day.published, test)
    terms = terms_of(day.published, day.targeting, day.known, {segment: where}, ids)
    return [{"client": f"{who[:_SHOWN]}***", "why": terms[who][segment]} for who in ids]


def _constant(targeting: Targeting) -> list[str]:
    """Rules that look at nothing of a client."""
    return [
        f"{name} looks at no metric and no segment: it selects everyone or nobody"
        for name, rule in sorted(targeting.segment_rules.items())
        if not (rule.metrics or rule.segments or rule.needs or '"client_id"' in rule.sql)
    ]
