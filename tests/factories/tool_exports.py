"""A planned day whose e-mail lists go to a tool of ours (factories.kept_tool), through the whole export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from factories import exports, published
from factories.kept_tool import KeptTool, Manner
from perennial.core.settings import Settings
from perennial.delivery.destinations import TOOLS
from perennial.ledger.approvals import Answer, answer
from perennial.ledger.engine import open_ledger

KIND = "mailchimp"  # the kind that the tool stands for
DESTINATIONS = {
    "version": 1,
    "destinations": {
        "kept": {
            "kind": KIND,
            "channels": ["email"],
            "connection": "kept",
            "list_id": "l1",
            "fields": {"first_name": "FNAME"},
        },
        "outbox": {"kind": "outbox", "channels": ["sms", "call", "account_manager"]},
    },
}


def tool_at(folder: Path, manner: Manner | None = None) -> KeptTool:
    """The tool of a test, to be asked what it got."""
    return KeptTool(folder / "tool.db", manner or Manner())


def use(folder: Path, manner: Manner | None = None, kinds: Any = TOOLS) -> None:
    """From now on the kind is made by us, as it is for every push."""
    kinds[KIND] = lambda name, _config, _around: KeptTool(folder / "tool.db", manner or Manner(), name)


def shop(folder: Path, ids: Sequence[str], *cards: Mapping[str, Any], **more: Any) -> Settings:
    """Settings with cards for e-mail and consents of everybody; the destination is known already."""
    settings = exports.settings_with(
        folder, *(cards or [published.card("news", merge_fields=["first_name"])]), destinations=DESTINATIONS, **more
    )
    exports.consent(settings, ids)
    return settings


def approve_before(settings: Settings) -> None:
    """A person has approved a list for the destination some day before."""
    given = Answer("first", "email", date(2017, 9, 1), "kept", "approved", 1_000, {}, "looked at it", "ann", "cli")
    answer(open_ledger(settings), given, hours=24)


def planned(settings: Settings, ids: Sequence[str], *campaigns: str, **more: Any) -> Any:
    """A planned day: everybody is a target of each campaign."""
    people = [exports.person(one) for one in ids]
    targets = [
        exports.target(name, one, value=float(place))
        for name in campaigns or ("news",)
        for place, one in enumerate(ids)
    ]
    return exports.planned_day(settings, people, targets, **more)
