"""G18: a list through the engine of delivery to a tool on this machine, in batches of 500 over 16 connections.

python tests/bench/bench_push.py cost [ROWS]        # contacts per CPU second of the pusher, beside bare asyncio and aiohttp
python tests/bench/bench_push.py latency [ROWS]     # contacts per second when each answer takes 50 ms
python tests/bench/bench_push.py memory             # peak memory of the pusher at 10 thousand, 100 thousand, 1 million

The tool is a bare asyncio server in a process of its own that reads each body and answers 200. `engine` is all that a
push does: rows from Arrow, contacts, consent read again, JSON, the call, rows kept on the disk while they are in
flight, and every row marked in a SQLite ledger.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

BATCH, CONNECTIONS = 500, 16
_HEAD = b"POST /contacts HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


def main() -> int:
    what = sys.argv[1] if len(sys.argv) > 1 else "cost"
    if what == "serve":
        asyncio.run(_serve(float(sys.argv[2])))
    elif what == "push":
        _child(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    elif what == "memory":
        for rows in (10_000, 100_000, 1_000_000):
            _tell("engine", rows, 0.0)
    else:
        rows = int(sys.argv[2]) if len(sys.argv) > 2 else 200_000
        for kind in ("asyncio", "aiohttp", "engine"):
            _tell(kind, rows, 0.05 if what == "latency" else 0.0)
    return 0


async def _serve(latency: float) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next(
                    int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
                )
                await reader.readexactly(length)
                if latency:
                    await asyncio.sleep(latency)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=1 << 22)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    async with server:
        await server.serve_forever()


def _tell(kind: str, rows: int, latency: float) -> None:
    server = subprocess.Popen([sys.executable, __file__, "serve", str(latency)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = server.stdout.readline().strip()
        root = Path(__file__).parents[2]
        environ = {**os.environ, "PYTHONPATH": os.pathsep.join(str(root / name) for name in ("plugins", "tests"))}
        command = [sys.executable, __file__, "push", kind, str(rows), port]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    finally:
        server.terminate()
        server.wait()
    if done.returncode:
        raise SystemExit(done.stderr)
    told = json.loads(done.stdout)
    line = f"{kind:8} {rows:>9,} rows: {rows / told['cpu']:>9,.0f} per CPU s, {rows / told['wall']:>9,.0f} per s"
    sys.stdout.write(f"{line}, peak {told['peak']:,.0f} MB (before the push {told['before']:,.0f} MB)\n")
    sys.stdout.flush()


def _child(kind: str, rows: int, port: int) -> None:
    prepare = {"asyncio": _asyncio, "aiohttp": _aiohttp, "engine": _engine}[kind]
    with tempfile.TemporaryDirectory() as folder:
        push = prepare(rows, port, Path(folder))
        before = _peak()
        cpu, wall = time.process_time(), time.perf_counter()
        push()
        used, took = time.process_time() - cpu, time.perf_counter() - wall
    sys.stdout.write(json.dumps({"cpu": used, "wall": took, "peak": _peak(), "before": before}) + "\n")


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _body() -> bytes:
    people = [
        {"email": f"c{n:015x}@example.com", "fields": {"first_name": f"First {n}", "offer_code": "TEN"}}
        for n in range(BATCH)
    ]
    return json.dumps(people).encode()


def _asyncio(rows: int, port: int, _folder: Path) -> Callable[[], None]:
    """Bodies that are made already, written to bare connections."""
    body = _body()
    message = _HEAD % len(body) + body

    async def one(calls: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(calls):
            writer.write(message)
            await writer.drain()
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(2)
        writer.close()

    async def run() -> None:
        await asyncio.gather(*(one(rows // BATCH // CONNECTIONS) for _ in range(CONNECTIONS)))

    return lambda: asyncio.run(run())


def _aiohttp(rows: int, port: int, _folder: Path) -> Callable[[], None]:
    """Bodies that are made already, by aiohttp."""
    body = _body()

    async def run() -> None:
        import aiohttp

        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def one(calls: int) -> None:
                for _ in range(calls):
                    async with session.post(f"http://127.0.0.1:{port}/contacts", data=body) as answer:
                        await answer.read()

            await asyncio.gather(*(one(rows // BATCH // CONNECTIONS) for _ in range(CONNECTIONS)))

    return lambda: asyncio.run(run())


def _engine(rows: int, port: int, folder: Path) -> Callable[[], None]:
    """The whole push of a list, ledger and all."""
    from factories import exports
    from factories.bench_tool import BenchTool, changes
    from factories.kept_tool import config
    from perennial.delivery.engine.destination import ToolDestination
    from perennial.ledger.engine import open_ledger

    settings = exports.settings_with(folder)
    open_ledger(settings)
    tool = ToolDestination("bench", "mailchimp", config(), lambda: BenchTool(port, BATCH, CONNECTIONS), settings)
    change_set = changes(rows)

    def run() -> None:
        receipt = tool.push(change_set, lambda: None)
        assert receipt.counts.sent == rows, receipt.counts

    return run


if __name__ == "__main__":
    sys.exit(main())
