"""G20, a day with nothing new, against one `dbt run` of 30 trivial models; and landing to raw against DuckDB (G24).

    .perennial/env/bin/python tests/bench/bench_day.py              # three rounds, about six minutes
    .perennial/env/bin/python tests/bench/bench_day.py --rounds 1

The home is the demo shop's on 2017-10-01, done (1.1M lines). "No sale lines" is the next day with a sales file that
has a header only and the CRM's full export (every household, demographics, consents, campaigns, contacts and
redemptions once more). What is counted of dbt and of processes is counted while that day runs. Prints Markdown.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

from measuring import (
    PYTHON,
    REPOSITORY,
    Cost,
    cost_of,
    cpu,
    environment,
    interleaved,
    median,
    perennial,
    say,
    say_machine,
    say_table,
    wall,
)

TODAY, NEXT_DAY = date(2017, 10, 1), date(2017, 10, 2)
DBT_MODELS = 30
_SETTLED_SECONDS = 3
_SALES_HEADER = "basket_id,household_id,product_id,sold_at,quantity,sales_value,discount,store_id\n"


def main() -> None:
    """Prepare once, measure in rounds, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-landing", action="store_true", help="G20 alone")
    parser.add_argument("--inside", choices=sorted(INSIDE), help="used by this program itself, in a fresh process")
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(INSIDE[arguments.inside]()))  # noqa: T201 - read by the process above
        return
    with tempfile.TemporaryDirectory() as folder:
        report(Path(folder), arguments.rounds, landing=not arguments.no_landing)


def report(folder: Path, rounds: int, *, landing: bool) -> None:
    """All tables."""
    say_machine(rounds)
    landed, done, next_day = _prepared(folder)
    _write_dbt_project(folder / "dbt")
    cases = {
        "dbt": lambda: _dbt(folder / "dbt"),
        "nothing": lambda: _on_copy(done, folder / "work", None),
        "landed": lambda: _on_copy(next_day, folder / "work", None),
        "inside": lambda: _on_copy(next_day, folder / "work", "day"),
    }
    of_landing = {
        "import": lambda: _inside("import_gx", done),
        "with gate": lambda: _on_copy(landed, folder / "work", "ingest"),
        "without gate": lambda: _on_copy(landed, folder / "work", "ingest_without_gate"),
        "duckdb": lambda: _inside("duckdb", landed),
        "duckdb guesses": lambda: _inside("duckdb_guesses", landed),
    }
    found = interleaved(cases | of_landing if landing else cases, rounds)
    _say_days(found)
    _say_parts(found["inside"])
    _say_counts(found["inside"][0].data())
    _say_tasks(folder)
    if landing:
        _say_landing(found)


def _prepared(folder: Path) -> tuple[Path, Path, Path]:
    """Homes: history landed; its day done; the next day landed with no sale line and the CRM's full export."""
    landed, done, next_day, full = (folder / name for name in ("landed", "done", "next_day", "full"))
    work = folder / "work"  # all of it happens here: dbt parses its project anew for a database at another place
    perennial(work, "land", "--until", TODAY.isoformat())
    time.sleep(_SETTLED_SECONDS)
    shutil.copytree(work, landed)
    perennial(work, "run")
    shutil.copytree(work, done)
    shutil.copytree(work, next_day)
    perennial(full, "land", "--until", NEXT_DAY.isoformat())
    crm = next_day / "landing" / "crm"
    crm.mkdir(parents=True, exist_ok=True)
    for file in (full / "landing" / "crm").glob(f"*_{NEXT_DAY}.csv"):
        shutil.copy(file, crm)
    shutil.rmtree(full)
    shop = next_day / "landing" / "shop"
    shop.mkdir(parents=True, exist_ok=True)
    (shop / f"sales_{NEXT_DAY}.csv.gz").write_bytes(gzip.compress(_SALES_HEADER.encode()))
    time.sleep(_SETTLED_SECONDS)
    return landed, done, next_day


def _on_copy(home: Path, work: Path, inside: str | None) -> Cost:
    """A command on a copy of a home; copying is not measured. Without a name: `perennial run` itself."""
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(home, work)
    return _inside(inside, work) if inside else perennial(work, "run")


def _inside(name: str, home: Path) -> Cost:
    return cost_of([PYTHON, __file__, "--inside", name], environment(home))


def _write_dbt_project(folder: Path) -> None:
    """30 tables that select from each other, each with two tests that `dbt run` does not run: as bench/f_dbt_gen.py."""
    models = folder / "models"
    models.mkdir(parents=True)
    flags = "flags:\n  send_anonymous_usage_stats: false\n"
    project = "name: bench\nversion: '1.0'\nprofile: bench\nmodel-paths: [models]\n"
    (folder / "dbt_project.yml").write_text(project + "models:\n  bench:\n    +materialized: table\n" + flags)
    output = f"      type: duckdb\n      path: {folder}/b.duckdb\n      threads: 2\n"
    (folder / "profiles.yml").write_text("bench:\n  target: d\n  outputs:\n    d:\n" + output)
    schema = ["version: 2", "models:"]
    for number in range(DBT_MODELS):
        parent = f"{{{{ ref('m{max(0, (number - 1) // 2):03d}') }}}}"
        sql = f"select id, v + 1 as v from {parent}" if number else "select 1 as id, 1 as v"
        (models / f"m{number:03d}.sql").write_text(sql)
        tests = "        data_tests: [unique, not_null]"
        schema += [f"  - name: m{number:03d}", "    columns:", "      - name: id", tests]
    (models / "schema.yml").write_text("\n".join(schema))


def _dbt(folder: Path) -> Cost:
    command = [PYTHON, "-c", "from dbt.cli.main import cli; cli()", "--quiet", "run"]
    places = ["--project-dir", str(folder), "--profiles-dir", str(folder)]
    return cost_of([*command, *places], environment(), cwd=folder)


# ---- inside a fresh process ----


def _clock() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def inside_day() -> dict[str, Any]:
    """The next day, step by step: CPU seconds of each, invocations of dbt and processes that were started."""
    started: list[str] = []
    events = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"}

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event in events:
            started.append(f"{event} {arguments[0] if arguments else ''}")

    sys.addaudithook(hear)
    seconds: dict[str, float] = {"Python and our package": _clock()}

    now = [""]

    def timed(name: str, work: Any) -> Any:
        begun, now[0] = _clock(), name
        value = work()
        seconds[name] = seconds.get(name, 0.0) + _clock() - begun
        return value

    sys.path.insert(0, str(REPOSITORY / "plugins"))
    settings = timed("Python and our package", _settings)
    timed("import great-expectations", inside_import_gx)
    from perennial.pipeline import day, ingest

    timed("ingest", lambda: ingest.ingest(settings))
    invoked = timed("import dbt", lambda: _counted_dbt(now))
    run = timed("open the day", lambda: day.open_day(settings))
    notes: list[str] = []
    for name, step in day.day_steps():
        if name == "train":
            timed("import scikit-learn", _import_sklearn)
        report = timed(name, lambda step=step: step(settings, run))
        notes += report.notes if name == "train" else ()
    from perennial.pipeline.export import export

    timed("export", lambda: export(settings, run))
    for command, used in invoked["seconds"].items():
        seconds[f"(of these: {command})"] = used
    calls = dict(invoked["calls"])
    return {"seconds": seconds, "dbt": calls, "processes": started, "notes": notes, "as_of": str(run.as_of)}


def _settings() -> Any:
    from perennial.core.settings import load_settings

    return load_settings()


def _import_sklearn() -> None:
    import perennial.scoring.training  # noqa: F401


def _counted_dbt(now: list[str]) -> dict[str, Any]:
    """dbt's own entry, with a counter before it; `now` holds the step that goes on."""
    from dbt.cli.main import dbtRunner

    counted: dict[str, Any] = {"calls": Counter(), "seconds": Counter()}
    invoke = dbtRunner.invoke

    def counting(self: Any, args: list[str], **more: Any) -> Any:
        command = next(arg for arg in args if arg in {"parse", "build", "run", "test"})
        counted["calls"][f"{command}` in {now[0]}"] += 1
        begun = _clock()
        answer = invoke(self, args, **more)
        counted["seconds"][f"dbt {command} in {now[0]}"] += _clock() - begun
        return answer

    dbtRunner.invoke = counting
    return counted


def inside_import_gx() -> dict[str, float]:
    """What ingestion imports of great-expectations."""
    begun = _clock()
    import great_expectations
    import great_expectations.expectations  # noqa: F401

    return {"import": _clock() - begun}


def inside_ingest() -> dict[str, float]:
    """Landing to raw, all sources, with the gate."""
    settings = _settings()
    from perennial.pipeline.ingest import ingest

    begun = _clock()
    reports = ingest(settings, "shop")
    return {"cpu": _clock() - begun, "rows": sum(report.loaded for report in reports)}


def inside_ingest_without_gate() -> dict[str, float]:
    """The same, where great-expectations is not asked."""
    from perennial.quality.gate import Gate, Verdict

    Gate.judge = lambda *_args, **_names: Verdict(refused=False)  # type: ignore[method-assign]
    return inside_ingest()


def inside_duckdb() -> dict[str, float]:
    """DuckDB's own CSV to Parquet of the same files: the columns are told, rows are not checked."""
    sales = {
        **dict.fromkeys(("basket_id", "household_id", "product_id", "store_id"), "varchar"),
        "sold_at": "timestamp",
        "quantity": "decimal(18,3)",
        "sales_value": "decimal(18,4)",
        "discount": "decimal(18,4)",
    }
    sales = {name: sales[name] for name in _SALES_HEADER.strip().split(",")}
    return _copied(f", auto_detect = false, delim = ',', quote = '\"', columns = {sales}", ", all_varchar = true")


def inside_duckdb_guesses() -> dict[str, float]:
    """The same with nothing told: DuckDB looks at every file first."""
    return _copied("", "")


def _copied(of_sales: str, of_products: str) -> dict[str, float]:
    import duckdb

    begun = _clock()
    landing = Path(os.environ["PERENNIAL_HOME"]) / "landing" / "shop"
    rows = 0
    with tempfile.TemporaryDirectory() as out, duckdb.connect() as connection:
        for kind, told in (("sales", of_sales), ("products", of_products)):
            scan = f"read_csv('{landing}/{kind}_*.csv.gz', header = true{told})"
            copied = connection.execute(f"copy (select * from {scan}) to '{out}/{kind}.parquet' (compression zstd)")
            rows += copied.fetchone()[0]
    return {"cpu": _clock() - begun, "rows": rows}


def inside_tasks() -> dict[str, Any]:
    """Tasks by DAG, and which files of config/ or of the dbt project are opened while the DAG files are read."""
    from airflow.dag_processing.dagbag import DagBag

    opened: list[str] = []
    watched = (str(REPOSITORY / "dbt_project"), os.environ["PERENNIAL_CONFIG"])

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(watched):
            opened.append(str(arguments[0]))

    sys.addaudithook(hear)
    bag = DagBag(dag_folder=str(REPOSITORY / "dags"))
    return {"tasks": {name: len(dag.tasks) for name, dag in sorted(bag.dags.items())}, "opened": opened}


INSIDE = {
    "day": inside_day,
    "import_gx": inside_import_gx,
    "ingest": inside_ingest,
    "ingest_without_gate": inside_ingest_without_gate,
    "duckdb": inside_duckdb,
    "duckdb_guesses": inside_duckdb_guesses,
    "tasks": inside_tasks,
}


# ---- what is printed ----


def _say_days(found: dict[str, list[Cost]]) -> None:
    baseline = cpu(found["dbt"])
    say("### G20: a day with nothing new (must: <= 2x one `dbt run` of 30 trivial models)\n")
    dbt_part = median(_dbt_seconds(cost) for cost in found["inside"])
    rows = [
        ("one `dbt run` of 30 trivial models, a process of its own", baseline, wall(found["dbt"]), 1.0),
        ("`perennial run`, nothing has landed", cpu(found["nothing"]), wall(found["nothing"]), None),
        ("the next day, no sale lines, full CRM export: dbt's part (import, parse, build)", dbt_part, "", None),
        ("the same: all of `perennial run`", cpu(found["landed"]), wall(found["landed"]), None),
    ]
    say_table(
        ("what", "CPU s", "wall s", "ratio"),
        [(n, c, w, r if r is not None else f"{c / baseline:.2f}") for n, c, w, r in rows],
    )


def _dbt_seconds(cost: Cost) -> float:
    seconds = cost.data()["seconds"]
    return float(seconds["import dbt"] + sum(used for name, used in seconds.items() if name.endswith("in build)")))


def _say_parts(costs: list[Cost]) -> None:
    say("Where its CPU goes, step by step in one process (imports that a step makes first are told apart):\n")
    names = costs[0].data()["seconds"]
    say_table(("part", "CPU s"), [(n, median(cost.data()["seconds"].get(n, 0.0) for cost in costs)) for n in names])


def _say_counts(data: dict[str, Any]) -> None:
    calls = ", ".join(f"{count} `dbt {command}" for command, count in data["dbt"].items())
    started = ", ".join(line.split()[-1] for line in data["processes"]) or "none"
    say(f"Counted on {data['as_of']}: {calls}, all in the one process; processes that it started: {started}.")
    say(f"Training: {'; '.join(data['notes'])}.\n")


def _say_tasks(folder: Path) -> None:
    """Tasks by DAG with the configuration as it is, and with ten times its campaigns and segments."""
    config = folder / "config"
    shutil.copytree(REPOSITORY / "config", config)
    for card in list((config / "campaigns").glob("*.yml")):
        for copy in range(9):
            text = card.read_text().replace(card.stem, f"{card.stem}_{copy}")
            (config / "campaigns" / f"{card.stem}_{copy}.yml").write_text(text)
    airflow = {"AIRFLOW_HOME": str(folder / "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"}
    rows = []
    for name, where in (("config/", REPOSITORY / "config"), ("ten times the campaigns", config)):
        given = environment(folder / "none", PERENNIAL_CONFIG=str(where), **airflow)
        data = cost_of([PYTHON, __file__, "--inside", "tasks"], given).data()
        tasks = ", ".join(f"{dag} {count}" for dag, count in data["tasks"].items())
        rows.append((name, sum(data["tasks"].values()), len(data["opened"]), tasks))
    say("Airflow tasks, counted in the DAG files (models, segments and campaigns are no tasks):\n")
    say_table(("configuration", "tasks", "files of config/ or dbt_project/ opened", "by DAG"), rows)


def _say_landing(found: dict[str, list[Cost]]) -> None:
    say("### G24, at the demo's size: landing to checked raw (bars are for 8.6M lines: <= 1.5x without, <= 2x with)\n")
    given, rows = cpu(found["import"]), found["duckdb"][0].data()["rows"]
    baseline, guessing = cpu(found["duckdb"]), cpu(found["duckdb guesses"])
    table = [
        (f"DuckDB: 275 gzip CSV to Parquet, {rows:,} lines, columns told", baseline, wall(found["duckdb"]), 1.0),
        (
            "DuckDB, nothing told: it looks at each file first",
            guessing,
            wall(found["duckdb guesses"]),
            guessing / baseline,
        ),
    ]
    for name in ("without gate", "with gate"):
        loaded = found[name][0].data()["rows"]
        label = f"ingest {name}, {loaded:,} rows loaded"
        table.append((label, cpu(found[name]), wall(found[name]), cpu(found[name]) / baseline))
    rest = cpu(found["with gate"]) - given
    table.append(("ingest with gate, less a process that imports great-expectations", rest, "", rest / baseline))
    say_table(("what", "CPU s", "wall s", "ratio"), table)


if __name__ == "__main__":
    main()
