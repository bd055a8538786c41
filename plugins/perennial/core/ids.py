"""Identifiers: stable, opaque, and a function of their input alone (L2)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

_CLIENT_REF_HEX = 15


def client_ref(namespace: str, key: str) -> str:
    """The id of a source's client record: `c` and 15 hex digits of md5(namespace|key).

    The same expression in SQL is `client_ref_sql`; md5 because DuckDB, PostgreSQL and Spark all have it.
    """
    digest = hashlib.md5(f"{namespace}|{key}".encode(), usedforsecurity=False).hexdigest()
    return "c" + digest[:_CLIENT_REF_HEX]


def client_ref_sql(namespace_literal: str, key_column: str) -> str:
    """SQL for `client_ref`: both arguments are SQL expressions that the caller has already quoted."""
    return f"'c' || substr(md5({namespace_literal} || '|' || {key_column}), 1, {_CLIENT_REF_HEX})"


def digest_of(parts: Iterable[str], *, length: int = 16) -> str:
    """The first `length` hex digits of sha256 over the parts, each ended by a unit separator (0x1f)."""
    hasher = hashlib.sha256()
    for part in parts:
        hasher.update(part.encode())
        hasher.update(b"\x1f")
    return hasher.hexdigest()[:length]


def unit_interval(*parts: str) -> float:
    """A number in [0, 1) from sha256(part|part|...): the salted hash that control groups are drawn by (L8)."""
    digest = hashlib.sha256("|".join(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
