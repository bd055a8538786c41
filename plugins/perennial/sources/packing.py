"""Unpacking what landed packed: gzip, zstd, and zip with exactly one file in it, never beyond the contract's limit."""

from __future__ import annotations

import errno
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Literal

Packing = Literal["", "gzip", "zstd", "zip"]

_CHUNK = 1 << 20
_INFLATED_AT_ONCE = 1 << 24  # bounds what a gzip bomb may unfold into memory
_GZIP_MAGIC, _ZSTD_MAGICS = b"\x1f\x8b", (b"\x28\xb5\x2f\xfd",)
_PACKED = (_GZIP_MAGIC, *_ZSTD_MAGICS, b"PK\x03\x04", b"BZh", b"\xfd7zXZ\x00", b"7z\xbc\xaf\x27\x1c", b"Rar!")
_SUFFIXES: dict[str, Packing] = {".gz": "gzip", ".zst": "zstd", ".zip": "zip"}
_WHOLE = "send the file again, whole, and under another name until it is"
_END_OF_ZIP, _END_BYTES, _COMMENT_BYTES = b"PK\x05\x06", 22, 65_535
_MOST_LISTED = 1_000  # members that a zip may name before we refuse to read their names
_MOST_INDEX_BYTES = 1 << 20
_ENCRYPTED = 0x1
_SHOWN = 3


class PackingError(Exception):
    """The packed file is not whole, or not what it may be: what was found, and what to do."""

    def __init__(self, message: str, fix: str = _WHOLE) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


def packing_of(name: str) -> Packing:
    """How the file is packed, by the end of its name."""
    return _SUFFIXES.get(PurePosixPath(name).suffix, "")


def unpack(path: Path, packing: Packing, target: Path, *, limit: int) -> None:
    """Write the one file that is packed in `path` to `target`, in bounded memory. Raises PackingError."""
    with target.open("wb") as out:
        head = b""
        for chunk in bounded(_unpacked(path, packing), limit):
            if not head:
                head = chunk[:8]
                _refuse_nested(head)
            out.write(chunk)


def bounded(chunks: Iterator[bytes], limit: int) -> Iterator[bytes]:
    """The chunks, as long as they are no more than `limit` bytes together."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > limit:
            raise PackingError(
                f"it unpacks to more than {limit:,} bytes",
                "land it in parts, or raise `max_unpacked_bytes:` in sources.yml if it is meant to be that large",
            )
        if chunk:
            yield chunk


def inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """What gzip packed into the chunks, also when several gzip files are strung together."""
    unpacker, seen = zlib.decompressobj(wbits=31), 0
    for chunk in chunks:
        if seen == 0 and not chunk.startswith(_GZIP_MAGIC):
            raise PackingError("the name ends in .gz, the content is not gzip")
        seen += len(chunk)
        data = chunk
        while data:
            if unpacker.eof:
                unpacker = zlib.decompressobj(wbits=31)
            try:
                yield unpacker.decompress(data, _INFLATED_AT_ONCE)
            except zlib.error as error:
                raise PackingError(f"damaged gzip near byte {seen}: {error}") from None
            data = unpacker.unused_data if unpacker.eof else unpacker.unconsumed_tail
            data = data.lstrip(b"\x00") if unpacker.eof else data  # padding
    yield unpacker.flush()
    if seen and not unpacker.eof:
        raise PackingError(f"the gzip file is cut off after {seen} bytes")


def _unpacked(path: Path, packing: Packing) -> Iterator[bytes]:
    if packing == "gzip":
        with path.open("rb") as stream:
            yield from inflated(_chunks(stream))
    elif packing == "zstd":
        yield from _of_zstd(path)
    else:
        yield from _of_zip(path)


def _chunks(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _refuse_nested(head: bytes) -> None:
    if head.startswith(_PACKED):
        raise PackingError("what is packed in it is packed itself", "pack the file once")


def _of_zstd(path: Path) -> Iterator[bytes]:
    import pyarrow as pa

    with path.open("rb") as plain:
        head = plain.read(4)
    if head not in _ZSTD_MAGICS:
        raise PackingError("the name ends in .zst, the content is not zstd" if head else "the file is empty")
    try:
        with pa.CompressedInputStream(pa.OSFile(str(path)), "zstd") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0][:200]
        raise PackingError(f"damaged or cut off zstd: {reason}") from None


def _of_zip(path: Path) -> Iterator[bytes]:
    _refuse_long_index(path)
    try:
        with zipfile.ZipFile(path) as archive:
            member = _only_member(archive)
            with archive.open(member) as stream:
                yield from _chunks(stream)
    except (zipfile.BadZipFile, zlib.error, EOFError, struct.error, ValueError, OverflowError) as error:
        raise PackingError(f"not a whole zip file: {error}") from None
    except OSError as error:
        if error.errno != errno.EINVAL:  # its index points to before its beginning; anything else is of the disk
            raise
        raise PackingError("not a whole zip file: its index leads nowhere") from None
    except (NotImplementedError, RuntimeError) as error:
        raise PackingError(f"packed in a way that is not read here: {error}", "pack it by deflate") from None


def _refuse_long_index(path: Path) -> None:
    """The index of a zip is read into memory whole: it must be short."""
    size = path.stat().st_size
    with path.open("rb") as stream:
        stream.seek(max(0, size - _END_BYTES - _COMMENT_BYTES))
        tail = stream.read()
    at = tail.rfind(_END_OF_ZIP)
    if at < 0 or len(tail) - at < _END_BYTES:
        raise PackingError("not a whole zip file: it has no end" if size else "the file is empty")
    entries, index_bytes = struct.unpack_from("<HI", tail, at + 10)
    if entries > _MOST_LISTED or index_bytes > _MOST_INDEX_BYTES:
        raise PackingError(f"the zip holds {entries:,} files", "pack exactly one file")


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [info for info in archive.infolist() if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    if len(members) != 1:
        names = ", ".join(repr(info.filename[:60]) for info in members[:_SHOWN])
        more = ", ..." if len(members) > _SHOWN else ""
        held = f"{len(members)} files ({names}{more})" if members else "no file"
        raise PackingError(f"the zip holds {held}", "pack exactly one file, and land each of several on its own")
    [member] = members
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    if ".." in parts or member.filename.startswith(("/", "\\")) or ":" in member.filename[:2]:
        raise PackingError(f"the file in the zip is called {member.filename[:60]!r}, which leads out of its folder",
                           "pack it under a plain name")  # fmt: skip
    if member.flag_bits & _ENCRYPTED:
        raise PackingError("the zip is protected by a password", "pack it without one; the landing zone is yours")
    return member
