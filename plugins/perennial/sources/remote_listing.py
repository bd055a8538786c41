"""What lies in a folder of another machine: one pass over it, names that are safe, versions, and what is still written.

A remote name is hostile (L23): it is compared and shown, and never becomes a path here.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from perennial.contracts.sources import Readiness
from perennial.core.ids import digest_of
from perennial.core.remote_systems import RemoteSystem
from perennial.sources.landing import shown_name

_NAME_LENGTH = 1_000
_PART_BYTES = 255
_SHOWN = 200
_DEPTH = 40  # a `**` goes no deeper: a server may lead in circles
_VERSION_LENGTH = 120  # the ledger's column
_UNFINISHED = (".tmp", ".part", ".filepart")
_DATE = re.compile(r"(?<!\d)(\d{4})[-_.]?(\d{2})[-_.]?(\d{2})(?!\d)")
_MD5 = re.compile(r"[0-9a-f]{32}")
_SUFFIX_BYTES = 80
_VERSION_IN_NAME = 10


@dataclass(frozen=True)
class RemoteFile:
    """A file there: `name` is below the url, `changed` in seconds by the server's clock.

    `whole` is said of objects, which appear when they are; `md5` is the ETag where it looks like one.
    """

    name: str
    path: str
    size: int
    version: str
    changed: float | None
    whole: bool = False
    md5: str | None = None


@dataclass
class Listing:
    """`files` in the order in which they changed; `refused` are names with the reason."""

    files: list[RemoteFile] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)  # of all that was listed, for markers


def list_files(system: RemoteSystem, glob: str, *, others: Sequence[str] = (), leave: str = "") -> Listing:
    """Every file below the system's root whose name the glob takes.

    `others` are the globs of the source's other entities: a name that two take is refused. What lies in the folder
    `leave` is left out. Raises what the system raises.
    """
    found = Listing()
    for name, entry in _walk(system, glob, leave, found):
        found.names.add(name)
        if not _fits(glob.split("/"), name.split("/")):
            continue
        reason = _refusal(name, entry, [other for other in others if _fits(other.split("/"), name.split("/"))])
        if reason:
            found.refused.append((shown_name(name)[:_SHOWN], reason))
        elif not _is_unfinished(name):
            found.files.append(remote_file(system, name, entry))
    found.files.sort(key=lambda file: (file.changed or 0.0, file.name))
    return found


def _walk(system: RemoteSystem, glob: str, leave: str, found: Listing) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names and entries of all files in the folders that may hold what the glob takes."""
    todo = [""]
    while todo:
        folder = todo.pop()
        base = path_below(system.root, folder)
        for entry in _entries(system, base, is_root=not folder):
            part = _own_name(entry["name"], base)
            if part == "":
                continue  # S3's own object for a folder
            if part is None or part in {".", ".."}:
                found.refused.append((shown_name(str(entry["name"]))[:_SHOWN], "the name leads out of the folder"))
                continue
            name = f"{folder}/{part}" if folder else part
            if entry["type"] != "directory":
                yield name, entry
            elif _leads(glob.split("/"), name.split("/")) and name != leave and name.count("/") < _DEPTH:
                todo.append(name)


def _entries(system: RemoteSystem, folder: str, *, is_root: bool) -> Sequence[dict[str, Any]]:
    """The folder's entries; none where it went away meanwhile, or where an object store has nothing there yet."""
    try:
        return list(system.fs.ls(folder, detail=True))
    except FileNotFoundError as error:
        absent_bucket = error.__cause__ is not None
        if is_root and (system.has_folders or absent_bucket):
            raise
        return []


def path_below(root: str, name: str) -> str:
    """The path of a name below the system's root."""
    if not name:
        return root
    return f"{root}{name}" if root in {"", "/"} else f"{root}/{name}"


def _own_name(path: str, base: str) -> str | None:
    """The entry's name in its folder; None when it has more than one part."""
    prefix = f"{base.rstrip('/')}/" if base else ""
    if not path.startswith(prefix):
        return "" if path.rstrip("/") == base.rstrip("/") else None
    own = path[len(prefix) :].rstrip("/") if path != prefix else ""
    return None if "/" in own or (path != prefix and not own) else own


def _fits(pattern: Sequence[str], name: Sequence[str]) -> bool:
    """Whether the glob takes the name: `*` stays inside a folder, `**` goes through any number of them."""
    if not pattern:
        return not name
    if pattern[0] == "**":
        return _fits(pattern[1:], name) or (bool(name) and _fits(pattern, name[1:]))
    return bool(name) and fnmatchcase(name[0], pattern[0]) and _fits(pattern[1:], name[1:])


def _leads(pattern: Sequence[str], folder: Sequence[str]) -> bool:
    """Whether something below the folder may be taken."""
    if not pattern or pattern[0] == "**" or not folder:
        return bool(pattern)
    return fnmatchcase(folder[0], pattern[0]) and _leads(pattern[1:], folder[1:])


def _refusal(name: str, entry: dict[str, Any], also: Sequence[str]) -> str:
    if not name.isprintable() or "\\" in name:
        return "the name holds control characters or backslashes, or is not UTF-8"
    if len(name) > _NAME_LENGTH or any(len(part.encode()) > _PART_BYTES for part in name.split("/")):
        return "the name is too long"
    if entry.get("islink") or entry["type"] != "file":
        return "it is a link or a device, which is not read"
    if also:
        return f"two entities take it (also {also[0]}): make their globs distinct"
    return ""


def _is_unfinished(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/")) or name.endswith(_UNFINISHED)


def remote_file(system: RemoteSystem, name: str, entry: dict[str, Any]) -> RemoteFile:
    """The entry of a listing or of `info` as a file."""
    path = str(entry["name"])
    changed = _seconds(entry.get("mtime") or entry.get("LastModified") or entry.get("modified"))
    etag = str(entry.get("ETag") or entry.get("etag") or "").strip('"')
    size = entry["size"] if entry.get("size") is not None else system.fs.info(path)["size"]
    stamp = changed if changed is not None else _seconds(entry.get("created"))
    version = etag or f"{size}-{stamp if stamp is not None else ''}"
    if len(version) > _VERSION_LENGTH or not version.isprintable():
        version = digest_of([version], length=40)
    return RemoteFile(name, path, int(size), version, stamp, bool(etag), etag if _MD5.fullmatch(etag) else None)


def _seconds(moment: Any) -> float | None:
    if isinstance(moment, datetime):
        return moment.timestamp()
    return float(moment) if isinstance(moment, int | float) else None


def split_ready(
    listing: Listing, files: Sequence[RemoteFile], ready: Readiness, settle_seconds: float
) -> tuple[list[RemoteFile], list[RemoteFile]]:
    """The files that are whole, and those that must be looked at once more.

    Without marker or rename a file is whole when another one on the same server is newer by the settling time: only
    the server's own clock counts.
    """
    if ready.by == "marker":
        return [file for file in files if marker_of(file.name, ready.marker) in listing.names], []
    if ready.by == "rename":
        return list(files), []
    newest = max((file.changed for file in listing.files if file.changed is not None), default=0.0)
    whole: list[RemoteFile] = []
    young: list[RemoteFile] = []
    for file in files:
        old = file.changed is not None and file.changed <= newest - settle_seconds
        (whole if old or file.whole else young).append(file)
    return whole, young


@dataclass
class Looks:
    """When young files were first seen as they are, by this machine's clock, kept between fetches."""

    path: Path
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.path.exists():
            self._seen = {name: (version, at) for name, version, at in json.loads(self.path.read_text("utf-8"))}

    def seconds_since(self, file: RemoteFile) -> float:
        """How long ago the file was first seen in this version; negative when it was not."""
        version, at = self._seen.get(file.name, ("", 0.0))
        return time.time() - at if version == file.version else -1.0

    def remember(self, files: Sequence[RemoteFile]) -> None:
        """Keep these and no others: what is seen again in its version keeps its time."""
        now = time.time()
        times = {f.name: self._seen[f.name][1] if self.seconds_since(f) >= 0 else now for f in files}
        part = self.path.with_suffix(".part")
        part.write_text(json.dumps([(f.name, f.version, times[f.name]) for f in files]), encoding="utf-8")
        part.replace(self.path)


def marker_of(name: str, marker: str) -> str:
    """The name of the marker that lies beside the file."""
    folder, slash, own = name.rpartition("/")
    return f"{folder}{slash}{marker.replace('{name}', own)}"


def suffix_of(path: str, file: RemoteFile) -> str | None:
    """What stands for `{date}` or `*` in the entity's path; None when it needs a date and the name has none.

    Harmless characters of the remote name, and a digest of name and version: two versions are two landed files.
    """
    if "{date}" in path:
        return _date_in(file.name)
    before, _, after = path.rpartition("/")[2].partition("*")
    own = file.name.rpartition("/")[2].removeprefix(before)
    own = own.removesuffix(after) if after else own
    plain = (
        re.sub(r"[^\w.-]+", "-", own.replace("..", "-")).strip("-.").encode()[:_SUFFIX_BYTES].decode(errors="ignore")
    )
    return f"{plain}-{digest_of([file.name, file.version], length=_VERSION_IN_NAME)}".lstrip("-")


def _date_in(name: str) -> str | None:
    for found in reversed(list(_DATE.finditer(name))):
        try:
            return date(*(int(part) for part in found.groups())).isoformat()
        except ValueError:
            continue
    return None
