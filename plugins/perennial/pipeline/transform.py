"""Starting dbt inside this process, and telling what went wrong in it.

dbt parses the whole project again whenever a variable changes, and the date changes every day. So the project is parsed
with a fixed date (the parse is kept below `home/dbt` and reused while the project's files stand), and run with the
real one. That is right as long as no parsed config holds the date, which is checked.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from perennial.contracts.records import DayRun
from perennial.core.errors import ContractViolation, Problem
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.pipeline.build_reports import report_failed
from perennial.pipeline.dbt_failures import failure_of, masked, personal_columns
from perennial.warehouse.build_db import TableSpec
from perennial.warehouse.engine import build_name, dbt_environment

_PARSE_DATE = "1111-11-11"
_FIXED = {"as_of": _PARSE_DATE, "as_of_dates": [_PARSE_DATE], "previous_as_of": None, "goes_on": False}
_FAILED = {"error", "fail", "runtime error", "partial success"}
_QUIET = (
    "--quiet", "--no-use-colors", "--log-level", "none", "--log-level-file", "none", "--no-print",
    "--no-send-anonymous-usage-stats", "--no-version-check",
)  # fmt: skip


# Unit tests are for those who change models; exposures and saved queries are words of which nothing is built.
_LEFT_OUT = [part for kind in ("unit_test", "exposure", "saved_query") for part in ("--exclude-resource-type", kind)]


@dataclass(frozen=True)
class Outcome:
    """What dbt did: its manifest, seconds by model (and all tests together), warnings for people, tests by verdict."""

    manifest: Any
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    tests: dict[str, int]


def dbt_variables(settings: Settings, as_of: date, as_of_dates: Sequence[date]) -> dict[str, Any]:
    """The variables of dbt_project.yml, from the settings."""
    return {
        "as_of": as_of.isoformat(),
        "as_of_dates": [day.isoformat() for day in as_of_dates],
        "zone": settings.company.zone,
        "currency": settings.company.currency,
        "fiscal_year_starts": settings.company.fiscal_year_starts,
        "prices_include_tax": settings.company.prices_include_tax,
        "revenue_includes_tax": settings.company.counts_tax,
        "metric_windows": list(settings.windows.metrics),
        "feature_windows": list(settings.windows.features),
        "churn_horizon_days": settings.scoring.churn_horizon_days,
        "value_horizon_days": settings.scoring.value_horizon_days,
    }


def project_digest(settings: Settings) -> str:
    """A digest of the dbt project's files: models, macros, tests, contracts, and what they say of themselves."""
    project = settings.dbt_project_dir
    suffixes = {".sql", ".yml", ".yaml", ".md", ".csv"}
    files = [path for path in project.rglob("*") if path.suffix in suffixes and "target" not in path.parts]
    named = [(path.relative_to(project).as_posix(), path.read_text(encoding="utf-8")) for path in files]
    return digest_of([text for pair in sorted(named) for text in pair])


def run_dbt(
    settings: Settings,
    run: DayRun,
    command: str,
    variables: Mapping[str, Any],
    *,
    select: str | None = None,
    options: Sequence[str] = (),
) -> Outcome:
    """Run `build` or `run` in the run's build database, with data tests and without unit tests.

    `options` are further ones of dbt's command line. Raises ContractViolation that names each model or test that
    failed, with its message, its compiled SQL's path and up to five failing rows without personal data.
    """
    chosen = ["--select", *select.split()] if select else []
    tests = _LEFT_OUT if command == "build" else []
    with _environment(settings, run):
        fixed = {**variables, **_FIXED}
        manifest = _invoke(settings, run, "parse", fixed)
        _require_no_date(manifest)
        results = _invoke(settings, run, command, variables, *chosen, *tests, *options, manifest=manifest).results
    failed = [result for result in results if result.status in _FAILED]
    if failed:
        failures = [failure_of(settings, run, manifest, result) for result in failed]
        report_failed(settings, run, failures)
        raise ContractViolation([failure.problem for failure in failures])
    warnings = tuple(f"{r.node.name}: {r.failures} rows" for r in results if r.status == "warn")
    return Outcome(manifest, _seconds(results), warnings, _tests(results))


def generate_docs(settings: Settings, run: DayRun, target: Path) -> None:
    """Have dbt write its documentation of the run's build below `target`, as one page: `static_index.html`.

    Raises ContractViolation when dbt cannot.
    """
    places = ("--static", "--target-path", str(target))
    variables = dbt_variables(settings, run.as_of, [run.as_of])
    with _environment(settings, run):
        _invoke(settings, run, "docs generate", variables, *places, writes_json=True)


@contextmanager
def _environment(settings: Settings, run: DayRun) -> Iterator[None]:
    """The variables that profiles.yml reads; the database is closed behind dbt, which keeps it open."""
    wanted = {**dbt_environment(settings, run), "DO_NOT_TRACK": "1"}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        _close_database()
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def _close_database() -> None:
    from dbt.adapters.duckdb.connections import DuckDBConnectionManager

    environment = DuckDBConnectionManager._ENV  # dbt-duckdb has no public way to let go of the file
    if environment is not None:
        environment.close()
    DuckDBConnectionManager.close_all_connections()


def _invoke(
    settings: Settings,
    run: DayRun,
    command: str,
    variables: Mapping[str, Any],
    *options: str,
    manifest: Any = None,
    writes_json: bool = False,
) -> Any:
    from dbt.cli.main import dbtRunner

    state = settings.home / "dbt" / (build_name(settings, run) + ("-training" if variables.get("training") else ""))
    project = str(settings.dbt_project_dir)
    places = ["--project-dir", project, "--profiles-dir", project, "--target-path", str(state / "target")]
    given = ["--vars", json.dumps(dict(variables), sort_keys=True)]
    json_files = "--write-json" if writes_json else "--no-write-json"
    answer = dbtRunner(manifest=manifest).invoke(
        [*_QUIET, json_files, "--log-path", str(state / "logs"), *command.split(), *places, *given, *options]
    )
    if answer.exception is not None and not hasattr(answer.result, "results"):
        raise ContractViolation(
            Problem("dbt", masked(str(answer.exception)), "mend the dbt project")
        ) from answer.exception
    return answer.result


def _require_no_date(manifest: Any) -> None:
    dated = [node for node in manifest.nodes.values() if _PARSE_DATE in str(node.config)]
    if dated:
        problem = "its config holds the date, which is known only when it runs"
        fix = "use the variables as_of and as_of_dates in SQL alone"
        raise ContractViolation([Problem(node.original_file_path, f"{node.name}: {problem}", fix) for node in dated])


def _tests(results: Iterable[Any]) -> dict[str, int]:
    verdicts = [str(r.status) for r in results if str(r.node.resource_type) == "test"]
    return {"passed": verdicts.count("pass"), "warned": verdicts.count("warn")}


def _seconds(results: Iterable[Any]) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for result in results:
        name = result.node.name if str(result.node.resource_type) != "test" else "tests"
        seconds[name] = round(seconds.get(name, 0.0) + result.execution_time, 3)
    return seconds


def published_specs(manifest: Any) -> list[TableSpec]:
    """The tables to publish: every model in the schema `marts`, with its `meta: {published_by, date_column, key}`."""
    models = [n for n in manifest.nodes.values() if str(n.resource_type) == "model" and n.config.schema == "marts"]
    return [
        _spec(node) for node in sorted(models, key=lambda node: node.alias) if node.config.materialized != "ephemeral"
    ]


def _spec(node: Any) -> TableSpec:
    meta = {**(node.meta or {}), **(node.config.meta or {})}
    by_month = meta.get("published_by") == "month"
    if by_month and not meta.get("date_column"):
        raise ContractViolation(
            Problem(node.original_file_path, "published_by: month needs date_column", "name it in meta")
        )
    return TableSpec(
        name=node.alias,
        date_column=meta["date_column"] if by_month else None,
        key=tuple(meta.get("key") or ()),
        personal=tuple(personal_columns(node)),
        changed_days=meta.get("changed_days"),
        description=_sentence(node.description),
        comments={name: _sentence(column.description) for name, column in node.columns.items()},
    )


def _sentence(text: str) -> str:
    return " ".join(text.split())
