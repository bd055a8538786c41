"""Other machines that hold files, as real servers of this test run: SFTP (asyncssh) and S3 (SeaweedFS)."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sysconfig
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncssh

HOST = "127.0.0.1"
USER = "partner"
PASSWORD = "correct horse"  # of a server that lives as long as one test run
START_SECONDS = 60


class _Files(asyncssh.SFTPServer):
    """Counts what is read, and hangs up where the test says: the connection breaks, in the middle of a file."""

    def __init__(self, channel: Any, server: SftpServer) -> None:
        super().__init__(channel, chroot=os.fsencode(server.folder))
        self._server, self._channel = server, channel

    def open(self, path: bytes, pflags: int, attrs: Any) -> Any:
        if b"locked" in path:
            raise asyncssh.SFTPPermissionDenied("not for you")
        return super().open(path, pflags, attrs)

    def read(self, file_obj: Any, offset: int, size: int) -> Any:
        server = self._server
        if server.hang_up_after and offset + size > server.hang_up_after[0]:
            server.hang_up_after.pop(0)
            server.hung_up += 1
            self._channel.get_connection().abort()
            raise asyncssh.SFTPConnectionLost("hung up")
        server.read_bytes += size
        return super().read(file_obj, offset, size)

    def scandir(self, path: bytes) -> Any:
        self._server.listed += 1
        return super().scandir(path)


class _Login(asyncssh.SSHServer):
    def __init__(self, keys: list[Any]) -> None:
        self._keys = keys

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == (USER, PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: Any) -> bool:
        return username == USER and any(key == known.convert_to_public() for known in self._keys)


@dataclass
class SftpServer:
    """One SFTP server over a folder. `hang_up_after`: offsets in a file at which it breaks the connection, each once."""

    folder: Path
    port: int = 0
    host_key: str = ""
    hang_up_after: list[int] = field(default_factory=list)
    hung_up: int = 0
    read_bytes: int = 0
    listed: int = 0
    user_key: Any = field(default_factory=lambda: asyncssh.generate_private_key("ssh-ed25519"))

    def connection(self, **extra: Any) -> str:
        """What AIRFLOW_CONN_... holds; by default password and host key."""
        given = {"host_key": self.host_key} | extra
        kept = {name: value for name, value in given.items() if value is not None}
        values = {"conn_type": "sftp", "host": HOST, "port": self.port, "login": USER, "password": PASSWORD}
        return json.dumps(values | {"extra": kept})


@contextmanager
def sftp_server(folder: Path) -> Iterator[SftpServer]:
    """A running server with a host key of its own."""
    server = SftpServer(folder)
    key = asyncssh.generate_private_key("ssh-ed25519")
    server.host_key = key.export_public_key().decode().strip()
    loop = asyncio.new_event_loop()

    async def start() -> Any:
        return await asyncssh.listen(
            HOST,
            0,
            server_host_keys=[key],
            server_factory=lambda: _Login([server.user_key]),
            sftp_factory=lambda channel: _Files(channel, server),
            keepalive_interval=0,
        )

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    acceptor = asyncio.run_coroutine_threadsafe(start(), loop).result(START_SECONDS)
    server.port = acceptor.get_port()
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(_end(acceptor), loop).result(START_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_SECONDS)
        loop.close()


async def _end(acceptor: Any) -> None:
    acceptor.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


@dataclass(frozen=True)
class S3Server:
    """A running S3 with one account."""

    port: int
    key: str = "AKIATESTTESTTEST"
    secret: str = "a/secret+of=this test run"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def connection(self, **changes: Any) -> str:
        """What AIRFLOW_CONN_... holds."""
        values = {"conn_type": "aws", "login": self.key, "password": self.secret}
        extra = {"endpoint_url": self.url, "region_name": "us-east-1"}
        return json.dumps(values | {"extra": extra} | changes)

    def client(self) -> Any:
        """boto3's own client: what lies there is put there by another library than ours."""
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.key,
            aws_secret_access_key=self.secret,
        )


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, below 20000: SeaweedFS asks for them after this returns, so it is started again if not."""
    held = [socket.socket() for _ in range(count)]
    try:
        for one in held:
            one.bind((HOST, 0))
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


@contextmanager
def s3_server(folder: Path) -> Iterator[S3Server]:
    """SeaweedFS on free ports, with its data below the folder; it checks signatures."""
    for _attempt in range(3):  # a port may be taken between asking and using it
        process, server = _start_seaweed(folder)
        try:
            answers = _answers(process, server)
        except BaseException:
            _stop(process)  # else it lives on, and holds its ports
            raise
        if answers:
            break
        _stop(process)
    else:
        raise AssertionError((folder / "weed.log").read_text()[-4000:])
    try:
        yield server
    finally:
        _stop(process)


def _start_seaweed(folder: Path) -> tuple[subprocess.Popen[bytes], S3Server]:
    names = ["master", "volume", "filer", "s3"]
    ports = _free_ports(2 * len(names))
    server = S3Server(ports[names.index("s3")])
    data = folder / f"data-{server.port}"
    data.mkdir(parents=True)
    account = {"credentials": [{"accessKey": server.key, "secretKey": server.secret}], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [{"name": USER, **account}]}))
    command = [str(Path(sysconfig.get_path("scripts")) / "weed"), "server", f"-dir={data}", f"-ip={HOST}"]
    command += [f"-ip.bind={HOST}", "-filer", "-s3", f"-s3.config={folder / 's3.json'}", "-master.telemetry=false"]
    command += ["-volume.max=50", "-master.volumeSizeLimitMB=64", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    for number, name in enumerate(names):
        command += [f"-{name}.port={ports[number]}", f"-{name}.port.grpc={ports[len(names) + number]}"]
    with (folder / "weed.log").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, start_new_session=True), server


def _answers(process: subprocess.Popen[bytes], server: S3Server) -> bool:
    """Whether it takes a bucket before the time is up; False when it died."""
    from botocore.exceptions import BotoCoreError, ClientError

    end, client = time.monotonic() + START_SECONDS, server.client()
    while time.monotonic() < end and process.poll() is None:
        try:
            client.create_bucket(Bucket="ready")
            client.put_object(Bucket="ready", Key="one", Body=b"1")
        except (BotoCoreError, ClientError):
            time.sleep(0.1)
        else:
            return True
    return False


def _stop(process: subprocess.Popen[bytes]) -> None:
    """At once: its data is of no use to anyone."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
