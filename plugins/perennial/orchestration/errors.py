"""Our errors as Airflow's, in one place: what a retry cannot mend fails at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException

from perennial.core.errors import PerennialError, RetryableError


@contextmanager
def as_airflow_errors() -> Iterator[None]:
    """Inside: RetryableError goes through (Airflow retries it), every other PerennialError fails the task for good."""
    try:
        yield
    except RetryableError:
        raise
    except PerennialError as error:
        raise AirflowFailException(str(error)) from error
