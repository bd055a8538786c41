"""Reading a file once: what it is made of, and what is said when it is not what its contract says."""

from __future__ import annotations

import gzip
import hashlib
import tracemalloc

import pytest

from factories.landing_zone import DAY, PRODUCTS, Zone
from perennial.sources.config import load_sources
from perennial.sources.inspection import Inspected, inspect
from perennial.sources.landing import look

ROWS = f"{PRODUCTS}\np1,Käse Молоко,D,C,B,1,1 L\n"


def _inspected(
    tmp_path, content: bytes, *, name: str = f"shop/products_{DAY}.csv", **form: str
) -> tuple[Inspected, bytes]:
    """The file as it was found, and what DuckDB would read of it."""

    def change(sources):
        sources["shop"]["entities"]["products"].update(path=name.replace(str(DAY), "{date}"), format=form)

    zone = Zone(tmp_path, change)
    path = zone.land(name, content, pack=False)
    contract = load_sources(zone.settings).sources["shop"].entities["products"]
    scratch = zone.home / "scratch"
    scratch.mkdir()
    [file] = look(zone.settings, "shop").ready["products"]
    found = inspect(path, file, contract, scratch)
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    return found, found.readable.read_bytes() if found.readable else b""


def test_a_plain_file_is_read_where_it_lies(tmp_path):
    found, readable = _inspected(tmp_path, ROWS.encode())
    assert (found.problem, found.lines, found.header) == (None, 2, tuple(PRODUCTS.split(",")))
    assert found.readable.is_symlink()
    assert readable == ROWS.encode()


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32"])
def test_a_contract_may_say_another_encoding(tmp_path, encoding):
    found, readable = _inspected(tmp_path, ROWS.encode(encoding), encoding=encoding)
    assert found.problem is None
    assert readable.decode() == ROWS


def test_a_one_byte_encoding_is_read_packed_too(tmp_path):
    text = ROWS.replace("Молоко", "crème")
    content = gzip.compress(text.encode("cp1252"), mtime=0)
    found, readable = _inspected(tmp_path, content, name=f"shop/products_{DAY}.csv.gz", encoding="cp1252")
    assert (found.problem, found.is_gzip) == (None, False)
    assert readable.decode() == text


def test_gzip_files_strung_together_and_padded_are_one_text(tmp_path):
    head, tail = ROWS[:30].encode(), ROWS[30:].encode()
    content = gzip.compress(head, mtime=0) + gzip.compress(tail, mtime=0) + bytes(16)
    found, _readable = _inspected(tmp_path, content, name=f"shop/products_{DAY}.csv.gz")
    assert (found.problem, found.lines) == (None, 2)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04\x00\x00\xff", "looks like a zip or Excel file"),
        (gzip.compress(b"x", mtime=0), "looks like gzip, but its name does not end in .gz"),
        (ROWS.encode() + b"a\x00b", "looks like binary"),
        (ROWS.encode("utf-16-be"), "looks like utf-16-be"),
        (b"\n", "column product_id, product_type"),
    ],
)
def test_what_is_no_csv_is_told_for_what_it_is(tmp_path, content, told):
    found, _readable = _inspected(tmp_path, content)
    assert told in str(found.problem)


def test_a_bad_byte_is_found_on_its_line_far_into_the_file_and_across_two_reads(tmp_path):
    line = b"p1,Milk,D,C,B,1,1 L\n"
    lines = [PRODUCTS.encode() + b"\n"] + [line] * 60_000
    before = len(b"".join(lines))
    assert before > 1 << 20
    found, _readable = _inspected(tmp_path, b"".join(lines) + b"p2,Caf\xe9 au lait,D,C,B,1,1 L\n")
    assert found.problem.where.endswith(":60002")
    assert found.problem.message.startswith(f"byte {before + 6} is not utf-8")


def test_a_character_that_lies_across_two_reads_is_whole(tmp_path):
    head = PRODUCTS.encode() + b"\n"
    filler = b"p1,Milk,D,C,B,1,1 L\n"
    lines = head + filler * ((1 << 20) // len(filler))
    cell = b"x" * ((1 << 20) - len(lines) - len(b"p2,") - 1) if len(lines) < (1 << 20) - 10 else b""
    content = lines + b"p2," + cell + "Ж".encode() + b",D,C,B,1,1 L\n"
    at = content.index("Ж".encode())
    shift = (1 << 20) - 1 - at
    content = lines + b"p2," + cell + b"y" * shift + "Ж".encode() + b",D,C,B,1,1 L\n" if shift > 0 else content
    assert content.index("Ж".encode()) >= (1 << 20) - 1
    found, _readable = _inspected(tmp_path, content)
    assert found.problem is None


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("ends", ["\n", "\r"])
def test_L1_a_line_that_duckdb_would_pass_over_in_silence_is_told_and_nothing_of_the_file_is_loaded(
    tmp_path, packed, ends
):
    long = f"p2,{'x' * (17 << 20)},D,C,B,1,1 L\n"
    text = (ROWS + long + "p3,Milk,D,C,B,1,1 L\n").replace("\n", ends).encode()
    suffix, content = (".gz", gzip.compress(text, compresslevel=1, mtime=0)) if packed else ("", text)
    found, _readable = _inspected(tmp_path, content, name=f"shop/products_{DAY}.csv{suffix}")
    assert str(found.problem).startswith(f"shop/products_{DAY}.csv{suffix}:3: the line is longer than 16,777,216 bytes")


def test_a_line_of_15_mb_is_read_on(tmp_path):
    found, _readable = _inspected(tmp_path, ROWS.encode() + b"p2," + b"x" * (15 << 20) + b",D,C,B,1,1 L\n")
    assert (found.problem, found.lines) == (None, 3)


def test_L26_a_gzip_bomb_is_read_in_bounded_memory(tmp_path):
    content = gzip.compress((PRODUCTS + "\n").encode() + b"\n" * (150 << 20), compresslevel=9, mtime=0)
    assert len(content) < 1 << 18
    tracemalloc.start()
    found, _readable = _inspected(tmp_path, content, name=f"shop/products_{DAY}.csv.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.problem is None
    assert peak < 64 << 20
