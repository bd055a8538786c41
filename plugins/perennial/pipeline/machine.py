"""What the machine refuses (a full disk, a folder that may not be read, a locked ledger), said in plain words."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb
import sqlalchemy as sa

from perennial.core.errors import Problem, RetryableError
from perennial.core.settings import Settings

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_GOES_ON = "the same command then goes on; nothing is lost"


@contextmanager
def machine_told(settings: Settings) -> Iterator[None]:
    """Inside, what the machine refuses is a RetryableError; what was committed stands, the rest is still landed."""
    try:
        yield
    except PermissionError as error:
        place = str(error.filename or settings.home)
        fix = f"let the service's user read and write it; {_GOES_ON}"
        raise RetryableError(Problem(place, f"cannot be opened: {error.strerror}", fix)) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _full(settings) from error
    except (duckdb.IOException, duckdb.OutOfMemoryException) as error:
        if "No space left" not in str(error) and "failed to offload" not in str(error):
            raise
        raise _full(settings) from error
    except sa.exc.OperationalError as error:
        if "disk is full" in str(error.orig) or "disk I/O" in str(error.orig):
            raise _full(settings) from error
        said = str(error.orig).splitlines()[0][:200]
        fix = f"see that the ledger's database runs and is not held by others; {_GOES_ON}"
        raise RetryableError(Problem("ledger", said, fix)) from error


def _full(settings: Settings) -> RetryableError:
    return RetryableError(Problem(str(settings.home), "the disk is full", f"make room; {_GOES_ON}"))
