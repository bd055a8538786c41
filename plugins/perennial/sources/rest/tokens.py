"""Refresh tokens that the vendor replaced: kept encrypted, since what the connection holds is then worth nothing.

Airflow's connections are read only here, and a replaced refresh token must survive a crash. It is kept in the
source's folder of state, mode 600, encrypted (Fernet) by a key that is derived (scrypt) from the client's secret, which
stands in the connection alone: the file without the connection is useless (L22). It is written, and on the disk, before
the new access token is used. A refresh token that a person put into the connection later replaces what is kept.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, Problem
from perennial.core.files import sync

_SALT_BYTES = 16
_SCRYPT = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True)
class Tokens:
    """What the vendor gave last. `root` is the digest of the connection's own refresh token that it descends from."""

    root: str
    refresh_token: str = field(repr=False)
    access_token: str = field(default="", repr=False)
    expires_at: float = 0.0  # seconds since 1970 by the operational clock


class TokenFile:
    """The kept tokens of one connection."""

    def __init__(self, folder: Path, connection: Connection) -> None:
        self._connection = connection
        self._path = folder / f"{connection.id}.tokens"
        self._lock_path = folder / f"{connection.id}.tokens.lock"

    @contextmanager
    def turn(self) -> Iterator[None]:
        """One process at a time renews: a refresh token that is used twice may cost the whole grant."""
        with self._lock_path.open("w", encoding="ascii") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def read(self) -> Tokens:
        """What is kept; the connection's own refresh token when nothing is, or when a person has put in a newer one."""
        given = str(self._connection.extra.get("refresh_token") or "")
        root = hashlib.sha256(given.encode()).hexdigest()
        kept = self._kept()
        if kept is not None and (kept.root == root or not given):
            return kept
        if not given:
            where = f"connection {self._connection.id}"
            raise ConfigError(Problem(where, "has no refresh_token", "authorise once and put it into its extra"))
        return Tokens(root, given)

    def write(self, tokens: Tokens) -> None:
        """Keep the tokens; they are on the disk when this returns."""
        salt = os.urandom(_SALT_BYTES)
        sealed = salt + self._cipher(salt).encrypt(json.dumps(asdict(tokens)).encode())
        part = self._path.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(sealed)
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(self._path)
        sync(self._path.parent)

    def _kept(self) -> Tokens | None:
        from cryptography.fernet import InvalidToken

        try:
            sealed = self._path.read_bytes()
            opened = self._cipher(sealed[:_SALT_BYTES]).decrypt(sealed[_SALT_BYTES:])
        except (FileNotFoundError, InvalidToken):  # a new client secret means that a person has authorised anew
            return None
        return Tokens(**json.loads(opened))

    def _cipher(self, salt: bytes) -> Any:
        from cryptography.fernet import Fernet

        secret = (self._connection.password or "").encode()
        if not secret:
            where = f"connection {self._connection.id}"
            raise ConfigError(Problem(where, "has no password", "put the client's secret there"))
        key = hashlib.scrypt(secret, salt=salt, dklen=32, **_SCRYPT)
        return Fernet(base64.urlsafe_b64encode(key))
