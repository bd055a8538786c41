"""BottleCRM, a real CRM (Django, PostgreSQL), installed from its lock into an environment of its own and started."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from factories.databases import running_postgres
from reference import lacking, python_of

LOCK = Path(__file__).resolve().parents[1] / "peers" / "bottlecrm.txt"
ADMIN, ORGANISATION = "admin@example.com", "MicroPyramid"
_PATIENCE_SECONDS = 120


@dataclass(frozen=True)
class BottleCrm:
    """A running one: its address, and a personal access token."""

    url: str
    token: str

    def call(self, method: str, path: str, sent: Any = None) -> Any:
        """Ask its API as another program would."""
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        data = json.dumps(sent).encode() if sent is not None else None
        request = urllib.request.Request(f"{self.url}/{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
            return json.loads(answer.read() or b"null")


@contextmanager
def running_bottlecrm(folder: Path, *, contacts: int, seed: int) -> Iterator[BottleCrm]:
    """Install, migrate (minutes), seed, start. What is not to be had is told as tests/reference.py does."""
    binaries = _installed(folder)
    with running_postgres() as server:
        server.run("postgres", "create role crm login")
        server.run("postgres", "create database crm owner crm")
        port = _free_port()
        environ = _environ(binaries, parse_qs(urlsplit(server.uri("crm")).query)["host"][0])
        admin = binaries / "django-admin"
        _run([admin, "migrate"], folder, environ)
        _run(
            [admin, "seed_data", "--email", ADMIN, "--contacts", str(contacts), "--seed", str(seed), "--no-input"],
            folder,
            environ,
        )
        login = _run([admin, "devlogin", ADMIN, "--org", ORGANISATION], folder, environ)
        serve = [binaries / "gunicorn", "-w", "1", "--threads", "4", "-b", f"127.0.0.1:{port}", "crm.wsgi:application"]
        with (
            (folder / "server.log").open("wb") as log,
            subprocess.Popen(serve, cwd=folder, env=environ, stdout=log, stderr=log) as process,
        ):
            try:
                jwt = re.search(r"access_token:\s+(\S+)", login)[1]
                first = BottleCrm(f"http://127.0.0.1:{port}/api", jwt)
                _wait_for(first, process)
                yield BottleCrm(first.url, first.call("POST", "profile/tokens/", {"name": "perennial"})["token"])
            finally:
                process.terminate()


def _installed(folder: Path) -> Path:
    """The programs of an environment with exactly what the lock says."""
    subprocess.run([python_of("3.12"), "-m", "venv", folder / "env"], check=True)
    binaries = folder / "env" / "bin"
    uv = Path(sys.executable).with_name("uv")  # which the launcher brings; pip takes a minute and a half
    pip = [uv, "pip", "--quiet"] if uv.exists() else [binaries / "python", "-m", "pip", "--quiet"]
    into = ["--python", binaries / "python"] if uv.exists() else []
    install = [*pip, "install", *into, "--require-hashes", "--no-deps", "-r", LOCK]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        lacking(f"BottleCRM cannot be installed: {done.stderr[-500:]}")
    return binaries


def _environ(binaries: Path, socket_folder: str) -> dict[str, str]:
    django = {
        "SECRET_KEY": "a key of tests, long enough for signatures", "ENV_TYPE": "dev", "DEBUG": "True", "ALLOWED_HOSTS": "*",
        "DBNAME": "crm", "DBUSER": "crm", "DBPASSWORD": "", "DBHOST": socket_folder, "DBPORT": "5432",
        "DEFAULT_FROM_EMAIL": ADMIN, "ADMIN_EMAIL": ADMIN, "DOMAIN_NAME": "localhost", "FRONTEND_URL": "http://localhost",
        "CORS_ALLOWED_ORIGINS": "http://localhost", "CELERY_BROKER_URL": "memory://",
        "CELERY_RESULT_BACKEND": "cache+memory://", "DJANGO_SETTINGS_MODULE": "crm.settings",
    }  # fmt: skip
    return {
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        **django,
    }


def _run(command: list[Any], folder: Path, environ: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    return done.stdout


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for(crm: BottleCrm, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        assert process.poll() is None, "BottleCRM ended"
        try:
            crm.call("GET", "contacts/?limit=1&offset=0")
            return
        except urllib.error.URLError:
            assert time.monotonic() < end, "BottleCRM does not answer"
