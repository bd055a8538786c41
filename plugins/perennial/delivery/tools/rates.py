"""Manners (L19): so many calls a second for one account, whoever in this process asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Monotonic = Callable[[], float]


class Bucket:
    """A token bucket: `per_second` tokens come in, at most one waits there; `take` says how long to wait for one.

    It knows no event loop: tasks, threads and loops share one.
    """

    def __init__(self, per_second: float, now: Monotonic = time.monotonic) -> None:
        self._per_second, self._now = per_second, now
        self._next = now()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take one token, on credit if need be: the seconds after which it may be used."""
        with self._lock:
            moment = self._now()
            at = max(moment, self._next)
            self._next = at + 1 / self._per_second
            return at - moment

    def hold(self, seconds: float) -> None:
        """The vendor asked for quiet: nobody of this account calls for so long."""
        with self._lock:
            self._next = max(self._next, self._now() + seconds)

    def slow_down(self, per_second: float) -> None:
        """Go no faster than this from now on."""
        with self._lock:
            self._per_second = min(self._per_second, per_second)


_BUCKETS: dict[tuple[str, Monotonic], Bucket] = {}
_BUCKETS_LOCK = threading.Lock()


def bucket_of(account: str, per_second: float, now: Monotonic = time.monotonic) -> Bucket:
    """The one bucket of an account in this process; where two ask with two rates, the lower one holds for both."""
    with _BUCKETS_LOCK:
        bucket = _BUCKETS.setdefault((account, now), Bucket(per_second, now))
    bucket.slow_down(per_second)
    return bucket
