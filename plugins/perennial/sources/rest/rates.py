"""Manners (L19): so many requests per second and day for one account, whoever in this process asks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

from perennial.core.errors import Problem, RetryableError
from perennial.sources.rest.model import RateLimit

Pause = Callable[[float], None]


class Bucket:
    """A token bucket: `per_second` tokens come in, at most `burst` wait there; `take` says how long to wait for one."""

    def __init__(self, per_second: float, burst: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._now = per_second, float(burst), now
        self._tokens, self._at = float(burst), now()
        self._lock = threading.Lock()

    def take(self) -> float:
        """Take one token, on credit if need be: the seconds after which it may be used."""
        with self._lock:
            moment = self._now()
            self._tokens = min(self._burst, self._tokens + (moment - self._at) * self._per_second)
            self._at = moment
            self._tokens -= 1
            return max(0.0, -self._tokens / self._per_second)


_BUCKETS: dict[tuple[str, float, int], Bucket] = {}
_BUCKETS_LOCK = threading.Lock()


def bucket_of(account: str, limit: RateLimit) -> Bucket:
    """The one bucket of an account (the id of its connection) in this process."""
    with _BUCKETS_LOCK:
        key = (account, limit.per_second, limit.burst)
        return _BUCKETS.setdefault(key, Bucket(limit.per_second, limit.burst))


class DayCount:
    """How many requests an account has made on a day, kept in a file; it is written before the request is made."""

    def __init__(self, path: Path, per_day: int | None, today: date) -> None:
        self._path, self._per_day, self._today = path, per_day, today.isoformat()

    def take(self, where: str) -> None:
        """Count one request. Raises RetryableError when the day's are spent."""
        if self._per_day is None:
            return
        made = self._made()
        if made >= self._per_day:
            what = f"the {self._per_day} requests of {self._today} (rate_limit.per_day) are spent"
            raise RetryableError(Problem(where, what, "fetching goes on tomorrow where it stopped"))
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps({"day": self._today, "requests": made + 1}), encoding="ascii")
        part.replace(self._path)

    def _made(self) -> int:
        if not self._path.exists():
            return 0
        kept = json.loads(self._path.read_text(encoding="ascii"))
        return int(kept["requests"]) if kept["day"] == self._today else 0
