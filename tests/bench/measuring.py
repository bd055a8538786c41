"""What the programs here share: CPU seconds of fresh processes, interleaved rounds, medians, Markdown tables."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON = sys.executable


@dataclass(frozen=True)
class Cost:
    """Seconds of a process and of all that it started and waited for; `said` is its standard output."""

    cpu: float
    wall: float
    said: str = ""

    def data(self) -> Any:
        """The last line of its output, which is JSON."""
        return json.loads(self.said.strip().splitlines()[-1])


def environment(home: Path | None = None, **more: str) -> dict[str, str]:
    """The environment of a measured process: this tree's package, a home of its own."""
    ours = {"PYTHONPATH": str(REPOSITORY / "plugins"), "DO_NOT_TRACK": "1"}
    if home is not None:
        ours["PERENNIAL_HOME"] = str(home)
    return {**os.environ, **ours, **more}


def cost_of(command: Sequence[str], env: Mapping[str, str], *, cwd: Path | None = None) -> Cost:
    """Run a fresh process to its end; its CPU is the kernel's count (wait4), children included."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=dict(env), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    said = process.stdout.read() if process.stdout else ""
    _, status, used = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Cost(used.ru_utime + used.ru_stime, wall, said)


def perennial(home: Path, *arguments: str) -> Cost:
    """One command of the CLI in a fresh process."""
    return cost_of([PYTHON, "-P", "-m", "perennial", *arguments], environment(home))


def interleaved(cases: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Every case once in each round, so that all cases see the same machine."""
    found: dict[str, list[Cost]] = {name: [] for name in cases}
    for _ in range(rounds):
        for name, case in cases.items():
            found[name].append(case())
    return found


def median(values: Iterable[float]) -> float:
    """The middle one."""
    return statistics.median(values)


def cpu(costs: Iterable[Cost]) -> float:
    """The median of the CPU seconds."""
    return median(cost.cpu for cost in costs)


def wall(costs: Iterable[Cost]) -> float:
    """The median of the wall seconds."""
    return median(cost.wall for cost in costs)


def say(text: str = "") -> None:
    """One line of the report."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A Markdown table: the first column is text, figures are right-aligned."""
    say("| " + " | ".join(header) + " |")
    say("|---|" + "---:|" * (len(header) - 1))
    for row in rows:
        say("| " + " | ".join(_shown(value) for value in row) + " |")
    say()


def _shown(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def say_machine(rounds: int | None = None) -> None:
    """Where and under which load it was measured."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    taken = f"; medians of {rounds} interleaved rounds of fresh processes" if rounds else ""
    say(f"{os.cpu_count()} cores, Python {sys.version.split()[0]}, load before {load}{taken}.\n")
