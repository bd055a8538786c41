"""What cards ask of a client as bits of the words `f0`, `f1`, ... of `t_clients`: so many cards need few columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from perennial.contracts.targeting import Campaign
from perennial.targeting.config import Targeting
from perennial.targeting.rules import Rule

AUDIENCE, OCCASION, EXIT, WHEN = "audience", "occasion", "exit", "when"
_BITS = 62  # of a word: a signed one, and one to spare


class Key(NamedTuple):
    """What is asked: by which campaign, audience, occasion, exit or when, and of `when` by which step."""

    campaign_id: str
    what: str
    step: str = ""


@dataclass(frozen=True)
class Flags:
    """The rules of some cards in the order of their bits."""

    rules: Mapping[Key, Rule]
    places: Mapping[Key, int] = field(repr=False)

    def sql(self, campaign_id: str, what: str, step: str = "") -> str | None:
        """Whether it holds, over the columns of `t_clients`; None when the card asks no such thing."""
        place = self.places.get(Key(campaign_id, what, step))
        return None if place is None else f"((f{place // _BITS} & {1 << place % _BITS}) <> 0)"

    def holds(self, row: Mapping[str, int], campaign_id: str, what: str) -> bool:
        """Whether it holds for a row of `t_clients`; what is not asked does."""
        place = self.places.get(Key(campaign_id, what))
        return place is None or bool(row[f"f{place // _BITS}"] >> place % _BITS & 1)

    def words(self, written: Callable[[Key, Rule], str]) -> list[tuple[str, str]]:
        """Name and SQL of each word; `written` gives the condition of a rule."""
        terms: dict[str, list[str]] = {}
        for place, (key, rule) in enumerate(self.rules.items()):
            bit = f"cast({1 << place % _BITS} as bigint)"
            term = f"case when {written(key, rule)} then {bit} else cast(0 as bigint) end"
            terms.setdefault(f"f{place // _BITS}", []).append(term)
        return [(word, " | ".join(parts)) for word, parts in terms.items()]


def flags_of(targeting: Targeting, cards: Sequence[Campaign]) -> Flags:
    """The flags of these cards, in their order."""
    rules: dict[Key, Rule] = {}
    for card in cards:
        others = targeting.card_rules.get(card.id)
        rules[Key(card.id, AUDIENCE)] = targeting.audience_rules[card.id]
        if others is None:
            continue
        if others.occasion is not None:
            rules[Key(card.id, OCCASION)] = others.occasion
        if others.exit_when is not None:
            rules[Key(card.id, EXIT)] = others.exit_when
        rules |= {Key(card.id, WHEN, step): rule for step, rule in others.whens.items()}
    return Flags(rules, {key: place for place, key in enumerate(rules)})
