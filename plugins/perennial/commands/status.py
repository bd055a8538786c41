"""What has landed, which days were run, what each score stands on, what is published.

Of each batch landed = loaded + quarantined + duplicate.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_COUNTS = ("landed", "loaded", "quarantined", "duplicate", "guests")


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--last", type=int, default=20, metavar="N", help="the N newest batches and runs (default: 20)")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Print batches, runs, scores, the published version and what the next day waits for."""
    from perennial.core.settings import load_settings

    found = read(load_settings(), max(args.last, 1))
    if args.json:
        output.print_json(found)
    else:
        _show(found)
    return 0


def read(settings: Settings, last: int) -> dict[str, Any]:
    """The newest `last` batches and runs, each score's model, the published version, what the next day waits for."""
    from perennial.pipeline.day import waiting_for
    from perennial.warehouse.engine import current_id

    batches, runs = _recorded(settings, last)
    return {
        "home": settings.home,
        "batches": batches,
        "runs": runs,
        "scores": _scores(settings, runs),
        "published": current_id(settings),
        "waiting_for": list(waiting_for(settings)),
    }


def _scores(settings: Settings, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the newest run is scored with; a score without a model says why."""
    from perennial.pipeline.scores import score_states

    return [
        {
            "score": state.score,
            "model_version": state.used.model_version if state.used else None,
            "note": state.sentence,
        }
        for run in runs[:1]
        for state in score_states(settings, run["as_of"])
    ]


def _recorded(settings: Settings, last: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    import sqlalchemy as sa

    from perennial.ledger.engine import open_ledger
    from perennial.ledger.tables import batches as b
    from perennial.ledger.tables import runs as r

    named = [b.c[name] for name in ("batch_id", "source", "source_entity", "as_of", "state", *_COUNTS, "reasons")]
    newest = sa.select(*named).order_by(b.c.batch_seq.desc()).limit(last)
    known = (r.c.run_id, r.c.as_of, r.c.state, r.c.version_id, r.c.batch_ids)
    ran = sa.select(*known).order_by(r.c.as_of.desc(), r.c.revision.desc()).limit(last)
    with open_ledger(settings).connect() as connection:
        batches = [dict(row) for row in connection.execute(newest).mappings()]
        return batches, [dict(row) for row in connection.execute(ran).mappings()]


def _show(found: dict[str, Any]) -> None:
    if found["batches"]:
        names = ("source", "source_entity", "as_of", "state", *_COUNTS)
        rows = [(*(one[name] for name in names), "; ".join(one["reasons"])) for one in found["batches"]]
        output.print_table((*names, "reasons"), rows, title="Batches, newest first")
    if found["runs"]:
        runs = [(one["run_id"], one["state"], len(one["batch_ids"]), one["version_id"]) for one in found["runs"]]
        output.print_table(("run", "state", "batches", "version"), runs, title="Days, newest first")
    for score in found["scores"]:
        print(score["note"])
    print(f"Published: {found['published'] or 'nothing yet'}")
    for waiting in found["waiting_for"]:
        print(f"The next day waits: {waiting}")
