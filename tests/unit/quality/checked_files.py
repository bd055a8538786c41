"""Checking one file without the gate and the ledger, for tests of single rules."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager

from factories.landing_zone import Zone
from perennial.quality.checking import Checker
from perennial.sources.config import load_sources
from perennial.sources.inspection import inspect
from perennial.sources.landing import look
from perennial.sources.staging import arrive, open_scratch, settle


@contextmanager
def checked(zone: Zone, source: str, entity: str):
    """The checker of everything that lies in the landing zone for this entity, after its pass."""
    definition = load_sources(zone.settings).sources[source]
    contract = definition.entities[entity]
    scratch = zone.home / "scratch"
    scratch.mkdir()
    files = [
        inspect(zone.settings.landing / file.name, file, contract, scratch)
        for file in look(zone.settings, source).ready[entity]
    ]
    assert [file.problem for file in files] == [None] * len(files)
    with open_scratch(scratch) as connection:
        arrive(connection, files, contract)
        checker = Checker(
            connection, definition, contract, zone.settings.company.zone, odd_spaces=any(f.odd_spaces for f in files)
        )
        checker.judge_arriving({})
        settle(connection, files, contract)
        checker.settle()
        yield checker


def values(checker: Checker, *columns: str) -> list[tuple]:
    """Those columns of all rows by line."""
    return checker.connection.execute(f"select {', '.join(columns)} from checked order by file, line").fetchall()


def broken(checker: Checker) -> dict[str, int]:
    """Bad rows by rule."""
    return {count.rule: count.bad for count in checker.counts().profile if count.bad and not count.only_warns}


def column(zone: Zone, source: str, entity: str, name: str, *, extra: Sequence[str] = ()) -> list:
    """The values of one canonical column, None where it is not of its type."""
    with checked(zone, source, entity) as checker:
        return [row[0] if not extra else row for row in values(checker, name, *extra)]
