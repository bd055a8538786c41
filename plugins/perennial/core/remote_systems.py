"""Opening other machines' file systems: S3-compatible storage, SFTP, and whatever else fsspec knows.

Who we are there stands in a connection, never in the url (L22). An SFTP server whose host key is not known is refused.
What a system says when it fails is turned into our errors here: what a person must mend, and what passes by itself.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from perennial.core.connections import Connection, ConnectionStore
from perennial.core.errors import ConfigError, PerennialError, PermanentError, Problem, RetryableError

_CONNECT_SECONDS = 20
_SILENT_SECONDS = 60  # a peer that says nothing for so long is gone
_SSH_PORT = 22
_REASON_LENGTH = 60

Errors = tuple[type[Exception], ...]


@dataclass
class RemoteSystem:
    """One folder on another machine. `fs` is made on first use, and anew after `drop`.

    `refusing` are the errors that a person must mend, `failing` those that pass by themselves.
    """

    where: str
    root: str
    make: Callable[[], Any]
    refusing: Errors = (PermissionError,)
    failing: Errors = (OSError,)
    rename: Callable[[Any, str, str], None] | None = None  # where fsspec's own move is not safe
    hang_up: Callable[[Any], None] | None = None  # where fsspec would leave the connection open
    has_folders: bool = True  # else a folder is there when something is in it
    file: str = "sources.yml"  # where a person mends the url
    _fs: Any = field(default=None, repr=False)

    @property
    def fs(self) -> Any:
        """The fsspec file system. Raises what the system raises when it cannot be reached."""
        if self._fs is None:
            self._fs = self.make()
        return self._fs

    def drop(self) -> None:
        """Forget a connection that broke."""
        self._fs = None

    def close(self) -> None:
        """Hang up, if we are connected."""
        if self._fs is not None and self.hang_up is not None:
            self.hang_up(self._fs)
        self._fs = None

    def move(self, source: str, target: str) -> None:
        """Move a file there; the folder of the target is made. Raises when it cannot, the file then is where it was."""
        self.fs.makedirs(target.rsplit("/", 1)[0], exist_ok=True)
        if self.rename is not None:
            self.rename(self.fs, source, target)
        else:
            self.fs.mv(source, target)

    @contextmanager
    def told(self, doing: str) -> Iterator[None]:
        """Inside, what the system raises becomes PermanentError or RetryableError that says what we were doing."""
        try:
            yield
        except PerennialError:
            raise
        except self.refusing as error:
            fix = "give the connection's account the right to it, or mend its key, password or host key"
            raise PermanentError(Problem(self.where, f"{doing}: refused, {_reason(error)}", fix)) from error
        except FileNotFoundError as error:
            fix = f"mend url in {self.file}, or have the folder made"
            raise PermanentError(Problem(self.where, f"{doing}: there is no such place", fix)) from error
        except self.failing as error:
            fix = "nothing is lost: it is tried again"
            raise RetryableError(Problem(self.where, f"{doing}: failed, {_reason(error)}", fix)) from error


def _reason(error: BaseException) -> str:
    """The kind of error and its code: the server's own words might repeat a name or a key."""
    response = getattr(error.__cause__ or error, "response", None)
    code = response.get("Error", {}).get("Code", "") if isinstance(response, dict) else ""
    if not code and isinstance(error, OSError) and error.errno:
        code = error.strerror if isinstance(error.strerror, str) and len(error.strerror) <= _REASON_LENGTH else ""
    return f"{type(error).__name__} {code}".strip()


def open_system(
    place: str, connection_id: str | None, connections: ConnectionStore, *, file: str = "sources.yml"
) -> RemoteSystem:
    """The system of a url as `file` in config/ has it, with the connection that it names; nothing is connected yet.

    Raises ConfigError when the url holds a password, the connection is missing or cannot serve this kind of url.
    """
    url = urlsplit(place)
    where = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    if not url.scheme:
        raise ConfigError(Problem(where, "the url has no scheme", "write s3://bucket/folder or sftp://host/folder"))
    if url.username or url.password or url.query or url.fragment:
        fix = "put user, password and options into the connection that `id` names, and only the place into the url"
        raise ConfigError(Problem(where, "the url holds more than a place", fix))
    connection = connections.get(connection_id) if connection_id else None
    if url.scheme in {"s3", "s3a"}:
        system = _s3(where, url, connection)
    elif url.scheme in {"sftp", "ssh"}:
        system = _sftp(where, url, connection)
    else:
        system = _other(where, place, connection)
    return replace(system, file=file)


def _s3(where: str, url: SplitResult, connection: Connection | None) -> RemoteSystem:
    """Without a connection the machine's own credentials count (environment, role)."""
    from botocore.exceptions import BotoCoreError, NoCredentialsError, PartialCredentialsError

    extra = connection.extra if connection else {}
    endpoint = extra.get("endpoint_url") or (extra.get("service_config") or {}).get("s3", {}).get("endpoint_url")
    config = {"connect_timeout": _CONNECT_SECONDS, "read_timeout": _SILENT_SECONDS, "retries": {"max_attempts": 3}}
    if extra.get("addressing_style"):
        config["s3"] = {"addressing_style": extra["addressing_style"]}
    client = {"region_name": extra.get("region_name"), "verify": extra.get("verify")}
    options = {
        "key": connection.login if connection else None,
        "secret": connection.password if connection else None,
        "token": extra.get("aws_session_token"),
        "endpoint_url": endpoint,
        "client_kwargs": {name: value for name, value in client.items() if value is not None},
        "config_kwargs": config,
    }

    def make() -> Any:
        from s3fs import S3FileSystem

        return S3FileSystem(**options, use_listings_cache=False, skip_instance_cache=True)

    return RemoteSystem(
        where,
        f"{url.netloc}{url.path}".rstrip("/"),
        make,
        refusing=(PermissionError, NoCredentialsError, PartialCredentialsError),
        failing=(OSError, BotoCoreError),
        has_folders=False,
    )


def _sftp(where: str, url: SplitResult, connection: Connection | None) -> RemoteSystem:
    import asyncssh

    if connection is None:
        raise ConfigError(Problem(where, "has no connection", "name one by `id`: it holds user and key or password"))
    options = sftp_options(url, connection)
    asyncssh.set_log_level("WARNING")  # it tells of every file and sign-in otherwise

    def make() -> Any:
        from sshfs import SSHFileSystem

        return SSHFileSystem(**options, skip_instance_cache=True)

    path = unquote(url.path).rstrip("/")
    root = path.removeprefix("/~").lstrip("/") if path == "/~" or path.startswith("/~/") else path or "/"
    refusing = (PermissionError, asyncssh.HostKeyNotVerifiable, asyncssh.KeyExchangeFailed, asyncssh.PermissionDenied)
    sftp_refusing = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect, asyncssh.KeyImportError)
    return RemoteSystem(
        where,
        root,
        make,
        refusing=(*refusing, *sftp_refusing),
        failing=(OSError, asyncssh.Error),
        rename=_sftp_rename,
        hang_up=_sftp_hang_up,
    )


def _sftp_hang_up(fs: Any) -> None:
    fs.loop.call_soon_threadsafe(fs.client.close)


def _sftp_rename(fs: Any, source: str, target: str) -> None:
    """SFTP's own rename, which never overwrites; sshfs's move would delete the file even where its copy failed."""
    from fsspec.asyn import sync

    async def rename() -> None:
        async with fs.client.start_sftp_client() as channel:
            await channel.rename(source, target)

    sync(fs.loop, rename)


def sftp_options(url: SplitResult, connection: Connection) -> dict[str, Any]:
    """Arguments of sshfs: only what the connection says, nothing of this machine's own ssh settings but known_hosts.

    Raises ConfigError when url and connection name different hosts, or a key or host key cannot be read.
    """
    host = url.hostname or connection.host
    if not host:
        raise ConfigError(Problem(f"connection {connection.id}", "names no host", "put it into url or the connection"))
    if url.hostname and connection.host and url.hostname != connection.host:
        fix = "name the same host in both: the password goes to the one of the connection only"
        raise ConfigError(Problem(f"connection {connection.id}", "is for another host than url", fix))
    port = url.port or connection.port or _SSH_PORT
    keys = _client_keys(connection)
    return {
        "host": host,
        "port": port,
        "username": connection.login or (),
        "password": connection.password or None,
        "client_keys": keys or None,
        "known_hosts": _known_hosts(connection, host, port),
        "agent_path": None,
        "config": None,
        "connect_timeout": _CONNECT_SECONDS,
        "login_timeout": _CONNECT_SECONDS,
        "keepalive_interval": _SILENT_SECONDS / 4,
        "keepalive_count_max": 3,
        # A name that is not UTF-8 is refused by itself; it must not make the whole folder unreadable.
        "sftp_client_kwargs": {"path_errors": "surrogateescape"},
    }


def _client_keys(connection: Connection) -> list[Any]:
    import asyncssh

    extra = connection.extra
    passphrase = extra.get("private_key_passphrase")
    try:
        if extra.get("private_key"):
            return [asyncssh.import_private_key(extra["private_key"], passphrase)]
        if extra.get("key_file"):
            return [asyncssh.read_private_key(extra["key_file"], passphrase)]
    except (OSError, ValueError, asyncssh.KeyImportError, asyncssh.KeyEncryptionError):  # its words may hold the key
        fix = "give private_key or key_file a key in PEM form (PKCS#8 where it has a private_key_passphrase)"
        raise ConfigError(Problem(f"connection {connection.id}", "its key cannot be read", fix)) from None
    return []


def _known_hosts(connection: Connection, host: str, port: int) -> Any:
    """What asyncssh takes: None trusts every server, which only `no_host_key_check: "true"` may say."""
    import asyncssh

    extra = connection.extra
    if str(extra.get("no_host_key_check", "false")).lower() == "true":
        return None
    if extra.get("host_key"):
        name = host if port == _SSH_PORT else f"[{host}]:{port}"
        try:
            return asyncssh.import_known_hosts(f"{name} {_with_kind(str(extra['host_key']))}\n")
        except (ValueError, binascii.Error):
            fix = "copy a line of `ssh-keyscan HOST` without the host: `ssh-ed25519 AAAA...`"
            raise ConfigError(Problem(f"connection {connection.id}", "its host_key cannot be read", fix)) from None
    named = extra.get("known_hosts")
    file = Path(str(named)).expanduser() if named else Path.home() / ".ssh/known_hosts"
    if named and not file.is_file():
        fix = "name a file of known hosts, or give host_key"
        raise ConfigError(Problem(f"connection {connection.id}", "its known_hosts is not there", fix))
    return str(file) if file.is_file() else b""  # empty: no server is known


def _with_kind(host_key: str) -> str:
    """`ssh-ed25519 AAAA...`; the kind is read out of the key itself where only that is given."""
    parts = host_key.split()
    if len(parts) > 1:
        return f"{parts[0]} {parts[1]}"
    blob = base64.b64decode(parts[0], validate=True)
    return f"{blob[4 : 4 + int.from_bytes(blob[:4], 'big')].decode('ascii')} {parts[0]}"


def _other(where: str, url: str, connection: Connection | None) -> RemoteSystem:
    """`extra.storage_options` are the arguments of the fsspec file system."""
    import fsspec

    scheme = url.partition("://")[0]
    options = dict(connection.extra.get("storage_options") or {}) if connection else {}
    try:
        kind: Any = fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        fix = "use s3://, sftp://, or install the package of fsspec that reads it"
        raise ConfigError(Problem(where, f"files at {scheme}:// cannot be read here", fix)) from error

    def make() -> Any:
        return kind(**options, use_listings_cache=False, skip_instance_cache=True)

    return RemoteSystem(where, str(kind._strip_protocol(url)).rstrip("/"), make)
