"""Errors, typed by what the caller must do about them.

Orchestration maps them to Airflow in one place: `RetryableError` is retried, every other one fails the task at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it stands and how to mend it.

    `where` is `file:line` or `file:line:field` (relative to the folder a person works in), `message` says what was
    found, `fix` what to do. Neither holds personal data.
    """

    where: str
    message: str
    fix: str = ""

    def __str__(self) -> str:
        fix = f" -> {self.fix}" if self.fix else ""
        return f"{self.where}: {self.message}{fix}"


class PerennialError(Exception):
    """Base of all errors that Perennial raises on purpose; `problems` says what, where and what to do."""

    exit_code = 1

    def __init__(self, problems: str | Problem | Sequence[Problem]) -> None:
        if isinstance(problems, str):
            problems = [Problem(where="perennial", message=problems)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(str(p) for p in self.problems))


class ConfigError(PerennialError):
    """A file under config/ or an environment variable is wrong: a person mends it, a retry does not help."""

    exit_code = 2


class ContractViolation(PerennialError):  # noqa: N818 - the field's term
    """What one room handed to another is not what was agreed (schema, freshness, a law): stop, and tell someone."""

    exit_code = 3


class BatchRefused(PerennialError):  # noqa: N818
    """A landed file or batch cannot be read or breaks its contract as a whole: it is set aside, the rest goes on."""

    exit_code = 4


class RowRejected(PerennialError):  # noqa: N818
    """One row cannot be used: it goes to quarantine (or to the rejects of a push) and the others go on."""

    exit_code = 4


class PermanentError(PerennialError):
    """Trying again gives the same: fail now."""


class Overtaken(PerennialError):  # noqa: N818
    """A newer day or revision took this run's place: nothing is wrong, and nothing more is to be done for this run."""

    exit_code = 75  # run again: the newer one


class RetryableError(PerennialError):
    """The outside failed for a moment (busy, time-out, 5xx): try again later."""

    exit_code = 75  # EX_TEMPFAIL of sysexits.h
