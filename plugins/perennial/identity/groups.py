"""From joined pairs to groups: connected components, except where a group would contradict itself.

A component in which nothing contradicts is a group. The others are put together pair by pair, in the order of the
rules, and a pair that would contradict is refused and told: two birth dates, two first names, two tax numbers, two ids
of one source without proof, a pair that a person set apart. A group of more than `max_group` records is refused whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True)
class Features:
    """What must not contradict, by record: codes, -1 where unknown."""

    origin: Ints
    birth: Ints
    first: Ints
    tax: Ints


@dataclass(frozen=True)
class Details:
    """The features of the few records that are looked at one by one."""

    birth: dict[int, date | None]
    name: dict[int, Name]


@dataclass(frozen=True)
class Name:
    """A record's name: the first name plain and in its long form, and both names without what spellings differ in."""

    plain: str | None
    canonical: str | None
    first: str | None
    last: str | None


@dataclass
class Groups:
    """`label`: by record the smallest record of its group. `refused`: pairs that were not joined, and why."""

    label: Ints
    refused: list[tuple[int, int, str]] = field(default_factory=list)


def components(n: int, a: Ints, b: Ints) -> Ints:
    """By record the smallest record that it is connected with."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(a), dtype=np.int8), (a, b)), shape=(n, n))
    _, label = connected_components(graph, directed=False)
    smallest = np.full(label.max() + 1 if n else 0, n, dtype=np.int64)
    np.minimum.at(smallest, label, np.arange(n))
    found: Ints = smallest[label]
    return found


def group(
    n: int,
    edges: tuple[Ints, Ints, Ints],
    features: Features,
    details: Callable[[Ints], Details],
    *,
    proof_until: int,
    apart: Sequence[tuple[int, int]] = (),
    max_group: int = 20,
) -> Groups:
    """Groups of records 0..n-1. `edges`: a, b, rule; rules up to `proof_until` are proof."""
    a, b, rule = edges
    label = components(n, a, b)
    is_proof = rule <= proof_until
    proven = components(n, a[is_proof], b[is_proof])
    doubtful = _doubtful(label, proven, features, apart, max_group)
    result = Groups(label.copy())
    is_doubtful = np.isin(label[a], doubtful)
    if not is_doubtful.any():
        return result
    members = np.flatnonzero(np.isin(label, doubtful))
    result.label[members] = members
    builder = _Builder(features, details(members), proven, apart)
    order = np.lexsort((b[is_doubtful], a[is_doubtful], rule[is_doubtful]))
    chosen = [ends[is_doubtful][order].tolist() for ends in (a, b)]
    for left, right in zip(*chosen, strict=True):
        builder.join(left, right)
    result.refused = builder.finish(result.label, list(zip(*chosen, strict=True)), max_group)
    return result


def decide(label: Ints, merges: Sequence[tuple[int, int, int]], apart: Sequence[tuple[int, int]]) -> dict[int, int]:
    """Join the groups that people joined (decision, record, record), in `label` itself; gives the decision by head.

    What people set apart stays apart, also where a chain of other decisions would join it.
    """
    joined: dict[int, int] = {}
    for decision, left, right in merges:
        one, other = sorted((int(label[left]), int(label[right])))
        across = {one, other}
        if one == other or any({int(label[x]), int(label[y])} == across for x, y in apart):
            continue
        label[label == other] = one
        joined[other] = decision
    return joined


def _doubtful(label: Ints, proven: Ints, features: Features, apart: Sequence[tuple[int, int]], max_group: int) -> Ints:
    sizes = np.bincount(label)
    found = [np.flatnonzero(sizes > max_group)]
    multiple = sizes[label] > 1
    coded = (features.birth, features.first, features.tax)
    found += [_with_several(label[multiple], codes[multiple]) for codes in coded]
    # Ids of one source in a group must all be of one proven component.
    pairs = np.unique(np.stack([label[multiple], features.origin[multiple], proven[multiple]], axis=1), axis=0)
    if len(pairs):
        same = (pairs[1:, 0] == pairs[:-1, 0]) & (pairs[1:, 1] == pairs[:-1, 1])
        found.append(pairs[1:, 0][same])
    found.append(np.array([label[x] for x, y in apart if label[x] == label[y]], dtype=np.int64))
    return np.unique(np.concatenate(found)).astype(np.int64)


def _with_several(label: Ints, codes: Ints) -> Ints:
    """The groups in which there is more than one known code."""
    known = codes >= 0
    pairs = np.unique(np.stack([label[known], codes[known]], axis=1), axis=0)
    return pairs[1:, 0][pairs[1:, 0] == pairs[:-1, 0]] if len(pairs) else np.empty(0, dtype=np.int64)


class _Builder:
    """Groups put together one pair after the other."""

    def __init__(self, features: Features, details: Details, proven: Ints, apart: Sequence[tuple[int, int]]) -> None:
        self._features = features
        self._details = details
        self._proven = proven
        self._apart = {frozenset(pair) for pair in apart}
        self._members: dict[int, list[int]] = {}
        self._head: dict[int, int] = {}
        self._why: dict[tuple[int, int], str] = {}

    def _of(self, record: int) -> int:
        return self._head.setdefault(record, record)

    def _group(self, head: int) -> list[int]:
        return self._members.setdefault(head, [head])

    def join(self, left: int, right: int) -> None:
        """Join the groups of two records, if nothing in them contradicts."""
        one, other = sorted((self._of(left), self._of(right)))
        if one == other:
            return
        why = self._contradiction(self._group(one), self._group(other))
        if why is not None:
            self._why[left, right] = why
            return
        for record in self._members.pop(other):
            self._head[record] = one
            self._members[one].append(record)

    def _contradiction(self, ones: list[int], others: list[int]) -> str | None:
        for x in ones:
            for y in others:
                if frozenset((x, y)) in self._apart:
                    return "set apart by a person"
                if (why := self._differ(x, y)) is not None:
                    return why
        return None

    def _differ(self, x: int, y: int) -> str | None:
        f, d = self._features, self._details
        if f.origin[x] == f.origin[y] and self._proven[x] != self._proven[y]:
            return "two ids of one source, without proof"
        if f.tax[x] >= 0 and f.tax[y] >= 0 and f.tax[x] != f.tax[y]:
            return "two tax numbers"
        born, also = d.birth.get(x), d.birth.get(y)
        if born and also and not near_dates(born, also):
            return "two birth dates"
        return None if may_be_one(d.name[x], d.name[y]) else "two first names"

    def finish(self, label: Ints, edges: list[tuple[int, int]], max_group: int) -> list[tuple[int, int, str]]:
        """Write the groups into `label`; gives the pairs that stayed apart, and why."""
        for members in self._members.values():
            if len(members) <= max_group:
                label[members] = min(members)
        apart = [(a, b) for a, b in edges if label[a] != label[b]]
        return [(a, b, self._reason(a, b, max_group)) for a, b in apart]

    def _reason(self, a: int, b: int, max_group: int) -> str:
        if self._of(a) == self._of(b):
            return f"the group would have more than {max_group} records"
        return self._why.get((a, b), "another pair of the group contradicts")


def near_dates(one: date, other: date) -> bool:
    """Whether two birth dates may be one, mistyped: a sign or the year differs, or day and month are swapped."""
    if (one.month, one.day) == (other.month, other.day):
        return True
    if one.year == other.year and (one.month, one.day) == (other.day, other.month):
        return True
    return is_one_edit(one.isoformat(), other.isoformat())


def may_be_one(one: Name, other: Name) -> bool:
    """Whether two first names may be one: equal, a short form, an initial, mistyped, or swapped with the last name."""
    a, b = one.plain, other.plain
    if a is None or b is None or one.canonical == other.canonical or one.first == other.first:
        return True
    if one.first == other.last and one.last == other.first:
        return True
    if min(len(a), len(b)) == 1:
        return a[0] == b[0]
    return min(len(a), len(b)) >= 3 and a[0] == b[0] and a[-1] == b[-1] and is_one_edit(a, b)  # noqa: PLR2004


def is_one_edit(a: str, b: str) -> bool:
    """Whether one sign more, less or other, or two neighbours swapped, makes one text of the other."""
    if len(a) > len(b):
        a, b = b, a
    if len(b) - len(a) > 1:
        return False
    at = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    if len(a) < len(b):
        return a[at:] == b[at + 1 :]
    return a[at + 1 :] == b[at + 1 :] or (a[at : at + 2] == b[at : at + 2][::-1] and a[at + 2 :] == b[at + 2 :])
