"""What is wrong with a value of a YAML file, and what to write instead, in the words of who wrote it."""

from __future__ import annotations

import difflib
import re
from typing import Any

from pydantic_core import ErrorDetails

# By the beginning of pydantic's type of error: what was expected, what to write.
_EXPECTED = (
    (("int_",), "a whole number", "write a number such as 28"),
    (("float_", "decimal_", "finite_"), "a number", "write a number such as 0.5"),
    (("bool_",), "true or false", "write true or false"),
    (("date_",), "a date", "write it as 2017-10-31"),
    (("string_type",), "text", "write text, in quotes if it looks like a number or a date"),
    (("tuple_", "list_", "set_", "frozen_set_"), "a list", "write a list: [first, second]"),
    (("model_", "dict_", "mapping_"), "keys with values", "write `key: value` lines, indented below it"),
)
_BOUNDS = {
    "greater_than_equal": ("ge", "less than {}", "write {} or more"),
    "greater_than": ("gt", "not more than {}", "write more than {}"),
    "less_than_equal": ("le", "more than {}", "write {} or less"),
    "less_than": ("lt", "not less than {}", "write less than {}"),
}
_PATTERNS = {
    "^[a-z][a-z0-9_]*$": "lower-case letters, digits and _, a letter first",
    "^[A-Z]{3}$": "three capital letters, as in EUR",
    "^[A-Z]{2}$": "two capital letters, as in DE",
    "^([01][0-9]|2[0-3]):[0-5][0-9]$": "a time of day in quotes, as in '21:30'",
}


def in_words(detail: ErrorDetails) -> tuple[str, str]:
    """(what is wrong, what to do) for one of pydantic's errors. Our own errors are `what; what to do`."""
    kind, found, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "value_error":
        message, _, fix = detail["msg"].removeprefix("Value error, ").partition("; ")
        return message, fix or "correct it"
    if kind.startswith("union_tag_") or kind == "literal_error":
        return _not_one_of(found, str(context["expected"])) if kind == "literal_error" else _kind(found, context)
    if kind in _BOUNDS:
        name, message, fix = _BOUNDS[kind]
        return f"{found} is {message.format(context[name])}", fix.format(context[name])
    if kind == "string_pattern_mismatch":
        pattern = str(context["pattern"])
        return f"{_shown(found)} does not have the form that is needed", f"write {_PATTERNS.get(pattern, pattern)}"
    expected = next(((what, fix) for begins, what, fix in _EXPECTED if kind.startswith(begins)), None)
    if expected is None:
        return f"{detail['msg']} (found {_shown(found)})", "correct the value"
    return "the value is missing" if found is None else f"{_shown(found)} is not {expected[0]}", expected[1]


def _kind(found: Any, context: Any) -> tuple[str, str]:
    """The key `kind`, by which pydantic tells the members of a union apart, is wrong or not there."""
    if "tag" in context:
        return _not_one_of(context["tag"], str(context["expected_tags"]))
    keys = [str(key) for key in found] if isinstance(found, dict) else []
    meant = difflib.get_close_matches("kind", keys, n=1, cutoff=0.6)
    return "this key is missing", f"did you mean kind? (there is {meant[0]!r})" if meant else "add `kind:`"


def _not_one_of(found: Any, expected: str) -> tuple[str, str]:
    choices = re.findall(r"'([^']*)'", expected)
    near = difflib.get_close_matches(str(found), choices, n=1, cutoff=0.6)
    words = f"one of {', '.join(choices)}" if len(choices) > 1 else expected
    return f"{_shown(found)} is not {words}", f"did you mean {near[0]}?" if near else f"write {words}"


def _shown(value: Any) -> str:
    if isinstance(value, str | int | float):
        return repr(value)
    return {"dict": "a block of keys", "list": "a list"}.get(
        type(value).__name__, "nothing" if value is None else str(value)
    )
