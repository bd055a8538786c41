"""Which canonical entity the columns of a file are, and which column is which: by their names and their values."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from perennial.contracts.entities import ENTITIES, Column, ColumnType, Entity, EntityName
from perennial.sources import guessing
from perennial.sources.synonyms import names_of, plain

_ALIKE = 0.86  # of two names, where none is the same
_OWN, _KNOWN, _NEAR, _MISSING = 3.0, 2.0, 0.5, -4.0


@dataclass(frozen=True)
class Profile:
    """What the values of a column of a file are like."""

    name: str
    values: tuple[str, ...]
    numbers: tuple[str, str | None] | None  # marks; None: no numbers
    dates: guessing.Moments | None
    times: guessing.Moments | None

    def fits(self, kind: ColumnType) -> bool:
        """Whether the values may be of the type; a column without values may be anything."""
        if not self.values or kind == "text":
            return True
        if kind == "boolean":
            return guessing.all_truths(self.values)
        if kind == "date":
            return self.dates is not None
        if kind == "timestamp":
            return self.times is not None or self.dates is not None
        return self.numbers is not None


@dataclass
class Match:
    """An entity with the columns that were found for it: canonical column -> the file's."""

    entity: Entity
    columns: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    score: float = 0.0


def profile(name: str, values: Sequence[str]) -> Profile:
    """Look at the values of one column."""
    dates = guessing.date_style(values)
    times = None if dates else guessing.time_style(values)
    return Profile(name, tuple(values), guessing.number_style(values), dates, times)


def best_match(profiles: Mapping[str, Profile]) -> Match:
    """The entity that the columns fit best; `missing` are needed columns for which none was found."""
    return max((match(ENTITIES[name], profiles) for name in ENTITIES), key=lambda found: found.score)


def match(entity: Entity, profiles: Mapping[str, Profile]) -> Match:
    """The file's columns for one entity; each is taken once."""
    found = Match(entity)
    free = {name: _plain_names(name) for name in profiles}
    wanted = {name: column for name, column in entity.columns.items() if name != "line_kind"}
    for column, weight, name in sorted(_candidates(entity.name, wanted, profiles), key=lambda one: -one[1]):
        if column not in found.columns and name in free:
            found.columns[column] = name
            found.score += weight
            del free[name]
    found.missing = [name for name, column in wanted.items() if column.required and name not in found.columns]
    if entity.name == "order_lines" and not {"amount", "unit_price"} & set(found.columns):
        found.missing.append("amount")
    found.score += _MISSING * len(found.missing)
    found.columns = {name: found.columns[name] for name in wanted if name in found.columns}
    return found


def _candidates(
    entity: EntityName, wanted: Mapping[str, Column], profiles: Mapping[str, Profile]
) -> list[tuple[str, float, str]]:
    """(canonical column, how sure, the file's column) for all that fit by name and by values."""
    found: list[tuple[str, float, str]] = []
    for column, kind in wanted.items():
        known = names_of(entity, column)
        for name, one in profiles.items():
            weight = _likeness(known, _plain_names(name))
            if weight and one.fits(kind.type):
                found.append((column, weight + (_NEAR if kind.required else 0), name))
    return found


def _plain_names(name: str) -> list[str]:
    """The whole name, and of a path its last step."""
    last = name.replace("/", ".").rsplit(".", 1)[-1]
    return list(dict.fromkeys([plain(name), plain(last)]))


def _likeness(known: Sequence[str], names: Sequence[str]) -> float:
    best = 0.0
    for place, name in enumerate(names):
        if name in known:
            rank = known.index(name)
            weight = _OWN if rank == 0 else _KNOWN - rank / (2 * len(known))
        else:
            weight = _NEAR if difflib.get_close_matches(name, known, n=1, cutoff=_ALIKE) else 0.0
        best = max(best, weight - 0.1 * place if weight else 0.0)
    return best
