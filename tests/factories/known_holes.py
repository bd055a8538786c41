"""Histories by which a change once missed what a rebuild saw: each of clients of its own, told on the last two days (L4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from factories.changing_days import Day
from factories.dbt_warehouse import NAMESPACE, Raw, line
from perennial.core.ids import client_ref

CLIENTS = ("back", "first", "second", "third", "fourth", "unread", "late-read", "store", "void", "listed")
_FILE = {"_file": "known_holes.csv", "_version": None}


def with_known_holes(days: Sequence[Day]) -> list[Day]:
    """The days, with the histories begun on the last but one, which must not be of the same date, and ended on the last."""
    before, last = days[-2].as_of, days[-1].as_of
    begun, ended = Raw(), Raw()
    begun.add("clients", str(before), [{"client_key": f"hole-{key}", "signed_up_on": "2016-01-01"} for key in CLIENTS])
    for hole in (_delivery_that_holds_again, _visitors, _messages, _stores, _cancelled_later):
        hole(_teller(begun, before, 900), _teller(ended, last, 901), before, last)
    listed = ("list", client_ref(NAMESPACE, "hole-listed"), "email", before - timedelta(days=5))
    return [
        *days[:-2],
        replace(days[-2], added=days[-2].added.joined(begun)),
        replace(days[-1], added=days[-1].added.joined(ended), delivered=[*days[-1].delivered, listed]),
    ]


Teller = Callable[..., None]


def _teller(raw: Raw, day: date, batch: int) -> Teller:
    def tell(entity: Any, *rows: dict[str, Any], place: int = batch, later: int = 0) -> None:
        number = batch + later
        given = {**_FILE, "_batch_id": f"{entity}-{number}"}
        raw.add(entity, str(day), [{**given, **row} for row in rows], batch_seq=place + later)

    return tell


def _delivery_that_holds_again(begun: Teller, ended: Teller, before: date, last: date) -> None:
    """A line that came back from quarantine makes an older delivery the newest: its cancellation stands once more."""
    sold = line("hole-o", "hole-back", str(before), "5", product="hole-p")
    begun("order_lines", {**sold, "_line": 1}, {**_cancelled(sold, str(before)), "_line": 2})
    begun("order_lines", {**sold, "product_key": "hole-q", "_line": 3}, later=20)
    ended("order_lines", {**sold, "product_key": "hole-r", "_line": 4}, place=900)


def _visitors(begun: Teller, ended: Teller, before: date, last: date) -> None:
    """Who a visitor was: one of her two names is deleted by its key alone; she gives another on a day still to come."""
    begun("touches", _touch("a0", None, "v", 9, before), _touch("a1", "first", "v", 5, before))
    begun("touches", _touch("a2", "second", "v", 5, before))
    ended("touches", {"touch_key": "hole-a2", "_deleted": True})
    begun("touches", _touch("b0", None, "w", 9, before), _touch("b1", "third", "w", 5, before))
    begun("touches", _touch("b2", "fourth", "w", 0, last))


def _messages(begun: Teller, ended: Teller, before: date, last: date) -> None:
    """What became of a message: deleted by a row that names no client; told before its day."""
    opened = _message("a", "unread", "opened", before - timedelta(days=4))
    begun("message_events", _message("a", "unread", "sent", before - timedelta(days=5)), opened)
    key = {name: opened[name] for name in ("communication_key", "event_kind", "happened_at")}
    ended("message_events", {**key, "_deleted": True})
    begun("message_events", _message("b", "late-read", "sent", before - timedelta(days=5)))
    begun("message_events", _message("b", "late-read", "opened", last))


def _stores(begun: Teller, ended: Teller, before: date, last: date) -> None:
    """A line of a later day than its order leaves the window of stores by itself."""
    days = [last - timedelta(days=age) for age in (220, 180)]
    for number, day in enumerate(days, start=21):
        begun("order_lines", line("hole-s", "hole-store", str(day), "5", store_key=f"hole-{day}", _line=number))


def _cancelled_later(begun: Teller, ended: Teller, before: date, last: date) -> None:
    """A cancellation of a day still to come, in a document of an earlier day."""
    sold = line("hole-v", "hole-void", str(before - timedelta(days=5)), "5", _line=11)
    other = line("hole-w", "hole-void", str(before - timedelta(days=3)), "7", product="hole-p", _line=12)
    late = {**_cancelled(sold, str(last)), "order_key": "hole-w", "_line": 13}
    begun("order_lines", sold, other, late)


def _cancelled(sold: dict[str, Any], day: str) -> dict[str, Any]:
    return {
        **sold, "ordered_at": f"{day} 17:00:00", "quantity": -1, "amount": f"-{sold['amount']}", "line_kind": "cancellation",
    }  # fmt: skip


def _touch(key: str, client: str | None, visitor: str, age: int, day: date) -> dict[str, Any]:
    return {
        "touch_key": f"hole-{key}", "client_key": f"hole-{client}" if client else None, "visitor_key": f"hole-{visitor}",
        "touched_at": f"{day - timedelta(days=age)} 16:00:00",
    }  # fmt: skip


def _message(key: str, client: str, kind: str, day: date) -> dict[str, Any]:
    return {
        "communication_key": f"hole-{key}", "client_key": f"hole-{client}", "event_kind": kind,
        "happened_at": f"{day} 16:00:00", "channel": "email",
    }  # fmt: skip
