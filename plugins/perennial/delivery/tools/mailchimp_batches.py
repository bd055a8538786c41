"""Mailchimp's asynchronous batches: one operation per member, followed to the end, results read from an archive."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from perennial.core.errors import Problem, RetryableError
from perennial.delivery.tools.records import Chunk, Submitted
from perennial.delivery.tools.rows import SortedRows, sort_rows
from perennial.delivery.tools.words import masked

if TYPE_CHECKING:
    from perennial.delivery.tools.mailchimp import Mailchimp

_LONGEST_TEXT = 255
_BAD = 400


async def hand_in(tool: Mailchimp, rows: SortedRows, status_if_new: str) -> dict[str, str]:
    """Start a batch that makes or updates the rows; PUT is repeatable, so the batch is. Gives its ticket."""
    from perennial.delivery.tools.mailchimp import hash_of, merge_fields

    operations = [
        {
            "method": "PUT",
            "path": f"/lists/{tool.list_id}/members/{hash_of(address)}",
            "params": {"skip_merge_validation": "true"},
            "operation_id": hash_of(address),
            "body": json.dumps(
                {
                    "email_address": address,
                    "status_if_new": status_if_new,
                    "merge_fields": merge_fields(contact),
                }
            ),
        }
        for address, contact in rows.good.items()
    ]
    started = await tool.call("POST", "/batches", body={"operations": operations})
    return {"batch": str(started["id"])}


async def follow(tool: Mailchimp, ticket: Mapping[str, str], chunk: Chunk) -> Submitted | None:
    """None while the batch runs; at its end who was written is put onto the segment."""
    from perennial.delivery.tools.mailchimp import hash_of, refusal_code, refuse_who_withdrew

    state = await tool.call("GET", "/batches/{batch_id}", ids={"batch_id": ticket["batch"]})
    if state["status"] != "finished":
        return None
    rows = sort_rows(chunk.contacts, longest_text=_LONGEST_TEXT)
    by_hash = {hash_of(address): address for address in rows.good}
    told = set()
    for operation_id, status, answer in _results(await tool.api.fetch(state["response_body_url"])):
        address = by_hash.get(operation_id)
        if address is None:
            continue
        told.add(address)
        if status >= _BAD:
            words, field = str(answer.get("detail", "")), _first_field(answer)
            rows.refuse(address, refusal_code(words, field), masked(f"{field}: {words}" if field else words))
        else:
            refuse_who_withdrew(rows, answer)
    if set(rows.good) - told:
        fix = "it is asked again; if it lasts, look at the batch in Mailchimp"
        raise RetryableError(Problem("GET /batches/{batch_id}", "the results of the batch are not complete", fix))
    await tool.put_on(rows, ticket["segment"])
    return Submitted(rows.accept_the_rest())


def _results(archive: bytes) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """Operation, status and answer of each row, from the files of the archive."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as files:
        for member in files:
            file = files.extractfile(member) if member.isfile() and member.name.endswith(".json") else None
            for one in json.load(file) if file else ():
                answer = json.loads(one.get("response") or "{}")
                yield str(one["operation_id"]), int(one["status_code"]), answer if isinstance(answer, dict) else {}


def _first_field(answer: Mapping[str, Any]) -> str:
    errors = answer.get("errors") or [{}]
    return str(errors[0].get("field") or "")
