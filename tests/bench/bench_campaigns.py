"""Four weeks of the demo's real households, day by day: do caps, cool-downs, series and exits hold, and what do cards do?

    .perennial/env/bin/python tests/bench/bench_campaigns.py [--home DIR] [--days 28] [--out FILE]

Lands each day of the demo shop from 2017-10-01 on and runs it by the CLI, so that the contact history grows as it
would; then checks over all days what must hold (tests/factories/campaign_days.py) and writes the tables that stand in
docs/campaigns.md. A home that has some of the days goes on from there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path

from measuring import REPOSITORY, perennial, say

sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests")]

FIRST = date(2017, 10, 1)


def run_days(home: Path, days: int) -> None:
    """The history and the days after it, as far as they are not there yet."""
    for day in (FIRST + timedelta(days=n) for n in range(days)):
        if (home / "outbox" / str(day)).exists():
            continue
        land = ("--until", str(day)) if day == FIRST else ("--day", str(day))
        perennial(home, "land", *land)
        say(f"{day}: {perennial(home, 'run', '--as-of', str(day)).cpu:.1f} CPU seconds")


def main() -> None:
    """Run the days, check them, write the tables. Ends with 1 when a promise was broken."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--home", type=Path, default=None)
    parser.add_argument("--days", type=int, default=28)
    parser.add_argument("--out", type=Path, default=Path("campaign_days.md"))
    args = parser.parse_args()
    home = args.home or Path(tempfile.mkdtemp(prefix="campaigns_"))
    run_days(home, args.days)
    from factories.campaign_days import Days, problems_of, table_of
    from perennial.core.settings import load_settings

    days = Days.of(load_settings({"PERENNIAL_HOME": str(home)}))
    problems = problems_of(days)
    args.out.write_text(table_of(days), encoding="utf-8")
    say(f"{args.out}: {len(days.dates)} days, {len(problems)} broken promises")
    for problem in problems:
        say(f"  {problem}")
    raise SystemExit(bool(problems))


if __name__ == "__main__":
    main()
