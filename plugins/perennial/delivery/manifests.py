"""What every list in files has beside its rows: the manifest, and what can be read back from it after a crash."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

from perennial.contracts.destinations import FilesConfig
from perennial.core.errors import ContractViolation, Problem
from perennial.core.files import sync
from perennial.delivery.files import (
    UNENCODABLE_ADDRESS,
    Written,
    create_private,
    keys_file,
    read_outcomes,
    refused_clients,
    sha256_of,
    write_files,
)
from perennial.delivery.files_text import CsvStyle
from perennial.delivery.reasons import REASONS
from perennial.delivery.records import ChangeSet, Counts, ListKey, Receipt
from perennial.delivery.sheets import write_sheets

MANIFEST = "manifest.json"
_RESTORE = "put the files back as they were; if nobody has used the list, remove the folder and it is written anew"


def write_list(folder: Path, changes: ChangeSet, config: FilesConfig) -> dict[str, Any]:
    """Write the files of a list and its manifest into the folder; everything is on the disk when it returns.

    Raises ContractViolation when the rows are not those that were counted (L15).
    """
    style = CsvStyle(config.delimiter, config.encoding)
    written = write_files(folder, changes.schema, changes.batches(), config.formats, csv=style)
    _require_rows(changes, written)
    if config.sheet is not None:
        refused = refused_clients(folder)
        sheet, campaign = config.sheet, changes.key.campaign_id
        sheets = write_sheets(folder, changes.schema, changes.batches(), sheet, campaign_id=campaign, without=refused)
        written = replace(written, files=[*written.files, *sheets])
    manifest = _manifest(changes, config, written)
    with create_private(folder / MANIFEST) as file:
        file.write((json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
        os.fsync(file.fileno())
    sync(folder)
    return manifest


def read_list(folder: Path, place: str) -> dict[str, Any]:
    """The manifest, once its files are those that it names. `place` is how people call where the folder lies.

    Raises ContractViolation when it cannot be read, or when a file was changed.
    """
    list_id = f"{folder.parent.name}/{folder.name}"
    where = f"{place}/{list_id}"
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        wrong = [one["name"] for one in manifest["files"] if sha256_of(folder / one["name"]) != one["sha256"]]
        if manifest["list_id"] != list_id:
            wrong.append(MANIFEST)
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"its manifest or a file of it cannot be read ({type(error).__name__})"
        raise ContractViolation(Problem(where, problem, _RESTORE)) from None
    if wrong:
        problem = f"{', '.join(wrong)} changed after the list was handed over, before it was marked"
        raise ContractViolation(Problem(where, problem, _RESTORE))
    return manifest


def receipt_of(folder: Path, manifest: dict[str, Any], *, path: Path | None) -> Receipt:
    """What was accepted, by the manifest; the outcomes are read from the folder when they are asked for."""
    return Receipt(
        list_id=manifest["list_id"],
        key=ListKey(manifest["campaign_id"], manifest["channel"], date.fromisoformat(manifest["as_of"])),
        list_type=manifest["list_type"],
        destination=manifest["destination"],
        counts=Counts(**manifest["counts"], reasons={one["reason"]: one["rows"] for one in manifest["not_sent"]}),
        path=path,
        refused=sum(one["rows"] for one in manifest["not_sent"] if one["reason"] == UNENCODABLE_ADDRESS),
        outcomes=lambda: read_outcomes(folder, manifest["keys_in"]),
    )


def name_of(list_id: str) -> str:
    """`campaign__channel` of `as_of/campaign__channel[.part]`."""
    return list_id.partition("/")[2].partition(".")[0]


def _manifest(changes: ChangeSet, config: FilesConfig, written: Written) -> dict[str, Any]:
    counts = _counts(changes, written)
    actions = {action: rows - written.refused.get(action, 0) for action, rows in changes.actions.items()}
    hidden = set() if "parquet" in config.formats else {"row_hash"}
    return {
        "version": 1,
        "list_id": changes.list_id,
        "campaign_id": changes.key.campaign_id,
        "channel": changes.key.channel,
        "as_of": changes.key.as_of.isoformat(),
        "list_type": changes.list_type,
        "destination": changes.destination,
        "key": ["campaign_id", "client_id", "channel", "as_of"],
        "counts": {name: getattr(counts, name) for name in ("size", "sent", "rejected", "skipped", "pending")},
        "actions": actions,
        "not_sent": [_not_sent(code, rows) for code, rows in sorted(counts.reasons.items())],
        "columns": [{"name": f.name, "type": str(f.type)} for f in changes.schema if f.name not in hidden],
        "keys_in": keys_file(config.formats),
        "files": [file.as_json() for file in written.files],
    }


def _counts(changes: ChangeSet, written: Written) -> Counts:
    """Those of the change set; a row that the files could not hold was rejected, not sent."""
    counts, refused = changes.counts, sum(written.refused.values())
    if not refused:
        return counts
    reasons = {**counts.reasons, UNENCODABLE_ADDRESS: counts.reasons.get(UNENCODABLE_ADDRESS, 0) + refused}
    return Counts(
        counts.size, counts.sent - refused, counts.rejected + refused, counts.skipped, counts.pending, reasons
    )


def _not_sent(code: str, rows: int) -> dict[str, Any]:
    reason = REASONS[code]
    return {"reason": code, "words": reason.words, "fix": reason.fix, "tried_again": reason.tried_again, "rows": rows}


def _require_rows(changes: ChangeSet, written: Written) -> None:
    found = written.rows + sum(written.refused.values())
    if found != changes.counts.sent:
        problem = f"it has {found} rows instead of {changes.counts.sent}"
        raise ContractViolation(Problem(changes.list_id, problem, "nothing was sent; run it again"))
