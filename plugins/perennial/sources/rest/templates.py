"""Names in braces, put into addresses, parameters and bodies by value, never into code (L23)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, Problem

REQUEST_NAMES = ("since", "cursor", "page", "offset", "limit", "last", "parent", "key")
_NAME = re.compile(r"\{(" + "|".join(REQUEST_NAMES) + r")\}")
_ANY_NAME = re.compile(r"\{([a-z_][a-z0-9_]*)\}")
_ABSENT = object()


def fill(value: Any, variables: Mapping[str, Any]) -> Any:
    """The value with its names filled in; keys of which a name has no value are left out."""
    filled = _fill(value, variables)
    return {} if filled is _ABSENT else filled


def _fill(value: Any, variables: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        inner = {name: _fill(item, variables) for name, item in value.items()}
        return {name: item for name, item in inner.items() if item is not _ABSENT}
    if isinstance(value, list):
        return [item for item in (_fill(one, variables) for one in value) if item is not _ABSENT]
    return _text(value, variables) if isinstance(value, str) else value


def _text(text: str, variables: Mapping[str, Any]) -> Any:
    names = _NAME.findall(text)
    if any(variables.get(name) is None for name in names):
        return _ABSENT
    if names and text == f"{{{names[0]}}}":
        return variables[names[0]]
    return _NAME.sub(lambda match: str(variables[match[1]]), text)


def fill_path(path: str, variables: Mapping[str, Any]) -> str:
    """A path with its names filled in, each as one segment that cannot leave its place."""
    return _NAME.sub(lambda match: quote(str(variables.get(match[1], "")), safe=""), path)


def fill_connection(text: str, connection: Connection, *, where: str) -> str:
    """Text of a definition with what the connection holds. Raises ConfigError naming what the connection lacks."""
    known = _of_connection(connection)

    def one(match: re.Match[str]) -> str:
        value = known.get(match[1])
        if not value:
            what = f"the connection {connection.id} has no {match[1].replace('extra_', 'extra ')}"
            raise ConfigError(Problem(where, what, "add it to the connection"))
        return value

    return _ANY_NAME.sub(one, text)


def _of_connection(connection: Connection) -> dict[str, str]:
    host = (connection.host or "").split("://", 1)[-1].strip("/")
    port = f":{connection.port}" if connection.port else ""
    known = {
        "host": host,
        "address": f"{host}{port}" if host else "",
        "login": quote(connection.login or "", safe=""),
        "password": quote(connection.password or "", safe=""),
        "schema": quote(connection.schema or "", safe=""),
    }
    return known | {f"extra_{name}": quote(str(value), safe="") for name, value in connection.extra.items()}
