"""The set-based pass: every row of `landed` becomes a typed row of `checked`, tagged with the rules that it breaks.

`checked` has file_no, file, line, business_date, client_ref, the canonical columns, row_hash, and
    broken     bit i is set when rule i of `Checker.rules` that quarantines is broken; 0 is a good row
    noticed    the same for rules that only warn
    is_guest   an order line without a client, or of a client that is not known
    version    text that orders the versions of a key, null where the contract names none
    is_deleted a tombstone: what its key names is gone; only rules on its key and its business date apply to it
    extra      JSON of the file's columns that no contract names
    duplicate  equal to what is loaded already (set by `duplicates`)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from perennial.quality.rules import STRUCTURE, Rule, column_types, key_rule, rules_of

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
    ) -> None:
        self.odd_spaces = odd_spaces
        self.connection = connection
        self.contract = contract
        self.zone = zone
        self.namespace = source.namespace
        self.entity = ENTITIES[contract.entity]
        self.rules: list[Rule] = rules_of(contract, zone)
        if self.entity.kind == "entities":
            self.rules.append(key_rule(contract))

    def check(self, known: Mapping[EntityName, Sequence[str]]) -> None:
        """Make `checked`. `known` gives the raw Parquet files of each entity that the contract refers to.

        Raises ConfigError for a pattern that DuckDB's regular expressions (RE2) do not take.
        """
        self._try_patterns()
        for index, reference in enumerate(self.contract.references):
            column = "client_ref" if reference.entity == "clients" else ENTITIES[reference.entity].key[0]
            self._make_known(index, column, known.get(reference.entity, ()))
        self.connection.execute(f"create table checked as {self._select()}")
        if self.entity.kind == "entities" and self.contract.events is None:  # events stand in the order of arrival
            self._mark_contradictions()

    def _try_patterns(self) -> None:
        for name, column in self.contract.columns.items():
            try:
                self.connection.execute("select regexp_full_match('', $1)", [column.pattern or ""])
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

    def _select(self) -> str:
        names = ", ".join(self.entity.columns)
        reference = "client_ref" if self._has_client else "null::varchar"
        quarantines = [(i, rule) for i, rule in enumerate(self.rules) if not rule.only_warns]
        warns = [(i, rule) for i, rule in enumerate(self.rules) if rule.only_warns]
        return f"""
            select
                file_no, file, line, business_date, {reference} as client_ref, {names},
                version, is_deleted, extra, {expressions.row_hash(self.contract)} as row_hash,
                {self._bits(quarantines)} as broken, {self._bits(warns)} as noticed,
                {self._guest()} as is_guest, false as duplicate
            from ({self.typed_rows()})
            order by file_no, line
        """

    def typed_rows(self, only: str = "") -> str:
        """SQL for the landed rows with `text_<column>` beside each typed column; `only` is a condition on `landed`."""
        where = f"where {only}" if only else ""
        columns = self.contract.columns.items()
        texts = [f"{expressions.text_of(n, c, odd_spaces=self.odd_spaces)} as text_{n}" for n, c in columns]
        version, deleted = expressions.version(self.contract), expressions.is_deleted(self.contract)
        common = f"file_no, file, file_date, line, {version} as version, {deleted} as is_deleted, extra"
        inner = f"select {common}, {', '.join(texts)} from landed {where}"
        typed = ", ".join(self._typed_columns())
        rows = f"select *, {typed} from ({inner})"
        if self.entity.name == "order_lines":
            kind, amount = expressions.line_kind(self.contract), expressions.amount(self.contract)
            rows = f"select *, {kind} as line_kind, {amount} as amount from ({rows})"
        reference = client_ref_sql(literal(self.namespace), "client_key") if self._has_client else "null::varchar"
        dated = expressions.business_date(self.contract, self.zone)
        return f"select *, {reference} as client_ref, {dated} as business_date from ({rows})"

    @property
    def _has_client(self) -> bool:
        return "client_key" in self.contract.columns

    def _typed_columns(self) -> list[str]:
        """SQL for each canonical column but the two that are computed from others."""
        columns = []
        computed = {"line_kind", "amount"} if self.entity.name == "order_lines" else set()
        for name, kind in self.entity.columns.items():
            if name in self.contract.columns:
                value = expressions.typed(f"text_{name}", kind.type, self.contract.format)
                columns.append(f"{value} as {'given_amount' if name in computed else name}")
            elif name in self.contract.constants:
                columns.append(f"{literal(self.contract.constants[name])} as {name}")
            elif name not in computed:
                columns.append(f"null::{column_types(self.contract)[name]} as {name}")
        return columns

    def _bits(self, numbered: Sequence[tuple[int, Rule]]) -> str:
        kind = self.mask_type
        bits = [f"case when {self._applies(rule)} then {2**i}::{kind} else 0::{kind} end" for i, rule in numbered]
        return " + ".join(bits) if bits else f"0::{kind}"

    def _applies(self, rule: Rule) -> str:
        """The rule's test; a tombstone needs its key and its business date, and nothing else."""
        if self.contract.deleted is None or rule.column in {*self.entity.key, self.contract.business_date}:
            return rule.test
        return f"not is_deleted and ({rule.test})"

    @property
    def mask_type(self) -> str:
        """The integer type that has a bit for each rule."""
        return "bigint" if len(self.rules) <= _BITS_OF_BIGINT else "hugeint"

    def _guest(self) -> str:
        if self.entity.name != "order_lines":
            return "false"
        unknown = [
            f" or client_ref not in (select known from known_{index})"
            for index, reference in enumerate(self.contract.references)
            if reference.entity == "clients"
        ]
        guest = f"(client_ref is null{''.join(unknown)})" if self._has_client else "true"
        return guest if self.contract.deleted is None else f"(not is_deleted and {guest})"

    def _mark_contradictions(self) -> None:
        key = ", ".join(self.entity.key)
        same = " and ".join(f"checked.{name} = twice.{name}" for name in self.entity.key)
        bit = 2 ** (len(self.rules) - 1)
        self.connection.execute(f"""
            update checked set broken = broken + {bit}
            from (
                select file_no, {key}, version from checked
                group by file_no, {key}, version having count(distinct row_hash) > 1
            ) as twice
            where checked.file_no = twice.file_no and {same} and checked.version is not distinct from twice.version
        """)

    def counts(self) -> Counts:
        """Count the rows by their fate and by rule."""
        tests = [self._count_of(i, rule) for i, rule in enumerate(self.rules)]
        row = self._one(f"""
            select
                count(*), count(*) filter (where broken = 0 and not duplicate), count(*) filter (where broken <> 0),
                count(*) filter (where broken = 0 and duplicate),
                count(*) filter (where broken = 0 and not duplicate and is_guest),
                min(business_date) filter (where broken = 0), max(business_date) filter (where broken = 0)
                {"".join(", " + test for test in tests)}
            from checked
        """)
        structure = self._one("select count(*) from rejected")[0]
        rows = row[0] + structure
        by_rule = [
            RuleCount(rule.id, rows, bad, rule.only_warns) for rule, bad in zip(self.rules, row[7:], strict=True)
        ]
        by_rule.append(RuleCount(STRUCTURE, rows, structure))
        return Counts(row[1], row[2] + structure, row[3], row[4], row[5], row[6], tuple(by_rule))

    def _count_of(self, index: int, rule: Rule) -> str:
        """SQL that counts the rows that break the rule; of rules that only warn among the good rows."""
        mask, good = ("noticed", " and broken = 0") if rule.only_warns else ("broken", "")
        return f"count(*) filter (where ({mask} & {2**index}::{self.mask_type}) <> 0{good})"

    def _one(self, query: str) -> tuple[Any, ...]:
        row = self.connection.execute(query).fetchone()
        return tuple(row) if row is not None else ()
