"""A real MariaDB for tests: the machine's own, else Debian's packages unpacked beside it, else a reason why not."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from reference import lacking

_PATIENCE_SECONDS = 60
_PACKAGES = (
    "mariadb-server-core", "mariadb-client-core", "mariadb-common", "libmariadb3", "liburing2", "libaio1",
)  # fmt: skip


class MariaDB:
    """A server on a Unix socket."""

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self._made = 0

    def uri(self, name: str) -> str:
        """The connection of a database, as Airflow writes it."""
        return f"mysql://{getpass.getuser()}@/{name}?unix_socket={quote(str(self.socket), safe='')}"

    def run(self, name: str | None, *statements: str) -> list[tuple]:
        """Run the statements; the rows of the last one."""
        import pymysql

        connection = pymysql.connect(
            unix_socket=str(self.socket), user=getpass.getuser(), database=name, autocommit=True, charset="utf8mb4"
        )
        with closing(connection), connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            return list(cursor.fetchall())

    def create(self, *statements: str) -> str:
        """A new database with what the statements make; its name."""
        self._made += 1
        name = f"test_{self._made}"
        self.run(None, f"create database {name} character set utf8mb4")
        self.run(name, *statements)
        return name


@contextmanager
def running_mariadb() -> Iterator[MariaDB]:
    """The server, installed or from Debian's packages; where neither is to be had the test is listed as not run."""
    folder = Path(tempfile.mkdtemp(prefix="perennial-maria-"))
    found = shutil.which("mariadbd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    program = Path(found) if found else _from_debian(folder / "debian")
    if program is None:
        shutil.rmtree(folder, ignore_errors=True)
        lacking("there is no mariadbd, and Debian's packages cannot be had here (apt-get install mariadb-server)")
    process = _start(program, folder)
    try:
        server = MariaDB(folder / "s")
        _wait(server, process)
        yield server
    finally:
        process.terminate()
        process.wait(_PATIENCE_SECONDS)
        shutil.rmtree(folder, ignore_errors=True)


def _from_debian(folder: Path) -> Path | None:
    """The server of Debian's packages, unpacked into the folder without being installed; None where they are not had."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return None
    folder.mkdir()
    got = subprocess.run(["apt-get", "download", "-q", *_PACKAGES], cwd=folder, capture_output=True, check=False)
    packages = sorted(folder.glob("*.deb"))
    if got.returncode != 0 or len(packages) != len(_PACKAGES):
        return None
    for package in packages:
        subprocess.run(["dpkg", "-x", package, folder], check=True, capture_output=True)
    return folder / "usr" / "sbin" / "mariadbd"


def _environment(base: Path) -> dict[str, str]:
    libraries = [str(path) for path in (base / "lib").glob("*-linux-gnu")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries), "PATH": f"{base / 'bin'}:{os.environ['PATH']}"}


def _start(program: Path, folder: Path) -> subprocess.Popen[bytes]:
    base, user = program.resolve().parent.parent, getpass.getuser()
    common = ["--no-defaults", f"--basedir={base}", f"--datadir={folder / 'data'}", f"--user={user}"]
    subprocess.run(
        [base / "bin" / "mariadb-install-db", *common, "--auth-root-authentication-method=socket", f"--auth-root-socket-user={user}"],
        check=True, capture_output=True, env=_environment(base),
    )  # fmt: skip
    quick = ["--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=32M", "--skip-networking"]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [program, *common, f"--socket={folder / 's'}", *quick], stdout=log, stderr=log, env=_environment(base)
        )


def _wait(server: MariaDB, process: subprocess.Popen[bytes]) -> None:
    import pymysql

    end = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            server.run(None, "select 1")
            return
        except pymysql.OperationalError:
            if process.poll() is not None or time.monotonic() > end:
                raise
            time.sleep(0.1)
