"""The gate between a pilot and its roll-out: a verdict from intervals of the measured effect."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, timedelta
from typing import Literal

from perennial.contracts.policy import Pilot
from perennial.contracts.targeting import Campaign
from perennial.targeting.facts import DayFacts, Effect

Verdict = Literal["continue", "roll_out", "stop"]


def gate(pilot: Pilot, effects: Iterable[Effect], begun_on: date | None, as_of: date) -> Verdict:
    """What becomes of a pilot that began on a day (None: not yet), by what was measured until `as_of`.

    The first interval that lies as a whole on one side of the pilot's `minimum_effect` decides, for good: roll_out on
    it or above, stop below. Without one the pilot goes on for its `max_days`, and then stops: an effect that does not
    show in that time is not worth waiting for.
    """
    for effect in sorted((one for one in effects if one.known_on <= as_of), key=lambda one: one.known_on):
        if effect.low >= pilot.minimum_effect:
            return "roll_out"
        if effect.high < pilot.minimum_effect:
            return "stop"
    is_over = begun_on is not None and as_of >= begun_on + timedelta(days=pilot.max_days)
    return "stop" if is_over else "continue"


def pilot_states(cards: Sequence[Campaign], facts: DayFacts) -> dict[str, Verdict]:
    """The verdict on each of these cards that begins with a pilot."""
    return {
        card.id: gate(card.pilot, facts.effects.get(card.id, ()), facts.begun.get(card.id), facts.as_of)
        for card in cards
        if card.pilot is not None
    }
