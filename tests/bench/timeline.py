"""A demo that is watched: each line that it prints, with wall and CPU seconds of its whole process tree so far.

The CPU is the kernel's count: for every process of the tree its own seconds and those of the children that it has
waited for. What a process used is so counted while it runs, and by its parent after it has ended.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.5
_TASK = re.compile(r"(\w+) / (\w+): (\w+) in ([\d.]+) s")
_INSTALL = re.compile(r"perennial: (.+): (\d+) s$")


@dataclass(frozen=True)
class Line:
    """One line that the demo printed; `wall` and `cpu` are seconds since its start."""

    wall: float
    cpu: float
    text: str


@dataclass
class Timeline:
    """All lines, the total, and CPU seconds by role of the processes (sampled; what ends between samples is missed)."""

    lines: list[Line] = field(default_factory=list)
    wall: float = 0.0
    cpu: float = 0.0
    roles: dict[str, float] = field(default_factory=dict)

    def first(self, text: str) -> Line:
        """The first line with the text."""
        found = next((line for line in self.lines if text in line.text), None)
        if found is None:
            raise SystemExit(f"the demo never said {text!r}:\n" + "\n".join(line.text for line in self.lines))
        return found

    def tasks(self, after: float, until: float) -> dict[str, float]:
        """Wall seconds of the tasks by DAG, told between two moments."""
        seconds: dict[str, float] = defaultdict(float)
        for line in self.lines:
            found = _TASK.search(line.text)
            if found and after < line.wall <= until:
                seconds[found[1]] += float(found[4])
        return dict(seconds)

    def installed(self) -> list[tuple[str, int]]:
        """The steps of the launcher with their wall seconds."""
        return [(m[1], int(m[2])) for line in self.lines if (m := _INSTALL.search(line.text))]


def watch(command: Sequence[str], env: Mapping[str, str], *, cwd: Path) -> Timeline:
    """Run the demo to its end."""
    told = Timeline()
    started = time.monotonic()
    process = subprocess.Popen(
        command, env=dict(env), cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    own: dict[tuple[int, float], tuple[str, float]] = {}
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(_SAMPLE_SECONDS):
            _tree_cpu(process.pid, own)

    sampler = threading.Thread(target=sample)
    sampler.start()
    for text in process.stdout or ():
        told.lines.append(Line(time.monotonic() - started, _tree_cpu(process.pid, own), text.rstrip()))
    ended.set()
    sampler.join()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    told.wall, told.cpu = time.monotonic() - started, used.ru_utime + used.ru_stime
    for role, seconds in list(own.values()):
        told.roles[role] = told.roles.get(role, 0.0) + seconds
    if process.returncode:
        raise SystemExit(f"the demo ended with {process.returncode}:\n" + "\n".join(x.text for x in told.lines))
    return told


def _tree_cpu(root: int, own: dict[tuple[int, float], tuple[str, float]]) -> float:
    total = 0.0
    try:
        tree = [psutil.Process(root), *psutil.Process(root).children(recursive=True)]
    except psutil.Error:
        return total
    for process in tree:
        try:
            with process.oneshot():
                used, key = process.cpu_times(), (process.pid, process.create_time())
                role = _role(process) or own.get(key, ("others", 0.0))[0]  # one that has ended has no command line
                own[key] = (role, used.user + used.system)
        except psutil.Error:
            continue
        total += used.user + used.system + used.children_user + used.children_system
    return total


def _role(process: psutil.Process) -> str:
    """What a process of the demo does, by its command line."""
    try:
        command = " ".join(process.cmdline())
    except psutil.Error:
        command = ""
    for mark, role in _ROLES.items():
        if mark in command:
            return role
    return "others" if command else ""


# In this order: Airflow's processes say in their title what they are; a task runs in "airflow worker -- <its id>".
_ROLES = {
    "airflow worker -- LocalExecutor": "workers: supervisors of tasks",
    "airflow worker": "tasks",
    "serve-logs": "log servers",
    "dag-processor": "DAG processor",
    "triggerer": "triggerer",
    "api_server": "API server",
    "api-server": "API server",
    "scheduler": "scheduler",
    "standalone": "airflow standalone",
    "uv pip": "installation",
    "-m venv": "installation",
    "-m pip": "installation",
    "ensurepip": "installation",
    "-m perennial": "the demo's terminal and landing",
    "perennial demo": "installation",
}
