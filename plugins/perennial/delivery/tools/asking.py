"""Small things that connectors share: named steps, pieces of long lists, kinds of fields, moments, failed rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from perennial.core.errors import ConfigError, PerennialError, Problem
from perennial.delivery.records import CheckStep
from perennial.delivery.tools.records import Chunk, RowOutcome
from perennial.delivery.tools.rows import SortedRows, sort_rows

T = TypeVar("T")
Step = tuple[str, Callable[[], Awaitable[str]]]

# SQL types whose values are numbers, as the catalogue writes them.
_NUMBERS = ("int", "decimal", "numeric", "double", "float", "real", "bigint", "smallint", "tinyint", "hugeint")


async def checked(steps: Iterable[Step]) -> list[CheckStep]:
    """Each step told as passed with its message, or failed; what follows a failed one is skipped. Never raises."""
    told: list[CheckStep] = []
    failed = ""
    for name, look in steps:
        if failed:
            told.append(CheckStep(name, "skipped", f"not looked at, for {failed} failed"))
            continue
        try:
            told.append(CheckStep(name, "passed", await look()))
        except PerennialError as error:
            problem = error.problems[0]
            told.append(CheckStep(name, "failed", problem.message, problem.fix))
            failed = name
    return told


def pieces(many: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of at most `size`."""
    rest = iter(many)
    while piece := list(islice(rest, size)):
        yield piece


def is_number(sql_type: str) -> bool:
    """Whether values of the SQL type are numbers."""
    return sql_type.lower().startswith(_NUMBERS)


def is_date(sql_type: str) -> bool:
    """Whether values of the SQL type are dates or moments."""
    return sql_type.lower().startswith(("date", "timestamp"))


def moment_of(given: str | float | None) -> datetime | None:
    """A moment in UTC, from ISO 8601 (`Z` or a zone; without one it is UTC) or Unix seconds; None where it is none."""
    if given is None or isinstance(given, bool):
        return None
    try:
        if isinstance(given, int | float):
            return datetime.fromtimestamp(given, UTC)
        found = datetime.fromisoformat(given.strip().replace(" UTC", "+00:00"))
    except (ValueError, OverflowError, OSError):
        return None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def unknown_field(name: str, field: str, why: str, fix: str) -> ConfigError:
    """That the tool cannot take a field: nothing is dropped in silence."""
    return ConfigError(Problem(f"destination {name}", f"the field {field!r} {why}", fix))


def sorted_chunk(chunk: Chunk, *, longest_text: int | None = None) -> SortedRows:
    """The rows of a chunk, sorted for the call; who is taken off a list needs an address only."""
    rows = sort_rows(chunk.contacts, longest_text=None if chunk.action == "remove" else longest_text)
    if chunk.action == "remove":  # a wrong field does not keep anybody on a list
        wrong = {outcome.client_id for outcome in rows.outcomes if outcome.code == "bad_field"}
        stripped = [type(one)(one.client_id, one.client_key, one.address) for one in chunk.contacts]
        return sort_rows(stripped) if wrong else rows
    return rows


def judged_by_list(rows: SortedRows, standing: Iterable[str], words: str) -> tuple[RowOutcome, ...]:
    """Where a tool says that rows failed but not which: who stands on the list was accepted, the others were not."""
    on = set(standing)
    for address in [address for address, contact in rows.good.items() if contact.client_id not in on]:
        rows.refuse(address, "refused_by_tool", words)
    return rows.accept_the_rest()
