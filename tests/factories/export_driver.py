"""Runs the export of the newest run in a process of its own, which may be told to die by SIGKILL at one point.

Usage: export_driver.py [POINT LIST], with PERENNIAL_HOME and PERENNIAL_CONFIG; LIST is `campaign__channel`.
"""

from __future__ import annotations

import os
import signal
import sys

import sqlalchemy as sa

from perennial.core.errors import RetryableError
from perennial.core.settings import load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.pipeline.export import export

BUSY = 75


def main() -> int:
    """Export, or die trying."""
    settings = load_settings()
    engine = open_ledger(settings)
    if len(sys.argv) > 1:
        die_at(*sys.argv[1:], engine)
    run = last_run(engine)
    assert run is not None
    try:
        export(settings, run)
    except RetryableError:
        return BUSY
    return 0


def die_at(point: str, list_name: str, engine: sa.Engine) -> None:
    """write: files half written. rename: all written. renamed: accepted, not marked. mark: in the marking transaction."""
    at = {"list": False}

    def heard(event: str, args: tuple[object, ...]) -> None:
        first = str(args[0]) if args else ""
        if event == "os.rename" and list_name in first:
            at["list"] = True
        died = {
            "write": event == "open" and f"/.making/{list_name}." in first and first.endswith("manifest.json"),
            "rename": event == "os.rename" and at["list"],
            "renamed": event == "open" and at["list"],
        }
        if died.get(point):
            os.kill(os.getpid(), signal.SIGKILL)

    def executed(_connection, _cursor, statement, parameters, *_rest) -> None:
        if point == "mark" and statement.lower().startswith("insert into deliveries") and at["list"]:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(heard)
    sa.event.listen(engine, "before_cursor_execute", executed)


if __name__ == "__main__":
    sys.exit(main())
