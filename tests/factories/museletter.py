"""museletter, a real newsletter engine, with moto's SES, SNS and SQS, from their lock in an environment of their own."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perennial.core.connections import Connection
from reference import absent

PEERS = Path(__file__).resolve().parents[1] / "peers"
LOCK = PEERS / "museletter.txt"
KEY = "a key of tests"
_DOMAIN = "shop.example"
_PATIENCE_SECONDS = 90


@dataclass(frozen=True)
class Engine:
    """A running museletter: its address, and the queue that SES's notifications come to."""

    url: str
    aws: str
    queue: str

    def call(self, method: str, path: str, sent: Any = None) -> Any:
        """Ask its API as another program would."""
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        data = json.dumps(sent).encode() if sent is not None else None
        request = urllib.request.Request(f"{self.url}{path}", data, headers, method=method)
        with urllib.request.urlopen(request, timeout=_PATIENCE_SECONDS) as answer:
            return json.loads(answer.read() or b"null")

    def get(self, connection_id: str) -> Connection:
        """It is its own store of connections: `museletter` and `aws`."""
        if connection_id == "aws":
            return Connection("aws", "aws", login="x", password="y", extra={"endpoint_url": self.aws})
        return Connection("museletter", "http", host=self.url, password=KEY)


@contextmanager
def running_museletter(folder: Path, cache: Path) -> Iterator[Engine]:
    """Install (once for a lock, into `cache`), start moto and museletter, and let SES's notifications flow to both."""
    python = _installed(cache)
    with ExitStack() as stack:
        aws = f"http://127.0.0.1:{_free_port()}"
        url = f"http://127.0.0.1:{_free_port()}"
        started = [
            [python, PEERS / "moto_ses.py", aws.rpartition(":")[2]],
            [python, PEERS / "museletter_server.py", url.rpartition(":")[2], aws],
        ]
        for command, name, address in zip(
            started, ("moto", "museletter"), (f"{aws}/moto-api/", f"{url}/health"), strict=True
        ):
            log = stack.enter_context((folder / f"{name}.log").open("wb"))
            environ = _environ(folder, url)
            process = stack.enter_context(subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log))
            stack.callback(process.terminate)
            _wait_for(address, process, folder / f"{name}.log")
        yield Engine(url, aws, _notified(aws, url))


def _installed(cache: Path) -> Path:
    """The interpreter of an environment with exactly what the lock says."""
    folder = cache / f"museletter-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    python = folder / "bin" / "python"
    if (folder / "done").exists():
        return python
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    uv = Path(sys.executable).with_name("uv")  # which the launcher brings; pip takes its time
    pip = [uv, "pip", "--quiet"] if uv.exists() else [python, "-m", "pip", "--quiet"]
    into = ["--python", python] if uv.exists() else []
    install = [*pip, "install", *into, "--require-hashes", "--no-deps", "-r", LOCK]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        absent(f"NOT RUN: museletter cannot be installed: {done.stderr[-500:]}")
    (folder / "done").touch()
    return python


def _environ(folder: Path, url: str) -> dict[str, str]:
    settings = {
        "API_KEY": KEY, "DB_PATH": str(folder / "museletter.db"), "BASE_URL": url, "FROM_EMAIL": f"news@{_DOMAIN}",
        "FROM_NAME": "", "POSTAL_ADDRESS": "1 Main Street", "OPT_IN": "single", "SEND_RATE": "200",
    }  # fmt: skip
    aws = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_DEFAULT_REGION": "us-east-1"}
    named = {f"MUSELETTER_{name}": value for name, value in settings.items()}
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **aws, **named}


def _notified(aws: str, url: str) -> str:
    """SES's notifications of our domain go by SNS to museletter's webhook and to a queue, whose URL this is."""
    import boto3

    def client(service: str) -> Any:
        return boto3.client(
            service, endpoint_url=aws, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
        )

    ses, sns, sqs = client("ses"), client("sns"), client("sqs")
    ses.verify_domain_identity(Domain=_DOMAIN)
    topic = sns.create_topic(Name="ses")["TopicArn"]
    queue = sqs.create_queue(QueueName="ses")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=f"{url}/webhooks/sns")
    for kind in ("Bounce", "Complaint", "Delivery"):
        ses.set_identity_notification_topic(Identity=_DOMAIN, NotificationType=kind, SnsTopic=topic)
    return str(queue)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        assert process.poll() is None, log.read_text(errors="replace")[-3_000:]
        try:
            with urllib.request.urlopen(address, timeout=_PATIENCE_SECONDS):
                return
        except urllib.error.HTTPError:
            return
        except OSError:
            assert time.monotonic() < end, f"nobody answers at {address}"
            time.sleep(0.1)
