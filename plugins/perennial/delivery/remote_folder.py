"""The destinations `sftp` and `s3`: the outbox's layout in a folder of another machine.

<url>/<as_of>/<campaign>__<channel>[.n]/    the files and manifest.json
<url>/.making/                              SFTP: what a push is sending; the folder is renamed when all of it is there

SFTP renames the whole folder into place; S3 cannot, so there the manifest is put last, and only where there is none.
Before we send anything we write down here what it is (home/handed: manifest and keys, no address). After
a crash the other side tells what became of it: the list is there (accepted), what was sent for it still lies beside
(not accepted, removed), or nothing of it is left: the taker has fetched it and cleaned up, so it was accepted.
"""

from __future__ import annotations

import codecs
import json
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from perennial.contracts.destinations import RemoteFilesConfig
from perennial.core.connections import ConnectionStore
from perennial.core.errors import ContractViolation, PerennialError, PermanentError, Problem
from perennial.core.files import sync
from perennial.core.remote_systems import RemoteSystem, open_system
from perennial.delivery.files import KEYS_PARQUET, REFUSED_PARQUET, create_private, read_keys
from perennial.delivery.manifests import MANIFEST, name_of, receipt_of, write_list
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
# In a note: the folder of a push; that all was sent and became visible next; that it did.
_SENT_AS, _ABOUT, _ACCEPTED = "sent_as", "about", "accepted"
_RESTORE = "put the files back as they were; if nobody has used the list, remove its folder and it is written anew"


class RemoteFolder:
    """Writes lists below a url; what must outlive a crash of ours lies below `handed`."""

    def __init__(self, name: str, config: RemoteFilesConfig, connections: ConnectionStore, handed: Path) -> None:
        self._name = name
        self._config = config
        self._connections = connections
        self._handed = handed / name

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
        return Description(self._name, self._config.kind, tuple(self._config.channels), self._config.url)

    def check(self) -> Iterator[CheckStep]:
        """Whether the folder can be reached and written to, and whether the encoding is known."""
        try:
            with closing(self._open()) as system:
                yield from _checks(system, self._config.url)
        except PerennialError as error:
            problem = error.problems[0]
            yield CheckStep("connect", "failed", f"{problem.where}: {problem.message}", problem.fix)
        try:
            codecs.lookup(self._config.encoding)
            yield CheckStep("encoding", "passed", f"{self._config.encoding} is known")
        except LookupError:
            fix = "use a name such as utf-8, utf-8-sig or cp1251"
            yield CheckStep("encoding", "failed", f"no encoding is called {self._config.encoding!r}", fix)

    def push(self, changes: ChangeSet, confirm: Callable[[], None]) -> Receipt:
        """Write the list here, send its files, and make it visible at once. Raises PermanentError when it is there."""
        making = self._handed / _MAKING / f"{changes.key.name}.{uuid.uuid4().hex}"
        making.mkdir(parents=True, mode=0o700)
        try:
            with closing(self._open()) as system:
                place = _Place(system, changes.list_id, making.name)
                with system.told("looking for the list"):
                    self._require_free(place)
                    _forget(system, changes.key.name)
                manifest = write_list(making, changes, self._config)
                folder = self._note(making, manifest)
                with system.told("sending the list"):
                    place.send(making)
                confirm()
                (folder / _ABOUT).touch(mode=0o600)
                sync(folder)
                self._accept(place, making, folder)
                (folder / _ACCEPTED).touch(mode=0o600)
        finally:
            shutil.rmtree(making, ignore_errors=True)
        return self._receipt(folder)

    def unfinished(self, marked: Collection[str]) -> Iterator[str]:
        """The names of lists with a push that was interrupted, or with one that was accepted and is not marked."""
        noted = self._noted()
        names = {name_of(list_id) for list_id in noted if list_id not in marked}
        for list_id in noted.keys() & set(marked):
            _leave_the_manifest(noted[list_id])
        with closing(self._open()) as system, system.told("listing the folder"):
            names |= {name_of(list_id) for list_id in _lists(system) if list_id not in marked}
            names |= {path.rsplit("/", 1)[-1].rpartition(".")[0] for path in _ls(system, f"{system.root}/{_MAKING}")}
        yield from sorted(names)

    def reconcile(self, list_name: str, marked: Collection[str]) -> Iterator[Receipt]:
        """Remove what an interrupted push of the list left, and give what was accepted of it and is not marked.

        Raises ContractViolation for a list whose files are not those of its manifest.
        """
        with closing(self._open()) as system, system.told("reading the folder"):
            noted = self._noted()
            far = {list_id for list_id in _lists(system) if _is_of(list_id, list_name)}
            waiting = sorted((far | {one for one in noted if _is_of(one, list_name)}).difference(marked))
            receipts = [self._settled(system, list_id, noted.get(list_id)) for list_id in waiting]
            _forget(system, list_name)
        yield from (receipt for receipt in receipts if receipt is not None)

    def pull_feedback(self, cursor: Mapping[str, Any]) -> Feedback:
        """Nothing comes back from a folder."""
        return Feedback(iter(()), dict(cursor))

    def _open(self) -> RemoteSystem:
        return open_system(self._config.url, self._config.connection, self._connections, file="destinations.yml")

    def _accept(self, place: _Place, making: Path, folder: Path) -> None:
        with place.system.told("making the list visible"):
            try:
                place.accept(making)
            except FileExistsError:
                shutil.rmtree(folder)
                raise self._taken(place.list_id) from None

    def _require_free(self, place: _Place) -> None:
        """Raise PermanentError when the list was accepted; clear away what was only sent."""
        if place.is_accepted() or self._settled(place.system, place.list_id, self._noted().get(place.list_id)):
            raise self._taken(place.list_id)

    def _note(self, making: Path, manifest: dict[str, Any]) -> Path:
        """Write down here what is sent next: its manifest and the keys of its rows."""
        noting = making / "noted"
        noting.mkdir(mode=0o700)
        _copy_keys(making / manifest["keys_in"], noting / KEYS_PARQUET)
        if (making / REFUSED_PARQUET).exists():
            shutil.copyfile(making / REFUSED_PARQUET, noting / REFUSED_PARQUET)
        shutil.copyfile(making / MANIFEST, noting / MANIFEST)
        (noting / _SENT_AS).write_text(making.name, encoding="ascii")
        for path in noting.iterdir():
            path.chmod(0o600)
            sync(path)
        folder = self._handed / str(manifest["list_id"])
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        shutil.rmtree(folder, ignore_errors=True)  # of a push that was not accepted
        noting.rename(folder)
        sync(folder.parent)
        return folder

    def _noted(self) -> dict[str, Path]:
        """Lists that we have begun to send, by id."""
        return {
            f"{path.parent.parent.name}/{path.parent.name}": path.parent
            for path in sorted(self._handed.glob(f"*/*/{MANIFEST}"))
            if path.parent.parent.name != _MAKING
        }

    def _settled(self, system: RemoteSystem, list_id: str, folder: Path | None) -> Receipt | None:
        """What became of a list: its receipt, or None when it was not accepted, and is cleared away."""
        place = _Place(system, list_id, (folder / _SENT_AS).read_text(encoding="ascii") if folder else "")
        if folder and (folder / _ACCEPTED).exists() and MANIFEST not in place.names():
            return self._receipt(folder)  # the taker has begun to clear it away
        if place.is_accepted():
            return self._read_back(place, folder)
        if folder is None:
            return None  # of another destination, or of a home that was lost: nobody takes it for a list
        if (folder / _ABOUT).exists() and not place.is_left():
            return self._receipt(folder)  # nothing is left of what was sent whole: the taker has fetched it
        place.remove()
        shutil.rmtree(folder)
        return None

    def _read_back(self, place: _Place, folder: Path | None) -> Receipt | None:
        if folder and not place.names():
            return self._receipt(folder)  # the taker has fetched the files and left the folder
        manifest = place.manifest()
        if manifest.get("destination") != self._name:
            return None  # several destinations may share the folder
        place.require_whole(manifest)
        if folder is None:
            folder = self._fetch(place, manifest)
        elif json.loads((folder / MANIFEST).read_text(encoding="utf-8")) != manifest:
            raise _changed(place, MANIFEST)
        return self._receipt(folder)

    def _receipt(self, folder: Path) -> Receipt:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        return receipt_of(folder, {**manifest, "keys_in": KEYS_PARQUET}, path=folder)

    def _fetch(self, place: _Place, manifest: dict[str, Any]) -> Path:
        """Our own note of it is gone with the home folder: made anew from the files there."""
        making = self._handed / _MAKING / uuid.uuid4().hex
        making.mkdir(parents=True, mode=0o700)
        try:
            for name in {MANIFEST, str(manifest["keys_in"]), REFUSED_PARQUET} & place.names():
                with create_private(making / name):  # private before there is anything in it
                    pass
                place.system.fs.get_file(place.path(name), str(making / name))
            folder = self._note(making, manifest)
            (folder / _ABOUT).touch(mode=0o600)
            return folder
        finally:
            shutil.rmtree(making, ignore_errors=True)

    def _taken(self, list_id: str) -> PermanentError:
        fix = "if it is a list that was handed over, it is marked by the next run; else move it away"
        return PermanentError(Problem(f"{self._config.url}/{list_id}", "there is such a list already", fix))


class _Place:
    """Where one list lies, or is going to."""

    def __init__(self, system: RemoteSystem, list_id: str, making: str) -> None:
        self.system = system
        self.list_id = list_id
        self._target = f"{system.root}/{list_id}"
        # With folders it is sent beside its place and renamed; without, its files lie there before the manifest does.
        self._sent = f"{system.root}/{_MAKING}/{making}" if system.has_folders else self._target

    def path(self, name: str) -> str:
        """Of a file of the list."""
        return f"{self._target}/{name}"

    def names(self) -> set[str]:
        """The files of the list."""
        return {path.rsplit("/", 1)[-1] for path in _files(self.system, self._target)}

    def is_accepted(self) -> bool:
        """Whether the list is there for everyone."""
        return MANIFEST in self.names() if not self.system.has_folders else bool(self.system.fs.exists(self._target))

    def is_left(self) -> bool:
        """Whether files that were sent lie there, of a list that is not accepted."""
        return bool(_files(self.system, self._sent))

    def send(self, folder: Path) -> None:
        """Send the files, where nobody takes them for a list yet."""
        fs = self.system.fs
        if self.system.has_folders:
            fs.makedirs(self._sent, exist_ok=True)
        for path in sorted(folder.iterdir()):
            if path.name != MANIFEST or self.system.has_folders:
                fs.put_file(str(path), f"{self._sent}/{path.name}")

    def accept(self, folder: Path) -> None:
        """Make the list visible, in one step. Raises FileExistsError when there is one."""
        if not self.system.has_folders:
            self.system.fs.pipe_file(self.path(MANIFEST), (folder / MANIFEST).read_bytes(), mode="create")
            return
        try:
            self.system.move(self._sent, self._target)
        except OSError:
            if self.system.fs.exists(self._target):
                raise FileExistsError(self.list_id) from None
            raise

    def remove(self) -> None:
        """Take away what was sent and not accepted."""
        _rm(self.system, self._sent)

    def manifest(self) -> dict[str, Any]:
        """The manifest as it lies there. Raises ContractViolation when it is none."""
        try:
            found = json.loads(self.system.fs.cat_file(self.path(MANIFEST)))
            if found["list_id"] != self.list_id:
                raise _changed(self, MANIFEST)
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            raise _changed(self, MANIFEST) from None
        return dict(found)

    def require_whole(self, manifest: dict[str, Any]) -> None:
        """Raise ContractViolation unless each file of the manifest is there in its size."""
        sizes = {info["name"].rsplit("/", 1)[-1]: info["size"] for info in self.system.fs.ls(self._target, detail=True)}
        wrong = [file["name"] for file in manifest["files"] if sizes.get(file["name"]) != file["bytes"]]
        if wrong:
            raise _changed(self, ", ".join(wrong))


def _changed(place: _Place, what: str) -> ContractViolation:
    problem = f"{what} changed after the list was handed over, before it was marked"
    return ContractViolation(Problem(f"{place.system.where}/{place.list_id}", problem, _RESTORE))


def _checks(system: RemoteSystem, url: str) -> Iterator[CheckStep]:
    with system.told("connecting"):
        is_there = system.fs.exists(system.root)
    yield CheckStep("connect", "passed", f"{url} answers")
    if not is_there:
        yield CheckStep("folder", "skipped", "the folder is made by the first push")
        return
    name = f"{system.root}/{_MAKING}/check.{uuid.uuid4().hex}"
    with system.told("writing a file, and taking it away"):
        if system.has_folders:
            system.fs.makedirs(name, exist_ok=True)
        system.fs.pipe_file(f"{name}/empty", b"")
        _rm(system, name)
        _rm_if_empty(system, f"{system.root}/{_MAKING}")
    yield CheckStep("folder", "passed", f"{url} can be written to")


def _lists(system: RemoteSystem) -> list[str]:
    """The ids of lists that lie there, accepted or (without folders) on their way."""
    days = [path for path in _ls(system, system.root) if not path.endswith(f"/{_MAKING}")]
    return ["/".join(path.rsplit("/", 2)[-2:]) for day in days for path in _ls(system, day)]


def _is_of(list_id: str, list_name: str) -> bool:
    return name_of(list_id) == list_name


def _forget(system: RemoteSystem, list_name: str) -> None:
    """Remove what interrupted pushes of the list have sent, and nobody was told of."""
    making = f"{system.root}/{_MAKING}"
    for path in _ls(system, making):
        if path.rsplit("/", 1)[-1].rpartition(".")[0] == list_name:
            _rm(system, path)
    _rm_if_empty(system, making)


def _ls(system: RemoteSystem, path: str) -> list[str]:
    return [name for name, _ in _entries(system, path)]


def _files(system: RemoteSystem, path: str) -> list[str]:
    return [name for name, is_file in _entries(system, path) if is_file]


def _entries(system: RemoteSystem, path: str) -> list[tuple[str, bool]]:
    """Names in a folder, and whether each is a file. Some S3 storage lists the folder itself as well, even empty."""
    try:
        found = [(str(info["name"]), info["type"] == "file") for info in system.fs.ls(path, detail=True)]
    except FileNotFoundError:
        return []
    return sorted(
        (name.rstrip("/"), is_file and not name.endswith("/"))
        for name, is_file in found
        if name.rstrip("/") != path.rstrip("/")
    )


def _rm(system: RemoteSystem, folder: str) -> None:
    for path in _files(system, folder):
        system.fs.rm_file(path)
    if system.has_folders and system.fs.exists(folder):
        system.fs.rmdir(folder)


def _rm_if_empty(system: RemoteSystem, folder: str) -> None:
    if system.has_folders and system.fs.exists(folder) and not _ls(system, folder):
        system.fs.rmdir(folder)


def _leave_the_manifest(note: Path) -> None:
    """Of a list that is marked the ledger knows the rows."""
    for name in (KEYS_PARQUET, REFUSED_PARQUET):
        (note / name).unlink(missing_ok=True)


def _copy_keys(source: Path, target: Path) -> None:
    """The keys of a list alone, without an address."""
    with create_private(target) as raw:
        writer = None
        for batch in read_keys(source):
            writer = writer or pq.ParquetWriter(raw, batch.schema, compression="zstd", use_dictionary=["action"])
            writer.write_batch(batch)
        if writer is not None:
            writer.close()
