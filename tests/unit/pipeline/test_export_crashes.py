"""kill -9 of the exporting process, then a run again: nobody twice, nobody lost, the sums right, the bytes equal."""

import os
import random
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import sqlalchemy as sa

from factories import export_driver, exports, published
from perennial.core.settings import REPOSITORY
from perennial.ledger.deliveries import lists_of
from perennial.ledger.engine import open_ledger
from perennial.ledger.tables import deliveries, locks
from perennial.pipeline.export import export

IDS = [f"c{n}" for n in range(40)]
CAMPAIGNS = {"news": "send", "thanks": "send", "vip": "audience"}
LISTS = [f"{name}__email" for name in CAMPAIGNS]


def shop(folder):
    cards = [published.card(name, list_type=kind, merge_fields=["first_name"]) for name, kind in CAMPAIGNS.items()]
    settings = exports.settings_with(folder, *cards)
    exports.consent(settings, IDS)
    people = [exports.person(one, email=None if one == "c7" else f"{one}@example.com") for one in IDS]
    targets = [exports.target(name, one, value=float(place % 5)) for name in CAMPAIGNS for place, one in enumerate(IDS)]
    return settings, exports.planned_day(settings, people, targets)


def driver(settings, *arguments):
    environ = {
        **os.environ,
        "PERENNIAL_HOME": str(settings.home),
        "PERENNIAL_CONFIG": str(settings.config_dir),
        "PYTHONPATH": os.pathsep.join(str(REPOSITORY / name) for name in ("plugins", "tests")),
    }
    return subprocess.Popen([sys.executable, str(Path(export_driver.__file__)), *arguments], env=environ)


def in_outbox(settings):
    """How often each campaign and client was handed over."""
    found = Counter()
    for manifest in settings.outbox.rglob("manifest.json"):
        list_id = manifest.parent.relative_to(settings.outbox).as_posix()
        campaign = exports.manifest_of(settings, list_id)["campaign_id"]
        found.update((campaign, row["client_id"]) for row in exports.rows_of(settings, list_id))
    return found


def in_ledger(settings, state):
    with open_ledger(settings).connect() as connection:
        rows = connection.execute(sa.select(deliveries).where(deliveries.c.state == state)).all()
    return Counter((row.campaign_id, row.client_id) for row in rows)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    settings, run = shop(tmp_path_factory.mktemp("undisturbed"))
    export(settings, run)
    return exports.tree(settings.outbox)


def assert_everyone_once(settings, undisturbed):
    everyone = Counter((name, one) for name in CAMPAIGNS for one in IDS if one != "c7")
    assert in_outbox(settings) == everyone
    assert in_ledger(settings, "accepted") == everyone
    assert in_ledger(settings, "rejected") == Counter((name, "c7") for name in CAMPAIGNS)
    assert exports.tree(settings.outbox) == undisturbed
    records = lists_of(open_ledger(settings), "outbox")
    assert [(record.size, record.sent, record.rejected) for record in records] == [(40, 39, 1)] * len(CAMPAIGNS)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("point", ["write", "rename", "renamed", "mark"])
def test_L12_after_kill_9_and_a_rerun_everyone_has_been_handed_over_once(tmp_path, undisturbed, point, seed):
    settings, run = shop(tmp_path)
    killed_in = random.Random(f"{point}-{seed}").choice(LISTS)
    assert driver(settings, point, killed_in).wait(timeout=120) == -signal.SIGKILL
    accepted_unseen = point in {"renamed", "mark"}
    assert (settings.outbox / "2017-10-01" / killed_in).exists() == accepted_unseen
    assert not [one for one in in_ledger(settings, "accepted") if one[0] == killed_in.partition("__")[0]]
    reports = {f"{report.campaign_id}__email": report for report in export(settings, run)}
    assert reports[killed_in].sent == (0 if accepted_unseen else 39)
    assert_everyone_once(settings, undisturbed)


def test_L12_a_process_that_is_killed_again_and_again_ends_in_the_same_lists(tmp_path, undisturbed):
    settings, _ = shop(tmp_path)
    for point, name in (("write", LISTS[0]), ("renamed", LISTS[0]), ("mark", LISTS[1]), ("rename", LISTS[2])):
        assert driver(settings, point, name).wait(timeout=120) == -signal.SIGKILL
    assert driver(settings).wait(timeout=120) == 0
    assert_everyone_once(settings, undisturbed)
    with open_ledger(settings).connect() as connection:
        assert connection.execute(sa.select(locks)).all() == []


def test_L16_two_exporters_at_once_hand_nobody_over_twice(tmp_path, undisturbed):
    settings, run = shop(tmp_path)
    both = [driver(settings), driver(settings)]
    assert {process.wait(timeout=120) for process in both} <= {0, export_driver.BUSY}
    export(settings, run)
    assert_everyone_once(settings, undisturbed)
