"""What an interrupted push left: jobs are followed to their end, calls repeated, read back, or left to a person (L12).

Under the lock of the list, before anything new is sent. Nothing is repeated for a date that has passed (L17).
"""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from perennial.core.errors import RetryableError
from perennial.delivery.engine.pusher import Push, answered, broken, mark, read_back, send
from perennial.delivery.engine.rows import Piece
from perennial.delivery.records import ACTIONS, OUTCOMES, Action
from perennial.delivery.tools.records import Chunk, Submitted
from perennial.ledger import pushes


async def settle(push: Push, record: pushes.ChunkRecord, *, may_send: bool) -> None:
    """Bring one open chunk to its end. `may_send` False: the list's date has passed, nothing is repeated."""
    push.confirm()
    piece = push.in_flight.read(record.chunk_id, push.key, _action(record))
    if piece is None:
        _lost(push, record)
        return
    chunk = Chunk(record.chunk_id, piece.action, piece.map.contacts(piece.rows))
    if record.state == "submitted" and record.ticket is not None:
        await _follow(push, piece, chunk, record.ticket)
    elif push.tool.capabilities.repeatable or piece.action == "remove":
        await _repeat(push, piece, chunk, record, may_send=may_send)
    else:
        await broken(push, piece, chunk, _nobody_knows(record))


async def look(push: Push, record: pushes.ChunkRecord, *, is_current: bool) -> None:
    """Only look at one open chunk: has its job ended, does the tool have its rows. Nothing is sent or waited for.

    What may still be repeated stays open for the push of its list; of a date that has passed every chunk gets its end.
    """
    push.patience = replace(push.patience, follow=False)
    piece = push.in_flight.read(record.chunk_id, push.key, _action(record))
    if piece is None or record.state == "submitted":
        await settle(push, record, may_send=False)
        return
    chunk = Chunk(record.chunk_id, piece.action, piece.map.contacts(piece.rows))
    if not is_current or (push.tool.capabilities.readable and piece.action != "update"):
        await _ask(push, piece, chunk)


async def _follow(push: Push, piece: Piece, chunk: Chunk, ticket: dict[str, str]) -> None:
    await answered(push, piece, chunk, Submitted(ticket=ticket))


async def _repeat(push: Push, piece: Piece, chunk: Chunk, record: pushes.ChunkRecord, *, may_send: bool) -> None:
    """The same rows again, but for those who withdrew since: of these nobody knows, and they count as on the list."""
    is_removal = piece.action == "remove"
    if not is_removal and (not may_send or push.guard.stopped()):
        await _ask(push, piece, chunk)
        return
    gone = set(push.guard.gone(piece))
    if not gone:
        pushes.begin_chunk(push.engine, record)
        await send(push, piece, chunk)
        return
    await _ask(
        push,
        piece.only(gone),
        Chunk(chunk.chunk_id, chunk.action, tuple(one for one in chunk.contacts if one.client_id in gone)),
    )
    kept = piece.without(gone)
    if kept.size:
        again = kept.chunk(push.destination)
        push.in_flight.keep(again.chunk_id, kept)
        pushes.begin_chunk(push.engine, _renamed(record, again.chunk_id, kept))
        await send(push, kept, again)


async def _ask(push: Push, piece: Piece, chunk: Chunk) -> None:
    """Read back what can be; of an update that cannot be repeated any more nobody knows."""
    await mark(push, piece, chunk, await read_back(push, piece, chunk, {one.client_id for one in chunk.contacts}))


def _lost(push: Push, record: pushes.ChunkRecord) -> None:
    """The file of the rows is gone: only the ledger knows who was in the chunk, and a person must look."""
    keys = record.client_keys or []
    rows = {
        "client_id": [one for one, _ in keys],
        "action": [record.action] * len(keys),
        "row_hash": [digest for _, digest in keys],
        "state": ["unknown"] * len(keys),
        "reason": [None] * len(keys),
    }
    batch = pa.RecordBatch.from_pydict(rows, schema=OUTCOMES)
    pushes.finish(push.engine, record.chunk_id, record.list_id, batch)


def _action(record: pushes.ChunkRecord) -> Action:
    return next(action for action in ACTIONS if action == record.action)


def _renamed(record: pushes.ChunkRecord, chunk_id: str, piece: Piece) -> pushes.ChunkRecord:
    values = {**record.__dict__, "chunk_id": chunk_id, "client_keys": piece.client_keys, "size": piece.size}
    return pushes.ChunkRecord(**values)


def _nobody_knows(record: pushes.ChunkRecord) -> RetryableError:
    return RetryableError(f"{record.list_id}: nobody knows what became of chunk {record.nth}")
