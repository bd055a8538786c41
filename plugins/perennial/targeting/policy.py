"""Contact policy: caps over sliding windows that count everything sent by anyone (L10), and cool-downs.

Reads `t_contacts` (client_id, channel, campaign_id, contacted_on, is_kept): what was sent in earlier days and, by other
tools, today; with `is_kept` what an earlier revision of this day has sent already. A client of a control group stands
in it as if contacted.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta

from perennial.contracts.policy import Cap, PolicyFile
from perennial.targeting.session import Binder, Session, make_table


def cap_name(cap: Cap) -> str:
    """`cap_1_in_3d`, `cap_sms_1_in_14d`: the rule that a client is refused by."""
    channel = f"{cap.channel}_" if cap.channel else ""
    return f"cap_{channel}{cap.contacts}_in_{cap.days}d"


def first_day_that_counts(policy: PolicyFile, cool_downs: Iterable[int], as_of: date) -> date:
    """The earliest business date of a contact that a cap or a cool-down still looks at."""
    days = max([1, *(cap.days for cap in policy.caps), *cool_downs])
    return as_of - timedelta(days=days - 1)


def count_contacts(session: Session, policy: PolicyFile, as_of: date) -> None:
    """Make `t_used`: one row per client contacted, with `u<i>` (before today) and `k<i>` (kept today) for each cap."""
    binder = Binder("cap")
    columns = []
    for index, cap in enumerate(policy.caps):
        since = binder.bind(as_of - timedelta(days=cap.days), "date")
        channel = f" and channel = {binder.bind(cap.channel, 'varchar')}" if cap.channel else ""
        window = f"contacted_on > {since}{channel}"
        columns.append(f", count(*) filter (where not is_kept and {window}) as u{index}")
        columns.append(f", count(*) filter (where is_kept and {window}) as k{index}")
    make_table(
        session, "t_used", f"select client_id{''.join(columns)} from t_contacts group by client_id", binder.values
    )


def exhausted_sql(policy: PolicyFile, binder: Binder) -> str:
    """A term: the name of the first cap (in the file's order) that left no room before today's lists, else null.

    Over the aliases `u` (t_used, outer joined) and `c` (with the candidate's channel).
    """
    cases = []
    for index, cap in enumerate(policy.caps):
        channel = f" and c.channel = {binder.bind(cap.channel, 'varchar')}" if cap.channel else ""
        full = f"coalesce(u.u{index}, 0) >= {binder.bind(cap.contacts, 'bigint')}{channel}"
        cases.append(f"when {full} then {binder.bind(cap_name(cap), 'varchar')}")
    return f"case {' '.join(cases)} end" if cases else "cast(null as varchar)"


def room_sql(policy: PolicyFile, binder: Binder) -> tuple[str, str]:
    """Two terms: how many contacts are left today over all channels, and in the candidate's channel; null: no limit."""
    general: list[str] = []
    by_channel: dict[str, list[str]] = {}
    for index, cap in enumerate(policy.caps):
        left = f"{binder.bind(cap.contacts, 'bigint')} - coalesce(u.u{index}, 0) - coalesce(u.k{index}, 0)"
        (by_channel.setdefault(cap.channel, []) if cap.channel else general).append(left)
    cases = [
        f"when c.channel = {binder.bind(channel, 'varchar')} then {_least(terms)}"
        for channel, terms in by_channel.items()
    ]
    return _least(general), f"case {' '.join(cases)} end" if cases else "cast(null as bigint)"


def _least(terms: list[str]) -> str:
    return f"least({', '.join(terms)})" if terms else "cast(null as bigint)"
