"""One shop of 900 clients and 300 days, and how its scores are trained."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from factories.client_behaviour import CHURN_LABEL, START, VALUE_LABEL, buy_and_stop, day, table
from perennial.scoring.cuts import training_dates
from perennial.scoring.features import feature_schema
from perennial.scoring.frames import frame_of
from perennial.scoring.tasks import ChurnTask, ValueTask
from perennial.scoring.threads import one_thread
from perennial.scoring.training import train

AS_OF = day(280)
CHURN, VALUE = ChurnTask(28), ValueTask(60)


class Trainer:
    """Trains on tables, as pipeline/scores.py does on published ones."""

    as_of = AS_OF
    churn, value = CHURN, VALUE

    def dates(self, task, as_of=AS_OF, start=START) -> tuple[date, ...]:
        return training_dates(as_of, start, horizon_days=task.horizon_days, cuts=6, step_days=14)

    def frames(self, task, rows, today, start=START):
        schema = feature_schema(rows.schema, without=(CHURN_LABEL, VALUE_LABEL))
        return frame_of(rows, schema, start, label=task.label), frame_of(today, schema, start), schema

    def train(self, task, rows, today, *, as_of=AS_OF, seed=1, start=START):
        labelled, now, schema = self.frames(task, rows, today, start)
        return train(task, labelled, now, schema, as_of=as_of, seed=seed)

    def of_shop(self, task, shop, *, as_of=AS_OF, seed=1):
        until = (as_of - START).days
        rows = table(shop, self.dates(task, as_of) or [as_of - timedelta(days=1)], value_days=60, known_until=until)
        return self.train(task, rows, table(shop, [as_of], known_until=until), as_of=as_of, seed=seed)


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """As training and scoring do; threads that wait for each other cost seconds on a busy machine."""
    with one_thread():
        yield


@pytest.fixture(scope="session")
def trainer():
    return Trainer()


@pytest.fixture(scope="session")
def shop():
    return buy_and_stop(900)


@pytest.fixture(scope="session")
def labelled(shop, trainer):
    """Rows of the churn cuts, and those of today."""
    return table(shop, trainer.dates(CHURN), value_days=60), table(shop, [AS_OF], value_days=60, known_until=280)


@pytest.fixture(scope="session")
def churn(labelled, trainer):
    return trainer.train(CHURN, *labelled)


@pytest.fixture(scope="session")
def value(shop, trainer):
    return trainer.of_shop(VALUE, shop)
