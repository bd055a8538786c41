"""Watching the chain: which DAG, which task, rows so far, until the day is done or something failed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import sqlalchemy as sa

from perennial.core.errors import PermanentError, Problem
from perennial.core.settings import Settings
from perennial.demo.airflow_api import AirflowApi, TaskState
from perennial.demo.airflow_process import AirflowProcess
from perennial.demo.screen import Screen
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.ledger.tables import batches

CHAIN = (
    "ingest_sales",
    "ingest_crm",
    "build_warehouse",
    "train_models",
    "score_clients",
    "plan_campaigns",
    "export_lists",
)
BESIDE = ("fetch_sources", "watch_sources", "pull_feedback", "approve_lists")  # runs, but no day waits for it
POOL = "warehouse_writer"
_POLL_SECONDS = 0.5
_START_SECONDS = 300
_DAY_SECONDS = 3600
_DONE = {"success", "failed", "skipped", "upstream_failed"}


@dataclass
class Watch:
    """Tells each change once. `seen` remembers what was told."""

    settings: Settings
    airflow: AirflowProcess
    api: AirflowApi
    screen: Screen
    seen: dict[tuple[str, str, str, int], str | None] = field(default_factory=dict)
    events_seen: set[int] = field(default_factory=set)
    tasks: dict[str, float] = field(default_factory=dict)

    def until_ready(self) -> None:
        """Wait until Airflow is healthy and has read our DAGs; then let them run."""
        self._wait(self.api.healthy, _START_SECONDS, "Airflow starts")
        self._wait(self._parsed, _START_SECONDS, "Airflow reads the DAGs")
        self._wait(self._let_run, _START_SECONDS, "Airflow takes our DAGs")

    def until_done(self, day: date | None) -> date:
        """Tell what happens until the lists of `day` (or of the newest day) are there. Raises on a failed task."""
        found: list[date] = []

        def done() -> bool:
            self._tell()
            run = last_run(open_ledger(self.settings), day)
            if run is not None and run.state == "done":
                found.append(run.as_of)
            return bool(found)

        self._wait(done, _DAY_SECONDS, "the chain runs")
        self._tell()
        return found[0]

    def _let_run(self) -> bool:
        """Make the pool, unpause our DAGs, and leave untold what happened before this start; False to try again."""
        try:
            self.api.ensure_pool(POOL, 1, "One writer at a time in the embedded warehouse")
            paused = self.api.dags()
            for dag_id in (*CHAIN, *BESIDE):
                if paused[dag_id]:
                    self.api.unpause(dag_id)
            old_tasks = [t for t in self.api.task_instances() if t.started and self._is_old(t.started)]
            old_events = [e for e in self.api.asset_events() if self._is_old(e["timestamp"])]
        except OSError:
            return False
        self.seen |= {task.key: task.state for task in old_tasks}
        self.events_seen |= {event["id"] for event in old_events}
        return True

    def _is_old(self, moment: str) -> bool:
        return datetime.fromisoformat(moment) < self.airflow.started_at

    def _parsed(self) -> bool:
        try:
            if {*CHAIN, *BESIDE} <= set(self.api.dags()):
                return True
            errors = self.api.import_errors()
        except OSError:
            return False
        if errors:
            raise PermanentError([Problem("dags", text, "mend the DAG file") for text in errors])
        return False

    def _wait(self, condition: Callable[[], bool], limit_seconds: float, what: str) -> None:
        end = time.monotonic() + limit_seconds
        while not condition():
            self.screen.status(self._now(what))
            if not self.airflow.running():
                fix = f"read {self.airflow.log_path}"
                raise PermanentError(Problem("airflow", "Airflow ended by itself", fix))
            if time.monotonic() > end:
                raise PermanentError(
                    Problem("airflow", f"{what}: not done after {limit_seconds} s", f"read {self.airflow.log_path}")
                )
            time.sleep(_POLL_SECONDS)

    def _now(self, what: str) -> str:
        running = [f"{dag} / {task}" for (dag, _run, task, _i), state in self.seen.items() if state == "running"]
        return f"{', '.join(running) or what} - {self._rows_so_far():,} rows loaded so far"

    def _rows_so_far(self) -> int:
        with open_ledger(self.settings).connect() as connection:
            return int(connection.execute(sa.select(sa.func.sum(batches.c.loaded))).scalar() or 0)

    def _tell(self) -> None:
        try:
            changed = [t for t in self.api.task_instances() if self.seen.get(t.key, "unseen") != t.state]
            # An event wakes or ends a task, and asking for events is the dearest question to the server.
            events = self.api.asset_events() if changed else []
        except OSError:
            return  # the server is busy: the next look tells it
        for task in changed:
            self.seen[task.key] = task.state
            self._tell_task(task)
        new = [event for event in events if event["id"] not in self.events_seen]
        self.events_seen |= {event["id"] for event in new}
        marts = [event for event in new if str(event.get("name", "")).startswith("marts.")]
        for event in new:
            if event not in marts:
                self._tell_event(event)
        if marts:
            rows = sum((event.get("extra") or {}).get("rows", 0) for event in marts)
            self.screen.line(f"  event marts.*: {len(marts)} tables published, {rows:,} rows", style="cyan")

    def _tell_task(self, task: TaskState) -> None:
        name = f"{task.dag_id} / {task.task_id}"
        if task.state not in _DONE:
            return
        self.tasks[name] = self.tasks.get(name, 0.0) + (task.seconds or 0.0)
        self.screen.line(
            f"{name}: {task.state} in {task.seconds or 0.0:.1f} s", style=_STYLES.get(task.state or "", "")
        )
        if task.state == "failed":
            raise PermanentError(
                [Problem(name, text) for text in self.api.log_tail(task) or ["failed without a word in its log"]]
            )

    def _tell_event(self, event: dict[str, Any]) -> None:
        extra = event.get("extra") or {}
        name = event.get("name") or event.get("uri", "")
        told = _event_text(extra)
        if told:
            self.screen.line(f"  event {name}: {told}", style="cyan")


_STYLES = {"success": "green", "failed": "red", "skipped": "dim"}


def _event_text(extra: dict[str, Any]) -> str:
    """The figures of an event's extra, in one line."""
    if "payload" in extra:
        return f"{extra['payload'].get('files', 0)} files have landed"
    rows = extra.get("rows")
    parts = [str(extra["as_of"])] if extra.get("as_of") else []
    if isinstance(rows, int) and "loaded" not in extra:
        parts.append(f"{rows:,} rows")
    parts += [
        f"{extra[key]:,} {key}" for key in ("loaded", "quarantined", "duplicate", "lists", "sent") if key in extra
    ]
    parts += [str(note) for note in extra.get("notes", [])[-2:]]
    return ", ".join(parts)
