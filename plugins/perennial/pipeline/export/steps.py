"""The export of a run as a whole: every list of it, one after the other, an error of one not holding up the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import sqlalchemy as sa

from perennial.contracts.records import DayRun, ListReport
from perennial.core.connections import ConnectionStore
from perennial.core.errors import ContractViolation, PerennialError, PermanentError, Problem, RetryableError
from perennial.core.settings import Settings
from perennial.delivery import destinations as delivery
from perennial.delivery.engine.in_flight import InFlight
from perennial.delivery.engine.pusher import Patience
from perennial.delivery.records import CheckStep, ListKey
from perennial.ledger.engine import open_ledger
from perennial.ledger.locks import hold
from perennial.ledger.pushes import open_ids
from perennial.ledger.runs import advance, get_run, last_run
from perennial.pipeline.export.marking import marked, not_pushed, settle_files
from perennial.pipeline.export.opened import keys_of, open_day, sizes_of
from perennial.pipeline.export.pushing import push_list, write_list
from perennial.targeting.config import load_targeting

log = logging.getLogger("perennial")


@dataclass(frozen=True)
class Options:
    """How an export is done: who we are at the tools, one destination alone, how long jobs of a tool are waited for."""

    connections: ConnectionStore | None = None
    only: str | None = None
    patience: Patience = field(default_factory=Patience)


def export(settings: Settings, run: DayRun, options: Options | None = None) -> list[ListReport]:
    """Hand over what is new in the lists of the run, and write down what was taken; one report per list.

    Run again it finds nothing new and writes nothing. A past or superseded run is not pushed (L17): all its rows are
    skipped. One list that fails does not hold up the others; then the errors are raised together at the end:
    RetryableError when trying again can help. Raises ContractViolation when the run is not planned.
    """
    how = options or Options()
    engine = open_ledger(settings)
    run = get_run(engine, run.run_id)
    _require_planned(run)
    refused = _why_not(engine, run)
    if refused is None:
        _refuse_changed_config(settings, run)
        reconcile(settings, how)
    with open_day(settings, engine, run, connections=how.connections, only=how.only) as day:
        if refused is None:
            reports = _for_each(keys_of(day), lambda key: push_list(day, key, how.patience))
        else:
            reports = [not_pushed(key, size, refused) for key, size in sizes_of(day).items()]
    if how.only is None:
        advance(engine, run.run_id, "done")
    return reports


def render(settings: Settings, run: DayRun, folder: Path) -> list[ListReport]:
    """Write the lists of any run into an empty folder, as they are when nothing of its date has been sent.

    For comparing and backfilling: nothing is pushed and nothing is marked. Raises PermanentError when the folder has
    something in it, ContractViolation when the run is not planned.
    """
    if folder.exists() and any(folder.iterdir()):
        raise PermanentError(Problem(str(folder), "the folder is not empty", "name a new one"))
    engine = open_ledger(settings)
    run = get_run(engine, run.run_id)
    _require_planned(run)
    with open_day(settings, engine, run, root=folder) as day:
        return _for_each(keys_of(day), lambda key: write_list(day, key))


def reconcile(settings: Settings, options: Options | None = None) -> list[str]:
    """Mark every list, of whatever date, that a destination accepted before a crash; gives their ids (L12).

    `export` begins with it. Called before a plan, the plan counts them too (L10). Of tools, jobs are followed and
    calls without an answer read back; what may be repeated is left to the push of its list. Lists that another process
    is at are left to it, and tools that cannot be reached to the next look. Raises ContractViolation for those that
    nobody can mark (see the destination), after all others.
    """
    how = options or Options()
    engine = open_ledger(settings)
    found: list[str] = []
    problems: list[Problem] = []
    routes = delivery.open_routes(settings, connections=how.connections)
    for destination in routes.by_name.values():
        if how.only not in (None, destination.name):
            continue
        for list_name in list(destination.unfinished(marked(engine, destination))):
            try:
                with hold(engine, f"{destination.name}/{list_name}") as lock:
                    found += settle_files(settings, engine, destination, list_name, lock.confirm)
            except ContractViolation as error:
                problems += error.problems
            except PerennialError as error:
                # Another process is at it, or the tool cannot be asked: the push of its list settles it, or tells.
                log.info("%s/%s is left to its push: %s", destination.name, list_name, error)
    InFlight(settings.home).sweep(open_ids(engine))
    if problems:
        raise ContractViolation(problems)
    return found


def check(settings: Settings, connections: ConnectionStore | None = None) -> list[tuple[str, CheckStep]]:
    """Named steps of every destination, and whether each channel of each card has one; nothing is sent.

    Raises ConfigError for a mistake in the cards.
    """
    return list(delivery.check(settings, load_targeting(settings).campaigns, connections=connections))


def _require_planned(run: DayRun) -> None:
    if run.state not in {"planned", "done"}:
        raise ContractViolation(Problem(run.run_id, f"the run is {run.state}, not planned", "plan the day first"))


def _why_not(engine: sa.Engine, run: DayRun) -> str | None:
    newest = last_run(engine, run.as_of)
    if not run.is_latest:
        return "past_date"
    return "superseded" if newest is not None and newest.run_id != run.run_id else None


def _refuse_changed_config(settings: Settings, run: DayRun) -> None:
    if settings.config_digest() != run.config_digest:
        problem = f"changed since {run.run_id} was opened"
        raise ContractViolation(Problem(str(settings.config_dir), problem, "run the day again"))


def _for_each(keys: Iterable[ListKey], do: Callable[[ListKey], ListReport]) -> list[ListReport]:
    """The reports of all lists. One that fails does not hold up the others; the errors are raised at the end."""
    reports: list[ListReport] = []
    errors: list[PerennialError] = []
    for key in keys:
        try:
            reports.append(do(key))
        except PerennialError as error:
            errors.append(error)
        except OSError as error:
            fix = "mend it (space, rights), then run it again"
            errors.append(RetryableError(Problem(key.list_id(1), f"it could not be written: {error.strerror}", fix)))
    if errors:
        lasting = next((one for one in errors if not isinstance(one, RetryableError)), errors[0])
        raise type(lasting)(list(chain.from_iterable(one.problems for one in errors)))
    return reports
