"""What triggers that look again and again have in common: news is told at once, what nobody took is told again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable
from collections.abc import Set as AbstractSet
from typing import TypeVar

T = TypeVar("T", bound=Hashable)


async def announcements(
    look: Callable[[], AbstractSet[T]], *, poll_seconds: float, first_reminder_seconds: float
) -> AsyncIterator[AbstractSet[T]]:
    """What `look` finds, whenever something in it is new; else after the first reminder, then twice as long each time.

    `look` runs in a thread.
    """
    announced: AbstractSet[T] = frozenset()
    patience, waited = first_reminder_seconds, 0.0
    while True:
        found = await asyncio.to_thread(look)
        if found - announced:
            patience, waited = first_reminder_seconds, 0.0
            yield found
        elif found and waited >= patience:
            patience, waited = 2 * patience, 0.0
            yield found
        announced = found
        waited += poll_seconds
        await asyncio.sleep(poll_seconds)
