"""The merge field `account_manager`: the agent of the client's latest deal, an open one first."""

from __future__ import annotations

from collections.abc import Collection

MANAGER = "account_manager"
MANAGERS = "client_managers"  # the relation that the field is a column of
_NEEDS = frozenset({"fct_deals", "dim_agents"})
_SQL = f"""
select
    d.client_id,
    a.agent_name as {MANAGER},
    row_number() over (
        partition by d.client_id
        order by case when d.outcome = 'open' then 0 else 1 end, d.opened_on desc nulls last, d.source, d.deal_key
    ) as nth
from fct_deals as d
inner join dim_agents as a on a.source = d.source and a.agent_key = d.agent_key
where d.client_id is not null
"""


def manager_is_known(names: Collection[str], tables: Collection[str]) -> bool:
    """Whether a list that wants the field can have it: deals and agents are published."""
    return MANAGER in names and set(tables) >= _NEEDS


def managers_join() -> str:
    """The join of a list's statement that gives `client_managers.account_manager`."""
    return f"left join ({_SQL}) as {MANAGERS} on {MANAGERS}.client_id = w.client_id and {MANAGERS}.nth = 1"
