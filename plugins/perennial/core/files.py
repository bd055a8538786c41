"""Files that must survive a power cut."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Have the kernel write the file or folder to the disk: a name must not outlive a power cut without its content."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place(part: Path, target: Path) -> None:
    """Put a file in its place (mode 600), whole or not at all, even when the power fails right after."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    part.chmod(0o600)
    sync(part)
    part.replace(target)
    sync(target.parent)
