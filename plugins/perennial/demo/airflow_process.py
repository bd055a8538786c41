"""Airflow as one process tree below the demo: its settings, its start, its end, and what a killed demo left behind."""

from __future__ import annotations

import base64
import ctypes
import json
import os
import secrets
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil

from perennial.core.settings import REPOSITORY, Settings
from perennial.demo.ports import Ports
from perennial.demo.running import HOME_MARK, demo_processes, write_session

FIRST_PORT = 8080
_FIRST_LOG_PORT = 8793
USER = "admin"
_PARALLEL_TASKS = 4
_STOP_SECONDS = 30
_PR_SET_PDEATHSIG = 1
_SECRET_BYTES = {"fernet_key": 32, "jwt_secret": 64}


class AirflowProcess:
    """`airflow standalone` (scheduler, DAG processor, triggerer, API server) with its state below the home folder."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.home = settings.home / "airflow"
        self.log_path = settings.home / "logs" / "airflow.log"
        self.password_path = self.home / "passwords.json"
        self.port = 0
        self.started_at = datetime.now(UTC)
        self._log_ports = (_FIRST_LOG_PORT, _FIRST_LOG_PORT + 1)
        self._ports = Ports()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where the UI and the API answer."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def password(self) -> str:
        """The password of `USER`: made once, kept in a file with mode 600."""
        if not self.password_path.exists():
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(self.password_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as file:
                json.dump({USER: secrets.token_urlsafe(12)}, file)
        return str(json.loads(self.password_path.read_text())[USER])

    def _secret_command(self, name: str) -> str:
        """A command that prints a secret of Airflow's, made once and kept in a file with mode 600 (L22)."""
        path = self.home / name
        if not path.exists():
            self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(base64.urlsafe_b64encode(os.urandom(_SECRET_BYTES[name])))
        return shlex.join(("cat", str(path)))

    def start(self) -> None:
        """Start it, after ending what an earlier demo of this home left running."""
        self.end_leftovers()
        self.port = self._ports.reserve(FIRST_PORT)
        self._log_ports = (self._ports.reserve(_FIRST_LOG_PORT), self._ports.reserve(_FIRST_LOG_PORT))
        self.started_at = datetime.now(UTC)
        _ = self.password  # made before Airflow looks for the file
        self.log_path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "airflow", "standalone"],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - no thread runs when the demo starts Airflow
            )
        write_session(self.settings.home, self._process.pid)

    def running(self) -> bool:
        """Whether the process that we started is alive."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Ask it to end, wait, and end what lingers."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            try:
                self._process.wait(timeout=_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self.end_leftovers()
        self._ports.release()

    def end_leftovers(self) -> int:
        """End every process that carries this home's mark, as after a SIGKILL of the demo; gives how many."""
        others = (pid for pid in demo_processes(self.settings.home) if pid != os.getpid())
        found = [process for process in map(_alive, others) if process is not None]
        for process in found:
            _quietly(process.terminate)
        _gone, alive = psutil.wait_procs(found, timeout=5)
        for process in alive:
            _quietly(process.kill)
        psutil.wait_procs(alive, timeout=5)
        return len(found)

    def environment(self) -> dict[str, str]:
        """The environment of every Airflow process: the same variables that a server would set."""
        home = self.home
        path = os.pathsep.join(p for p in (str(REPOSITORY / "plugins"), os.environ.get("PYTHONPATH", "")) if p)
        ours = {
            HOME_MARK: str(self.settings.home),
            "PERENNIAL_HOME": str(self.settings.home),
            "PERENNIAL_CONFIG": str(self.settings.config_dir),
            "PYTHONPATH": path,
            "DO_NOT_TRACK": "1",
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))),
            "AIRFLOW_HOME": str(home),
        }
        sections: dict[str, dict[str, object]] = {
            "CORE": {
                "DAGS_FOLDER": REPOSITORY / "dags",
                "PLUGINS_FOLDER": REPOSITORY / "plugins",
                "LOAD_EXAMPLES": False,
                # A paused DAG's watchers are registered only when its file is read again, half a minute later.
                "DAGS_ARE_PAUSED_AT_CREATION": False,
                "EXECUTOR": "LocalExecutor",
                "PARALLELISM": _PARALLEL_TASKS,
                "EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
                "FERNET_KEY_CMD": self._secret_command("fernet_key"),
                "SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
                "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.password_path,
            },
            "DATABASE": {"SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}"},
            "API": {"HOST": "127.0.0.1", "PORT": self.port, "BASE_URL": self.url, "WORKERS": 1},
            "API_AUTH": {"JWT_SECRET_CMD": self._secret_command("jwt_secret")},
            "LOGGING": {
                "BASE_LOG_FOLDER": home / "logs",
                "WORKER_LOG_SERVER_PORT": self._log_ports[0],
                "TRIGGER_LOG_SERVER_PORT": self._log_ports[1],
            },
            "DAG_PROCESSOR": {"REFRESH_INTERVAL": 10, "MIN_FILE_PROCESS_INTERVAL": 30},
            # A demo that was killed is started again at once: what it left half done is taken up within seconds.
            "SCHEDULER": {
                "SCHEDULER_HEALTH_CHECK_THRESHOLD": 10,
                "SCHEDULER_HEARTBEAT_SEC": 2,
                "ORPHANED_TASKS_CHECK_INTERVAL": 5,
                "TASK_INSTANCE_HEARTBEAT_TIMEOUT": 120,
                "SCHEDULER_IDLE_SLEEP_TIME": 0.3,
            },
            "TRIGGERER": {"JOB_HEARTBEAT_SEC": 2, "TRIGGERER_HEALTH_CHECK_THRESHOLD": 10},
            "USAGE_DATA_COLLECTION": {"ENABLED": False},
        }
        airflow = {f"AIRFLOW__{s}__{key}": str(value) for s, keys in sections.items() for key, value in keys.items()}
        return {**os.environ, **ours, **airflow}


def _die_with_parent() -> None:
    """Linux: the child gets SIGINT when the demo dies, however it dies."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGINT)


def _alive(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _quietly(action: object) -> None:
    try:
        action()  # type: ignore[operator]
    except psutil.NoSuchProcess:
        return
