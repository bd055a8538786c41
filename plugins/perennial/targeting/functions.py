"""The functions of the rule language: each checks its arguments and writes its SQL, for both engines alike.

Windowed ones (percentile, quintile, top, bottom) compare a client with all clients of the day; the others look at one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

from sqlglot import exp

from perennial.targeting.catalogue import LIFECYCLE_STAGES, nearest
from perennial.targeting.needs import STAGE, Need
from perennial.targeting.terms import AS_OF, Typed, shown

_MAX_DAYS, _MAX_TOP = 3660, 1_000_000_000
_RFM = ("rfm_recency", "rfm_frequency", "rfm_monetary")


class Compiler(Protocol):
    """What a function needs of the compiler of rules."""

    needs: set[Need]

    def term(self, node: exp.Expr) -> Typed:
        """Any term, checked."""

    def condition(self, node: exp.Expr) -> Typed:
        """A term that must be true or false."""

    def as_number(self, node: exp.Expr) -> str:
        """The SQL of a number, in double precision."""

    def mistake(self, message: str, fix: str) -> Typed:
        """Note what is wrong."""

    def bound(self, value: object, kind: str, sql_type: str, shown_as: str) -> Typed:
        """A value, bound."""

    def segment(self, node: exp.Expr) -> str | None:
        """The segment that the argument names, or None and a mistake noted."""

    def has_stages(self) -> bool:
        """Whether changes of lifecycle stage may be asked for."""


class Function(NamedTuple):
    """Names of the arguments, how many of them are needed, an example, and the writer of its SQL."""

    arguments: tuple[str, ...]
    least: int
    example: str
    write: Callable[[Any, Sequence[exp.Expr], str], Typed]
    is_windowed: bool = False


def _days(compiler: Compiler, node: exp.Expr, name: str) -> str | None:
    return _whole(compiler, node, f"days of {name}", 1, _MAX_DAYS)


def _whole(compiler: Compiler, node: exp.Expr, what: str, low: int, high: int) -> str | None:
    text = str(node.this) if isinstance(node, exp.Literal) and not node.is_string else ""
    if not text.isdigit() or not low <= int(text) <= high:
        compiler.mistake(f"the {what} is {shown(node)!r}", f"give a whole number from {low} to {high}")
        return None
    return compiler.bound(int(text), "number", "integer", text).sql


def _date(compiler: Compiler, node: exp.Expr, name: str) -> str:
    typed = compiler.term(node)
    if typed.kind not in ("date", "any"):
        compiler.mistake(f"{name} of {typed.shown or shown(node)}, which is a {typed.kind}", "give it a date")
    return typed.sql


def _stage(compiler: Compiler, node: exp.Expr) -> str | None:
    name = str(node.this) if isinstance(node, exp.Literal) and node.is_string else ""
    if name not in LIFECYCLE_STAGES:
        fix = nearest(name, LIFECYCLE_STAGES) or f"use one of {', '.join(LIFECYCLE_STAGES)}, in quotes"
        compiler.mistake(f"no stage is called {shown(node)}", fix)
        return None
    return compiler.bound(name, "text", "varchar", name).sql


def _days_since(compiler: Compiler, args: Sequence[exp.Expr], text: str) -> Typed:
    return Typed("number", f"({AS_OF} - {_date(compiler, args[0], 'days_since')})", shown=text)


def _days_until(compiler: Compiler, args: Sequence[exp.Expr], text: str) -> Typed:
    return Typed("number", f"({_date(compiler, args[0], 'days_until')} - {AS_OF})", shown=text)


def _to_anniversary(compiler: Compiler, args: Sequence[exp.Expr], text: str) -> Typed:
    """Days until the anniversary that is today or comes next; the date itself is none.

    An interval of years brings 29 February to the 28th in common years, on both engines.
    """
    day = _date(compiler, args[0], "days_to_anniversary")
    years = f"greatest(cast(extract(year from {AS_OF}) - extract(year from {day}) as integer), 1)"
    this, following = (f"cast({day} + {count} * interval '1 year' as date)" for count in (years, f"({years} + 1)"))
    return Typed("number", f"(case when {this} >= {AS_OF} then {this} else {following} end - {AS_OF})", shown=text)


def _anniversary(compiler: Compiler, args: Sequence[exp.Expr], text: str) -> Typed:
    return Typed("boolean", f"({_to_anniversary(compiler, args, text).sql} = 0)")


def _percentile_sql(compiler: Compiler, node: exp.Expr) -> str:
    value = compiler.as_number(node)
    less = f"cast(rank() over (order by {value} nulls last) - 1 as double precision)"
    return f"case when {value} is not null then {less} * 100 / count({value}) over () end"


def _percentile(compiler: Compiler, args: Sequence[exp.Expr], text: str) -> Typed:
    return Typed("number", f"({_percentile_sql(compiler, args[0])})", shown=text)


def _quintile(compiler: Compiler, args: Sequence[exp.Expr], text: str) -> Typed:
    percentile = _percentile_sql(compiler, args[0])
    return Typed("number", f"(cast(floor(({percentile}) / 20) as bigint) + 1)", shown=text)


def _first(direction: str) -> Callable[[Compiler, Sequence[exp.Expr], str], Typed]:
    def write(compiler: Compiler, args: Sequence[exp.Expr], text: str) -> Typed:
        count = _whole(compiler, args[0], f"number of {text.partition('(')[0].lower()}", 1, _MAX_TOP)
        by = compiler.as_number(args[1])
        eligible = f"{by} is not null"
        for among in args[2:]:
            eligible = f"({eligible} and coalesce({compiler.condition(among).sql}, false))"
        order = f'case when {eligible} then {by} end {direction} nulls last, "client_id"'
        return Typed("boolean", f"({eligible} and row_number() over (order by {order}) <= {count})")

    return write


def _rfm_at_least(compiler: Compiler, args: Sequence[exp.Expr], _text: str) -> Typed:
    terms = []
    for column, arg in zip(_RFM, args, strict=True):
        fifth = _whole(compiler, arg, f"{column} of rfm_at_least", 1, 5)
        terms.append(f"{compiler.term(exp.column(column)).sql} >= {fifth}")
    return Typed("boolean", f"({' and '.join(terms)})")


def _became(compiler: Compiler, args: Sequence[exp.Expr], _text: str) -> Typed:
    if not compiler.has_stages():
        return compiler.mistake("changes of lifecycle stage are not published", "publish client_lifecycle_events")
    stage, days = _stage(compiler, args[0]), _days(compiler, args[1], "became")
    before = "".join(f" and {STAGE.column('before')} = {_stage(compiler, arg)}" for arg in args[2:])
    compiler.needs.add(STAGE)
    recent = f"{STAGE.column('since')} > {AS_OF} - {days}"
    return Typed("boolean", f"({STAGE.column('now')} = {stage} and {recent}{before})")


def _entered(compiler: Compiler, args: Sequence[exp.Expr], _text: str) -> Typed:
    need, recent = _recent(compiler, args, "entered", "since")
    if need is None:
        return Typed("any", "false")
    new = f"case when {need.column('in')} then {recent} else {need.column('watched')} end"
    return Typed("boolean", f"({compiler.term(args[0]).sql} and {new})")


def _exited(compiler: Compiler, args: Sequence[exp.Expr], _text: str) -> Typed:
    need, recent = _recent(compiler, args, "exited", "left")
    if need is None:
        return Typed("any", "false")
    gone = f"(({need.column('in')} and {need.column('watched')}) or {recent})"
    return Typed("boolean", f"((not {compiler.term(args[0]).sql}) and {gone})")


def _recent(compiler: Compiler, args: Sequence[exp.Expr], function: str, column: str) -> tuple[Need | None, str]:
    """The history of the segment that the first argument names, and whether its column is of the last so many days."""
    name, days = compiler.segment(args[0]), _days(compiler, args[1], function)
    if name is None:
        return None, "false"
    need = Need("segment", name)
    compiler.needs.add(need)
    return need, f"coalesce({need.column(column)} > {AS_OF} - {days}, false)"


FUNCTIONS: dict[str, Function] = {
    "days_since": Function(("date",), 1, "days_since(first_order_on) = 3", _days_since),
    "days_until": Function(("date",), 1, "days_until(next_due_on) between 0 and 7", _days_until),
    "days_to_anniversary": Function(("date",), 1, "days_to_anniversary(signed_up_on) <= 7", _to_anniversary),
    "anniversary": Function(("date",), 1, "anniversary(first_order_on)", _anniversary),
    "percentile": Function(("value",), 1, "percentile(revenue_365d) >= 90", _percentile, is_windowed=True),
    "quintile": Function(("value",), 1, "quintile(revenue_90d) = 5", _quintile, is_windowed=True),
    "top": Function(("count", "by", "among"), 2, "top(100, by => revenue_365d)", _first("desc"), is_windowed=True),
    "bottom": Function(("count", "by", "among"), 2, "bottom(100, by => recency_days)", _first("asc"), is_windowed=True),
    "rfm_at_least": Function(("recency", "frequency", "monetary"), 3, "rfm_at_least(4, 4, 5)", _rfm_at_least),
    "became": Function(("stage", "days", "before"), 2, "became('at_risk', 7)", _became),
    "entered": Function(("segment", "days"), 2, "entered(best_clients, 7)", _entered),
    "exited": Function(("segment", "days"), 2, "exited(best_clients, 7)", _exited),
}


def arguments(node: exp.Anonymous, function: Function) -> list[exp.Expr] | str:
    """The arguments in the function's order, given by place or as `name => value`; or what is wrong with them."""
    found: dict[str, exp.Expr] = {}
    for place, given in enumerate(node.expressions):
        if isinstance(given, exp.Kwarg):
            name, value = str(given.this.name).lower(), given.expression
        else:
            name, value = (function.arguments[place] if place < len(function.arguments) else ""), given
        if name not in function.arguments or name in found:
            return f"takes {', '.join(function.arguments)}"
        found[name] = value
    names = function.arguments[: max(len(found), function.least)]
    if set(found) != set(names):
        return f"needs {', '.join(function.arguments[: function.least])}"
    return [found[name] for name in names]
