"""Files as nobody should send them: a corpus by format, mutations of good ones, and what must hold of each afterwards.

Everything is a function of its seed, so that a file that did harm can be made again.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import zipfile
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from factories.landed_formats import workbook
from factories.landing_zone import Zone
from perennial.contracts.records import BatchReport

COLUMNS = {"product_key": "id", "product_name": "name", "department": "dep", "package_size": "size"}
HEAD = "id,name,dep,size\n"
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "csv": (".csv", {"type": "csv"}),
    "gzip": (".csv.gz", {"type": "csv"}),
    "zip": (".csv.zip", {"type": "csv", "max_unpacked_bytes": 5_000_000}),
    "zstd": (".csv.zst", {"type": "csv", "max_unpacked_bytes": 5_000_000}),
    "jsonl": (".jsonl", {"type": "jsonl"}),
    "xml": (".xml", {"type": "xml", "row": "row"}),
    "excel": (".xlsx", {"type": "excel"}),
    "parquet": (".parquet", {"type": "parquet"}),
}
_FIRST_DAY = date(2017, 1, 1)
_CELLS = ["Milk", "Käse", "Молоко", "牛奶", "'=1+1", "=cmd|'/c calc'!A0", "@SUM(1)", "a,b", 'a"b', "a\nb", "\u202etxt", "", "😀", "﷽",
          "../../etc/passwd", "'; drop table files; --", "\ufeff", "NULL", "1e999", "x" * 3000]  # fmt: skip


def hostile_zone(folder: Path, kind: str) -> Zone:
    """A zone whose shop has products of that format alone; nothing is refused for its share of bad rows."""
    suffix, form = FORMATS[kind]

    def change(sources: dict[str, Any]) -> None:
        entity = {
            "entity": "products",
            "path": f"shop/products_{{date}}{suffix}",
            "format": form,
            "columns": COLUMNS,
            "limits": {"warn": 1.0, "stop": 1.0},
            "volume": {"warn": None},
        }
        sources["shop"]["entities"] = {"products": entity}
        del sources["crm"]

    return Zone(folder, change)


def good(kind: str, rows: int = 20, *, seed: int = 0) -> bytes:
    """A file that is as it should be; its cells are not plain."""
    chance = random.Random(seed)
    made = [[f"{seed}-{n}", *(chance.choice(_CELLS) for _ in range(3))] for n in range(rows)]
    if kind in {"csv", "gzip", "zip", "zstd"}:
        return _PACK[kind](_csv(made))
    if kind == "jsonl":
        names = list(COLUMNS.values())
        return "".join(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=n % 2 == 0) + "\n"
                       for n, row in enumerate(made)).encode()  # fmt: skip
    if kind == "xml":
        return _xml(made)
    return workbook([list(COLUMNS.values()), *made]) if kind == "excel" else _parquet(made)


def _csv(rows: list[list[str]]) -> bytes:
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    return (HEAD + "".join(line + "\n" for line in quoted)).encode()


def _xml(rows: list[list[str]]) -> bytes:
    from xml.sax.saxutils import escape

    lines = ["".join(f"<{name}>{escape(cell)}</{name}>" for name, cell in zip(COLUMNS.values(), row, strict=True))
             for row in rows]  # fmt: skip
    return ("<rows>\n" + "".join(f"<row>{line}</row>\n" for line in lines) + "</rows>").encode()


def _parquet(rows: list[list[str]]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    columns = dict(zip(COLUMNS.values(), map(list, zip(*rows, strict=True)), strict=True)) if rows else {}
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def packed_zip(*members: tuple[str, bytes]) -> bytes:
    """A zip of these members, under these names."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return out.getvalue()


def packed_zstd(content: bytes) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())


_PACK: dict[str, Callable[[bytes], bytes]] = {
    "csv": lambda content: content,
    "gzip": lambda content: gzip.compress(content, mtime=0),
    "zip": lambda content: packed_zip(("x.csv", content)),
    "zstd": packed_zstd,
}


def _flip_bits(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.choice([1, 1, 3, 30])):
        if data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def _truncate(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data) + 1)]


def _insert(data: bytearray, chance: random.Random) -> bytearray:
    piece = chance.choice(
        [b"\x00", b'"', b"\r", b"\n", b"\xff", b"\xef\xbb\xbf", b",,,", b"\x1a", b"\\", b"'", b"<", b"{", b"&a;"]
    )
    for _ in range(chance.choice([1, 1, 2, 10])):
        at = chance.randrange(len(data) + 1)
        data[at:at] = piece
    return data


def _cut_out(data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.randrange(1, 200)]
    return data


def _repeat(data: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(data) + 1)
    piece = data[start : start + chance.randrange(1, 300)]
    at = chance.randrange(len(data) + 1)
    data[at:at] = piece * chance.choice([1, 2, 50])
    return data


def _other_encoding(data: bytearray, chance: random.Random) -> bytearray:
    codec = chance.choice(["utf-16", "utf-16-be", "utf-32", "cp1251", "latin-1", "utf-7"])
    return bytearray(data.decode("utf-8", "replace").encode(codec, "replace"))


def _other_line_ends(data: bytearray, chance: random.Random) -> bytearray:
    return bytearray(data.replace(b"\n", chance.choice([b"\r\n", b"\r", b"\n\n", b"\n\r"]), chance.choice([-1, 3])))


def _glued(data: bytearray, _chance: random.Random) -> bytearray:
    return data + data


_MUTATIONS = (_flip_bits, _truncate, _insert, _cut_out, _repeat, _other_encoding, _other_line_ends, _glued)


def mutated(kind: str, seed: int) -> bytes:
    """A good file with one to three things done to it, before or after it was packed."""
    chance = random.Random(f"{kind}-{seed}")
    packs = kind in {"gzip", "zip", "zstd"}
    inside = packs and chance.random() < 0.5
    data = bytearray(good("csv" if inside else kind, chance.choice([0, 1, 20]) if kind != "parquet" else 20, seed=seed))
    for _ in range(chance.choice([1, 1, 2, 3])):
        data = chance.choice(_MUTATIONS)(data, chance)
    return _PACK[kind](bytes(data)) if inside else bytes(data)


def corpus(kind: str) -> list[bytes]:
    """Files that were thought out."""
    texts = _CSV if kind == "csv" else _CSV[::6]  # packed ones are plain ones once they are unpacked
    plain = [_PACK[kind](text) for text in texts] if kind in _PACK else []
    return plain + _CORPUS.get(kind, [b"", b"\x00" * 100, b"PK\x03\x04", bytes(range(256))])


_BIG = b"x" * (20 << 20)
_CSV = [
    b"",
    b"\n",
    b"\xef\xbb\xbf",
    HEAD.encode(),
    HEAD.encode() + b"1,a,b\n",
    HEAD.encode() + b"1,a,b,c,d,e\n2,a,b,c\n",
    HEAD.encode() + b'1,"open\n2,a,b,c\n3,a,b,c\n',
    HEAD.encode() + b'1,a"b,c,d\n2,a,"b"c,d\n',
    HEAD.encode() + b"\n\n\n1,a,b,c\n\n",
    HEAD.encode() + b",,,\n   ,a,b,c\n\t,a,b,c\n",
    HEAD.encode().replace(b"\n", b"\r") + b"1,a,b,c\r2,a,b,c\r",
    HEAD.encode() + b"1,a,b,c\r\n2,a,b,c\n3,a,b,c\r4,a,b,c",
    HEAD.encode() + b"1,a\x00,b,c\n",
    HEAD.encode() + b"1,a\xff,b,c\n",
    HEAD.encode() + "1,\ud7ff\u2028\u0085\u202e,b,c\n2,\ufdd0,b,c\n".encode(),
    HEAD.encode() + b'1,=1+1,@x,+1\n2,-1,=HYPERLINK("http://x"),c\n',
    HEAD.encode() + b"1,a,b,c\n1,other,b,c\n",
    HEAD.encode() + b"9" * 5_000 + b",a,b,c\n",
    b"id,id,name,dep,size\n1,1,a,b,c\n",
    b"id;name;dep;size\n1;a;b;c\n",
    b"id,name,dep,size,,\n1,a,b,c,,\n",
    b'"id","name","dep","si""ze","size"\n1,a,b,c,d\n',
    (",".join(f"c{n}" for n in range(3_000)) + ",id,name,dep,size\n" + ",".join(["1"] * 3_004) + "\n").encode(),
    HEAD.encode("utf-16") + "1,a,b,c\n".encode("utf-16-le"),
    HEAD.encode() + b"1,a,b,c\n\x1a",
    HEAD.encode() + b"\\,\\,\\,\\\n",
    HEAD.encode() + b"'1','a','b','c'\n",
]
_CORPUS: dict[str, list[bytes]] = {
    "csv": [HEAD.encode() + b"1," + _BIG + b",b,c\n2,a,b,c\n", HEAD.encode() + b'1,"' + _BIG + b'",b,c\n2,a,b,c\n'],
    "gzip": [gzip.compress(gzip.compress(b"1", mtime=0), mtime=0), gzip.compress(HEAD.encode(), mtime=0)[:-4], b"\x1f\x8b", b"\x1f\x8b\x08" + b"\xff" * 50],
    "zip": [
        packed_zip(),
        packed_zip(("a", b"1"), ("b", b"2")),
        packed_zip(("../../x.csv", HEAD.encode())),
        packed_zip(("a.zip", packed_zip(("a.zip", packed_zip(("x.csv", b"1")))))),
        packed_zip(("x.csv", b"\n" * (6 << 20))),
        packed_zip(("x.csv", HEAD.encode() * 50))[:-10],
        b"PK\x05\x06" + b"\xff" * 18,
        b"PK\x05\x06" + b"\x00" * 18,
    ],
    "zstd": [packed_zstd(b"\n" * (6 << 20)), packed_zstd(packed_zstd(b"1")), packed_zstd(HEAD.encode())[:-2], b"\x28\xb5\x2f\xfd" * 9],
    "jsonl": [
        b"", b"\n\n", b"{}", b"null", b"[]", b"{", b'{"id": "1"}\n{"id": "1"', b'{"id": "a"}\n' * 3, b'{"id": ["a", {"b": [1, 2]}]}',
        b"[" * 200_000, b'{"a":' * 5_000 + b"1" + b"}" * 5_000, b'{"id": ' + b"9" * 10_000 + b"}", b'{"id": 1e999999}', b'{"id": -0.0}',
        b'{"id": NaN}', b'{"id": "\\ud800"}', b'{"id": "\\u0000"}', b'{"id": "\xff"}', b'{"id": "a", "id": "b"}', b"\xef\xbb\xbf" + b'{"id": "a"}',
        '{"id": "a"}\n'.encode("utf-16"), b'{"id": "' + _BIG + b'"}\n{"id": "b"}', b'{"__proto__": 1, "": 2, "$": 3, "c0": 4, "_line": 5, "id": "a"}',
        b'{"id": "a", "x": {"y": {"z": []}}, "x.y": 1}', ("{" + ",".join(f'"k{n}": {n}' for n in range(5_000)) + ', "id": "a"}').encode(),
        b'{"id": "a"}\r\n{"id": "b"}\r{"id": "c"}', b"id,name\n1,2\n", b'\'{"id": 1}\'',
    ],
    "xml": [
        b"", b"<", b"<rows/>", b"<rows><row/></rows>", b"<rows><row><id>1</id></row>", b"<row><row><id>1</id></row><id>2</id></row>",
        b'<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;">]><rows><row><id>&b;</id></row></rows>',
        b'<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><rows><row><id>&a;</id></row></rows>',
        b"<a>" * 50_000, b"<rows>" + b"<row><id>1</id><id>2</id></row>" * 3 + b"</rows>", b"<rows><row id='1' ID='2'><id>3</id></row></rows>",
        b"<rows><row><id>&#0;</id></row></rows>", b"<rows><row><id>&#xD800;</id></row></rows>", b"<rows><row><id><![CDATA[<b>]]></id></row></rows>",
        b'<?xml version="1.0" encoding="utf-16"?><rows/>', b'<?xml version="1.0" encoding="utf-7"?><rows/>', b'<?xml version="1.0" encoding="hex"?><rows/>',
        b"<rows><row a='" + b"x" * (5 << 20) + b"'/></rows>", b"<rows><row>" + b"<id>1</id>" * 200_000 + b"</row></rows>",
        b"<x:rows><x:row/></x:rows>", b"<rows xmlns:x='u'><x:row><x:id>1</x:id></x:row></rows>", b"<rows><?php evil ?><row><!-- -- --></row></rows>",
    ],
    "excel": [
        b"", b"PK\x03\x04", packed_zip(), packed_zip(("xl/workbook.xml", b"<a>" * 1_000)), packed_zip(("[Content_Types].xml", b"")),
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\xff" * 3_000, HEAD.encode(), workbook([]), workbook([["id"]]), workbook([list(COLUMNS.values())]),
        workbook([list(COLUMNS.values()), ["=1/0", "=A1", "#REF!", "=cmd|'/c calc'!A0"], [None, 1e308, -0.0, True]]),
        workbook([list(COLUMNS.values()) * 2]), workbook([list(COLUMNS.values()), *[["x"] * 300] * 3]),
        packed_zip(("xl/workbook.xml", b'<!DOCTYPE a [<!ENTITY a "ha">]><workbook>&a;</workbook>'), ("xl/_rels/workbook.xml.rels", b"")),
    ],
    "parquet": [b"", b"PAR1", b"PAR1" * 100, b"PAR1" + b"\xff" * 4_000 + b"PAR1", good("parquet", 3)[:-8], HEAD.encode()],
}  # fmt: skip


def land_all(zone: Zone, kind: str, contents: list[bytes]) -> list[str]:
    """Land each under a day of its own; gives the names."""
    suffix = FORMATS[kind][0]
    names = [f"shop/products_{_FIRST_DAY + timedelta(days=n)}{suffix}" for n in range(len(contents))]
    for name, content in zip(names, contents, strict=True):
        zone.land(name, content, pack=False)
    return names


def assert_all_is_accounted_for(zone: Zone, kind: str, landed: Mapping[str, bytes], reports: list[BatchReport]) -> None:
    """L1: each file is archived or refused with its reason, each row of an archived one is somewhere."""
    assert zone.names("landing") == []
    archived, refused = set(zone.names("archive")), set(zone.names("refused"))
    assert archived | {name for name in refused if not name.endswith(".reason.txt")} == set(landed)
    assert archived.isdisjoint(refused)
    for name in refused:
        if not name.endswith(".reason.txt"):
            assert zone.reason(name).strip()
            assert "Traceback" not in zone.reason(name)
    done = [report for report in reports if report.state == "committed"]
    assert all(one.landed == one.loaded + one.quarantined + one.duplicate for one in done)
    assert len(zone.raw("products", "_line")) == sum(one.loaded for one in done)
    assert len(zone.quarantined("products", "_line")) == sum(one.quarantined for one in done)
    counted = dict(zone.ledger_files())
    for name in archived:
        wanted = rows_by_eye(kind, landed[name])
        assert wanted is None or counted[name] == wanted, (name, wanted, counted[name], landed[name][:300])


def rows_by_eye(kind: str, content: bytes) -> int | None:
    """The rows of a file that was read, counted another way; None where that is not told so easily."""
    if kind == "jsonl":
        return sum(bool(line.strip()) for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n"))
    if kind == "csv" and b'"' not in content:
        lines = content.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        return sum(bool(line) for line in lines) - 1
    return None
