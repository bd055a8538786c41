"""How dbt reaches the warehouse's database: the variables of dbt_project/profiles.yml, from the one URL."""

from __future__ import annotations

import os

from psycopg2.extensions import parse_dsn

from perennial.contracts.records import DayRun
from perennial.core.settings import Settings
from perennial.warehouse.postgres.places import places_of

# Of dbt's sessions: memory for sorting and hashing rows of history, no waiting for the log of what can be built again.
_OPTIONS = ("-c work_mem=128MB", "-c synchronous_commit=off", "-c jit=off")
# dbt takes a password from a variable of this name alone, and never writes it into a file.
_VARIABLES = {
    "host": "PERENNIAL_PG_HOST",
    "port": "PERENNIAL_PG_PORT",
    "user": "PERENNIAL_PG_USER",
    "password": "DBT_ENV_SECRET_PERENNIAL_PG_PASSWORD",
    "dbname": "PERENNIAL_PG_DATABASE",
    "sslmode": "PERENNIAL_PG_SSLMODE",
}


def dbt_environment(settings: Settings, run: DayRun) -> dict[str, str]:
    """The target, how to reach it, and what stands before the names of the schemas of a past day's build."""
    given = parse_dsn(str(settings.warehouse_url))
    reached = {variable: str(given[key]) for key, variable in _VARIABLES.items() if key in given}
    return {
        "PERENNIAL_DBT_TARGET": "postgresql",
        "PERENNIAL_SCHEMA_PREFIX": places_of(run).prefix,
        "PGOPTIONS": " ".join((os.environ.get("PGOPTIONS", ""), *_OPTIONS)).strip(),
        **reached,
    }


def build_name(settings: Settings, run: DayRun) -> str:  # noqa: ARG001 - the embedded engine needs them
    """A name for what dbt keeps of this kind of build."""
    return "postgresql-latest" if run.is_latest else "postgresql-past"
