"""What policy.yml and a card's policy must hold beyond their shape: names that exist, shares that add up."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator

from perennial.contracts.policy import CONTROL, HOLD_OUT, NATURES, PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.core.errors import Problem
from perennial.core.yamlfile import YamlDocument
from perennial.targeting.arms import TARGET
from perennial.targeting.catalogue import nearest

Where = Callable[..., str]
_RESERVED = (CONTROL, HOLD_OUT, TARGET)
_CLOSE = 1e-6


def policy_name_problems(
    policy: PolicyFile, document: YamlDocument, campaigns: Collection[str], segments: Collection[str]
) -> Iterator[Problem]:
    """Names in policy.yml that no card, segment or channel has."""

    def where(*keys: str | int) -> str:
        return f"{document.path}:{document.line_of(keys)}:{'.'.join(str(key) for key in keys)}"

    for index, cap in enumerate(policy.caps):
        if cap.segment is not None and cap.segment not in segments:
            fix = nearest(cap.segment, segments) or "name a segment of config/segments"
            yield Problem(where("caps", index, "segment"), f"no segment is called {cap.segment!r}", fix)
    yield from _gap_problems(policy, where, campaigns)
    yield from _channel_problems(policy, where)


def _gap_problems(policy: PolicyFile, where: Where, campaigns: Collection[str]) -> Iterator[Problem]:
    known = {*campaigns, *NATURES}
    for index, gap in enumerate(policy.gaps):
        for side in ("after", "before"):
            name = getattr(gap, side)
            if name not in known:
                fix = nearest(name, known) or f"name a campaign, or a nature: {', '.join(NATURES)}"
                yield Problem(where("gaps", index, side), f"no campaign or nature is called {name!r}", fix)
        if gap.after == gap.before and gap.after not in NATURES:
            fix = "use the card's cool_down_days, or name two campaigns"
            yield Problem(where("gaps", index), "a campaign keeps its distance from itself", fix)
        if gap in policy.gaps[:index]:
            yield Problem(where("gaps", index), "this gap stands twice", "remove one of the two")


def _channel_problems(policy: PolicyFile, where: Where) -> Iterator[Problem]:
    for index, channel in enumerate(policy.quiet.channels):
        if channel not in policy.channels:
            fix = f"use one of {', '.join(sorted(policy.channels))}"
            yield Problem(where("quiet", "channels", index), f"the channel {channel!r} is not declared", fix)
    for name, rules in policy.channels.items():
        if rules.min_consent_days and rules.consent == "not_required":
            fix = "remove min_consent_days, or write consent: required"
            yield Problem(where("channels", name, "min_consent_days"), "the channel needs no consent", fix)


def card_policy_problems(card: Campaign, where: Where) -> Iterator[Problem]:
    """Arms that overlap or leave a rest, and a pilot or budget that cannot be."""
    names = [arm.id for arm in card.arms]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield Problem(where("arms", index, "id"), f"the arm {name!r} stands twice", "give it another id")
        if name in _RESERVED:
            yield Problem(where("arms", index, "id"), f"{name!r} is no name for an arm", "control_share makes control")
    total = math.fsum(arm.share for arm in card.arms)
    if card.arms and abs(total - 1) > _CLOSE:
        fix = "let the arms' shares add up to 1: they are of those who are not in control"
        kind = "overlap" if total > 1 else "leave a rest"
        yield Problem(where("arms"), f"the shares of the arms add up to {total:g}: they {kind}", fix)
    if card.pilot is not None and card.control_share in (0.0, 1.0):
        fix = "give it a control_share between 0 and 1"
        yield Problem(where("pilot"), "a pilot without a control group and targets shows no effect", fix)
    if card.pilot is not None and card.list_type == "audience":
        yield Problem(where("pilot"), "an audience list has no pilot", "use list_type: send")
    budget = card.budget
    if budget.money is not None and budget.money_per_day is not None and budget.money_per_day > budget.money:
        fix = "lower money_per_day, or raise money"
        yield Problem(where("budget", "money_per_day"), "a day may cost more than the whole term", fix)
