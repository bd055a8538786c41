"""What a person is told of a batch that was loaded: everything that was not as usual, in plain sentences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from perennial.quality.checking import Counts


def warnings_of(counts: Counts, copies: Iterable[tuple[str, str]]) -> list[str]:
    """Sentences on files that came twice, quarantined rows, guests and references that are missing."""
    return [
        *(f"{copy} has the content of {original}: its rows are not loaded again" for copy, original in copies),
        *_quarantined(counts),
        *_missing_references(counts),
        *_guests(counts),
    ]


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
