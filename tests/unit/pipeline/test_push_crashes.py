"""L12: kill -9 of the pusher at seeded points, then a run again: nobody twice, nobody lost, the sums right, and who
withdrew in between is never active again. `tests/bench/kill_push.py` does it two hundred times."""

import json
import os
import subprocess
import sys
from pathlib import Path

from factories import push_and_die
from perennial.core.settings import REPOSITORY

SEEDS = ("1", "2", "3")


def test_L12_kill_9_of_the_pusher_sends_nothing_twice_and_loses_nobody(tmp_path):
    paths = os.pathsep.join(str(REPOSITORY / name) for name in ("plugins", "tests"))
    command = [sys.executable, str(Path(push_and_die.__file__)), str(tmp_path), *SEEDS]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["seed"] for one in told] == [1, 2, 3]
    assert [one["wrong"] for one in told] == [[], [], []]
    assert any(one["died"] for one in told)
