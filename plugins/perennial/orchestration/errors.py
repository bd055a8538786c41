"""Our errors as Airflow's, in one place: what a retry cannot mend fails at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from perennial.core.errors import Overtaken, PerennialError, RetryableError


@contextmanager
def as_airflow_errors() -> Iterator[None]:
    """Inside: RetryableError goes through (Airflow retries it), every other PerennialError fails the task for good.

    A run that was overtaken by a newer one ends quietly: its task is skipped, with the sentence that says so.
    """
    try:
        yield
    except RetryableError:
        raise
    except Overtaken as error:
        raise AirflowSkipException(str(error)) from error
    except PerennialError as error:
        raise AirflowFailException(str(error)) from error
