"""Remote files without a socket: what is listed, what is ready, what is refused, what a landed file is called."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given
from hypothesis import strategies as st

from factories.remote_home import CONNECTION, RemoteHome, content
from perennial.contracts.sources import Readiness
from perennial.core.connections import EnvironmentConnections
from perennial.core.errors import ConfigError
from perennial.core.remote_systems import RemoteSystem, open_system
from perennial.pipeline.arrival import landing_name
from perennial.sources.remote_listing import Listing, RemoteFile, list_files, split_ready, suffix_of

OLD = 1_500_000_000
HOSTILE = [
    "sales_\x1b[2Ja.csv",
    "sales_a\nb.csv",
    "sales_..\\..\\x.csv",
    "sales_\udcff.csv",
    "sales_" + "x" * 300 + ".csv",
]


@pytest.fixture
def place(tmp_path):
    folder = tmp_path / "far"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path, place):
    return RemoteHome(tmp_path / "near", f"file://{place}", settle_seconds=0)


def _put(place: Path, name: str, text: str, *, at: float = OLD) -> Path:
    path = place / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


class Entries:
    """A folder that says what the test wants: names that no file system of this machine could have."""

    def __init__(self, **folders: list[tuple[str, str]]) -> None:
        self.folders = {name.replace("root", "far"): entries for name, entries in folders.items()}

    def ls(self, path: str, *, detail: bool) -> list[dict]:
        assert detail
        return [
            {"name": name, "type": kind, "size": 1, "mtime": datetime.fromtimestamp(OLD, UTC)}
            for name, kind in self.folders[path]
        ]


def _system(fs) -> RemoteSystem:
    return RemoteSystem("test://far", "far", lambda: fs)


def test_L23_hostile_names_are_refused_with_a_reason_that_can_be_printed_and_the_others_are_listed():
    entries = [(f"far/{name}", "file") for name in (*HOSTILE, "sales_1.csv")]
    out = [("elsewhere/sales_2.csv", "file"), ("far/../sales_3.csv", "file"), ("far/..", "directory")]
    listing = list_files(_system(Entries(root=[*entries, *out])), "sales_*.csv")
    assert [file.name for file in listing.files] == ["sales_1.csv"]
    assert len(listing.refused) == len(HOSTILE) + len(out)
    assert all(name.isprintable() and reason for name, reason in listing.refused)


def test_L23_a_link_or_a_device_is_refused():
    listing = list_files(_system(Entries(root=[("far/sales_1.csv", "link"), ("far/sales_2.csv", "other")])), "*.csv")
    assert listing.files == []
    assert len(listing.refused) == 2


def test_L26_a_server_that_leads_in_circles_is_left_after_a_bounded_depth():
    class Circle:
        depth = 0

        def ls(self, path, *, detail):
            self.depth = max(self.depth, path.count("/"))
            return [{"name": f"{path}/again", "type": "directory", "size": 0}]

    circle = Circle()
    assert list_files(_system(circle), "**/*.csv").files == []
    assert circle.depth <= 40


def test_only_the_folders_that_the_glob_may_lead_into_are_listed():
    asked = []

    class Tree:
        def ls(self, path, *, detail):
            asked.append(path)
            return [{"name": f"{path}/{name}", "type": "directory", "size": 0} for name in ("2016", "2017", "tmp")]

    list_files(_system(Tree()), "2017/*/sales.csv")
    assert asked == ["far", "far/2017", "far/2017/tmp", "far/2017/2017", "far/2017/2016"]


@pytest.mark.parametrize(
    ("glob", "taken"),
    [
        ("sales_*.csv", {"sales_1.csv"}),
        ("*/sales_*.csv", {"north/sales_1.csv"}),
        ("**/sales_*.csv", {"sales_1.csv", "north/sales_1.csv", "north/deep/sales_1.csv"}),
        ("north/**", {"north/sales_1.csv", "north/deep/sales_1.csv"}),
        ("SALES_*.csv", set()),
    ],
)
def test_a_star_stays_in_its_folder_and_two_go_through_folders(place, glob, taken):
    for name in (
        "sales_1.csv",
        "north/sales_1.csv",
        "north/deep/sales_1.csv",
        "north/deep/.hidden",
        "sales_2.csv.part",
    ):
        _put(place, name, "x")
    system = open_system(f"file://{place}", None, EnvironmentConnections({}))
    assert {file.name for file in list_files(system, glob).files} == taken


def test_a_name_that_two_entities_take_is_refused_instead_of_being_read_as_one_of_them(tmp_path, place):
    home = RemoteHome(
        tmp_path / "near",
        f"file://{place}",
        settle_seconds=0,
        entities={"more": {"path": "partner/more_*.csv", "remote": {"glob": "*_1.csv"}}},
    )
    _put(place, "sales_1.csv", content(1))
    _put(place, "sales_2.csv", content(2))
    sales, more = home.fetch_all()
    assert [len(sales.files), len(more.files)] == [1, 0]
    assert any("two entities take it" in note for note in sales.notes)


@given(
    ages=st.lists(st.integers(0, 20), min_size=1, max_size=8),
    settle=st.integers(0, 10),
    offset=st.integers(-9999, 9999),
)
def test_readiness_depends_on_the_servers_clock_alone(ages, settle, offset):
    """Whatever the server's clock says the time is, the same files are whole at once."""

    def split(now):
        files = [RemoteFile(str(i), str(i), 1, "v", float(now - age)) for i, age in enumerate(ages)]
        whole, young = split_ready(Listing(files), files, Readiness(), settle)
        assert len(whole) + len(young) == len(files)
        return [file.name for file in whole]

    assert split(OLD) == split(OLD + offset)


def test_an_old_file_is_brought_without_waiting_and_the_newest_is_looked_at_twice(tmp_path, place):
    home = RemoteHome(tmp_path / "near", f"file://{place}", settle_seconds=20)
    _put(place, "sales_1.csv", content(1), at=OLD)
    newest = _put(place, "sales_2.csv", content(2), at=OLD + 20)
    request = home.request()
    waits, brought = [], []

    def pause(seconds):
        waits.append((seconds, list(brought)))
        newest.write_text(content(2, rows=9))  # it was still being written

    from perennial.sources.remote import fetch

    files = fetch(request, pause=pause)
    while file := next(files, None):
        brought.append(file.remote[0])
    assert brought == ["sales_1.csv"]
    [(seconds, before)] = waits
    assert 0 < seconds <= 20
    assert before == ["sales_1.csv"]
    assert any("still being written" in note for note in request.notes)


def test_a_long_settling_time_is_not_waited_for_but_remembered_until_a_later_fetch(tmp_path, place, monkeypatch):
    home = RemoteHome(tmp_path / "near", f"file://{place}", settle_seconds=3600)
    _put(place, "sales_1.csv", content(1))
    now = [1_800_000_000.0]
    monkeypatch.setattr("perennial.sources.remote_listing.time.time", lambda: now[0])
    first = home.fetch()
    assert first.files == ()
    assert any("stood still for 3600 s" in note for note in first.notes)
    now[0] += 3000
    _put(place, "sales_1.csv", content(2), at=OLD + 1)  # it was still being written
    assert home.fetch().files == ()
    now[0] += 3000
    assert home.fetch().files == ()
    now[0] += 700
    assert len(home.fetch().files) == 1
    assert list(home.landed().values()) == [content(2).encode()]


def test_a_file_that_is_taken_away_after_it_was_listed_keeps_nothing_back(home, place, monkeypatch):
    gone = _put(place, "sales_1.csv", content(1))
    _put(place, "sales_2.csv", content(2), at=OLD + 1)
    from perennial.sources import remote

    real = remote.split_ready

    def take_away(*arguments):
        gone.unlink()
        return real(*arguments)

    monkeypatch.setattr(remote, "split_ready", take_away)
    assert len(home.fetch().files) == 1


def test_a_file_that_grows_while_it_is_read_is_not_landed(home, place, monkeypatch):
    path = _put(place, "sales_1.csv", content(1))
    request = home.request()
    from perennial.sources import remote_download

    real = remote_download.require_unchanged

    def grow_first(system, file):
        with path.open("a") as handle:
            handle.write("more\n")
        real(system, file)

    monkeypatch.setattr(remote_download, "require_unchanged", grow_first)
    assert home.fetch().files == ()
    assert home.landed() == {}
    assert request.notes == []


def test_a_file_with_a_marker_waits_for_it(tmp_path, place):
    home = RemoteHome(
        tmp_path / "near", f"file://{place}", after="delete", ready={"by": "marker", "marker": "{name}.ok"}
    )
    _put(place, "sales_1.csv", content(1))
    assert home.fetch().files == ()
    _put(place, "sales_1.csv.ok", "")
    assert len(home.fetch().files) == 1
    home.pretend_committed()
    home.fetch()
    assert list(place.iterdir()) == [], "the file went, and its marker with it"


def test_files_that_appear_by_a_rename_are_brought_at_once(tmp_path, place):
    home = RemoteHome(tmp_path / "near", f"file://{place}", ready={"by": "rename"}, settle_seconds=3600)
    _put(place, "sales_1.csv", content(1))
    _put(place, "sales_2.csv.part", content(2))
    assert len(home.fetch().files) == 1


def test_files_are_brought_in_the_order_in_which_they_changed(home, place):
    for number, at in ((1, OLD + 2), (2, OLD), (3, OLD + 1)):
        _put(place, f"sales_{number}.csv", content(number), at=at)
    order = [re.match(r"partner/sales_(\d)-", name)[1] for name in home.fetch().files]
    assert order == ["2", "3", "1"]


def test_a_changed_file_under_the_same_name_is_landed_again_beside_the_first(home, place):
    _put(place, "sales_1.csv", content(1))
    home.fetch()
    _put(place, "sales_1.csv", content(2), at=OLD + 1)
    home.fetch()
    assert home.fetch().files == ()
    assert sorted(home.landed().values()) == sorted([content(1).encode(), content(2).encode()])


@pytest.mark.parametrize("after", ["delete", "move"])
def test_L1_a_file_is_put_away_only_when_its_bytes_are_committed_not_its_name(tmp_path, place, after):
    home = RemoteHome(
        tmp_path / "near", f"file://{place}", after=after, settle_seconds=0, path="partner/sales_{date}.csv"
    )
    _put(place, "sales_2017-10-02.csv", content(1))
    home.fetch()
    home.fetch()
    assert (place / "sales_2017-10-02.csv").exists()
    home.pretend_committed()
    _put(place, "sales_2017-10-02.csv", content(2), at=OLD + 1)  # corrected, under the name that is committed
    home.fetch()
    assert (place / "sales_2017-10-02.csv").exists()
    assert list(home.landed().values()) == [content(2).encode()]
    home.pretend_committed()
    home.fetch()
    assert not (place / "sales_2017-10-02.csv").exists()
    assert (place / "done/sales_2017-10-02.csv").exists() == (after == "move")


def test_what_cannot_be_put_away_is_told_and_new_files_are_fetched_all_the_same(tmp_path, place, monkeypatch):
    home = RemoteHome(tmp_path / "near", f"file://{place}", after="delete", settle_seconds=0)
    _put(place, "sales_1.csv", content(1))
    home.fetch()
    home.pretend_committed()
    _put(place, "sales_2.csv", content(2))
    from fsspec.implementations.local import LocalFileSystem

    def refuse(self, path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(LocalFileSystem, "rm_file", refuse)
    report = home.fetch()
    assert len(report.files) == 1
    assert any("left where they are" in note and "Permission denied" in note for note in report.notes)


def test_an_etag_that_is_no_checksum_is_believed_only_when_two_downloads_agree(tmp_path):
    from perennial.sources.remote_download import download

    fs = MemoryFileSystem(skip_instance_cache=True)
    fs.pipe_file("/etag/sales_1.csv", b"body")
    reads = []

    class Store:
        protocol = "memory"

        def open(self, path, mode):
            reads.append(path)
            return fs.open(path, mode)

        def info(self, path):
            return fs.info(path) | {"ETag": "0" * 32}

    system = RemoteSystem("test://far", "/etag", Store)
    from perennial.sources.remote_listing import remote_file

    file = remote_file(system, "sales_1.csv", system.fs.info("/etag/sales_1.csv"))
    assert len(download(system, file, tmp_path / "x")) == 64
    assert len(reads) == 2
    assert (tmp_path / "x").read_bytes() == b"body"


@given(name=st.text(min_size=1, max_size=120), path=st.sampled_from(["north/sales_*.csv", "n/*", "n/a*b.csv.gz"]))
def test_L23_whatever_a_remote_file_is_called_its_landing_name_stays_in_the_entitys_folder(name, path):
    file = RemoteFile(name, name, 1, "v1", None)
    suffix = suffix_of(path, file)
    landed = landing_name(path, suffix)
    folder, _, own = landed.rpartition("/")
    assert folder == path.rpartition("/")[0]
    assert own.isprintable()
    assert ".." not in own
    assert not own.startswith(".")
    assert len(own.encode()) <= 200
    assert suffix != suffix_of(path, RemoteFile(name, name, 1, "v2", None))


def test_the_date_of_a_landed_file_is_read_from_the_remote_name():
    def date_of(name):
        return suffix_of("n/sales_{date}.csv", RemoteFile(name, name, 1, "v", None))

    assert date_of("sales_2017-10-02.csv") == "2017-10-02"
    assert date_of("2017/10/02/sales_20171003.csv") == "2017-10-03"
    assert date_of("sales_20171399.csv") is None
    assert date_of("sales_1234567890123.csv") is None


def test_a_name_without_the_date_that_the_path_wants_is_told(tmp_path, place):
    home = RemoteHome(tmp_path / "near", f"file://{place}", settle_seconds=0, path="partner/sales_{date}.csv")
    _put(place, "sales_1.csv", content(1))
    report = home.fetch()
    assert report.files == ()
    assert any("has no date" in note for note in report.notes)


@pytest.mark.parametrize("url", ["s3://key:secret@bucket/x", "sftp://joe:pass@host/x", "sftp://host/x?password=y"])
def test_L22_a_url_with_a_password_in_it_is_refused_without_showing_it(url):
    with pytest.raises(ConfigError) as caught:
        open_system(url, None, EnvironmentConnections({}))
    assert not re.search("secret|pass@|=y", str(caught.value))


def test_L22_the_password_of_one_host_is_never_sent_to_another():
    environ = {"AIRFLOW_CONN_PARTNER_FILES": "sftp://joe:secret@files.example.com"}
    with pytest.raises(ConfigError, match="another host"):
        open_system("sftp://elsewhere.example.com/x", CONNECTION, EnvironmentConnections(environ))


def test_a_url_that_nothing_can_read_is_told():
    with pytest.raises(ConfigError, match="cannot be read here"):
        open_system("gopher://x/y", None, EnvironmentConnections({}))
    with pytest.raises(ConfigError, match="no scheme"):
        open_system("/x/y", None, EnvironmentConnections({}))
