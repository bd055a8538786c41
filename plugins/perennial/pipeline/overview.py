"""The state of every source, as a page shows it: what waits, when it came last, what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from perennial.contracts.sources import Source, SourceEntity
from perennial.core import clock
from perennial.core.errors import PerennialError
from perennial.core.settings import Settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.gate import last_committed
from perennial.ledger.overview import FetchLine, fetches
from perennial.sources.config import load_sources
from perennial.sources.events import gathered
from perennial.sources.landing import Look, look

_HOUR = 3_600


@dataclass(frozen=True)
class EntityState:
    """One source entity: files that are ready or not yet whole, bytes of events that are gathered, ages in hours."""

    entity_name: str
    entity: str
    path: str
    ready: int
    waiting: int
    gathered_bytes: int
    committed_at: datetime | None
    age_hours: float | None
    freshness: str  # fresh | late | stale | none: no limit is set
    fetch: FetchLine | None


@dataclass(frozen=True)
class SourceState:
    """One source with its entities; `problem` is why its landing folder cannot be looked at."""

    name: str
    description: str
    owner: str
    dag: str
    kind: str  # of the connection; `landing` where others put the files
    strays: tuple[str, ...]
    problem: str
    entities: tuple[EntityState, ...]


def source_states(settings: Settings) -> list[SourceState]:
    """Every source of config/sources.yml. Raises ConfigError when that cannot be read."""
    engine = open_ledger(settings)
    committed, fetched = last_committed(engine), fetches(engine)
    states: list[SourceState] = []
    for name, source in load_sources(settings).sources.items():
        found, problem = _look(settings, name)
        sizes = gathered(settings, name, source)
        entities = tuple(
            _entity_state(
                key, entity, found, sizes=sizes, committed=committed.get((name, key)), fetch=fetched.get((name, key))
            )
            for key, entity in source.entities.items()
        )
        states.append(_source_state(name, source, found, problem, entities))
    return states


def _look(settings: Settings, name: str) -> tuple[Look, str]:
    try:
        return look(settings, name), ""
    except PerennialError as error:
        return Look(), str(error)
    except OSError as error:
        return Look(), f"the landing folder cannot be read: {error.strerror}"


def _source_state(
    name: str, source: Source, found: Look, problem: str, entities: tuple[EntityState, ...]
) -> SourceState:
    return SourceState(
        name=name,
        description=source.description,
        owner=source.owner,
        dag=source.dag,
        kind=source.connection.kind if source.connection else "landing",
        strays=tuple(str(why) for _file, why in found.strays),
        problem=problem,
        entities=entities,
    )


def _entity_state(
    key: str,
    entity: SourceEntity,
    found: Look,
    *,
    sizes: dict[str, int],
    committed: datetime | None,
    fetch: FetchLine | None,
) -> EntityState:
    age = (clock.now() - committed.replace(tzinfo=UTC)).total_seconds() / _HOUR if committed else None
    return EntityState(
        entity_name=key,
        entity=entity.entity,
        path=entity.path,
        ready=len(found.ready.get(key, ())),
        waiting=len(found.waiting.get(key, ())),
        gathered_bytes=sizes.get(key, 0),
        committed_at=committed,
        age_hours=age,
        freshness=_freshness(entity, age),
        fetch=fetch,
    )


def _freshness(entity: SourceEntity, age: float | None) -> str:
    limits = entity.freshness
    if limits is None:
        return "none"
    if age is None or age > (limits.stop_hours or float("inf")):
        return "stale"
    return "late" if age > limits.warn_hours else "fresh"
