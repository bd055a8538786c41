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
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from perennial.contracts.destinations import OutboxConfig
from perennial.core.errors import ContractViolation, PermanentError, Problem
from perennial.core.files import sync
from perennial.delivery.files import (
    CsvStyle,
    WrittenFile,
    create_private,
    keys_file,
    read_keys,
    sha256_of,
    write_files,
)
from perennial.delivery.reasons import REASONS
from perennial.delivery.records import (
    ACTIONS,
    OUTCOMES,
    Capabilities,
    ChangeSet,
    CheckStep,
    Counts,
    Description,
    Feedback,
    ListKey,
    Receipt,
)

MANIFEST = "manifest.json"
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
            yield CheckStep("formats", "failed", "no format is named", "name csv, parquet or both")

    def push(self, changes: ChangeSet, confirm: Callable[[], None]) -> Receipt:
        """Write the list beside its place and give it its name. Raises PermanentError when the name is taken."""
        target = self._root / changes.list_id
        if target.exists():
            raise self._taken(changes.list_id)
        self._forget(changes.key.name)
        making = self._root / _MAKING / f"{changes.key.name}.{uuid.uuid4().hex}"
        self._make_folder(making)
        try:
            self._write(making, changes)
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
        names |= {_name_of(list_id) for list_id in self._accepted(marked)}
        yield from sorted(names)

    def reconcile(self, list_name: str, marked: Collection[str]) -> Iterator[Receipt]:
        """Remove what an interrupted push of the list left, and give what was accepted of it and is not marked.

        Raises ContractViolation for a folder whose files are not those of its manifest.
        """
        self._forget(list_name)
        for list_id in self._accepted(marked):
            if _name_of(list_id) == list_name:
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

    def _write(self, folder: Path, changes: ChangeSet) -> None:
        style = CsvStyle(self._config.delimiter, self._config.encoding)
        files = write_files(folder, changes.schema, changes.batches(), self._config.formats, csv=style)
        _require_rows(changes, files)
        text = json.dumps(self._manifest(changes, files), indent=2, ensure_ascii=False) + "\n"
        with create_private(folder / MANIFEST) as file:
            file.write(text.encode())
            os.fsync(file.fileno())
        sync(folder)

    def _manifest(self, changes: ChangeSet, files: list[WrittenFile]) -> dict[str, Any]:
        counts = changes.counts
        hidden = set() if "parquet" in self._config.formats else {"row_hash"}
        return {
            "version": 1,
            "list_id": changes.list_id,
            "campaign_id": changes.key.campaign_id,
            "channel": changes.key.channel,
            "as_of": changes.key.as_of.isoformat(),
            "list_type": changes.list_type,
            "destination": changes.destination,
            "key": ["campaign_id", "client_id", "channel", "as_of"],
            "counts": {name: getattr(counts, name) for name in ("size", "sent", "rejected", "skipped", "pending")},
            "actions": changes.actions,
            "not_sent": [_not_sent(code, rows) for code, rows in sorted(counts.reasons.items())],
            "columns": [{"name": f.name, "type": str(f.type)} for f in changes.schema if f.name not in hidden],
            "keys_in": keys_file(self._config.formats),
            "files": [file.as_json() for file in files],
        }

    def _receipt(self, folder: Path) -> Receipt:
        manifest = _read_manifest(folder)
        key = ListKey(manifest["campaign_id"], manifest["channel"], date.fromisoformat(manifest["as_of"]))
        reasons = {entry["reason"]: entry["rows"] for entry in manifest["not_sent"]}
        return Receipt(
            list_id=manifest["list_id"],
            key=key,
            list_type=manifest["list_type"],
            destination=self._name,
            counts=Counts(**manifest["counts"], reasons=reasons),
            path=folder,
            outcomes=lambda: _outcomes(folder / manifest["keys_in"]),
        )

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


def _not_sent(code: str, rows: int) -> dict[str, Any]:
    reason = REASONS[code]
    return {"reason": code, "words": reason.words, "fix": reason.fix, "tried_again": reason.tried_again, "rows": rows}


def _name_of(list_id: str) -> str:
    return list_id.partition("/")[2].partition(".")[0]


def _require_rows(changes: ChangeSet, files: list[WrittenFile]) -> None:
    for file in files:
        if file.rows != changes.counts.sent:
            problem = f"{file.name} has {file.rows} rows instead of {changes.counts.sent}"
            raise ContractViolation(Problem(changes.list_id, problem, "nothing was sent; run it again"))


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, once its files are those that it names."""
    where = f"{folder.parent.name}/{folder.name}"
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        wrong = [one["name"] for one in manifest["files"] if sha256_of(folder / one["name"]) != one["sha256"]]
        if manifest["list_id"] != where:
            wrong.append(MANIFEST)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"its manifest or a file of it cannot be read ({type(error).__name__})"
        raise ContractViolation(Problem(f"outbox/{where}", problem, _RESTORE)) from None
    if wrong:
        problem = f"{', '.join(wrong)} changed after the list was handed over, before it was marked"
        raise ContractViolation(Problem(f"outbox/{where}", problem, _RESTORE))
    return manifest


_RESTORE = "put the files back as they were; if nobody has used the list, remove the folder and it is written anew"


def _outcomes(path: Path) -> Iterator[pa.RecordBatch]:
    for keys in read_keys(path):
        rows = keys.num_rows
        columns = [keys.column(name) for name in ("client_id", "action", "row_hash")]
        state, reason = pa.repeat("accepted", rows), pa.nulls(rows, pa.string())
        yield pa.RecordBatch.from_arrays([*columns, state, reason], schema=OUTCOMES)
