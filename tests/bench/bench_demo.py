"""`./perennial demo --exit` in a fresh clone with an empty HOME: the total, and where the time goes.

    .perennial/env/bin/python tests/bench/bench_demo.py             # about six minutes; installs into a temporary clone

What is cloned is HEAD. Bars: all of it under 6 minutes, landing to lists under 150 s, one more day under 45 s, on two
idle cores. Wall is reported; CPU is what is comparable on a shared machine. Prints Markdown.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from measuring import REPOSITORY, say, say_machine, say_table
from timeline import Line, Timeline, watch

_HISTORY, _ONE_MORE = "The lists of 2017-10-01", "The lists of 2017-10-02"
BARS = {"total": 360, "day one": 150, "one more day": 45}


def main() -> None:
    """Clone, run, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", type=Path, help="a folder for the clone that stays (default: a temporary one)")
    parser.add_argument("--log", type=Path, help="where the demo's own lines go, with wall and CPU seconds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.keep or Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(place / "clone")], check=True)
        (place / "home").mkdir()
        say_machine()
        env = {"HOME": str(place / "home"), "PATH": _path_without_ours()}
        told = watch(["./perennial", "demo", "--exit"], env, cwd=place / "clone")
    if arguments.log:
        lines = (f"{line.wall:7.1f} s {line.cpu:7.1f} CPU s  {line.text}" for line in told.lines)
        arguments.log.write_text("\n".join(lines) + "\n")
    report(told)


def _path_without_ours() -> str:
    """PATH as a newcomer has it: without this environment's own programs."""
    ours = str(Path(sys.executable).parent)
    return os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != ours)


def report(told: Timeline) -> None:
    """Phases, DAGs, processes."""
    start = Line(0.0, 0.0, "")
    installed = next((line for line in reversed(told.lines) if line.text.startswith("perennial: ")), start)
    landed, up = told.first("files landed in"), told.first("Airflow is up after")
    done, one_more, done_more = told.first(_HISTORY), told.first("One more day"), told.first(_ONE_MORE)
    phases = [
        ("installation", start, installed, ""),
        ("the shop's year is written into the landing zone (Airflow starts meanwhile)", installed, landed, ""),
        ("until Airflow is healthy, with our DAGs", landed, up, ""),
        ("then until the lists of day one", up, done, ""),
        ("**landing to lists, day one**", landed, done, BARS["day one"]),
        ("**one more day, landing to lists**", one_more, done_more, BARS["one more day"]),
        ("Airflow ends", done_more, Line(told.wall, told.cpu, ""), ""),
        ("**all of it**", start, Line(told.wall, told.cpu, ""), BARS["total"]),
    ]
    say("### `./perennial demo --exit` from a fresh clone\n")
    say_table(
        ("phase", "wall s", "CPU s", "bar, s"), [(n, b.wall - a.wall, b.cpu - a.cpu, bar) for n, a, b, bar in phases]
    )
    say_table(("installation, by the launcher's own steps", "wall s"), told.installed())
    first, second = told.tasks(0.0, done.wall + 0.5), told.tasks(done.wall + 0.5, told.wall)
    say_table(
        ("DAG, seconds of its tasks", "day one", "one more day"), [(d, s, second.get(d, 0.0)) for d, s in first.items()]
    )
    say_roles(told)


def say_roles(told: Timeline) -> None:
    """CPU by kind of process."""
    say("CPU seconds by kind of process, sampled (what ended between two samples is in the totals above only):\n")
    say_table(("processes", "CPU s"), sorted(told.roles.items(), key=lambda item: -item[1]))


if __name__ == "__main__":
    main()
