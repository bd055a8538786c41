"""Many cards: checking them, and planning a day on which all of them, or few, are due.

    .perennial/env/bin/python tests/bench/bench_cards.py [--cards 200] [--clients 500] [--due 1.0] [--groups]

Each card has an audience of its own and two channels; with `--groups` each belongs to one of ten exclusive groups; of
the others than `--due` the term is over. CPU seconds of loading (YAML, pydantic, rules) and of each step of the plan,
and the greatest memory of the process. Prints Markdown.
"""

from __future__ import annotations

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import REPOSITORY, say, say_machine, say_table

sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests")]

from factories.published import (  # noqa: E402 - after the path of the package
    MemorySession,
    card,
    client,
    facts,
    granted,
    policy,
    scores,
    shop_tables,
    write_config,
)
from perennial.targeting import planning  # noqa: E402
from perennial.targeting.catalogue import catalogue_of  # noqa: E402
from perennial.targeting.config import load_targeting  # noqa: E402

STEPS = ("scan_clients", "read_reach", "make_people", "judge", "allot", "draw", "make_decided")


def main() -> None:
    """Measure once."""
    asked = _arguments()
    clients = [client(f"c{i}", recency_days=i % 60) for i in range(asked.clients)]
    session = MemorySession({**shop_tables(clients), "client_scores": scores(clients)})
    spent: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        settings = write_config(Path(folder), campaigns=_cards(asked), policy=policy())
        targeting = _timed("load and check", load_targeting, spent)(settings, catalogue_of(session.tables()))
    for name in STEPS:
        setattr(planning, name, _timed(name, getattr(planning, name), spent))
    ledger = facts(consents=granted(*(str(one["client_id"]) for one in clients)))
    _timed("plan the day", planning.decide, spent)(session, targeting, session.tables(), ledger)
    pairs = session.query("select count(*) as n from t_outcomes").column("n")[0].as_py()
    say_machine()
    say_table(("step", "CPU s"), [(name, f"{seconds:.2f}") for name, seconds in spent.items()])
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    say(f"{asked.cards:,} cards, {pairs:,} pairs of client and campaign; at most {memory:,} MB")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cards", type=int, default=200)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--due", type=float, default=1.0)
    parser.add_argument("--groups", action="store_true")
    return parser.parse_args()


def _cards(asked: argparse.Namespace) -> list[dict[str, Any]]:
    made = []
    for i in range(asked.cards):
        values: dict[str, Any] = {"audience": f"recency_days < {1 + i % 50} and revenue_365d > {i % 700}"}
        values["exclusivity"] = {"group": f"g{i % 10}", "days": 7} if asked.groups else None
        values["ends_on"] = None if i < asked.due * asked.cards else "2017-01-01"
        given = {name: value for name, value in values.items() if value is not None}
        made.append(card(f"k{i:05d}", channels=["email", "sms"], **given))
    return made


def _timed(name: str, function: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.process_time()
        found = function(*args, **kwargs)
        spent[name] = spent.get(name, 0.0) + time.process_time() - started
        return found

    return timed


if __name__ == "__main__":
    main()
