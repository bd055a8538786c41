"""What calls to mailing tools cost, and what share of a vendor's allowed rate each connector takes (G18, L19).

    PERENNIAL_REFERENCE=../shared python tests/bench/bench_tools.py [cost] [share]

cost: contacts a CPU second at 500 a call, 16 connections and a server that answers after 50 ms; each client is a fresh
process, the server another one. share: each connector on its emulator, in real time, answers after 50 ms.
"""

from __future__ import annotations

import asyncio
import json
import resource
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "plugins")]

ROWS, CALLS, CONNECTIONS, LATENCY = 500, 2_000, 16, 0.05
ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"errors":[]}'
SECONDS, SHARES = 6.0, (0.5, 0.8, 1.0)


def _rows(number: int) -> list[dict[str, Any]]:
    return [
        {
            "email": f"person{number}.{row}@example.com",
            "attributes": {"FIRSTNAME": "Ann", "CODE": "SPRING", "POINTS": row},
        }
        for row in range(ROWS)
    ]


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        await reader.readexactly(length)
        await asyncio.sleep(LATENCY)
        writer.write(ANSWER)


async def _serve() -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", 0, limit=1_000_000)
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await server.serve_forever()


async def _raw(port: int) -> None:
    async def worker(numbers: Any) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            body = json.dumps({"jsonBody": _rows(number)}).encode()
            writer.write(b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            head = await reader.readuntil(b"\r\n\r\n")
            json.loads(await reader.readexactly(13 if b": 13" in head else 0))

    numbers = iter(range(CALLS))
    await asyncio.gather(*(worker(numbers) for _ in range(CONNECTIONS)))


async def _aiohttp(port: int) -> None:
    import aiohttp

    async def worker(numbers: Any) -> None:
        for number in numbers:
            async with session.post(f"http://127.0.0.1:{port}/x", json={"jsonBody": _rows(number)}) as answer:
                await answer.json()

    numbers = iter(range(CALLS))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session:
        await asyncio.gather(*(worker(numbers) for _ in range(CONNECTIONS)))


async def _ours(port: int) -> None:
    from perennial.delivery.tools.http import Api
    from perennial.delivery.tools.records import Limits

    api = Api("tool", f"http://127.0.0.1:{port}", headers={"api-key": "k"}, limits=Limits(ROWS, 1e9, CONNECTIONS))

    async def worker(numbers: Any) -> None:
        for number in numbers:
            (await api.call("POST", "/x", body={"jsonBody": _rows(number)}, effect="repeatable")).json()

    numbers = iter(range(CALLS))
    await asyncio.gather(*(worker(numbers) for _ in range(CONNECTIONS)))
    await api.close()


CLIENTS = {"raw asyncio": _raw, "aiohttp": _aiohttp, "ours (http.py)": _ours}


def _measured(name: str, port: int) -> None:
    """In a process of its own: one client, its CPU and wall time of the calls alone."""
    asyncio.run(_nothing())
    before, begun = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    asyncio.run(CLIENTS[name](port))
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"cpu": cpu, "wall": time.perf_counter() - begun, "mib": after.ru_maxrss / 1024}))  # noqa: T201


async def _nothing() -> None:
    import aiohttp  # noqa: F401 - its import is not what is measured


def cost() -> None:
    server = subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True)
    port = int(server.stdout.readline())  # type: ignore[union-attr]
    told: dict[str, list[dict[str, float]]] = {name: [] for name in CLIENTS}
    for _ in range(3):
        for name, rounds in told.items():
            said = subprocess.run(
                [sys.executable, __file__, "--client", name, str(port)], capture_output=True, text=True, check=True
            )
            rounds.append(json.loads(said.stdout))
    server.terminate()
    best = CONNECTIONS * ROWS / LATENCY
    print("| client | contacts a CPU second | of raw | contacts a second | of connections x 500 / 50 ms | peak |")  # noqa: T201
    print("|---|---:|---:|---:|---:|---:|")  # noqa: T201
    raw = min(one["cpu"] for one in told["raw asyncio"])
    for name, rounds in told.items():
        one = min(rounds, key=lambda each: each["cpu"])
        rate = CALLS * ROWS / min(each["wall"] for each in rounds)
        cells = [
            name,
            f"{CALLS * ROWS / one['cpu']:,.0f}",
            f"{raw / one['cpu']:.2f}",
            f"{rate:,.0f}",
            f"{rate / best:.2f}",
        ]
        print(f"| {' | '.join(cells)} | {one['mib']:.0f} MiB |")  # noqa: T201


def share() -> None:
    from contract.emulators.rigs import RIGS
    from contract.emulators.server import Slow, running
    from perennial.delivery.tools.http import Manners

    for name in ("mailchimp", "brevo", "listmonk", "sendgrid", "klaviyo", "resend"):
        import_module(f"contract.emulators.{name}")
    print("| tool | allowed a second | rate_share | calls a second | of what is allowed |")  # noqa: T201
    print("|---|---:|---:|---:|---:|")  # noqa: T201
    for name, rig in RIGS.items():
        for wanted in SHARES:
            with running(rig.emulator()) as emulator:
                emulator.specifications = []  # the tests hold calls to them: here they would be what is slow
                emulator.plan("*", Slow(LATENCY), times=1_000_000_000)
                whole = rig.connect(emulator, Manners(), rate_share=1.0).limits.calls_per_second
                made = asyncio.run(_pressed(rig, emulator, rig.connect(emulator, Manners(), rate_share=wanted)))
            print(f"| {name} | {whole:.4g} | {wanted} | {made:.4g} | {made / whole:.2f} |", flush=True)  # noqa: T201


async def _pressed(rig: Any, emulator: Any, tool: Any) -> float:
    """Calls a second of a tool that is kept as busy as its connections allow: reading back one row again and again."""
    from contract.emulators.bench import KEY, contact
    from perennial.delivery.tools.records import ListTarget

    where = await tool.prepare(ListTarget(KEY, "audience", ((rig.text, "VARCHAR"),)))
    begun, calls = time.perf_counter(), emulator.calls.total()
    until = begun + SECONDS

    async def worker() -> None:
        while time.perf_counter() < until:
            await tool.read_back(where, [contact("c1")])

    await asyncio.gather(*(worker() for _ in range(4 * tool.limits.connections)))
    made, spent = emulator.calls.total() - calls, time.perf_counter() - begun
    await tool.close()
    return float(made / spent)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        asyncio.run(_serve())
    elif sys.argv[1:2] == ["--client"]:
        _measured(sys.argv[2], int(sys.argv[3]))
    else:
        for part in sys.argv[1:] or ["cost", "share"]:
            {"cost": cost, "share": share}[part]()
