"""Answer for a list that waits for a person: the first to a new tool, one whose card asks, one beyond the limits (L11).

What the list would be beyond the ceiling goes on waiting. Afterwards run the day's export again.
"""

from __future__ import annotations

import argparse
import getpass
from typing import TYPE_CHECKING, Literal

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings

_HOURS = 24


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("campaign", metavar="CAMPAIGN", help="the campaign's id")
    parser.add_argument("channel", metavar="CHANNEL", help="the list's channel, such as email")
    parser.add_argument("--additions", type=_number, default=0, metavar="N", help="at most so many may be added")
    parser.add_argument("--removals", type=_number, default=0, metavar="N", help="at most so many may be removed")
    parser.add_argument("--refuse", action="store_true", help="say no: the list is not sent")
    parser.add_argument("--because", required=True, metavar="TEXT", help="why it is right")
    parser.add_argument("--hours", type=_number, default=_HOURS, metavar="N", help=f"until it expires ({_HOURS})")
    parser.add_argument("--by", default=None, metavar="NAME", help="who approves (default: the user of this machine)")
    parser.add_argument("--as-of", type=output.day, metavar="DATE", help="the business date (default: the newest)")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Write the approval into the ledger."""
    from perennial.commands.days import newest_run
    from perennial.core.errors import ConfigError, Problem
    from perennial.core.settings import load_settings
    from perennial.ledger.approvals import Approval, approve
    from perennial.ledger.engine import open_ledger
    from perennial.targeting.config import load_campaigns

    settings = load_settings()
    cards = {card.id: card for card in load_campaigns(settings)}
    if args.campaign not in cards:
        known = ", ".join(sorted(cards))
        raise ConfigError(Problem("CAMPAIGN", f"no card has the id {args.campaign!r}", f"name one of {known}"))
    if args.channel not in cards[args.campaign].channels:
        known = ", ".join(cards[args.campaign].channels)
        raise ConfigError(Problem("CHANNEL", f"the card has no channel {args.channel!r}", f"name one of {known}"))
    if not args.additions and not args.removals and _answer(settings, args):
        return 0
    if args.refuse or (not args.additions and not args.removals):
        raise ConfigError(
            Problem("--additions", "nobody is asked about the list", "give --additions N or --removals N")
        )
    run = newest_run(settings, args.as_of, "planned")
    approval = Approval(
        campaign_id=args.campaign,
        channel=args.channel,
        as_of=run.as_of,
        additions=args.additions,
        removals=args.removals,
        reason=args.because,
        approved_by=args.by or getpass.getuser(),
    )
    ends = approve(open_ledger(settings), approval, hours=args.hours)
    if args.json:
        output.print_json({**approval.__dict__, "expires_at": ends})
        return 0
    print(
        f"{args.campaign}__{args.channel} of {run.as_of}: up to {args.additions:,} additions and {args.removals:,} "
        f"removals, until {ends:%Y-%m-%d %H:%M} UTC. Run the export again: `perennial run`, or export_lists in Airflow."
    )
    return 0


def _answer(settings: Settings, args: argparse.Namespace) -> bool:
    """Answer the question that the list waits with, having shown it; False when nobody is asked."""
    from perennial.ledger.approvals import questions
    from perennial.ledger.engine import open_ledger
    from perennial.pipeline.list_page import Given, answer_list

    asked = [
        one
        for one in questions(open_ledger(settings), as_of=args.as_of)
        if (one.campaign_id, one.channel) == (args.campaign, args.channel)
    ]
    if not asked:
        return False
    question = asked[-1]
    view = question.view
    at_most = sum(int(view[name]) for name in ("add", "update", "remove", "held"))
    answer: Literal["approved", "refused"] = "refused" if args.refuse else "approved"
    given = Given(answer, at_most, args.because, args.by or getpass.getuser(), args.hours, "cli")
    ends = answer_list(settings, args.campaign, args.channel, question.as_of, given)
    if args.json:
        output.print_json({"answer": answer, "at_most": at_most, "expires_at": ends, **question.__dict__})
        return True
    held = ", ".join(f"{code} {rows:,}" for code, rows in sorted(view["reasons"].items()))
    print(
        f"{args.campaign}__{args.channel} of {question.as_of} to {question.destination}: {view['size']:,} in the list, "
        f"{view['add']:,} to add, {view['update']:,} to change, {view['remove']:,} to remove"
    )
    print(
        f"not sent: {held or 'nobody'}; cost {view['cost']:,} {view['currency']}, expected {view['expected_value']:,}"
    )
    print(f"{answer}, until {ends:%Y-%m-%d %H:%M} UTC. Run the export again: `perennial export`.")
    return True


def _number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError("a number of 0 or more")
    return number
