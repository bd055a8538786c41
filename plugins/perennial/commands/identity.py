"""Which client records are one client: what no rule could join, one client's records, merge, apart, undo, the log.

A client is named by our id, by the id of one of its records, or by the source's own key. What is decided is kept and
holds over later runs; the next build moves metrics and history. No name and no address is shown.
"""

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING, Any

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_NEXT = "the next build obeys it: perennial run"


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    found = actions.add_parser("candidates", help="pairs that no rule joins and a person may, with reason and score")
    found.add_argument("--limit", type=int, default=20, help="how many of the best (default: 20)")
    shown = actions.add_parser("show", help="one client: records, rules, household, company, decisions, log")
    shown.add_argument("client", metavar="CLIENT")
    for name, does in (("merge", "two records are one client"), ("apart", "two records are two clients")):
        decided = actions.add_parser(name, help=does)
        decided.add_argument("left", metavar="A")
        decided.add_argument("right", metavar="B")
        _add_because(decided)
    undone = actions.add_parser("undo", help="take back a decision; what was decided before it holds again")
    undone.add_argument("decision", metavar="DECISION", type=int, help="its number, as in the log")
    _add_because(undone)
    logged = actions.add_parser("log", help="every decision, and what the runs joined and split")
    logged.add_argument("--limit", type=int, default=20, help="how many changes, the newest first (default: 20)")
    output.add_json(parser)
    for action in actions.choices.values():
        hint = "print JSON, as before the action"
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=hint)


def _add_because(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--because", metavar="TEXT", required=True, help="why; it is kept, so write no personal data")


def run(args: argparse.Namespace) -> int:
    """Do what the action says."""
    from perennial.core.settings import load_settings

    settings = load_settings()
    told = _ACTIONS[args.action](settings, args)
    if args.json:
        output.print_json(told)
    else:
        _SHOWN[args.action](told)
    return 0


def _candidates(settings: Settings, args: argparse.Namespace) -> Any:
    from perennial.pipeline.clients import candidates

    return candidates(settings, limit=args.limit)


def _show(settings: Settings, args: argparse.Namespace) -> Any:
    from perennial.pipeline.clients import show

    return show(settings, args.client)


def _decide(settings: Settings, args: argparse.Namespace) -> Any:
    from perennial.pipeline.clients import decide

    done = decide(settings, args.action, (args.left, args.right), args.because, getpass.getuser())
    return {"decision_id": done, "decision": args.action}


def _undo(settings: Settings, args: argparse.Namespace) -> Any:
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.identity import undo

    done = undo(open_ledger(settings), args.decision, reason=args.because, decided_by=getpass.getuser())
    return {"decision_id": done, "decision": "undo"}


def _log(settings: Settings, args: argparse.Namespace) -> Any:
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.identity import all_decisions, log_of

    engine = open_ledger(settings)
    return {"decisions": all_decisions(engine), "changes": log_of(engine, limit=args.limit)}


def _print_candidates(told: dict[str, Any]) -> None:
    rows = [
        (one["left_client"], one["right_client"], one["score"], one["reason"], one["evidence"])
        for one in told["clients"]
    ]
    if rows:
        output.print_table(("A", "B", "score", "because", "evidence"), rows, title="May be one client")
        print("\nperennial identity merge A B --because ..., or apart A B --because ...")
    else:
        print("No candidates.")
    companies = [(one["left_client"], one["company_id"], one["evidence"]) for one in told["companies"]]
    if companies:
        print()
        output.print_table(("client", "company", "domain"), companies, title="May belong to the company")


def _print_client(told: dict[str, Any]) -> None:
    print(f"Client {told['client_id']}, household {told['household_id'] or '-'}, company {told['company_id'] or '-'}\n")
    columns = ("record", "source", "key", "joined by", "evidence")
    rows = [
        (one["client_ref"], one["source"], one["client_key"], one["rule"] or "", one["evidence"] or "")
        for one in told["records"]
    ]
    output.print_table(columns, rows, title="Records")
    if told["mixed_arms"]:
        print(f"\nIts records drew different arms in {', '.join(told['mixed_arms'])}; the older arm stays.")
    for one in told["decisions"]:
        print(f"\ndecision {one.decision_id}: {one.decision} {one.left_ref} {one.right_ref}: {one.reason}")
    _print_changes(told["log"])


def _print_log(told: dict[str, Any]) -> None:
    columns = ("decision", "", "A", "B", "because", "by", "from day", "holds")
    rows = [
        (
            *(one[name] for name in ("decision_id", "decision", "left_ref", "right_ref", "reason", "decided_by")),
            *(one["known_on"], "yes" if one["holds"] else ""),
        )
        for one in told["decisions"]
    ]
    if rows:
        output.print_table(columns, rows, title="Decisions")
    else:
        print("Nobody has decided anything.")
    _print_changes(told["changes"])


def _print_changes(changes: list[dict[str, Any]]) -> None:
    if changes:
        print()
        names = ("as_of", "client_ref", "event", "from_client_id", "to_client_id", "because")
        columns = ("day", "record", "", "from client", "to client", "because")
        output.print_table(columns, [tuple(one[name] for name in names) for one in changes], title="Changes")


def _print_decided(told: dict[str, Any]) -> None:
    print(f"Decision {told['decision_id']} ({told['decision']}) is written down; {_NEXT}")


_ACTIONS = {
    "candidates": _candidates,
    "show": _show,
    "merge": _decide,
    "apart": _decide,
    "undo": _undo,
    "log": _log,
}
_SHOWN = {
    "candidates": _print_candidates,
    "show": _print_client,
    "merge": _print_decided,
    "apart": _print_decided,
    "undo": _print_decided,
    "log": _print_log,
}
