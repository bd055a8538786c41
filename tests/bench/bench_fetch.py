"""Remote files into the landing zone beside the library's own bare download: wall, CPU and peak memory.

    python tests/bench/bench_fetch.py [--mb 50 200] [--files 1000]

S3 is SeaweedFS, SFTP is asyncssh in a process of its own, both on this machine: the figures are of our work and theirs
on shared cores, not of a network.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "plugins"), str(Path(__file__).resolve().parents[1])]

# ruff: noqa: E402, T201
from bench.measuring import PYTHON, Cost, cost_of, environment
from factories.remote_home import CONNECTION, RemoteHome
from factories.remote_places import HOST, PASSWORD, USER, S3Server, s3_server, sftp_server

BUCKET = "bench"
OLD = 1_500_000_000


def _serve_sftp(folder: Path, pipe: Any) -> None:
    with sftp_server(folder) as server:
        pipe.send((server.port, server.host_key, server.connection()))
        pipe.recv()


def _child(mode: str, given: dict[str, Any]) -> None:
    """One measured process: `fetch` by us, or `bare` by the library alone."""
    if mode == "fetch":
        home = RemoteHome(Path(given["home"]), given["url"], glob="*", id=CONNECTION, settle_seconds=0)
        home.connect(given["connection"])
        home.fetch()
    elif given["url"].startswith("s3"):
        client = S3Server(given["port"]).client()
        for name in given["names"]:
            client.download_file(BUCKET, f"{given['folder']}/{name}", f"{given['home']}/{name}")
    else:
        _bare_sftp(given)
    status = Path("/proc/self/status").read_text()  # getrusage would tell the parent's peak before the exec
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    sys.stdout.write(json.dumps({"peak": peak}) + "\n")


def _bare_sftp(given: dict[str, Any]) -> None:
    import asyncio

    import asyncssh

    async def get() -> None:
        hosts = asyncssh.import_known_hosts(f"[{HOST}]:{given['port']} {given['host_key']}\n")
        options = {"port": given["port"], "username": USER, "password": PASSWORD, "known_hosts": hosts}
        async with asyncssh.connect(HOST, **options) as connection, connection.start_sftp_client() as sftp:
            for name in given["names"]:
                await sftp.get(f"/{given['folder']}/{name}", f"{given['home']}/{name}")

    asyncio.run(get())


def _measure(mode: str, given: dict[str, Any]) -> tuple[Cost, float]:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as home:
        command = [PYTHON, __file__, "--child", mode, json.dumps({**given, "home": home})]
        cost = cost_of(command, environment())
        return cost, cost.data()["peak"]


def _rows(kind: str, given: dict[str, Any], label: str, megabytes: float) -> None:
    for mode in ("bare", "fetch"):
        cost, peak = _measure(mode, given)
        speed = megabytes / cost.wall
        print(
            f"| {kind} | {label} | {mode} | {cost.wall:.1f} | {cost.cpu:.1f} | {speed:.0f} | {peak:.0f} |", flush=True
        )


def _fill(put: Callable[[str, bytes], None], count: int, size: int) -> list[str]:
    names = [f"f{number:05}.csv" for number in range(count)]
    for number, name in enumerate(names):
        put(name, number.to_bytes(8, "big") * (size // 8))
    return names


def main(sizes: list[int], files: int) -> None:
    """Print the table."""
    print("| kind | what | by | wall s | CPU s | MB/s | peak MB |\n|---|---|---|---:|---:|---:|---:|")
    loads = [(f"one file of {mb} MB", f"one{mb}", 1, mb * 1_000_000) for mb in sizes]
    loads.append((f"{files} files of 10 kB", "many", files, 10_000))
    with tempfile.TemporaryDirectory() as place:
        root, (ours, theirs) = Path(place) / "far", multiprocessing.Pipe()
        root.mkdir()
        server = multiprocessing.Process(target=_serve_sftp, args=(root, theirs))
        server.start()
        port, host_key, connection = ours.recv()
        for label, folder, count, size in loads:
            (root / folder).mkdir()
            names = _fill(lambda name, body, at=root / folder: (at / name).write_bytes(body) and None, count, size)
            given = {"url": f"sftp://{HOST}/{folder}", "folder": folder, "names": names, "port": port}
            given |= {"host_key": host_key, "connection": connection}
            _rows("SFTP", given, label, count * size / 1e6)
        ours.send("end")
        server.join()
    with tempfile.TemporaryDirectory() as place, s3_server(Path(place)) as s3:
        client = s3.client()
        client.create_bucket(Bucket=BUCKET)
        for label, folder, count, size in loads:
            names = _fill(
                lambda name, body, at=folder: client.put_object(Bucket=BUCKET, Key=f"{at}/{name}", Body=body) and None,
                count,
                size,
            )
            given = {"url": f"s3://{BUCKET}/{folder}", "folder": folder, "names": names, "port": s3.port}
            _rows("S3", {**given, "connection": s3.connection()}, label, count * size / 1e6)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], json.loads(sys.argv[3]))
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("--mb", type=int, nargs="*", default=[50, 200])
        parser.add_argument("--files", type=int, default=1000)
        args = parser.parse_args()
        main(args.mb, args.files)
