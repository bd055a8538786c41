"""The one file that Airflow's plugin manager executes; everything else is the package beside it (.airflowignore)."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin


class PerennialPlugin(AirflowPlugin):
    """Makes Airflow know Perennial by name; pages and endpoints come with the room `web`."""

    name = "perennial"
