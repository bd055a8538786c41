import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import psutil
import pytest
import sqlalchemy as sa

from perennial.core.errors import RetryableError
from perennial.core.settings import load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.locks import hold, new_owner
from perennial.ledger.tables import locks

NOON = datetime(2017, 10, 1, 12, tzinfo=UTC)


@pytest.fixture
def engine(tmp_path, monkeypatch):
    monkeypatch.setenv("PERENNIAL_CLOCK", NOON.isoformat())
    return open_ledger(load_settings({"PERENNIAL_HOME": str(tmp_path)}))


def put_lock(engine, owner, expires_at):
    with engine.begin() as connection:
        connection.execute(
            sa.insert(locks).values(name="list", owner=owner, expires_at=expires_at.replace(tzinfo=None))
        )


def names(engine):
    with engine.connect() as connection:
        return connection.execute(sa.select(locks.c.name)).scalars().all()


def test_L16_a_second_holder_is_refused_and_the_lock_is_given_back(engine):
    with hold(engine, "list"):
        with pytest.raises(RetryableError, match="another process is at it"), hold(engine, "list"):
            pass
        with hold(engine, "another list"):
            assert sorted(names(engine)) == ["another list", "list"]
    assert names(engine) == []


def test_L16_a_lock_is_given_back_when_its_block_fails(engine):
    with pytest.raises(ValueError, match="broken"), hold(engine, "list"):
        raise ValueError("broken")
    assert names(engine) == []


def test_L16_an_expired_lock_is_taken_over_and_its_old_holder_is_told(engine, monkeypatch):
    with hold(engine, "list", ttl_seconds=60) as slow:
        monkeypatch.setenv("PERENNIAL_CLOCK", (NOON + timedelta(seconds=61)).isoformat())
        with hold(engine, "list"), pytest.raises(RetryableError, match="lost to another process"):
            slow.confirm()


def test_a_holder_that_confirms_keeps_its_lock_beyond_the_first_expiry(engine, monkeypatch):
    with hold(engine, "list", ttl_seconds=60) as lock:
        monkeypatch.setenv("PERENNIAL_CLOCK", (NOON + timedelta(seconds=50)).isoformat())
        lock.confirm()
        monkeypatch.setenv("PERENNIAL_CLOCK", (NOON + timedelta(seconds=100)).isoformat())
        with pytest.raises(RetryableError), hold(engine, "list"):
            pass


def test_L16_the_lock_of_a_process_that_is_gone_is_taken_over_at_once(engine):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    place, _, start, token = new_owner().split(":")
    put_lock(engine, f"{place}:{ended.pid}:{start}:{token}", NOON + timedelta(hours=1))
    with hold(engine, "list"):
        assert names(engine) == ["list"]


def test_a_process_that_was_given_the_id_of_a_dead_one_does_not_keep_its_lock(engine):
    place, _, _, token = new_owner().split(":")
    earlier = int(psutil.Process().create_time()) - 1000
    put_lock(engine, f"{place}:{os.getpid()}:{earlier}:{token}", NOON + timedelta(hours=1))
    with hold(engine, "list"):
        assert names(engine) == ["list"]


def test_L16_a_holder_on_another_host_is_believed_until_its_lock_expires(engine, monkeypatch):
    put_lock(engine, "elsewhere:1:1:token", NOON + timedelta(hours=1))
    with pytest.raises(RetryableError), hold(engine, "list"):
        pass
    monkeypatch.setenv("PERENNIAL_CLOCK", (NOON + timedelta(hours=1)).isoformat())
    with hold(engine, "list"):
        assert names(engine) == ["list"]
