"""The day's plan: proposed -> eligible -> allowed -> allocated -> assigned, each a set-based statement.

Every candidate of every due campaign gets exactly one outcome and the rule that decided it (L7), the first that holds.
`step` is where she came to. Step eligible, who may be addressed at all:

0. `series_exited`, `series_lapsed`: what ends a series for her
1. `suppressed`, `withdrawn`, `no_address`, `consent_too_young`, `no_consent`: no channel of the card is open (L9)
2. `already_sent_today`: an earlier revision of this day has sent it (target) or held it back (control)
3. `already_in_list`: on the campaign's `audience` list, and stays (target or control)
4. `too_young`; `open_complaint`, `open_ticket` (the policy's open cases); `account_contacted`: another of her company
5. `score_missing`: the audience or the expected value stands on a score that is not there for this day (L6)
6. `pilot_waits`, `pilot_stopped`: the card begins with a pilot

Step allowed, what the contact policy says:

7. `re_entry`: her way through the series is over; `step_not_due`, `step_waits`: its next step has to wait;
   `cool_down`: had this campaign too recently; `gap_...`, `exclusive_...`: had another one too recently
8. `no_next_product`: the card proposes a product, and there is none for this client
9. `below_minimum_value`: the expected value is below the policy's minimum
10. `quiet_day`: nobody of her country is contacted on this day; `quiet_hours`: nor in the card's sending times
11. `cap_...`: the contacts of some cap were used up before today (L10)
12. `other_contact_person`: of her company another person is contacted today

Step allocated, who gets the few contacts and the budgets:

13. `daily_limit`, `campaign_budget`, `capacity_<channel>`, `day_budget`: used up by who expects more
14. `lost_to_<campaign>`: the client's contact of the day went to that campaign

Step assigned: `allocated`, target or control, by the salted hash (L8).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pyarrow as pa

from perennial.contracts.targeting import Campaign
from perennial.targeting import policy as contact_policy
from perennial.targeting import windows
from perennial.targeting.allotment import allot, describe, make_decided
from perennial.targeting.arms import draw
from perennial.targeting.catalogue import Tables
from perennial.targeting.config import Targeting
from perennial.targeting.facts import DayFacts
from perennial.targeting.flags import AUDIENCE, OCCASION, Flags
from perennial.targeting.history import read_history
from perennial.targeting.judging import Judging, is_quiet_channel, judge
from perennial.targeting.limits import Spent
from perennial.targeting.next_product import choose_products
from perennial.targeting.notes import day_notes
from perennial.targeting.people import choose_persons, make_people, segment_conditions
from perennial.targeting.pilots import pilot_states
from perennial.targeting.reach import Reach, read_reach
from perennial.targeting.scan import Known, bits, known_of, scan_clients, undecided, waiting_for_scores
from perennial.targeting.schedule import cool_down_days, not_due
from perennial.targeting.series import read_paths
from perennial.targeting.session import Binder, Session, make_table

# The finished plan, in the order in which it is published.
OUTCOMES = "select * from t_outcomes order by campaign_id, client_id"
DRAWN = (
    "select campaign_id, client_id, arm from t_outcomes where rule = 'allocated' and arm <> 'hold_out' "
    "order by campaign_id, client_id"
)


def decide(session: Session, targeting: Targeting, tables: Tables, facts: DayFacts) -> tuple[str, ...]:
    """Make `t_clients` (segments as columns) and `t_outcomes` (contracts.scores.CAMPAIGN_OUTCOMES); gives notes.

    Raises ContractViolation when the published metrics are not of the day.
    """
    as_of, policy = facts.as_of, targeting.policy
    known = known_of(session, tables, as_of, targeting)
    due = tuple(card for card in targeting.campaigns if not_due(card, as_of) is None)
    flags = scan_clients(session, targeting, known, due)
    missing = {card.id: missing_scores(targeting, card, known.scores) for card in due}
    register_cards(session, due, missing)
    read_history(session, tables, facts, first_day_of_contacts(targeting, as_of))
    read_paths(session, tables, due, as_of)
    contact_policy.count_contacts(session, policy, targeting.campaigns, as_of)
    reach = read_reach(session, due)
    session.register("p_windows", windows.table(policy, facts.zone, as_of))
    make_people(session, policy, reach, tables, as_of)
    _propose_products(session, due, tables, flags, as_of)
    judging = _judging(session, targeting, facts, known=known, reach=reach, missing=missing, flags=flags)
    judge(session, judging)
    choose_persons(session)
    allotted = allot(session, judging, Spent(facts.spent))
    make_decided(session, allotted)
    draw(session, policy, judging.cards, facts.salt)
    make_table(session, "t_outcomes", _outcomes(judging), {"as_of": as_of})
    told = describe(allotted, due)
    return (*day_notes(session, targeting, as_of, missing), *([told] if told else []))


def first_day_of_contacts(targeting: Targeting, as_of: date) -> date:
    """The earliest business date whose contacts the plan of `as_of` looks at."""
    return contact_policy.first_day_that_counts(targeting.policy, targeting.campaigns, as_of)


def basis_score(card: Campaign) -> tuple[str, ...]:
    """The scores that the card's expected value is made of."""
    return {
        "value_90d": ("value_90d",),
        "churn_risk_x_value_90d": ("churn_risk", "value_90d"),
        "revenue_365d_daily_x_90": (),
        "amount": (),
    }[card.expected_value.basis]


def missing_scores(targeting: Targeting, card: Campaign, scores: Mapping[str, bool]) -> tuple[str, ...]:
    """The scores that the card's audience or value stands on and that the day does not have."""
    rules = (targeting.audience_rules[card.id], *targeting.card_rules.get(card.id, ()))
    missing = {name for rule in rules for name in waiting_for_scores(targeting, rule, scores)}
    return tuple(sorted(missing | {name for name in basis_score(card) if not scores[name]}))


def register_cards(session: Session, due: tuple[Campaign, ...], missing: Mapping[str, tuple[str, ...]]) -> None:
    """Make `p_cards`, `p_channels` and `p_never`: what the statements of planning read of the due cards."""
    cards = [
        {
            "campaign_id": card.id,
            "cool_down": cool_down_days(card),
            "lacks_scores": bool(missing[card.id]),
            "product_kind": card.next_product,
            "is_audience": card.list_type == "audience",
        }
        for card in due
    ]
    session.register("p_cards", pa.Table.from_pylist(cards, schema=_CARDS))
    channels = [
        {"campaign_id": card.id, "channel": channel, "purpose": card.purpose, "place": place}
        for card in due
        for place, channel in enumerate(card.channels)
    ]
    session.register("p_channels", pa.Table.from_pylist(channels, schema=_CHANNELS))
    never = [{"campaign_id": card.id, "department": name} for card in due for name in card.never_propose]
    session.register("p_never", pa.Table.from_pylist(never, schema=_NEVER))


def _propose_products(session: Session, due: tuple[Campaign, ...], tables: Tables, flags: Flags, as_of: date) -> None:
    """Make `t_candidates`, the clients of the cards that propose a product, and `t_next`, what they propose.

    Nothing where no card proposes one: what goes with what is counted over all that was ever bought.
    """
    proposing = [card for card in due if card.next_product != "none"]
    if not proposing:
        return
    binder = Binder("due")
    parts = []
    for card in proposing:
        campaign_id = binder.bind(card.id, "varchar")
        terms = (flags.sql(card.id, AUDIENCE), flags.sql(card.id, OCCASION))
        condition = " and ".join(term for term in terms if term)
        if card.series is not None:
            on_the_way = f"select client_id from t_path where campaign_id = {campaign_id} and next_no is not null"
            condition = f"({condition}) or client_id in ({on_the_way})"
        parts.append(f"select {campaign_id} as campaign_id, client_id from t_people where {condition}")
    make_table(session, "t_candidates", " union all ".join(parts), binder.values)
    choose_products(session, tables, as_of)


def _judging(
    session: Session,
    targeting: Targeting,
    facts: DayFacts,
    *,
    known: Known,
    reach: Reach,
    missing: Mapping[str, tuple[str, ...]],
    flags: Flags,
) -> Judging:
    def campaigns_in(table: str) -> frozenset[str]:
        found = session.query(f"select distinct campaign_id from {table} where campaign_id is not null")
        return frozenset(found.column("campaign_id").to_pylist())

    due = tuple(card for card in targeting.campaigns if card.id in missing)
    make_table(session, "t_last", _LAST)
    return Judging(
        policy=targeting.policy,
        cards=tuple(sorted(due, key=lambda card: (card.priority, card.id))),
        every=targeting.campaigns,
        reach=reach,
        segments=segment_conditions(bits(targeting), undecided(targeting, known.scores)),
        missing=frozenset(name for name, lacks in missing.items() if lacks),
        measured=frozenset(card.id for card in due if known.scores.get(f"response_{card.id}")),
        kept=campaigns_in("t_kept"),
        members=campaigns_in("t_members"),
        contacted=campaigns_in("t_contacts"),
        pilots=pilot_states(due, facts),
        as_of=facts.as_of,
        salt=facts.salt,
        flags=flags,
        zone=facts.zone,
    )


_LAST = """
select campaign_id, client_id, max(contacted_on) as contacted_on
from t_contacts
where not is_kept and campaign_id is not null
group by campaign_id, client_id
"""


def _outcomes(judging: Judging) -> str:
    """The plan: the rule, arm and step of each pair, and between which moments its contact may be made."""
    policy = judging.policy
    quiet = [name for name in sorted(policy.channels) if is_quiet_channel(policy, name)]
    listed = ", ".join(f"'{name}'" for name in quiet)
    has_hours = f"j.channel in ({listed})" if quiet else "false"
    return f"""
with ruled as (
    select
        n.campaign_id,
        p.client_id,
        j.channel,
        j.value,
        j.cost,
        j.next_product,
        case
            when j.rule is not null then j.rule
            when d.rule is not null then d.rule
            else 'other_contact_person'
        end as final_rule,
        case
            when j.rule in ('already_sent_today', 'already_in_list') then j.held_arm
            else a.arm
        end as arm,
        j.series_step,
        {_later("n.not_before", f"case when {has_hours} then p.not_before end")} as not_before,
        {_sooner("n.not_after", f"case when {has_hours} then p.not_after end")} as not_after
    from t_judged as j
    inner join t_people as p on p.client_no = j.client_no
    inner join p_names as n on n.campaign_no = j.campaign_no
    left join t_decided as d on d.client_no = j.client_no and d.campaign_no = j.campaign_no
    left join t_drawn as a on a.client_no = j.client_no and a.campaign_no = j.campaign_no
)
select
    cast($as_of as date) as as_of_date,
    campaign_id,
    client_id,
    channel,
    case
        when arm is null then 'refused' when arm in ('control', 'hold_out') then 'control' else 'target'
    end as outcome,
    final_rule as rule,
    arm,
    value,
    cost,
    next_product,
    {step_sql("final_rule")} as step,
    case when arm is not null then not_before end as not_before,
    case when arm is not null then not_after end as not_after,
    series_step
from ruled
"""


def _later(one: str, other: str) -> str:
    """The later of two moments, or the one that is there."""
    return f"greatest(coalesce({one}, {other}), coalesce({other}, {one}))"


def _sooner(one: str, other: str) -> str:
    return f"least(coalesce({one}, {other}), coalesce({other}, {one}))"


_ALLOWED = (
    "re_entry",
    "step_not_due",
    "step_waits",
    "cool_down",
    "no_next_product",
    "below_minimum_value",
    "quiet_day",
    "quiet_hours",
    "other_contact_person",
)
_ALLOCATED = ("daily_limit", "campaign_budget", "day_budget")
_ASSIGNED = ("allocated", "already_sent_today", "already_in_list")


def step_sql(rule: str) -> str:
    """The step at which a rule decides: eligible, allowed, allocated or assigned."""

    def listed(names: tuple[str, ...]) -> str:
        return ", ".join(f"'{name}'" for name in names)

    def begins(*words: str) -> str:
        return " or ".join(f"substr({rule}, 1, {len(word)}) = '{word}'" for word in words)

    return (
        f"case when {rule} in ({listed(_ASSIGNED)}) then 'assigned' "
        f"when {rule} in ({listed(_ALLOCATED)}) or {begins('lost_to_', 'capacity_')} then 'allocated' "
        f"when {rule} in ({listed(_ALLOWED)}) or {begins('cap_', 'gap_', 'exclusive_')} then 'allowed' "
        "else 'eligible' end"
    )


_CARDS = pa.schema(
    [
        ("campaign_id", pa.string()),
        ("cool_down", pa.int32()),
        ("lacks_scores", pa.bool_()),
        ("product_kind", pa.string()),
        ("is_audience", pa.bool_()),
    ]
)
_CHANNELS = pa.schema(
    [("campaign_id", pa.string()), ("channel", pa.string()), ("purpose", pa.string()), ("place", pa.int64())]
)
_NEVER = pa.schema([("campaign_id", pa.string()), ("department", pa.string())])
