"""The few calls of Airflow's REST API (v2) that the demo needs, over the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class TaskState:
    """One task instance as the API tells it."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    try_number: int
    state: str | None
    started: str | None
    seconds: float | None

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What identifies it through all its tries."""
        return self.dag_id, self.run_id, self.task_id, self.map_index


class AirflowApi:
    """A signed-in session; every call raises OSError while the server does not answer."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._url, self._user, self._password = url, user, password
        self._token: str | None = None

    def healthy(self) -> bool:
        """Whether database, scheduler, triggerer and DAG processor all say that they are healthy."""
        try:
            health = self._call("GET", "/api/v2/monitor/health", signed=False)
        except (OSError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "triggerer", "dag_processor")
        return all((health.get(part) or {}).get("status") == "healthy" for part in parts)

    def dags(self) -> dict[str, bool]:
        """The DAGs that are parsed, and whether each is paused."""
        found = self._call("GET", "/api/v2/dags?limit=100")["dags"]
        return {dag["dag_id"]: dag["is_paused"] for dag in found}

    def import_errors(self) -> list[str]:
        """The DAG files that could not be read, each with its error."""
        return [
            f"{e['filename']}: {e['stack_trace']}" for e in self._call("GET", "/api/v2/importErrors")["import_errors"]
        ]

    def unpause(self, dag_id: str) -> None:
        """Let the DAG run."""
        self._call("PATCH", f"/api/v2/dags/{dag_id}", {"is_paused": False})

    def ensure_pool(self, name: str, slots: int, description: str) -> None:
        """Make the pool if it is not there."""
        try:
            self._call("GET", f"/api/v2/pools/{name}")
        except urllib.error.HTTPError as error:
            if error.code != HTTPStatus.NOT_FOUND:
                raise
            body = {"name": name, "slots": slots, "description": description, "include_deferred": False}
            self._call("POST", "/api/v2/pools", body)

    def task_instances(self) -> list[TaskState]:
        """The newest task instances of all DAGs, oldest first."""
        path = "/api/v2/dags/~/dagRuns/~/taskInstances?limit=100&order_by=-start_date"
        found = [_task_state(ti) for ti in self._call("GET", path)["task_instances"]]
        return sorted(found, key=lambda task: task.started or "9")

    def asset_events(self) -> list[dict[str, Any]]:
        """The newest asset events (name, extra, timestamp, id), oldest first."""
        found = self._call("GET", "/api/v2/assets/events?limit=100&order_by=-timestamp")["asset_events"]
        return list(reversed(found))

    def log_tail(self, task: TaskState, lines: int = 12) -> list[str]:
        """The last error lines of the log of a task's last try."""
        path = (
            f"/api/v2/dags/{task.dag_id}/dagRuns/{urllib.parse.quote(task.run_id)}/taskInstances/{task.task_id}"
            f"/logs/{max(task.try_number, 1)}?map_index={task.map_index}&full_content=true"
        )
        content = self._call("GET", path).get("content", [])
        said = [_said(entry) for entry in content if isinstance(entry, dict)]
        return [text for text in said if text][-lines:]

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None, *, signed: bool = True) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        if signed:
            headers["Authorization"] = f"Bearer {self._signed_in()}"
        request = urllib.request.Request(  # noqa: S310 - our own server on 127.0.0.1
            self._url + path,
            data=json.dumps(body).encode() if body is not None else None,
            headers=headers,
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.UNAUTHORIZED and signed and self._token:
                self._token = None
            raise

    def _signed_in(self) -> str:
        if self._token is None:
            body = {"username": self._user, "password": self._password}
            self._token = str(self._call("POST", "/auth/token", body, signed=False)["access_token"])
        return self._token


def _task_state(ti: dict[str, Any]) -> TaskState:
    return TaskState(
        dag_id=ti["dag_id"],
        run_id=ti["dag_run_id"],
        task_id=ti["task_id"],
        map_index=ti.get("map_index", -1),
        try_number=ti.get("try_number", 1),
        state=ti.get("state"),
        started=ti.get("start_date"),
        seconds=ti.get("duration"),
    )


def _said(entry: dict[str, Any]) -> str:
    """An error line of Airflow's structured log, with the exception's own words where there is one."""
    if entry.get("level") not in {"error", "critical", "warning"}:
        return ""
    details = entry.get("error_detail") or []
    words = [f"{d.get('exc_type')}: {d.get('exc_value')}" for d in details if isinstance(d, dict)]
    return " | ".join([str(entry.get("event", "")), *words])
