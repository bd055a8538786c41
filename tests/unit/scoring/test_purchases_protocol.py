"""The backtest's protocol of purchases: the published figures from days and features, refusals, nothing from later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from factories.cdnow import purchases_by_day
from perennial.contracts.backtests import DataColumns, DataFile, DataSet
from perennial.scoring.protocols import protocol_of
from perennial.scoring.protocols.cdnow import run
from reference import reference

CUT, START = date(1997, 10, 1), date(1997, 1, 1)


@dataclass(frozen=True)
class Shop:
    """Purchases (client, day, amount), one per client and day, as `protocols.Transactions`."""

    purchases: list[tuple[str, date, float]]
    cuts: tuple[date, ...]
    unit: str = "day"
    task: str = "purchases"
    seed: int = 0
    batch: int = 1000
    asked: list[date] = field(default_factory=list)

    @property
    def dataset(self) -> DataSet:
        columns = DataColumns(client="c", time="t")
        return DataSet(name="x", kind="transactions", files=(DataFile(path="x"),), columns=columns, time_unit=self.unit)

    @property
    def first_day(self) -> date:
        return min(day for _, day, _ in self.purchases)

    @property
    def last_day(self) -> date:
        return max(day for _, day, _ in self.purchases)

    def labels(self) -> tuple[str, ...]:
        return ("bought_next_churn_horizon",)

    def features(self, dates: Sequence[date], horizon_days: int) -> pa.Table:
        (day,) = dates
        self.asked.append(day)
        seen: dict[str, list[date]] = {}
        for client, bought_on, _ in self.purchases:
            if bought_on <= day:
                seen.setdefault(client, []).append(bought_on)
        clients = sorted(seen)
        columns = {
            "recency_days": [(day - max(seen[c])).days for c in clients],
            "days_since_first_order": [(day - min(seen[c])).days for c in clients],
            "order_days_total": [len(seen[c]) for c in clients],
            "bought_next_churn_horizon": [1] * len(clients),
        }
        keys = {"client_id": pa.array(clients, pa.string()), "as_of_date": pa.array([day] * len(clients), pa.date32())}
        return pa.table({**keys, **{name: pa.array(values, pa.int64()) for name, values in columns.items()}})

    def days(self) -> Iterator[pa.RecordBatch]:
        rows = sorted(self.purchases)
        for low in range(0, len(rows), self.batch):
            client, day, revenue = zip(*rows[low : low + self.batch], strict=True)
            columns = {"client_id": client, "ordered_on": pa.array(day, pa.date32()), "revenue": revenue}
            yield pa.RecordBatch.from_pydict(columns)

    def lines(self) -> Iterator[pa.RecordBatch]:
        return iter(())


@pytest.fixture(scope="module")
def sample():
    return Shop(purchases_by_day(reference("data/cdnow_sample/CDNOW_sample.txt.gz")), (CUT,), unit="week")


def _small(clients=60):
    random = np.random.default_rng(3)
    bought = {
        (f"c{k:03d}", START + timedelta(days=int(day)))
        for k in range(clients)
        for day in random.integers(0, 200, random.poisson(4) + 1)
    }
    return Shop([(client, day, 10.0 + (day.day % 7)) for client, day in sorted(bought)], (date(1997, 5, 1),))


def test_cdnow_comes_out_as_published_in_weeks_beside_worse_baselines(sample):
    judged = protocol_of(sample.dataset, "purchases")(sample, 273)
    rows = {row.rule: row.figures for row in judged.rows}
    bg, pareto = rows["BG/NBD x Gamma-Gamma"], rows["Pareto/NBD x Gamma-Gamma"]
    assert [bg["expected"], pareto["expected"], bg["actual"]] == pytest.approx([1653.4, 1665.5, 1882], abs=0.05)
    assert [bg["correlation"], pareto["correlation"]] == pytest.approx([0.6256, 0.6302], abs=5e-5)
    assert [bg["mae"], pareto["mae"]] == pytest.approx([0.786, 0.755], abs=0.001)
    assert [bg["curve_mape"], pareto["curve_mape"]] == pytest.approx([2.63, 1.31], abs=0.005)
    assert bg["spend_expected"] == pytest.approx(59_932, abs=1)
    assert bg["spend_gini"] == pytest.approx(0.638, abs=0.0005)
    models = [row for row in judged.rows if row.is_model]
    assert "alpha 4.4136" in models[0].chosen
    assert "-9,582.43" in models[0].chosen
    for row in judged.rows:
        if not row.is_model:
            assert (row.figures["correlation"] or 0) < bg["correlation"]
            assert row.figures["curve_mape"] > bg["curve_mape"]
    assert any("AUC 0.316: it is no churn score" in sentence for sentence in judged.sentences)
    assert judged.refused == ()


def test_the_cumulative_curve_holds_what_was_made_and_every_rule_over_all_weeks(sample):
    judged = run(sample, 273)
    curve = next(curve for curve in judged.curves if curve.title == "Cumulative repeat purchases")
    weeks, made = curve.lines["made"]
    assert weeks == list(range(79))
    assert made[0] == 0
    assert made[39] == 2457
    assert made[78] == 2457 + 1882
    assert set(curve.lines) == {"made", *(row.rule for row in judged.rows)}
    assert all(len(line[1]) == 79 for line in curve.lines.values())


def test_purchases_after_the_window_change_no_figure():
    shop = _small()
    short = run(shop, 60)
    later = [(client, day + timedelta(days=300), 99.0) for client, day, _ in shop.purchases]
    newcomers = [("z", date(1997, 5, 2), 5.0), ("z", date(1997, 5, 9), 5.0)]
    longer = run(replace(shop, purchases=[*shop.purchases, *later, *newcomers], batch=7), 60)
    assert [(row.rule, row.figures, row.chosen) for row in longer.rows] == [
        (row.rule, row.figures, row.chosen) for row in short.rows
    ]
    assert set(shop.asked) == {date(1997, 4, 30)}  # features end on the day before the cut


def test_forecasts_know_nothing_of_the_window():
    shop = _small()
    cut = shop.cuts[0]
    quiet = [row for row in shop.purchases if row[1] < cut] + [("z", date(1997, 7, 30), 1.0)]
    expected = [
        [(row.rule, row.figures["expected"], row.figures["spend_expected"]) for row in run(one, 60).rows]
        for one in (shop, replace(shop, purchases=quiet))
    ]
    assert expected[0] == expected[1]


def test_cuts_without_room_or_clients_and_models_without_ground_are_refused_with_a_sentence():
    shop = replace(_small(), cuts=(START, date(1997, 5, 1), date(1997, 7, 1)))
    judged = run(shop, 60)
    assert [sentence[:10] for sentence in judged.refused if "lie outside the data" in sentence] == [
        "1997-01-01", "1997-07-01",
    ]  # fmt: skip
    assert {row.cut for row in judged.rows} == {"1997-05-01"}
    once = Shop([(f"c{k}", START + timedelta(days=k), 5.0) for k in range(40)], (date(1997, 1, 20),))
    judged = run(once, 10)
    assert any("Gamma-Gamma: no repeat purchase" in sentence for sentence in judged.refused)
    assert all(np.isfinite(row.figures["expected"]) for row in judged.rows)
    nobody = replace(once, cuts=(date(1997, 1, 2),), purchases=[("a", START + timedelta(days=k), 1.0) for k in (0, 30)])
    assert run(nobody, 20).rows
