"""A full disk, a landing folder that may not be read, a locked ledger: a plain error, nothing lost, the rerun heals."""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import sys

import pytest

from factories.landing_zone import DAY, SALES, SALES_FILE, Zone, many_sales, sale, sales
from perennial.core.errors import RetryableError
from perennial.core.settings import REPOSITORY
from perennial.ledger.engine import open_ledger
from perennial.pipeline.ingest import ingest
from reference import lacking

_INGEST = """
from perennial.core.settings import load_settings
from perennial.pipeline.ingest import ingest
ingest(load_settings())
"""


def _run(zone: Zone, code: str, *, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "PYTHONPATH": str(REPOSITORY / "plugins"),
        "PERENNIAL_HOME": str(zone.home),
        "PERENNIAL_CONFIG": str(zone.settings.config_dir),
    }
    return subprocess.run([*prefix, sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)


def _need_name_spaces() -> None:
    """Listed as not run when `unshare` is not there or not allowed on this machine."""
    if (
        shutil.which("unshare") is None
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode
    ):
        lacking("unshare -rm is not allowed here: no small disk can be mounted, no rights dropped")


_ON_SMALL_DISK = """
import subprocess, sys
from perennial.core.settings import load_settings
from perennial.core.errors import RetryableError
from perennial.pipeline.ingest import ingest
settings = load_settings()
small = settings.home / "tmp"
small.mkdir(exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], check=True)
try:
    ingest(settings)
except RetryableError as error:
    sys.stdout.write(str(error))
else:
    sys.exit("it should have been full")
"""


def test_L1_a_full_disk_is_told_loses_nothing_and_the_rerun_loads_all(tmp_path):
    _need_name_spaces()
    zone = Zone(tmp_path)
    chance = random.Random(7)  # what does not compress, so that it does not fit
    lines = [sale(20000 + n, chance.getrandbits(60), f"p{chance.getrandbits(60)}") for n in range(8000)]
    zone.land(SALES_FILE, sales(*lines, sale(quantity="x")))
    done = _run(zone, _ON_SMALL_DISK, prefix=("unshare", "-rm"))
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.endswith("the disk is full -> make room; the same command then goes on; nothing is lost")
    assert zone.names("landing") == [SALES_FILE]
    assert zone.names("refused") == []
    report = zone.only()
    assert (report.landed, report.loaded, report.quarantined) == (8001, 8000, 1)


def test_L1_a_landing_folder_that_may_not_be_read_is_told_and_read_once_it_may(tmp_path):
    zone = Zone(tmp_path)
    if os.getuid() == 0:
        _need_name_spaces()
    path = zone.land(SALES_FILE, sales(sale()))
    path.parent.chmod(0o000)
    try:
        # In a user's name space root has no more rights over files than any other owner of them.
        done = _run(zone, _INGEST, prefix=("unshare", "-U") if os.getuid() == 0 else ())
    finally:
        path.parent.chmod(0o777)
    assert done.returncode != 0
    assert "cannot be opened: Permission denied" in done.stderr.splitlines()[-1]
    assert "RetryableError" in done.stderr
    assert zone.only().loaded == 1


def test_L1_a_ledger_that_another_program_holds_is_told_and_the_rerun_loads_all(tmp_path, monkeypatch):
    zone = Zone(tmp_path)
    zone.land(f"shop/sales_{DAY}.csv.gz", f"{SALES}\n" + "\n".join(many_sales(5)) + "\n")
    engine = open_ledger(zone.settings)
    holder = sqlite3.connect(engine.url.database)
    holder.execute("begin exclusive")
    monkeypatch.setattr("perennial.ledger.engine._BUSY_TIMEOUT_MS", 200)
    engine.dispose()  # the wait is set when a connection is opened
    with pytest.raises(RetryableError, match="locked"):
        ingest(zone.settings)
    holder.rollback()
    holder.close()
    assert zone.names("landing") == [SALES_FILE]
    assert zone.only().loaded == 5
