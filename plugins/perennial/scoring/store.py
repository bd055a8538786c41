"""Artefacts of models: skops (no pickle), with a closed list of types, and equal bytes for equal models (L2)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import skops.io

from perennial.core.errors import ContractViolation, Problem

# What a file may make beside what skops itself trusts. A file that asks for anything else is refused.
TRUSTED = [
    "numpy.dtype",
    "perennial.scoring.btyd.bgnbd.BetaGeoNBD",
    "perennial.scoring.btyd.features.BtydFeatures",
    "perennial.scoring.btyd.gamma_gamma.GammaGamma",
    "perennial.scoring.btyd.nbd.NBD",
    "perennial.scoring.btyd.pareto.ParetoNBD",
    "perennial.scoring.estimators.ChurnModel",
    "perennial.scoring.features.SeenRange",
    "perennial.scoring.features.WindowRates",
    "perennial.scoring.features.signed_log",
    "perennial.scoring.next_product.model.NextProductModel",
    "perennial.scoring.next_product.ranker.Ranker",
    "perennial.scoring.next_product.scorer.NextProductScorer",
    "perennial.scoring.next_purchase.hazard.NextPurchaseModel",
    "perennial.scoring.next_purchase.hazard._with_interval_columns",
    "perennial.scoring.next_purchase.training.NextPurchaseScorer",
    "perennial.scoring.prepare.Behaviour",
    "perennial.scoring.scorer.Scorer",
    "perennial.scoring.value.Expected",
    "perennial.scoring.value.Scaled",
    "perennial.scoring.value.Spending",
    "perennial.scoring.value.ValueModel",
    "perennial.scoring.uplift.learners.ClassTransformation",
    "perennial.scoring.uplift.learners.Interaction",
    "perennial.scoring.uplift.learners.TwoModel",
    "perennial.scoring.uplift.scorer.ResponseScorer",
    "perennial.scoring.uplift.scorer.WithInterval",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn._loss.link.Interval",
    "sklearn._loss.link.LogLink",
    "sklearn._loss.loss.HalfGammaLoss",
    "sklearn._loss.loss.HalfPoissonLoss",
    "sklearn._loss.loss.HalfTweedieLoss",
]
_EPOCH = (1980, 1, 1, 0, 0, 0)
_SCHEMA = "schema.json"


def artefact_bytes(model: Any) -> bytes:
    """The model as a skops file whose bytes depend on the model alone.

    skops names members by memory address and stamps them with the clock; here they are numbered in order of appearance
    and stamped 1980-01-01.
    """
    members = zipfile.ZipFile(io.BytesIO(skops.io.dumps(model)))
    schema = json.loads(members.read(_SCHEMA))
    names: dict[str, str] = {}
    schema = _renumbered(schema, {}, names)
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for old, new in sorted(names.items(), key=lambda pair: pair[1]):
            archive.writestr(_member(new), members.read(old))
        archive.writestr(_member(_SCHEMA), json.dumps(schema, sort_keys=True).encode())
    return target.getvalue()


def _member(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o600 << 16
    return info


def _renumbered(node: Any, ids: dict[int, int], names: dict[str, str]) -> Any:
    """The schema with `__id__` and `file` replaced by their order of appearance; plain values are never shared."""
    if isinstance(node, list):
        return [_renumbered(item, ids, names) for item in node]
    if not isinstance(node, dict):
        return node
    fresh: dict[str, Any] = {}
    for key, value in node.items():
        if key == "__id__":
            old = -len(ids) - 1 if node.get("is_json") else value
            fresh[key] = ids.setdefault(old, len(ids) + 1)
        elif key == "file" and isinstance(value, str):
            suffix = Path(value).suffix
            fresh[key] = names.setdefault(value, f"{len(names) + 1:06d}{suffix}")
        else:
            fresh[key] = _renumbered(value, ids, names)
    return fresh


def digest(content: bytes) -> str:
    """What an artefact is called by: sha256 of its bytes, 16 hex digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def save(directory: Path, name: str, content: bytes) -> Path:
    """Write whole or not at all; the same name always holds the same content."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / name
    partial = directory / f".{name}.{os.getpid()}.part"
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    return path


def load(path: Path) -> Any:
    """The model of an artefact. Raises ContractViolation when it is gone, altered, or asks for unknown types."""
    fix = "restore the file from a backup, or retire its card and train again"
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ContractViolation(Problem(path.name, "the artefact of the champion model is gone", fix)) from None
    if digest(content) != path.stem.rsplit("-", 1)[-1]:
        raise ContractViolation(Problem(path.name, "the artefact is not what its name says: it was altered", fix))
    unknown = sorted(set(skops.io.get_untrusted_types(data=content)) - set(TRUSTED))
    if unknown:
        raise ContractViolation(Problem(path.name, f"the artefact asks for the types {', '.join(unknown)}", fix))
    return skops.io.loads(content, trusted=TRUSTED)
