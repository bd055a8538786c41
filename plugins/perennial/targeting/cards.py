"""What a campaign card and the policy must hold beyond the shape of their files."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign
from perennial.core.errors import Problem
from perennial.core.yamlfile import YamlDocument
from perennial.targeting.catalogue import Catalogue, nearest
from perennial.targeting.policy_problems import card_policy_problems
from perennial.targeting.schedule_problems import default_problems, schedule_problems, series_problems

MERGE_FIELDS = frozenset({"account_manager", "first_name", "next_product", "offer_code"})
Where = Callable[..., str]


def card_problems(
    card: Campaign, where: Where, catalogue: Catalogue | None, policy: PolicyFile | None
) -> Iterator[Problem]:
    """Every mistake in one card that its shape does not show; `where(*keys)` is file:line:field."""
    yield from _channel_problems(card, where, policy)
    yield from _merge_field_problems(card, where, catalogue)
    yield from card_policy_problems(card, where)
    yield from schedule_problems(card, where)
    yield from series_problems(card, where)
    yield from default_problems(card, where, catalogue)
    if card.next_product == "none" and card.never_propose:
        yield Problem(
            where("never_propose"), "the card proposes no product", "set next_product, or remove never_propose"
        )
    if card.next_product != "none" and card.list_type == "audience":
        yield Problem(where("next_product"), "an audience list has no next product", "use list_type: send")


def _channel_problems(card: Campaign, where: Where, policy: PolicyFile | None) -> Iterator[Problem]:
    for index, channel in enumerate(card.channels):
        if policy is not None and channel not in policy.channels:
            known = ", ".join(sorted(policy.channels))
            yield Problem(
                where("channels", index),
                f"policy.yml knows no channel {channel!r}",
                f"add it there, or use one of {known}",
            )
        if channel in card.channels[:index]:
            yield Problem(where("channels", index), f"the channel {channel!r} is named twice", "name it once")


def _merge_field_problems(card: Campaign, where: Where, catalogue: Catalogue | None) -> Iterator[Problem]:
    for index, name in enumerate(card.merge_fields):
        place = where("merge_fields", index)
        if name == "next_product" and card.next_product == "none":
            fix = "set next_product: cross_sell or department_not_yet_bought"
            yield Problem(place, "the card proposes no product", fix)
        if name == "offer_code" and card.offer.code is None:
            yield Problem(place, "the offer has no code", "add offer.code, or remove the field")
        if catalogue is not None and name not in catalogue and name not in MERGE_FIELDS:
            yield Problem(
                place, f"no field is called {name!r}", nearest(name, [*catalogue, *MERGE_FIELDS]) or "remove it"
            )


def policy_problems(policy: PolicyFile, document: YamlDocument) -> list[Problem]:
    """Every mistake in policy.yml that its shape does not show."""
    problems = []
    for index, cap in enumerate(policy.caps):
        place = f"{document.path}:{document.line_of(('caps', index))}:caps.{index}"
        if cap.channel is not None and cap.channel not in policy.channels:
            fix = f"declare it under channels, or use one of {', '.join(sorted(policy.channels))}"
            problems.append(Problem(place, f"the cap names the channel {cap.channel!r}, which is not declared", fix))
        if cap in policy.caps[:index]:
            problems.append(Problem(place, "this cap stands twice", "remove one of the two"))
    return problems
