"""The command line: a table of commands, of which only the one that is asked for is imported (G23).

Each module of `perennial.commands` has `configure(parser)` and `run(args) -> exit code`. Exit codes: 0 done, 1 failed,
2 the command line or the configuration is wrong, 3 a contract is broken, 4 input was refused, 75 try again later,
130 interrupted. With `--json` only JSON goes to stdout; what is wrong goes to stderr in either case.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple

USAGE_ERROR, INTERRUPTED, PIPE_CLOSED = 2, 130, 141


class Command(NamedTuple):
    """A module of `perennial.commands` and its one-line help."""

    module: str
    help: str


COMMANDS: dict[str, Command] = {
    "demo": Command("demo", "land the demo shop's files and watch Airflow carry them to today's target lists"),
    "test": Command("test", "run the tests; arguments go to pytest"),
    "up": Command("up", "start the services of docker-compose.yml on this host; --check says what is missing"),
    "land": Command("land", "drop files of the demo shop, or of a folder, into the landing zone"),
    "run": Command("run", "the chain of a day without the scheduler: ingest, build, score, plan, export"),
    "lists": Command("lists", "the campaigns of a day: who was picked, who was refused and why, where the lists are"),
    "export": Command("export", "hand over the lists of a planned day; --dry-run shows the difference, with removals"),
    "approve": Command("approve", "let a list that is held go out: up to a ceiling, until it expires, with a reason"),
    "deliveries": Command(
        "deliveries", "what became of rows in tools: unknown ones, settle them, the sheet of rejects"
    ),
    "destinations": Command(
        "destinations", "where lists go: list them, check them step by step against the real tools"
    ),
    "feedback": Command("feedback", "what came back from mailing tools: ask them now, or see what is known"),
    "segments": Command("segments", "who is meant: list, check and preview segments, before a card stands on them"),
    "campaigns": Command(
        "campaigns", "the cards: check them with a forecast of the next 30 days, draw the calendar with its clashes"
    ),
    "explain": Command(
        "explain", "one client on one day: metrics, scores with reasons, segments, each campaign's rule"
    ),
    "results": Command("results", "what campaigns have earned against control: difference, interval, plain verdict"),
    "identity": Command("identity", "which client records are one client: candidates, merge, apart, undo, the log"),
    "backtest": Command(
        "backtest", "judge the scores on a data set of your own, beside simple rules; HTML and Markdown"
    ),
    "sql": Command("sql", "ask the published warehouse a question"),
    "metrics": Command("metrics", "what a metric means: formula in words, unit, window, sources, how to read it"),
    "models": Command("models", "the models of the scores: cards, figures beside baselines, drift; approve and retire"),
    "status": Command("status", "what has landed, which days were run, what is published"),
    "warehouse": Command("warehouse", "what is published, what it was built from, old versions, whether all is there"),
    "sources": Command("sources", "check, preview and infer sources; fetch by hand; ready API definitions"),
    "quarantine": Command("quarantine", "rows that were set aside: list, show, export, replay, drop"),
    "check": Command("check", "what is wrong with the configuration, the environment, the connections; how to mend it"),
    "reset": Command("reset", "remove all state, but not the installed environment"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives its exit code. Expected errors are told in plain lines, never as a stack trace."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name = _command_of(arguments)
    module = importlib.import_module(f"perennial.commands.{COMMANDS[name].module}")
    if name == "test" and arguments[1:2] not in (["--help"], ["-h"]):
        args = argparse.Namespace(arguments=arguments[1:])  # as they stand: they are pytest's
    else:
        parser = argparse.ArgumentParser(prog=f"perennial {name}", description=module.__doc__)
        parser.formatter_class = argparse.RawDescriptionHelpFormatter
        module.configure(parser)
        args = parser.parse_args(arguments[1:])
    return _run(module.run, args)


def _command_of(arguments: list[str]) -> str:
    """The command's name; ends the program after --help, --version or a name that is not known."""
    width = max(map(len, COMMANDS))
    table = "\n".join(f"  {name:<{width}}  {command.help}" for name, command in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="perennial",
        usage="perennial COMMAND [options]",
        description="From sales and CRM data to today's target lists, and the proof of what they earned.",
        epilog=f"commands:\n{table}\n\nperennial COMMAND --help tells a command's options.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("command", nargs="?", help=argparse.SUPPRESS)
    if arguments and arguments[0] in COMMANDS:
        return arguments[0]
    name = parser.parse_args(arguments[:1]).command
    if name is not None:
        parser.error(f"there is no command {name!r}{_nearest(name)}; perennial --help names them")
    parser.print_help()
    raise SystemExit(USAGE_ERROR)


def _nearest(name: str) -> str:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1)
    return f", did you mean {near[0]!r}?" if near else ""


def _version() -> str:
    from perennial import __version__

    return f"perennial {__version__}"


def _run(run: object, args: argparse.Namespace) -> int:
    from perennial.core.errors import PerennialError

    try:
        code = int(run(args))  # type: ignore[operator]
        sys.stdout.flush()
    except PerennialError as error:
        for problem in error.problems:
            sys.stderr.write(f"{problem}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output has seen enough, as in `perennial sql ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    return code
