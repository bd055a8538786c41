"""Identifiers: stable, opaque, and a function of their input alone (L2)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

_CLIENT_REF_HEX = 15
_UNIT_HEX = 13
_UNIT_STEPS: int = 16**13


def client_ref(namespace: str, key: str) -> str:
    """The id of a source's client record: `c` and 15 hex digits of md5(namespace|key).

    The same expression in SQL is `client_ref_sql`; md5 because DuckDB, PostgreSQL and Spark all have it.
    """
    digest = hashlib.md5(f"{namespace}|{key}".encode(), usedforsecurity=False).hexdigest()
    return "c" + digest[:_CLIENT_REF_HEX]


def client_ref_sql(namespace_literal: str, key_column: str) -> str:
    """SQL for `client_ref`: both arguments are SQL expressions that the caller has already quoted."""
    return f"'c' || substr(md5({namespace_literal} || '|' || {key_column}), 1, {_CLIENT_REF_HEX})"


def run_order(run_id: str) -> tuple[str, int]:
    """What orders runs: the business date, then the revision (`2017-10-01.r10` is after `2017-10-01.r9`)."""
    as_of, _, revision = run_id.partition(".r")
    return as_of, int(revision) if revision.isdigit() else 0


def digest_of(parts: Iterable[str], *, length: int = 16) -> str:
    """The first `length` hex digits of sha256 over the parts, each ended by a unit separator (0x1f)."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part.encode())
        hasher.update(b"\x1f")
    return hasher.hexdigest()[:length]


def unit_interval(*parts: str) -> float:
    """A number in [0, 1): the first 13 hex digits (52 bits, exact in a double) of sha256(part|part|...) over 16^13.

    The salted hash that control groups are drawn by (L8). In SQL `unit_hex_sql(...) < unit_threshold(share)` is the
    same question as `unit_interval(...) < share`.
    """
    return int(hashlib.sha256("|".join(parts).encode()).hexdigest()[:_UNIT_HEX], 16) / _UNIT_STEPS


def unit_hex_sql(text_expression: str) -> str:
    """SQL for the 13 hex digits of `unit_interval`; the argument is an SQL text expression, its parts joined by `|`."""
    return f"substr(sha256({text_expression}), 1, {_UNIT_HEX})"


def unit_threshold(share: float) -> str:
    """The text that the digits of `unit_hex_sql` are below exactly when `unit_interval` is below `share` (0 to 1)."""
    steps = math.ceil(share * _UNIT_STEPS)
    return "g" if steps >= _UNIT_STEPS else f"{steps:0{_UNIT_HEX}x}"
