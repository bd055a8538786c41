"""Writing SQL text out of what others wrote: a literal is quoted, an identifier is quoted, nothing is pasted (L23)."""

from __future__ import annotations

from collections.abc import Iterable


def literal(text: str) -> str:
    """The text as an SQL string literal; a quotation mark in it is doubled."""
    return "'" + text.replace("'", "''") + "'"


def literals(texts: Iterable[str]) -> str:
    """The texts as a comma separated list of SQL string literals."""
    return ", ".join(literal(text) for text in texts)


def identifier(name: str) -> str:
    """The name as a quoted SQL identifier; a quotation mark in it is doubled."""
    return '"' + name.replace('"', '""') + '"'
