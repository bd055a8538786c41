"""Airflow's connections (environment, secrets backend, database) for the rooms below, in tasks and in triggers."""

from __future__ import annotations

import json
from typing import Any

from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException

from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, Problem


class AirflowConnections:
    """Asks Airflow each time, so that a changed password holds at once. In a trigger: only within a thread."""

    def get(self, connection_id: str) -> Connection:
        """The connection. Raises ConfigError when there is none of that id, or when its extra is not JSON."""
        try:
            found = AirflowConnection.get(connection_id)
        except AirflowNotFoundException:
            fix = f"add it in Airflow (Admin, Connections) or set AIRFLOW_CONN_{connection_id.upper()}"
            raise ConfigError(Problem(f"connection {connection_id}", "there is no such connection", fix)) from None
        return Connection(
            id=connection_id,
            kind=found.conn_type or "",
            host=found.host,
            port=found.port,
            login=found.login,
            password=found.password,
            schema=found.schema,
            extra=_extra(connection_id, found.extra),
        )


def _extra(connection_id: str, text: str | None) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError:  # the text may hold a secret: it is not shown
        found = None
    if not isinstance(found, dict):
        raise ConfigError(Problem(f"connection {connection_id}", "its extra is not a JSON object", "mend its extra"))
    return found
