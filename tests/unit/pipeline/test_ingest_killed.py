"""SIGKILL before each of an ingestion's lasting steps, then once more: the same tables, ledger and shelves (L1)."""

from __future__ import annotations

import subprocess
import sys

import duckdb
import pytest
import sqlalchemy as sa

from factories import ingest_and_die
from factories.landing_zone import CONSENTS, DAY, HOUSEHOLDS, SALES_FILE, Zone, many_sales, sale, sales
from perennial.core.settings import REPOSITORY, load_settings
from perennial.ledger.engine import open_ledger
from perennial.ledger.tables import batch_files, batches, consent_events


def _land(zone: Zone) -> None:
    """A batch of three files with a broken fourth, one with rows for quarantine, one that is refused, and a stray."""
    zone.land("shop/sales_2017-09-30.csv.gz", sales(sale(10001, at="2017-09-30T12:00:00Z")))
    zone.land(
        "shop/sales_2017-10-01.csv.gz",
        sales(sale(10001, at="2017-09-30T12:00:00Z"), sale(10002, at="2017-09-30T12:00:00Z")),
    )
    zone.land(SALES_FILE, sales(*many_sales(60), sale(quantity="x")))
    zone.land("shop/sales_2017-10-03.csv.gz", b"cut off", pack=False)
    zone.land("shop/notes.txt", "whose is this?")
    zone.land(f"crm/consents_{DAY}.csv", f"{CONSENTS}\n1,email,marketing,granted,2017-10-02T10:00:00Z\n")
    zone.land(f"crm/households_{DAY}.csv", f"{HOUSEHOLDS}\n1,A,B,no address,,,2017-01-01\n")


def _state(home, config) -> dict[str, object]:
    """Everything that lasts, but for the moment at which it was written down."""
    settings = load_settings({"PERENNIAL_HOME": str(home), "PERENNIAL_CONFIG": str(config)})
    with open_ledger(settings).connect() as connection:
        columns = [column for column in batches.c if column.name != "recorded_at"]
        rows = connection.execute(sa.select(*columns).order_by(batches.c.batch_seq)).all()
        files = connection.execute(sa.select(batch_files).order_by(batch_files.c.batch_id, batch_files.c.name)).all()
        events = connection.execute(sa.select(consent_events)).all()
    raw = {}
    with duckdb.connect() as connection:
        for row in rows:
            for path in filter(None, (row.raw_path, row.quarantine_path)):
                raw[path] = connection.execute("select * from read_parquet(?)", [str(home / path)]).fetchall()
    shelves = {
        path.relative_to(home).as_posix(): path.read_bytes()
        for shelf in ("landing", "archive", "refused", "journal", "tmp")
        for path in (home / shelf).rglob("*")
        if path.is_file()
    }
    return {"batches": rows, "files": files, "events": events, "raw": raw, "shelves": shelves}


@pytest.mark.timeout(900)
def test_L1_killed_before_any_lasting_step_and_run_again_gives_the_same(tmp_path):
    zone = Zone(tmp_path)
    _land(zone)
    (tmp_path / "home").rename(tmp_path / "template")
    done = subprocess.run(
        [sys.executable, ingest_and_die.__file__, str(tmp_path)],
        env={"PYTHONPATH": f"{REPOSITORY / 'plugins'}:{REPOSITORY / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    killed = int(done.stdout.split()[-1])
    undisturbed = _state(tmp_path / str(killed + 1), zone.settings.config_dir)
    assert [(row.source_entity, row.state, row.loaded, row.duplicate) for row in undisturbed["batches"]] == [
        ("-", "refused", 0, 0),
        ("households", "refused", 0, 0),
        ("sales", "refused", 0, 0),
        ("sales", "committed", 62, 1),
        ("consents", "committed", 1, 0),
    ]
    assert len(undisturbed["events"]) == 1
    assert killed >= 15  # two Parquet files, five journals, seven files on their shelves
    for number in range(1, killed + 1):
        again = _state(tmp_path / str(number), zone.settings.config_dir)
        assert again == undisturbed, f"killed before rename {number}"
