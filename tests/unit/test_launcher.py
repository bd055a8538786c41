"""The launcher itself, with real environments: a tiny project, its packages in a folder, and no network.

The packages are made here; `uv` is one of them: a stand-in for the outside tool that notes how it was called and lets
pip do the installation.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PYTHON_FOLDER = Path(sys._base_executable).parent

UV = """
import json, os, pathlib, signal, subprocess, sys

def main():
    root = pathlib.Path(os.environ["UV_NOTES"])
    told = {name: value for name, value in os.environ.items() if name.startswith("UV_") or name == "SSL_CERT_FILE"}
    with (root / "calls.jsonl").open("a") as notes:
        notes.write(json.dumps({"arguments": sys.argv[1:], "told": told}) + "\\n")
    if (root / "hold").exists():
        (root / "hold").write_text("here")
        signal.pause()
    lock = sys.argv[sys.argv.index("-r") + 1]
    python = sys.argv[sys.argv.index("--python") + 1]
    command = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "-r", lock]
    raise SystemExit(subprocess.call(command))
"""
MAIN = """
import importlib.metadata, json, os, sys

found = {d.name: d.version for d in importlib.metadata.distributions() if d.name.startswith("tiny")}
print(json.dumps({"arguments": sys.argv[1:], "cwd": os.getcwd(), "path": sys.path[0], "packages": found}))
raise SystemExit(7 if "fail" in sys.argv else 0)
"""


def _wheel(folder: Path, name: str, version: str, *, code: str = "", script: str = "") -> str:
    """Make a wheel; gives its line for a lock file."""
    path = folder / f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}_code.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if script:
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{script} = {name}_code:main\n"
    record = ""
    for file, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        record += f"{file},sha256={digest},{len(text.encode())}\n"
    with zipfile.ZipFile(path, "w") as archive:
        for file, text in {**files, f"{info}/RECORD": record + f"{info}/RECORD,,\n"}.items():
            archive.writestr(file, text)
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


class Project:
    """A folder with the launcher, lock files and a program that tells how it was started."""

    def __init__(self, root: Path, wheels: Path, notes: Path) -> None:
        self.root, self.wheels, self.notes = root, wheels, notes
        notes.mkdir(exist_ok=True)

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "HOME": str(self.notes),
            "PATH": f"{PYTHON_FOLDER}:/usr/local/bin:/usr/bin:/bin",
            "PIP_NO_INDEX": "true",
            "PIP_FIND_LINKS": str(self.wheels),
            "UV_NOTES": str(self.notes),
            **more,
        }

    def popen(self, *arguments: str, program: Path | None = None, cwd: Path | None = None, **more: str):
        return subprocess.Popen(
            [str(program or self.root / "perennial"), *arguments],
            env=self.environment(**more),
            cwd=cwd or self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def start(self, *arguments: str, **options) -> tuple[int, dict, str]:
        """Exit code, what the program told, and what the launcher said."""
        process = self.popen(*arguments, **options)
        out, err = process.communicate(timeout=120)
        return process.returncode, json.loads(out) if out else {}, err

    def calls(self) -> list[dict]:
        path = self.notes / "calls.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def lock(self, name: str, *lines: str) -> None:
        (self.root / name).write_text("".join(lines))


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheels")
    found = {f"tiny {version}": _wheel(folder, "tiny", version) for version in ("1.0", "2.0")}
    found["tinytest 1.0"] = _wheel(folder, "tinytest", "1.0")
    found["uv"] = _wheel(folder, "uv", "0.0.1", code=UV, script="uv")
    return folder, found


@pytest.fixture(scope="module")
def new_project(lines, tmp_path_factory):
    def make() -> Project:
        folder, known = lines
        root = tmp_path_factory.mktemp("project") / "with a space"
        (root / "plugins" / "perennial").mkdir(parents=True)
        (root / "plugins" / "perennial" / "__main__.py").write_text(MAIN)
        shutil.copy2(REPOSITORY / "perennial", root / "perennial")
        project = Project(root, folder, root.parent / "notes")
        project.lock("requirements.lock", known["tiny 1.0"])
        project.lock("requirements-test.lock", known["tiny 1.0"], known["tinytest 1.0"])
        project.lock("requirements-uv.txt", known["uv"])
        return project

    return make


@pytest.fixture(scope="module")
def made(new_project):
    """A project whose environment was made by its first start."""
    project = new_project()
    code, told, said = project.start("hello", "a b")
    assert (code, told["packages"]) == (0, {"tiny": "1.0"}), said
    project.said = said
    project.told = told
    return project


def _env_of(project: Project) -> str:
    return str((project.root / ".perennial" / "env").readlink())


def test_the_first_start_installs_what_is_locked_and_passes_the_arguments_on(made):
    assert made.told["arguments"] == ["hello", "a b"]
    steps = ["making an environment", "installing uv", "installing the 1 packages of requirements.lock"]
    for step in steps:
        assert any(step in line and line.endswith(" s") for line in made.said.splitlines()), made.said
    [call] = made.calls()
    for option in ("--require-hashes", "--compile-bytecode"):
        assert option in call["arguments"]


def test_a_second_start_starts_at_once_and_gives_the_exit_code(made):
    before = len(made.calls())
    code, told, said = made.start("fail")
    assert code == 7
    assert told["arguments"] == ["fail"]
    assert said == ""
    assert len(made.calls()) == before


def test_it_works_from_any_folder_and_through_links(made, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.symlink_to(os.path.relpath(made.root / "perennial", tmp_path))
    second.symlink_to("first")
    code, told, said = made.start("x", program=second, cwd=tmp_path)
    assert (code, said) == (0, "")
    assert told["cwd"] == str(tmp_path)
    assert told["path"] == str(made.root / "plugins")  # never the folder that it was started in


def test_test_installs_the_packages_of_the_tests_once(made):
    code, told, said = made.start("test", "-q")
    assert code == 0
    assert told["packages"] == {"tiny": "1.0", "tinytest": "1.0"}
    assert told["arguments"] == ["test", "-q"]
    assert "requirements-test.lock" in said
    assert made.start("test")[2] == ""


def test_a_changed_lock_makes_a_new_environment_and_a_killed_installation_is_begun_anew(new_project, lines):
    project, known = new_project(), lines[1]
    project.start()
    old = _env_of(project)
    project.lock("requirements.lock", known["tiny 2.0"])
    os.mkfifo(project.notes / "hold")
    process = project.popen()
    assert (project.notes / "hold").read_text() == "here"  # uv was reached
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert _env_of(project) == old  # what was complete stays in use until the new one is
    (project.notes / "hold").unlink()

    code, told, said = project.start()

    assert (code, told["packages"]) == (0, {"tiny": "2.0"}), said
    assert "making an environment" in said
    assert _env_of(project) != old


def test_two_starts_at_once_install_once(new_project):
    project = new_project()
    both = [project.popen("one"), project.popen("two")]
    results = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], results
    assert [json.loads(out)["packages"] for out, _err in results] == [{"tiny": "1.0"}] * 2
    assert len(project.calls()) == 1
    assert sum("waiting" in err for _out, err in results) == 1


def test_a_package_with_another_hash_is_refused_and_shown_and_nothing_is_left_in_use(new_project, lines):
    project, known = new_project(), lines[1]
    project.lock("requirements.lock", known["tiny 1.0"].replace(known["tiny 1.0"][-9:], "00000000\n"))
    code, _told, said = project.start()
    assert code == 1
    assert "DO NOT MATCH THE HASHES" in said
    assert "failed" in said
    assert not (project.root / ".perennial" / "env").exists()


def test_uv_is_told_of_pips_mirrors_unless_it_was_told_itself(made):
    (made.root / "requirements-test.lock").open("a").write("# changed\n")
    settings = made.notes / "pip.conf"
    settings.write_text(
        "[global]\nindex-url = https://mirror.test/simple\nextra-index-url =\n  https://a.test/simple\n"
        "  https://b.test/simple\ncert = /some/ca.pem\ntrusted-host = mirror.test\n"
    )
    made.start("test", PIP_CONFIG_FILE=str(settings), UV_INSECURE_HOST="mine.test")
    told = made.calls()[-1]["told"]
    assert told["UV_DEFAULT_INDEX"] == "https://mirror.test/simple"
    assert told["UV_INDEX"].split() == ["https://a.test/simple", "https://b.test/simple"]
    assert told["SSL_CERT_FILE"] == "/some/ca.pem"
    assert told["UV_FIND_LINKS"] == str(made.wheels)
    assert told["UV_INSECURE_HOST"] == "mine.test"


def test_without_a_fitting_python_it_says_what_is_needed(new_project, tmp_path):
    project = new_project()
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname", "readlink", "sha256sum", "mkdir", "chmod", "mktemp", "rm", "flock", "head", "cat"):
        (tools / name).symlink_to(shutil.which(name))
    old = tools / "python3"
    old.write_text("#!/bin/bash\nexit 1\n")  # a Python that is not 3.11 to 3.13
    old.chmod(0o755)
    code, _told, said = project.start(PATH=str(tools))
    assert code == 1
    assert "needs Python 3.11, 3.12 or 3.13" in said
    assert "PERENNIAL_PYTHON" in said


def test_a_python_without_venv_is_told_with_the_package_that_has_it(new_project, tmp_path):
    project = new_project()
    python = tmp_path / "python3"
    python.write_text(f'#!/bin/bash\ncase "$*" in *ensurepip*) exit 1;; esac\nexec "{sys._base_executable}" "$@"\n')
    python.chmod(0o755)
    code, _told, said = project.start(PERENNIAL_PYTHON=str(python))
    assert code == 1
    assert "python3-venv" in said
