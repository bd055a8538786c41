"""What a marketer sees of a day's lists, and what her answer does: sizes, changes, reasons, cost, forecast, no person.

The ten rows that are shown are masked; a client is named by our id alone (L22).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

import sqlalchemy as sa

from perennial.contracts.records import RUN_STATES, DayRun
from perennial.contracts.targeting import Campaign
from perennial.core.errors import PermanentError, Problem
from perennial.core.personal import mask_email, mask_phone
from perennial.core.settings import Settings
from perennial.delivery.reasons import REASONS
from perennial.ledger import approvals, forecasts
from perennial.ledger.approvals import Answer, Approval, Question
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import get_run, published_version
from perennial.ledger.tables import deliveries, lists, runs
from perennial.pipeline.plan import CampaignSummary, campaign_summary
from perennial.targeting.config import load_campaigns
from perennial.targeting.notes import sentence
from perennial.warehouse.engine import open_published, register_contacts

HOURS = 24  # that an answer holds
ROWS_SHOWN = 10
_HELD = {"held_growth", "held_shrink"}
_WHY = {
    "new_destination": "it is the first list for this destination",
    "card": "the campaign's card asks for it",
    "over_limits": "it is larger or smaller than the policy lets it be",
}
Change = Literal["add", "update", "remove"]


@dataclass(frozen=True)
class ListLine:
    """One list of a day: its sum (L15), and how many the same list had on its last day before."""

    campaign_id: str
    channel: str
    as_of: date
    destination: str
    state: str
    size: int
    sent: int
    rejected: int
    skipped: int
    pending: int
    reasons: dict[str, int]
    last_on: date | None
    last_sent: int
    question: Question | None

    @property
    def waits(self) -> bool:
        """Whether a person can let it go, or stop it."""
        return self.question is not None or bool(_HELD & set(self.reasons))

    @property
    def change(self) -> int | None:
        """How many more were handed over than on its last day; None on the first."""
        return self.sent - self.last_sent if self.last_on else None


@dataclass(frozen=True)
class DayLists:
    """A planned day: its campaigns with their counts (L7), and its lists."""

    run: DayRun
    currency: str
    campaigns: tuple[CampaignSummary, ...]
    lists: tuple[ListLine, ...]


@dataclass(frozen=True)
class ListDetail:
    """One list: why it is, who is refused and why in words, what it costs and promises, ten masked rows."""

    run: DayRun
    currency: str
    card: Campaign | None
    summary: CampaignSummary
    line: ListLine
    refused: tuple[tuple[str, int], ...]
    reasons: tuple[tuple[str, str, int], ...]  # words, fix, rows
    actions: dict[str, int]
    targets: int
    cost: float
    expected_value: float
    forecast: dict[str, Any] | None
    rows: tuple[dict[str, Any], ...]
    why_asked: tuple[str, ...] = ()
    answers: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Given:
    """What a person said of a list on the page."""

    answer: Literal["approved", "refused"]
    at_most: int
    reason: str
    by: str
    hours: int = field(default=HOURS)
    via: Literal["cli", "airflow", "page"] = "page"


def planned_run(settings: Settings, as_of: date | None = None) -> DayRun | None:
    """The newest planned revision of `as_of`, or of the newest day; None when there is none."""
    query = sa.select(runs.c.run_id).where(runs.c.state.in_(RUN_STATES[RUN_STATES.index("planned") :]))
    if as_of is not None:
        query = query.where(runs.c.as_of == as_of)
    engine = open_ledger(settings)
    with engine.connect() as connection:
        run_id = connection.execute(query.order_by(runs.c.as_of.desc(), runs.c.revision.desc()).limit(1)).scalar()
    return get_run(engine, run_id) if run_id else None


def day_lists(settings: Settings, as_of: date | None = None) -> DayLists | None:
    """The lists of a day, by campaign and channel; None when no such day was planned."""
    run = planned_run(settings, as_of)
    if run is None:
        return None
    summaries = tuple(campaign_summary(settings, run))
    return DayLists(run, settings.company.currency, summaries, tuple(_lines(settings, run.as_of)))


def list_detail(settings: Settings, campaign_id: str, channel: str, as_of: date | None = None) -> ListDetail | None:
    """One list of a day; None when the day has none of that campaign and channel."""
    run = planned_run(settings, as_of)
    if run is None:
        return None
    summary = next((one for one in campaign_summary(settings, run) if one.campaign_id == campaign_id), None)
    found = [one for one in _lines(settings, run.as_of) if (one.campaign_id, one.channel) == (campaign_id, channel)]
    if summary is None or not found:
        return None
    engine, line = open_ledger(settings), found[-1]
    sums, rows = _targets(settings, run, campaign_id, channel)
    said = [one for one in approvals.answers(engine, run.as_of) if _is_of(one, campaign_id, channel)]
    return ListDetail(
        run=run,
        currency=settings.company.currency,
        card=next((card for card in load_campaigns(settings) if card.id == campaign_id), None),
        summary=summary,
        line=line,
        refused=tuple((sentence(rule), clients) for rule, clients in summary.refused.items()),
        reasons=tuple(_in_words(line.reasons)),
        actions=_actions(settings, run.as_of, campaign_id, channel),
        targets=int(sums["targets"]),
        cost=float(sums["cost"]),
        expected_value=float(sums["value"]),
        forecast=forecasts.newest(engine).get(campaign_id),
        rows=rows,
        why_asked=tuple(_WHY.get(why, why) for why in line.question.why) if line.question else (),
        answers=tuple(said),
    )


def answer_list(settings: Settings, campaign_id: str, channel: str, as_of: date, given: Given) -> datetime:
    """Write down what a person said of a list of the newest day; gives when it ends (UTC).

    Approved, the list goes with the next export: with at most so many changes, what is beyond them waits again (L11).
    Raises PermanentError when nothing is asked of that list.
    """
    line = next(
        (one for one in _lines(settings, as_of) if (one.campaign_id, one.channel) == (campaign_id, channel)), None
    )
    if line is None or not line.waits:
        where = f"{campaign_id}__{channel} of {as_of}"
        raise PermanentError(Problem(where, "nobody has to answer for this list", "look at the day's lists again"))
    engine = open_ledger(settings)
    said = Answer(
        campaign_id=campaign_id,
        channel=channel,
        as_of=as_of,
        destination=line.destination,
        answer=given.answer,
        at_most=given.at_most,
        view=line.question.view if line.question else _seen(line),
        reason=given.reason,
        answered_by=given.by,
        answered_via=given.via,
    )
    ends = approvals.answer(engine, said, hours=given.hours)
    if given.answer == "approved" and _HELD & set(line.reasons):
        ceiling = Approval(campaign_id, channel, as_of, given.at_most, given.at_most, given.reason, given.by)
        approvals.approve(engine, ceiling, hours=given.hours)
    return ends


def _seen(line: ListLine) -> dict[str, Any]:
    return {"size": line.size, "sent": line.sent, "held": line.pending, "reasons": line.reasons}


def _is_of(row: dict[str, Any], campaign_id: str, channel: str) -> bool:
    return (row["campaign_id"], row["channel"]) == (campaign_id, channel)


def _lines(settings: Settings, as_of: date) -> list[ListLine]:
    """The lists of the day: of several parts the sums, and those that only wait for a word."""
    engine = open_ledger(settings)
    asked = {
        (one.campaign_id, one.channel): one for one in approvals.questions(engine, as_of=as_of) if not one.is_expired
    }
    query = (
        sa.select(lists).where(lists.c.as_of == as_of).order_by(lists.c.campaign_id, lists.c.channel, lists.c.list_id)
    )
    with engine.connect() as connection:
        found: dict[tuple[str, str], list[Any]] = {}
        for row in connection.execute(query):
            found.setdefault((row.campaign_id, row.channel), []).append(row)
        lines = [_line(connection, parts, asked.get(key)) for key, parts in found.items()]
    lines += [_waiting(one) for key, one in asked.items() if key not in found]
    return sorted(lines, key=lambda one: (one.campaign_id, one.channel))


def _line(connection: sa.Connection, parts: list[Any], question: Question | None) -> ListLine:
    newest, last = parts[-1], _last(connection, parts[-1])
    return ListLine(
        campaign_id=newest.campaign_id,
        channel=newest.channel,
        as_of=newest.as_of,
        destination=newest.destination,
        state="waits" if question else newest.state,
        size=newest.size,
        sent=sum(part.sent for part in parts),
        rejected=newest.rejected,
        skipped=newest.skipped,
        pending=newest.pending,
        reasons=dict(newest.reasons),
        last_on=last.as_of if last else None,
        last_sent=int(last.sent) if last else 0,
        question=question,
    )


def _last(connection: sa.Connection, row: Any) -> Any:
    """The last day before on which the same list was handed over, with its sum."""
    same = sa.and_(lists.c.campaign_id == row.campaign_id, lists.c.channel == row.channel, lists.c.as_of < row.as_of)
    sums = sa.select(lists.c.as_of, sa.func.sum(lists.c.sent).label("sent")).where(same, lists.c.sent > 0)
    return connection.execute(sums.group_by(lists.c.as_of).order_by(lists.c.as_of.desc()).limit(1)).first()


def _waiting(question: Question) -> ListLine:
    view = question.view
    return ListLine(
        campaign_id=question.campaign_id,
        channel=question.channel,
        as_of=question.as_of,
        destination=question.destination,
        state="waits",
        size=int(view.get("size", 0)),
        sent=0,
        rejected=int(view.get("rejected", 0)),
        skipped=int(view.get("skipped", 0)),
        pending=int(view.get("held", 0)),
        reasons=dict(view.get("reasons", {})),
        last_on=None,
        last_sent=0,
        question=question,
    )


def _in_words(reasons: dict[str, int]) -> list[tuple[str, str, int]]:
    found = []
    for code, count in sorted(reasons.items(), key=lambda item: (-item[1], item[0])):
        reason = REASONS.get(code)
        found.append((reason.words, f"{reason.fix}; {reason.tried_again}", count) if reason else (code, "", count))
    return found


def _actions(settings: Settings, as_of: date, campaign_id: str, channel: str) -> dict[str, int]:
    d = deliveries.c
    mine = (d.as_of == as_of, d.campaign_id == campaign_id, d.channel == channel, d.state == "accepted")
    query = sa.select(d.action, sa.func.count()).where(*mine).group_by(d.action).order_by(d.action)
    with open_ledger(settings).connect() as connection:
        return {row[0]: row[1] for row in connection.execute(query)}


def _targets(
    settings: Settings, run: DayRun, campaign_id: str, channel: str
) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """What the plan picked: sums, and the ten most valued, masked."""
    engine = open_ledger(settings)
    wanted = {"as_of": run.as_of, "campaign": campaign_id, "channel": channel}
    with open_published(settings, published_version(engine, run.run_id)) as published:
        [sums] = published.query(_SUMS, wanted).to_pylist()
        register_contacts(settings, published, run, "page_contacts")
        rows = published.query(_ROWS, wanted).to_pylist()
    shown = [
        {
            "client_id": row["client_id"],
            "email": mask_email(row["email"]),
            "phone": mask_phone(row["phone"]),
            "value": float(row["value"] or 0),
            "arm": row["arm"],
        }
        for row in rows
    ]
    return sums, tuple(shown)


_OF_LIST = """
from campaign_outcomes as o
where
    o.as_of_date = cast($as_of as date) and o.campaign_id = $campaign and o.channel = $channel
    and o.outcome = 'target'
"""
_SUMS = f"""
select
    count(*) as targets,
    coalesce(sum(cast(o.cost as decimal(18, 6))), 0) as cost,
    coalesce(sum(cast(o.value as decimal(18, 6))), 0) as value
{_OF_LIST}
"""
_ROWS = f"""
select t.client_id, t.value, t.arm, c.email, c.phone
from (select o.client_id, o.value, o.arm {_OF_LIST}) as t
left join page_contacts as c on c.client_id = t.client_id
order by t.value desc nulls last, t.client_id
limit {ROWS_SHOWN}
"""
