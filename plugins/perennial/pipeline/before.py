"""What the ledger knows of a source entity before a batch: rows by date, columns, the verdicts on the last batch."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import sqlalchemy as sa

from perennial.contracts.records import RuleResult
from perennial.contracts.sources import SourceEntity
from perennial.core import clock
from perennial.ledger import gate
from perennial.quality.checking import Checker, Counts
from perennial.quality.drift import changed_types, new_columns
from perennial.quality.history import BatchRule, History, history_rules


@dataclass(frozen=True)
class Before:
    """The state of the ledger when the batch is judged; nobody else commits batches of this source meanwhile."""

    contract: SourceEntity
    history: History
    columns: Mapping[str, str]  # known columns, each with the batch that brought it first
    results: Mapping[str, RuleResult]  # of the last batch

    def rules(self, files: Sequence[tuple[date | None, int]], as_of: date | None) -> list[BatchRule]:
        """The rules on the batch as a whole, from the date in each file's name and its rows."""
        rows_on: dict[date, int] = {}
        for day, rows in files:
            on = as_of if self.history.by_batch else day or as_of
            if on is not None:
                rows_on[on] = rows_on.get(on, 0) + rows
        return history_rules(self.contract, rows_on, self.history)

    def drift(self, checker: Checker, counts: Counts, headers: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
        """Sentences on new columns and on changed types."""
        return [
            *new_columns(self.contract, headers, self.columns),
            *changed_types(checker, counts, self.results),
        ]


def before(engine: sa.Engine, source: str, source_entity: str, contract: SourceEntity) -> Before:
    """What is known of the source entity now."""
    last = gate.last_committed(engine).get((source, source_entity))
    by_batch = "{date}" not in contract.path
    landed = _landed(contract, gate.landed_by_file(engine, source, source_entity))
    history = History(landed, by_batch, last, clock.now().replace(tzinfo=None))
    columns = gate.known_columns(engine, source, source_entity)
    return Before(contract, history, columns, gate.last_results(engine, source, source_entity))


def _landed(contract: SourceEntity, files: Sequence[gate.LandedRows]) -> list[tuple[date, int]]:
    """Rows by the date in the file names, a file that came twice counting as it came last; else by batch."""
    dated = "{date}" in contract.path
    latest: dict[tuple[str, str], tuple[date, int]] = {}
    for one in files:
        day = (date_in(contract.path, one.name) if dated else None) or one.as_of
        if day is not None:
            latest["" if dated else one.batch_id, one.name] = (day, one.rows)
    summed: dict[tuple[date, str], int] = {}
    for (batch_id, _name), (day, rows) in latest.items():
        summed[day, batch_id] = summed.get((day, batch_id), 0) + rows
    return sorted((day, rows) for (day, _batch_id), rows in summed.items())


def date_in(path: str, name: str) -> date | None:
    """The date that a file's name has where the path says `{date}`."""
    head, _, tail = path.partition("{date}")
    parts = [".*".join(map(re.escape, part.split("*"))) for part in (head, tail)]
    found = re.fullmatch(rf"{parts[0]}(\d{{4}}-\d{{2}}-\d{{2}}){parts[1]}", name)
    return date.fromisoformat(found[1]) if found else None
