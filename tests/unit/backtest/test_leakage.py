"""Nothing from after the cut: shuffled labels teach nothing, and rows of the future change nothing (L3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest

from factories.client_behaviour import CHURN_LABEL, START, VALUE_LABEL, Shop, buy_and_stop, day, table
from perennial.scoring.protocols.churn import run

HORIZON = 28
CUT, LAST = day(240), day(299)


@dataclass
class Table:
    """Transactions whose features come from a table in memory, made as dbt would."""

    shop: Shop
    last_day: date = LAST
    task: str = "churn"
    cuts: tuple[date, ...] = (CUT,)
    first_day: date = START
    seed: int = 7
    shuffled: bool = False
    asked: list[date] = field(default_factory=list)

    def features(self, dates, horizon_days):
        self.asked += dates
        until = (self.last_day - START).days
        made = table(self.shop, sorted(dates), churn_days=horizon_days, value_days=horizon_days, known_until=until)
        if not self.shuffled:
            return made
        place = made.column_names.index(CHURN_LABEL)
        values = np.array(made.column(CHURN_LABEL).to_pylist(), dtype=float)
        return made.set_column(place, CHURN_LABEL, pa.array(np.random.default_rng(3).permutation(values)))

    def labels(self):
        return CHURN_LABEL, VALUE_LABEL


def _seen(judged):
    rows = [(row.cut, row.rule, dict(row.figures), row.n, row.chosen) for row in judged.rows]
    return repr((rows, judged.curves, judged.sentences, judged.refused))


def test_shuffled_labels_give_an_auc_of_one_half():
    judged = run(Table(buy_and_stop(4000), shuffled=True), HORIZON)
    aucs = {row.rule: row.figures["auc"] for row in judged.rows}
    assert aucs["churn_risk"] == pytest.approx(0.5, abs=0.03)


def test_the_same_rows_with_their_own_labels_do_not():
    judged = run(Table(buy_and_stop(900)), HORIZON)
    assert next(row.figures["auc"] for row in judged.rows if row.is_model) > 0.7


def test_L3_purchases_after_the_window_of_a_cut_change_no_byte_of_what_is_said_of_it():
    shop = buy_and_stop(900)
    known = shop.day < 240 + HORIZON
    past = Shop(shop.client[known], shop.day[known], shop.amount[known])
    first = Table(past, last_day=CUT + timedelta(days=HORIZON - 1))
    second = Table(shop, last_day=day(299))
    assert _seen(run(first, HORIZON)) == _seen(run(second, HORIZON))


def test_L3_no_label_of_a_training_date_reaches_the_cut():
    data = Table(buy_and_stop(900))
    run(data, HORIZON)
    assert max(data.asked) == CUT - timedelta(days=1)
    earlier = [asked for asked in data.asked if asked < CUT - timedelta(days=1)]
    assert max(earlier) + timedelta(days=HORIZON) < CUT


def test_a_window_that_the_data_do_not_reach_is_refused_with_its_days():
    judged = run(Table(buy_and_stop(300), cuts=(day(290),)), HORIZON)
    assert judged.rows == ()
    assert f"its window ends on {day(290 + HORIZON - 1)}" in judged.refused[0]


@pytest.mark.parametrize("clients", [3, 30])
def test_few_clients_are_a_stated_refusal(clients):
    judged = run(Table(buy_and_stop(clients)), HORIZON)
    assert judged.rows == ()
    assert "at least" in judged.refused[0]
