"""The one module of `web` that knows Airflow: its sign-in, its login page, its connections.

What is imported from Airflow's core API is internal to it: when it moves, this file is what changes.
"""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.core_api.security import GetUserDep, requires_access_asset
from airflow.configuration import conf
from airflow.exceptions import AirflowNotFoundException
from airflow.models.connection import Connection as AirflowConnection
from fastapi import Depends

from perennial.core.connections import Connection, absent, of_airflow
from perennial.web.lists import Host, Person

# Who may read assets may read what became of their batches; a stranger gets 401, another role 403.
SIGNED_IN: Any = Depends(requires_access_asset(method="GET"))


def _person(user: GetUserDep) -> Person:
    """Who asks; who may change assets (an operator) may answer for a list."""
    may = get_auth_manager().is_authorized_asset(method="PUT", user=user)
    return Person(str(user.get_name()), may_answer=may)


def _form_key() -> bytes:
    """Airflow's own key of its API servers: the same in each of them, and known to nobody else."""
    return str(conf.get_mandatory_value("api", "secret_key")).encode()


LIST_HOST = Host(_person, _form_key)


def login_url(next_url: str) -> str:
    """Airflow's login page, which leads back to `next_url`."""
    return str(get_auth_manager().get_url_login(next_url=next_url))


class ServerConnections:
    """Airflow's connections (environment, secrets backend, database) as the API server reads them."""

    def get(self, connection_id: str) -> Connection:
        """The connection. Raises ConfigError when there is none of that id."""
        try:
            return of_airflow(connection_id, AirflowConnection.get_connection_from_secrets(connection_id))
        except AirflowNotFoundException:
            raise absent(connection_id) from None
