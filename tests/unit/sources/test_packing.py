"""Files that land packed: gzip, zstd, zip of one file; bombs and tricks are refused in plain words."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile

import pyarrow as pa
import pytest

from factories.landed_formats import products_zone, read

HEAD = "id,name,dep,size\n"
ROWS = HEAD + 'p1,Käse,D,1\np2,"a\nb",D,2\n'


def _zip(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def _zstd(content: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return sink.getvalue().to_pybytes()


def _encrypted() -> bytes:
    data = bytearray(_zip(("a.csv", ROWS.encode())))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def _zone(tmp_path, suffix, **form):
    return products_zone(tmp_path, suffix, {"type": "csv"} | form)


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".csv.zst", _zstd),
        (".csv.zip", lambda content: _zip(("data/x.csv", content))),
        (".csv.zip", lambda content: _zip(("x.csv", content), ("__MACOSX/._x.csv", b"\0"), ("d/", b""))),
        (".csv.gz", lambda content: gzip.compress(content, mtime=0)),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_packed_csv_is_read_as_if_it_were_not_packed(tmp_path, suffix, pack, encoding):
    found = read(_zone(tmp_path, suffix, encoding=encoding), suffix, pack(ROWS.encode(encoding)))
    assert found.rows == [(2, "p1", "Käse", "D", "1"), (3, "p2", "a\nb", "D", "2")]


def test_other_formats_may_be_packed_too(tmp_path):
    zone = products_zone(tmp_path, ".jsonl.zst", {"type": "jsonl"})
    assert read(zone, ".jsonl.zst", _zstd(b'{"id": "a"}\n{"id": "b"}')).keys == [(1, "a"), (2, "b")]


@pytest.mark.parametrize(
    ("suffix", "content", "told"),
    [
        (".csv.zip", _zip(("a.csv", b"1"), ("b.csv", b"2")), "the zip holds 2 files ('a.csv', 'b.csv')"),
        (".csv.zip", _zip(), "the zip holds no file"),
        (".csv.zip", _zip(("../../etc/cron.d/x", b"1")), "leads out of its folder"),
        (".csv.zip", _zip(("/etc/passwd", b"1")), "leads out of its folder"),
        (".csv.zip", _zip(("..\\x.csv", b"1")), "leads out of its folder"),
        (".csv.zip", _zip(("C:x.csv", b"1")), "leads out of its folder"),
        (".csv.zip", _zip(("a.zip", _zip(("a.csv", b"1")))), "what is packed in it is packed itself"),
        (".csv.gz", gzip.compress(gzip.compress(b"1", mtime=0), mtime=0), "looks like gzip"),
        (".csv.zst", _zstd(_zstd(b"1")), "what is packed in it is packed itself"),
        (".csv.zip", _encrypted(), "protected by a password"),
        (".csv.zip", _zip(("a.csv", ROWS.encode() * 50))[:-30], "not a whole zip file"),
        (
            ".csv.zip",
            _zip(("a.csv", ROWS.encode() * 50)).replace(b"\x4b\x03\x04", b"\x4b\x03\x05", 1),
            "not a whole zip",
        ),
        (".csv.zip", b"", "the file is empty"),
        (".csv.zip", b"id,name\n", "it has no end"),
        (".csv.zip", _zip(*((f"{i}", b"") for i in range(1_001))), "the zip holds 1,001 files"),
        (".csv.zst", ROWS.encode(), "the content is not zstd"),
        (".csv.zst", _zstd(bytes(range(256)) * 500)[:-20], "damaged or cut off zstd"),
        (".csv.zst", b"", "the file is empty"),
    ],
)
def test_L23_tricks_of_archives_are_refused_with_what_to_do(tmp_path, suffix, content, told):
    problem = read(_zone(tmp_path, suffix), suffix, content).problem
    assert told in problem.message
    assert problem.fix


@pytest.mark.parametrize(
    ("suffix", "pack"),
    [
        (".csv.gz", lambda content: gzip.compress(content, mtime=0)),
        (".csv.zst", _zstd),
        (".csv.zip", lambda content: _zip(("a.csv", content))),
    ],
)
def test_L26_a_bomb_is_refused_at_the_contracts_limit_in_bounded_memory(tmp_path, suffix, pack):
    zone = _zone(tmp_path, suffix, max_unpacked_bytes=30_000_000)
    content = pack(HEAD.encode() + b"\n" * (60 << 20))
    tracemalloc.start()
    found = read(zone, suffix, content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "it unpacks to more than 30,000,000 bytes" in found.problem.message
    assert peak < 64 << 20
    assert not [path for path in (zone.home / "scratch").iterdir() if path.stat().st_size > 1 << 20]
