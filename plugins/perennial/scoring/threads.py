"""One thread, where sums must come out the same on every machine."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Literal

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]


def one_thread(api: Literal["blas", "openmp"] | None = None) -> AbstractContextManager[Any]:
    """Limit BLAS, OpenMP, or both (None) to one thread inside the block."""
    limits: AbstractContextManager[Any] = threadpool_limits(limits=1, user_api=api)
    return limits
