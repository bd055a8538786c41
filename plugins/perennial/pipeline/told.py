"""What a person is told of a batch that was loaded: everything that was not as usual, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from perennial.contracts.sources import SourceEntity
from perennial.quality.checking import Counts
from perennial.sources.staging import StagedFile


def warnings_of(
    contract: SourceEntity, staged: Sequence[StagedFile], counts: Counts, copies: Iterable[tuple[str, str]]
) -> list[str]:
    """Sentences on files that came twice, new columns, quarantined rows, guests and references that are missing."""
    return [
        *(f"{copy} has the content of {original}: its rows are not loaded again" for copy, original in copies),
        *_new_columns(contract, staged),
        *_quarantined(counts),
        *_missing_references(counts),
        *_guests(counts),
    ]


def _new_columns(contract: SourceEntity, staged: Sequence[StagedFile]) -> Iterator[str]:
    known = set(contract.source_columns)
    first_seen: dict[str, str] = {}
    for one in staged:
        for column in one.file.header:
            if column not in known:
                first_seen.setdefault(column, one.file.file.name)
    for column, name in first_seen.items():
        yield f"{name}: new column {column!r} is not in the contract, and is not loaded"


def _quarantined(counts: Counts) -> Iterator[str]:
    by_rule = [f"{count.rule} {count.bad:,}" for count in counts.profile if count.bad and not count.only_warns]
    if counts.quarantined:
        rows = "1 row is" if counts.quarantined == 1 else f"{counts.quarantined:,} rows are"
        yield f"{rows} in quarantine ({', '.join(by_rule)})"


def _missing_references(counts: Counts) -> Iterator[str]:
    for count in counts.profile:
        if count.only_warns and count.bad:
            yield f"{count.rule}: {count.bad:,} of {count.rows:,} rows name what is not known yet; they are loaded"


def _guests(counts: Counts) -> Iterator[str]:
    if counts.guests:
        yield f"{counts.guests:,} rows without a known client are loaded as sales to guests"
