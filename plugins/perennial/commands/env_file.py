"""The file .env beside docker-compose.yml: reading it, and what `perennial up` adds. Standard library only."""

from __future__ import annotations

import base64
import fcntl
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

_LINE = re.compile(r"^\s*(?:export\s+)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)\s*=(?P<value>.*)$")
_DEFAULT_UID = 50000
_HEAD = (
    "# What docker-compose.yml is started with. `./perennial up` adds what is missing and leaves what is set.\n"
    "# Keep a copy where secrets are kept: without it neither the databases nor Airflow's connections can be opened.\n"
)


def _password() -> str:
    return secrets.token_urlsafe(24)


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def _user() -> str:
    """Who owns the files on the host; root gives them to the image's own user."""
    return str(os.getuid() or _DEFAULT_UID)


# Every variable that docker-compose.yml asks for, and what makes its value. They stand in URLs: letters, digits, - _ =.
SECRETS: Mapping[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": _password,
    "AIRFLOW_DB_PASSWORD": _password,
    "LEDGER_DB_PASSWORD": _password,
    "WAREHOUSE_DB_PASSWORD": _password,
    "PERENNIAL_ADMIN_PASSWORD": _password,
    "AIRFLOW_FERNET_KEY": _fernet_key,
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(64),
    "AIRFLOW_SECRET_KEY": lambda: secrets.token_urlsafe(32),
}
PLACES: Mapping[str, Callable[[], str]] = {
    "PERENNIAL_UID": _user,
    "PERENNIAL_DATA": lambda: "./data",
    "PERENNIAL_CONFIG": lambda: "./config",
    "PERENNIAL_PORT": lambda: "8080",
    "PERENNIAL_DATABASE_PORT": lambda: "5433",
}
WANTED = {**SECRETS, **PLACES}


def read_env(path: Path) -> dict[str, str]:
    """Names and values of the file, the last of a name; a value may stand in quotes. {} when there is no file."""
    if not path.exists():
        return {}
    found = (_LINE.match(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {match["name"]: _value(match["value"]) for match in found if match}


def missing(path: Path) -> list[str]:
    """What the file lacks, or has without a value."""
    known = read_env(path)
    return [name for name in WANTED if not known.get(name)]


def complete_env(path: Path) -> list[str]:
    """Add what is missing, mode 600; gives the names that were added. What is set stays as it is, byte for byte.

    Two at once add each name once: the second waits for the first. A crash leaves the old file or the new one.
    """
    lock = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        names = missing(path)
        if names:
            text = path.read_text(encoding="utf-8") if path.exists() else _HEAD
            _replace(path, _without_empty(text, set(names)) + "".join(f"{n}={WANTED[n]()}\n" for n in names))
        path.chmod(0o600)
    finally:
        os.close(lock)
    return names


def _value(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return re.split(r"\s+#|^#", text, maxsplit=1)[0].strip()


def _without_empty(text: str, names: set[str]) -> str:
    """The text without the lines that set one of the names to nothing; it ends with a line's end."""
    lines = [line for line in text.splitlines() if not ((match := _LINE.match(line)) and match["name"] in names)]
    return "".join(f"{line}\n" for line in lines)


def _replace(path: Path, text: str) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".env.")  # mode 600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
