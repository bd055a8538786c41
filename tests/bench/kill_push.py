"""kill -9 of the pusher at seeded points, each followed by a rerun: nobody twice, nobody lost, the sums right.

python tests/bench/kill_push.py [SEEDS] [FIRST]     # default: 200 seeds from 0

Seven kinds of tools (calls that may or may not be made twice, readable or not, with jobs or without, one that refuses a
whole chunk); between the death and the rerun three clients withdraw. Ends with 1 when anything is wrong.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
_AT_ONCE = 20


def main() -> int:
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    first = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    told = []
    for start in range(first, first + seeds, _AT_ONCE):
        told += _run(range(start, min(start + _AT_ONCE, first + seeds)))
        wrong = [one for one in told if one["wrong"]]
        deaths = sum(one["died"] for one in told)
        lines = [f"{len(told)} seeds, {deaths} deaths, {len(wrong)} wrong", *map(str, wrong)]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    return 1 if any(one["wrong"] for one in told) else 0


def _run(seeds: range) -> list[dict]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / name) for name in ("plugins", "tests"))}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, str(ROOT / "tests/factories/push_and_die.py"), f"{folder}/at", *map(str, seeds)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


if __name__ == "__main__":
    sys.exit(main())
