"""Drop files into the landing zone: the demo shop's history, one of its days, or the files of a folder.

Nothing is landed twice: what is in the landing zone or in the archive already is left out.
"""

from __future__ import annotations

import argparse
import sys
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from perennial.commands import output

if TYPE_CHECKING:
    from perennial.core.settings import Settings
    from perennial.demo.landing import Landed

_HISTORY_UNTIL = date(2017, 10, 1)
_NAMES_SHOWN = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--until", type=output.day, metavar="DATE", help=f"the demo shop's history (default: to {_HISTORY_UNTIL})"
    )
    what.add_argument("--day", type=output.day, metavar="DATE", help="what the demo shop sends on one day")
    what.add_argument("--data", type=Path, metavar="DIR", help="files of a folder whose names sources.yml knows")
    output.add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Land, and tell what was landed, what was there and what nobody knows."""
    from perennial.core.settings import load_settings

    settings = load_settings()
    landed = _land(settings, args)
    if args.json:
        output.print_json({"landing": settings.landing, **landed.as_dict()})
        return 0
    print(f"{len(landed.landed)} files landed in {output.relative(settings.landing)}")
    for label, names in (("there before", landed.already), ("not known to sources.yml", landed.unknown)):
        if names:
            more = ", ..." if len(names) > _NAMES_SHOWN else ""
            print(f"{len(names)} {label}: {', '.join(names[:_NAMES_SHOWN])}{more}")
    return 0


def _land(settings: Settings, args: argparse.Namespace) -> Landed:
    from perennial.demo import shop
    from perennial.demo.people import GENERATED

    if args.data is not None:
        return shop.land_folder(settings, args.data)
    sys.stderr.write(GENERATED)
    if args.day is not None:
        return shop.land_day(settings.landing, args.day, archive=settings.archive)
    return shop.land_history(settings.landing, args.until or _HISTORY_UNTIL, archive=settings.archive)
