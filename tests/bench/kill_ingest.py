"""Kills an ingestion by SIGKILL at seeded moments, runs it again, and compares with a run without faults (L1).

    .perennial/env/bin/python tests/bench/kill_ingest.py                # 100 points, about ten minutes
    .perennial/env/bin/python tests/bench/kill_ingest.py --points 10 --seed 3

What lands: a batch of several files with duplicates and rows for quarantine, a gzip file that is cut off, a stray, a batch
that is refused, consents. Each point is a share, drawn by the seed, of the time that the ingestion takes in a child
process (forked after the imports, so that all of it is ingestion). After the second run the ledger must say landed =
loaded + quarantined + duplicate for each batch, and the tables must be those of the undisturbed run, row by row.
(tests/unit/pipeline/test_ingest_killed.py does the same before each rename, in the default suite.)
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import great_expectations  # noqa: F401 - imported before the forks
import pandas as pd  # noqa: F401
from measuring import REPOSITORY, say, say_machine

sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests")]

from factories.landing_zone import CONSENTS, DAY, HOUSEHOLDS, SALES_FILE, Zone, many_sales, sale, sales  # noqa: E402

TABLES = ("order_lines", "clients", "consents")


def main() -> None:
    """Measure once, then kill at each point."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--lines", type=int, default=50_000)
    arguments = parser.parse_args()
    say_machine()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        template = Zone(Path(folder) / "zone")
        _land(template, arguments.lines)
        whole, seconds = _undisturbed(template)
        killed, tried = 0, 0
        while killed < arguments.points:
            killed += _point(template, chance.uniform(0, seconds), whole)
            tried += 1
    say(f"{killed} kills ({tried - killed} more came behind the end): all tables as without a fault.")


def _land(zone: Zone, lines: int) -> None:
    zone.land("shop/sales_2017-10-01.csv.gz", sales(*many_sales(lines), sale(quantity="x")))
    zone.land(SALES_FILE, sales(*many_sales(lines // 2), sale(9_999_999, value="-")))
    zone.land("shop/sales_2017-10-03.csv.gz", b"cut off", pack=False)
    zone.land("shop/notes.txt", "whose is this?")
    zone.land(f"crm/consents_{DAY}.csv", f"{CONSENTS}\n1,email,marketing,granted,2017-10-02T10:00:00Z\n")
    zone.land(f"crm/households_{DAY}.csv", f"{HOUSEHOLDS}\n1,A,B,no address,,,2017-01-01\n")


def _at(template: Zone) -> Zone:
    """The zone once more, on a fresh copy of what landed."""
    zone = object.__new__(Zone)
    zone.home = Path(tempfile.mkdtemp(dir=template.home.parent)) / "home"  # engines are kept by the ledger's path
    shutil.copytree(template.home, zone.home)
    config = str(template.settings.config_dir)
    from perennial.core.settings import load_settings

    zone.settings = load_settings({"PERENNIAL_HOME": str(zone.home), "PERENNIAL_CONFIG": config})
    return zone


def _undisturbed(template: Zone) -> tuple[str, float]:
    zone = _at(template)
    begun = time.monotonic()
    if _in_child(zone.ingest, None) != 0:
        raise SystemExit("the undisturbed ingestion failed")
    seconds = time.monotonic() - begun
    return _state(zone), seconds


def _point(template: Zone, after: float, whole: str) -> bool:
    zone = _at(template)
    status = _in_child(zone.ingest, after)
    if status not in {0, -signal.SIGKILL} or _in_child(zone.ingest, None) != 0:
        raise SystemExit(f"killed after {after:.3f} s: an ingestion failed by itself")
    if _state(zone) != whole:
        raise SystemExit(f"killed after {after:.3f} s: the tables differ")
    shutil.rmtree(zone.home.parent)
    return status != 0


def _in_child(work: Callable[[], object], kill_after: float | None) -> int:
    """The exit code of a child that does the work, and dies by SIGKILL after so many seconds."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - the parent looks at the exit code
            sys.stderr.write(f"{type(error).__name__} {error}\n")
            sys.stderr.flush()
            os._exit(1)
        os._exit(0)
    begun = time.monotonic()
    while kill_after is not None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() - begun >= kill_after:
            os.kill(child, signal.SIGKILL)
            break
        time.sleep(0.001)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _state(zone: Zone) -> str:
    """The digest of what lasts, made in a child: DuckDB's threads must not be there when the next one is forked."""
    told = zone.home.parent / "state"
    if _in_child(lambda: told.write_text(hashlib.sha256(repr(_lasting(zone)).encode()).hexdigest()), None) != 0:
        raise SystemExit("the state cannot be read")
    return told.read_text()


def _lasting(zone: Zone) -> object:
    """Tables, fates and shelves; raises SystemExit where a batch's rows do not add up."""
    fates = zone.ledger("source", "source_entity", "state", "landed", "loaded", "quarantined", "duplicate")
    for *_name, landed, loaded, quarantined, duplicate in fates:
        refused = _name[2] == "refused"
        if not refused and landed != loaded + quarantined + duplicate:
            raise SystemExit(f"{_name}: {landed} landed, {loaded} + {quarantined} + {duplicate} are accounted for")
    tables = {name: _table(zone, name) for name in TABLES}
    return fates, tables, zone.names("landing"), zone.names("archive"), zone.names("refused")


def _table(zone: Zone, name: str) -> tuple[object, ...]:
    return tuple(map(tuple, zone.raw(name))), tuple(map(tuple, zone.quarantined(name)))


if __name__ == "__main__":
    main()
