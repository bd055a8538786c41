"""The cells of an .xlsx sheet that hold an error, such as #N/A: the reader of sheets gives them as empty."""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Iterator
from typing import BinaryIO
from zlib import error as ZlibError  # noqa: N812 - it is an exception

from defusedxml import DefusedXmlException, ElementTree  # type: ignore[import-untyped]

_MARK = re.compile(rb"""\st\s*=\s*["']e["']""")
_CHUNK = 1 << 20
_PLACE = re.compile(r"([A-Z]+)([0-9]+)")
_MOST = 100_000


class SheetError(Exception):
    """The workbook is no whole one."""


def error_cells(stream: BinaryIO, sheet: str) -> dict[int, dict[int, str]]:
    """By row and column, from 1 and from 0, the errors in the sheet of that name; only .xlsx says where they are.

    Raises SheetError for a workbook that is damaged, or made to do harm.
    """
    if not zipfile.is_zipfile(stream):
        return {}
    try:
        return _error_cells(stream, sheet)
    except (DefusedXmlException, ElementTree.ParseError, zipfile.BadZipFile, ZlibError, KeyError, EOFError) as error:
        raise SheetError(str(error) or type(error).__name__) from None


def _error_cells(stream: BinaryIO, sheet: str) -> dict[int, dict[int, str]]:
    with zipfile.ZipFile(stream) as archive:
        part = _part_of(archive, sheet)
        if part not in archive.namelist() or not _has_mark(archive, part):
            return {}
        found: dict[int, dict[int, str]] = {}
        for place, said in _errors_in(archive, part):
            if match := _PLACE.fullmatch(place):
                found.setdefault(int(match[2]), {})[_column(match[1])] = said
            if len(found) > _MOST:
                break
        return found


def _part_of(archive: zipfile.ZipFile, sheet: str) -> str:
    """The part of the workbook in which the sheet stands; empty where there is none, as in .ods and .xlsb."""
    book, relations = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
    if not {book, relations} <= set(archive.namelist()):
        return ""
    with archive.open(book) as stream:
        ids = {
            one.get("name"): value
            for one in ElementTree.parse(stream).iter()
            if _local(one.tag) == "sheet"
            for name, value in one.items()
            if name.endswith("}id")
        }
    with archive.open(relations) as stream:
        targets = {one.get("Id"): one.get("Target", "") for one in ElementTree.parse(stream).iter()}
    target = targets.get(ids.get(sheet), "")
    return target.removeprefix("/") if target.startswith("/") else posixpath.normpath(f"xl/{target}")


def _has_mark(archive: zipfile.ZipFile, part: str) -> bool:
    """Whether any cell is of the type of errors: nearly no sheet has one, and then nothing is parsed."""
    with archive.open(part) as stream:
        before = b""
        while chunk := stream.read(_CHUNK):
            if _MARK.search(before + chunk):
                return True
            before = chunk[-16:]
    return False


def _errors_in(archive: zipfile.ZipFile, part: str) -> Iterator[tuple[str, str]]:
    with archive.open(part) as stream:
        for _event, element in ElementTree.iterparse(stream):
            if _local(element.tag) == "c" and element.get("t") == "e":
                said = next((child.text or "" for child in element if _local(child.tag) == "v"), "")
                yield element.get("r", ""), said[:20]
            if _local(element.tag) == "row":
                element.clear()


def _local(tag: object) -> str:
    return str(tag).rpartition("}")[2]


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - 64
    return number - 1
