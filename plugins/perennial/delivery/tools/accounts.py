"""Who we are at a tool: its address and our secret, from a connection of Airflow (L22)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from perennial.core.connections import Connection
from perennial.core.errors import ConfigError, PerennialError, Problem
from perennial.delivery.records import CheckStep


def base_url(connection: Connection, default: str | None, path: str) -> str:
    """The address of the tool's API: the host of the connection if it has one, else `default`; `path` behind both.

    A host may be a whole URL, which then is the API's address with its path. Raises ConfigError without either.
    """
    if connection.host is None:
        if default is None:
            fix = "write the tool's address as the host of the connection"
            raise ConfigError(Problem(f"connection {connection.id}", "it has no host", fix))
        return default + path
    if "://" in connection.host:
        return connection.host.rstrip("/")
    scheme = connection.schema if connection.schema in {"http", "https"} else "https"
    port = f":{connection.port}" if connection.port else ""
    return f"{scheme}://{connection.host}{port}{path}"


def secret(connection: Connection, called: str) -> str:
    """The password of the connection. Raises ConfigError without one."""
    if not connection.password:
        fix = f"put {called} into the password of the connection"
        raise ConfigError(Problem(f"connection {connection.id}", "it has no password", fix))
    return connection.password


@dataclass
class Steps:
    """Named steps of a check, one after another; after a failed one the rest is skipped."""

    made: list[CheckStep]

    @property
    def go_on(self) -> bool:
        """Whether no step has failed yet."""
        return all(step.state == "passed" for step in self.made)

    def passed(self, name: str, message: str) -> None:
        """A step that holds."""
        self.made.append(CheckStep(name, "passed", message))

    def failed(self, name: str, message: str, fix: str) -> None:
        """A step that does not."""
        self.made.append(CheckStep(name, "failed", message, fix))

    def broke(self, name: str, error: PerennialError) -> None:
        """A step that an error ended."""
        problem = error.problems[0]
        self.failed(name, problem.message, problem.fix)

    def skip(self, *names: str) -> list[CheckStep]:
        """The steps, with those of `names` that were not come to."""
        made = {step.name for step in self.made}
        skipped = [CheckStep(name, "skipped", "an earlier step failed") for name in names if name not in made]
        return [*self.made, *skipped]


def moment(text: Any) -> datetime:
    """A vendor's moment in UTC: ISO 8601; without a zone it is UTC, and a day begins at midnight."""
    given = datetime.fromisoformat(str(text))
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC)
