"""Contact policy: caps over sliding windows that count everything sent by anyone (L10), cool-downs, gaps, exclusivity.

Reads `t_contacts` (client_id, channel, campaign_id, contacted_on, is_kept): what was sent in earlier days and, by other
tools, today; with `is_kept` what an earlier revision of this day has sent already. A client of a control group stands
in it as if contacted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import pyarrow as pa

from perennial.contracts.policy import NATURES, Cap, PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.targeting.schedule import cool_down_days
from perennial.targeting.session import Binder, Session, make_table

_NATURES = pa.schema([("campaign_id", pa.string()), ("nature", pa.string()), ("purpose", pa.string())])


def cap_name(cap: Cap) -> str:
    """`cap_1_in_3d`, `cap_sms_1_in_14d`: the rule that a client is refused by."""
    scope = "".join(f"{word}_" for word in (cap.segment, cap.channel, cap.nature, cap.purpose) if word)
    return f"cap_{scope}{cap.contacts}_in_{cap.days}d"


def first_day_that_counts(policy: PolicyFile, cards: Iterable[Campaign], as_of: date) -> date:
    """The earliest business date of a contact that a cap, a cool-down, a gap or an account rule still looks at."""
    days = [1, *(cap.days for cap in policy.caps), *(gap.days for gap in policy.gaps)]
    days += [policy.accounts.days] if policy.accounts else []
    for card in cards:
        days += [cool_down_days(card), card.exclusivity.days if card.exclusivity else 0]
    return as_of - timedelta(days=max(days) - 1)


@dataclass(frozen=True)
class Distance:
    """After a contact by one of `after` a card waits `days`; `rule` is what its clients are refused by."""

    rule: str
    after: frozenset[str]
    days: int


def distances(policy: PolicyFile, card: Campaign, cards: Sequence[Campaign]) -> list[Distance]:
    """The gaps and the exclusivity that hold for a card, each with the campaigns that it keeps away from."""
    found = []
    for gap in policy.gaps:
        if gap.before in (card.id, card.nature):
            after = frozenset(one.id for one in cards if gap.after in (one.id, one.nature) and one.id != card.id)
            found.append(Distance(f"gap_{gap.days}d_after_{gap.after}", after, gap.days))
    if card.exclusivity:
        group = card.exclusivity.group
        after = frozenset(one.id for one in cards if one.exclusivity and one.exclusivity.group == group) - {card.id}
        found.append(Distance(f"exclusive_{group}", after, card.exclusivity.days))
    return [distance for distance in found if distance.after]


def counts_in(policy: PolicyFile, cap: Cap, card: Campaign, channel: str) -> bool:
    """Whether a contact by the card in the channel counts in the cap, and is held back by it."""
    if policy.is_exempt(card.purpose) and cap.purpose != card.purpose:
        return False
    scopes = ((cap.channel, channel), (cap.nature, card.nature), (cap.purpose, card.purpose))
    return all(scope in (None, own) for scope, own in scopes)


def count_contacts(session: Session, policy: PolicyFile, cards: Sequence[Campaign], as_of: date) -> None:
    """Make `t_used`: one row per client contacted, with `u<i>` (before today) and `k<i>` (kept today) for each cap.

    What others sent, and campaigns whose cards are gone, have no nature or purpose: they count in each.
    """
    natures = [{"campaign_id": card.id, "nature": card.nature, "purpose": card.purpose} for card in cards]
    session.register("p_natures", pa.Table.from_pylist(natures, schema=_NATURES))
    binder = Binder("cap")
    terms = []
    for index, cap in enumerate(policy.caps):
        window = _window(policy, cap, as_of, binder)
        terms += [
            f"count(*) filter (where not c.is_kept and {window}) as u{index}",
            f"count(*) filter (where c.is_kept and {window}) as k{index}",
        ]
    joined = "left join p_natures as n on n.campaign_id = c.campaign_id" if _needs_natures(policy) else ""
    columns = "".join(f", {term}" for term in terms)
    select = f"select c.client_id{columns} from t_contacts as c {joined} group by c.client_id"
    make_table(session, "t_used", select, binder.values)


def _needs_natures(policy: PolicyFile) -> bool:
    return policy.essential.treatment == "exempt" or any(cap.nature or cap.purpose for cap in policy.caps)


def _window(policy: PolicyFile, cap: Cap, as_of: date, binder: Binder) -> str:
    terms = [f"c.contacted_on > {binder.bind(as_of - timedelta(days=cap.days), 'date')}"]
    if cap.channel:
        terms.append(f"c.channel = {binder.bind(cap.channel, 'varchar')}")
    for column, value in (("nature", cap.nature), ("purpose", cap.purpose)):
        if value:
            terms.append(f"coalesce(n.{column}, {binder.bind(value, 'varchar')}) = {binder.bind(value, 'varchar')}")
    if policy.essential.treatment == "exempt":
        others = (purpose for purpose in policy.essential.purposes if purpose != cap.purpose)
        terms += [f"coalesce(n.purpose, '') <> {binder.bind(purpose, 'varchar')}" for purpose in others]
    return " and ".join(terms)


def exhausted_sql(policy: PolicyFile, card: Campaign, segments: Mapping[str, str], binder: Binder) -> list[str]:
    """For each cap, in the file's order, `when ... then '<rule>'`: it left no room before today's lists.

    Over the columns u<i>, k<i> of the client and `channel`, the candidate's; `segments` are conditions by name.
    """
    whens = []
    for index, cap in enumerate(policy.caps):
        channels = [channel for channel in card.channels if counts_in(policy, cap, card, channel)]
        if not channels:
            continue
        terms = [f"u{index} >= {binder.bind(cap.contacts, 'bigint')}"]
        if len(channels) < len(card.channels):
            terms.append(f"channel in ({', '.join(binder.bind(channel, 'varchar') for channel in channels)})")
        if cap.segment:
            terms.append(segments[cap.segment])
        whens.append(f"when {' and '.join(terms)} then {binder.bind(cap_name(cap), 'varchar')}")
    return whens


def room_sql(policy: PolicyFile, segments: Mapping[str, str], no_limit: int) -> list[str]:
    """For each cap a term: how many contacts of it the client may still get today."""
    terms = []
    for index, cap in enumerate(policy.caps):
        left = f"least({min(cap.contacts, no_limit)} - u{index} - k{index}, {no_limit})"
        holds = segments[cap.segment] if cap.segment else None
        left = f"case when {holds} then {left} else {no_limit} end" if holds else left
        terms.append(f"cast({left} as smallint) as r{index}")
    return terms


def is_nature(name: str) -> bool:
    """Whether the name in a gap is a nature, and no campaign."""
    return name in NATURES
