"""Paths into JSON: `customer.email`, `phones[0].value`, `custom_fields[code=EMAIL].values[0].value`.

Names are separated by dots; `[2]` is the third item of a list, `[name=value]` its first item with that value. What is
not there is None.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Annotated, Any

from pydantic import AfterValidator

Step = str | int | tuple[str, str]

_PART = re.compile(r"([^.\[\]]+)|\[(\d{1,4})\]|\[([^.\[\]=]+)=([^\[\]]*)\]")


@lru_cache(maxsize=1_024)
def steps_of(path: str) -> tuple[Step, ...]:
    """The path's steps; the empty path is the value itself. Raises ValueError with what is wrong."""
    steps: list[Step] = []
    at = 0
    while at < len(path):
        if steps and path[at] == ".":
            at += 1
        found = _PART.match(path, at)
        if found is None or (found[1] and steps and path[at - 1] != "."):
            raise ValueError(f"{path!r} is not a path such as customer.email or phones[0].value")
        steps.append(found[1] or (int(found[2]) if found[2] else (found[3], found[4])))
        at = found.end()
    if path.endswith("."):
        raise ValueError(f"{path!r} ends with a dot")
    return tuple(steps)


def resolve(value: Any, path: str) -> Any:
    """What stands at the path in a parsed JSON value, or None."""
    for step in steps_of(path):
        value = _one(value, step)
        if value is None:
            return None
    return value


def _one(value: Any, step: Step) -> Any:
    if isinstance(step, str):
        return value.get(step) if isinstance(value, dict) else None
    if not isinstance(value, list):
        return None
    if isinstance(step, int):
        return value[step] if step < len(value) else None
    name, wanted = step
    same = (item for item in value if isinstance(item, dict) and _text(item.get(name)) == wanted)
    return next(same, None)


def _text(value: Any) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value)


def paths_in(value: Any, at: str = "", *, depth: int = 4) -> Iterator[str]:
    """The paths of all scalars in a value, to propose one of them; the first item stands for its list."""
    if isinstance(value, dict) and depth:
        for name, inner in value.items():
            yield from paths_in(inner, f"{at}.{name}" if at else name, depth=depth - 1)
    elif isinstance(value, list) and value and depth:
        yield from paths_in(value[0], f"{at}[0]", depth=depth - 1)
    elif at:
        yield at


def _checked(path: str) -> str:
    steps_of(path)
    return path


JsonPath = Annotated[str, AfterValidator(_checked)]
