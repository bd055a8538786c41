"""Who was contacted before, by anyone (L10), and who stands in a control group as if contacted (borders.md)."""

from __future__ import annotations

from datetime import date

from perennial.targeting.catalogue import Tables
from perennial.targeting.facts import DayFacts
from perennial.targeting.session import Session, count, make_table

OUTCOMES_TABLE, OTHERS_TABLE, ALIASES_TABLE = "campaign_outcomes", "fct_campaign_contacts", "client_aliases"
# What is in the others' table by our own hand is in the ledger too, which knows it sooner.
OURSELVES = "perennial"

_OWN = """
select campaign_id, client_id, channel, contacted_on, false as is_kept
from p_contacts
where contacted_on >= $since
"""
_KEPT = "select campaign_id, client_id, channel, $as_of, true from p_kept"
_OTHERS = f"""
select cast(null as varchar), client_id, channel, contacted_on, false
from {OTHERS_TABLE}
where contacted_on between $since and $as_of and client_id is not null and reported_by <> '{OURSELVES}'
"""
# Outcomes of earlier days stand under the ids of those days; what was joined since counts for the client of today.
_OUTCOMES = f"""(
    select o.campaign_id, coalesce(a.client_id, o.client_id) as client_id, o.channel, o.as_of_date, o.outcome, o.rule
    from {OUTCOMES_TABLE} as o
    left join {ALIASES_TABLE} as a on a.client_ref = o.client_id
)"""
_HELD_BACK = """
select campaign_id, client_id, channel, as_of_date, false
from {outcomes} as o
where as_of_date >= $since and as_of_date < $as_of and outcome = 'control' and rule <> 'already_in_list'
"""
_ON_LISTS = "select campaign_id, client_id, channel, 'target' as arm from p_members"
_BESIDE_LISTS = """
select o.campaign_id, o.client_id, o.channel, 'control' as arm
from {outcomes} as o
inner join (
    select campaign_id, max(as_of_date) as as_of_date
    from campaign_outcomes
    where as_of_date < $as_of
    group by campaign_id
) as l on l.campaign_id = o.campaign_id and l.as_of_date = o.as_of_date
inner join p_cards as p on p.campaign_id = o.campaign_id
where o.outcome = 'control' and p.is_audience
"""


def read_history(session: Session, tables: Tables, facts: DayFacts, since: date) -> None:
    """Make `t_contacts`, `t_kept` and `t_members` from the ledger's facts and the published tables.

    `t_contacts`: (campaign_id, client_id, channel, contacted_on, is_kept) from `since` on; campaign_id is null for what
    others sent. Registers the facts as `p_...`. Needs `p_cards`.
    """
    session.register("p_consents", facts.consents)
    session.register("p_contacts", facts.contacts)
    session.register("p_taken", facts.taken)
    session.register("p_kept", facts.kept)
    session.register("p_members", facts.members)
    session.register("p_arms", facts.arms)
    session.register("p_suppressed", facts.suppressed)
    session.register("p_young", facts.young)
    session.register("p_held", facts.held)
    make_table(session, "t_kept", "select campaign_id, client_id, channel, arm from p_kept")
    is_joined = ALIASES_TABLE in tables and count(session, ALIASES_TABLE) > 0
    outcomes = _OUTCOMES if is_joined else OUTCOMES_TABLE
    parts = [_OWN, _KEPT]
    parts += [_OTHERS] if OTHERS_TABLE in tables else []
    parts += [_HELD_BACK.format(outcomes=outcomes)] if OUTCOMES_TABLE in tables else []
    _dated(session, "t_contacts", parts, facts.as_of, since)
    beside = [_BESIDE_LISTS.format(outcomes=outcomes)] if OUTCOMES_TABLE in tables else []
    parts = [_ON_LISTS, *beside]
    if is_joined:  # one record on the list and one beside it: the client is on it
        columns = "campaign_id, client_id, channel"
        parts = [f"select {columns}, max(arm) as arm from ({' union all '.join(parts)}) as m group by {columns}"]
    _dated(session, "t_members", parts, facts.as_of, since)


def _dated(session: Session, name: str, parts: list[str], as_of: date, since: date) -> None:
    """The parts as one table, with the two dates typed and bound; each part uses them or not."""
    sql = " union all ".join(parts)
    days = {"as_of": as_of, "since": since}
    used = {key: day for key, day in days.items() if f"${key}" in sql}
    for key in used:
        sql = sql.replace(f"${key}", f"cast(${key} as date)")
    make_table(session, name, sql, used)
