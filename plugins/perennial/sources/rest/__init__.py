"""CRMs and shops that are asked over HTTP: one definition each (sources/definitions), read page by page.

`fetch` and `check` are the Fetcher of connections of kind `rest`. What is written: JSON lines in the scratch folder;
hashes of records in the source's folder of state; and refresh tokens, encrypted, where the vendor replaces them.
"""

from __future__ import annotations

from collections.abc import Iterator

from perennial.sources.fetching import FetchedFile, Request
from perennial.sources.rest.checking import check
from perennial.sources.rest.definitions import plan_of
from perennial.sources.rest.memory import Memory
from perennial.sources.rest.opening import open_client
from perennial.sources.rest.reading import Reading

__all__ = ["check", "fetch"]


def fetch(request: Request) -> Iterator[FetchedFile]:
    """Yield files of every record that is new, changed or gone since the last fetch.

    Raises RetryableError, PermanentError, ConfigError, and ContractViolation when an implausible share is gone (L11).
    """
    plan = plan_of(request)
    path = request.state / f"{request.entity_name}.records"
    with open_client(plan, request) as client, Memory(path, afresh=not request.cursor) as memory:
        yield from Reading(request, plan, client, memory).files()
