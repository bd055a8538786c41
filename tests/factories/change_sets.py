"""Change sets as delivery hands them to a destination."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa

from factories.exports import AS_OF
from perennial.delivery.records import ChangeSet, Counts, ListKey

SCHEMA = pa.schema([(name, pa.string()) for name in ("client_id", "action", "email", "first_name", "row_hash")])


def change_set(
    clients: Sequence[str],
    *,
    campaign_id: str = "news",
    action: str = "add",
    first_name: str = "Ann",
    part: int = 1,
    rejected: int = 0,
    sent: int | None = None,
    breaks_after: int | None = None,
    to: str = "outbox",
) -> ChangeSet:
    """One row per client; `breaks_after` so many rows the source of the rows fails."""
    rows = [
        dict(zip(SCHEMA.names, (one, action, f"{one}@example.com", first_name, f"hash-{one}"), strict=True))
        for one in clients
    ]
    wanted = len(rows) if sent is None else sent
    reasons = {"no_email": rejected} if rejected else {}

    def batches() -> Iterator[pa.RecordBatch]:
        for number, row in enumerate(rows):
            if number == breaks_after:
                raise OSError(5, "the source broke")
            yield pa.RecordBatch.from_pylist([row], schema=SCHEMA)

    return ChangeSet(
        key=ListKey(campaign_id, "email", AS_OF),
        part=part,
        list_type="send" if action == "add" else "audience",
        destination=to,
        counts=Counts(wanted + rejected, wanted, rejected, 0, 0, reasons),
        actions={**dict.fromkeys(("add", "update", "remove"), 0), action: wanted},
        schema=SCHEMA,
        batches=batches,
    )


def nothing_to_confirm() -> None:
    """A lock that nobody took."""
