"""A `transactions` data set in its home: read, landed and built once; features of past dates, purchases by day."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from perennial.contracts.backtests import DataSet, TaskName
from perennial.contracts.records import DayRun
from perennial.core.errors import BatchRefused, Problem
from perennial.core.ids import digest_of
from perennial.core.settings import Settings
from perennial.pipeline.backtesting import home as homes
from perennial.pipeline.backtesting.canonical import Canonical, write_lines
from perennial.pipeline.backtesting.catalogue import write_products
from perennial.pipeline.backtesting.moments import Moments
from perennial.pipeline.backtesting.reading import Place, paths_of, read_files

_STATE, _FEATURES = "backtest.json", "features"
_MOST_CUTS = 3
_SHORTEST_DAYS = 28  # of history before the features of a cut are worth anything


@dataclass
class Purchases:
    """What protocols read (`scoring.protocols.Transactions`). `told`: counts and notes of the data."""

    dataset: DataSet
    settings: Settings
    run: DayRun
    told: Canonical
    seed: int
    task: str = ""
    cuts: tuple[date, ...] = ()
    _tables: dict[str, pa.Table] = field(default_factory=dict)

    @property
    def first_day(self) -> date:
        """The first day with a purchase."""
        return self.told.first_day

    @property
    def last_day(self) -> date:
        """The last day of the data."""
        return self.told.last_day

    def of(self, task: TaskName, horizon_days: int) -> Purchases:
        """The same data, asked by a task: with the cuts of the YAML, or of the data's own length."""
        given = tuple(sorted({self.told.moments.cut(cut) for cut in self.dataset.cuts}))
        return replace(self, task=task, cuts=given or cuts_of(self.first_day, self.last_day, horizon_days))

    def features(self, dates: Sequence[date], horizon_days: int) -> pa.Table:
        """See `Transactions.features`."""
        from perennial.pipeline.build import training_features
        from perennial.pipeline.transform import project_digest
        from perennial.scoring.frames import MAX_ROWS

        wanted = sorted(set(dates))
        parts = [str(horizon_days), *(day.isoformat() for day in wanted), project_digest(self.settings)]
        key = digest_of(parts)[:24]
        path = self.settings.home / _FEATURES / f"{key}.parquet"
        if key not in self._tables and path.exists():
            self._tables[key] = pq.read_table(path)
        if key not in self._tables:
            settings = homes.with_horizon(self.settings, horizon_days)
            most = max(1, MAX_ROWS // max(1, len(wanted)))
            table = training_features(settings, self.run, wanted, max_clients=most)
            path.parent.mkdir(exist_ok=True)
            pq.write_table(table, path.with_suffix(".part"))
            path.with_suffix(".part").replace(path)
            self._tables[key] = table
        return self._tables[key]

    def labels(self) -> tuple[str, ...]:
        """See `Transactions.labels`."""
        from perennial.pipeline.scores import LABELS

        return LABELS

    def days(self) -> Iterator[pa.RecordBatch]:
        """See `Transactions.days`."""
        return self._batches(_DAYS)

    def lines(self) -> Iterator[pa.RecordBatch]:
        """See `Transactions.lines`."""
        return self._batches(_LINES) if self.told.has_products else iter(())

    def _batches(self, sql: str) -> Iterator[pa.RecordBatch]:
        from perennial.ledger.engine import open_ledger
        from perennial.ledger.runs import get_run, published_version
        from perennial.pipeline.build import publish
        from perennial.warehouse.engine import open_published

        engine = open_ledger(self.settings)
        if get_run(engine, self.run.run_id).state == "built":
            publish(self.settings, self.run)
        with open_published(self.settings, published_version(engine, self.run.run_id)) as published:
            yield from published.batches(sql)


_DAYS = """
    select client_id, ordered_on, count(distinct order_key) as orders, cast(sum(revenue) as double) as revenue,
        cast(sum(units) as double) as units
    from fct_order_lines
    where line_kind = 'sale' and not coalesce(is_cancelled, false) and client_id is not null
    group by client_id, ordered_on
    order by client_id, ordered_on
"""
_LINES = """
    select lines.client_id, lines.ordered_on, lines.order_key as order_id, lines.product_key as product_id,
        lines.cancelled_on, products.category, cast(sum(lines.units) as double) as units,
        cast(sum(lines.revenue) as double) as revenue
    from fct_order_lines as lines
    left join dim_products as products using (product_key)
    where lines.line_kind = 'sale' and lines.client_id is not null
    group by all
    order by lines.client_id, lines.ordered_on, order_id, product_id
"""


def cuts_of(first: date, last: date, horizon_days: int) -> tuple[date, ...]:
    """At most three cuts, a horizon apart, the last one's label ending with the data; two horizons lie before each."""
    cuts = []
    for back in range(1, _MOST_CUTS + 1):
        cut = last + timedelta(days=1) - timedelta(days=back * horizon_days)
        if cut - timedelta(days=2 * horizon_days + _SHORTEST_DAYS) >= first:
            cuts.append(cut)
    return tuple(sorted(cuts or [last + timedelta(days=1) - timedelta(days=horizon_days)]))


@contextmanager
def opened(dataset: DataSet, where: Place, data: Path, base: Path) -> Iterator[Purchases]:
    """The data set in a home below `base`, landed and built unless that was done there before, from the same files.

    A home is named by what it is made from: other data never meet the ledger of those before. Raises BatchRefused when
    `base` holds what no backtest has kept there.
    """
    from perennial.ledger.engine import open_ledger
    from perennial.ledger.runs import get_run
    from perennial.pipeline.transform import project_digest

    key = _key_of(dataset, where, data)
    home, state = base / key[:16], base / _STATE
    known = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
    if known.get("key") != key or known.get("project") != project_digest(_settings(dataset, home)):
        if not state.exists() and any(base.iterdir()):
            fix = "name an empty folder, or one that a backtest kept"
            raise BatchRefused(Problem("--keep", f"{base} holds something else", fix))
        for old in {known.get("home"), home.name} - {None}:
            shutil.rmtree(base / Path(str(old)).name, ignore_errors=True)
        state.write_text(json.dumps({"home": home.name}), encoding="utf-8")  # if killed, it is known as ours
        known = {**_prepared(dataset, where, data, home), "home": home.name, "key": key}
        state.write_text(json.dumps(known, default=str, indent=1), encoding="utf-8")
    told = _canonical_of(known["told"])
    settings = _settings(dataset, home)
    yield Purchases(dataset, settings, get_run(open_ledger(settings), known["run_id"]), told, dataset.seed)


def _key_of(dataset: DataSet, where: Place, data: Path) -> str:
    """What a kept home was made from: the YAML's content and the files' names, sizes and times."""
    parts = [
        json.dumps(dataset.model_dump(mode="json", exclude={"cuts", "horizons", "tasks", "title"}), sort_keys=True)
    ]
    files = [*dataset.files, *(dataset.products.files if dataset.products else ())]
    for index, file in enumerate(files):
        for path in paths_of(file, data, where("files", index, "path")):
            found = path.stat()
            parts += [str(path), str(found.st_size), str(found.st_mtime_ns)]
    return digest_of(parts)


def _prepared(dataset: DataSet, where: Place, data: Path, home: Path) -> dict[str, Any]:
    from perennial.pipeline.transform import project_digest

    scratch = home / "scratch"
    target = home / homes.LINES
    target.parent.mkdir(parents=True)
    with read_files(dataset, where, data, scratch) as given:
        told = write_lines(given, dataset, where, target)
        if _has_catalogue(dataset):
            write_products(given, dataset, where, data, target=home / homes.PRODUCTS.format(told.last_day))
    shutil.rmtree(scratch)
    settings = _settings(dataset, home)
    run = homes.build_home(settings)
    return {"run_id": run.run_id, "told": asdict(told), "project": project_digest(settings)}


def _has_catalogue(dataset: DataSet) -> bool:
    return dataset.products is not None or dataset.columns.category is not None


def _settings(dataset: DataSet, home: Path) -> Settings:
    return homes.settings_of(dataset, home, currency=dataset.currency, with_products=_has_catalogue(dataset))


def _canonical_of(found: dict[str, Any]) -> Canonical:
    moments = dict(found["moments"])
    day = date.fromisoformat
    moments["origin"] = day(str(moments["origin"]))
    fixed = {"first_day": day(str(found["first_day"])), "last_day": day(str(found["last_day"]))}
    return Canonical(**{**found, **fixed, "moments": Moments(**moments), "notes": tuple(found["notes"])})
