"""Hostile files by the thousand through the real ingestion: nothing lost (L1), nothing told by a stack trace (L23).

    .perennial/env/bin/python tests/bench/fuzz_ingest.py                    # 100 seeds of 8 files for each format
    .perennial/env/bin/python tests/bench/fuzz_ingest.py --seeds 1000 --first 5000 --kinds csv,jsonl
    .perennial/env/bin/python tests/bench/fuzz_ingest.py --line             # a line of 1 GB as CSV and as JSON lines

A seed is one home with eight files, each a good one of the format with one to three things done to it (bits flipped,
cut off, other encodings, NULs, quotes, line ends, repeats), before or after it was packed. What must hold is that of
tests/factories/hostile.py. A seed that does harm is printed, and makes the same files again. Prints Markdown.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "plugins"), str(REPOSITORY / "tests")]

from factories.hostile import (  # noqa: E402 - the path comes first
    FORMATS,
    HEAD,
    assert_all_is_accounted_for,
    hostile_zone,
    land_all,
    mutated,
)

FILES_AT_ONCE = 8
GIB = 1 << 30


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def play(kind: str, seed: int) -> Counter[str]:
    """One home of eight files; what became of them and of their rows. Raises what the ingestion raised."""
    with tempfile.TemporaryDirectory(prefix="perennial-fuzz-") as folder:
        zone = hostile_zone(Path(folder), kind)
        contents = [mutated(kind, seed * FILES_AT_ONCE + n) for n in range(FILES_AT_ONCE)]
        names = land_all(zone, kind, contents)
        reports = zone.ingest("shop")
        assert_all_is_accounted_for(zone, kind, dict(zip(names, contents, strict=True)), reports)
        done = [report for report in reports if report.state == "committed"]
        return Counter(
            files=len(names),
            read=len(zone.names("archive")),
            refused=len(names) - len(zone.names("archive")),
            loaded=sum(report.loaded for report in done),
            quarantined=sum(report.quarantined for report in done),
            duplicate=sum(report.duplicate for report in done),
        )


def fuzz(kinds: list[str], seeds: range) -> int:
    """All seeds of all formats; gives the number of those that did harm."""
    harmed = 0
    _say("| format | files | read | refused | rows loaded | quarantined | duplicate | harm | CPU s |")
    _say("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for kind in kinds:
        total, bad, started = Counter[str](), 0, time.process_time()
        for seed in seeds:
            try:
                total += play(kind, seed)
            except Exception:  # noqa: BLE001 - whatever it is, it is a finding
                bad += 1
                sys.stderr.write(f"--- {kind}, seed {seed}\n{traceback.format_exc()}")
        harmed += bad
        cells = [total[name] for name in ("files", "read", "refused", "loaded", "quarantined", "duplicate")]
        _say(
            f"| {kind} | {' | '.join(f'{n:,}' for n in cells)} | {bad} | {time.process_time() - started:.0f} |",
        )
    return harmed


def long_line(kind: str) -> None:
    """Ingest a file with one line of 1 GB between two good ones; prints what became of it and the peak of memory."""
    with tempfile.TemporaryDirectory(prefix="perennial-fuzz-") as folder:
        zone = hostile_zone(Path(folder), kind)
        name = land_all(zone, kind, [b""])[0]
        before, after = (HEAD.encode() + b"1,a,b,c\n2,", b",b,c\n3,a,b,c\n")
        if kind == "jsonl":
            before, after = b'{"id": "1"}\n{"id": "', b'"}\n{"id": "3"}\n'
        with (zone.settings.landing / name).open("wb") as stream:
            stream.write(before)
            for _ in range(1024):
                stream.write(b"x" * (1 << 20))
            stream.write(after)
        started = time.process_time()
        for report in zone.ingest("shop"):
            _say(f"{kind}: {report.state}, {report.landed} landed, {report.loaded} loaded, {report.quarantined} set aside; "
                  f"{'; '.join(report.reasons or report.warnings)[:300]}")  # fmt: skip
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20)
        _say(f"{kind}: {time.process_time() - started:.1f} CPU s, peak {peak:.2f} GiB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=100)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--kinds", default=",".join(FORMATS))
    parser.add_argument("--line", nargs="?", const="csv,jsonl", help="a line of 1 GB, in these formats")
    args = parser.parse_args()
    if args.line and "," in args.line:  # each in a process of its own, for its own peak
        return max(subprocess.call([sys.executable, __file__, "--line", kind]) for kind in args.line.split(","))
    if args.line:
        long_line(args.line)
        return 0
    return min(fuzz(args.kinds.split(","), range(args.first, args.first + args.seeds)), 1)


if __name__ == "__main__":
    raise SystemExit(main())
