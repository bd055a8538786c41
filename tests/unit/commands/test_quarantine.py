from __future__ import annotations

import csv
import gzip
import os

import pytest

from factories.landing_zone import SALES_FILE, many_sales, sale, sales
from perennial.pipeline.ingest import ingest


@pytest.fixture
def batch_id(settings):
    path = settings.landing / SALES_FILE
    path.parent.mkdir(parents=True)
    hidden = path.with_suffix(".tmp")
    hidden.write_bytes(gzip.compress(sales(*many_sales(), sale(10001, quantity="x")).encode()))
    os.utime(hidden, (1, 1))
    hidden.rename(path)
    [report] = ingest(settings)
    return report.batch_id


def test_rows_are_listed_shown_exported_corrected_replayed_and_nothing_waits(perennial, batch_id, tmp_path):
    listed = perennial("quarantine", "list")
    assert (listed.code, batch_id in listed.out, "type:quantity" in listed.out) == (0, True, True)
    [row] = perennial("quarantine", "list", "--json").json
    assert (row["source"], row["entity"], row["rows"], row["state"]) == ("shop", "sales", 1, "committed")
    shown = perennial("quarantine", "show", batch_id[:6])
    assert f"{SALES_FILE}:102" in shown.out
    assert "quantity: 'x' is not a number -> correct it" in shown.out
    assert perennial("quarantine", "show", f"{batch_id}:102", "--json").json[0]["raw"]["quantity"] == "x"
    path = tmp_path / "bad.csv"
    told = perennial("quarantine", "export", "shop.sales", "--to", path)
    assert (told.code, "personal values stand in it" in told.out) == (0, True)
    with path.open(encoding="utf-8", newline="") as stream:
        [bad] = csv.DictReader(stream)
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(bad))
        writer.writeheader()
        writer.writerow({**bad, "quantity": "3"})
    done = perennial("quarantine", "replay", "shop.sales", "--from", path)
    assert (done.code, "1 loaded, 0 still bad, 0 duplicate" in done.out) == (0, True)
    assert perennial("quarantine", "list").out == "nothing waits in quarantine\n"
    assert perennial("quarantine", "replay", "shop.sales", "--from", path).code == 3


def test_dropping_asks_and_wants_a_reason(perennial, batch_id):
    assert perennial("quarantine", "drop", batch_id, "--note", " ").code == 2
    asked = perennial("quarantine", "drop", batch_id, "--note", "a test order")
    assert (asked.code, asked.err) == (1, "nothing was dropped; --yes does not ask\n")
    assert perennial("quarantine", "drop", batch_id, "--note", "a test order", "--yes").code == 0
    assert perennial("quarantine", "list", "--json").json == []


def test_unmasked_values_come_with_a_warning_and_only_when_asked_for(perennial, batch_id):
    assert perennial("quarantine", "show", batch_id).err == ""
    assert "do not keep or pass on" in perennial("quarantine", "show", batch_id, "--unmasked").err
