from __future__ import annotations

from datetime import date

import pytest
import sqlalchemy as sa

from perennial.core.errors import ContractViolation
from perennial.core.settings import load_settings
from perennial.ledger import runs
from perennial.ledger.engine import HEAD_REVISION, open_ledger
from perennial.ledger.tables import METADATA

DAY = date(2017, 10, 1)


@pytest.fixture
def engine(tmp_path):
    return open_ledger(load_settings({"PERENNIAL_HOME": str(tmp_path)}))


def test_L2_the_same_batches_and_config_are_the_same_run_in_any_order(engine):
    first = runs.open_run(engine, DAY, ("b", "a"), "config")
    assert runs.open_run(engine, DAY, ("a", "b"), "config") == first
    assert first.batch_ids == ("a", "b")


def test_L2_another_batch_or_another_config_is_a_new_revision_of_the_day(engine):
    runs.open_run(engine, DAY, ("a",), "config")
    assert runs.open_run(engine, DAY, ("a", "b"), "config").run_id == "2017-10-01.r2"
    assert runs.open_run(engine, DAY, ("a", "b"), "changed").run_id == "2017-10-01.r3"


def test_a_run_never_goes_back_to_an_earlier_state(engine):
    run = runs.open_run(engine, DAY, ("a",), "config")
    runs.advance(engine, run.run_id, "scored", version_id="000002")
    runs.advance(engine, run.run_id, "built")
    assert runs.get_run(engine, run.run_id).state == "scored"
    assert runs.version_of(engine, run.run_id) == "000002"


def test_only_the_newest_date_is_the_latest(engine):
    first = runs.open_run(engine, DAY, ("a",), "config")
    assert first.is_latest
    runs.open_run(engine, date(2017, 10, 2), ("a",), "config")
    assert not runs.get_run(engine, first.run_id).is_latest
    assert runs.last_run(engine).as_of == date(2017, 10, 2)
    assert runs.last_run(engine, DAY).run_id == first.run_id


def test_an_unknown_run_is_told(engine):
    with pytest.raises(ContractViolation, match=r"no run 2001-01-01\.r1"):
        runs.get_run(engine, "2001-01-01.r1")
    with pytest.raises(ContractViolation):
        runs.advance(engine, "2001-01-01.r1", "built")


def test_the_migrations_make_exactly_the_declared_tables(engine):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        assert connection.execute(sa.text("select version_num from alembic_version")).scalar() == HEAD_REVISION


def test_L1_the_ledger_itself_refuses_a_batch_whose_rows_do_not_add_up(engine):
    from perennial.ledger.tables import batches

    row = {"batch_id": "b", "source": "s", "source_entity": "e", "entity": "order_lines", "state": "committed"}
    row |= {"warnings": [], "reasons": [], "quarantined_by_rule": {}, "recorded_at": sa.func.current_timestamp()}
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(batches).values(**row, landed=10, loaded=8, quarantined=1, duplicate=0))


def test_L15_the_ledger_itself_refuses_a_list_whose_sum_is_not_right(engine):
    from perennial.ledger.tables import lists

    row = {"list_id": "l", "run_id": "r", "destination": "outbox", "campaign_id": "c", "channel": "email", "as_of": DAY}
    row |= {"state": "delivered", "reasons": {}, "recorded_at": sa.func.current_timestamp()}
    with pytest.raises(sa.exc.IntegrityError), engine.begin() as connection:
        connection.execute(sa.insert(lists).values(**row, size=10, sent=8, rejected=1, skipped=0, pending=0))
