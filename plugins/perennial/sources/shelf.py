"""Putting landed files where they belong once their fate is written down: into the archive, or aside with the reason.

Moves are planned in a journal before the ledger is told and carried out after it, so that a process that is killed in
between leaves the next one all that it needs (L1).
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from perennial.core.errors import Problem
from perennial.core.settings import Settings
from perennial.sources.landing import LandedFile, shown_name

_NAME_BYTES = 200  # of the 255 that a file system takes: `.1.reason.txt` must have room


@dataclass(frozen=True)
class Move:
    """One file's way from landing/. Size and time of change tell whether it is still the file that was read."""

    name: str
    size: int
    mtime_ns: int
    target: str  # relative to the home folder
    reason: str = ""  # why it is set aside; empty when it is archived
    marker: str = ""  # of the file, below landing/: it is taken away with it


def to_archive(settings: Settings, files: Iterable[LandedFile]) -> list[Move]:
    """Moves of files whose rows are accounted for."""
    return _moves(settings, settings.archive, [(file, "") for file in files])


def to_refused(settings: Settings, files: Iterable[tuple[LandedFile, Problem]]) -> list[Move]:
    """Moves of files that cannot be used, each with its reason."""
    return _moves(settings, settings.refused, [(file, f"{problem}\n") for file, problem in files])


def lies_refused(settings: Settings, name: str) -> bool:
    """Whether a refused file of this name below landing/ still lies where it was set aside."""
    return os.path.lexists(_short(settings.refused / name))


def _moves(settings: Settings, shelf: Path, files: Iterable[tuple[LandedFile, str]]) -> list[Move]:
    moves: list[Move] = []
    taken: set[Path] = set()
    for file, reason in files:
        target = _free_name(shelf / shown_name(file.name), taken)
        taken.add(target)
        place = target.relative_to(settings.home).as_posix()
        moves.append(Move(file.name, file.size, file.mtime_ns, place, reason, file.marker))
    return moves


def _free_name(wanted: Path, taken: set[Path]) -> Path:
    """The name, or with `.1`, `.2`, ... behind it when something lies there; never longer than a file name may be."""
    short = _short(wanted)
    target, number = short, 0
    while os.path.lexists(target) or target in taken:
        number += 1
        target = short.with_name(f"{short.name}.{number}")
    return target


def _short(wanted: Path) -> Path:
    return wanted.with_name(wanted.name.encode()[:_NAME_BYTES].decode(errors="ignore"))


class Journal:
    """The planned moves of one source's batches: one small file each, gone when they are done."""

    def __init__(self, settings: Settings, source: str) -> None:
        self._settings = settings
        self._folder = settings.home / "journal" / source

    def plan(self, batch_id: str, moves: list[Move]) -> None:
        """Write down what will be moved when the ledger knows the batch."""
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f".{batch_id}.part"
        # The bytes of a name that is not UTF-8 survive as surrogates, which ASCII JSON can hold.
        part.write_text(json.dumps([asdict(move) for move in moves]), encoding="ascii")
        part.replace(self._folder / f"{batch_id}.json")

    def planned(self) -> list[str]:
        """The batches with moves that were planned and perhaps not carried out."""
        return sorted(path.stem for path in self._folder.glob("*.json")) if self._folder.is_dir() else []

    def carry_out(self, batch_id: str) -> None:
        """Move the files of the batch that are still there, and forget the plan."""
        path = self._folder / f"{batch_id}.json"
        for planned in json.loads(path.read_text(encoding="ascii")):
            carry_out(self._settings, Move(**planned))
        path.unlink()

    def forget(self, batch_id: str) -> None:
        """The ledger never knew the batch: its files stay in landing/."""
        (self._folder / f"{batch_id}.json").unlink()


def carry_out(settings: Settings, move: Move) -> None:
    """Move one file, if it is still there and still the file that was read; its reason is put beside it."""
    source, target = settings.landing / move.name, settings.home / move.target
    try:
        status = source.lstat()
    except FileNotFoundError:
        _take_away_marker(settings, move)
        return
    if (status.st_size, status.st_mtime_ns) != (move.size, move.mtime_ns):
        return  # another file came under this name meanwhile: it is not ours to move
    target.parent.mkdir(parents=True, exist_ok=True)
    if move.reason:
        target.with_name(f"{target.name}.reason.txt").write_text(move.reason, encoding="utf-8")
    _move(source, target)
    _take_away_marker(settings, move)


def _take_away_marker(settings: Settings, move: Move) -> None:
    """After its file: a file without its marker waits, a marker without its file would be told."""
    if move.marker:
        (settings.landing / move.marker).unlink(missing_ok=True)


def _move(source: Path, target: Path) -> None:
    try:
        source.replace(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        part = target.with_name(f".{target.name}.part")  # landing/ may lie on another device
        shutil.copy2(source, part, follow_symlinks=False)
        part.replace(target)
        source.unlink()
