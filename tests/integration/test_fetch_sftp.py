"""Files from a real SSH server of the test's own, to rows of raw: nothing lost, nothing taken from a stranger."""

from __future__ import annotations

import json
import os
from pathlib import Path

import asyncssh
import pytest

from factories.remote_home import CONNECTION, RemoteHome, content
from factories.remote_places import PASSWORD, USER, sftp_server
from perennial.core.errors import ConfigError, PermanentError
from perennial.ledger.cursors import last_error
from perennial.ledger.engine import open_ledger
from perennial.sources.remote_download import CHUNK_BYTES

pytestmark = pytest.mark.integration

OLD = 1_500_000_000


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with sftp_server(tmp_path_factory.mktemp("sftp")) as running:
        yield running


@pytest.fixture
def home(tmp_path, server):
    folder = server.folder / tmp_path.name
    folder.mkdir()
    made = RemoteHome(tmp_path, f"sftp://127.0.0.1/{tmp_path.name}", id=CONNECTION)
    made.connect(server.connection())
    made.folder = folder
    server.hang_up_after.clear()
    return made


def _put(home: RemoteHome, name: str, text: str, *, at: int = OLD) -> Path:
    path = home.folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (at, at))
    return path


def test_L1_files_of_an_sftp_server_end_in_raw_with_every_row_accounted_for(home):
    for number in range(3):
        _put(home, f"sales_{number}.csv", content(number), at=OLD + number)
    report = home.fetch()
    assert len(report.files) == 3
    batch = home.only()
    assert (batch.landed, batch.loaded, batch.quarantined, batch.duplicate) == (9, 9, 0, 0)
    assert home.fetch().files == ()


def test_L1_a_transfer_that_is_cut_in_the_middle_goes_on_where_it_was_and_half_a_file_never_lands(home, server):
    text = content(1) + "x" * 9_500_000
    _put(home, "sales_1.csv", text)
    server.hang_up_after += [5_000_000, 9_000_000]
    before, cuts = server.read_bytes, server.hung_up
    report = home.fetch()
    assert server.hung_up == cuts + 2
    assert list(home.landed().values()) == [text.encode()]
    assert len(report.files) == 1
    assert server.read_bytes - before < len(text) + 2 * CHUNK_BYTES, "what was read before the cut was not read again"


def test_L1_a_server_that_always_hangs_up_is_told_and_the_next_fetch_brings_the_file(home, server, monkeypatch):
    monkeypatch.setattr("perennial.sources.remote_download._BACKOFF_SECONDS", (0.0, 0.0))
    _put(home, "sales_1.csv", content(1))
    server.hang_up_after += [1] * 50
    report = home.fails()
    assert "nothing is lost: it is tried again" in str(report.problem)
    assert home.landed() == {}
    assert last_error(open_ledger(home.settings), "partner", "sales")
    server.hang_up_after.clear()
    assert len(home.fetch().files) == 1
    assert last_error(open_ledger(home.settings), "partner", "sales") is None


def test_L23_a_server_whose_host_key_is_not_known_is_refused_before_the_password_is_sent(home, server, monkeypatch):
    monkeypatch.setenv("HOME", str(home.home))
    _put(home, "sales_1.csv", content(1))
    stranger = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    for extra in ({"host_key": stranger}, {"host_key": None}):
        home.connect(server.connection(**extra))
        problem = home.fails().problem
        assert isinstance(problem, PermanentError)
        assert "HostKeyNotVerifiable" in str(problem)
        assert PASSWORD not in str(problem)
    home.connect(server.connection(host_key=None, no_host_key_check="true"))
    assert len(home.fetch().files) == 1


def test_a_file_of_known_hosts_and_a_private_key_open_the_server(home, server, tmp_path):
    _put(home, "sales_1.csv", content(1))
    known = tmp_path / "known_hosts"
    known.write_text(f"[127.0.0.1]:{server.port} {server.host_key}\n")
    key = server.user_key.export_private_key("pkcs8-pem", passphrase="of the key").decode()
    extra = {"known_hosts": str(known), "private_key": key, "private_key_passphrase": "of the key", "host_key": None}
    given = json.loads(server.connection(**extra)) | {"password": None}
    home.connect(json.dumps(given))
    assert len(home.fetch().files) == 1


def test_L22_a_wrong_password_is_told_without_it(home, server):
    home.connect(json.dumps(json.loads(server.connection()) | {"password": "hunter2-of-mine"}))
    problem = home.fails().problem
    assert isinstance(problem, PermanentError)
    assert "hunter2" not in str(problem)
    assert "hunter2" not in (last_error(open_ledger(home.settings), "partner", "sales") or "")


def test_L22_a_private_key_that_cannot_be_read_is_not_shown(home, server):
    home.connect(server.connection(private_key="-----SECRET-----"))
    problem = home.fails().problem
    assert isinstance(problem, ConfigError)
    assert "SECRET" not in str(problem)


def test_a_committed_file_is_moved_there_by_a_rename_that_overwrites_nothing(tmp_path, server):
    home = RemoteHome(tmp_path, f"sftp://127.0.0.1/{tmp_path.name}", id=CONNECTION, after="move")
    home.connect(server.connection())
    home.folder = server.folder / tmp_path.name
    for version in (1, 2):
        _put(home, "sales_1.csv", content(version), at=OLD + version)
        home.fetch()
        assert (home.folder / "sales_1.csv").exists(), "before its batch is committed"
        home.ingest()
        home.fetch()
        assert not (home.folder / "sales_1.csv").exists()
    moved = sorted(path.read_text() for path in (home.folder / "done").iterdir())
    assert moved == sorted([content(1), content(2)])


def test_L23_hostile_names_of_a_server_are_told_and_the_good_file_is_fetched(home):
    _put(home, "sales_1.csv", content(1))
    _put(home, "sales_a\nb.csv", content(2))
    (home.folder / "sales_link.csv").symlink_to("/etc/passwd")
    with open(bytes(home.folder) + b"/sales_\xff.csv", "wb") as handle:  # noqa: PTH123
        handle.write(b"x")
    report = home.fetch()
    assert len(report.files) == 1
    assert sum("is not fetched" in note for note in report.notes) == 3
    assert all(note.isprintable() for note in report.notes)


def test_L1_a_file_that_the_server_refuses_is_told_and_keeps_back_no_newer_one(home):
    _put(home, "sales_locked.csv", content(1))
    _put(home, "sales_2.csv", content(2), at=OLD + 60)
    report = home.fails()
    assert isinstance(report.problem, PermanentError)
    assert "sales_locked.csv" in str(report.problem)
    assert list(home.landed().values()) == [content(2).encode()]


def test_the_check_of_a_source_says_which_step_fails(home, server):
    from perennial.pipeline.fetch import check

    _put(home, "sales_1.csv", content(1))
    [(entity, steps)] = check(home.settings, "partner", connections=home.connections)
    assert (entity, steps) == ("sales", [("connect", "ok"), ("list", "ok: 1 files"), ("read", "ok")])
    home.connect(json.dumps(json.loads(server.connection()) | {"login": USER + "x"}))
    [(_entity, [(step, said)])] = check(home.settings, "partner", connections=home.connections)
    assert step == "connect"
    assert "PermissionError" in said


def test_a_thousand_files_are_listed_in_one_pass(home, server):
    for number in range(1_000):
        _put(home, f"other_{number}.csv", "x")
    _put(home, "sales_1.csv", content(1))
    before = server.listed
    assert len(home.fetch().files) == 1
    assert server.listed - before == 1
