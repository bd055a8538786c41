"""Publishing a large table by its changed rows: it always equals the build's table, whatever the days brought."""

from __future__ import annotations

import random
import subprocess
import sys
from datetime import date, timedelta

import pyarrow as pa
import pytest

from factories.tiny_warehouse import day_run
from perennial.core.settings import REPOSITORY
from perennial.warehouse.build_db import TableSpec, build_connection, mark_built, prepare_build
from perennial.warehouse.changes import Layout
from perennial.warehouse.publish import publish_marts
from perennial.warehouse.reader import open_published
from perennial.warehouse.versions import all_versions, current_id, parts_dir, read_version

SMALL = Layout(least_rows=20, most_parts=5)
SPECS = [
    TableSpec("clients", key=("client_id",), description="One row per client.", comments={"spent": "Money, in EUR."}),
    TableSpec("visits", date_column="visited_on", key=("visit",), changed_days="int_days_changed"),
]


def build(settings, run, clients, visits, *, days=(), change_of=None):
    """A finished build with one row per client, a fact by month, and the days that it says it touched."""
    tables = {
        "marts.clients": ("client_id varchar, spent decimal(18, 4), note varchar", clients),
        "marts.visits": ("visit integer, visited_on date", [(n, str(day) if day else None) for n, day in visits]),
        "intermediate.int_days_changed": ("business_date date", [(str(day),) for day in days]),
    }
    prepare_build(settings, run, raw_files={}, ledger=[])
    with build_connection(settings, run, read_only=False) as connection:
        for name, (columns, rows) in tables.items():
            connection.execute(f"create or replace table {name} ({columns})")
            if rows:
                arrays = [pa.array(values) for values in zip(*rows, strict=True)]
                connection.register("arriving", pa.table(arrays, names=[f"c{n}" for n in range(len(arrays))]))
                connection.execute(f"insert into {name} from arriving")
    mark_built(settings, run, SPECS)
    with build_connection(settings, run, read_only=False) as connection:
        connection.execute("update raw.build_info set build_id = ?, change_of = ?", [run.run_id, change_of])


def published(settings, table):
    with open_published(settings) as found:
        return sorted(map(repr, (tuple(row.values()) for row in found.query(f"from {table}").to_pylist())))


def in_the_build(settings, run, table):
    with build_connection(settings, run, read_only=True) as connection:
        return sorted(map(repr, connection.execute(f"from marts.{table}").fetchall()))


def table_of(settings, name="clients"):
    return read_version(settings, current_id(settings)).tables[name]


def clients(count, **spent):
    return {f"c{n:04d}": (f"c{n:04d}", spent.get(f"c{n:04d}", "1.0000"), "x" if n % 3 else None) for n in range(count)}


def next_day(rng, known, days_ago):
    """The clients of the next day: some changed, new, gone, and some back to what they were long ago."""
    now = dict(known)
    for key in rng.sample(sorted(now), min(len(now), rng.choice((0, 1, 3, 30)))):
        now[key] = (key, f"{rng.randint(0, 3)}.0000", rng.choice((None, "x", "y")))
    for key in rng.sample(sorted(now), min(len(now), rng.choice((0, 0, 2, 10)))):
        del now[key]
    before = rng.choice(days_ago)
    now.update({key: before[key] for key in rng.sample(sorted(before), min(len(before), 2))})
    now.update({key: (key, "9.0000", None) for key in (f"n{rng.randint(0, 99)}" for _ in range(rng.choice((0, 1, 4))))})
    return now


@pytest.mark.parametrize("seed", range(3))
def test_L5_what_is_published_equals_the_build_day_after_day_whatever_changed(settings, seed):
    rng = random.Random(seed)
    known, history, forms = clients(60), [clients(60)], set()
    visits = [(n, date(2017, 1 + n % 6, 1 + n % 28) if n % 9 else None) for n in range(80)]
    before = None
    for number in range(9):
        run = day_run(date(2017, 10, 1) + timedelta(days=number))
        if number:
            known = next_day(rng, known, history)
            history.append(known)
            moved = rng.randrange(len(visits))
            old, visits[moved] = visits[moved], (visits[moved][0], date(2017, rng.randint(1, 8), 5))
            days = [day for day in (old[1], visits[moved][1]) if day]
        skipped = number and rng.random() < 0.2  # built, and overtaken before it was published
        build(settings, run, known.values(), visits, days=days if number else (), change_of=before)
        before = run.run_id
        if skipped:
            continue
        publish_marts(settings, run, layout=SMALL)
        forms.add((len(table_of(settings).parts) > 1, table_of(settings).gone is not None))
        for table in ("clients", "visits"):
            assert published(settings, table) == in_the_build(settings, run, table), (seed, number, table)
    assert forms >= {(False, False), (True, True)}  # written whole, and by changes


def test_only_changed_rows_are_written_and_a_row_that_comes_back_is_found_where_it_lay(settings):
    first = clients(50)
    build(settings, day_run(), first.values(), [])
    publish_marts(settings, day_run(), layout=SMALL)
    (whole,) = table_of(settings).parts
    build(settings, day_run(revision=2), clients(50, c0007="2.0000").values(), [])
    publish_marts(settings, day_run(revision=2), layout=SMALL)
    kept, added = table_of(settings).parts
    assert (kept, added.rows, table_of(settings).gone.rows, table_of(settings).rows) == (whole, 1, 1, 50)
    build(settings, day_run(revision=3), first.values(), [])
    publish_marts(settings, day_run(revision=3), layout=SMALL)
    assert [part.rows for part in table_of(settings).parts] == [50, 1]
    assert table_of(settings).gone.rows == 1  # now it is the row of the day between that is gone
    assert published(settings, "clients") == in_the_build(settings, day_run(revision=3), "clients")


def test_a_table_that_changed_much_or_has_other_columns_is_written_whole(settings):
    build(settings, day_run(), clients(50).values(), [])
    publish_marts(settings, day_run(), layout=SMALL)
    half = clients(50, **{f"c{n:04d}": "5.0000" for n in range(25)})
    build(settings, day_run(revision=2), half.values(), [])
    publish_marts(settings, day_run(revision=2), layout=SMALL)
    assert (len(table_of(settings).parts), table_of(settings).gone) == (1, None)


def test_equal_rows_are_all_published(settings):
    twice = [*clients(50).values(), ("c0001", "1.0000", "x")]
    build(settings, day_run(), twice, [])
    publish_marts(settings, day_run(), layout=SMALL)
    assert (table_of(settings).hashed, table_of(settings).rows) == (False, 51)


def test_a_mart_that_is_a_view_of_the_build_is_published_by_changes_too(settings):
    build(settings, day_run(), clients(50).values(), [])
    publish_marts(settings, day_run(), layout=SMALL)
    prepare_build(settings, day_run(revision=2), raw_files={}, ledger=[])
    with build_connection(settings, day_run(revision=2), read_only=False) as connection:
        connection.execute(
            "alter table marts.clients rename to held; update marts.held set note = 'z' where client_id = 'c0003'"
        )
        connection.execute("create view marts.clients as from marts.held")
    mark_built(settings, day_run(revision=2), SPECS)
    publish_marts(settings, day_run(revision=2), layout=SMALL)
    assert [part.rows for part in table_of(settings).parts] == [50, 1]
    assert published(settings, "clients") == in_the_build(settings, day_run(revision=2), "clients")


def touched(settings, visits, *, days, change_of, revision):
    run = day_run(revision=revision)
    build(settings, run, clients(3).values(), visits, days=days, change_of=change_of)
    publish_marts(settings, run, layout=SMALL)
    return [part.checksum for part in table_of(settings, "visits").parts]


def test_months_that_the_build_says_it_did_not_touch_are_not_read(settings):
    visits = [(1, date(2017, 1, 5)), (2, date(2017, 2, 5)), (3, None)]
    january, february, none = touched(settings, visits, days=(), change_of=None, revision=1)
    changed = [(9, date(2017, 1, 5)), (8, date(2017, 2, 5)), (3, None)]
    trusted = touched(settings, changed, days=[date(2017, 2, 7)], change_of="2017-10-01.r1", revision=2)
    assert (trusted[0], trusted[2]) == (january, none)
    assert trusted[1] != february
    # The second build is no change of what is published: everything is looked at.
    checked = touched(settings, changed, days=[date(2017, 2, 7)], change_of="2017-10-01.r1", revision=3)
    assert checked[0] != january
    assert published(settings, "visits") == in_the_build(settings, day_run(revision=3), "visits")


def test_rows_that_came_without_their_day_being_named_are_found_by_the_count(settings):
    visits = [(1, date(2017, 1, 5)), (2, date(2017, 2, 5))]
    touched(settings, visits, days=(), change_of=None, revision=1)
    touched(settings, [*visits, (3, date(2017, 1, 6))], days=[date(2017, 2, 7)], change_of="2017-10-01.r1", revision=2)
    assert published(settings, "visits") == in_the_build(settings, day_run(revision=2), "visits")


PUBLISH_AND_DIE = """
import sys
from datetime import date
from pathlib import Path
from factories.tiny_warehouse import day_run, kill_self_at, tiny_settings
from perennial.warehouse.changes import Layout
from perennial.warehouse.publish import publish_marts
kill_self_at("os.rename", sys.argv[2])
publish_marts(tiny_settings(Path(sys.argv[1])), day_run(revision=2), layout=Layout(least_rows=20))
"""


@pytest.mark.parametrize("place", ["rows-000001-", "gone-", "current"])
def test_L1_L5_killed_between_writing_changes_and_the_pointer_a_rerun_gives_the_build(settings, tmp_path, place):
    build(settings, day_run(), clients(50).values(), [])
    publish_marts(settings, day_run(), layout=SMALL)
    yesterday = published(settings, "clients")
    build(settings, day_run(revision=2), clients(49, c0007="2.0000").values(), [])
    paths = f"{REPOSITORY / 'plugins'}:{REPOSITORY / 'tests'}"
    died = subprocess.run(
        [sys.executable, "-c", PUBLISH_AND_DIE, str(tmp_path), place], env={"PYTHONPATH": paths}, check=False
    )
    assert died.returncode == -9
    assert published(settings, "clients") == yesterday
    publish_marts(settings, day_run(revision=2), layout=SMALL)
    assert published(settings, "clients") == in_the_build(settings, day_run(revision=2), "clients")
    assert len(all_versions(settings)) == 2
    assert len(list((parts_dir(settings) / "clients").glob("rows-*"))) == 2


def test_bi_tools_find_what_the_model_says_of_the_table_and_its_columns(settings):
    build(settings, day_run(), clients(50).values(), [])
    publish_marts(settings, day_run(), layout=SMALL)
    with open_published(settings) as found:
        described = found.query("select comment from duckdb_views() where view_name = 'clients'").to_pylist()
        columns = found.query(
            "select column_name, column_comment as said from information_schema.columns where table_name = 'clients'"
        ).to_pylist()
    assert described == [{"comment": "One row per client."}]
    assert {row["column_name"]: row["said"] for row in columns}["spent"] == "Money, in EUR."
    assert [row["column_name"] for row in columns] == ["client_id", "spent", "note"]
