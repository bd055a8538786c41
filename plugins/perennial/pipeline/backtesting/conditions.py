"""The conditions of a data set's YAML: parsed by sqlglot, checked node by node, written anew (L23).

A condition may use the file's columns, literals, and, or, not, comparisons, between, in (list), like, is null, case,
+ - * / %, cast and a few functions of texts, numbers and dates. Everything else is refused, queries first of all.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from perennial.core.errors import ConfigError, Problem

_MAX_TEXT, _MAX_PARTS, _MAX_SHOWN = 4000, 600, 60
_LANGUAGE = "use columns, numbers, 'text', and, or, not, = <> < <= > >=, between, in, like, is null, + - * /, cast"
_ALLOWED: tuple[type[exp.Expr], ...] = (
    exp.Paren, exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Neg, exp.And, exp.Or, exp.Not,
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.Between, exp.In, exp.Tuple, exp.Is, exp.Like, exp.ILike,
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Cast, exp.TryCast, exp.DataType, exp.DataTypeParam,
    exp.Case, exp.If, exp.Coalesce, exp.Nullif, exp.Abs, exp.Round, exp.Floor, exp.Ceil, exp.Greatest, exp.Least,
    exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Substring, exp.StartsWith, exp.EndsWith, exp.Left, exp.Right,
    exp.Contains, exp.Concat, exp.DPipe, exp.Year, exp.Month, exp.Day, exp.DayOfWeek, exp.Date, exp.RegexpLike,
    exp.Extract, exp.Var, exp.Escape, exp.ArrayContains,
)  # fmt: skip
_TRUTHS = (
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.And, exp.Or, exp.Not, exp.Between, exp.In, exp.Is, exp.Like,
    exp.ILike, exp.Boolean, exp.StartsWith, exp.EndsWith, exp.Contains, exp.RegexpLike, exp.Case,
)  # fmt: skip
_QUERIES = (exp.Query, exp.Subquery, exp.Exists, exp.Command, exp.DDL, exp.Drop, exp.Set, exp.Table, exp.Star)
_TEXT_TESTS = (
    exp.Like, exp.ILike, exp.StartsWith, exp.EndsWith, exp.Lower, exp.Upper, exp.Trim, exp.Length, exp.Substring,
    exp.Left, exp.Right, exp.Contains, exp.Concat, exp.DPipe, exp.RegexpLike,
)  # fmt: skip


def condition_sql(
    text: str, columns: Mapping[str, str | None], where: str, *, roles: Mapping[str, str] | None = None
) -> str:
    """The condition as SQL of DuckDB over these columns.

    `columns`: name -> the type that a column of text is read as where it is compared with a number or a moment, None
    where it is taken as it stands. `roles`: further words for a column (`client`). `where` is file:line:field. Raises
    ConfigError for what cannot be a condition.
    """
    tree = _parse(text, where)
    by_lower = {role: name for role, name in (roles or {}).items() if name in columns}
    by_lower |= {name.lower(): name for name in columns}
    for node in list(tree.walk()):
        if not isinstance(node, _ALLOWED):
            problem = "a query or a statement in a condition" if isinstance(node, _QUERIES) else _shown(node)
            raise ConfigError(Problem(where, f"{problem} is not allowed in a condition", _LANGUAGE))
        if isinstance(node, exp.Column):
            _require_known(node, by_lower, where)
    if not isinstance(tree.unnest(), _TRUTHS):
        raise ConfigError(Problem(where, f"{_shown(tree)} is neither true nor false", _LANGUAGE))
    root = exp.Paren(this=tree)
    for node in list(root.find_all(exp.Column)):
        name = by_lower[node.name.lower()]
        node.replace(_reading(node, name, columns[name]))
    return root.sql(dialect="duckdb")


def _parse(text: str, where: str) -> exp.Expr:
    if len(text) > _MAX_TEXT:
        raise ConfigError(Problem(where, f"the condition is longer than {_MAX_TEXT} characters", "make several"))
    try:
        statements = sqlglot.parse(text, dialect="duckdb")
    except (SqlglotError, RecursionError) as error:
        details: list[Any] = getattr(error, "errors", None) or [{}]
        said = details[0].get("description") or "it cannot be read"
        raise ConfigError(Problem(where, f"not a condition: {said}", _LANGUAGE)) from None
    if len(statements) != 1 or statements[0] is None:
        said = "the condition is empty" if not any(statements) else "more than one condition in one text"
        raise ConfigError(Problem(where, said, "write one condition; several are a list, and all must hold"))
    if sum(1 for _ in statements[0].walk()) > _MAX_PARTS:
        raise ConfigError(Problem(where, f"the condition has more than {_MAX_PARTS} parts", "make several"))
    return statements[0]


def _require_known(node: exp.Column, by_lower: Mapping[str, str], where: str) -> None:
    if node.name.lower() in by_lower and not node.table:
        return
    near = difflib.get_close_matches(node.name.lower(), by_lower, n=1)
    known = ", ".join(list(by_lower.values())[:30])
    fix = f'did you mean "{by_lower[near[0]]}"?' if near else f"the files have {known}; texts stand in single quotes"
    raise ConfigError(Problem(where, f"the files have no column {node.name[:_MAX_SHOWN]!r}", fix))


def _reading(node: exp.Column, name: str, kind: str | None) -> exp.Expr:
    """The column, read as `kind` unless it is treated as text."""
    column = exp.Column(this=exp.Identifier(this=name, quoted=True))
    if kind is None or _is_treated_as_text(node, kind):
        return column
    return exp.TryCast(this=column, to=exp.DataType.build(kind, dialect="duckdb"))


def _is_treated_as_text(node: exp.Expr, kind: str) -> bool:
    above = node.parent
    if isinstance(above, _TEXT_TESTS):
        return True
    if isinstance(above, exp.Cast | exp.TryCast | exp.Is):
        return True  # the writer says as what it is read; whether it is null does not depend on it
    if kind in ("timestamp", "date") or above is None:
        return False  # moments are written as texts
    others = [part for part in above.iter_expressions() if part is not node]
    return any(isinstance(part, exp.Literal) and part.is_string for part in others)


def _shown(node: exp.Expr) -> str:
    return repr(node.sql(dialect="duckdb")[:_MAX_SHOWN])
