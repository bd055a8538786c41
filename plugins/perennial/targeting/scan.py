"""One scan over the clients computes every segment and every audience: the temporary table `t_clients`.

It has one row per client of `client_metrics`: the columns that planning needs, the segments as bits of the words `m0`,
`m1`, ... (`bits` tells which), and what the cards ask as bits of the words `f0`, `f1`, ... (`flags_of`). Segments that
stand on others are computed a level later, in the same statement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256

from perennial.contracts.scores import DECLARED_SCORES, REASONS_OF
from perennial.contracts.targeting import Campaign
from perennial.core.errors import ContractViolation, Problem
from perennial.core.sqltext import identifier
from perennial.targeting.catalogue import CLIENTS, METRICS, SCORES, SCORES_TABLE, Catalogue, Tables, catalogue_of
from perennial.targeting.config import Targeting
from perennial.targeting.flags import EXIT, Flags, flags_of
from perennial.targeting.needs import Need, Watched, joins
from perennial.targeting.rules import SEGMENT_PREFIX, Rule
from perennial.targeting.session import Binder, Session, make_table
from perennial.targeting.terms import AS_OF

# What planning itself reads of a client, beside what the rules name.
PLANNED_COLUMNS = (
    "has_email",
    "has_phone",
    "revenue_365d",
    "main_department_365d",
    *SCORES,
)
SIZES = "segment_sizes"
_BITS = 62  # of a word: a signed one, and one to spare
_COUNTED = 500  # in one statement: PostgreSQL gives at most 1,664 columns
_NAMED = re.compile(rf'"{SEGMENT_PREFIX}([a-z][a-z0-9_]*)"')
# A level is computed once and read often: PostgreSQL would else write its terms into each place that reads them.
_FENCE = " offset 0"


@dataclass(frozen=True)
class ScanPlan:
    """The statement of the scan, and its bound values."""

    select: str
    params: dict[str, object]


@dataclass(frozen=True)
class Known:
    """What is published for the day: tables, the names that rules may use, which scores were made for it (L6).

    `watched` is what each segment was on its last day before.
    """

    as_of: date
    tables: Tables
    catalogue: Catalogue
    scores: Mapping[str, bool]
    watched: Mapping[str, Watched] = field(default_factory=dict)


def published_catalogue(session: Session, tables: Tables) -> Catalogue:
    """The names that rules may use: published columns, the declared scores and whatever score was published."""
    found: list[str] = []
    if SCORES_TABLE in tables:
        found = session.query(f"select distinct score from {SCORES_TABLE} order by 1").column("score").to_pylist()
    return catalogue_of(tables, sorted({*DECLARED_SCORES, *found}))


def known_of(session: Session, tables: Tables, as_of: date, targeting: Targeting | None = None) -> Known:
    """What the session's version knows of `as_of`; the scores of `targeting`'s cards are names too."""
    catalogue = published_catalogue(session, tables)
    if targeting is not None:
        catalogue = catalogue.with_responses(card.id for card in targeting.campaigns)
    scores = scores_are_of(session, tables, as_of, catalogue.scores)
    return Known(as_of, tables, catalogue, scores, watched_before(session, tables, as_of))


def scores_are_of(
    session: Session, tables: Tables, as_of: date, scores: Iterable[str] = DECLARED_SCORES
) -> dict[str, bool]:
    """For each score, whether it was made for `as_of`: an older one is no score (L6)."""
    found: set[str] = set()
    if SCORES_TABLE in tables:
        rows = session.query(
            f"select distinct score from {SCORES_TABLE} where as_of_date = cast($as_of as date)", {"as_of": as_of}
        )
        found = set(rows.column("score").to_pylist())
    known = {score: score in found for score in sorted({*scores, *found})}
    return known | {reason: score in found for reason, score in REASONS_OF.items()}


def watched_before(session: Session, tables: Tables, as_of: date) -> dict[str, Watched]:
    """The last day before `as_of` on which each segment was decided; a segment that was given up is not in it."""
    if SIZES not in tables:
        return {}
    rows = session.query(
        f"select s.segment, s.as_of_date, s.version, s.clients from {SIZES} as s inner join (select segment, "
        f"max(as_of_date) as day from {SIZES} where as_of_date < {AS_OF} group by segment) as l "
        "on l.segment = s.segment and l.day = s.as_of_date where s.version <> '' order by 1",
        {"as_of": as_of},
    ).to_pylist()
    return {row["segment"]: Watched(row["as_of_date"], row["version"], row["clients"]) for row in rows}


def waiting_for_scores(targeting: Targeting, rule: Rule, scores: Mapping[str, bool]) -> frozenset[str]:
    """The scores that the rule stands on and that the day does not have."""
    return frozenset(name for name in targeting.metrics_behind(rule) if not scores.get(name, True))


def undecided(targeting: Targeting, scores: Mapping[str, bool]) -> frozenset[str]:
    """The segments that stand on a score that the day does not have."""
    lacking = {name for name, is_there in scores.items() if not is_there}
    found: set[str] = set()
    for segment in targeting.segments:  # in dependency order
        rule = targeting.segment_rules[segment.id]
        if rule.metrics & lacking or rule.segments & found:
            found.add(segment.id)
    return frozenset(found)


def version_of_rules(targeting: Targeting) -> dict[str, str]:
    """A text per segment that changes when its rule, or one that it stands on, means something else."""
    versions: dict[str, str] = {}
    for segment in targeting.segments:
        rule = targeting.segment_rules[segment.id]
        below = [f"{name}={versions[name]}" for name in sorted(rule.segments)]
        versions[segment.id] = sha256("\n".join([rule.meaning, *below]).encode()).hexdigest()[:12]
    return versions


def scan_clients(
    session: Session, targeting: Targeting, known: Known, cards: Sequence[Campaign] | None = None
) -> Flags:
    """Make `t_clients`, with what these cards (None: all) ask of each client.

    Raises ContractViolation when the published metrics are not of the day (L6).
    """
    metrics_must_be_of(session, known.as_of)
    missing = [name for name in PLANNED_COLUMNS if name not in known.catalogue]
    if missing:
        raise ContractViolation(
            Problem(METRICS, f"the published tables lack {', '.join(missing)}", "planning needs them: publish them")
        )
    plan = scan_plan(targeting, known, cards)
    make_table(session, "t_clients", plan.select, plan.params)
    return flags_of(targeting, targeting.campaigns if cards is None else cards)


def scan_plan(targeting: Targeting, known: Known, cards: Sequence[Campaign] | None = None) -> ScanPlan:
    """The one statement: a base row per client, a level per depth of segments, what the cards ask on top.

    What stands on a score that the day does not have stays undecided (null) in segments. An audience, an occasion or
    what a step waits for then holds for everyone for whom it might, so that each can be refused by name (L7).
    """
    scan = Scan(targeting, known)
    flags = flags_of(targeting, targeting.campaigns if cards is None else cards)
    words = flags.words(lambda key, rule: scan.audience_sql(rule, is_in=key.what != EXIT))
    return scan.statement(words, list(flags.rules.values()), columns=PLANNED_COLUMNS)


class Scan:
    """The parts of a statement over all clients that computes the segments first."""

    def __init__(self, targeting: Targeting, known: Known) -> None:
        self.targeting, self.known = targeting, known
        self.undecided = undecided(targeting, known.scores)
        self.levels = levels(targeting)
        self._bit = {name: place for place, name in _places(self.levels)}
        versions, watched = version_of_rules(targeting), known.watched
        self.same = frozenset(n for n, version in versions.items() if n in watched and watched[n].version == version)

    def statement(self, terms: Sequence[tuple[str, str]], rules: Iterable[Rule], *, columns: Iterable[str]) -> ScanPlan:
        """client_id, the named columns of the catalogue, the words of the segments, and the terms under their names.

        `rules` are those that the terms are made of.
        """
        everything = [*self.targeting.segment_rules.values(), *rules]
        kept = sorted({*columns})
        needed = {*kept, *(name for rule in everything for name in rule.metrics)}
        needs = {need for rule in everything for need in rule.needs}
        binder = Binder("scan")
        sql = self._base(sorted(needed), needs, binder)
        for level in self.levels:
            sql = f"select b.*{self._words(level)} from ({sql}{_FENCE}) as b"
        shown = [identifier(name) for name in kept]
        shown += [word for level in self.levels for word in self._names(level)]
        shown += [f"{expression} as {identifier(name)}" for name, expression in terms]
        select = f"select {', '.join(['client_id', *shown])} from ({sql}{_FENCE}) as b"
        params: dict[str, object] = {"as_of": self.known.as_of} if AS_OF in select else {}
        params |= {name: value for name, value in binder.values.items() if f"${name} as" in select}
        for rule in everything:
            params |= rule.params
        return ScanPlan(select, params)

    def rule_sql(self, rule: Rule) -> str:
        """The rule, with segments as tests of their bits; null where it is not decided."""
        return _NAMED.sub(lambda found: self._test(found.group(1)), rule.sql)

    def segment_sql(self, name: str) -> str:
        """Whether a client is in the segment; null where it is not decided."""
        return self._test(name)

    def audience_sql(self, rule: Rule, *, is_in: bool = True) -> str:
        """The rule; what is not decided is in (or not, by `is_in`) where a score is missing, and else out."""
        waits = is_in and waiting_for_scores(self.targeting, rule, self.known.scores)
        return f"coalesce({self.rule_sql(rule)}, {'true' if waits else 'false'})"

    def _test(self, name: str) -> str:
        word, bit = self._bit[name]
        test = f"((m{word} & {1 << bit}) <> 0)"
        return f"case when (u{word} & {1 << bit}) <> 0 then null else {test} end" if name in self.undecided else test

    def _names(self, level: Sequence[str]) -> list[str]:
        return [f"m{word}" for word in sorted({self._bit[name][0] for name in level})]

    def _words(self, level: Sequence[str]) -> str:
        """The words of a level: m of those who are in, u of those of whom it is not decided."""
        words: dict[str, list[str]] = {}
        for name in level:
            word, bit = self._bit[name]
            rule = self.rule_sql(self.targeting.segment_rules[name])
            words.setdefault(f"m{word}", []).append(f"case when {rule} then {_bit(bit)} else {_ZERO} end")
            if name in self.undecided:
                words.setdefault(f"u{word}", []).append(f"case when ({rule}) is null then {_bit(bit)} else {_ZERO} end")
        return "".join(f", {' | '.join(terms)} as {word}" for word, terms in sorted(words.items()))

    def _base(self, needed: Iterable[str], needs: Iterable[Need], binder: Binder) -> str:
        known = self.known
        aliases = {METRICS: "m", CLIENTS: "d", SCORES_TABLE: "s"}
        columns = [f"{aliases[known.catalogue[name].table]}.{identifier(name)}" for name in needed]
        more, sources = joins(needs, known.tables, known.watched, self.same, binder)
        scores = [name for name in needed if known.catalogue[name].table == SCORES_TABLE]
        sources = [f"left join {CLIENTS} as d on d.client_id = m.client_id", *_pivot(scores, known, binder), *sources]
        return f"select {', '.join(['m.client_id', *columns, *more])} from {METRICS} as m {' '.join(sources)}"


_ZERO = "cast(0 as bigint)"


def _bit(bit: int) -> str:
    return f"cast({1 << bit} as bigint)"


def _pivot(scores: Sequence[str], known: Known, binder: Binder) -> list[str]:
    if not scores:
        return []
    if SCORES_TABLE not in known.tables:
        types = {name: "varchar" if name in REASONS_OF else "double precision" for name in scores}
        nothing = ", ".join(f"cast(null as {types[score]}) as {identifier(score)}" for score in scores)
        return [f"cross join (select {nothing}) as s"]
    # A version of an earlier release has no main reasons.
    has_reasons = "reason" in dict(known.tables[SCORES_TABLE])
    said = {name: "reason" if has_reasons else "cast(null as varchar)" for name in scores if name in REASONS_OF}
    of = {name: REASONS_OF.get(name, name) for name in scores}
    names = {score: binder.bind(score, "varchar") for score in sorted(set(of.values()))}
    values = ", ".join(
        f"max({said.get(name, 'value')}) filter (where score = {names[of[name]]}) as {identifier(name)}"
        for name in scores
    )
    rows = f"from {SCORES_TABLE} where as_of_date = {AS_OF} and score in ({', '.join(names.values())})"
    return [f"left join (select client_id, {values} {rows} group by client_id) as s on s.client_id = m.client_id"]


def sizes(session: Session, targeting: Targeting, among: str = "true") -> dict[str, int]:
    """How many clients of `t_clients` are in each segment, of those for whom the condition `among` holds."""
    found: dict[str, int] = {}
    places = bits(targeting)
    names = list(places)
    for start in range(0, len(names), _COUNTED):
        part = names[start : start + _COUNTED]
        tests = [f"(m{word} & {1 << bit}) <> 0" for word, bit in (places[name] for name in part)]
        counts = ", ".join(f"count(*) filter (where {test}) as n{place}" for place, test in enumerate(tests))
        row = session.query(f"select {counts} from t_clients where {among}").to_pylist()[0]
        found |= {name: row[f"n{place}"] for place, name in enumerate(part)}
    return found


def bits(targeting: Targeting) -> dict[str, tuple[int, int]]:
    """The word and the bit of each segment."""
    return {name: place for place, name in _places(levels(targeting))}


def _places(depths: Sequence[Sequence[str]]) -> list[tuple[tuple[int, int], str]]:
    """Each level begins with a word of its own: a word is computed whole."""
    found: list[tuple[tuple[int, int], str]] = []
    word = 0
    for level in depths:
        found += [((word + index // _BITS, index % _BITS), name) for index, name in enumerate(level)]
        word += -(-len(level) // _BITS)
    return found


def metrics_must_be_of(session: Session, as_of: date) -> None:
    """Raise ContractViolation when the published metrics are of another day (L6)."""
    found = session.query(f"select min(as_of_date) as low, max(as_of_date) as high from {METRICS}").to_pylist()[0]
    if (found["low"], found["high"]) not in ((as_of, as_of), (None, None)):
        raise ContractViolation(
            Problem(METRICS, f"is of {found['high']}, but the day is {as_of}", "build and publish that day first")
        )


def levels(targeting: Targeting) -> list[list[str]]:
    """The segments by depth: those of a level name only those of the levels before."""
    depth: dict[str, int] = {}
    for segment in targeting.segments:  # in dependency order
        rule = targeting.segment_rules[segment.id]
        depth[segment.id] = 1 + max((depth[used] for used in rule.segments), default=-1)
    found: list[list[str]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    for name, level in depth.items():
        found[level].append(name)
    return found
