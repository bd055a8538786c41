"""What a day may cost: limits of campaigns, channels and the day in contacts and money, less what is spent already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.targeting.judging import Judging
from perennial.targeting.pool import CAMPAIGN, MICRO, NO_LIMIT, Ints, Resources
from perennial.targeting.series import dearest_offer
from perennial.targeting.session import Session


@dataclass(frozen=True)
class Spent:
    """Accepted contacts of the campaign's term so far, by (campaign, channel)."""

    contacts: Mapping[tuple[str, str], int]

    def by(self, card: Campaign) -> dict[str, int]:
        """The card's contacts by channel."""
        return {channel: n for (name, channel), n in self.contacts.items() if name == card.id}


def micro(amounts: Any) -> Ints:
    """Amounts of the currency as whole millionths."""
    rounded: Ints = np.rint(np.nan_to_num(amounts) * MICRO).astype(np.int64)
    return rounded


def names(judging: Judging) -> list[str]:
    """The resources that are limited: `campaign:`, `term:`, `budget:`, `channel:` with a name, `day:contacts|money`."""
    found: list[str] = []
    for card in judging.cards:
        found += [f"{CAMPAIGN}{card.id}"] if card.max_contacts_per_day is not None else []
        found += [f"term:{card.id}"] if card.budget.contacts is not None else []
        found += [f"budget:{card.id}"] if (card.budget.money, card.budget.money_per_day) != (None, None) else []
    found += [
        f"channel:{n}" for n, rules in sorted(judging.policy.channels.items()) if rules.capacity_per_day is not None
    ]
    day = judging.policy.day_budget
    found += ["day:contacts"] if day.contacts is not None else []
    return found + (["day:money"] if day.money is not None else [])


def draws(resource: str, campaign_id: str, channel: str) -> bool:
    """Whether a contact of the campaign in the channel draws on the resource."""
    scope, _, name = resource.partition(":")
    return {"channel": name == channel, "day": True}.get(scope, name == campaign_id)


def card_of(resource: str) -> str | None:
    """The campaign that alone draws on the resource; None for those of a channel or of the day."""
    scope, _, name = resource.partition(":")
    return None if scope in ("channel", "day") else name


def rule_of(resource: str) -> str:
    """The rule by which clients are refused when the resource is used up."""
    scope, _, name = resource.partition(":")
    rules = {"campaign": "daily_limit", "term": "campaign_budget", "budget": "campaign_budget", "day": "day_budget"}
    return f"capacity_{name}" if scope == "channel" else rules[scope]


def resources(session: Session, judging: Judging, spent: Spent) -> Resources:
    """The limits less what an earlier revision of the day has sent, and of a term what was accepted before."""
    rows = session.query(
        "select campaign_id, channel, count(*) as n from t_kept group by campaign_id, channel"
    ).to_pylist()
    today = {(row["campaign_id"], row["channel"]): row["n"] for row in rows if row["channel"] is not None}
    found = names(judging)
    every = {card.id: card for card in judging.every}
    limits = [_left(name, judging, every, today, spent) for name in found]
    is_money = np.array([name == "day:money" or name.startswith("budget:") for name in found], bool)
    return Resources(tuple(found), np.array(limits, np.int64), is_money)


def _left(
    resource: str,
    judging: Judging,
    every: Mapping[str, Campaign],
    today: Mapping[tuple[str, str], int],
    spent: Spent,
) -> int:
    scope, _, name = resource.partition(":")
    policy = judging.policy
    if scope == "channel":
        capacity = next(c.capacity_per_day for n, c in policy.channels.items() if n == name)
        return int(capacity or 0) - sum(n for (_, channel), n in today.items() if channel == name)
    if resource == "day:contacts":
        return int(policy.day_budget.contacts or 0) - sum(today.values())
    if resource == "day:money":
        used = sum(_cost(policy, every.get(campaign), channel) * n for (campaign, channel), n in today.items())
        return int(micro(np.array(policy.day_budget.money))) - used
    card = every[name]
    own = {channel: n for (campaign, channel), n in today.items() if campaign == name}
    if scope == "campaign":
        return int(card.max_contacts_per_day or 0) - sum(own.values())
    before = spent.by(card)
    if scope == "term":
        return int(card.budget.contacts or 0) - sum(own.values()) - sum(before.values())
    cost_today = sum(_cost(policy, card, channel) * n for channel, n in own.items())
    cost_before = sum(_cost(policy, card, channel) * n for channel, n in before.items())
    limits = ((card.budget.money_per_day, cost_today), (card.budget.money, cost_today + cost_before))
    return min([NO_LIMIT, *(int(micro(np.array(limit))) - used for limit, used in limits if limit is not None)])


def _cost(policy: PolicyFile, card: Campaign | None, channel: str) -> int:
    """What a contact of the card costs, in millionths, by today's card and policy; what is gone costs nothing."""
    contact = next((rules.cost for name, rules in policy.channels.items() if name == channel), 0.0)
    offer = dearest_offer(card) * card.expected_value.prior_effect if card else 0.0
    return int(micro(np.array(contact + offer)))
