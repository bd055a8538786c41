"""The day's plan: proposed -> eligible -> allowed -> allocated -> assigned, each a set-based statement.

Every candidate of every due campaign gets exactly one outcome and the rule that decided it (L7), the first that holds:

1. `withdrawn`, `no_address`, `no_consent`: no channel of the card may reach the client (L9)
2. `already_sent_today`: an earlier revision of this day has sent it (target) or held it back (control)
3. `already_in_list`: on the campaign's `audience` list, and stays (target or control)
4. `score_missing`: the audience or the expected value stands on a score that is not there for this day (L6)
5. `cool_down`: had this campaign too recently
6. `no_next_product`: the card proposes a product, and there is none for this client
7. `below_minimum_value`: the expected value is below the policy's minimum
8. `cap_...`: the contacts of some cap were used up before today (L10)
9. `daily_limit`: the campaign's contacts of the day went to clients who expect more
10. `lost_to_<campaign>`: the client's contact of the day went to a campaign that expects more
11. `allocated`: target or control, by the salted hash (L8)
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date

import pyarrow as pa

from perennial.contracts.targeting import Campaign
from perennial.core.ids import unit_hex_sql, unit_threshold
from perennial.core.sqltext import identifier
from perennial.targeting import policy as contact_policy
from perennial.targeting.allocation import BEST_FIRST, allocate
from perennial.targeting.catalogue import Tables
from perennial.targeting.config import AUDIENCE_PREFIX, Targeting
from perennial.targeting.facts import DayFacts
from perennial.targeting.history import read_history
from perennial.targeting.next_product import choose_products
from perennial.targeting.notes import day_notes
from perennial.targeting.scan import known_of, scan_clients, waiting_for_scores
from perennial.targeting.schedule import anniversary_sql, cool_down_days, not_due
from perennial.targeting.session import Binder, Session, make_table

# The finished plan, in the order in which it is published.
OUTCOMES = "select * from t_outcomes order by campaign_id, client_id"
DRAWN = "select campaign_id, client_id, arm from t_outcomes where rule = 'allocated' order by campaign_id, client_id"


def decide(session: Session, targeting: Targeting, tables: Tables, facts: DayFacts) -> tuple[str, ...]:
    """Make `t_clients` (segments as columns) and `t_outcomes` (contracts.scores.CAMPAIGN_OUTCOMES); gives notes.

    Raises ContractViolation when the published metrics are not of the day.
    """
    as_of = facts.as_of
    known = known_of(session, tables, as_of, targeting)
    scan_clients(session, targeting, known)
    due = tuple(card for card in targeting.campaigns if not_due(card, as_of) is None)
    missing = {card.id: missing_scores(targeting, card, known.scores) for card in due}
    register_cards(session, targeting, due, missing)
    read_history(session, tables, facts, first_day_of_contacts(targeting, as_of))
    _propose(session, due, as_of)
    choose_products(session)
    make_table(session, "t_reached", _REACH)
    contact_policy.count_contacts(session, targeting.policy, as_of)
    _judge(session, targeting, as_of)
    allocate(session)
    make_table(session, "t_outcomes", _OUTCOMES, {"as_of": as_of, "salt": facts.salt})
    return day_notes(session, targeting, as_of, missing)


def first_day_of_contacts(targeting: Targeting, as_of: date) -> date:
    """The earliest business date whose contacts the plan of `as_of` looks at."""
    cool_downs = [cool_down_days(card) for card in targeting.campaigns]
    return contact_policy.first_day_that_counts(targeting.policy, cool_downs, as_of)


def basis_score(card: Campaign) -> tuple[str, ...]:
    """The scores that the card's expected value is made of."""
    return {
        "value_90d": ("value_90d",),
        "churn_risk_x_value_90d": ("churn_risk", "value_90d"),
        "revenue_365d_daily_x_90": (),
    }[card.expected_value.basis]


def missing_scores(targeting: Targeting, card: Campaign, scores: Mapping[str, bool]) -> tuple[str, ...]:
    """The scores that the card's audience or value stands on and that the day does not have."""
    missing = set(waiting_for_scores(targeting, targeting.audience_rules[card.id], scores))
    return tuple(sorted(missing | {name for name in basis_score(card) if not scores[name]}))


def register_cards(
    session: Session, targeting: Targeting, due: tuple[Campaign, ...], missing: Mapping[str, tuple[str, ...]]
) -> None:
    """Make `p_cards`, `p_channels` and `p_never`: what the statements of planning read of the due cards."""
    cards = [
        {
            "campaign_id": card.id,
            "basis": card.expected_value.basis,
            "effect": card.expected_value.prior_effect,
            "margin_share": card.expected_value.margin_share,
            "offer_cost": card.offer.cost,
            "priority": card.priority,
            "max_per_day": card.max_contacts_per_day,
            "cool_down": cool_down_days(card),
            "lacks_scores": bool(missing[card.id]),
            "wants_product": card.next_product != "none",
            "is_audience": card.list_type == "audience",
            "control_below": unit_threshold(card.control_share),
        }
        for card in due
    ]
    session.register("p_cards", pa.Table.from_pylist(cards, schema=_CARDS))
    channels = [
        {
            "campaign_id": card.id,
            "channel": channel,
            "purpose": card.purpose,
            "place": place,
            "cost": targeting.policy.channels[channel].cost,
            "needs_consent": targeting.policy.channels[channel].consent == "required",
            "address": targeting.policy.channels[channel].address,
        }
        for card in due
        for place, channel in enumerate(card.channels)
    ]
    session.register("p_channels", pa.Table.from_pylist(channels, schema=_CHANNELS))
    never = [{"campaign_id": card.id, "department": name} for card in due for name in card.never_propose]
    session.register("p_never", pa.Table.from_pylist(never, schema=_NEVER))


def _propose(session: Session, due: tuple[Campaign, ...], as_of: date) -> None:
    """Who is in an audience today, and who was already sent a dated list today."""
    binder = Binder("due")
    parts = ["select campaign_id, client_id from t_clients cross join p_cards where false"]
    for card in due:
        campaign_id = binder.bind(card.id, "varchar")
        anniversary = anniversary_sql(card, as_of, binder)
        condition = identifier(AUDIENCE_PREFIX + card.id) + (f" and {anniversary}" if anniversary else "")
        parts.append(f"select {campaign_id}, client_id from t_clients where {condition}")
        if card.list_type == "send":
            parts.append(
                "select k.campaign_id, k.client_id from t_kept as k "
                f"inner join t_clients as t on t.client_id = k.client_id where k.campaign_id = {campaign_id}"
            )
    make_table(session, "t_candidates", " union ".join(parts), binder.values)


# A pair that was sent today already, or stands on a list, keeps its channel; the others take the first of the card's
# that has an address and may be used. A withdrawal closes a channel even where no consent is needed (L9).
_REACH = """
with options as (
    select
        c.campaign_id,
        c.client_id,
        o.place,
        case o.address when 'email' then t.has_email when 'phone' then t.has_phone else true end as has_address,
        coalesce(s.status, case when o.needs_consent then 'missing' else 'granted' end) as status
    from t_candidates as c
    inner join t_clients as t on t.client_id = c.client_id
    inner join p_channels as o on o.campaign_id = c.campaign_id
    left join t_kept as k on k.campaign_id = c.campaign_id and k.client_id = c.client_id
    left join t_consents as s on s.client_id = c.client_id and s.channel = o.channel and s.purpose = o.purpose
    where k.channel is null or k.channel = o.channel
),
reached as (
    select
        campaign_id,
        client_id,
        min(place) filter (where has_address and status = 'granted') as place,
        bool_or(coalesce(has_address, false)) as has_address,
        bool_or(status = 'withdrawn') as is_withdrawn
    from options
    group by campaign_id, client_id
)
select
    c.campaign_id,
    c.client_id,
    o.channel,
    o.cost as contact_cost,
    coalesce(r.has_address, false) as has_address,
    coalesce(r.is_withdrawn, false) as is_withdrawn
from t_candidates as c
left join reached as r on r.campaign_id = c.campaign_id and r.client_id = c.client_id
left join p_channels as o on o.campaign_id = r.campaign_id and o.place = r.place
"""


# Rounded to six places: enough for money, and free of the last bit in which engines may differ.
_VALUED = """
    select
        r.*,
        p.priority,
        p.max_per_day,
        p.cool_down,
        p.wants_product,
        n.next_product,
        p.lacks_scores or v.basis is null as lacks_score,
        round(r.contact_cost + p.offer_cost * p.effect, 6) as cost,
        round(v.basis * p.effect * p.margin_share - r.contact_cost - p.offer_cost * p.effect, 6) as value
    from t_reached as r
    inner join p_cards as p on p.campaign_id = r.campaign_id
    inner join (
        select
            c.campaign_id,
            c.client_id,
            case b.basis
                when 'value_90d' then t.value_90d
                when 'churn_risk_x_value_90d' then t.churn_risk * t.value_90d
                else coalesce(cast(t.revenue_365d as double precision), 0) / 365 * 90
            end as basis
        from t_candidates as c
        inner join t_clients as t on t.client_id = c.client_id
        inner join p_cards as b on b.campaign_id = c.campaign_id
    ) as v on v.campaign_id = r.campaign_id and v.client_id = r.client_id
    left join t_next as n on n.campaign_id = r.campaign_id and n.client_id = r.client_id
"""


def _judge(session: Session, targeting: Targeting, as_of: date) -> None:
    """Make `t_judged` (one row per candidate, `rule` null for those who may be allocated) and `t_pool`."""
    binder = Binder("judge")
    exhausted = contact_policy.exhausted_sql(targeting.policy, binder)
    room_all, room_channel = contact_policy.room_sql(targeting.policy, binder)
    minimum = binder.bind(targeting.policy.minimum_expected_value, "double precision")
    sql = f"""
with valued as ({_VALUED}),
last_contact as (
    select campaign_id, client_id, max(contacted_on) as contacted_on
    from t_contacts
    where not is_kept and campaign_id is not null
    group by campaign_id, client_id
)
select
    c.campaign_id,
    c.client_id,
    c.channel,
    c.value,
    c.cost,
    c.next_product,
    c.priority,
    c.max_per_day,
    {room_all} as room_all,
    {room_channel} as room_channel,
    case
        when c.channel is null and c.is_withdrawn then 'withdrawn'
        when c.channel is null and not c.has_address then 'no_address'
        when c.channel is null then 'no_consent'
        when k.client_id is not null then 'already_sent_today'
        when m.client_id is not null then 'already_in_list'
        when c.lacks_score then 'score_missing'
        when l.contacted_on > {binder.bind(as_of, "date")} - c.cool_down then 'cool_down'
        when c.wants_product and c.next_product is null then 'no_next_product'
        when c.value < {minimum} then 'below_minimum_value'
        else {exhausted}
    end as rule,
    coalesce(k.arm, m.arm) as held_arm
from valued as c
left join t_used as u on u.client_id = c.client_id
left join t_kept as k on k.campaign_id = c.campaign_id and k.client_id = c.client_id
left join t_members as m on m.campaign_id = c.campaign_id and m.client_id = c.client_id and m.channel = c.channel
left join last_contact as l on l.campaign_id = c.campaign_id and l.client_id = c.client_id
"""
    make_table(session, "t_judged", sql, binder.values)
    make_table(
        session,
        "t_pool",
        "select j.*, cast(j.max_per_day as bigint) - coalesce(k.kept, 0) as limit_left from t_judged as j "
        "left join (select campaign_id, count(*) as kept from t_kept group by campaign_id) as k "
        "on k.campaign_id = j.campaign_id where j.rule is null",
    )


# A pair that lost names the campaign that its client's contact went to: the best in the same channel, else the best.
_OUTCOMES = f"""
with taken as (
    select j.client_id, j.campaign_id, j.channel, j.value, j.priority
    from t_judged as j
    inner join t_allocated as a on a.campaign_id = j.campaign_id and a.client_id = j.client_id
    union all
    select client_id, campaign_id, channel, cast(null as double precision), 0 from t_kept
),
winners as (
    select
        j.campaign_id as loser,
        j.client_id,
        t.campaign_id as winner,
        row_number() over (
            partition by j.campaign_id, j.client_id
            order by
                case when t.channel = j.channel then 0 else 1 end,
                case when t.value is null then 0 else 1 end,
                {", ".join("t." + term for term in BEST_FIRST.split(", "))}
        ) as place
    from t_judged as j
    inner join taken as t on t.client_id = j.client_id
    where j.rule is null
),
ruled as (
    select
        j.*,
        case
            when j.rule is not null then j.rule
            when a.client_id is not null then 'allocated'
            when d.client_id is not null then 'daily_limit'
            else 'lost_to_' || w.winner
        end as final_rule
    from t_judged as j
    left join t_allocated as a on a.campaign_id = j.campaign_id and a.client_id = j.client_id
    left join t_limited as d on d.campaign_id = j.campaign_id and d.client_id = j.client_id
    left join winners as w on w.loser = j.campaign_id and w.client_id = j.client_id and w.place = 1
),
armed as (
    select
        r.*,
        case
            when r.final_rule in ('already_sent_today', 'already_in_list') then r.held_arm
            when r.final_rule <> 'allocated' then null
            when g.arm is not null then g.arm
            when {unit_hex_sql("$salt || '|' || r.campaign_id || '|' || r.client_id")} < p.control_below then 'control'
            else 'target'
        end as arm
    from ruled as r
    inner join p_cards as p on p.campaign_id = r.campaign_id
    left join p_arms as g on g.campaign_id = r.campaign_id and g.client_id = r.client_id
)
select
    cast($as_of as date) as as_of_date,
    campaign_id,
    client_id,
    channel,
    coalesce(arm, 'refused') as outcome,
    final_rule as rule,
    arm,
    value,
    cost,
    next_product
from armed
"""


_CARDS = pa.schema(
    [
        ("campaign_id", pa.string()),
        ("basis", pa.string()),
        ("effect", pa.float64()),
        ("margin_share", pa.float64()),
        ("offer_cost", pa.float64()),
        ("priority", pa.int64()),
        ("max_per_day", pa.int64()),
        ("cool_down", pa.int32()),
        ("lacks_scores", pa.bool_()),
        ("wants_product", pa.bool_()),
        ("is_audience", pa.bool_()),
        ("control_below", pa.string()),
    ]
)
_CHANNELS = pa.schema(
    [
        ("campaign_id", pa.string()),
        ("channel", pa.string()),
        ("purpose", pa.string()),
        ("place", pa.int64()),
        ("cost", pa.float64()),
        ("needs_consent", pa.bool_()),
        ("address", pa.string()),
    ]
)
_NEVER = pa.schema([("campaign_id", pa.string()), ("department", pa.string())])
