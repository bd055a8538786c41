"""What the compiler of rules and its functions share: typed terms, and how a piece of a rule is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlglot import exp

AS_OF = "cast($as_of as date)"
_MAX_SHOWN = 60


@dataclass(frozen=True)
class Typed:
    """A checked term: its kind, its SQL, the value of a literal, and how it is called in a message.

    Kinds are number, text, date, boolean, and `any` after a mistake, so that one mistake is told once.
    """

    kind: str
    sql: str
    literal: Any = None
    shown: str = ""


def shown(node: exp.Expr) -> str:
    """A piece of a rule as text, shortened."""
    text = node.sql(dialect="duckdb", comments=False)
    return text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
