"""What `perennial up` asks of Docker, by its command. Standard library only."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from perennial.core.errors import Problem

LEAST_COMPOSE = (2, 24)
_PATIENCE_SECONDS = 60
_INSTALL = "install Docker Engine with its compose plugin (docs.docker.com/engine/install), then run this again"


def docker_problems() -> Iterator[Problem]:
    """What is missing of Docker: the command, its compose plugin, a running engine that lets us in."""
    if shutil.which("docker") is None:
        yield Problem("docker", "the command is not installed", _INSTALL)
        return
    least = ".".join(map(str, LEAST_COMPOSE))
    plugin = ask("compose", "version", "--short")
    version = re.match(r"v?(\d+)\.(\d+)", plugin.stdout.strip())
    if plugin.returncode or version is None:
        yield Problem("docker compose", "the plugin is not installed", _INSTALL)
    elif (int(version[1]), int(version[2])) < LEAST_COMPOSE:
        yield Problem("docker compose", f"its version is {plugin.stdout.strip()}", f"install {least} or newer")
    engine = ask("version", "--format", "{{.Server.Version}}")
    if engine.returncode:
        said = (engine.stderr.strip().splitlines() or ["no answer"])[-1]
        yield Problem("docker engine", said, "start it, or join the group docker to be let in")


def ask(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """What a docker command says; an answer that never comes is a failure with that message."""
    command = ["docker", *arguments]
    try:
        return subprocess.run(  # noqa: S603 - the outside tool, with words of ours
            command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"docker gave no answer in {_PATIENCE_SECONDS} s")


def show(arguments: Sequence[str], folder: Path) -> int:
    """Run a docker command in the folder, its output to the screen; gives its exit code."""
    return subprocess.run(["docker", *arguments], cwd=folder, check=False).returncode  # noqa: S603, S607


def volume_exists(name: str) -> bool:
    """Whether Docker keeps a volume of this name."""
    return ask("volume", "inspect", name).returncode == 0


def running_services(folder: Path) -> set[str]:
    """The services of the folder's compose file that run now."""
    answer = ask("compose", "ps", "--services", "--status", "running", folder=folder)
    return set(answer.stdout.split()) if answer.returncode == 0 else set()
