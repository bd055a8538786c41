"""Airflow's connections (environment, secrets backend, database) for the rooms below, in tasks and in triggers."""

from __future__ import annotations

from airflow.sdk import Connection as AirflowConnection
from airflow.sdk.exceptions import AirflowNotFoundException

from perennial.core.connections import Connection, absent, of_airflow


class AirflowConnections:
    """Asks Airflow each time, so that a changed password holds at once. In a trigger: only within a thread."""

    def get(self, connection_id: str) -> Connection:
        """The connection. Raises ConfigError when there is none of that id, or when its extra is not JSON."""
        try:
            return of_airflow(connection_id, AirflowConnection.get(connection_id))
        except AirflowNotFoundException:
            raise absent(connection_id) from None
