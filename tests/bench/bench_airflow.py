"""G21, the day by Airflow against the same day by the CLI; G22, reading a DAG file; G23, the CLI's start.

    .perennial/env/bin/python tests/bench/bench_airflow.py             # G22 and G23, three rounds, about two minutes
    .perennial/env/bin/python tests/bench/bench_airflow.py --days      # and G21: one demo, one CLI run, four more minutes

G21 is measured on the demo shop (2,469 households, 1.1M lines); its bar is for a million clients, where the work
outweighs what Airflow costs by itself. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path

from bench_demo import say_roles
from measuring import (
    PYTHON,
    REPOSITORY,
    Cost,
    cost_of,
    cpu,
    environment,
    interleaved,
    perennial,
    say,
    say_machine,
    say_table,
    wall,
)
from timeline import Line, watch

HEAVY = ("pandas", "duckdb", "sklearn", "dbt", "great_expectations", "pyarrow", "numpy")
_READ = "import runpy, sys, json; runpy.run_path(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
_BASE = "import airflow.sdk"
_SETTLED_SECONDS = 3


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--days", action="store_true", help="also G21")
    parser.add_argument("--only-days", action="store_true", help="G21 alone")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        say_machine(arguments.rounds)
        if not arguments.only_days:
            report_parsing(Path(folder), arguments.rounds)
            report_cli(Path(folder), arguments.rounds)
        if arguments.days or arguments.only_days:
            report_days(Path(folder))


def report_parsing(folder: Path, rounds: int) -> None:
    """G22: each DAG file in a fresh process, against a process that imports airflow.sdk."""
    env = environment(folder / "home", AIRFLOW_HOME=str(folder / "airflow"), AIRFLOW__CORE__LOAD_EXAMPLES="False")
    cost_of([PYTHON, "-c", _BASE], env)  # Airflow writes its configuration once
    files = sorted((REPOSITORY / "dags").glob("*.py"))
    cases = {_BASE: partial(cost_of, [PYTHON, "-c", _BASE], env)}
    cases |= {file.name: partial(cost_of, [PYTHON, "-c", _READ, str(file)], env) for file in files}
    found = interleaved(cases, rounds)
    baseline = cpu(found[_BASE])
    rows = [(name, cpu(costs), cpu(costs) / baseline, _heavy(name, costs)) for name, costs in found.items()]
    say("### G22: reading a DAG file (must: <= 1.2x `import airflow.sdk`; no pandas, duckdb, sklearn, dbt)\n")
    say_table(("fresh process", "CPU s", "ratio", "of " + ", ".join(HEAVY)), rows)


def _heavy(name: str, costs: list[Cost]) -> str:
    if name == _BASE:
        return ""
    modules = set(json.loads(costs[0].said.strip().splitlines()[-1]))
    return ", ".join(sorted(modules & set(HEAVY))) or "none"


def report_cli(folder: Path, rounds: int) -> None:
    """G23: the CLI's start, against Python's own."""
    cases = {
        "`python -c pass`": partial(cost_of, [PYTHON, "-c", "pass"], environment()),
        "`perennial --help`": partial(perennial, folder / "home", "--help"),
        "`perennial run --help`": partial(perennial, folder / "home", "run", "--help"),
        "`perennial demo --help`": partial(perennial, folder / "home", "demo", "--help"),
        "`perennial sql --help`": partial(perennial, folder / "home", "sql", "--help"),
    }
    found = interleaved(cases, rounds)
    say("### G23: the CLI's start (must: `--help` <= 0.3 CPU s)\n")
    say_table(("fresh process", "CPU s", "wall s"), [(n, cpu(costs), wall(costs)) for n, costs in found.items()])


def report_days(folder: Path) -> None:
    """G21: two days by the CLI, the same two by Airflow."""
    by_cli = _days_by_cli(folder / "cli")
    told = watch([PYTHON, "-P", "-m", "perennial", "demo", "--exit"], environment(folder / "demo"), cwd=REPOSITORY)
    landed, up = told.first("files landed in"), told.first("Airflow is up after")
    done, one_more, ended = (told.first(f) for f in ("lists of 2017-10-01", "One more day", "lists of 2017-10-02"))
    rows = []
    spans = {"2017-10-01": (landed, done), "2017-10-02": (one_more, ended)}
    for (day, (begin, end)), cost in zip(spans.items(), by_cli, strict=True):
        rows += [(f"{day} by CLI (`perennial run`)", cost.wall, cost.cpu, "", "")]
        wall_, used = end.wall - begin.wall, end.cpu - begin.cpu
        rows += [(f"{day} by Airflow, landing to lists", wall_, used, wall_ / cost.wall, used / cost.cpu)]
    rows += [("Airflow's start to healthy, with the landing of the year", up.wall, up.cpu, "", "")]
    total = Line(told.wall, told.cpu, "")
    rows += [("all of `perennial demo --exit`", total.wall, total.cpu, "", "")]
    say("### G21: the day by Airflow against the same by CLI (must: <= 3x wall at 1M clients; this is the demo shop)\n")
    say_table(("what", "wall s", "CPU s", "wall ratio", "CPU ratio"), rows)
    first, second = told.tasks(0.0, done.wall + 0.5), told.tasks(done.wall + 0.5, told.wall)
    say_table(
        ("DAG, seconds of its tasks", "day one", "one more day"), [(d, s, second.get(d, 0.0)) for d, s in first.items()]
    )
    say_roles(told)


def _days_by_cli(home: Path) -> list[Cost]:
    costs = []
    for arguments in (("--until", "2017-10-01"), ("--day", "2017-10-02")):
        perennial(home, "land", *arguments)
        time.sleep(_SETTLED_SECONDS)
        costs.append(perennial(home, "run"))
    return costs


if __name__ == "__main__":
    main()
