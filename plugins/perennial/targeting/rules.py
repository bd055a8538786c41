"""The rule language of segments and audiences: parsed by sqlglot, checked, compiled with bound values (L23).

A rule is a condition on one client: names of metrics, scores and segments, literals, and/or/not, comparisons, between,
in (list), 'X' in a set of categories, is null, + - * /, coalesce, abs, greatest, least, and the functions of
`targeting.functions`. Everything else is refused. The SQL is written here, node by node, from checked names and
placeholders: nothing of the text that a person wrote reaches the database.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from perennial.core.errors import ConfigError, Problem
from perennial.core.sqltext import identifier
from perennial.targeting.catalogue import Catalogue, nearest
from perennial.targeting.functions import FUNCTIONS, arguments
from perennial.targeting.needs import Need
from perennial.targeting.session import Binder
from perennial.targeting.terms import Typed, shown

SEGMENT_PREFIX = "s__"
_MAX_TEXT, _MAX_TERMS, _MAX_NUMBER = 4000, 600, 1e15
_SET = re.compile(r"categories_(\d+d|total)")
_LANGUAGE = (
    "a rule may use names, numbers, 'text', and, or, not, = <> < <= > >=, between, in (...), is null, + - * /, "
    f"coalesce, abs, greatest, least, {', '.join(FUNCTIONS)}"
)
_EXAMPLES = {"number": "300", "text": "'GROCERY'", "date": "'2017-09-30'", "boolean": "true"}
_COMPARISONS: dict[type[exp.Expr], str] = {
    exp.EQ: "=",
    exp.NEQ: "<>",
    exp.GT: ">",
    exp.GTE: ">=",
    exp.LT: "<",
    exp.LTE: "<=",
}
_ARITHMETIC: dict[type[exp.Expr], str] = {exp.Add: "+", exp.Sub: "-", exp.Mul: "*", exp.Div: "/"}
_FUNCTIONS: dict[type[exp.Expr], str] = {exp.Coalesce: "coalesce", exp.Greatest: "greatest", exp.Least: "least"}


@dataclass(frozen=True)
class Rule:
    """A compiled rule: a boolean SQL expression over columns named like metrics and `s__<segment>`, and its values.

    It may read `$as_of`, the day, and columns of its needs. `meaning` is the rule without remarks and spaces. A
    `windowed` rule compares clients with each other: it must see them all.
    """

    text: str
    sql: str
    params: dict[str, object] = field(repr=False)
    metrics: frozenset[str]
    segments: frozenset[str]
    needs: frozenset[Need] = frozenset()
    meaning: str = ""
    windowed: bool = False


def compile_rule(
    text: str, *, catalogue: Catalogue | None, segments: Collection[str], where: str, prefix: str = "p"
) -> Rule:
    """Check and compile one rule.

    `catalogue` None leaves names and types unchecked (nothing has been published yet); `where` is file:line:field;
    `prefix` makes the parameters' names unique among rules of one statement. Raises ConfigError with every mistake.
    """
    compiler = _Compiler(catalogue, segments, Binder(prefix))
    try:
        node = _parse(text)
        typed = compiler.condition(node)
    except RecursionError:
        compiler.problems.append(("the rule is nested too deeply", "split it into segments that name each other"))
    except _RuleError as error:
        compiler.problems.append(error.args)
    if compiler.problems:
        raise ConfigError([Problem(where, message, fix) for message, fix in compiler.problems])
    used = {name: value for name, value in compiler.binder.values.items() if f"${name} as" in typed.sql}
    return Rule(
        text,
        typed.sql,
        used,
        frozenset(compiler.metrics),
        frozenset(compiler.used_segments),
        frozenset(compiler.needs),
        _meaning(node),
        windowed=compiler.windows > 0,
    )


def _meaning(node: exp.Expr) -> str:
    """The rule without remarks, spaces and capitals that say nothing."""
    plain = node.copy()
    for column in plain.find_all(exp.Column):
        if not column.this.quoted:
            column.this.set("this", column.name.lower())
    for call in plain.find_all(exp.Anonymous):
        call.set("this", str(call.this).lower())
    return plain.sql(dialect="duckdb", comments=False)


def conjuncts(text: str) -> list[str]:
    """The terms that the rule joins by `and`, as text: what `explain` tests one by one."""
    node = _parse(text)
    terms = list(node.flatten()) if isinstance(node, exp.And) else [node]
    return [term.sql(dialect="duckdb") for term in terms]


class _RuleError(Exception):
    """(message, fix) of a rule that cannot be read at all."""


def _parse(text: str) -> exp.Expr:
    if len(text) > _MAX_TEXT:
        raise _RuleError(f"the rule is longer than {_MAX_TEXT} characters", "split it into segments")
    try:
        statements = sqlglot.parse(text, dialect="duckdb")
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{"description": "cannot be read", "highlight": ""}]
        near = details[0].get("highlight") or ""
        message = f"{details[0].get('description', 'cannot be read')}" + (f", near {near!r}" if near else "")
        raise _RuleError(f"not a rule: {message}", _LANGUAGE) from None
    if len(statements) != 1 or statements[0] is None:
        raise _RuleError("the rule is empty" if not any(statements) else "more than one rule in one text", _LANGUAGE)
    if sum(1 for _ in statements[0].walk()) > _MAX_TERMS:
        raise _RuleError(f"the rule has more than {_MAX_TERMS} parts", "split it into segments")
    return statements[0]


class _Compiler:
    """Walks the tree once: checks each node and writes its SQL."""

    def __init__(self, catalogue: Catalogue | None, segments: Collection[str], binder: Binder) -> None:
        self.catalogue, self.segments, self.binder = catalogue, segments, binder
        self.problems: list[Any] = []
        self.metrics: set[str] = set()
        self.used_segments: set[str] = set()
        self.needs: set[Need] = set()
        self.windows = 0
        self._in_window = False
        self._handlers: dict[type[exp.Expr], Callable[[Any], Typed]] = {
            exp.Paren: lambda node: self.term(node.this),
            exp.Column: self._column,
            exp.Literal: self._literal,
            exp.Boolean: lambda node: self.bound(bool(node.this), "boolean", "boolean", str(node.this).lower()),
            exp.Neg: self._negative,
            exp.And: lambda node: self._connected(node, "and"),
            exp.Or: lambda node: self._connected(node, "or"),
            exp.Not: lambda node: Typed("boolean", f"(not {self.condition(node.this).sql})"),
            exp.Between: self._between,
            exp.In: self._in,
            exp.Is: self._is,
            exp.Abs: self._absolute,
            exp.Anonymous: self._named,
            **dict.fromkeys(_COMPARISONS, self._comparison),
            **dict.fromkeys(_ARITHMETIC, self._arithmetic),
            **dict.fromkeys(_FUNCTIONS, self._function),
        }

    def term(self, node: exp.Expr) -> Typed:
        """Any term, checked."""
        handler = self._handlers.get(type(node))
        if handler is not None:
            return handler(node)
        if isinstance(node, exp.Query | exp.Subquery | exp.Exists | exp.Command | exp.DDL | exp.Drop | exp.Set):
            return self.mistake("a query or statement inside a rule", "a rule reads the columns of one client only")
        return self.mistake(f"{shown(node)!r} is not allowed in a rule", _LANGUAGE)

    def condition(self, node: exp.Expr) -> Typed:
        """A term that must be true or false."""
        typed = self.term(node)
        if typed.kind not in ("boolean", "any"):
            called = typed.shown or shown(node)
            return self.mistake(
                f"{called} is a {typed.kind}, where a condition is needed",
                f"compare it, as in {called} = {_EXAMPLES[typed.kind]}",
            )
        return typed

    def mistake(self, message: str, fix: str) -> Typed:
        """Note what is wrong; gives a term that causes no other message."""
        self.problems.append((message, fix))
        return Typed("any", "false")

    def bound(self, value: object, kind: str, sql_type: str, shown_as: str) -> Typed:
        """A value, bound."""
        return Typed(kind, self.binder.bind(value, sql_type), value, shown_as)

    def _column(self, node: exp.Column) -> Typed:
        if node.table:
            return self.mistake(f"{shown(node)!r} names a table", f"write the name alone: {node.name}")
        name = _name(node)
        if name in self.segments:
            self.used_segments.add(name)
            return Typed("boolean", identifier(SEGMENT_PREFIX + name), shown=name)
        if name == "client_id":
            return Typed("text", identifier(name), shown=name)
        return self._metric(name)

    def _metric(self, name: str) -> Typed:
        if self.catalogue is None:
            self.metrics.add(name)
            return Typed("any", identifier(name), shown=name)
        known = self.catalogue.get(name)
        if name in self.catalogue.sets:
            return self.mistake(f"{name} is a set of categories", f"ask for one: 'GROCERY' in {name}")
        if known is None:
            fix = nearest(name, [*self.catalogue, *self.catalogue.sets, *self.segments])
            return self.mistake(
                f"no metric, score or segment is called {name!r}", fix or "`perennial sql` shows client_metrics"
            )
        self.metrics.add(name)
        return Typed(known.kind, identifier(name), shown=name)

    def _literal(self, node: exp.Literal) -> Typed:
        return self._text(str(node.this)) if node.is_string else self._number(str(node.this), sign=1)

    def _text(self, text: str) -> Typed:
        if not text.isprintable():
            return self.mistake("a text holds control characters", "remove them")
        return self.bound(text, "text", "varchar", f"'{text}'")

    def _number(self, text: str, *, sign: int) -> Typed:
        value = float(text)
        if not math.isfinite(value) or abs(value) >= _MAX_NUMBER:
            return self.mistake(f"the number {text} is too large", "give one below 1e15")
        if text.isdigit():
            return self.bound(sign * int(text), "number", "bigint", text)
        return self.bound(sign * value, "number", "double precision", text)

    def _negative(self, node: exp.Neg) -> Typed:
        if isinstance(node.this, exp.Literal) and not node.this.is_string:
            return self._number(str(node.this.this), sign=-1)
        return Typed("number", f"(- {self.as_number(node.this)})")

    def _connected(self, node: exp.And | exp.Or, word: str) -> Typed:
        parts = [self.condition(part).sql for part in node.flatten()]
        return Typed("boolean", "(" + f" {word} ".join(parts) + ")")

    def as_number(self, node: exp.Expr) -> str:
        """In double precision, so that no whole-number division or overflow of one engine makes a difference."""
        typed = self.term(node)
        if typed.kind not in ("number", "any"):
            self.mistake(f"{typed.shown or shown(node)} is a {typed.kind}, and cannot be calculated with", _LANGUAGE)
        return f"cast({typed.sql} as double precision)"

    def _arithmetic(self, node: exp.Binary) -> Typed:
        left, right = self.as_number(node.left), self.as_number(node.right)
        if isinstance(node, exp.Div):
            right = f"nullif({right}, 0)"
        return Typed("number", f"({left} {_ARITHMETIC[type(node)]} {right})", shown=shown(node))

    def _absolute(self, node: exp.Abs) -> Typed:
        return Typed("number", f"abs({self.as_number(node.this)})", shown=shown(node))

    def _function(self, node: exp.Func) -> Typed:
        arguments = self._of_one_kind([node.this, *node.expressions])
        name = _FUNCTIONS[type(node)]
        if name != "coalesce" and arguments[0].kind not in ("number", "date", "any"):
            return self.mistake(f"{name} of a {arguments[0].kind}", "give it numbers or dates")
        return Typed(arguments[0].kind, f"{name}({', '.join(a.sql for a in arguments)})", shown=shown(node))

    def _comparison(self, node: exp.Binary) -> Typed:
        left, right = self._of_one_kind([node.left, node.right])
        if not isinstance(node, exp.EQ | exp.NEQ) and left.kind in ("text", "boolean"):
            return self.mistake(f"{left.shown} is a {left.kind}, which has no order", "compare it with = or <>")
        return Typed("boolean", f"({left.sql} {_COMPARISONS[type(node)]} {right.sql})")

    def _between(self, node: exp.Between) -> Typed:
        this, low, high = self._of_one_kind([node.this, node.args["low"], node.args["high"]])
        if this.kind in ("text", "boolean"):
            return self.mistake(f"{this.shown} is a {this.kind}, which has no order", "use in (...)")
        return Typed("boolean", f"({this.sql} between {low.sql} and {high.sql})")

    def _in(self, node: exp.In) -> Typed:
        holder = node.args.get("field") or (node.expressions[0] if len(node.expressions) == 1 else None)
        if isinstance(holder, exp.Column) and (node.args.get("field") or self._is_set(_name(holder))):
            return self._in_set(node.this, holder)
        if node.args.get("query"):
            return self.mistake("a query inside a rule", "list the values: in ('A', 'B')")
        if not node.expressions or not all(_is_literal(item) for item in node.expressions):
            return self.mistake("`in` needs a list of values", "write it as in ('A', 'B') or in (1, 2)")
        this, *items = self._of_one_kind([node.this, *node.expressions])
        return Typed("boolean", f"({this.sql} in ({', '.join(item.sql for item in items)}))")

    def _is_set(self, name: str) -> bool:
        return bool(_SET.fullmatch(name)) if self.catalogue is None else name in self.catalogue.sets

    def _in_set(self, item: exp.Expr, holder: exp.Column) -> Typed:
        name = _name(holder)
        if not self._is_set(name):
            sets = self.catalogue.sets if self.catalogue else ()
            fix = nearest(name, sets) or f"name one of {', '.join(sorted(sets)) or 'the sets of categories'}"
            return self.mistake(f"no set is called {name!r}", fix)
        if not (isinstance(item, exp.Literal) and item.is_string):
            return self.mistake(f"{shown(item)} is no category", f"give a text in quotes: 'GROCERY' in {name}")
        value = self._text(str(item.this))
        column = self.catalogue.sets[name] if self.catalogue else name.replace("categories", "orders")
        need = Need("category", column, str(value.literal))
        self.needs.add(need)
        return Typed("boolean", need.column(), shown=f"{value.shown} in {name}")

    def _named(self, node: exp.Anonymous) -> Typed:
        """A call of one of our functions; of the windowed ones none stands inside another."""
        name = str(node.this).lower()
        function = FUNCTIONS.get(name)
        if function is None:
            near = nearest(name, FUNCTIONS)
            return self.mistake(f"{shown(node)!r} is not allowed in a rule", f"{near} {_LANGUAGE}".strip())
        given = arguments(node, function)
        if isinstance(given, str):
            return self.mistake(f"{name} {given}", f"write it as in {function.example}")
        if not function.is_windowed:
            return function.write(self, given, shown(node))
        if self._in_window:
            return self.mistake(f"{name} inside of another comparison of all clients", "make one a segment of its own")
        self._in_window, self.windows = True, self.windows + 1
        try:
            return function.write(self, given, shown(node))
        finally:
            self._in_window = False

    def segment(self, node: exp.Expr) -> str | None:
        """The segment that the argument names; None, and a mistake noted, when it names none."""
        name = _name(node) if isinstance(node, exp.Column) and not node.table else shown(node)
        if name in self.segments:
            return name
        self.mistake(f"no segment is called {name!r}", nearest(name, self.segments) or "name one of config/segments")
        return None

    def has_stages(self) -> bool:
        """Whether changes of lifecycle stage may be asked for."""
        return self.catalogue is None or self.catalogue.has_stages

    def _is(self, node: exp.Is) -> Typed:
        if isinstance(node.expression, exp.Null):
            return Typed("boolean", f"({self.term(node.this).sql} is null)")
        if isinstance(node.expression, exp.Boolean):
            return Typed(
                "boolean", f"({self.condition(node.this).sql} is {'true' if node.expression.this else 'false'})"
            )
        return self.mistake(f"{shown(node)!r}: `is` goes with null, true or false", "use = for other values")

    def _of_one_kind(self, nodes: list[exp.Expr]) -> list[Typed]:
        """The terms, which must be of one kind; texts that stand beside a date become dates."""
        terms = [self.term(node) for node in nodes]
        kinds = {term.kind for term in terms if term.literal is None} - {"any"} or {terms[0].kind}
        if "date" in kinds:
            terms = [
                self._as_date(term) if term.kind == "text" and term.literal is not None else term for term in terms
            ]
        leader = next((term for term in terms if term.kind in kinds), terms[0])
        for term in terms:
            if {term.kind, leader.kind} & {"any"} or term.kind == leader.kind:
                continue
            self.mistake(f"{leader.shown} is a {leader.kind}, but {term.shown} is a {term.kind}", _remedy(leader, term))
        return terms

    def _as_date(self, term: Typed) -> Typed:
        try:
            value = date.fromisoformat(str(term.literal))
        except ValueError:
            return replace(self.mistake(f"{term.shown} is not a date", "write dates as 'YYYY-MM-DD'"), shown=term.shown)
        return self.bound(value, "date", "date", term.shown)


def _remedy(leader: Typed, term: Typed) -> str:
    if leader.kind == "number" and term.kind == "text":
        return f"write a number without quotes, as in {leader.shown} > 300"
    if leader.kind == "text" and term.kind == "number":
        return f"put the value in quotes: '{term.shown}'"
    if leader.kind == "boolean":
        return f"write {leader.shown} or not {leader.shown}"
    return f"give a {leader.kind}, such as {_EXAMPLES.get(leader.kind, '')}"


def _name(node: exp.Column) -> str:
    return str(node.name if node.this.quoted else node.name.lower())


def _is_literal(node: exp.Expr) -> bool:
    inner = node.this if isinstance(node, exp.Neg) else node
    return isinstance(inner, exp.Literal | exp.Boolean)
