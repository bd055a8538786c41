"""The step that decides: who gets what today, one outcome and one rule per candidate (L7), and publishes it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from perennial.contracts.policy import CONTROL
from perennial.contracts.records import DayRun, StepReport
from perennial.contracts.scores import CAMPAIGN_OUTCOMES
from perennial.contracts.targeting import Campaign
from perennial.core.errors import ContractViolation, Problem
from perennial.core.settings import Settings
from perennial.ledger import assignments, consents, contact_history, effects, suppressions
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import advance, get_run, published_version, version_of
from perennial.pipeline import rekey
from perennial.pipeline.campaign_forecast import record_forecasts
from perennial.pipeline.membership import publish_memberships, reader_of
from perennial.pipeline.rekey import aliases_of, rekeyed
from perennial.targeting.arms import HELD as HELD_DRAWN
from perennial.targeting.arms import hold_out_experiment
from perennial.targeting.config import Targeting, load_targeting
from perennial.targeting.facts import HELD, KEPT, YOUNG, DayFacts, Effect
from perennial.targeting.history import OUTCOMES_TABLE
from perennial.targeting.planning import DRAWN, OUTCOMES, decide, first_day_of_contacts
from perennial.targeting.samples import in_words
from perennial.targeting.scan import known_of, published_catalogue
from perennial.targeting.schedule import not_due
from perennial.warehouse.engine import Published, open_published, publish_table


@dataclass(frozen=True)
class CampaignSummary:
    """One campaign of a day: candidates = control + target + the sum of `refused` (L7).

    `expected_value` and `cost` are sums over the targets, in the company's currency; `note` says why there is nobody,
    `test` what the comparison with control can show, by all who were assigned until the day.
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
    test: str | None = None


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
            _record_hold_out(engine, published, targeting, run)
        version_id = _publish(settings, run, published, targeting)
        rows = _rows(published)
        notes += record_forecasts(engine, run, published, targeting, facts)  # last: it plans the coming days anew
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
        spreads = {row["campaign_id"]: row for row in published.query(_SPREAD, {"as_of": run.as_of}).to_pylist()}
    cards = {card.id: card for card in targeting.campaigns}
    ids = sorted({*cards, *(row["campaign_id"] for row in counted)})
    found = [_summary(name, cards.get(name), [r for r in counted if r["campaign_id"] == name], run) for name in ids]
    sizes = assignments.sizes(engine, ids, until=run.as_of)
    currency = settings.company.currency
    return [replace(one, test=_test(cards.get(one.campaign_id), spreads, sizes, currency)) for one in found]


def _test(
    card: Campaign | None, spreads: dict[str, dict[str, Any]], sizes: dict[tuple[str, str], int], currency: str
) -> str | None:
    """What the campaign's test can show: the spread is that of what clients are worth, the effect the card's prior."""
    if card is None or card.id not in spreads:
        return None
    effect = card.expected_value.prior_effect
    if not effect:
        return None
    control = sizes.get((card.id, CONTROL), 0)
    target = sum(n for (campaign, arm), n in sizes.items() if campaign == card.id and arm != CONTROL)
    spread = spreads[card.id]
    return in_words(
        target=target,
        control=control,
        deviation=float(spread["deviation"] or 0) / effect,
        expected=float(spread["expected"] or 0),
        currency=currency,
    )


def day_facts(
    settings: Settings, engine: sa.Engine, run: DayRun, targeting: Targeting, aliases: pa.Table
) -> tuple[DayFacts, list[tuple[str, str]]]:
    """What the ledger knows that a plan of the run stands on: nothing of later days, nothing of the run's own lists.

    All by today's client ids (`aliases`: client_ref, client_id). Beside it (campaign, client) of those who were joined
    from records with different arms.
    """
    ids = [card.id for card in targeting.campaigns]
    audiences = [card.id for card in targeting.campaigns if card.list_type == "audience"]
    contacts = contact_history.accepted_before(engine, run.as_of, first_day_of_contacts(targeting, run.as_of))
    members = contact_history.members_of(engine, audiences, run.as_of)
    arms, mixed = rekey.arms(engine, ids, aliases, until=run.as_of)
    pilots = [card.id for card in targeting.campaigns if card.pilot]
    series = [card.id for card in targeting.campaigns if card.series]
    facts = DayFacts(
        as_of=run.as_of,
        salt=settings.salt,
        zone=settings.company.zone,
        consents=consents.client_consents(engine, run.as_of, aliases),
        contacts=rekeyed(contacts, aliases),
        kept=rekeyed(_kept(settings, engine, run), aliases, one_per=("campaign_id", "client_id")),
        members=rekeyed(members, aliases, one_per=("campaign_id", "client_id", "channel")),
        arms=arms,
        suppressed=rekeyed(suppressions.suppressed(engine, run.as_of), aliases),
        young=_young(engine, run, targeting, aliases),
        held=_held(engine, run, targeting, aliases),
        spent=contact_history.spent_since(engine, _terms(targeting), run.as_of),
        effects=_effects(engine, pilots, run),
        begun=assignments.begun(engine, pilots, until=run.as_of),
        taken=rekeyed(contact_history.accepted_of(engine, series, run.as_of), aliases),
    )
    return facts, mixed


def _young(engine: sa.Engine, run: DayRun, targeting: Targeting, aliases: pa.Table) -> pa.Table:
    """Grants that the policy's `min_consent_days` does not yet let count."""
    least: dict[str, int] = {n: c.min_consent_days for n, c in targeting.policy.channels.items() if c.min_consent_days}
    return rekeyed(consents.young_grants(engine, run.as_of, least), aliases) if least else YOUNG.empty_table()


def _held(engine: sa.Engine, run: DayRun, targeting: Targeting, aliases: pa.Table) -> pa.Table:
    """Who was drawn for the global hold-out until the day, and who was drawn to stay outside it (L8)."""
    if targeting.policy.hold_out is None:
        return HELD.empty_table()
    experiment = hold_out_experiment(targeting.policy.hold_out)
    return rekey.arms(engine, [experiment], aliases, until=run.as_of)[0].select(["client_id", "arm"]).cast(HELD)


def _terms(targeting: Targeting) -> dict[str, date]:
    """Since when the budget of each card that has one for its term counts."""
    limited = (
        card for card in targeting.campaigns if card.budget.money is not None or card.budget.contacts is not None
    )
    return {card.id: card.starts_on or date.min for card in limited}


def _effects(engine: sa.Engine, pilots: list[str], run: DayRun) -> dict[str, tuple[Effect, ...]]:
    found: dict[str, tuple[Effect, ...]] = {}
    for campaign_id, known_on, low, high in effects.effects_of(engine, pilots, run.as_of):
        found[campaign_id] = (*found.get(campaign_id, ()), Effect(known_on, low, high))
    return found


def _record_hold_out(engine: sa.Engine, published: Published, targeting: Targeting, run: DayRun) -> None:
    if targeting.policy.hold_out is not None:
        experiment = hold_out_experiment(targeting.policy.hold_out)
        rows = published.query(HELD_DRAWN)
        named = rows.add_column(0, "campaign_id", pa.array([experiment] * rows.num_rows, pa.string()))
        assignments.record(engine, named.to_batches(), on=run.as_of)


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


# Before costs a contact is worth basis x effect x margin: over the effect it is what the client's margin is.
_SPREAD = f"""
select
    campaign_id,
    avg(cast(value + cost as double precision)) as expected,
    stddev_samp(cast(value + cost as double precision)) as deviation
from {OUTCOMES_TABLE}
where as_of_date = cast($as_of as date) and rule = 'allocated'
group by campaign_id
"""
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
