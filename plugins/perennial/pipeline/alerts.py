"""What someone must be told: refused batches, a growing quarantine, a silent source, fetches that fail, new columns.

Computed from the ledger and the contracts, each time anew; the ledger keeps what was told, so that a trouble is told
once and its end once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from urllib.parse import quote

import sqlalchemy as sa

from perennial.contracts.records import Alert, AlertKind
from perennial.contracts.sources import SourceEntity, SourcesFile
from perennial.core import clock
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.ledger import alerts as ledger_alerts
from perennial.ledger.checks import newest_checks
from perennial.ledger.cursors import failing_fetches
from perennial.ledger.engine import open_ledger
from perennial.ledger.gate import drifted_columns, last_committed
from perennial.ledger.quarantine import SetAside, set_aside
from perennial.pipeline.quarantine import refused_batches
from perennial.pipeline.watching import without
from perennial.quality.history import silent_hours
from perennial.sources.config import load_sources

_SECONDS_PER_DAY = 86_400
_SUBJECT_LENGTH = 90


def raise_alerts(settings: Settings) -> list[Alert]:
    """The alerts that nobody was told of yet: new troubles, and the ends of troubles that were told.

    Given again each time until `alerts_told` says that they went out, so that none is lost with a notifier that failed.
    """
    engine = open_ledger(settings)
    return ledger_alerts.record_alerts(engine, current_alerts(settings))


def alerts_told(settings: Settings, told: Sequence[Alert]) -> None:
    """Write that these alerts went out: they are not given again."""
    ledger_alerts.mark_told(open_ledger(settings), told)


def current_alerts(settings: Settings) -> list[Alert]:
    """Every trouble that there is now, told or not, in a fixed order."""
    engine, sources = open_ledger(settings), load_sources(settings)
    now = clock.now().replace(tzinfo=None)
    return [
        *_refused(settings),
        *_quarantine(engine, sources, now),
        *_silence(engine, sources, now),
        *_fetches(engine),
        *_drift(engine, sources),
        *_scores(engine),
    ]


def _alert(kind: AlertKind, subject: str, message: str, link: str) -> Alert:
    """The subject is one line of a bounded length, whatever a source calls its columns: it becomes a mail's subject."""
    plain = "".join(char if char.isprintable() else " " for char in subject)
    if plain != subject or len(plain) > _SUBJECT_LENGTH:
        plain = f"{plain[:_SUBJECT_LENGTH]} {digest_of([subject], length=8)}"
    return Alert(f"{kind}:{plain}", kind, plain, message, link)


def _refused(settings: Settings) -> Iterator[Alert]:
    """A refused batch is over when its files were landed again, taken out of refused/, or dropped."""
    for one in refused_batches(settings):
        why = one.reasons[0] if one.reasons else "it could not be used"
        of = f" of {one.as_of}" if one.as_of else ""
        said = f"{one.name}: a batch{of} was refused as a whole, nothing of it is loaded: {why}"
        yield _alert("stop", one.batch_id, said, f"/perennial/quarantine?batch={one.batch_id}")


def _contracts(sources: SourcesFile) -> Iterator[tuple[str, str, SourceEntity]]:
    for source_name, source in sources.sources.items():
        for entity_name, contract in source.entities.items():
            yield source_name, entity_name, contract


def _quarantine(engine: sa.Engine, sources: SourcesFile, now: datetime) -> Iterator[Alert]:
    waiting: dict[tuple[str, str], list[SetAside]] = {}
    for one in set_aside(engine):
        if one.state == "committed" and one.waiting:
            waiting.setdefault((one.source, one.source_entity), []).append(one)
    for source, entity, contract in _contracts(sources):
        found = waiting.get((source, entity), [])
        rows = sum(one.waiting for one in found)
        days = (now - min((one.since for one in found), default=now)).total_seconds() / _SECONDS_PER_DAY
        name, limits, link = f"{source}.{entity}", contract.quarantine, "/perennial/quarantine"
        fix = f"-> perennial quarantine export {name} --to FILE.csv, correct it, replay it; or drop the rows"
        if rows > limits.warn_rows:
            said = f"{name}: {rows:,} rows wait in quarantine, more than {limits.warn_rows:,} {fix}"
            yield _alert("quarantine", f"{name} rows", said, link)
        if days > limits.warn_days:
            said = f"{name}: rows wait in quarantine for {days:.0f} days, more than {limits.warn_days:g} {fix}"
            yield _alert("quarantine", f"{name} age", said, link)


def _silence(engine: sa.Engine, sources: SourcesFile, now: datetime) -> Iterator[Alert]:
    committed = last_committed(engine)
    for source, entity, contract in _contracts(sources):
        last, limits = committed.get((source, entity)), contract.freshness
        if limits is None or last is None or (hours := silent_hours(last, now)) <= limits.warn_hours:
            continue
        name = f"{source}.{entity}"
        stops = f"; after {limits.stop_hours:g} hours no day is opened (L6)" if limits.stop_hours else ""
        said = f"{name}: nothing has come for {hours:.0f} hours, {limits.warn_hours:g} are allowed{stops}"
        yield _alert("silence", name, f"{said} -> ask {sources.sources[source].owner} and the source", _batches(source))


def _fetches(engine: sa.Engine) -> Iterator[Alert]:
    for source, entity, error in failing_fetches(engine):
        first = error.splitlines()[0] if error else "no message"
        said = f"{source}.{entity}: the last fetch failed: {first} -> perennial sources check {source}"
        yield _alert("fetch", f"{source}.{entity}", said, _batches(source))


def _drift(engine: sa.Engine, sources: SourcesFile) -> Iterator[Alert]:
    """A column that came after the first batch and that no contract names; over when the contract names it."""
    contracts = {(source, entity): contract for source, entity, contract in _contracts(sources)}
    for source, entity, column, batch_id in drifted_columns(engine):
        contract = contracts.get((source, entity))
        if contract is not None and column not in contract.source_columns:
            said = f"{source}.{entity}: new column {column[:80]!r} since batch {batch_id}; it is kept as an extra"
            fix = "-> map it under columns in sources.yml, if it is wanted"
            yield _alert("drift", f"{source}.{entity}.{column}", f"{said} {fix}", _batches(source))


def _scores(engine: sa.Engine) -> Iterator[Alert]:
    """What the watch says of the models of the newest day: a score that stopped (L6), and what may stop it soon."""
    for check in newest_checks(engine):
        if check.verdict == "passed":
            continue
        kind: AlertKind = "stop" if check.verdict == "stopped" else "drift"
        stops = f"no score is given, {without(check.score)}" if kind == "stop" else "it may stop"
        said = f"{check.score} of {check.as_of}: {'; '.join(check.sentences)}: {stops}"
        fix = f"-> perennial models show {check.model_version}; docs/runbook.md, scores stopped"
        link = f"/perennial/models/{quote(check.model_version, safe='')}"
        yield _alert(kind, f"score {check.score}", f"{said} {fix}", link)


def _batches(source: str) -> str:
    return f"/perennial/batches?source={quote(source, safe='')}"
