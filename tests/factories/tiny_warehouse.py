"""A shop of a few order lines with its own small dbt project: for tests of the build and of publication."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path

import duckdb
import sqlalchemy as sa

from perennial.contracts.entities import ENTITIES
from perennial.contracts.records import DayRun
from perennial.core.settings import REPOSITORY, Settings, load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import get_run, open_run
from perennial.ledger.tables import batch_files, batches
from perennial.warehouse.build_db import TableSpec, build_connection, mark_built, prepare_build, raw_select

Line = tuple[str, str, date, str]  # order, client, day, amount
FIRST_DAY = (("1", "c1", date(2017, 8, 30), "10.00"), ("2", "c2", date(2017, 9, 30), "5.50"))
SECOND_DAY = (("3", "c1", date(2017, 10, 2), "7.25"),)

_MODELS = {
    "models/sources.yml": """
version: 2
sources:
  - name: raw
    schema: raw
    tables: [{name: order_lines}, {name: clients}, {name: ledger_batches}]
""",
    "models/staging/shop/stg_shop__lines.sql": """
select order_key, client_ref as client_id, cast(ordered_at as date) as ordered_on, amount
from {{ source('raw', 'order_lines') }}
where _business_date <= cast('{{ var("as_of") }}' as date)
""",
    "models/marts/core/fct_order_lines.sql": "select * from {{ ref('stg_shop__lines') }}",
    "models/marts/core/kpi_daily.sql": """
select ordered_on, count(*) as orders, cast(sum(amount) as decimal(18, 4)) as revenue
from {{ ref('fct_order_lines') }} group by ordered_on
""",
    "models/marts/core/core.yml": """
version: 2
models:
  - name: fct_order_lines
    config: {meta: {published_by: month, date_column: ordered_on, key: [order_key]}}
    columns:
      - {name: order_key, data_tests: [unique]}
      - {name: amount, data_tests: [not_null]}
  - {name: kpi_daily, config: {meta: {key: [ordered_on]}}}
""",
    "models/marts/targeting/client_features.sql": """
{% for day in var('as_of_dates') %}{{ 'union all' if not loop.first }}
select client_id, cast('{{ day }}' as date) as as_of_date, count(*) as orders
from {{ ref('fct_order_lines') }} where ordered_on <= cast('{{ day }}' as date) group by client_id
{% endfor %}
""",
    "models/marts/targeting/client_labels.sql": """
select f.client_id, f.as_of_date, count(l.order_key) > 0 as bought_next
from {{ ref('client_features') }} as f
left join {{ ref('fct_order_lines') }} as l on l.client_id = f.client_id and l.ordered_on > f.as_of_date
group by f.client_id, f.as_of_date
""",
    "models/private/contacts.sql": """
select client_ref as client_id, first_name, last_name, email, phone, birth_date from {{ source('raw', 'clients') }}
""",
}


def tiny_settings(home: Path) -> Settings:
    """Settings of a home with the tiny dbt project in it."""
    project = home / "dbt_project"
    if not project.exists():
        for name in ("dbt_project.yml", "profiles.yml", "macros/generate_schema_name.sql", "macros/postgres.sql"):
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / "dbt_project" / name, project / name)
        for name, text in _MODELS.items():
            write_model(project, name, text)
    settings = load_settings({"PERENNIAL_HOME": str(home / "home")})
    return settings.model_copy(update={"dbt_project_dir": project})


def write_model(project: Path, name: str, text: str) -> None:
    """Write one file of the dbt project."""
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def write_raw(settings: Settings, entity: str, batch_id: str, day: date, values: Sequence[dict[str, str]]) -> Path:
    """A raw Parquet file of a canonical entity; columns that a row does not name are null."""
    path = settings.raw / entity / f"{batch_id}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as connection:
        connection.execute(f"create table t as {raw_select(ENTITIES[entity], ())}")
        for value in values:
            row = {"_batch_id": batch_id, "_business_date": day.isoformat(), **value}
            marks = ", ".join("?" for _ in row)
            connection.execute(f"insert into t ({', '.join(row)}) values ({marks})", list(row.values()))
        connection.execute(f"copy t to '{path}' (format parquet)")
    return path


def land_lines(settings: Settings, day: date, lines: Sequence[Line]) -> str:
    """Commit a batch of order lines in the ledger; gives its id."""
    batch_id = f"order_lines-{day.isoformat()}"
    values = [
        {"order_key": order, "client_ref": client, "product_key": "p", "ordered_at": f"{on} 12:00:00", "amount": amount}
        for order, client, on, amount in lines
    ]
    write_raw(settings, "order_lines", batch_id, day, values)
    commit(settings, batch_id, "order_lines", day, len(lines))
    return batch_id


def land_client(settings: Settings, day: date, client: str, email: str) -> str:
    """Commit a batch of one client in the ledger; gives its id."""
    batch_id = f"clients-{day.isoformat()}"
    write_raw(settings, "clients", batch_id, day, [{"client_ref": client, "client_key": client, "email": email}])
    commit(settings, batch_id, "clients", day, 1)
    return batch_id


def commit(settings: Settings, batch_id: str, entity: str, day: date, rows: int) -> None:
    """Write a committed batch of one file into the ledger."""
    with open_ledger(settings).begin() as connection:
        connection.execute(
            sa.insert(batches).values(
                batch_id=batch_id, source="shop", source_entity=entity, entity=entity, as_of=day, state="committed",
                landed=rows, loaded=rows, raw_path=f"raw/{entity}/{batch_id}.parquet", warnings=["a warning"], reasons=[],
                quarantined_by_rule={}, recorded_at=datetime(2017, 10, 3),
            )
        )  # fmt: skip
        connection.execute(
            sa.insert(batch_files).values(batch_id=batch_id, name=f"{batch_id}.csv", sha256="0", bytes=1)
        )


def open_first_day(settings: Settings) -> DayRun:
    """The run of 2017-10-01: two orders, and a client with an address."""
    day = date(2017, 10, 1)
    landed = (land_lines(settings, day, FIRST_DAY), land_client(settings, day, "c1", "ann@example.com"))
    return open_run(open_ledger(settings), day, landed, "config")


def open_second_day(settings: Settings, first: DayRun) -> DayRun:
    """The run of 2017-10-02, one order later."""
    landed = land_lines(settings, date(2017, 10, 2), SECOND_DAY)
    return open_run(open_ledger(settings), date(2017, 10, 2), (*first.batch_ids, landed), "config")


def open_days(settings: Settings) -> tuple[DayRun, DayRun]:
    """The runs of 2017-10-01, which is past, and of 2017-10-02, which is the newest."""
    first = open_first_day(settings)
    second = open_second_day(settings, first)
    return get_run(open_ledger(settings), first.run_id), second


def kill_self_at(event: str, part_of_path: str) -> None:
    """Have this process die by SIGKILL right before it does `event` (an audit event) to a path like that."""

    def hook(name: str, args: tuple[object, ...]) -> None:
        if name == event and part_of_path in " ".join(str(arg) for arg in args):
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def day_run(day: date = date(2017, 10, 1), *, revision: int = 1, is_latest: bool = True) -> DayRun:
    """A run that no ledger knows, of no batches."""
    return DayRun(f"{day}.r{revision}", day, revision, "open", (), "config", is_latest)


def build_without_dbt(settings: Settings, run: DayRun, lines: Sequence[Line], *, order: str = "asc") -> None:
    """A finished build with the marts fct_order_lines (by month) and kpi_daily, and one address, made by plain SQL."""
    prepare_build(settings, run, raw_files={}, ledger=[])
    with build_connection(settings, run, read_only=False) as connection:
        connection.execute(
            "create or replace table marts.fct_order_lines (order_key varchar, client_id varchar, ordered_on date, amount decimal(18, 4))"
        )
        ordered = sorted(lines, reverse=order == "desc")
        if ordered:
            connection.executemany(
                "insert into marts.fct_order_lines values (?, ?, ?, ?)", [list(line) for line in ordered]
            )
        connection.execute(
            "create or replace table marts.kpi_daily as select ordered_on, count(*) as orders from marts.fct_order_lines group by all"
        )
        connection.execute(
            "create or replace table private.contacts as select 'c1' as client_id, 'ann@example.com' as email"
        )
    mark_built(
        settings,
        run,
        [TableSpec("fct_order_lines", date_column="ordered_on", key=("order_key",)), TableSpec("kpi_daily")],
    )
