"""A model card for people: the same parts on the page and in the terminal, each a list of facts or a table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from perennial.ledger.cards import StoredCard
from perennial.ledger.checks import ScoreCheck

_TOP = 15  # features and days that are shown
_NOT_SHOWN = ("by_tenths", "method")


@dataclass(frozen=True)
class Part:
    """A part of a card: `facts` (name, text), or a table of `rows` under `columns`, numbers unless `has_words`."""

    title: str
    facts: tuple[tuple[str, str], ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    has_words: bool = False


def parts_of(stored: StoredCard, checks: Sequence[ScoreCheck]) -> list[Part]:
    """What there is to know of a model, in the order in which it is read; parts without content are left out."""
    card = stored.card
    parts = [
        Part(stored.model_version, tuple(_head(stored))),
        _figures(card),
        Part("Calibration", tuple(_calibration(card.get("calibration", {})))),
        _tenths(card),
        _features(card),
        _watch(checks),
    ]
    return [part for part in parts if part.facts or part.rows]


def _head(stored: StoredCard) -> Iterator[tuple[str, str]]:
    card, cuts = stored.card, stored.card.get("cuts", {})
    yield "score", f"{stored.score}, {card['horizon_days']} days"
    yield "status", stored.status + (f" since {stored.since}" if stored.since else "")
    if stored.decided:
        yield "decided", stored.decided
    if card["verdict"]["reason"]:
        yield "because", str(card["verdict"]["reason"])
    yield "trained as of", stored.trained_as_of.isoformat()
    for name in ("population", "data_needs"):
        if card.get(name):
            yield name.replace("_", " "), str(card[name])
    if cuts.get("final"):
        yield "learned from cuts", ", ".join(cuts["final"])
        yield "tested at", f"{cuts['test']}, by what was learned from {', '.join(cuts['development'])}"
    if card.get("rows"):
        yield "client-dates", f"{sum(card['rows'].values()):,}"
    if card.get("selection"):
        yield "chosen", f"{card['chosen']}, by {card['selection']['merit']} on {card['selection']['by']}"
    if card.get("champion"):
        yield "champion then", f"{card['champion']['model_version']}, {card['champion']['note']}"
    yield "made with", ", ".join(f"{name} {version}" for name, version in card["versions"].items())
    yield "artefact", f"{stored.artefact}, {card.get('artefact_bytes', 0):,} bytes, seed {card['seed']}"


def _figures(card: Mapping[str, Any]) -> Part:
    """The model's figures at the test cut, then the champion's and each baseline's, on the same rows."""
    figures = card.get("figures_at_test", {})
    names = list(dict.fromkeys(name for values in figures.values() for name in values))
    order = sorted(figures, key=lambda rule: (rule != "model", rule != "champion"))
    rows = tuple((rule, *(_number(figures[rule].get(name)) for name in names)) for rule in order)
    return Part("At the test cut, beside simple rules", columns=("rule", *names), rows=rows)


def _calibration(found: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, str]]:
    for name, value in found.items():
        label = f"{under}{name.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _calibration(value, f"{label}: ")
        elif isinstance(value, str) or (isinstance(value, int | float) and name not in _NOT_SHOWN):
            yield label, value if isinstance(value, str) else _number(value)


def _tenths(card: Mapping[str, Any]) -> Part:
    """What was predicted and what happened, by tenths of the clients."""
    found = card.get("calibration", {}).get("held_at_test", {}).get("by_tenths") or []
    names = tuple(found[0]) if found else ()
    rows = tuple(tuple(_number(tenth[name]) for name in names) for tenth in found)
    return Part("By tenths of the clients at the test cut", columns=names, rows=rows)


def _features(card: Mapping[str, Any]) -> Part:
    """The features that move the score most, and the range that training saw."""
    importance, bins = card.get("importance", {}), card.get("bins", {})
    first = sorted(importance, key=lambda name: (-importance[name], name))[:_TOP]
    rows = tuple(
        (name, _number(importance[name]), *(_number(bins.get(name, {}).get(end)) for end in ("low", "high")))
        for name in first
    )
    title = f"Features that move the score most, of {len(card.get('features', ()))}"
    return Part(title, columns=("feature", "moves the score by", "lowest seen", "highest seen"), rows=rows)


def _watch(checks: Sequence[ScoreCheck]) -> Part:
    """The days that the model was used on, newest first."""
    rows = tuple(
        (check.as_of.isoformat(), check.verdict, _worst(check), "; ".join(check.sentences) or "-")
        for check in checks[:_TOP]
    )
    return Part(
        "The daily watch", columns=("day", "verdict", "largest PSI", "what was said"), rows=rows, has_words=True
    )


def _worst(check: ScoreCheck) -> str:
    found = {name: values["psi"] for name, values in check.figures.get("features", {}).items()}
    if not found:
        return "-"
    name = max(found, key=lambda one: (found[one], one))
    return f"{name} {found[name]:.2f}" if found[name] > 0 else "none beyond chance"


def _number(value: Any) -> str:
    """A figure with four digits that count, a count with commas, `-` for what has no value."""
    if value is None:
        return "-"
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 100 else f"{value:.4g}"  # noqa: PLR2004
