"""The gate: great-expectations judges a batch on two small frames, whatever the batch's size (borders.md).

The profile (one row per rule: rows, bad, share, and the contract's thresholds) decides: a share of bad rows above
`stop` refuses the batch, above `warn` someone is told. A hashed sample of at most 100,000 loaded rows is held against
the column expectations of the contract. Both are shown in the Data Docs, one site per ingestion.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

from perennial.contracts.entities import ENTITIES, FRACTIONS, NUMBERS
from perennial.contracts.records import RuleResult
from perennial.contracts.sources import SourceEntity
from perennial.core.ids import digest_of
from perennial.quality.checking import Checker, Counts
from perennial.quality.history import BatchRule

_SAMPLE_ROWS = 100_000
_HASH_RANGE = 16**8
_MARGIN = 1.5
_KEPT_SITES = 14
_ALL = "all rules"
_UNDATED = date(1970, 1, 1)
_NO_VALUES = {"result_format": "BASIC", "partial_unexpected_count": 0}  # no cell of a file gets into the docs (L22)
_LIBRARY = "great_expectations"


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a batch, and of each rule. `reasons` is empty unless it is refused."""

    refused: bool
    warnings: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    results: tuple[RuleResult, ...] = ()


@dataclass
class Gate:
    """Judges the batches of one ingestion and leaves one site of Data Docs about all of them."""

    docs: Path
    batch_ids: list[str] = field(default_factory=list)
    latest: date | None = None
    _context: Any = None
    _pandas: Any = None

    def judge(
        self,
        checker: Checker,
        counts: Counts,
        *,
        name: str,
        batch_id: str,
        as_of: date | None,
        history: Sequence[BatchRule] = (),
    ) -> Verdict:
        """Judge the batch in `checked`. `name` is source.entity, under which the docs list it.

        `history` are rules that look at the batch as a whole, against those before it.
        """
        if self._context is None:
            self._open()
        self.batch_ids.append(batch_id)
        self.latest = max(filter(None, (self.latest, as_of)), default=None)
        profile = _profile_frame(counts, checker.contract, history)
        stopped, warned = self._judge_profile(profile, name, batch_id, as_of)
        said = {rule.rule: rule for rule in history}
        told = [rule for rule in warned if rule == _ALL or rule in said]
        rows = {row.rule: row for row in profile.itertuples()}
        warnings = [f"{name}: {_told(rows[rule], said.get(rule))}" for rule in told]
        if counts.good:
            warnings += self._judge_sample(checker, counts.good, name, batch_id, as_of)
        reasons = [f"{name}: {_refused(rows[rule], said.get(rule))}" for rule in stopped]
        return Verdict(bool(stopped), tuple(warnings), tuple(reasons), _results(profile, stopped, warned))

    def _open(self) -> None:
        os.environ["GX_ANALYTICS_ENABLED"] = "false"
        logging.getLogger(_LIBRARY).setLevel(logging.ERROR)  # else 200 lines of what it registers
        import great_expectations as gx
        from great_expectations.data_context.types.base import (
            DataContextConfig,
            InMemoryStoreBackendDefaults,
            ProgressBarsConfig,
        )

        site = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(self._building)},
            "site_section_builders": {"profiling": "None"},  # verdicts, and the suites that they link to
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        config = DataContextConfig(
            store_backend_defaults=InMemoryStoreBackendDefaults(),
            progress_bars=ProgressBarsConfig(globally=False),
            analytics_enabled=False,
            data_docs_sites={"docs": site},
        )
        self._context = gx.get_context(mode="ephemeral", project_config=config)
        self._pandas = self._context.data_sources.add_pandas("landing")

    def _judge_profile(self, frame: Any, name: str, batch_id: str, as_of: date | None) -> tuple[list[str], list[str]]:
        """The rules above `stop`, and those above `warn` alone, where great-expectations finds any."""
        import great_expectations.expectations as gxe

        expectations = [
            gxe.ExpectColumnValuesToNotBeNull(column="rule"),
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A="stop", column_B="share", or_equal=True, severity="critical", notes=["above: refused"]
            ),
            gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A="warn", column_B="share", or_equal=True, severity="warning", notes=["above: someone is told"]
            ),
        ]
        failed = self._run(f"{name}.profile", frame, expectations, batch_id, as_of)
        columns = {config.kwargs.get("column_A") for config in failed}
        rows = list(frame.itertuples())
        stopped = [row.rule for row in rows if "stop" in columns and row.share > row.stop]
        warned = [row.rule for row in rows if "warn" in columns and row.share > row.warn and row.rule not in stopped]
        return stopped, warned

    def _judge_sample(self, checker: Checker, good: int, name: str, batch_id: str, as_of: date | None) -> list[str]:
        sample, expectations = _sample_frame(checker, good), _column_expectations(checker.contract)
        failed = self._run(f"{name}.sample", sample, expectations, batch_id, as_of)
        return [
            f"{name}: great-expectations finds rows that break {config.type} on {config.kwargs.get('column')}"
            for config in failed
        ]

    def _run(self, name: str, frame: Any, expectations: list[Any], batch_id: str, as_of: date | None) -> list[Any]:
        """Validate the frame. Returns the configurations of the expectations that do not hold."""
        import great_expectations as gx
        from great_expectations.core.run_identifier import RunIdentifier

        unique = f"{name}.{batch_id}"
        batch = self._pandas.add_dataframe_asset(unique).add_batch_definition_whole_dataframe("all")
        suite = self._context.suites.add(gx.ExpectationSuite(unique, expectations=expectations))
        definition = self._context.validation_definitions.add(
            gx.ValidationDefinition(name=unique, data=batch, suite=suite)
        )
        moment = datetime.combine(as_of or _UNDATED, time.min, tzinfo=UTC)
        result = definition.run(
            batch_parameters={"dataframe": frame},
            result_format=_NO_VALUES,
            run_id=RunIdentifier(run_name=batch_id, run_time=moment),
        )
        return [one.expectation_config for one in result.results if not one.success]

    @property
    def _building(self) -> Path:
        return self.docs / f".building-{os.getpid()}"

    def publish_docs(self) -> Path | None:
        """Build the site of this ingestion; None when nothing was judged. Older sites but the newest few go."""
        if self._context is None:
            return None
        self._context.build_data_docs()
        name = f"{self.latest or 'undated'}-{digest_of(sorted(self.batch_ids), length=8)}"
        site = self.docs / name
        shutil.rmtree(site, ignore_errors=True)
        self._building.replace(site)
        with suppress(FileNotFoundError):  # another ingestion is tidying up too
            for old in sorted(self.docs.iterdir(), key=lambda folder: folder.stat().st_mtime_ns)[:-_KEPT_SITES]:
                shutil.rmtree(old, ignore_errors=True)
        return site / "index.html"


@contextmanager
def open_gate(docs: Path) -> Iterator[Gate]:
    """A gate for one ingestion; its Data Docs are published at the end, below `docs`."""
    gate = Gate(docs)
    yield gate
    gate.publish_docs()


def _profile_frame(counts: Counts, contract: SourceEntity, history: Sequence[BatchRule] = ()) -> Any:
    import pandas as pd

    landed = counts.good + counts.quarantined + counts.duplicate
    share = counts.quarantined / landed if landed else 0.0
    limits = contract.limits
    rows = [(_ALL, landed, counts.quarantined, share, limits.warn, limits.stop)]
    rows += [
        (count.rule, count.rows, count.bad, count.share, limits.warn, 1.0 if count.only_warns else limits.stop)
        for count in counts.profile
    ]
    rows += [(rule.rule, rule.rows, rule.bad, rule.share, rule.warn, rule.stop) for rule in history]
    return pd.DataFrame(rows, columns=["rule", "rows", "bad", "share", "warn", "stop"])


def _results(frame: Any, stopped: Sequence[str], warned: Sequence[str]) -> tuple[RuleResult, ...]:
    return tuple(
        RuleResult(
            row.rule,
            int(row.rows),
            int(row.bad),
            _limit(row.warn),
            _limit(row.stop),
            "stopped" if row.rule in stopped else "warned" if row.rule in warned else "passed",
        )
        for row in frame.itertuples()
    )


def _limit(share: float) -> float | None:
    return None if math.isinf(share) else float(share)


def _told(row: Any, rule: BatchRule | None) -> str:
    if rule is not None:
        return f"{rule.rule}: {rule.said}"
    return f"{_rule_said(row)} are bad, more than the {row.warn:.2%} that is usual"


def _refused(row: Any, rule: BatchRule | None) -> str:
    if rule is not None:
        return f"{rule.rule}: {rule.said}: the batch is refused -> {rule.fix}"
    return (
        f"{_rule_said(row)} are bad, more than the limit of {row.stop:.2%}: the batch is refused"
        " -> look at the rows in quarantine, mend the file (or the contract in sources.yml) and land it again"
    )


def _rule_said(row: Any) -> str:
    return f"{row.rule}: {row.bad:,} of {row.rows:,} rows ({row.share:.2%})"


def _sample_frame(checker: Checker, good: int) -> Any:
    """At most 100,000 loaded rows: those of the smallest hashes, so the same ones for the same rows (L2)."""
    bound = min(_HASH_RANGE, round(_HASH_RANGE * _MARGIN * _SAMPLE_ROWS / good)) - 1  # so few have to be sorted
    digest = f"hash({', '.join(checker.contract.columns)})"
    kinds = ENTITIES[checker.contract.entity].columns
    columns = [f"{n}::double as {n}" if kinds[n].type in FRACTIONS else n for n in checker.contract.columns]
    return checker.connection.execute(f"""
        select {", ".join(columns)} from checked
        where broken = 0 and not duplicate and {digest} >> 32 <= {bound}
        order by {digest} limit {_SAMPLE_ROWS}
    """).df()


def _column_expectations(contract: SourceEntity) -> list[Any]:
    """The contract's own words about single columns: not null, in set, between, pattern."""
    import great_expectations.expectations as gxe

    found: list[Any] = []
    for name, column in contract.columns.items():
        kind = ENTITIES[contract.entity].columns[name]
        if kind.required if column.required is None else column.required:
            found.append(gxe.ExpectColumnValuesToNotBeNull(column=name))
        if column.allowed is not None:
            found.append(gxe.ExpectColumnValuesToBeInSet(column=name, value_set=list(column.allowed)))
        if column.pattern is not None:
            found.append(gxe.ExpectColumnValuesToMatchRegex(column=name, regex=f"^(?:{column.pattern})$"))
        if kind.type in NUMBERS and (column.min is not None or column.max is not None):
            low, high = (None if bound is None else float(bound) for bound in (column.min, column.max))
            found.append(gxe.ExpectColumnValuesToBeBetween(column=name, min_value=low, max_value=high))
    return found
