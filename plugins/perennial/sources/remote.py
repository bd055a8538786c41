"""Files on other machines: S3-compatible storage, SFTP, any file system that fsspec knows.

One pass lists what the entity's glob takes; what is new and whole is brought here, older files first. A file with
another version under the same name is fetched again. What is to happen to a remote file afterwards (`after`) happens at
the start of a later fetch, and only when its bytes are in a committed batch (L1).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from perennial.contracts.connections import FilesConnection
from perennial.core.errors import PerennialError, PermanentError, Problem
from perennial.core.remote_systems import RemoteSystem, open_system
from perennial.sources.fetching import FetchedFile, Request
from perennial.sources.remote_download import ChangedMeanwhileError, Pause, download, require_unchanged
from perennial.sources.remote_listing import (
    Listing,
    Looks,
    RemoteFile,
    list_files,
    marker_of,
    path_below,
    split_ready,
    suffix_of,
)

_TOLD = 10  # refused names that are told one by one
_SAMPLE_BYTES = 1
_LONGEST_WAIT_SECONDS = 30.0  # within one fetch

Step = tuple[str, str]


def fetch(request: Request, *, pause: Pause = time.sleep) -> Iterator[FetchedFile]:
    """Yield what is new and whole, each as a file in the scratch folder. See `sources.fetching.Fetcher`."""
    given = _connection(request)
    with closing(open_system(given.url, given.id, request.connections)) as system:
        yield from _fetch(request, system, given, pause)


def _fetch(request: Request, system: RemoteSystem, given: FilesConnection, pause: Pause) -> Iterator[FetchedFile]:
    listed_at = time.monotonic()
    listing = _list(request, system, given)
    _tidy(request, system, given, listing)
    new = [file for file in listing.files if (file.name, file.version) not in request.known]
    whole, young = split_ready(listing, new, request.source.ready, request.source.settle_seconds)
    refusals: list[Problem] = []
    for file in whole:
        yield from _bring(request, system, file, pause, refusals)
    for file in _stood_still(request, system, young, listed_at, pause):
        yield from _bring(request, system, file, pause, refusals)
    if refusals:
        raise PermanentError(refusals[:_TOLD])


def _stood_still(
    request: Request, system: RemoteSystem, young: Sequence[RemoteFile], listed_at: float, pause: Pause
) -> Iterator[RemoteFile]:
    """No server tells its clock: a young file is looked at twice, a settling time apart, here or in two fetches."""
    settle = request.source.settle_seconds
    looks = Looks(request.state / f"{request.entity_name}.looks.json")
    stood = [file for file in young if looks.seconds_since(file) >= settle]
    yield from stood
    others = [file for file in young if file not in stood]
    if not others:
        return
    if settle > _LONGEST_WAIT_SECONDS:
        looks.remember(others)
        request.notes.extend(f"{file.name} waits until it has stood still for {settle:g} s" for file in others[:_TOLD])
    else:
        pause(max(0.0, settle - (time.monotonic() - listed_at)))
        yield from (file for file in others if _is_unchanged(request, system, file))


def check(request: Request) -> list[Step]:
    """Steps `connect`, `list`, `read`, each with `ok...` or what is wrong and how to mend it."""
    steps: list[Step] = []
    try:
        given = _connection(request)
        with closing(open_system(given.url, given.id, request.connections)) as system:
            for step in _steps(request, system, given):
                steps.append(step)  # noqa: PERF402 - those before the one that fails are kept
    except PerennialError as error:
        name = ("connect", "list", "read")[len(steps)]
        steps.append((name, str(error)))
    return steps


def _steps(request: Request, system: RemoteSystem, given: FilesConnection) -> Iterator[Step]:
    with system.told("connecting"):
        _ = system.fs
    yield "connect", "ok"
    listing = _list(request, system, given)
    refused = f", {len(listing.refused)} refused" if listing.refused else ""
    yield "list", f"ok: {len(listing.files)} files{refused}"
    if listing.files:
        with system.told("reading a file"), system.fs.open(listing.files[-1].path, "rb") as handle:
            handle.read(_SAMPLE_BYTES)
        yield "read", "ok"


def has_news(request: Request) -> bool:
    """Whether a fetch would find something to do: one listing, nothing is read. Raises as `fetch` does."""
    given = _connection(request)
    with closing(open_system(given.url, given.id, request.connections)) as system:
        listing = _list(request, system, given)
    new = [file for file in listing.files if (file.name, file.version) not in request.known]
    whole, young = split_ready(listing, new, request.source.ready, request.source.settle_seconds)
    return bool(whole or young or (given.after != "keep" and _finished(request, listing)))


def _connection(request: Request) -> FilesConnection:
    given = request.source.connection
    if not isinstance(given, FilesConnection):
        raise PermanentError(Problem(request.source_name, "is not a source of remote files"))
    return given


def _list(request: Request, system: RemoteSystem, given: FilesConnection) -> Listing:
    remote = {name: entity.remote for name, entity in request.source.entities.items() if entity.remote is not None}
    others = [found.glob for name, found in remote.items() if name != request.entity_name]
    leave = given.move_to.strip("/") if given.after == "move" else ""
    with system.told("listing the folder"):
        listing = list_files(system, remote[request.entity_name].glob, others=others, leave=leave)
    for name, reason in listing.refused[:_TOLD]:
        request.notes.append(f"{name} is not fetched: {reason}")
    if len(listing.refused) > _TOLD:
        request.notes.append(f"{len(listing.refused) - _TOLD} more names are not fetched")
    return listing


def _bring(
    request: Request, system: RemoteSystem, file: RemoteFile, pause: Pause, refusals: list[Problem]
) -> Iterator[FetchedFile]:
    """The file, if it could be had. One that the system refuses keeps back no other: it is told at the end."""
    suffix = suffix_of(request.entity.path, file)
    if suffix is None:
        fix = "use a `*` in the entity's path, and name a column as business_date"
        request.notes.append(f"{file.name} is not fetched: its name has no date, and the path wants one -> {fix}")
        return
    target = request.scratch / "file"
    try:
        sha256 = download(system, file, target, pause=pause)
    except ChangedMeanwhileError:
        request.notes.append(f"{file.name} is still being written; it is fetched when it stands still")
        return
    except PermanentError as error:
        refusals += error.problems
        return
    yield FetchedFile(target, suffix, {}, remote=(file.name, file.version), sha256=sha256)


def _is_unchanged(request: Request, system: RemoteSystem, file: RemoteFile) -> bool:
    try:
        require_unchanged(system, file)
    except ChangedMeanwhileError:
        request.notes.append(f"{file.name} is still being written; it is fetched when it stands still")
        return False
    return True


def _finished(request: Request, listing: Listing) -> list[RemoteFile]:
    """Files that are there in just the version whose bytes are in a committed batch."""
    return [file for file in listing.files if (file.name, file.version) in request.committed]


def _tidy(request: Request, system: RemoteSystem, given: FilesConnection, listing: Listing) -> None:
    """Delete or move what is committed. What cannot be is told, and does not keep new files from being fetched."""
    if given.after == "keep":
        return
    for file in _finished(request, listing):
        try:
            with system.told(f"{given.after} of a file that is committed"):
                require_unchanged(system, file)
                _put_away(system, given, file)
                marker = marker_of(file.name, request.source.ready.marker)
                if request.source.ready.by == "marker" and marker in listing.names:
                    system.fs.rm_file(path_below(system.root, marker))
        except ChangedMeanwhileError:
            continue  # another version: it is fetched first
        except PerennialError as error:
            request.notes.append(f"committed files are left where they are: {error}")
            return


def _put_away(system: RemoteSystem, given: FilesConnection, file: RemoteFile) -> None:
    if given.after == "delete":
        system.fs.rm_file(file.path)
        return
    target = path_below(system.root, f"{given.move_to.strip('/')}/{file.name}")
    if system.fs.exists(target):  # an older version was moved before it: both are kept
        target = f"{target}.{suffix_of('*', file)}"
    system.move(file.path, target)
