"""The SQL of our rooms, which is written for DuckDB, as PostgreSQL's: by sqlglot, and a few functions of ours.

Both engines must give the same rows, and texts and numbers to the last digit: what a list's hash is made of, what is
rounded, where null stands in an order.
"""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlglot
from sqlglot import exp

_UNPRINTED = frozenset({"Cc", "Cf", "Co"})
# Made in each session (schema pg_temp): PostgreSQL rounds halves of doubles to even, and writes 1 where DuckDB has 1.0.
FUNCTIONS = (
    """
create function pg_temp.duck_round(x double precision, digits integer) returns double precision
language sql immutable strict as $$
    select case
        when x in ('NaN', 'Infinity', '-Infinity') then x
        else sign(x) * (
            trunc(abs(x) * power(10::double precision, digits)) + case
                when abs(x) * power(10::double precision, digits) - trunc(abs(x) * power(10::double precision, digits))
                    >= 0.5 then 1 else 0
            end
        ) / power(10::double precision, digits)
    end $$""",
    """
create function pg_temp.duck_round(x numeric, digits integer) returns numeric
language sql immutable strict as $$ select round(x, digits) $$""",
    """
create function pg_temp.duck_text(x double precision) returns text
language sql immutable strict as $$
    select case
        when x in ('Infinity', '-Infinity') then replace(lower(x::text), 'infinity', 'inf')
        when x = 'NaN' then 'nan'
        when abs(x) >= 1e15 and abs(x) < 1e16 then x::numeric(20, 1)::text
        when x::text ~ '[.e]' then x::text
        else x::text || '.0'
    end $$""",
    # A function for each kind of number: PostgreSQL would rather make a double of it than take `anyelement`.
    *(
        f"create function pg_temp.duck_text(x {kind}) returns text "
        "language sql immutable strict as $$ select x::text $$"
        for kind in ("smallint", "integer", "bigint", "numeric", "anyelement")
    ),
)


def translate(sql: str, params: Sequence[Any] | Mapping[str, Any] = ()) -> list[tuple[str, list[Any]]]:
    """The statement as one or two of PostgreSQL's, each with its parameters in order."""
    statements, names = _translated(sql)
    named = params if isinstance(params, Mapping) else {str(index): value for index, value in enumerate(params)}
    return [(text, [named[name] for name in names] if text is statements[-1] else []) for text in statements]


@lru_cache(maxsize=512)
def _translated(sql: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    tree = sqlglot.parse_one(_with_names(sql), dialect="duckdb")
    names: list[str] = []
    for node in reversed(list(tree.walk(bfs=False))):  # what stands inside first
        new = _rewritten(node, names)
        if new is not node:
            node.replace(new)
    before: tuple[str, ...] = ()
    if isinstance(tree, exp.Create) and tree.args.get("replace"):
        tree.set("replace", None)
        table = tree.find(exp.Table)
        before = (f"drop {tree.kind} if exists {table.sql(dialect='postgres') if table else ''}",)
    return (*before, tree.sql(dialect="postgres")), tuple(names)


def _with_names(sql: str) -> str:
    """Each `?` with its place as a name: in the tree they do not stand in the order of the text."""
    marks = [t for t in sqlglot.tokenize(sql, dialect="duckdb") if t.text == "?" and t.token_type.name == "PLACEHOLDER"]
    for place, mark in reversed(list(enumerate(marks))):
        sql = f"{sql[: mark.start]}${place}{sql[mark.end + 1 :]}"
    return sql


def _rewritten(node: exp.Expr, names: list[str]) -> exp.Expr:
    if isinstance(node, exp.Placeholder | exp.Parameter):
        return _numbered(node, names)
    return _arg_max(node) if isinstance(node, exp.ArgMax) else _function(node)


def _function(node: exp.Expr) -> exp.Expr:
    if isinstance(node, exp.Round) and node.args.get("decimals") is not None:
        return exp.Anonymous(this="pg_temp.duck_round", expressions=[node.this, node.args["decimals"]])
    if isinstance(node, exp.Cast) and isinstance(node.this, exp.Column) and node.to.is_type("text"):
        return exp.Anonymous(this="pg_temp.duck_text", expressions=[node.this])
    if isinstance(node, exp.SHA2):
        inner = exp.Anonymous(this="convert_to", expressions=[node.this, exp.Literal.string("UTF8")])
        return exp.SHA2(this=inner, length=node.args["length"])
    if isinstance(node, exp.RegexpFullMatch):
        regex = f"^(?:{_regex(str(node.expression.this))})$"
        return exp.RegexpLike(this=node.this, expression=exp.Literal.string(regex))
    return node


def _numbered(node: exp.Expr, names: list[str]) -> exp.Expr:
    """`$name` becomes $1, $2, ..."""
    name = node.this if isinstance(node.this, str) else str(node.this.this)
    if name not in names:
        names.append(name)
    return exp.Parameter(this=exp.Literal.number(names.index(name) + 1))


def _arg_max(node: exp.ArgMax) -> exp.Expr:
    """The value of the row with the greatest of the other: rows where either is null do not count."""
    value, by = node.this.sql(dialect="postgres"), node.expression.sql(dialect="postgres")
    known = f"where {value} is not null and {by} is not null"
    return sqlglot.parse_one(f"(array_agg({value} order by {by} desc) filter ({known}))[1]", dialect="postgres")


def _regex(pattern: str) -> str:
    r"""RE2's pattern as PostgreSQL's: `\s` is ASCII there, and `\p{C}` (control, format, private) has no name here."""
    return pattern.replace(r"\s", r" \t\n\f\r").replace(r"\p{C}", _no_characters())


@lru_cache(maxsize=1)
def _no_characters() -> str:
    """Ranges of all characters of these classes, for inside of brackets."""
    ranges: list[list[int]] = []
    for code in range(1, sys.maxunicode + 1):
        if unicodedata.category(chr(code)) not in _UNPRINTED:
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in ranges)
