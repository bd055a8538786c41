"""`perennial backtest`: a named data set judged by the protocols of scoring, and told with its baselines."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from perennial.contracts.backtests import DataSet, TaskName, read_dataset
from perennial.core.errors import ConfigError, Problem
from perennial.core.settings import REPOSITORY
from perennial.pipeline.backtesting.labelled import read_labelled
from perennial.pipeline.backtesting.pages import write_pages
from perennial.pipeline.backtesting.purchases import Purchases, opened
from perennial.pipeline.backtesting.reading import Place
from perennial.pipeline.backtesting.report import Report
from perennial.scoring.protocols import Judged, protocol_of
from perennial.scoring.threads import one_thread
from perennial.scoring.training import versions

EXAMPLES = REPOSITORY / "config" / "backtests"


@dataclass(frozen=True)
class Written:
    """A report and where its pages are."""

    report: Report
    html: Path
    markdown: Path


def backtest(
    path: Path, *, data: Path, out: Path, tasks: Sequence[TaskName] = (), keep: Path | None = None, command: str = ""
) -> Written:
    """Judge the data set of a YAML file and write report.html, report.md and report.json into `out`.

    Relative paths of the data set are below `data`. `tasks` are those of the YAML when empty. `keep` is a folder for
    the home in which the data are landed and built: a second run starts from it. Raises ConfigError for mistakes in
    the YAML, BatchRefused for data that cannot be read.
    """
    dataset = read_dataset(path)
    if tasks:
        dataset = _with_tasks(dataset, tasks, path)
    report = replace(judge(dataset, Place(path), data, keep), command=command or f"perennial backtest {path.name}")
    return Written(report, *write_pages(report, out))


def _with_tasks(dataset: DataSet, tasks: Sequence[TaskName], path: Path) -> DataSet:
    known = [task for task in tasks if protocol_of(dataset, task) is not None]
    if len(known) < len(tasks):
        wrong = next(task for task in tasks if task not in known)
        said = f"{path.name} holds {dataset.kind} data, of which {wrong} cannot be judged"
        raise ConfigError(Problem("--task", said, f"leave it out: {', '.join(dataset.wanted_tasks)} are judged"))
    return dataset.model_copy(update={"tasks": tuple(tasks)})


def judge(dataset: DataSet, where: Place, data: Path, keep: Path | None = None) -> Report:
    """The report of a data set, nothing written but the home."""
    if not data.is_dir():
        raise ConfigError(Problem("--data", f"there is no folder {data}", "name the folder in which the data lie"))
    with _home(keep) as home:
        if dataset.is_transactions:
            return _judge_purchases(dataset, where, data, home)
        return _judge_labelled(dataset, where, data, home)


@contextmanager
def _home(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True, exist_ok=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="perennial-backtest-") as folder:
        yield Path(folder)


def _judge_purchases(dataset: DataSet, where: Place, data: Path, home: Path) -> Report:
    started = time.process_time()
    with opened(dataset, where, data, home) as purchases:
        seconds = {"reading and building": time.process_time() - started}
        judged, unjudged = [], []
        for task in dataset.wanted_tasks:
            run = protocol_of(dataset, task)
            if run is None:
                unjudged.append(f"{task}: there is no protocol for it")
                continue
            for horizon in dataset.horizons_of(task):
                began = time.process_time()
                with one_thread():
                    judged.append(run(purchases.of(task, horizon), horizon))
                seconds[f"{task} {horizon} days"] = time.process_time() - began
        counts, notes = _told(purchases)
    return Report(dataset, counts, notes, tuple(judged), versions(), seconds, "", tuple(unjudged))


def _told(purchases: Purchases) -> tuple[dict[str, int | str], tuple[str, ...]]:
    told = purchases.told
    span = (told.last_day - told.first_day).days + 1
    counts: dict[str, int | str] = {**told.counts, "days": f"{told.first_day} to {told.last_day} ({span:,})"}
    return counts, (f"times are read as {told.moments.how}", *told.notes)


def _judge_labelled(dataset: DataSet, where: Place, data: Path, home: Path) -> Report:
    started = time.process_time()
    labelled, counts = read_labelled(dataset, where, data, home / "scratch")
    seconds = {"reading": time.process_time() - started}
    judged: list[Judged] = []
    for task in dataset.wanted_tasks:
        run = protocol_of(dataset, task)
        if run is not None:
            began = time.process_time()
            with one_thread():
                judged.append(run(replace(labelled, task=task)))
            seconds[task] = time.process_time() - began
    return Report(dataset, counts, labelled.sentences, tuple(judged), versions(), seconds, "")
