"""great-expectations' Data Docs: the sites that ingestions left, latest first, and files of them, nothing else."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from pathlib import Path

_LIBRARY_PREFIX = "landing-"  # of the data source's name in the gate
_TYPES = {".html", ".css", ".js", ".png", ".svg", ".ico", ".gif", ".json"}


@dataclass(frozen=True)
class Site:
    """The site of one ingestion; `pages` are its verdicts: source.entity.part.batch, and the path below the site."""

    name: str
    pages: tuple[tuple[str, str], ...]


def sites(docs: Path) -> list[Site]:
    """The published sites, latest first."""
    folders = [path for path in docs.iterdir() if _is_site(path)] if docs.is_dir() else []
    folders.sort(key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    return [Site(folder.name, _pages(folder)) for folder in folders]


def _is_site(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not path.name.startswith(".") and (path / "index.html").exists()


def _pages(folder: Path) -> tuple[tuple[str, str], ...]:
    found = sorted((folder / "validations").rglob("*.html")) if (folder / "validations").is_dir() else []
    return tuple((page.stem.removeprefix(_LIBRARY_PREFIX), page.relative_to(folder).as_posix()) for page in found)


def pages_of_batch(docs: Path, batch_id: str) -> list[tuple[str, str]]:
    """What is said of the batch, and the path below the docs; empty when its site is gone."""
    return [
        (about, f"{site.name}/{page}")
        for site in sites(docs)
        for about, page in site.pages
        if batch_id in page.split("/")
    ]


def file_of(docs: Path, path: str) -> tuple[Path, str] | None:
    """The file of a published site and its media type; None for anything that is not one (L23)."""
    root = docs.resolve()
    try:
        wanted = (root / path).resolve()
        inside = wanted.relative_to(root)
        is_file = wanted.is_file()
    except (ValueError, OSError):  # outside, a NUL in the name, a name that is too long
        return None
    if not is_file or any(part.startswith(".") for part in inside.parts) or wanted.suffix not in _TYPES:
        return None
    return wanted, mimetypes.guess_type(wanted.name)[0] or "application/octet-stream"
