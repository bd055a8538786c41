"""When a score's model is to be trained again, and which sentence says why."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any

from perennial.core.errors import Problem
from perennial.scoring.drift import needed_bins
from perennial.scoring.features import FeatureSchema
from perennial.scoring.training import versions

RETRY_DAYS = 7  # after a refused challenger, age and drift ask again only then

Drift = Callable[[dict[str, dict[str, Any]]], dict[str, float]]


def due_reason(  # noqa: PLR0911 - one sentence each
    card: dict[str, Any] | None,
    *,
    as_of: date,
    schema: FeatureSchema,
    train_every_days: int,
    max_psi: float,
    last_refused: date | None,
    drift_of: Drift,
) -> str | None:
    """Why training is due at `as_of` for the champion's card (None: there is no champion); None when it is not.

    A changed schema or library is due at once; age, drift and absence wait a week after a training was refused.
    `drift_of` computes PSI by feature from the card's bins, and is asked last, for it reads the features.
    """
    if card is None:
        waits = last_refused is not None and 0 < (as_of - last_refused).days < RETRY_DAYS
        return None if waits else "there is no model yet"
    changed = schema_changes(card, schema)
    if changed:
        return changed
    made_with, here = (_minor(v["scikit-learn"]) for v in (card["versions"], versions()))
    if made_with != here:
        return f"the model was made with scikit-learn {made_with}, this is {here}"
    if last_refused and (as_of - last_refused).days < RETRY_DAYS:
        return None
    age = (as_of - date.fromisoformat(card["trained_as_of"])).days
    if age >= train_every_days:
        return f"the model is {age} days old, {train_every_days} are allowed"
    if age == 0:
        return None
    bins = needed_bins(card)
    drifted = {name: value for name, value in drift_of(bins).items() if value > max_psi} if bins else {}
    if drifted:
        worst = max(drifted, key=lambda name: (drifted[name], name))
        return f"{worst} has drifted: PSI {drifted[worst]:.2f}, {max_psi:g} is allowed"
    return None


def schema_changes(card: dict[str, Any], found: FeatureSchema) -> str | None:
    """What differs between the card's features and those that are published now, or None."""
    expected = card_schema(card)
    if dict(expected) == dict(found):
        return None
    gone = sorted(set(dict(expected)) - set(dict(found)))
    new = sorted(set(dict(found)) - set(dict(expected)))
    parts = [f"without {', '.join(gone)}"] if gone else []
    parts += [f"with {', '.join(new)}"] if new else []
    return "the features have changed: now " + (" and ".join(parts) or "of other types")


def version_problems(card: dict[str, Any], where: str) -> list[Problem]:
    """What keeps a model from being used here: it was made by another version of the library that reads it."""
    made_with, here = (_minor(v["scikit-learn"]) for v in (card["versions"], versions()))
    if made_with == here:
        return []
    fix = "run the step that trains (`train_models`): it is due at once"
    return [Problem(where, f"the model was made with scikit-learn {made_with}, this is {here}", fix)]


def card_schema(card: dict[str, Any]) -> FeatureSchema:
    """The features of a card, in order."""
    return [(feature["name"], feature["kind"]) for feature in card["features"]]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
