"""Purchase histories as buy-till-you-die models read them: x, t_x and T, one row per client or per distinct history."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from perennial.scoring.features import Matrix

COLUMNS = ("x", "t_x", "T")
_KEYS = 2**62
_BLOCK = 16_384

Keys = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Histories:
    """Equally long columns.

    `x`: repeat purchases, `t_x`: time of the last one (0 without any), `T`: time observed, both counted from the first
    purchase; `weight`: how many clients have this history.
    """

    x: Matrix
    t_x: Matrix
    T: Matrix
    weight: Matrix

    def __len__(self) -> int:
        return len(self.x)

    def at(self, rows: Any, *, factor: float = 1.0) -> Histories:
        """The rows of a mask, slice or list of places, each standing for `factor` times as many clients."""
        part = [values[rows] for values in (self.x, self.t_x, self.T, self.weight)]
        return Histories(part[0], part[1], part[2], part[3] * factor if factor != 1.0 else part[3])


def histories_of(X: Matrix, sample_weight: Matrix | None = None) -> Histories:
    """The matrix (rows x 3: x, t_x, T) with its weights (1 without any), checked.

    Raises ValueError, with counts only, for another shape, unknown or negative numbers, broken counts, a last purchase
    after the end or without a repeat purchase, and negative weights.
    """
    given = np.asarray(X, dtype=np.float64)
    if given.ndim != 2 or given.shape[1] != len(COLUMNS):  # noqa: PLR2004
        raise ValueError(f"expected rows x (x, t_x, T), got a matrix of {given.shape}")
    x, t_x, age = (given[:, place] for place in range(3))  # views: ten million rows are not copied
    weight = np.broadcast_to(1.0, x.shape) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != x.shape:
        raise ValueError(f"{len(x)} rows, but weights of shape {weight.shape}")
    histories = Histories(x, t_x, age, weight)
    _refuse(histories)
    return histories


def blocks(count: int) -> Iterator[slice]:
    """Slices of all rows, each so short that what a step makes of it stays in the cache."""
    for low in range(0, count, _BLOCK):
        yield slice(low, min(low + _BLOCK, count))


_WRONG: dict[str, Callable[[Histories], npt.NDArray[np.bool_]]] = {
    "hold no finite number": lambda h: ~np.isfinite(h.x + h.t_x + h.T + h.weight),
    "have no whole count of 0 or more repeat purchases": lambda h: (h.x < 0) | (h.x != np.floor(h.x)),
    "have their last purchase before the first or after the end": lambda h: (h.t_x < 0) | (h.t_x > h.T),
    "have a time of a last repeat purchase, but none was made": lambda h: (h.x == 0) & (h.t_x > 0),
    "have a negative weight": lambda h: h.weight < 0,
}


def _refuse(histories: Histories) -> None:
    counts = dict.fromkeys(_WRONG, 0)
    for rows in blocks(len(histories)):
        part = histories.at(rows)
        for what, is_wrong in _WRONG.items():
            counts[what] += int(np.count_nonzero(is_wrong(part)))
    for what, count in counts.items():
        if count:
            raise ValueError(f"{count} of {len(histories)} histories {what}")


def distinct(histories: Histories) -> Histories:
    """Each history once, in ascending order of (x, t_x, T), with the sum of its weights."""
    if not len(histories):
        return histories
    keys = _whole_keys(histories)
    if keys is not None and (histories.weight == histories.weight[0]).all():
        return _counted(keys, histories)
    order = np.lexsort((histories.T, histories.t_x, histories.x)) if keys is None else np.argsort(keys)
    rows = histories.at(order)
    steps = (np.diff(rows.x) != 0) | (np.diff(rows.t_x) != 0) | (np.diff(rows.T) != 0)
    first = np.flatnonzero(np.append([True], steps))
    kept = rows.at(first)
    return Histories(kept.x, kept.t_x, kept.T, np.add.reduceat(rows.weight, first))


def _counted(keys: Keys, histories: Histories) -> Histories:
    """By the keys alone, where all weights are equal: sorting numbers is much cheaper than sorting rows."""
    days = int(histories.T.max()) + 1
    ordered = np.sort(keys)
    first = np.flatnonzero(np.append([True], np.diff(ordered) != 0))
    rest, age = np.divmod(ordered[first], days)
    x, t_x = np.divmod(rest, days)
    counts = np.diff(first, append=len(keys)) * histories.weight[0]
    return Histories(x.astype(np.float64), t_x.astype(np.float64), age.astype(np.float64), counts)


def _whole_keys(histories: Histories) -> Keys | None:
    """One integer per history in the order of (x, t_x, T), or None where times are no whole numbers."""
    days = histories.T.max() + 1
    if (histories.x.max() + 1) * days * days > _KEYS or (np.floor(histories.T) != histories.T).any():
        return None
    if (histories.t_x != np.floor(histories.t_x)).any():
        return None
    whole = [values.astype(np.int64) for values in (histories.x, histories.t_x, histories.T)]
    return np.asarray((whole[0] * int(days) + whole[1]) * int(days) + whole[2])


def sample(histories: Histories, size: int, seed: int) -> Histories:
    """At most `size` rows, each standing for more clients, so that the weights add up to the same."""
    count = len(histories)
    if count <= size:
        return histories
    rows = drawn(count, size, seed)
    return histories.at(rows, factor=float(histories.weight.sum() / histories.weight[rows].sum()))


def drawn(count: int, size: int | None, seed: int) -> Keys | slice:
    """Places of `size` of `count` rows, one from each of as many equal stretches; all rows where there are no more.

    Costs what it draws, not what there is, and keeps the order of the rows.
    """
    if size is None or count <= size:
        return slice(None)
    places = (np.arange(size) + np.random.default_rng(seed).random(size)) * (count / size)
    return np.minimum(places.astype(np.int64), count - 1)


def taken(X: Matrix, places: Keys | slice) -> Matrix:
    """These rows of a matrix."""
    given = np.asarray(X)
    return given if isinstance(places, slice) else np.take(given, places, axis=0)
