"""The models of the scores: which is in use, how it did beside simple rules, what the daily watch says.

perennial models list
perennial models list --score churn_risk
perennial models show churn_risk-2017-10-01-3f2a91c0
perennial models approve churn_risk-2017-10-01-3f2a91c0 --note "looked at the figures and at 20 clients"
perennial models retire churn_risk-2017-10-01-3f2a91c0 --note "the shop changed its prices"

A model is named by its version or the beginning of it. A decision holds from the day that is being run, or from the
day after the newest one that is done. list and show take --json.
"""

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings
    from perennial.ledger.cards import Decision

_NOTE_LENGTH = 500


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|show|approve|retire")
    listed = actions.add_parser("list", help="every training, newest first, with its status of now")
    listed.add_argument("--score", help="one score only, as in churn_risk")
    output.add_json(listed)
    show = actions.add_parser("show", help="the card: figures beside baselines, data needs, cuts, calibration, drift")
    show.add_argument("model", metavar="MODEL")
    output.add_json(show)
    for action, text in (("approve", "a challenger becomes champion"), ("retire", "take a model out of use")):
        decide = actions.add_parser(action, help=text)
        decide.add_argument("model", metavar="MODEL")
        decide.add_argument("--note", required=True, type=_note, help="why")


def run(args: argparse.Namespace) -> int:
    """Do the action."""
    from perennial.core.settings import load_settings

    actions = {"list": _list, "show": _show, "approve": _decide, "retire": _decide}
    return actions[args.action](load_settings(), args)


def _note(text: str) -> str:
    if not text.strip() or len(text) > _NOTE_LENGTH:
        raise argparse.ArgumentTypeError(f"say why, in 1 to {_NOTE_LENGTH} characters")
    return text.strip()


def _list(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.models import checks, in_brief, models

    found = models(settings, args.score)
    if args.json:
        output.print_json(found)
        return 0
    if not found:
        print("no model was trained yet" + (f" for {args.score}" if args.score else ""))
        return 0
    rows = []
    for card in found:
        watched = checks(settings, card)
        rows.append((card.model_version, card.status, watched[0].verdict if watched else "-", in_brief(card)))
    output.print_table(("model", "status", "watch", "at the test cut"), rows)
    return 0


def _show(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.model_cards import parts_of
    from perennial.pipeline.models import checks, find_model

    card = find_model(settings, args.model)
    watched = checks(settings, card)
    if args.json:
        output.print_json({"model": card, "checks": watched})
        return 0
    for part in parts_of(card, watched):
        print(output.plain_text(part.title))
        for name, text in part.facts:
            print(output.plain_text(f"  {name}: {text}"))
        if part.rows:
            output.print_table(part.columns, part.rows)
        print()
    return 0


def _decide(settings: Settings, args: argparse.Namespace) -> int:
    from perennial.pipeline.models import decide

    decision: Decision = "approved" if args.action == "approve" else "retired"
    card, known_on = decide(settings, args.model, decision, reason=args.note, by=getpass.getuser())
    print(f"{card.model_version} is {decision} from {known_on} on; the ledger keeps who, when and why")
    return 0
