"""The step that decides: who gets what today, one outcome and one rule per candidate (L7), and publishes it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.records import DayRun, StepReport
from perennial.contracts.scores import CAMPAIGN_OUTCOMES
from perennial.contracts.targeting import Campaign
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.ledger import assignments, contact_history
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, get_run, published_version, version_of
from perennial.pipeline import rekey
from perennial.pipeline.membership import publish_memberships, reader_of
from perennial.pipeline.rekey import aliases_of, rekeyed
from perennial.targeting.config import Targeting, load_targeting
from perennial.targeting.facts import KEPT, DayFacts
from perennial.targeting.history import OUTCOMES_TABLE
from perennial.targeting.planning import DRAWN, OUTCOMES, decide, first_day_of_contacts
from perennial.targeting.scan import known_of, published_catalogue
from perennial.targeting.schedule import not_due
from perennial.warehouse.engine import Published, open_published, publish_table


@dataclass(frozen=True)
class CampaignSummary:
    """One campaign of a day: candidates = control + target + the sum of `refused` (L7).

    `expected_value` and `cost` are sums over the targets, in the company's currency; `note` says why there is nobody.
    """

    campaign_id: str
    name: str
    channels: tuple[str, ...]
    candidates: int
    refused: dict[str, int]
    control: int
    target: int
    expected_value: float
    cost: float
    note: str | None = None


def plan(settings: Settings, run: DayRun) -> StepReport:
    """Decide the run's day; publish `campaign_outcomes`, and who is in which segment since when (pipeline.membership).

    Arms are written into the ledger first (L8), unless the day is a past one, which only repeats what was. Run again
    it decides the same. Raises ConfigError for a mistake in config/, ContractViolation when the run has published
    nothing, when the published metrics are not of the day, or when config/ has changed since the run was opened.
    """
    from perennial.pipeline.export import reconcile

    started = time.perf_counter()
    engine = open_ledger(settings)
    _refuse_changed_config(settings, run)
    if run.is_latest:
        reconcile(settings)  # what was sent before a crash counts (L10)
    with open_published(settings, published_version(engine, run.run_id)) as published:
        tables = published.tables()
        targeting = load_targeting(settings, published_catalogue(published, tables))
        facts, mixed = day_facts(settings, engine, run, targeting, aliases_of(published))
        notes = (*decide(published, targeting, tables, facts), *_told_of_mixed(mixed))
        if run.is_latest:
            assignments.record(engine, published.batches(DRAWN), on=run.as_of)
        version_id = _publish(settings, run, published, targeting)
        rows = _rows(published)
    advance(engine, run.run_id, "planned", version_id=version_id)
    seconds = {"plan": time.perf_counter() - started}
    return StepReport(run.run_id, run.as_of, "plan", rows, seconds, notes)


def campaign_summary(settings: Settings, run: DayRun) -> list[CampaignSummary]:
    """The day's campaigns, by id, as `campaign_outcomes` has them; one that is not due has a note instead.

    Raises ContractViolation when the run has not been planned.
    """
    engine = open_ledger(settings)
    with open_published(settings, published_version(engine, run.run_id)) as published:
        if OUTCOMES_TABLE not in published.tables():
            raise ContractViolation(Problem(run.run_id, "the day has not been planned", "run it first"))
        targeting = load_targeting(settings, published_catalogue(published, published.tables()))
        counted = published.query(_SUMMARY, {"as_of": run.as_of}).to_pylist()
    cards = {card.id: card for card in targeting.campaigns}
    ids = sorted({*cards, *(row["campaign_id"] for row in counted)})
    return [_summary(name, cards.get(name), [r for r in counted if r["campaign_id"] == name], run) for name in ids]


def day_facts(
    settings: Settings, engine: sa.Engine, run: DayRun, targeting: Targeting, aliases: pa.Table
) -> tuple[DayFacts, list[tuple[str, str]]]:
    """What the ledger knows that a plan of the run stands on: nothing of later days, nothing of the run's own lists.

    All by today's client ids (`aliases`: client_ref, client_id). Beside it (campaign, client) of those who were joined
    from records with different arms.
    """
    from perennial.ledger.consents import client_consents

    ids = [card.id for card in targeting.campaigns]
    audiences = [card.id for card in targeting.campaigns if card.list_type == "audience"]
    contacts = contact_history.accepted_before(engine, run.as_of, first_day_of_contacts(targeting, run.as_of))
    members = contact_history.members_of(engine, audiences, run.as_of)
    arms, mixed = rekey.arms(engine, ids, aliases, until=run.as_of)
    facts = DayFacts(
        as_of=run.as_of,
        salt=settings.salt,
        consents=client_consents(engine, run.as_of, aliases),
        contacts=rekeyed(contacts, aliases),
        kept=rekeyed(_kept(settings, engine, run), aliases, one_per=("campaign_id", "client_id")),
        members=rekeyed(members, aliases, one_per=("campaign_id", "client_id", "channel")),
        arms=arms,
    )
    return facts, mixed


def _told_of_mixed(mixed: list[tuple[str, str]]) -> list[str]:
    counts = Counter(campaign for campaign, _client in mixed)
    return [
        f"{campaign}: {n} clients were joined from records of both arms; the older arm stays"
        for campaign, n in sorted(counts.items())
    ]


def _refuse_changed_config(settings: Settings, run: DayRun) -> None:
    # A past day is only compared with, never sent: it may be planned by today's config.
    if run.is_latest and settings.config_digest() != run.config_digest:
        raise ContractViolation(
            Problem(str(settings.config_dir), f"changed since {run.run_id} was opened", "build the day again")
        )


def _kept(settings: Settings, engine: sa.Engine, run: DayRun) -> pa.Table:
    """What an earlier revision of the day has sent, and the control clients of the same campaigns."""
    sent = contact_history.accepted_by_earlier_revisions(engine, run)
    targets = sent.append_column("arm", pa.array(["target"] * sent.num_rows, pa.string())).cast(KEPT)
    campaigns = sorted(set(sent.column("campaign_id").to_pylist()))
    if not campaigns:
        return targets
    return pa.concat_tables([targets, _held_back(settings, engine, run, campaigns)])


def _held_back(settings: Settings, engine: sa.Engine, run: DayRun, campaigns: list[str]) -> pa.Table:
    """The control clients of the last revision that was planned; without its version, those drawn on the day."""
    for revision in range(run.revision - 1, 0, -1):
        earlier = get_run(engine, f"{run.as_of.isoformat()}.r{revision}")
        if earlier.state not in ("planned", "done"):
            continue
        try:
            with open_published(settings, version_of(engine, earlier.run_id)) as published:
                rows = published.query(_CONTROL, {"as_of": run.as_of}).cast(KEPT)
        except ContractViolation:  # pruned
            break
        return rows.filter(pa.compute.is_in(rows.column("campaign_id"), pa.array(campaigns)))
    drawn = assignments.assigned(engine, campaigns, until=run.as_of, since=run.as_of)
    rows = [{**row, "channel": None} for row in drawn.to_pylist() if row["arm"] == "control"]
    return pa.Table.from_pylist(rows, schema=KEPT)


def _publish(settings: Settings, run: DayRun, published: Published, targeting: Targeting) -> str:
    known = known_of(published, published.tables(), run.as_of, targeting)
    publish_memberships(settings, run, published, targeting, known)
    outcomes = published.batches(OUTCOMES)
    return publish_table(settings, run, OUTCOMES_TABLE, reader_of(outcomes, CAMPAIGN_OUTCOMES), step="plan")


def _rows(published: Published) -> dict[str, int]:
    rows = published.query(
        "select campaign_id, outcome, count(*) as n from t_outcomes group by campaign_id, outcome order by 1, 2"
    ).to_pylist()
    counts: Counter[str] = Counter()
    for row in rows:
        counts[OUTCOMES_TABLE] += row["n"]
        counts[f"{row['campaign_id']}.candidates"] += row["n"]
        counts[f"{row['campaign_id']}.{row['outcome']}"] += row["n"]
    return dict(counts)


def _summary(campaign_id: str, card: Campaign | None, rows: list[dict[str, object]], run: DayRun) -> CampaignSummary:
    def total(column: str, outcome: str) -> float:
        return sum(float(str(row[column] or 0)) for row in rows if row["outcome"] == outcome)

    refused = {str(row["rule"]): int(str(row["n"])) for row in rows if row["outcome"] == "refused"}
    due_note = not_due(card, run.as_of) if card else "its card is gone"
    return CampaignSummary(
        campaign_id=campaign_id,
        name=card.name if card else campaign_id,
        channels=tuple(card.channels) if card else (),
        candidates=sum(int(str(row["n"])) for row in rows),
        refused=refused,
        control=int(total("n", "control")),
        target=int(total("n", "target")),
        expected_value=round(total("value", "target"), 2),
        cost=round(total("cost", "target"), 2),
        note=due_note or (None if rows else "nobody is in its audience today"),
    )


_CONTROL = (
    f"select campaign_id, client_id, channel, arm from {OUTCOMES_TABLE} "
    "where as_of_date = cast($as_of as date) and outcome = 'control' and rule <> 'already_in_list' "
    "order by campaign_id, client_id"
)
# Summed in a fixed order and exactly, so that a table of it is the same every time.
_SUMMARY = f"""
select
    campaign_id,
    outcome,
    rule,
    count(*) as n,
    sum(cast(value as decimal(18, 6))) as value,
    sum(cast(cost as decimal(18, 6))) as cost
from {OUTCOMES_TABLE}
where as_of_date = cast($as_of as date)
group by campaign_id, outcome, rule
order by n desc, rule
"""
