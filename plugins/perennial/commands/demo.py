"""`perennial demo`: real Airflow carries the demo shop's files, event by event, to today's lists."""

from __future__ import annotations

import argparse
import sys
import time
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from perennial.core.settings import Settings
    from perennial.demo.airflow_process import AirflowProcess
    from perennial.demo.screen import Screen
    from perennial.demo.watch import Watch

HISTORY_UNTIL = date(2017, 10, 1)
ONE_MORE_DAY = date(2017, 10, 2)


def configure(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    parser.add_argument("--exit", action="store_true", help="end when the lists are there (so too without a terminal)")
    parser.add_argument(
        "--data", type=Path, metavar="DIR", help="land files of the same shape from this folder instead"
    )
    parser.add_argument("--one-day", action="store_true", help="stop after the history's day, land no further day")


def run(args: argparse.Namespace) -> int:
    """Land, start Airflow, watch, show; serve the UI until Ctrl-C."""
    from perennial.core.settings import load_settings
    from perennial.demo.airflow_process import AirflowProcess
    from perennial.demo.screen import make_screen

    settings = load_settings()
    settings.home.mkdir(parents=True, exist_ok=True, mode=0o700)
    screen = make_screen()
    airflow = AirflowProcess(settings)
    staying = not args.exit and sys.stdout.isatty()
    try:
        _play(settings, airflow, screen, args)
        if staying:
            _serve(airflow, screen)
    except KeyboardInterrupt:
        screen.close()
        screen.line("Ctrl-C: Airflow ends; start again with ./perennial demo")
    finally:
        screen.close()
        airflow.stop()
    return 0


def _play(settings: Settings, airflow: AirflowProcess, screen: Screen, args: argparse.Namespace) -> None:
    from perennial.demo.airflow_api import AirflowApi
    from perennial.demo.airflow_process import USER
    from perennial.demo.watch import Watch

    started = time.monotonic()
    screen.status("Airflow starts")
    airflow.start()
    landed = _land_first(settings, args.data)
    screen.line(f"{landed} files landed in {settings.landing}")
    watch = Watch(settings, airflow, AirflowApi(airflow.url, USER, airflow.password), screen)
    watch.until_ready()
    screen.line(f"Airflow is up after {time.monotonic() - started:.1f} s: {airflow.url}")
    for day in _days(args):
        _play_day(settings, watch, screen, day)
    _say_goodbye(settings, airflow, screen)


def _days(args: argparse.Namespace) -> list[date | None]:
    if args.data:
        return [None]  # whatever day the files make complete
    return [HISTORY_UNTIL] if args.one_day else [HISTORY_UNTIL, ONE_MORE_DAY]


def _play_day(settings: Settings, watch: Watch, screen: Screen, day: date | None) -> None:
    from perennial.demo.shop import land_day

    started = time.monotonic()
    if day == ONE_MORE_DAY:
        landed = land_day(settings.landing, day, archive=settings.archive)
        screen.line(f"One more day: {len(landed)} files landed")
    done = watch.until_done(day)
    screen.close()
    screen.line(
        f"The lists of {done} are there, {time.monotonic() - started:.1f} s after the files", style="bold green"
    )
    _show_lists(settings, done)


def _land_first(settings: Settings, data: Path | None) -> int:
    from perennial.demo.shop import land_folder, land_history

    if data is not None:
        return len(land_folder(settings, data))
    return len(land_history(settings.landing, HISTORY_UNTIL, archive=settings.archive))


def _show_lists(settings: Settings, day: date) -> None:
    from perennial.commands.lists import show

    show(settings, day)


def _say_goodbye(settings: Settings, airflow: AirflowProcess, screen: Screen) -> None:
    from perennial.demo.airflow_process import USER

    screen.line(f"Lists: {settings.outbox}")
    screen.line(f"Airflow: {airflow.url}  user {USER}")
    if sys.stdout.isatty():
        screen.line(f"Password: {airflow.password}")
    else:
        screen.line(f"Password: in {airflow.password_path}")


def _serve(airflow: AirflowProcess, screen: Screen) -> None:
    screen.line("Airflow keeps serving; Ctrl-C ends it.")
    while airflow.running():
        time.sleep(1)
