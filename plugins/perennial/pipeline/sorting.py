"""The files of a batch, sorted by what is done with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from perennial.core.errors import Problem
from perennial.ledger.batches import KnownFile
from perennial.quality.checking import Counts
from perennial.sources.inspection import Inspected


@dataclass
class Sorted:
    """The files of a batch by what is done with them; each file is in exactly one list."""

    fresh: list[Inspected] = field(default_factory=list)
    again: list[tuple[Inspected, KnownFile]] = field(default_factory=list)  # the content of a committed file
    twins: list[tuple[Inspected, Inspected]] = field(default_factory=list)  # the content of a fresh file
    broken: list[Inspected] = field(default_factory=list)
    finished: list[Inspected] = field(default_factory=list)  # committed and not yet archived

    @property
    def taken(self) -> list[Inspected]:
        """The files that make the batch, in the order of their names."""
        files = [*self.fresh, *(file for file, _known in self.again), *(file for file, _twin in self.twins)]
        return sorted(files, key=lambda one: one.file.name)


def sort_out(found: Sorted, problems: Mapping[str, Problem]) -> None:
    """These fresh files, and those with the same content, are broken."""
    for twin, first in found.twins:
        if first.file.name in problems:
            problem = problems[first.file.name]
            where = problem.where.replace(first.file.name, twin.file.name)
            found.broken.append(replace(twin, problem=replace(problem, where=where)))
    found.broken += [replace(one, problem=problems[one.file.name]) for one in found.fresh if one.file.name in problems]
    found.fresh = [one for one in found.fresh if one.file.name not in problems]
    found.twins = [(twin, first) for twin, first in found.twins if first.file.name not in problems]


def date_of(found: Sorted, counts: Counts) -> date | None:
    """The latest date in the files' names; without any, the latest business date of the rows, new or known."""
    named = [one.file.file_date for one in found.taken if one.file.file_date]
    of_rows = [counts.last_business_date, *(known.as_of for _one, known in found.again)]
    return max(named or [day for day in of_rows if day], default=None)


def copies_of(found: Sorted, landed: Mapping[str, int]) -> list[tuple[str, str]]:
    """Each file with the content of another, and that one; days without rows are all alike, and no news."""
    again = [(one.file.name, known.name) for one, known in found.again]
    twins = [(twin.file.name, first.file.name) for twin, first in found.twins]
    return [(copy, original) for copy, original in (*again, *twins) if landed[copy]]
