"""Day after day in memory, each with the contacts and the outcomes of the days before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from factories.planned import Decided, decide_day
from factories.published import AS_OF, facts, granted, outcomes

Row = Mapping[str, Any]


@dataclass
class Walk:
    """The clients may change from day to day; the tools accept what `accepts` says, by default everything."""

    clients: Sequence[Row]
    cards: Sequence[Row]
    policy: Mapping[str, Any] = field(default_factory=lambda: {"caps": []})
    accepts: Callable[[Row], bool] = lambda _row: True
    consents: Sequence[tuple[str, str, str]] | None = None
    as_of: date = AS_OF
    sent: list[tuple[str, str, str, date]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)

    def decide(self, **more: Any) -> Decided:
        """The plan of the day, without any consequence."""
        said = granted(*(str(one["client_id"]) for one in self.clients)) if self.consents is None else self.consents
        ledger = facts(as_of=self.as_of, consents=said, contacts=[one for one in self.sent if one[3] < self.as_of])
        before = [row for row in self.rows if row["as_of_date"] < self.as_of]
        extra = {"campaign_outcomes": outcomes(before)}
        return decide_day(
            self.clients, self.cards, as_of=self.as_of, ledger=ledger, extra=extra, **{**self.policy, **more}
        )

    def day(self) -> Decided:
        """Plan the day and send it; the next one begins."""
        day = self.decide()
        self.rows += day.rows
        targets = [row for row in day.rows if row["rule"] == "allocated" and row["outcome"] == "target"]
        self.sent += [(r["campaign_id"], r["client_id"], r["channel"], self.as_of) for r in targets if self.accepts(r)]
        self.as_of += timedelta(days=1)
        return day

    def told(self, days: int, campaign_id: str = "c", client_id: str = "a") -> list[str]:
        """One client's days: the step that she got, else the rule; `-` on days without her."""
        found = []
        for _ in range(days):
            rows = [
                row for row in self.day().rows if (row["campaign_id"], row["client_id"]) == (campaign_id, client_id)
            ]
            word = "rule" if not rows or rows[0]["outcome"] == "refused" else "series_step"
            found.append(str(rows[0][word]) if rows else "-")
        return found
