"""One list through one tool, chunk by chunk: check, send, mark (L12); what breaks is split, followed, read back.

Several chunks are under way at once, as many as the tool has connections. The first error ends the feeding; what is
under way is carried to its end and marked, for a call that was made is not taken back by looking away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count

import pyarrow as pa
import sqlalchemy as sa

from perennial.core.errors import PerennialError, Problem, RetryableError
from perennial.delivery.engine.guard import Guard
from perennial.delivery.engine.in_flight import InFlight
from perennial.delivery.engine.rows import Piece, reason_counts
from perennial.delivery.reasons import REASONS, told_by_tool
from perennial.delivery.records import OUTCOMES, ListKey
from perennial.delivery.tools.protocol import Tool
from perennial.delivery.tools.records import Chunk, ChunkRefused, OutcomeUnknown, RemoteList, RowOutcome, Submitted
from perennial.ledger import pushes

_FIRST_LOOK_SECONDS, _LONGEST_LOOK_SECONDS = 0.5, 30.0


@dataclass(frozen=True)
class Patience:
    """How a push waits. `follow` False: jobs of the tool are left to the next look (a deferred task).

    `stall_seconds`: so long may nothing at all of the push have gone on before it is given up for now; `pause` and
    `elapsed` are asyncio's, unless a test has its own.
    """

    follow: bool = True
    stall_seconds: float = 1_800.0
    pause: Callable[[float], object] = asyncio.sleep


@dataclass
class Push:
    """What the chunks of one push share."""

    engine: sa.Engine
    tool: Tool
    destination: str
    key: ListKey
    list_id: str
    place: RemoteList
    guard: Guard
    in_flight: InFlight
    confirm: Callable[[], None]
    patience: Patience = field(default_factory=Patience)
    errors: list[Exception] = field(default_factory=list)
    stopped: str | None = None
    left: int = 0  # jobs that the tool is still at
    steps: int = 0  # grows whenever something has gone on
    numbers: Iterator[int] = field(default_factory=count)


async def push_pieces(push: Push, pieces: Iterable[Piece]) -> None:
    """Hand in every piece; returns when all that was begun has an end. Raises the first error after that."""
    slots = asyncio.Semaphore(max(1, push.tool.limits.connections))
    running: set[asyncio.Task[None]] = set()
    for piece in pieces:
        await slots.acquire()
        if push.errors or push.stopped:
            break
        task = asyncio.create_task(_one(push, piece, slots))
        running.add(task)
        task.add_done_callback(running.discard)
    if running:
        await asyncio.gather(*running)
    if push.errors:
        raise _worst(push.errors)


async def _one(push: Push, piece: Piece, slots: asyncio.Semaphore) -> None:
    try:
        await hand_in(push, piece)
    except Exception as error:  # noqa: BLE001 - raised again by push_pieces, when the others have ended
        push.errors.append(error)
    finally:
        slots.release()


def _worst(errors: list[Exception]) -> Exception:
    """What is nobody's fault outside comes first, then what a retry does not mend."""
    strange = [one for one in errors if not isinstance(one, PerennialError)]
    lasting = [one for one in errors if not isinstance(one, RetryableError)]
    return (strange or lasting or errors)[0]


async def hand_in(push: Push, piece: Piece) -> None:
    """One piece: the last look, the call, the mark."""
    push.confirm()
    if piece.action != "remove":
        push.stopped = push.stopped or push.guard.stopped()
        if push.stopped:
            return
    piece = _without_gone(push, piece)
    if not piece.size:
        return
    chunk = piece.chunk(push.destination)
    push.in_flight.keep(chunk.chunk_id, piece)
    pushes.begin_chunk(push.engine, _record(push, piece, chunk))
    await send(push, piece, chunk)


def _without_gone(push: Push, piece: Piece) -> Piece:
    gone = push.guard.gone(piece)
    if gone:
        codes = reason_counts(gone)
        pushes.move(push.engine, push.list_id, pushes.Moved(skipped=len(gone), reasons=tuple(sorted(codes.items()))))
    return piece.without(set(gone))


async def send(push: Push, piece: Piece, chunk: Chunk) -> None:
    """Make the call for a chunk that is written down, and mark what came of it."""
    try:
        answer = await push.tool.submit(chunk, push.place)
    except ChunkRefused as error:
        await _split(push, piece, chunk, error)
    except OutcomeUnknown as error:
        await broken(push, piece, chunk, error)
    except PerennialError:
        _not_taken(push, chunk)
        raise
    else:
        await answered(push, piece, chunk, answer)


async def answered(push: Push, piece: Piece, chunk: Chunk, answer: Submitted | None) -> None:
    """Mark an answer: outcomes at once, or a job that is followed to its end."""
    if answer is not None and answer.ticket is not None:
        pushes.submitted(push.engine, chunk.chunk_id, answer.ticket)
        push.steps += 1
        answer = await follow(push, chunk, answer.ticket)
    if answer is None:
        push.left += 1
        return
    known = {one.client_id: one for one in answer.outcomes}
    silent = [one.client_id for one in chunk.contacts if one.client_id not in known]
    unknown = silent + [one.client_id for one in answer.outcomes if one.state == "unknown"]
    read = await read_back(push, piece, chunk, set(unknown)) if unknown else {}
    await mark(push, piece, chunk, {**known, **read})


async def follow(push: Push, chunk: Chunk, ticket: dict[str, str]) -> Submitted | None:
    """The end of a job; None when it is left to the next look.

    Raises RetryableError when nothing at all of the push has gone on for too long: the job is followed by the next run.
    """
    loop = asyncio.get_running_loop()
    wait, seen, since = _FIRST_LOOK_SECONDS, push.steps, loop.time()
    while True:
        answer = await push.tool.follow(ticket, chunk)
        if answer is not None and answer.ticket is None:
            return answer
        if not push.patience.follow:
            return None
        if answer is not None and answer.ticket is not None and answer.ticket != ticket:  # it has gone a step further
            ticket = answer.ticket
            pushes.submitted(push.engine, chunk.chunk_id, ticket)
            push.steps += 1
        if push.steps != seen:
            seen, since = push.steps, loop.time()
        if loop.time() - since >= push.patience.stall_seconds:
            raise _stalled(push, loop.time() - since)
        push.confirm()
        await push.patience.pause(wait)  # type: ignore[misc]
        wait = min(2 * wait, _LONGEST_LOOK_SECONDS)


def _stalled(push: Push, seconds: float) -> RetryableError:
    problem = f"nothing has gone on in {push.destination} for {seconds:.0f} seconds"
    fix = "look at the tool's jobs; the next run follows them on, and sends nothing twice"
    return RetryableError(Problem(push.list_id, problem, fix))


async def _split(push: Push, piece: Piece, chunk: Chunk, error: ChunkRefused) -> None:
    """Halved until the bad row stands alone (L15)."""
    _not_taken(push, chunk)
    if piece.size > 1:
        for half in piece.halves():
            await hand_in(push, half)
        return
    pushes.begin_chunk(push.engine, _record(push, piece, chunk))
    outcome = RowOutcome(chunk.contacts[0].client_id, "rejected", "refused_by_tool", error.problems[0].message)
    await mark(push, piece, chunk, {outcome.client_id: outcome})


async def broken(push: Push, piece: Piece, chunk: Chunk, error: PerennialError) -> None:
    """The call may have been accepted (L12): left open to be repeated where that is harmless, read back, or asked."""
    if push.tool.capabilities.repeatable or piece.action == "remove":
        raise RetryableError(list(error.problems))  # the chunk stays open: the next run repeats it as it was
    outcomes = await read_back(push, piece, chunk, {one.client_id for one in chunk.contacts})
    await mark(push, piece, chunk, outcomes)


async def read_back(push: Push, piece: Piece, chunk: Chunk, wanted: set[str]) -> dict[str, RowOutcome]:
    """What became of rows without an answer, as far as the tool can be asked; the others are unknown.

    An update shows in no list of names. What is harmless twice (a removal, an update of a tool that may be told
    again) is not in the answer: the next difference has it again.
    """
    asked = [one for one in chunk.contacts if one.client_id in wanted]
    can = push.tool.capabilities
    if piece.action == "update" or not can.readable:
        if piece.action == "remove" or (piece.action == "update" and can.repeatable):
            return {}
        return {one.client_id: RowOutcome(one.client_id, "unknown") for one in asked}
    there = await push.tool.read_back(push.place, asked)
    found = {}
    for one in asked:
        is_done = (one.client_id in there) == (piece.action != "remove")
        # A job may still be at work on a row that is not there yet: only what is harmless twice is sent again.
        sure = is_done or not can.asynchronous or can.repeatable
        if is_done or not sure:
            found[one.client_id] = RowOutcome(one.client_id, "accepted" if is_done else "unknown")
    return found


async def mark(push: Push, piece: Piece, chunk: Chunk, outcomes: dict[str, RowOutcome]) -> None:
    """Write down what became of each row; a row that is in `outcomes` not at all was not taken, and waits on."""
    told = [(one, digest, outcomes[one]) for one, digest in piece.client_keys if one in outcomes]
    rejected = {one: _code(outcome) for one, _, outcome in told if outcome.state == "rejected"}
    rows = {
        "client_id": [one for one, _, _ in told],
        "action": [piece.action] * len(told),
        "row_hash": [digest for _, digest, _ in told],
        "state": [outcome.state for _, _, outcome in told],
        "reason": [
            told_by_tool(_code(outcome), outcome.words) if one in rejected else None for one, _, outcome in told
        ],
    }
    push.confirm()
    batch = pa.RecordBatch.from_pydict(rows, schema=OUTCOMES)
    pushes.finish(push.engine, chunk.chunk_id, push.list_id, batch, reason_counts(rejected))
    push.in_flight.forget(chunk.chunk_id)
    push.steps += 1


def _code(outcome: RowOutcome) -> str:
    return outcome.code if outcome.code in REASONS else "refused_by_tool"


def _not_taken(push: Push, chunk: Chunk) -> None:
    pushes.refused(push.engine, chunk.chunk_id)
    push.in_flight.forget(chunk.chunk_id)


def _record(push: Push, piece: Piece, chunk: Chunk) -> pushes.ChunkRecord:
    return pushes.new_chunk(
        chunk_id=chunk.chunk_id,
        destination=push.destination,
        list_id=push.list_id,
        list_name=push.key.name,
        nth=next(push.numbers),
        action=piece.action,
        size=piece.size,
        client_keys=piece.client_keys,
        place={"title": push.place.title, "ids": push.place.ids},
    )
