"""Prism, which holds calls to a vendor's specification, between a connector and its emulator: an npm package."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract.emulators.specification import effective
from reference import absent, lacking

LOCK = Path(__file__).resolve().parents[1] / "peers" / "prism"
_PATIENCE_SECONDS = 120
_OLDEST_NODE = 20


def installed_prism(cache: Path) -> Path:
    """Prism's program, installed once for a lock into `cache`. Said loudly where Node or the package is not to be had."""
    folder = cache / f"prism-{hashlib.sha256((LOCK / 'package-lock.json').read_bytes()).hexdigest()[:12]}"
    program = folder / "node_modules" / ".bin" / "prism"
    if (folder / "done").exists():
        return program
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        lacking("Prism needs Node.js with npm, which this machine does not have")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().removeprefix("v").partition(".")[0]) < _OLDEST_NODE:
        lacking(f"Prism needs Node.js {_OLDEST_NODE}, this machine has {version.strip()}")
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(LOCK, folder)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    if done.returncode:
        absent(f"NOT RUN: Prism cannot be installed by npm: {done.stderr[-300:]}")
    (folder / "done").touch()
    return program


def one_specification(files: Sequence[str]) -> dict[str, Any]:
    """One document of several specifications of one server: their components keep apart by a prefix."""
    whole: dict[str, Any] = {}
    for number, file in enumerate(files):
        text = json.dumps(effective(file))
        told = json.loads(re.sub(r'"#/components/(\w+)/', rf'"#/components/\1/p{number}_', text))
        components = told.get("components", {})
        for kind, entries in components.items():
            if kind != "securitySchemes":
                components[kind] = {f"p{number}_{name}": entry for name, entry in entries.items()}
        if not whole:
            whole = told
            continue
        whole["paths"] |= told["paths"]
        for kind, entries in components.items():
            whole["components"].setdefault(kind, {}).update(entries)
    return whole


@contextmanager
def between(program: Path, files: Sequence[str], upstream: str, folder: Path) -> Iterator[str]:
    """The address of a Prism that passes on to `upstream` what keeps to the specification, both ways; else 4xx and 500.

    Prism serves the specification's paths without the path of its server: the client calls the bare port.
    """
    document = folder / "specification.json"
    document.write_text(json.dumps(one_specification(files)), encoding="utf-8")
    port = _free_port()
    command = [program, "proxy", document, upstream, "-h", "127.0.0.1", "-p", str(port), "--errors"]
    with (folder / "prism.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            _wait_for(port, process, folder / "prism.log")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        assert process.poll() is None, log.read_text(errors="replace")[-3_000:]
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            assert time.monotonic() < end, "Prism does not answer"
            time.sleep(0.1)
