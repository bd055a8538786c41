"""One thread, where sums must come out the same on every machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


def one_thread() -> AbstractContextManager[Any]:
    """Limit BLAS and OpenMP to one thread inside the block."""
    limits: AbstractContextManager[Any] = threadpool_limits(limits=1)
    return limits
