"""Pushes lists through a tool and dies by SIGKILL at a seeded point, then pushes again; tells what came of it.

Usage: push_and_die.py FOLDER SEED [SEED ...]. One process makes the day once; each push is a child of it, so that a
death costs a fork. A point is a statement of the ledger, or the moment before or after a call of the tool.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
from collections import Counter
from itertools import count
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from factories import exports, published, tool_exports
from factories.kept_tool import KeptTool, Manner
from perennial.core.errors import PerennialError
from perennial.core.settings import Settings, load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.ledger.tables import deliveries, lists
from perennial.pipeline.export import export

IDS = [f"c{n:02}" for n in range(24)]
WITHDRAWS = ["c00", "c11", "c23"]  # between the death and the next run
CAMPAIGNS = {"news": "send", "vip": "audience"}
MANNERS = [
    Manner(),
    Manner(repeatable=False),
    Manner(repeatable=False, readable=False),
    Manner(asynchronous=True, looks=1),
    Manner(readable=False),
    Manner(repeatable=False, asynchronous=True, looks=1),
    Manner(poison=("c07@example.com",), connections=1),
]
_MOST_POINTS = 260


def main() -> int:
    """One line of JSON for each seed: what is wrong (nothing, if all is well), and whether it died."""
    base = Path(sys.argv[1])
    _make(base / "base")
    for seed in map(int, sys.argv[2:]):
        folder = base / f"seed{seed}"
        shutil.copytree(base / "base", folder)
        sys.stdout.write(json.dumps({"seed": seed, **_try(folder, seed)}) + "\n")
        sys.stdout.flush()
        shutil.rmtree(folder)
    return 0


def _make(folder: Path) -> None:
    cards = [published.card(name, list_type=kind, merge_fields=["first_name"]) for name, kind in CAMPAIGNS.items()]
    folder.mkdir(parents=True)
    settings = tool_exports.shop(folder, IDS, *cards)
    tool_exports.approve_before(settings)
    tool_exports.planned(settings, IDS, *CAMPAIGNS)


def _try(folder: Path, seed: int) -> dict[str, Any]:
    chance = random.Random(seed)
    manner = MANNERS[seed % len(MANNERS)]
    died = _child(folder, manner, chance.randrange(_MOST_POINTS))
    settings = _settings(folder)
    exports.consent(settings, WITHDRAWS, status="withdrawn", on=exports.AS_OF)
    open_ledger(settings).dispose()
    for _ in range(2):
        _child(folder, manner, None)
    return {"died": died, "wrong": _wrong(settings, KeptTool(folder / "tool.db", manner))}


def _settings(folder: Path) -> Settings:
    names = [path.parent for path in folder.rglob("destinations.yml")]
    homes = [path.parent for path in folder.rglob("ledger.db")]
    os.environ |= {"PERENNIAL_HOME": str(homes[0]), "PERENNIAL_CONFIG": str(names[0])}
    return load_settings()


def _child(folder: Path, manner: Manner, point: int | None) -> bool:
    """Push in a child; whether it died at the point."""
    process = os.fork()
    if process == 0:
        try:
            _push(folder, manner, point)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 - a child tells by its code
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            os._exit(9)
    _, status = os.waitpid(process, 0)
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit(f"a push failed in {folder.name}")
    return os.WIFSIGNALED(status)


def _push(folder: Path, manner: Manner, point: int | None) -> None:
    settings = _settings(folder)
    engine = open_ledger(settings)
    numbers = count()

    def step(*_: Any) -> None:
        if next(numbers) == point:
            os.kill(os.getpid(), signal.SIGKILL)

    class Watched(KeptTool):
        async def submit(self, chunk, where):
            step()
            answer = await super().submit(chunk, where)
            step()
            return answer

    from perennial.delivery.destinations import TOOLS

    TOOLS[tool_exports.KIND] = lambda name, *_: Watched(folder / "tool.db", manner, name)
    run = last_run(engine)
    assert run is not None
    if point is not None:
        sa.event.listen(engine, "before_cursor_execute", step)
    try:
        export(settings, run)
    except PerennialError as error:
        if point is None:
            raise
        sys.stderr.write(f"{error}\n")


def _wrong(settings: Settings, tool: KeptTool) -> list[str]:
    engine = open_ledger(settings)
    with engine.connect() as connection:
        rows = connection.execute(sa.select(deliveries)).all()
        sums = connection.execute(sa.select(lists)).mappings().all()
        open_left = connection.execute(
            sa.text("select count(*) from push_chunks where state in ('sending', 'submitted')")
        )
        left = open_left.scalar_one()
    engine.dispose()
    wrong = [f"{who} got {n} messages" for who, n in tool.messages().items() if n > 1]
    unknown = {(row.campaign_id, row.client_id) for row in rows if row.state == "unknown"}
    if unknown and (tool.manner.readable or tool.manner.repeatable) and not tool.manner.asynchronous:
        # Who withdrew from a call that may be repeated, but not read back, is unknown: nothing else is.
        strange = {one for _, one in unknown} - set(WITHDRAWS)
        wrong += [f"{one} is unknown though the tool can tell" for one in sorted(strange)]
    for campaign, kind in CAMPAIGNS.items():
        title = f"{campaign}__email" + ("__2017-10-01" if kind == "send" else "")
        there = {address.partition("@")[0] for address in tool.members(title)}
        bad = {address.partition("@")[0] for address in tool.manner.poison}
        sure = {one for one in IDS if (campaign, one) not in unknown} - bad - set(WITHDRAWS)
        wrong += [f"{campaign}: {one} was lost" for one in sorted(sure - there)]
        if kind == "audience":
            wrong += [f"{campaign}: {one} is active again" for one in sorted(there & set(WITHDRAWS))]
        wrong += _unmarked(campaign, there, rows, unknown)
    if left:
        wrong.append(f"{left} chunks are open")
    for row in sums:
        if row["sent"] + row["rejected"] + row["skipped"] + row["pending"] != row["size"]:
            wrong.append(f"{row['list_id']}: the sum is wrong")
        pending = {
            code: n for code, n in row["reasons"].items() if code in ("interrupted", "in_progress", "unknown_outcome")
        }
        if sum(pending.values()) != row["pending"]:
            wrong.append(f"{row['list_id']}: {row['pending']} pending, of which {pending}")
    return wrong


def _unmarked(campaign: str, there: set[str], rows: Any, unknown: set[tuple[str, str]]) -> list[str]:
    """Whom the tool has and the ledger does not, or the other way round."""
    last = Counter[str]()
    for row in rows:
        if row.campaign_id == campaign and row.state == "accepted":
            last[row.client_id] += {"add": 1, "remove": -1, "update": 0}[row.action]
    marked = {one for one, n in last.items() if n > 0}
    known = {one for one in there ^ marked if (campaign, one) not in unknown}
    return [f"{campaign}: {one} is in the tool or in the ledger alone" for one in sorted(known)]


if __name__ == "__main__":
    sys.exit(main())
