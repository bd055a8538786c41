"""Reading config/segments, config/campaigns and config/policy.yml: every mistake told at once, with line and fix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel

from perennial.contracts.policy import PolicyFile
from perennial.contracts.targeting import Campaign, Segment, SegmentsFile
from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import Settings
from perennial.core.yamlfile import YamlDocument, read_yaml, validate
from perennial.targeting.cards import card_problems, policy_problems
from perennial.targeting.catalogue import Catalogue
from perennial.targeting.occasions import CardRules, Names, card_rules
from perennial.targeting.policy_problems import policy_name_problems
from perennial.targeting.rules import Rule, compile_rule

_MAX_LEVELS = 50  # each is a subquery of the scan
Model = TypeVar("Model", bound=BaseModel)
Item = TypeVar("Item", Segment, Campaign)


@dataclass(frozen=True)
class Targeting:
    """The company's marketing as the files declare it: checked, with its rules compiled.

    `segments` stand in dependency order, `campaigns` by id: the order of files and of entries decides nothing.
    """

    segments: tuple[Segment, ...]
    campaigns: tuple[Campaign, ...]
    policy: PolicyFile
    segment_rules: Mapping[str, Rule] = field(repr=False)
    audience_rules: Mapping[str, Rule] = field(repr=False)
    card_rules: Mapping[str, CardRules] = field(repr=False, default_factory=dict)

    def metrics_behind(self, rule: Rule) -> frozenset[str]:
        """The metrics and scores that decide a rule, through all segments that it names."""
        metrics = set(rule.metrics)
        for segment in rule.segments:
            metrics |= self.metrics_behind(self.segment_rules[segment])
        return frozenset(metrics)


@dataclass(frozen=True)
class _Placed(Generic[Item]):
    """A segment or campaign and where it stands."""

    item: Item
    document: YamlDocument
    at: tuple[str | int, ...]

    def where(self, *keys: str | int) -> str:
        location = (*self.at, *keys)
        field_name = ".".join(str(key) for key in location)
        return f"{self.document.path}:{self.document.line_of(location)}:{field_name}"


def load_segments(settings: Settings, catalogue: Catalogue | None = None) -> tuple[Segment, ...]:
    """The segments in dependency order. Raises ConfigError with every mistake in every segment file."""
    problems: list[Problem] = []
    placed = list(_read_segments(settings.config_dir, problems))
    ordered, _ = _check_segments(placed, catalogue, problems)
    if problems:
        raise ConfigError(problems)
    return tuple(ordered)


def load_rules(settings: Settings, catalogue: Catalogue | None, beside: Path | None = None) -> Targeting:
    """The segments and the policy without campaigns; those of the file `beside` come first, or instead of ours.

    Scores of the responses to our cards are names, whatever is wrong with the cards. Raises ConfigError with every
    mistake in every segment file and in the policy.
    """
    problems: list[Problem] = []
    policy = _read_policy(settings.config_dir, problems)
    mine = list(_segments_of([beside], problems)) if beside is not None else []
    ids = {one.item.id for one in mine}
    files = [path for path in sorted((settings.config_dir / "segments").glob("*.yml")) if not _is_same(path, beside)]
    placed = [*mine, *(one for one in _segments_of(files, problems) if one.item.id not in ids)]
    if catalogue is not None:
        catalogue = catalogue.with_responses(path.stem for path in (settings.config_dir / "campaigns").glob("*.yml"))
    segments, rules = _check_segments(placed, catalogue, problems)
    if policy is None or problems:
        raise ConfigError(problems)
    return Targeting(tuple(segments), (), policy, rules, {})


def load_campaigns(settings: Settings, catalogue: Catalogue | None = None) -> tuple[Campaign, ...]:
    """The campaign cards by id. Raises ConfigError with every mistake in every file that they stand on."""
    return load_targeting(settings, catalogue).campaigns


def load_policy(settings: Settings) -> PolicyFile:
    """config/policy.yml. Raises ConfigError with every mistake in it."""
    problems: list[Problem] = []
    policy = _read_policy(settings.config_dir, problems)
    if policy is None or problems:
        raise ConfigError(problems)
    return policy


def load_targeting(settings: Settings, catalogue: Catalogue | None = None) -> Targeting:
    """Segments, campaigns and policy, checked against each other and against the catalogue of published names.

    `catalogue` None (nothing published yet) leaves the names of metrics and their types unchecked. Raises ConfigError
    with every mistake of all files.
    """
    problems: list[Problem] = []
    policy = _read_policy(settings.config_dir, problems)
    placed = list(_read_segments(settings.config_dir, problems))
    cards = list(_read_campaigns(settings.config_dir, problems))
    if catalogue is not None:
        catalogue = catalogue.with_responses(one.item.id for one in cards)
    segments, rules = _check_segments(placed, catalogue, problems)
    audiences, others = _check_campaigns(
        cards, policy, _Compiling(catalogue, {one.item.id for one in placed}, problems)
    )
    if policy is not None:
        document = read_yaml(settings.config_dir / "policy.yml")
        campaigns, known = [one.item.id for one in cards], [one.item.id for one in placed]
        problems.extend(policy_name_problems(policy, document, campaigns, known))
    if policy is None or problems:
        raise ConfigError(problems)
    in_order = sorted((one.item for one in cards), key=lambda card: card.id)
    return Targeting(tuple(segments), tuple(in_order), policy, rules, audiences, others)


def _read_policy(config_dir: Path, problems: list[Problem]) -> PolicyFile | None:
    """The policy even with mistakes that its shape does not show, so that cards are checked against it."""
    try:
        document = read_yaml(config_dir / "policy.yml")
        policy = validate(document, PolicyFile)
    except ConfigError as error:
        problems.extend(error.problems)
        return None
    problems.extend(policy_problems(policy, document))
    return policy


def _is_same(path: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and path.samefile(other)


def _documents(
    paths: Iterable[Path], model: type[Model], problems: list[Problem]
) -> Iterator[tuple[YamlDocument, Model]]:
    for path in paths:
        try:
            document = read_yaml(path)
            yield document, validate(document, model)
        except ConfigError as error:
            problems.extend(error.problems)


def _read_segments(config_dir: Path, problems: list[Problem]) -> Iterator[_Placed[Segment]]:
    return _segments_of(sorted((config_dir / "segments").glob("*.yml")), problems)


def _segments_of(paths: Iterable[Path], problems: list[Problem]) -> Iterator[_Placed[Segment]]:
    for document, file in _documents(paths, SegmentsFile, problems):
        for index, segment in enumerate(file.segments):
            yield _Placed(segment, document, ("segments", index))


def _read_campaigns(config_dir: Path, problems: list[Problem]) -> Iterator[_Placed[Campaign]]:
    for document, campaign in _documents(sorted((config_dir / "campaigns").glob("*.yml")), Campaign, problems):
        yield _Placed(campaign, document, ())


def _duplicates(placed: Sequence[_Placed[Item]]) -> Iterator[Problem]:
    first: dict[str, _Placed[Item]] = {}
    for one in placed:
        earlier = first.setdefault(one.item.id, one)
        if earlier is not one:
            yield Problem(
                one.where("id"),
                f"the id {one.item.id!r} is taken by {earlier.where('id')}",
                "give one of them another id",
            )


def _check_segments(
    placed: list[_Placed[Segment]], catalogue: Catalogue | None, problems: list[Problem]
) -> tuple[list[Segment], dict[str, Rule]]:
    problems.extend(_duplicates(placed))
    by_id = {one.item.id: one for one in placed}
    compiling = _Compiling(catalogue, by_id.keys(), problems)
    rules: dict[str, Rule] = {}
    for number, (segment_id, one) in enumerate(sorted(by_id.items())):
        if catalogue and segment_id in catalogue:
            problems.append(
                Problem(one.where("id"), f"{segment_id!r} is the name of a metric", "give the segment another id")
            )
        rules |= compiling.rule(segment_id, one.item.where, one.where("where"), f"s{number}")
    order = _dependency_order(rules, by_id, problems)
    return [by_id[name].item for name in order], rules


@dataclass(frozen=True)
class _Compiling:
    """What all rules of a run of the loader are compiled against, and where their mistakes go."""

    catalogue: Catalogue | None
    segments: Collection[str]
    problems: list[Problem]

    def rule(self, name: str, text: str, where: str, prefix: str) -> dict[str, Rule]:
        """The rule under its name; nothing if it is wrong."""
        try:
            segments = self.segments
            return {name: compile_rule(text, catalogue=self.catalogue, segments=segments, where=where, prefix=prefix)}
        except ConfigError as error:
            self.problems.extend(error.problems)
            return {}


def _dependency_order(
    rules: Mapping[str, Rule], placed: Mapping[str, _Placed[Segment]], problems: list[Problem]
) -> list[str]:
    """Segments after those that they name, each level by id. A circle is told once, with its whole path."""
    waiting = {name: {used for used in rule.segments if used in rules} for name, rule in rules.items()}
    above: dict[str, list[str]] = {name: [] for name in rules}
    for name, needs in waiting.items():
        for used in needs:
            above[used].append(name)
    order: list[str] = []
    level, ready = 0, sorted(name for name, needs in waiting.items() if not needs)
    while ready:
        if level == _MAX_LEVELS:
            message = f"it stands on a chain of more than {_MAX_LEVELS} segments"
            problems.append(Problem(placed[ready[0]].where("where"), message, "write it with metrics, or name fewer"))
            return order
        order += ready
        level, done = level + 1, ready
        for name in done:
            del waiting[name]
            for upper in above[name]:
                waiting[upper].discard(name)
        ready = sorted({upper for name in done for upper in above[name] if not waiting[upper]})
    if waiting:
        problems.append(_cycle_problem(waiting, placed))
    return order


def _cycle_problem(waiting: Mapping[str, set[str]], placed: Mapping[str, _Placed[Segment]]) -> Problem:
    path = [min(waiting)]
    while path[-1] not in path[:-1]:
        path.append(min(name for name in waiting[path[-1]] if name in waiting))
    cycle = path[path.index(path[-1]) :]
    start = cycle.index(min(cycle))
    turned = [*cycle[start:-1], *cycle[:start], cycle[start]]
    return Problem(
        placed[turned[0]].where("where"),
        f"segments name each other in a circle: {' -> '.join(turned)}",
        "break it: write one of them with metrics only",
    )


def _check_campaigns(
    cards: list[_Placed[Campaign]], policy: PolicyFile | None, compiling: _Compiling
) -> tuple[dict[str, Rule], dict[str, CardRules]]:
    compiling.problems.extend(_duplicates(cards))
    audiences: dict[str, Rule] = {}
    others: dict[str, CardRules] = {}
    names = Names(compiling.catalogue, compiling.segments, compiling.problems)
    for number, one in enumerate(sorted(cards, key=lambda card: card.item.id)):
        compiling.problems.extend(card_problems(one.item, one.where, compiling.catalogue, policy))
        audiences |= compiling.rule(one.item.id, one.item.audience, one.where("audience"), f"a{number}")
        others[one.item.id] = card_rules(one.item, one.where, names, number)
    return audiences, others
