"""Where outside systems are and who we are there: Airflow's connections, read without Airflow (L22).

`AIRFLOW_CONN_<ID>` holds a connection as a URI or as JSON, in Airflow's own forms. Inside Airflow the orchestration
passes a store that asks Airflow's secrets backends instead.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from perennial.core.errors import ConfigError, Problem

_PREFIX = "AIRFLOW_CONN_"


@dataclass(frozen=True)
class Connection:
    """One outside system. What is secret does not show in `repr`."""

    id: str
    kind: str  # Airflow's conn_type: postgres, mysql, sqlite, aws, sftp, http, redis, ...
    host: str | None = None
    port: int | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class ConnectionStore(Protocol):
    """Gives connections by their id."""

    def get(self, connection_id: str) -> Connection:
        """The connection. Raises ConfigError when there is none of that id."""
        ...


class EnvironmentConnections:
    """Connections of the environment variables `AIRFLOW_CONN_<ID>`."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def get(self, connection_id: str) -> Connection:
        """The connection. Raises ConfigError when there is none, or when its text is neither a URI nor JSON."""
        name = _PREFIX + connection_id.upper()
        text = self._environ.get(name)
        if text is None:
            raise absent(connection_id)
        try:
            return _from_json(connection_id, text) if text.lstrip().startswith("{") else _from_uri(connection_id, text)
        except (ValueError, TypeError):  # the text itself may hold a password: it is not shown
            fix = "write it as type://login:password@host:port/schema, or as Airflow's JSON"
            raise ConfigError(Problem(name, "is neither a connection URI nor JSON", fix)) from None


class AirflowRecord(Protocol):
    """What Airflow's own connections have, in tasks and in its server alike."""

    conn_type: Any
    host: Any
    port: Any
    login: Any
    password: Any
    schema: Any
    extra: Any


def of_airflow(connection_id: str, found: AirflowRecord) -> Connection:
    """The connection from Airflow's own. Raises ConfigError when its extra is not a JSON object."""
    try:
        extra = json.loads(found.extra) if found.extra else {}
    except ValueError:  # the text may hold a secret: it is not shown
        extra = None
    if not isinstance(extra, dict):
        raise ConfigError(Problem(f"connection {connection_id}", "its extra is not a JSON object", "mend its extra"))
    return Connection(
        id=connection_id,
        kind=found.conn_type or "",
        host=found.host,
        port=found.port,
        login=found.login,
        password=found.password,
        schema=found.schema,
        extra=extra,
    )


def absent(connection_id: str) -> ConfigError:
    """That there is no connection of that id, and how to make it."""
    fix = f"add it in Airflow (Admin, Connections) or set {_PREFIX}{connection_id.upper()} to its URI"
    return ConfigError(Problem(f"connection {connection_id}", "there is no such connection", fix))


def _from_json(connection_id: str, text: str) -> Connection:
    given = json.loads(text)
    extra = given.get("extra") or {}
    return Connection(
        id=connection_id,
        kind=str(given["conn_type"]),
        host=given.get("host"),
        port=int(given["port"]) if given.get("port") else None,
        login=given.get("login"),
        password=given.get("password"),
        schema=given.get("schema"),
        extra=json.loads(extra) if isinstance(extra, str) else dict(extra),
    )


def _from_uri(connection_id: str, text: str) -> Connection:
    """Airflow's form: `type://login:password@host:port/schema?key=value`; a host may itself be a quoted URL."""
    parts = urlsplit(text)
    if not parts.scheme:
        raise ValueError("no scheme")
    extra: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    if "__extra__" in extra:
        extra = json.loads(extra["__extra__"])
    return Connection(
        id=connection_id,
        kind=parts.scheme.replace("-", "_"),
        host=unquote(parts.hostname) if parts.hostname else None,
        port=parts.port,
        login=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        schema=unquote(parts.path[1:]) or None,
        extra=extra,
    )


def as_url(connection: Connection, *, scheme: str | None = None) -> str:
    """The connection as a URL with its password, for libraries that want one. Never log it."""
    login = quote(connection.login or "", safe="")
    password = f":{quote(connection.password, safe='')}" if connection.password else ""
    who = f"{login}{password}@" if login or password else ""
    port = f":{connection.port}" if connection.port else ""
    return f"{scheme or connection.kind}://{who}{connection.host or ''}{port}/{connection.schema or ''}"
