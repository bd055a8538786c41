"""Buy-till-you-die at a million clients and at ten: G9 to G12, beside lifetimes and pymc-marketing.

    .perennial/env/bin/python tests/bench/bench_btyd.py --data FOLDER --make            # once: about 4 CPU minutes
    .perennial/env/bin/python tests/bench/bench_btyd.py --data FOLDER --lifetimes PEER/bin/python --pymc PEER/bin/python

`--make` lets ../shared/bench/gen.py (found by PERENNIAL_REFERENCE) write ten shops of a million clients, seeds 7 to 16,
and keeps their histories: FOLDER/histories_1m.parquet is the first shop, histories_10m.parquet all ten. A peer's
environment is made from its lock: `uv venv --python 3.11 PEER; uv pip sync --python PEER/bin/python --require-hashes
tests/peers/lifetimes.txt` (or pymc_marketing.txt); a peer that is not named is left out and said to be. Every case is
a fresh process of one thread; CPU is of the case alone, without imports and reading. Prints Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from measuring import PYTHON, REPOSITORY, Cost, cost_of, environment, interleaved, median, say, say_machine, say_table

sys.path.insert(0, str(REPOSITORY / "plugins"))

SEEDS = range(7, 17)
HORIZON, HORIZONS, RATE = 90, (90, 182, 365), 0.1268  # 1 % a month, as the peer is asked
TRUTH = {"r": 0.6112, "alpha": 47.173, "a": 0.70125, "b": 5.0253}
SPEND = {"p": 5.8669, "q": 3.9992, "v": 25.793}
_HISTORIES = """
    copy (
        with days as (
            select customer_id, cast(ts as date) as day, sum(quantity * unit_price) as spent
            from read_parquet('{lines}') where quantity > 0 group by all
        ),
        firsts as (select customer_id, min(day) as first, max(day) as last, count(*) as days from days group by all),
        repeats as (
            select customer_id, avg(spent) as mean from days inner join firsts using (customer_id)
            where day > first group by all
        )
        select days - 1 as frequency, last - first as recency, date '2026-01-01' - first as T,
            coalesce(mean, 0)::double as monetary
        from firsts left join repeats using (customer_id) order by customer_id
    ) to '{out}'
"""


def main() -> None:
    """Make the data, run one case, or measure all and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--make", action="store_true")
    parser.add_argument("--lifetimes", type=Path, help="the Python of its environment")
    parser.add_argument("--pymc", type=Path, help="the Python of its environment")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--inside", choices=sorted(CASES))
    arguments = parser.parse_args()
    if arguments.make:
        make(arguments.data)
    elif arguments.inside:
        say(json.dumps(CASES[arguments.inside](*_read(arguments.data))))
    else:
        report(arguments.data, arguments.lifetimes, arguments.pymc, arguments.rounds)


def make(folder: Path) -> None:
    """Ten shops by the reference generator, their histories kept, their lines not."""
    import duckdb

    generator = Path(os.environ["PERENNIAL_REFERENCE"]) / "bench" / "gen.py"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in SEEDS:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            lines = Path(scratch) / "lines.parquet"
            subprocess.run([PYTHON, generator, "1000000", lines, "--seed", str(seed)], check=True)
            duckdb.sql(_HISTORIES.format(lines=lines, out=folder / f"shop_{seed}.parquet"))
    shops = [str(folder / f"shop_{seed}.parquet") for seed in SEEDS]
    for name, files in (("1m", shops[:1]), ("10m", shops)):
        duckdb.sql(f"copy (from read_parquet({files})) to '{folder / f'histories_{name}.parquet'}'")


def _read(path: Path) -> tuple[Any, Any]:
    """Histories, and repeat purchases with their mean spend."""
    import numpy as np
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    x, t_x, age, mean = (table[name].to_numpy().astype(float) for name in ("frequency", "recency", "T", "monetary"))
    return np.column_stack([x, t_x, age]), np.column_stack([x, mean])


def _timed(call: Callable[[], Any]) -> tuple[float, Any]:
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = call()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, found


def _purchases(histories: Any, _: Any, **how: Any) -> dict[str, Any]:
    from perennial.scoring.btyd.bgnbd import BetaGeoNBD

    seconds, model = _timed(lambda: BetaGeoNBD(**how).fit(histories))
    return {"cpu": seconds, "parameters": model.parameters_, "doubt": model.doubt_, "rows": model.rows_}


def _pareto(histories: Any, _: Any) -> dict[str, Any]:
    from perennial.scoring.btyd.pareto import ParetoNBD

    seconds, model = _timed(lambda: ParetoNBD().fit(histories))
    return {"cpu": seconds, "parameters": model.parameters_, "doubt": model.doubt_, "rows": model.rows_}


def _spend(_: Any, spent: Any, **how: Any) -> dict[str, Any]:
    from perennial.scoring.btyd.gamma_gamma import GammaGamma

    seconds, model = _timed(lambda: GammaGamma(**how).fit(spent))
    return {"cpu": seconds, "parameters": model.parameters_, "doubt": model.doubt_, "rows": model.used_}


def _models() -> tuple[Any, Any]:
    from perennial.scoring.btyd.bgnbd import BetaGeoNBD
    from perennial.scoring.btyd.gamma_gamma import GammaGamma

    return BetaGeoNBD().with_parameters(**TRUTH), GammaGamma().with_parameters(**SPEND)


def _expectations(histories: Any, _: Any) -> dict[str, Any]:
    model, _spent = _models()
    seconds, found = _timed(lambda: model.expected_purchases(histories, HORIZON))
    return {"cpu": seconds, "total": float(found.sum())}


def _value(histories: Any, spent: Any) -> dict[str, Any]:
    from perennial.scoring.btyd.value import lifetime_values

    purchases, spend = _models()
    seconds, found = _timed(
        lambda: lifetime_values(purchases, spend, histories, spent, horizons_days=HORIZONS, discount_rate_annual=RATE)
    )
    return {"cpu": seconds, "total": float(found[:, -1].sum())}


def _likelihood(histories: Any, _: Any) -> dict[str, Any]:
    """Mean log-likelihood of the parameters in PERENNIAL_BENCH_PARAMETERS (JSON), as ours counts it."""
    from perennial.scoring.btyd.bgnbd import BetaGeoNBD

    given = json.loads(os.environ["PERENNIAL_BENCH_PARAMETERS"])
    return {name: BetaGeoNBD().with_parameters(**one).score(histories) for name, one in given.items()}


CASES: dict[str, Callable[..., dict[str, Any]]] = {
    "purchases": _purchases,
    "purchases-all": lambda histories, spent: _purchases(histories, spent, max_rows=None),
    "pareto": _pareto,
    "spend": _spend,
    "spend-all": lambda histories, spent: _spend(histories, spent, max_rows=None),
    "expectations": _expectations,
    "value": _value,
    "likelihood": _likelihood,
}


def report(folder: Path, lifetimes: Path | None, pymc: Path | None, rounds: int) -> None:
    """Measure every case in rounds, print the tables."""
    one, ten = folder / "histories_1m.parquet", folder / "histories_10m.parquet"
    cases = {f"ours {case}": _ours(case, one) for case in CASES if case != "likelihood"}
    for case in ("purchases", "purchases-all", "spend", "spend-all", "expectations", "value"):
        cases[f"ours {case} 10m"] = _ours(case, ten)
    if lifetimes:
        for case in ("purchases", "spend", "expectations", "value"):
            cases[f"lifetimes {case}"] = _peer(lifetimes, "lifetimes", case, one)
    if pymc:
        for case in ("purchases", "spend"):
            cases[f"pymc {case}"] = _peer(pymc, "pymc", case, one)
    say_machine(rounds)
    found = {name: [cost.data() for cost in costs] for name, costs in interleaved(cases, rounds).items()}
    seconds = {name: median(one["cpu"] for one in runs) for name, runs in found.items()}
    for name, python in (("lifetimes", lifetimes), ("pymc", pymc)):
        if python is None:
            say(f"{name}: no environment was named, so it was not measured.\n")
    _fits(found, seconds)
    _growth(found, seconds)
    _optimum(found, one)


def _ours(case: str, data: Path) -> Callable[[], Cost]:
    command = [PYTHON, str(Path(__file__)), "--data", str(data), "--inside", case]
    return lambda: cost_of(command, environment(**_ONE_THREAD))


def _peer(python: Path, peer: str, case: str, data: Path) -> Callable[[], Cost]:
    command = [str(python), str(Path(__file__).with_name("peers_btyd.py")), peer, case, str(data)]
    return lambda: cost_of(command, {**os.environ, **_ONE_THREAD})


_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "PYTHONWARNINGS": "ignore",
}


def _fits(found: dict[str, list[dict[str, Any]]], seconds: dict[str, float]) -> None:
    say("One million clients, CPU seconds:\n")
    rows = []
    for bar, case in (("G9", "purchases"), ("G10", "spend"), ("G11", "expectations"), ("G11", "value")):
        ours = seconds[f"ours {case}"]
        cells: list[object] = [f"{bar} {case}", ours]
        for peer in ("lifetimes", "pymc"):
            theirs = seconds.get(f"{peer} {case}")
            failed = theirs is not None and found[f"{peer} {case}"][0].get("failed")
            cells += ["" if theirs is None else f"{theirs:.2f}{' (did not converge)' if failed else ''}"]
            cells += ["" if theirs is None else f"{ours / theirs:.4f}"]
        rows.append(cells)
    rows.append(["Pareto/NBD", seconds["ours pareto"], "", "", "", ""])
    say_table(["case", "ours", "lifetimes", "ours / it", "pymc-marketing, warm", "ours / it"], rows)


def _growth(found: dict[str, list[dict[str, Any]]], seconds: dict[str, float]) -> None:
    say("Ten million clients against one:\n")
    rows: list[list[object]] = []
    for case in ("purchases", "purchases-all", "spend", "spend-all", "expectations", "value"):
        one, ten = seconds[f"ours {case}"], seconds[f"ours {case} 10m"]
        read = found[f"ours {case} 10m"][0].get("rows", "")
        rows.append([case, one, ten, ten / one, f"{read:,.0f}" if read else ""])
    say_table(["case", "1M", "10M", "10M / 1M", "distinct rows fitted at 10M"], rows)


def _optimum(found: dict[str, list[dict[str, Any]]], data: Path) -> None:
    """Whether the fits came to the same optimum: the log-likelihood of each one's parameters, as ours counts it."""
    given = {
        name: {p: runs[0]["parameters"][p] for p in TRUTH}
        for name, runs in found.items()
        if "purchases" in name and set(TRUTH) <= set(runs[0].get("parameters", {}))
    }
    command = [PYTHON, str(Path(__file__)), "--data", str(data), "--inside", "likelihood"]
    scores = cost_of(command, environment(PERENNIAL_BENCH_PARAMETERS=json.dumps(given))).data()
    rows = [[name, *(f"{given[name][p]:.5g}" for p in TRUTH), f"{score:.9f}"] for name, score in scores.items()]
    say_table(["fit", *TRUTH, "mean log-likelihood at 1M"], rows)
    rows = [
        [name, *(f"{runs[0]['parameters'].get(p, float('nan')):.5g}" for p in SPEND)]
        for name, runs in found.items()
        if "spend" in name and runs[0].get("parameters")
    ]
    say_table(["fit", *SPEND], rows)
    say(f"Totals: { ({name: runs[0]['total'] for name, runs in found.items() if 'total' in runs[0]}) }")


if __name__ == "__main__":
    main()
