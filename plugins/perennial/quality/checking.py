"""The set-based pass: every row of `landed` becomes a typed row of `checked`, tagged with the rules that it breaks.

`checked` has file_no, file, line, business_date, client_ref, the canonical columns, and
    broken     bit i is set when rule i of `Checker.rules` that quarantines is broken; 0 is a good row
    noticed    the same for rules that only warn
    is_guest   an order line without a client, or of a client that is not known
    version    text that orders the versions of a key, null where the contract names none
    is_deleted a tombstone: what its key names is gone; only rules on its key and its business date apply to it
    extra      JSON of the file's columns that no contract names
    duplicate  equal to what is loaded already (set by `duplicates`)
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb

from perennial.contracts.entities import ENTITIES, EntityName
from perennial.contracts.sources import Source, SourceEntity
from perennial.core.errors import ConfigError, Problem
from perennial.core.ids import client_ref_sql
from perennial.core.sqltext import literal, literals
from perennial.quality import expressions
from perennial.quality.rules import NEVER, STRUCTURE, Rule, column_types, key_rule, reference_value, rules_of

_BITS_OF_BIGINT = 62


@dataclass(frozen=True)
class RuleCount:
    """One line of the profile: how many rows a rule looked at, and how many break it."""

    rule: str
    rows: int
    bad: int
    only_warns: bool = False

    @property
    def share(self) -> float:
        """The share of bad rows, 0 in a batch without rows."""
        return self.bad / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class Counts:
    """The rows of a batch by their fate, disjoint, and the profile by rule."""

    good: int
    quarantined: int
    duplicate: int
    guests: int
    first_business_date: date | None
    last_business_date: date | None
    profile: tuple[RuleCount, ...] = field(default=())


class Checker:
    """The contract of one source entity, as SQL over one scratch connection."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        source: Source,
        contract: SourceEntity,
        zone: str,
        *,
        odd_spaces: bool = True,
        is_plain: bool = False,
    ) -> None:
        self.is_plain = is_plain
        self.odd_spaces = odd_spaces
        self.connection = connection
        self.contract = contract
        self.zone = zone
        self._is_late = False  # whether rows were found bad after their text was let go
        self.namespace = source.namespace
        self.entity = ENTITIES[contract.entity]
        self.rules: list[Rule] = rules_of(contract, zone)
        if self.entity.kind == "entities":
            self.rules.append(key_rule(contract))

    def check(self, known: Mapping[EntityName, Sequence[str]]) -> None:
        """Make `checked` of the table `landed`. `known` gives the raw Parquet files of each entity that is referred to.

        Raises ConfigError for a pattern that DuckDB's regular expressions (RE2) do not take.
        """
        self.prepare(known)
        rows = self.selected(self.typed_rows(), "file_no, file, line", self.known_tests())
        self.connection.execute(f"create table checked as {rows} order by file_no, line")
        self._mark_contradictions("checked")

    def judge_arriving(self, known: Mapping[EntityName, Sequence[str]]) -> None:
        """Make `judged` of the view `arriving`, in one pass; staging then tells the lines and makes `checked` of it.

        It has what `checked` has but file and line, and `texts`, what a bad row held in the order of `text_names`.
        """
        self.prepare(known)
        raws = ", ".join(f"{name} as raw_{name}" for name in self.text_names)
        rows = self.typed_from(f"select *, {raws} from arriving", [f"raw_{n}" for n in self.text_names], lazily=True)
        held = f"[{', '.join(f'raw_{name}' for name in self.text_names)}]"
        rows = self.selected(
            rows, "file_no, given_line", self._knowns(), f", case when broken <> 0 then {held} end as texts"
        )
        self.connection.execute(f"create table judged as {rows}")
        self._mark_unknown()

    def settle(self) -> None:
        """After staging has made `checked`: keys twice in a file, and `landed`, the text of the bad rows."""
        late = self._mark_contradictions("judged") or self._is_late
        if late:
            self._keep_texts()
        held = "coalesce(late.texts, checked.texts) as texts" if late else "checked.texts"
        join = "left join late on checked.row_id = late.row_id" if late else ""
        names = ", ".join(f"texts[{n}] as {name}" for n, name in enumerate(self.text_names, start=1))
        self.connection.execute(f"""
            create view landed as
            select file_no, file, file_date, line, {names}, extra
            from (select checked.* exclude (texts), {held} from checked {join}) where texts is not null
        """)

    @property
    def text_names(self) -> list[str]:
        """The text columns of a row that has landed."""
        return [*self.contract.columns, "version", "deleted"]

    def _keep_texts(self) -> None:
        """The texts of rows that were found bad late, read once more from the files."""
        held = f"[{', '.join(self.text_names)}]"
        self.connection.execute(f"""
            create table late as
            select row_id, texts
            from (select row_number() over () - 1 as row_id, {held} as texts from arriving) as again
            semi join (select rowid as row_id from judged where broken <> 0 and texts is null) using (row_id)
        """)

    def prepare(self, known: Mapping[EntityName, Sequence[str]]) -> None:
        """Make `known_<i>`, what reference i may name."""
        self._try_patterns()
        for index, reference in enumerate(self.contract.references):
            column = "client_ref" if reference.entity == "clients" else ENTITIES[reference.entity].key[0]
            self._make_known(index, column, known.get(reference.entity, ()))

    def _try_patterns(self) -> None:
        for name, column in self.contract.columns.items():
            try:
                self.connection.execute("select regexp_full_match('', $1)", [column.pattern or ""]).fetchall()
            except duckdb.Error as error:
                where = f"sources.yml:{self.contract.entity}.columns.{name}.pattern"
                reason = str(error).splitlines()[0]
                raise ConfigError(Problem(where, f"RE2 does not take it: {reason}", "mend the expression")) from None

    def _make_known(self, index: int, column: str, paths: Sequence[str]) -> None:
        source = f"read_parquet([{literals(paths)}])" if paths else "(select null::varchar as none)"
        name = column if paths else "none"
        self.connection.execute(
            f"create table known_{index} as select distinct {name} as known from {source} where {name} is not null"
        )

    def selected(self, rows: str, places: str, knowns: Sequence[str], more: str = "") -> str:
        """SQL for the columns of `checked` from typed rows; `places` are those that say where a row stands.

        `knowns` give `is_known_<i>`: whether what reference i names is loaded.
        """
        names = ", ".join(self.entity.columns)
        reference = "client_ref" if self._has_client else "null::varchar as client_ref"
        quarantines = [(i, rule) for i, rule in enumerate(self.rules) if not rule.only_warns]
        return f"""
            select {places}, business_date, {reference}, {names}, version, is_deleted, extra, broken, noticed, is_guest,
                false as duplicate{more}
            from (
                select
                    *, {self._bits(quarantines)} as broken, {self.noticed()} as noticed, {self.guest()} as is_guest
                from (select *{"".join(f", {test}" for test in knowns)} from ({rows}))
            )
        """

    def known_tests(self) -> list[str]:
        """SQL for `is_known_<i>`: whether what reference i names is loaded."""
        return [
            f"{reference_value(reference)} in (select known from known_{index}) as is_known_{index}"
            for index, reference in enumerate(self.contract.references)
        ]

    def noticed(self) -> str:
        """SQL for the mask of the rules that only warn."""
        return self._bits([(i, rule) for i, rule in enumerate(self.rules) if rule.only_warns])

    def _knowns(self) -> list[str]:
        """While files are read nothing is looked up: a join mixes the order of rows. So all are known, or none is."""
        return [
            f"{str(self.knows(index)).lower()} as is_known_{index}" for index in range(len(self.contract.references))
        ]

    def knows(self, index: int) -> bool:
        """Whether anything is loaded that reference `index` could name."""
        return bool(self._one(f"select count(*) from known_{index}")[0])

    def _mark_unknown(self) -> None:
        """What the references name and nobody knows, in place: no row moves."""
        rules = {rule.id: (i, rule) for i, rule in enumerate(self.rules)}
        for index, reference in enumerate(self.contract.references):
            if not self.knows(index):
                continue
            bit, rule = rules[f"reference:{reference.column}"]
            mask = "noticed" if rule.only_warns else "broken"
            test = f"{reference_value(reference)} not in (select known from known_{index})"
            is_guest = reference.entity == "clients" and self.entity.name == "order_lines"
            changed = self._one(f"""
                update judged set {mask} = {mask} + {2**bit} {", is_guest = true" if is_guest else ""}
                where {reference_value(reference)} is not null and not is_deleted and {test}
            """)
            self._is_late = self._is_late or (mask == "broken" and bool(changed[0]))

    def typed_rows(self, only: str = "") -> str:
        """SQL for the landed rows with `text_<column>` beside each typed column; `only` is a condition on `landed`."""
        where = f"where {only}" if only else ""
        return self.typed_from(f"select * from landed {where}", ["file", "line"], lazily=False)

    def typed_from(self, source: str, places: Sequence[str], *, lazily: bool) -> str:
        """SQL for typed rows. Lazily: the text of a column that is not text is null where its value is told."""
        version, deleted = expressions.version(self.contract), expressions.is_deleted(self.contract)
        common = ["file_no", "file_date", *places, f"{version} as version", f"{deleted} as is_deleted", "extra"]
        common += ["given_line"] if lazily else []
        quick = self._quick_columns() if lazily else {}
        rows = (
            f"select *, {', '.join(f'{sql} as quick_{n}' for n, sql in quick.items())} from ({source})"
            if quick
            else source
        )
        texts = [f"{self._text(n, is_quick=n in quick)} as text_{n}" for n in self.contract.columns]
        kept = [f"quick_{name}" for name in quick]
        rows = f"select {', '.join([*common, *kept, *texts])} from ({rows})"
        rows = f"select *, {', '.join(self._typed_columns(quick))} from ({rows})"
        if self.entity.name == "order_lines":
            kind, amount = expressions.line_kind(self.contract), expressions.amount(self.contract)
            rows = f"select *, {kind} as line_kind, {amount} as amount from ({rows})"
        reference = client_ref_sql(literal(self.namespace), "client_key") if self._has_client else "null::varchar"
        dated = expressions.business_date(self.contract, self.zone)
        return f"select *, {reference} as client_ref, {dated} as business_date from ({rows})"

    def _quick_columns(self) -> dict[str, str]:
        """SQL for the columns whose usual forms are told without looking at their text."""
        kinds, form = self.entity.columns, self.contract.format
        found = {n: expressions.typed_quickly(n, c, kinds[n].type, form) for n, c in self.contract.columns.items()}
        return {name: sql for name, sql in found.items() if sql is not None}

    def _text(self, name: str, *, is_quick: bool) -> str:
        column = self.contract.columns[name]
        text = expressions.text_of(name, column, odd_spaces=self.odd_spaces, is_plain=self.is_plain)
        return f"case when quick_{name} is null then {text} end" if is_quick else text

    @property
    def _has_client(self) -> bool:
        return "client_key" in self.contract.columns

    def _typed_columns(self, quick: Container[str]) -> list[str]:
        """SQL for each canonical column but the two that are computed from others."""
        columns = []
        computed = {"line_kind", "amount"} if self.entity.name == "order_lines" else set()
        for name, kind in self.entity.columns.items():
            if name in self.contract.columns:
                value = expressions.typed(f"text_{name}", kind.type, self.contract.format)
                if name in quick:
                    value = f"case when quick_{name} is not null then quick_{name} else {value} end"
                columns.append(f"{value} as {'given_amount' if name in computed else name}")
            elif name in self.contract.constants:
                columns.append(f"{literal(self.contract.constants[name])} as {name}")
            elif name not in computed:
                columns.append(f"null::{column_types(self.contract)[name]} as {name}")
        return columns

    def _bits(self, numbered: Sequence[tuple[int, Rule]]) -> str:
        """SQL for the mask; a row that breaks nothing, as nearly all do, costs one look at each rule."""
        kind = self.mask_type
        tests = [(i, self._applies(rule)) for i, rule in numbered if rule.test != NEVER]
        if not tests:
            return f"0::{kind}"
        bits = " + ".join(f"case when {test} then {2**i}::{kind} else 0::{kind} end" for i, test in tests)
        return f"case when {' or '.join(f'({test})' for _i, test in tests)} then {bits} else 0::{kind} end"

    def _applies(self, rule: Rule) -> str:
        """The rule's test; a tombstone needs its key and its business date, and nothing else."""
        if self.contract.deleted is None or rule.column in {*self.entity.key, self.contract.business_date}:
            return rule.test
        return f"not is_deleted and ({rule.test})"

    @property
    def mask_type(self) -> str:
        """The integer type that has a bit for each rule."""
        return "bigint" if len(self.rules) <= _BITS_OF_BIGINT else "hugeint"

    def guest(self) -> str:
        """SQL for whether a row is an order line of nobody who is known."""
        if self.entity.name != "order_lines":
            return "false"
        unknown = [
            f" or not is_known_{index}"
            for index, reference in enumerate(self.contract.references)
            if reference.entity == "clients"
        ]
        guest = f"(client_ref is null{''.join(unknown)})" if self._has_client else "true"
        return guest if self.contract.deleted is None else f"(not is_deleted and {guest})"

    def _mark_contradictions(self, table: str) -> bool:
        """Mark an entity's key with two contents in one file and version; whether there is any."""
        if self.entity.kind != "entities" or self.contract.events is not None:  # events stand in the order of arrival
            return False
        key = f"file_no, {', '.join(self.entity.key)}, version"
        same = " and ".join(f"{table}.{name} is not distinct from twice.{name}" for name in key.split(", "))
        bit = 2 ** (len(self.rules) - 1)
        self.connection.execute(
            f"create or replace table several as select {key} from {table} group by {key} having count(*) > 1"
        )
        changed = self._one(f"""
            update {table} set broken = broken + {bit}
            from (
                select {key}
                from {table} semi join several on {same.replace("twice.", "several.")}
                group by {key} having count(distinct {expressions.row_hash(self.contract)}) > 1
            ) as twice
            where {same}
        """)
        return bool(changed[0])

    def counts(self, *parts: str) -> Counts:
        """Count the rows by their fate and by rule. `parts` are disjoint relations that `checked` consists of."""
        tests = [self._count_of(i, rule) for i, rule in enumerate(self.rules)]
        rows = [
            self._one(f"""
                select
                    min(business_date) filter (where broken = 0), max(business_date) filter (where broken = 0),
                    count(*), count(*) filter (where broken = 0 and not duplicate),
                    count(*) filter (where broken <> 0), count(*) filter (where broken = 0 and duplicate),
                    count(*) filter (where broken = 0 and not duplicate and is_guest)
                    {"".join(", " + test for test in tests)}
                from {part}
            """)
            for part in parts or ("checked",)
        ]
        first = min((row[0] for row in rows if row[0]), default=None)
        last = max((row[1] for row in rows if row[1]), default=None)
        landed, good, bad, duplicate, guests, *by_rule = (
            sum(part) for part in zip(*(r[2:] for r in rows), strict=True)
        )
        structure = self._one("select count(*) from rejected")[0]
        landed += structure
        profile = [
            RuleCount(rule.id, landed, broken, rule.only_warns)
            for rule, broken in zip(self.rules, by_rule, strict=True)
        ]
        profile.append(RuleCount(STRUCTURE, landed, structure))
        return Counts(good, bad + structure, duplicate, guests, first, last, tuple(profile))

    def _count_of(self, index: int, rule: Rule) -> str:
        """SQL that counts the rows that break the rule; of rules that only warn among the good rows."""
        mask, good = ("noticed", " and broken = 0") if rule.only_warns else ("broken", "")
        return f"count(*) filter (where ({mask} & {2**index}::{self.mask_type}) <> 0{good})"

    def _one(self, query: str) -> tuple[Any, ...]:
        rows = self.connection.execute(query).fetchall()  # a result that is not read out holds the connection
        return tuple(rows[0]) if rows else ()
