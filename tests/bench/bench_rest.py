"""What reading an API costs: records a CPU second and peak memory, first and again, against a server on this machine.

    python tests/bench/bench_rest.py [RECORDS ...]

Each run is a process of its own; the server is another thread of the parent, so that its cost is not counted.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent / "plugins")]

from factories.rest_api import asking, running  # noqa: E402 - the path comes first
from perennial.sources import rest  # noqa: E402

PAGE = 500
CONTACT = {"name": "Person", "email": "p@example.com", "amount": 1.10, "tags": ["a", "b"], "note": "x" * 600}


def _server(records: int):
    def answer(asked):
        at = int(asked.params["offset"])
        return {"results": [{"id": number, **CONTACT} for number in range(at, min(at + PAGE, records))]}

    return running(answer)


def _read(url: str, folder: str) -> None:
    """One fetch; the cursor says whether it is the first."""
    endpoint = {"path": "people", "records": "results", "params": {"offset": "{offset}"}}
    crm = asking(Path(folder), {"base_url": url, "paginator": {"kind": "offset", "limit": PAGE}}, endpoint)
    if (Path(folder) / "state" / "contacts.records").exists():
        crm.cursor = {"files": 1}
    rows = sum(file.rows for file in rest.fetch(crm.request()))
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(f"{rows:>9,} rows landed  {used.ru_utime + used.ru_stime:6.2f} CPU s  {used.ru_maxrss // 1024:4d} MiB")  # noqa: T201


def main(sizes: list[int]) -> None:
    for records in sizes:
        with tempfile.TemporaryDirectory() as folder, _server(records) as api:
            for which in ("first", "again, nothing changed"):
                print(f"{records:>9,} records, {which:<23}", end="", flush=True)  # noqa: T201
                subprocess.run([sys.executable, __file__, "--read", api.url, folder], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--read"]:
        _read(*sys.argv[2:4])
    else:
        main([int(size) for size in sys.argv[1:]] or [20_000, 200_000])
