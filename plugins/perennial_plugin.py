"""The one file that Airflow's plugin manager executes; everything else is the package beside it (.airflowignore)."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin


class PerennialPlugin(AirflowPlugin):
    """Pages and webhooks below /perennial, and their entry in Airflow's menu."""

    name = "perennial"
    external_views = [  # noqa: RUF012 - Airflow's form
        {
            "name": "Perennial",
            "href": "/perennial/",
            "destination": "nav",
            "category": "browse",
            "url_route": "perennial",
        },
        {
            "name": "dbt docs",
            "href": "/perennial/dbt-docs/",
            "destination": "nav",
            "category": "browse",
            "url_route": "perennial-dbt-docs",
        },
    ]

    @property
    def fastapi_apps(self) -> list[dict[str, Any]]:
        """The app, imported when the API server asks for it: tasks and the scheduler load plugins too."""
        from perennial.web.app import create_app

        return [{"app": create_app(), "url_prefix": "/perennial", "name": "Perennial"}]
