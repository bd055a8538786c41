"""Start Perennial on this host as docker-compose.yml says: .env with generated secrets, the image, the services.

What is set in .env is never changed; what is missing is added. Run it again after every change and every update. It
needs Docker and a Python, and none of Perennial's packages. `--check` changes nothing and says what is missing.
Exit code 0 when all services are healthy, 1 otherwise; with --check 0 when nothing is missing, 2 otherwise.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from perennial.commands import docker, output
from perennial.commands.env_file import SECRETS, complete_env, missing, read_env
from perennial.commands.findings import Finding
from perennial.core.errors import PermanentError, Problem

_ROOT = Path(__file__).resolve().parents[3]
_WRONG = 2
_VOLUME = "perennial_database"
_OF_THE_VOLUME = ("POSTGRES_PASSWORD", "AIRFLOW_FERNET_KEY")  # what is inside it is opened by these alone
_PORTS = {"PERENNIAL_PORT": ("8080", "api-server"), "PERENNIAL_DATABASE_PORT": ("5433", "database")}


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--check", action="store_true", help="say what is missing, and change nothing")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Check, or write .env and start."""
    if args.check:
        return _tell(list(look(_ROOT)), as_json=args.json)
    added = start(_ROOT)
    url = _url(read_env(_ROOT / ".env"))
    if args.json:
        output.print_json({"ok": True, "url": url, "user": "admin", "added": added})
    else:
        print(f"Airflow: {url}  user admin")
        print(f"Password: PERENNIAL_ADMIN_PASSWORD in {output.relative(_ROOT / '.env')}")
    return 0


def start(root: Path) -> list[str]:
    """Write .env and the folder of the state, then start all services; gives the names that were added to .env.

    Raises PermanentError when Docker is missing, when a database of an earlier start can no longer be opened, or when a
    service does not become healthy.
    """
    problems = list(docker.docker_problems())
    lost = [name for name in missing(root / ".env") if name in _OF_THE_VOLUME]
    if not problems and lost and docker.volume_exists(_VOLUME):
        found = f"Docker's volume {_VOLUME} was made with {' and '.join(lost)}, which .env no longer has"
        raise PermanentError(Problem(".env", found, "put .env back from its copy, or remove the volume with all data"))
    added = complete_env(root / ".env")
    _make_folder(root)
    if problems:
        raise PermanentError(problems)
    if docker.show(("compose", "up", "--detach", "--build", "--wait", "--remove-orphans"), root):
        fix = "see `docker compose ps --all` and `docker compose logs init`, then run this again"
        raise PermanentError(Problem("docker compose", "not all services are healthy", fix))
    return added


def look(root: Path) -> Iterator[Finding]:
    """What a start would need, each as an error or as ok."""
    problems = list(docker.docker_problems())
    yield from _findings("docker", problems, "engine and compose plugin are there")
    yield from _findings("env", list(_env_problems(root)), ".env has all that docker-compose.yml asks for")
    running = set() if problems else docker.running_services(root)
    yield from _findings("ports", list(_port_problems(root, running)), "the ports are free, or ours")
    yield from _check_config(root)


def _env_problems(root: Path) -> Iterator[Problem]:
    path = root / ".env"
    fix = "run ./perennial up"
    if not path.exists():
        yield Problem(".env", "the file is not there", fix)
        return
    yield from (Problem(".env", f"{name} is not set", fix) for name in missing(path))
    if path.stat().st_mode & 0o077:
        yield Problem(".env", "others can read it", "chmod 600 .env")
    known = read_env(path)
    for name in SECRETS:
        if known.get(name) and not known[name].replace("-", "").replace("_", "").rstrip("=").isalnum():
            yield Problem(".env", f"{name} has characters that a URL does not take", "use letters, digits, - and _")
    data = root / known.get("PERENNIAL_DATA", "")
    if known.get("PERENNIAL_DATA") and not data.is_dir():
        yield Problem(".env", f"PERENNIAL_DATA: there is no folder {data}", fix)


def _port_problems(root: Path, running: set[str]) -> Iterator[Problem]:
    known = read_env(root / ".env")
    for name, (default, service) in _PORTS.items():
        port = known.get(name) or default
        if service in running:
            continue
        if not port.isdecimal():
            yield Problem(".env", f"{name} is no port: {port}", "use a number")
        elif _is_taken(int(port)):
            yield Problem(f"127.0.0.1:{port}", "another program listens there", f"set {name} in .env to a free port")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return True
    return False


def _check_config(root: Path) -> Iterator[Finding]:
    """By the command `check`, in the environment of this checkout if it has one; else the service `init` does it."""
    python = root / ".perennial" / "env" / "bin" / "python"
    if not python.exists():
        yield Finding("ok", "config", "config", "the service init looks at it before anything starts")
        return
    folder = (root / (read_env(root / ".env").get("PERENNIAL_CONFIG") or "config")).resolve()
    environment = {**os.environ, "PERENNIAL_CONFIG": str(folder), "PYTHONPATH": str(root / "plugins")}
    command = [str(python), "-P", "-m", "perennial", "check", "--only", "config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603
    wrong = [line for line in (done.stdout + done.stderr).splitlines() if not line.startswith("ok ")]
    if not done.returncode:
        yield Finding("ok", "config", str(folder), "the files are right")
    yield from (Finding("error", "config", str(folder), line) for line in wrong if done.returncode)


def _findings(part: str, problems: list[Problem], well: str) -> Iterator[Finding]:
    yield from (Finding("error", part, p.where, p.message, p.fix) for p in problems)
    if not problems:
        yield Finding("ok", part, part, well)


def _tell(found: list[Finding], *, as_json: bool) -> int:
    wrong = [finding for finding in found if finding.level == "error"]
    if as_json:
        output.print_json({"ok": not wrong, "findings": found})
    else:
        for finding in found:
            fix = f" -> {finding.fix}" if finding.fix else ""
            print(f"{finding.level:7}  {finding.where}: {finding.message}{fix}")
    return _WRONG if wrong else 0


def _make_folder(root: Path) -> None:
    """The folder of the state, for its owner alone; root gives a new one to the user of the containers."""
    known = read_env(root / ".env")
    folder = root / known["PERENNIAL_DATA"]
    if folder.exists():
        return
    folder.mkdir(parents=True, mode=0o700)
    if os.getuid() == 0:
        os.chown(folder, int(known["PERENNIAL_UID"]), 0)


def _url(known: dict[str, str]) -> str:
    return known.get("PERENNIAL_URL") or f"http://localhost:{known.get('PERENNIAL_PORT') or '8080'}"
