"""The laws of planning and of series over many examples: `python tests/bench/bench_plan_laws.py [TIMES]`.

Runs the property tests of planning with TIMES (default 25) as many examples as the suite does, each anew.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parents[1]
FILES = ("test_planning_properties.py", "test_series_properties.py")


def main() -> int:
    """Run them and tell how long it took."""
    times = sys.argv[1] if len(sys.argv) > 1 else "25"
    files = [str(TESTS / "unit" / "targeting" / name) for name in FILES]
    started = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "0", *files]
    done = subprocess.run(command, cwd=TESTS.parent, env={**os.environ, "PERENNIAL_EXAMPLES_TIMES": times}, check=False)
    sys.stdout.write(f"{times} times the suite's examples in {time.perf_counter() - started:.0f} s\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
