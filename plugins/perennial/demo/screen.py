"""What the demo says: a live line on a terminal, a plain log elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

_PLAIN_STATUS_EVERY_SECONDS = 15.0


class Screen(Protocol):
    """Lines that stay, and one line that changes."""

    def line(self, text: str, *, style: str = "") -> None:
        """A line that stays."""

    def status(self, text: str) -> None:
        """What goes on now."""

    def close(self) -> None:
        """No more status."""


class PlainScreen:
    """For logs and pipes: one line for each event, the status every 15 s while nothing else is said."""

    def __init__(self) -> None:
        self._started = self._told = time.monotonic()

    def line(self, text: str, *, style: str = "") -> None:  # noqa: ARG002 - a log has no colours
        """A line with the seconds since the start."""
        self._told = time.monotonic()
        sys.stdout.write(f"{self._told - self._started:6.1f} s  {text}\n")
        sys.stdout.flush()

    def status(self, text: str) -> None:
        """Said only when nothing was said for a while."""
        if time.monotonic() - self._told >= _PLAIN_STATUS_EVERY_SECONDS:
            self.line(f"... {text}")

    def close(self) -> None:
        """Nothing to close."""


class LiveScreen:
    """For people: a spinner with what goes on, above it what was done."""

    def __init__(self) -> None:
        from rich.console import Console

        self._console: Console = Console(highlight=False)
        self._status: Status | None = None
        self._started = time.monotonic()

    def line(self, text: str, *, style: str = "") -> None:
        """A line with the seconds since the start."""
        self._console.print(f"[dim]{time.monotonic() - self._started:6.1f} s[/dim]  {text}", style=style or None)

    def status(self, text: str) -> None:
        """The line with the spinner."""
        if self._status is None:
            self._status = self._console.status(text)
            self._status.start()
        self._status.update(text)

    def close(self) -> None:
        """Take the spinner away."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def make_screen() -> Screen:
    """A live screen on a terminal, a plain one elsewhere."""
    return LiveScreen() if sys.stdout.isatty() else PlainScreen()
