"""`perennial up`: .env with generated secrets, never overwritten; what is missing is told; then Docker is asked to start.

Docker is the outside tool: a stand-in on PATH notes how it was called and answers as it is told.
"""

from __future__ import annotations

import base64
import json
import multiprocessing
import os
import shutil
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pytest_socket import enable_socket

from perennial.commands import up
from perennial.commands.env_file import SECRETS, WANTED, complete_env, missing, read_env
from perennial.core.errors import PermanentError
from perennial.core.settings import REPOSITORY

DOCKER = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/calls"
case "$*" in
  "compose version --short") echo "${COMPOSE_VERSION-2.39.1}"; exit "${COMPOSE_CODE-0}" ;;
  version*) [ -z "${ENGINE_SAYS-}" ] || { echo "$ENGINE_SAYS" >&2; exit 1; }; echo 28.2.2 ;;
  "volume inspect"*) exit "${VOLUME_CODE-1}" ;;
  "compose ps"*) echo "${RUNNING-}" ;;
  "compose up"*) exit "${UP_CODE-0}" ;;
esac
"""


@pytest.fixture
def root(tmp_path):
    """A checkout without state."""
    folder = tmp_path / "checkout"
    (folder / "config").mkdir(parents=True)
    return folder


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """The stand-in; gives what it was called with."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "docker").write_text(DOCKER)
    (tools / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return lambda: (tools / "calls").read_text().splitlines() if (tools / "calls").exists() else []


def _errors(root):
    enable_socket()  # ports of this machine are looked at
    return [(f.part, f"{f.where}: {f.message}") for f in up.look(root) if f.level == "error"]


def test_L22_a_new_env_file_has_every_secret_each_its_own_for_its_owner_alone(root):
    added = complete_env(root / ".env")
    known = read_env(root / ".env")
    assert set(added) == set(known) == set(WANTED)
    assert len({known[name] for name in SECRETS}) == len(SECRETS)
    assert all(len(known[name]) >= 32 for name in SECRETS)
    assert len(base64.urlsafe_b64decode(known["AIRFLOW_FERNET_KEY"])) == 32
    assert stat.S_IMODE((root / ".env").stat().st_mode) == 0o600
    assert [path.name for path in root.iterdir() if path.name.startswith(".env")] == [".env"]


def test_two_checkouts_share_no_secret(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        complete_env(tmp_path / name / ".env")
    a, b = (set(read_env(tmp_path / name / ".env").values()) for name in ("a", "b"))
    assert a & b <= {"./data", "./config", "8080", "5433", read_env(tmp_path / "a/.env")["PERENNIAL_UID"]}


def test_what_is_set_stays_byte_for_byte_and_only_what_is_missing_or_empty_is_added(root):
    mine = "# mine\nexport PERENNIAL_PORT = '9090' \nPOSTGRES_PASSWORD=\"a#b\"\nAIRFLOW_DB_PASSWORD=\nOTHER=x # why\n"
    (root / ".env").write_text(mine.rstrip("\n"))
    added = complete_env(root / ".env")
    text = (root / ".env").read_text()
    assert text.startswith(mine.replace("AIRFLOW_DB_PASSWORD=\n", ""))
    assert set(added) == set(WANTED) - {"PERENNIAL_PORT", "POSTGRES_PASSWORD"}
    known = read_env(root / ".env")
    assert (known["PERENNIAL_PORT"], known["POSTGRES_PASSWORD"]) == ("9090", "a#b")
    assert (known["OTHER"], len(known["AIRFLOW_DB_PASSWORD"])) == ("x", 32)
    assert stat.S_IMODE((root / ".env").stat().st_mode) == 0o600, "it held a password and was open to others"
    before = (root / ".env").read_bytes()
    assert complete_env(root / ".env") == []
    assert (root / ".env").read_bytes() == before


def _complete(path, gate):
    gate.wait()
    complete_env(path)


def test_two_at_once_write_each_secret_once(root):
    context = multiprocessing.get_context("fork")
    gate = context.Barrier(4)
    processes = [context.Process(target=_complete, args=(root / ".env", gate)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    lines = [line for line in (root / ".env").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) == len(WANTED)


def test_up_writes_env_makes_the_folder_of_the_state_and_starts_and_waits(root, docker):
    added = up.start(root)
    assert set(added) == set(WANTED)
    assert docker()[-1] == "compose up --detach --build --wait --remove-orphans"
    assert stat.S_IMODE((root / "data").stat().st_mode) == 0o700
    assert (root / "data").stat().st_uid == int(read_env(root / ".env")["PERENNIAL_UID"])
    assert up.start(root) == []


def test_L22_no_secret_is_an_argument_of_docker_or_printed(root, docker, capfd):
    up.start(root)
    secret = [read_env(root / ".env")[name] for name in SECRETS]
    said = "\n".join((*docker(), *capfd.readouterr()))
    assert not [value for value in secret if value in said]


def test_without_docker_env_is_written_and_what_to_install_is_told(root, tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    with pytest.raises(PermanentError, match="docker: the command is not installed -> install Docker Engine"):
        up.start(root)
    assert missing(root / ".env") == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"COMPOSE_CODE": "1", "COMPOSE_VERSION": ""}, "docker compose: the plugin is not installed"),
        ({"COMPOSE_VERSION": "v2.19.0"}, "docker compose: its version is v2.19.0 -> install 2.24 or newer"),
        ({"ENGINE_SAYS": "Cannot connect to the Docker daemon"}, "docker engine: Cannot connect to the Docker daemon"),
    ],
)
def test_a_docker_that_is_not_enough_is_told_and_nothing_is_started(root, docker, monkeypatch, answers, told):
    for name, value in answers.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(PermanentError, match=told):
        up.start(root)
    assert not [call for call in docker() if call.startswith("compose up")]


def test_services_that_do_not_become_healthy_are_a_failure_that_says_where_to_look(root, docker, monkeypatch):
    monkeypatch.setenv("UP_CODE", "1")
    with pytest.raises(PermanentError, match="docker compose logs init"):
        up.start(root)


def test_a_database_whose_password_is_lost_is_not_met_with_a_new_one(root, docker, monkeypatch):
    monkeypatch.setenv("VOLUME_CODE", "0")
    with pytest.raises(PermanentError, match=r"POSTGRES_PASSWORD and AIRFLOW_FERNET_KEY, which \.env no longer has"):
        up.start(root)
    assert not (root / ".env").exists()
    assert not [call for call in docker() if call.startswith("compose up")]


def test_check_changes_nothing_and_tells_all_that_is_missing_at_once(root, docker):
    assert _errors(root) == [("env", ".env: the file is not there")]
    assert not (root / ".env").exists()
    assert not (root / "data").exists()


def test_after_up_check_finds_nothing(root, docker, monkeypatch):
    up.start(root)
    monkeypatch.setenv("RUNNING", "api-server\ndatabase")
    assert _errors(root) == []


def test_check_tells_a_file_that_others_can_read_a_secret_that_breaks_a_url_and_a_folder_that_is_gone(root, docker):
    up.start(root)
    (root / "data").rmdir()
    text = (root / ".env").read_text()
    secret = read_env(root / ".env")["LEDGER_DB_PASSWORD"]
    (root / ".env").write_text(text.replace(secret, "p@ss/word").replace("AIRFLOW_JWT_SECRET", "# AIRFLOW_JWT_SECRET"))
    (root / ".env").chmod(0o644)
    found = [message for part, message in _errors(root) if part == "env"]
    assert found == [
        ".env: AIRFLOW_JWT_SECRET is not set",
        ".env: others can read it",
        ".env: LEDGER_DB_PASSWORD has characters that a URL does not take",
        f".env: PERENNIAL_DATA: there is no folder {root / 'data'}",
    ]
    assert "p@ss" not in "".join(found)


def test_check_tells_a_port_that_another_program_has_and_not_one_that_is_ours(root, docker, monkeypatch):
    enable_socket()
    up.start(root)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (root / ".env").write_text((root / ".env").read_text().replace("=8080", f"={port}"))
        (root / ".env").chmod(0o600)
        assert ("ports", f"127.0.0.1:{port}: another program listens there") in _errors(root)
        monkeypatch.setenv("RUNNING", "api-server")
        assert ("ports", f"127.0.0.1:{port}: another program listens there") not in _errors(root)


def test_check_looks_at_the_configuration_that_env_names_when_this_checkout_has_an_environment(root, docker):
    python = root / ".perennial/env/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    (root / "plugins").symlink_to(REPOSITORY / "plugins")
    shutil.rmtree(root / "config")
    shutil.copytree(REPOSITORY / "config", root / "config", ignore=shutil.ignore_patterns("examples"))
    up.start(root)
    policy = root / "config/policy.yml"
    policy.write_text(policy.read_text().replace("max_list_shrink: 0.7", "max_list_shrink: 7"))
    [wrong] = [message for part, message in _errors(root) if part == "config"]
    assert "policy.yml" in wrong


@pytest.fixture
def checkout(tmp_path):
    """The launcher, the package and the compose file, as on a server that has nothing else."""
    for name in ("perennial", "docker-compose.yml", "requirements.lock", "requirements-test.lock"):
        shutil.copy2(REPOSITORY / name, tmp_path / name)
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(REPOSITORY / "plugins/perennial", tmp_path / "plugins/perennial", ignore=ignored)
    return tmp_path


def test_the_launcher_needs_no_package_and_makes_no_environment_for_it(checkout, docker, tmp_path):
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\ncase "$*" in *ensurepip*) exit 1;; esac\nexec "{sys._base_executable}" -S "$@"\n')
    bare.chmod(0o755)  # a Python without site-packages, and without venv
    done = subprocess.run(
        [checkout / "perennial", "up", "--json"],
        env={"PATH": os.environ["PATH"], "PERENNIAL_PYTHON": str(bare), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["url"], said["user"], set(said["added"])) == ("http://localhost:8080", "admin", set(WANTED))
    assert not (checkout / ".perennial").exists()
    assert Path(checkout / ".env").exists()
