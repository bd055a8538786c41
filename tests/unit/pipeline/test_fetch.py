"""Landing what was fetched: never over another file, never lost, and told when it cannot be (L1)."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import stat
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from factories.remote_home import RemoteHome, content
from perennial.core.errors import ConfigError, PermanentError, RetryableError
from perennial.core.remote_systems import open_system
from perennial.ledger.cursors import last_error
from perennial.ledger.engine import open_ledger
from perennial.pipeline import fetch as fetching
from perennial.pipeline.arrival import full_disk_told
from perennial.sources.landing import look
from perennial.sources.remote_download import download
from perennial.sources.remote_listing import list_files

OLD = 1_500_000_000
EVENTS = {"os.link", "os.remove", "os.rename", "os.mkdir", "os.utime", "os.chmod"}


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


def _home(tmp_path: Path, place: Path, **more) -> RemoteHome:
    return RemoteHome(tmp_path / "near", f"file://{place}", settle_seconds=more.pop("settle_seconds", 0), **more)


def _put(place: Path, name: str, text: str, *, at: float = OLD) -> None:
    (place / name).write_text(text)
    os.utime(place / name, (at, at))


def _squat(home: RemoteHome, name: str, text: str) -> None:
    path = home.settings.landing / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _name_of(tmp_path: Path, place: Path, **more) -> str:
    """The name that the one remote file gets."""
    elsewhere = RemoteHome(tmp_path / "elsewhere", f"file://{place}", settle_seconds=0, **more)
    [name] = elsewhere.fetch().files
    return name


def test_L1_a_name_that_other_bytes_have_is_left_to_them_and_ours_gets_another(tmp_path, place):
    _put(place, "sales_1.csv", content(1))
    name = _name_of(tmp_path, place)
    home = _home(tmp_path, place)
    _squat(home, name, "somebody else's")
    [landed] = home.fetch().files
    assert landed != name
    assert home.landed() == {name: b"somebody else's", landed: content(1).encode()}
    assert set(look(home.settings, "partner").ready) == {"sales"}, "the entity takes both names"


def test_L1_a_name_that_the_same_bytes_have_is_left(tmp_path, place):
    _put(place, "sales_1.csv", content(1))
    name = _name_of(tmp_path, place)
    home = _home(tmp_path, place)
    _squat(home, name, content(1))
    assert home.fetch().files == (name,)
    assert home.landed() == {name: content(1).encode()}
    assert home.fetch().files == ()


def test_L23_a_link_in_the_landing_zone_is_neither_followed_nor_overwritten(tmp_path, place):
    _put(place, "sales_1.csv", content(1))
    name = _name_of(tmp_path, place)
    home = _home(tmp_path, place)
    outside = tmp_path / "outside.csv"
    outside.write_text(content(1))
    (home.settings.landing / name).parent.mkdir(parents=True)
    (home.settings.landing / name).symlink_to(outside)
    [landed] = home.fetch().files
    assert landed != name
    assert outside.read_text() == content(1)


def test_L1_a_dated_name_that_is_still_taken_waits_and_both_deliveries_are_read(tmp_path, place):
    home = _home(tmp_path, place, path="partner/sales_{date}.csv")
    _put(place, "sales_2017-10-02.csv", content(1))
    home.fetch()
    _put(place, "sales_2017-10-02.csv", content(2), at=OLD + 1)
    report = home.fails()
    assert isinstance(report.problem, RetryableError)
    assert "not taken in yet" in str(report.problem)
    assert home.landed() == {"partner/sales_2017-10-02.csv": content(1).encode()}
    home.pretend_committed()
    assert home.fetch().files == ("partner/sales_2017-10-02.csv",)
    assert home.landed() == {"partner/sales_2017-10-02.csv": content(2).encode()}


def test_a_dated_name_with_a_star_takes_several_deliveries_of_a_day(tmp_path, place):
    home = _home(tmp_path, place, path="partner/sales_{date}*.csv")
    _put(place, "sales_2017-10-02.csv", content(1))
    home.fetch()
    _put(place, "sales_2017-10-02.csv", content(2), at=OLD + 1)
    home.fetch()
    assert sorted(home.landed().values()) == sorted([content(1).encode(), content(2).encode()])
    assert len(look(home.settings, "partner").ready["sales"]) == 2


def test_what_landed_counts_as_settled_at_once_and_is_readable_by_its_owner_only(tmp_path, place):
    home = _home(tmp_path, place, ready={"by": "stable"}, settle_seconds=3600)
    _put(place, "sales_1.csv", content(1))
    _put(place, "sales_2.csv.part", "newer", at=OLD + 7200)
    _put(place, "sales_3.csv", content(3), at=OLD + 7200)
    request = home.request()
    from perennial.pipeline.arrival import land
    from perennial.sources.remote import fetch

    names = [land(home.settings, request, file) for file in fetch(request, pause=lambda _seconds: None)]
    assert len(names) == 1
    found = look(home.settings, "partner")
    assert len(found.ready["sales"]) == 1
    assert found.waiting == {}
    for name in names:
        assert stat.S_IMODE((home.settings.landing / name).stat().st_mode) == 0o600


def test_the_scratch_folder_may_lie_on_another_device(tmp_path, place):
    home = _home(tmp_path, place)
    elsewhere = Path(tempfile.mkdtemp(dir="/dev/shm"))
    try:
        assert elsewhere.stat().st_dev != tmp_path.stat().st_dev, "the test needs two devices"
        home.home.mkdir(parents=True, exist_ok=True)
        (home.home / "tmp").symlink_to(elsewhere)
        _put(place, "sales_1.csv", content(1))
        home.fetch()
        assert list(home.landed().values()) == [content(1).encode()]
    finally:
        shutil.rmtree(elsewhere)


def test_a_full_disk_is_told_in_plain_words_and_the_fetch_goes_on_when_there_is_room(tmp_path, place, monkeypatch):
    home = _home(tmp_path, place)
    _put(place, "sales_1.csv", content(1))
    _put(place, "sales_2.csv", content(2), at=OLD + 1)
    real, calls = os.link, []

    def full_at_the_second(source, target):
        calls.append(target)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(source, target)

    monkeypatch.setattr(os, "link", full_at_the_second)
    report = home.fails()
    assert isinstance(report.problem, RetryableError)
    assert "the disk is full" in str(report.problem)
    assert list(home.landed().values()) == [content(1).encode()]
    assert "the disk is full" in last_error(open_ledger(home.settings), "partner", "sales")
    assert len(home.fetch().files) == 1
    assert last_error(open_ledger(home.settings), "partner", "sales") is None


def test_a_disk_that_is_full_while_a_file_is_read_is_not_taken_for_a_broken_connection(tmp_path, place):
    home = _home(tmp_path, place)
    _put(place, "sales_1.csv", content(1))
    system = open_system(f"file://{place}", None, home.connections)
    [file] = list_files(system, "*.csv").files
    with pytest.raises(RetryableError, match="the disk is full"), full_disk_told(home.settings):
        download(system, file, Path("/dev/full"))


def test_a_ledger_on_a_full_disk_is_told_in_the_same_words(tmp_path, place):
    """SQLite says it itself when it may not grow; what landed is fetched again, which is a duplicate and no loss."""
    home = _home(tmp_path, place)
    for number in range(40):
        _put(place, f"sales_{number:04}_{'x' * 190}.csv", content(number))
    engine = open_ledger(home.settings)

    def stay_small(connection, _record):
        pages = connection.execute("pragma page_count").fetchone()[0]
        connection.execute(f"pragma max_page_count = {pages}")

    engine.dispose()
    sa.event.listen(engine, "connect", stay_small)
    report = home.fails()
    sa.event.remove(engine, "connect", stay_small)
    engine.dispose()
    assert "the disk is full" in str(report.problem)
    home.fetch()
    assert len(home.landed()) == 40


def test_a_file_system_without_hard_links_is_served_too(tmp_path, place, monkeypatch):
    def no_links(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    home = _home(tmp_path, place)
    _put(place, "sales_1.csv", content(1))
    [name] = home.fetch().files
    (home.settings.landing / name).write_text("changed by hand")
    open_ledger(home.settings).dispose()
    (home.home / "ledger.db").unlink()
    [other] = home.fetch().files
    assert home.landed() == {name: b"changed by hand", other: content(1).encode()}


def test_a_path_that_cannot_take_the_fetched_name_is_told_before_it_lands(tmp_path, place):
    home = _home(
        tmp_path,
        place,
        path="partner/*.csv",
        entities={"more": {"path": "partner/sales_*.csv", "remote": {"glob": "more_*.csv"}}},
    )
    _put(place, "sales_1.csv", content(1))
    report = home.fetch_all()[0]
    assert isinstance(report.problem, ConfigError)
    assert "another entity takes it too" in str(report.problem)
    assert home.landed() == {}


def test_an_error_of_one_entity_stops_only_it(tmp_path, place):
    home = _home(
        tmp_path,
        place,
        path="partner/a_{date}.csv",
        entities={"more": {"path": "partner/more_*.csv", "remote": {"glob": "more_*.csv"}}},
    )
    _put(place, "sales_2017-10-02.csv", content(1))
    _put(place, "more_1.csv", content(2))
    _squat(home, "partner/a_2017-10-02.csv", "taken")
    first, second = home.fetch_all()
    assert isinstance(first.problem, RetryableError)
    assert second.problem is None
    assert len(second.files) == 1


def _die_before(number: int) -> None:
    """Have this process die right before the n-th change of a folder: files appear and go by nothing else."""
    left = number

    def hook(name: str, _arguments: tuple[object, ...]) -> None:
        nonlocal left
        if name in EVENTS:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def _killed(home: RemoteHome, number: int) -> bool:
    """Fetch in a child that is killed at that point; whether it was killed."""
    open_ledger(home.settings).dispose()
    child = os.fork()
    if child == 0:
        _die_before(number)
        reports = home.fetch_all()
        os._exit(0 if all(report.problem is None for report in reports) else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in {0, -signal.SIGKILL}
    return status != 0


def test_L1_a_fetch_that_is_killed_at_any_change_and_run_again_lands_every_file_once_and_whole(tmp_path, place):
    for number in range(2):
        _put(place, f"sales_{number}.csv", content(number), at=OLD + number)
    number, wanted = 0, None
    while True:
        number += 1
        home = RemoteHome(tmp_path / str(number), f"file://{place}", settle_seconds=0)
        killed = _killed(home, number)
        home.fetch()
        wanted = wanted or home.landed()
        assert home.landed() == wanted, f"killed at change {number}"
        if not killed:
            break
    assert sorted(wanted.values()) == [content(0).encode(), content(1).encode()]
    assert number > 10


def test_L1_a_kill_between_landing_and_cursor_fetches_again_and_ingestion_counts_every_row_once(
    tmp_path, place, monkeypatch
):
    """The first copy was ingested before the second fetch: it lands once more, and ingestion knows it by its bytes."""
    _put(place, "sales_1.csv", content(1))
    home = _home(tmp_path, place)
    open_ledger(home.settings).dispose()
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(fetching, "save_cursor", lambda *_a, **_k: os.kill(os.getpid(), signal.SIGKILL))
        home.fetch_all()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    first = home.only()
    assert (first.landed, first.loaded) == (3, 3)
    assert len(home.fetch().files) == 1
    again = home.only()
    assert (again.landed, again.loaded, again.quarantined, again.duplicate) == (3, 0, 0, 3)
    assert home.fetch().files == ()
    assert len(home.raw("order_lines")) == 3


def test_a_source_is_due_when_its_minutes_have_passed(tmp_path, place):
    home = _home(tmp_path, place, every_minutes=5)
    assert fetching.due(home.settings) == {"partner": None}
    home.fetch()
    now = datetime.now(UTC)
    assert fetching.due(home.settings, now + timedelta(minutes=4)) == {}
    assert list(fetching.due(home.settings, now + timedelta(minutes=6))) == ["partner"]


def test_without_a_fetched_source_nothing_is_due_and_no_ledger_is_made(tmp_path):
    from factories.landing_zone import Zone

    zone = Zone(tmp_path)
    assert fetching.due(zone.settings) == {}
    assert fetching.fetch(zone.settings) == []
    assert not zone.home.exists()


def test_there_are_news_while_a_file_is_not_fetched_or_a_committed_one_is_not_put_away(tmp_path, place):
    home = _home(tmp_path, place, after="delete")

    def news():
        return fetching.has_news(home.settings, "partner")

    assert not news()
    _put(place, "sales_1.csv", content(1))
    assert news()
    home.fetch()
    assert not news()
    home.pretend_committed()
    assert news()
    home.fetch()
    assert not news()


def test_L6_a_run_that_has_nothing_to_do_because_a_system_could_not_be_asked_fails_and_says_so(tmp_path, place):
    from perennial.pipeline.day import run_day

    home = _home(tmp_path, place)
    place.rmdir()
    with pytest.raises(PermanentError, match="there is no such place"):
        run_day(home.settings)


def test_the_marker_of_a_remote_file_is_not_asked_for_in_the_landing_zone(tmp_path, place):
    home = _home(tmp_path, place, ready={"by": "marker", "marker": "{name}.ok"}, settle_seconds=3600)
    _put(place, "sales_1.csv", content(1))
    _put(place, "sales_1.csv.ok", "")
    [name] = home.fetch().files
    assert [file.name for file in look(home.settings, "partner").ready["sales"]] == [name]
