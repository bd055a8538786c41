"""Beginning the send of a list that a tool has: a step of its own, done once and never repeated by itself (L18)."""

from __future__ import annotations

from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa

from perennial.core import clock
from perennial.core.connections import ConnectionStore
from perennial.core.errors import PerennialError, PermanentError, Problem
from perennial.core.settings import Settings
from perennial.delivery.destinations import open_routes
from perennial.delivery.engine.destination import ToolDestination
from perennial.delivery.records import ListKey
from perennial.delivery.tools.protocol import StartsSends, Tool
from perennial.delivery.tools.records import ListTarget, OutcomeUnknown
from perennial.ledger.deliveries import ListRecord
from perennial.ledger.delivery_tables import send_starts
from perennial.ledger.engine import open_ledger
from perennial.ledger.locks import hold
from perennial.ledger.pushes import open_chunks, read_list
from perennial.targeting.config import load_campaigns


def start(settings: Settings, list_id: str, *, by: str, connections: ConnectionStore | None = None) -> dict[str, str]:
    """Begin the send of a delivered list; gives the tool's ids of what was begun.

    Raises PermanentError when it was begun before (or may have been: then a person looks in the tool), when its last
    moment has passed (L17), when rows of it are still on their way, or when the tool cannot begin a send.
    """
    engine = open_ledger(settings)
    record = read_list(engine, list_id)
    destination = open_routes(settings, connections=connections).by_name.get(record.destination)
    if not isinstance(destination, ToolDestination) or not destination.make().capabilities.starts_sends:
        raise _no(list_id, f"{record.destination} begins no send of a list", "begin it in the tool")
    with hold(engine, f"{record.destination}/{record.campaign_id}__{record.channel}"):
        _require_ready(engine, record)
        _begin(engine, record, by)
        try:
            ids = destination.ask(lambda tool: _call(tool, settings, record))
        except OutcomeUnknown:
            _end(engine, record, "unknown", {})
            raise _no(list_id, "the send may have begun, the tool gave no answer", "look in the tool") from None
        except PerennialError:
            _forget(engine, record)
            raise
        _end(engine, record, "started", ids)
    return ids


async def _call(tool: Tool, settings: Settings, record: ListRecord) -> dict[str, str]:
    card = next((card for card in load_campaigns(settings) if card.id == record.campaign_id), None)
    if card is None:
        raise _no(record.list_id, "the card of the campaign is gone", "begin the send in the tool")
    key = ListKey(record.campaign_id, record.channel, record.as_of)
    where = await tool.prepare(ListTarget(key, card.list_type, (), card.purpose, card.message))
    return await cast("StartsSends", tool).start_send(where, card.message)


def _require_ready(engine: sa.Engine, record: ListRecord) -> None:
    now = clock.now().replace(tzinfo=None)
    if record.send_not_after is not None and now > record.send_not_after:
        raise _no(record.list_id, "its last moment has passed", "it is not sent any more (L17)")
    chunks = open_chunks(engine, record.destination, f"{record.campaign_id}__{record.channel}")
    if chunks or not record.sent:
        raise _no(record.list_id, "it is not complete in the tool", "run the export again first")


def _begin(engine: sa.Engine, record: ListRecord, by: str) -> None:
    values: dict[str, Any] = {"destination": record.destination, "list_id": record.list_id, "state": "starting"}
    values |= {"ids": {}, "started_by": by, "began_at": _now()}
    with engine.begin() as connection:
        found = connection.execute(sa.select(send_starts.c.state).where(_same(record))).scalar()
        if found is not None:
            what = "was begun" if found == "started" else "may have begun"
            raise _no(record.list_id, f"its send {what} before", "look in the tool; it is not begun twice (L18)")
        connection.execute(sa.insert(send_starts).values(**values))


def _end(engine: sa.Engine, record: ListRecord, state: str, ids: dict[str, str]) -> None:
    with engine.begin() as connection:
        connection.execute(sa.update(send_starts).where(_same(record)).values(state=state, ids=ids, ended_at=_now()))


def _forget(engine: sa.Engine, record: ListRecord) -> None:
    """The tool said no: nothing was begun, and a person may begin it again."""
    with engine.begin() as connection:
        connection.execute(sa.delete(send_starts).where(_same(record)))


def _same(record: ListRecord) -> sa.ColumnElement[bool]:
    c = send_starts.c
    return sa.and_(c.destination == record.destination, c.list_id == record.list_id)


def _no(list_id: str, problem: str, fix: str) -> PermanentError:
    return PermanentError(Problem(list_id, problem, fix))


def _now() -> datetime:
    return clock.now().replace(tzinfo=None)
