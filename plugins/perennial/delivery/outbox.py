"""The destination `outbox`: lists as files in a folder, complete or not there at all.

outbox/<as_of>/<campaign>__<channel>[.n]/   mode 700: manifest.json and the files, each mode 600
outbox/.making/                             what a push is writing; never read by anyone else

A list is accepted at the moment when its folder, with the manifest in it, gets its name. What was accepted but not
marked before a crash is read back from the folder itself.
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from perennial.contracts.destinations import OutboxConfig
from perennial.core.errors import PermanentError, Problem
from perennial.core.files import sync
from perennial.delivery.manifests import MANIFEST, name_of, read_list, receipt_of, write_list
from perennial.delivery.records import (
    ACTIONS,
    Capabilities,
    ChangeSet,
    CheckStep,
    Description,
    Feedback,
    Receipt,
)

_MAKING = ".making"
_TAKEN = {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}


class OutboxDestination:
    """Writes lists below `root`."""

    def __init__(self, name: str, config: OutboxConfig, root: Path) -> None:
        self._name = name
        self._config = config
        self._root = root

    @property
    def name(self) -> str:
        """The name in config/destinations.yml."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """Every verb and list type; a list id is taken once, and can be read back."""
        return Capabilities(
            actions=ACTIONS, list_types=("send", "audience"), repeatable=True, readable=True, feedback=False
        )

    def describe(self) -> Description:
        """The folder that it writes to."""
        return Description(self._name, "outbox", tuple(self._config.channels), str(self._root))

    def check(self) -> Iterator[CheckStep]:
        """Whether the folder can be written to, and whether its formats can."""
        yield self._check_folder()
        try:
            codecs.lookup(self._config.encoding)
            yield CheckStep("encoding", "passed", f"{self._config.encoding} is known")
        except LookupError:
            fix = "use a name such as utf-8, utf-8-sig or cp1251"
            yield CheckStep("encoding", "failed", f"no encoding is called {self._config.encoding!r}", fix)
        formats = ", ".join(self._config.formats)
        if formats:
            yield CheckStep("formats", "passed", f"writes {formats}")
        else:
            yield CheckStep("formats", "failed", "no format is named", "name csv, parquet, xlsx or jsonl")

    def push(self, changes: ChangeSet, confirm: Callable[[], None]) -> Receipt:
        """Write the list beside its place and give it its name. Raises PermanentError when the name is taken."""
        target = self._root / changes.list_id
        if target.exists():
            raise self._taken(changes.list_id)
        self._forget(changes.key.name)
        making = self._root / _MAKING / f"{changes.key.name}.{uuid.uuid4().hex}"
        self._make_folder(making)
        try:
            write_list(making, changes, self._config)
            confirm()
            self._make_folder(target.parent)
            making.rename(target)
        except OSError as error:
            if error.errno in _TAKEN:
                raise self._taken(changes.list_id) from None
            raise
        finally:
            self._forget(changes.key.name)
        sync(target.parent)
        sync(self._root)
        return self._receipt(target)

    def unfinished(self, marked: Collection[str]) -> Iterator[str]:
        """The names of lists with a push that was interrupted, or with one that was accepted and is not marked."""
        names = {path.name.rpartition(".")[0] for path in self._listed(self._root / _MAKING)}
        names |= {name_of(list_id) for list_id in self._accepted(marked)}
        yield from sorted(names)

    def reconcile(self, list_name: str, marked: Collection[str]) -> Iterator[Receipt]:
        """Remove what an interrupted push of the list left, and give what was accepted of it and is not marked.

        Raises ContractViolation for a folder whose files are not those of its manifest.
        """
        self._forget(list_name)
        for list_id in self._accepted(marked):
            if name_of(list_id) == list_name:
                yield self._receipt(self._root / list_id)

    def pull_feedback(self, cursor: Mapping[str, Any]) -> Feedback:
        """Nothing comes back from a folder."""
        return Feedback(iter(()), dict(cursor))

    def _check_folder(self) -> CheckStep:
        nearest = next(path for path in (self._root, *self._root.parents) if path.exists())
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            return CheckStep("folder", "passed", f"{self._root} can be written to")
        fix = "give the user who runs Perennial the right to write there, or set PERENNIAL_HOME"
        return CheckStep("folder", "failed", f"{nearest} cannot be written to", fix)

    def _receipt(self, folder: Path) -> Receipt:
        return receipt_of(folder, read_list(folder, "outbox"), path=folder)

    def _accepted(self, marked: Collection[str]) -> Iterator[str]:
        for day in self._listed(self._root):
            for one in self._listed(day) if day.name != _MAKING else ():
                list_id = f"{day.name}/{one.name}"
                if list_id not in marked and self._is_mine(one):
                    yield list_id

    def _is_mine(self, folder: Path) -> bool:
        """Several destinations may share the folder; a manifest that cannot be read is told by whoever meets it."""
        try:
            return bool(json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["destination"] == self._name)
        except FileNotFoundError:
            return False
        except (OSError, ValueError, KeyError, TypeError):
            return True

    @staticmethod
    def _listed(folder: Path) -> list[Path]:
        if not folder.is_dir():
            return []
        with os.scandir(folder) as entries:
            return sorted(Path(entry.path) for entry in entries if entry.is_dir())

    def _make_folder(self, folder: Path) -> None:
        for path in [*reversed([p for p in folder.parents if p.is_relative_to(self._root)]), folder]:
            path.mkdir(exist_ok=True, parents=True, mode=0o700)

    def _forget(self, list_name: str) -> None:
        making = self._root / _MAKING
        for path in self._listed(making):
            if path.name.rpartition(".")[0] == list_name:
                shutil.rmtree(path, ignore_errors=True)
        with suppress(OSError):  # not there, or another list is being made in it
            making.rmdir()

    def _taken(self, list_id: str) -> PermanentError:
        fix = "if it is a list that was handed over, it is marked by the next run; else move it away"
        return PermanentError(Problem(f"outbox/{list_id}", "there is such a folder already", fix))
