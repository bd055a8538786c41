"""Models of scores: which one is in use on a date, who becomes champion, and what people decide about it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from perennial.contracts.records import DayRun
from perennial.core.errors import PermanentError, Problem
from perennial.core.settings import Settings
from perennial.ledger import cards as ledger_cards
from perennial.ledger.cards import CardStatus, Decision, StoredCard
from perennial.ledger.checks import ScoreCheck, checks_of, checks_on
from perennial.ledger.engine import open_ledger
from perennial.pipeline.watching import FEATURES, without
from perennial.warehouse.engine import Published

if TYPE_CHECKING:  # scikit-learn is imported inside the steps: 1.7 s
    from perennial.scoring.frames import Frame
    from perennial.scoring.next_purchase.training import NextPurchaseTask
    from perennial.scoring.tasks import Task as FeatureTask
    from perennial.scoring.training import Trained
    from perennial.scoring.uplift.training import ResponseTask

    Task = FeatureTask | NextPurchaseTask

_APPROVE = "perennial models approve"


@dataclass(frozen=True)
class ScoreState:
    """Which model a score has on a date: the one in use, the newest refused training, a challenger that waits."""

    score: str
    as_of: date
    horizon_days: int
    used: StoredCard | None
    refused: StoredCard | None
    waiting: StoredCard | None = None

    @property
    def sentence(self) -> str:
        """What people should know of it; a score without a model says what that means."""
        if self.used is not None:
            return self._in_use(self.used)
        nobody = without(self.score)
        if self.waiting is not None:
            return f"{self.score}: NO SCORES, {self._waits(self.waiting)}; {nobody}"
        if self.refused is not None:
            return f"{self.score}: NO SCORES, {_why_refused(self.refused)}; {nobody}"
        return f"{self.score}: no model was trained at or before {self.as_of} for {self.horizon_days} days"

    def _in_use(self, used: StoredCard) -> str:
        age = (self.as_of - used.trained_as_of).days
        told = f"{self.score}: {used.model_version}, trained {age} days ago, is in use"
        if self.waiting is not None:
            told += f"; {self._waits(self.waiting)}"
        if self.refused is not None and self.refused.trained_as_of > used.trained_as_of:
            told += f"; {_why_refused(self.refused)}"
        return told

    @staticmethod
    def _waits(card: StoredCard) -> str:
        why = card.card["verdict"]["reason"]
        return f"{card.model_version} waits for a person ({_APPROVE} {card.model_version}): {why}"


def _why_refused(refused: StoredCard) -> str:
    return f"the training of {refused.trained_as_of} was refused: {refused.card['verdict']['reason']}"


def state_of(settings: Settings, task: Task | ResponseTask, as_of: date) -> ScoreState:
    """The state of one score as of a date."""
    cards = ledger_cards.cards_until(open_ledger(settings), task.score, as_of)
    days = task.horizon_days
    return ScoreState(
        task.score,
        as_of,
        days,
        ledger_cards.champion(cards, horizon_days=days),
        ledger_cards.last_refused(cards, horizon_days=days),
        ledger_cards.waiting(cards, horizon_days=days),
    )


def unusable(stored: StoredCard, published: Published) -> list[Problem]:
    """What keeps a model from reading the published features: other columns or types, another library."""
    from perennial.scoring.due import card_schema, version_problems
    from perennial.scoring.features import schema_problems

    problems = schema_problems(card_schema(stored.card), found_schema(published), FEATURES)
    return [*problems, *version_problems(stored.card, stored.model_version)]


def found_schema(published: Published) -> list[tuple[str, str]]:
    """Name and kind of the features that are published."""
    from perennial.scoring.features import feature_schema

    return feature_schema(published.query(f"select * from {FEATURES} limit 0").schema)


def keep(settings: Settings, run: DayRun, task: Task, trained: Trained, rows: Frame, *, held: str | None = None) -> str:
    """Write artefact and card under names of their content, then the ledger's row; gives a sentence for people.

    The card gets the champion's figures at the same test cut and the status: refused, champion by the rule, or a
    challenger that waits for a person (settings `scoring.promotion: approval`, or `held` says why).
    """
    from perennial.scoring.training import rounded

    state = state_of(settings, task, run.as_of)
    card = dict(trained.card)
    status, reason = _judge(settings, run, task, trained, rows, state, card, held)
    card["verdict"] = {"status": status, "reason": reason}
    stored = write_card(settings, run, trained.score, rounded(card), trained.scorer, status)
    if status == "refused":
        return f"{trained.score}: refused, {reason}"
    if status == "challenger":
        return f"{trained.score}: {stored.model_version} waits for a person, {reason} ({figures_of(stored.card)})"
    return f"{trained.score}: {stored.model_version} is the champion ({figures_of(stored.card)})"


def keep_response(settings: Settings, run: DayRun, trained: Trained) -> str:
    """Write the card of a response model; gives a sentence for people.

    It is not judged beside the champion: that one has learned from the same clients.
    """
    waits = settings.scoring.promotion == "approval" and not trained.refused
    status: CardStatus = "refused" if trained.refused else "challenger" if waits else "champion"
    reason = "models are promoted by approval" if waits else trained.refused
    card = {**trained.card, "verdict": {"status": status, "reason": reason}}
    stored = write_card(settings, run, trained.score, card, trained.scorer, status)
    if status == "refused":
        return f"{trained.score}: refused, {reason}"
    told = "waits for a person" if waits else "is the champion"
    return f"{trained.score}: {stored.model_version} {told} ({figures_of(stored.card)})"


def _judge(  # noqa: PLR0917
    settings: Settings,
    run: DayRun,
    task: Task,
    trained: Trained,
    rows: Frame,
    state: ScoreState,
    card: dict[str, Any],
    held: str | None,
) -> tuple[CardStatus, str | None]:
    """The status of a training and why; `card` gets the champion's figures."""
    worse = _compare(settings, run, task, trained, rows, state.used, card)
    if trained.refused or trained.scorer is None:
        return "refused", trained.refused
    if settings.scoring.promotion == "approval":
        beside = f"; by the rule it would stay out: {worse}" if worse else ""
        return "challenger", f"models are promoted by approval{beside}"
    if held:
        return "challenger", held
    return ("refused", worse) if worse else ("champion", None)


def _compare(  # noqa: PLR0917
    settings: Settings,
    run: DayRun,
    task: Task,
    trained: Trained,
    rows: Frame,
    used: StoredCard | None,
    card: dict[str, Any],
) -> str | None:
    """Put the champion's figures on the card; gives why the challenger is worse, or None."""
    from perennial.scoring.champion import beside_champion
    from perennial.scoring.next_purchase.training import NextPurchaseTask
    from perennial.scoring.store import load

    if used is None or trained.scorer is None or isinstance(task, NextPurchaseTask):
        return None
    champion = load(settings.home / used.artefact)
    compared = beside_champion(task, trained, rows, used.card, champion, as_of=run.as_of, seed=settings.scoring.seed)
    if compared is None:
        card["champion"] = {"model_version": used.model_version, "note": "not judged: it was trained on other features"}
        return None
    card["figures_at_test"] = {**card["figures_at_test"], "champion": compared.figures}
    card["champion"] = {"model_version": used.model_version, "is_fair": compared.is_fair, "note": compared.note}
    return compared.worse


def write_card(  # noqa: PLR0917
    settings: Settings, run: DayRun, score: str, card: dict[str, Any], scorer: Any, status: CardStatus
) -> StoredCard:
    """Write artefact (where there is one), card and the ledger's row; the same training gives the same names (L2)."""
    from perennial.scoring import store

    content = store.artefact_bytes(scorer) if scorer else b""
    card = {**card, "artefact_bytes": len(content)}
    text = json.dumps(card, sort_keys=True, indent=1).encode()
    sha = store.digest(content or text)
    path = store.save(settings.models_dir, f"{score}-{store.digest(text)}.card.json", text)
    if scorer:
        path = store.save(settings.models_dir, f"{score}-{sha}.skops", content)
    stored = StoredCard(
        model_version=f"{score}-{run.as_of.isoformat()}-{sha[:8]}",
        score=score,
        trained_as_of=run.as_of,
        status=status,
        artefact=path.relative_to(settings.home).as_posix(),
        card=card,
    )
    ledger_cards.record_card(open_ledger(settings), stored)
    return stored


def figures_of(card: dict[str, Any]) -> str:
    """The model's figure of merit at the test cut beside its best baseline's, by kind where it has some."""
    figures, where = card["figures_at_test"], card["cuts"].get("test", "the test")
    if "model" in figures:
        return _beside(card["selection"]["merit"], figures, where)
    return "; ".join(f"{kind}: {_beside('ndcg', rules, where)}" for kind, rules in sorted(figures.items()))


def _beside(merit: str, figures: dict[str, dict[str, Any]], where: str) -> str:
    others = {name: values.get(merit) for name, values in figures.items() if name not in {"model", "champion"}}
    known = {name: value for name, value in others.items() if value is not None}
    best = max(known, key=lambda name: (known[name], name))
    champion = figures.get("champion", {}).get(merit)
    beside = f"; champion {champion:.3f}" if champion is not None else ""
    return f"{merit} {figures['model'][merit] or 0:.3f} at {where}; best baseline {best} {known[best]:.3f}{beside}"


def in_brief(card: StoredCard) -> str:
    """One line of a training: its figures, or why there are none."""
    return figures_of(card.card) if "figures_at_test" in card.card else str(card.card["verdict"]["reason"])


def models(settings: Settings, score: str | None = None) -> list[StoredCard]:
    """All cards with their status of now, newest first; `score` takes those of one score."""
    found = ledger_cards.all_cards(open_ledger(settings))
    return [card for card in found if score is None or card.score == score]


def why_no_scores(settings: Settings, as_of: date) -> dict[str, str]:
    """By score that was ever trained: why nobody has it on the day, or an empty text where it was given."""
    engine = open_ledger(settings)
    checks_of_day = {check.score: check for check in checks_on(engine, as_of)}
    found: dict[str, str] = {}
    for card in ledger_cards.all_cards(engine, as_of):  # newest first
        if card.score in found:
            continue
        check = checks_of_day.get(card.score)
        if check is not None:
            found[card.score] = "; ".join(check.sentences) if check.verdict == "stopped" else ""
        else:
            found[card.score] = str(card.card["verdict"]["reason"] or "")
    return found


def find_model(settings: Settings, name: str) -> StoredCard:
    """The card of a model version, or of the only one that begins so. Raises PermanentError for any other name."""
    known = models(settings)
    found = [card for card in known if card.model_version == name]
    found = found or [card for card in known if card.model_version.startswith(name)]
    if len(found) == 1:
        return found[0]
    fix = "`perennial models list` names them"
    if found:
        names = ", ".join(card.model_version for card in found[:5])
        raise PermanentError(Problem(name, f"{len(found)} models begin so: {names}", "write more of it"))
    raise PermanentError(Problem(name, "there is no such model", fix))


def checks(settings: Settings, card: StoredCard) -> list[ScoreCheck]:
    """The daily checks of the model, newest first."""
    return checks_of(open_ledger(settings), card.model_version)


def decide(settings: Settings, name: str, decision: Decision, *, reason: str, by: str) -> tuple[StoredCard, date]:
    """Approve or retire a model; gives its card and the first business date that knows of it.

    Raises PermanentError for a model that was refused or has no artefact (approve), or that is retired already.
    """
    card = find_model(settings, name)
    if decision == "approved" and card.status in ("refused", "champion"):
        why = "it was refused" if card.status == "refused" else "it is a champion already"
        raise PermanentError(Problem(card.model_version, why, "`perennial models show` tells more; train again"))
    if decision == "retired" and card.status in ("refused", "retired"):
        raise PermanentError(Problem(card.model_version, f"it is {card.status}", "there is nothing to take out of use"))
    known_on = ledger_cards.record_decision(open_ledger(settings), card.model_version, decision, reason=reason, by=by)
    return card, known_on
