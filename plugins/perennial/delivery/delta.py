"""The delta of one list: what is wanted against what was accepted, within the size limits of the policy (L11, L13)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal

import pyarrow as pa

from perennial.contracts.policy import PolicyFile
from perennial.core.errors import ContractViolation, Problem
from perennial.core.sqltext import literal
from perennial.delivery.reasons import REASONS
from perennial.delivery.records import ACTIONS, OUTCOMES, Batches, ChangeSet, Counts
from perennial.delivery.rows import CURRENT, DESIRED, ROWS, ListSpec, changes_sql, desired_sql, rows_sql
from perennial.ledger.approvals import Approval
from perennial.warehouse.engine import Published

_HISTORY = "d_history"
Outcome = Literal["pending", "skipped"]


@dataclass(frozen=True)
class Holds:
    """What the clock stands against: `is_late` (L17), and the moment (UTC) whose quiet hours hold people back."""

    is_late: bool = False
    quiet_at: datetime | None = None


@dataclass(frozen=True)
class Delta:
    """What is to be done with a list. The rows lie in temporary tables of the version that it was computed in."""

    spec: ListSpec
    counts: Counts
    actions: dict[str, int]
    schema: pa.Schema = field(repr=False)
    batches: Batches = field(repr=False)
    rejects: Batches = field(repr=False)
    quiet_from: datetime | None = None  # when the first of its clients has quiet hours

    def change_set(self, part: int) -> ChangeSet:
        """What a destination is asked to do."""
        spec = self.spec
        return ChangeSet(
            spec.key, part, spec.list_type, spec.destination, self.counts, self.actions, self.schema, self.batches
        )


def compute(
    published: Published,
    spec: ListSpec,
    history: Callable[[], Iterable[pa.RecordBatch]],
    policy: PolicyFile,
    last_size: int | None,
    *,
    approval: Approval | None = None,
    holds: Holds | None = None,
) -> Delta:
    """Compare the desired state with what was accepted.

    `history()` gives what was accepted of this list: client_id, action, row_hash, as_of, nth (the order); of a send
    list only that of its own date. `last_size` is the size of the send list of the last date before, None if there
    is none; `approval` is a person's word on it. Raises ContractViolation when the sum of the list would not be right
    (L15).
    """
    _load_current(published, history())
    published.execute(f"create or replace temp table {DESIRED} as {desired_sql(spec)}")
    published.execute(f"create or replace temp table {ROWS} as {rows_sql(spec)}")
    _hold_back(published, policy, _last(published, spec, last_size), approval)
    quiet_from = _hold_by_clock(published, spec, holds or Holds())
    return replace(_delta(published, spec), quiet_from=quiet_from)


def hold_all(published: Published, delta: Delta, *, outcome: Outcome, reason: str) -> Delta:
    """The same list, but nobody is added or changed; who withdrew is removed all the same (L9)."""
    published.execute(
        f"update {ROWS} set outcome = '{outcome}', reason = '{reason}' "
        "where outcome in ('add', 'update') or (outcome = 'remove' and not is_urgent)"
    )
    return _delta(published, delta.spec)


def _hold_by_clock(published: Published, spec: ListSpec, holds: Holds) -> datetime | None:
    if holds.is_late:
        published.execute(
            f"update {ROWS} set outcome = 'skipped', reason = 'too_late' where outcome in ('add', 'update')"
        )
    if holds.quiet_at is None or not spec.planned:
        return None
    windows = f"""
select client_id, not_before, not_after from campaign_outcomes
where as_of_date = {spec.day} and campaign_id = {literal(spec.key.campaign_id)}
    and channel = {literal(spec.key.channel)} and outcome = 'target'
"""
    moment = f"timestamp {literal(holds.quiet_at.isoformat(sep=' ', timespec='seconds'))}"
    published.execute(f"""
update {ROWS} set outcome = 'pending', reason = 'quiet_hours'
where outcome = 'add' and client_id in (
    select client_id from ({windows}) as w where w.not_before > {moment} or w.not_after <= {moment}
)
""")
    query = f"select min(w.not_after) as t from ({windows}) as w inner join {ROWS} as r on r.client_id = w.client_id"
    found: datetime | None = published.query(f"{query} where r.outcome = 'add'").column("t")[0].as_py()
    return found


def _delta(published: Published, spec: ListSpec) -> Delta:
    counts, actions = _count(published, spec)
    changes = changes_sql(spec)
    return Delta(
        spec,
        counts,
        actions,
        published.query(f"select * from ({changes}) limit 0").schema,
        lambda: published.batches(changes),
        lambda: _rejects(published),
    )


def _load_current(published: Published, history: Iterable[pa.RecordBatch]) -> None:
    """Who is on the list: the last accepted action of each client decides. Read in chunks (L26)."""
    published.execute(
        f"create or replace temp table {_HISTORY} "
        "(client_id varchar, action varchar, row_hash varchar, as_of date, nth bigint)"
    )
    for batch in history:
        published.register("d_chunk", pa.Table.from_batches([batch]))
        published.execute(f"insert into {_HISTORY} select client_id, action, row_hash, as_of, nth from d_chunk")
    published.execute(f"""
create or replace temp table {CURRENT} as
select client_id, arg_max(row_hash, nth) as row_hash, max(as_of) filter (where action = 'add') as added_on
from {_HISTORY}
group by client_id
having arg_max(action, nth) <> 'remove'
""")


def _last(published: Published, spec: ListSpec, last_size: int | None) -> int | None:
    """How large the list was before: what its growth is compared with; None: there is nothing to compare with."""
    if spec.list_type == "send":
        return last_size
    before = published.query(f"select count(*) as n from {ROWS} where is_from_before").column("n")[0].as_py()
    return before or None


def _hold_back(published: Published, policy: PolicyFile, last: int | None, approval: Approval | None) -> None:
    """L11: removals wait when too many would go, additions beyond the limit wait; the best ones inside it go.

    An approval lets as many through as its ceilings say, and no more: a list that grew on since it was given waits.
    """
    sizes = published.query(f"""
select
    count(*) filter (where is_from_before) as before,
    count(*) filter (where outcome = 'remove' and is_from_before and not is_urgent) as leaving,
    count(*) filter (where is_on_list and not is_from_before) as added_today
from {ROWS}
""").to_pylist()[0]
    # A withdrawal is each client's own word and never waits (L9).
    most_leaving = max(policy.max_list_shrink * sizes["before"], approval.removals if approval else 0)
    if sizes["leaving"] > most_leaving:
        published.execute(
            f"update {ROWS} set outcome = 'pending', reason = 'held_shrink' where outcome = 'remove' and not is_urgent"
        )
    if last is not None:
        added = sizes["added_today"]
        limit = math.floor(policy.max_list_growth * max(last, policy.growth_counts_from))
        limit = max(limit, approval.additions if approval else 0)
        published.execute(f"""
update {ROWS} set outcome = 'pending', reason = 'held_growth'
where client_id in (
    select client_id from {ROWS} where outcome = 'add'
    order by value desc nulls last, client_id
    offset {max(0, limit - added)}
)
""")


def _count(published: Published, spec: ListSpec) -> tuple[Counts, dict[str, int]]:
    counted = published.query(
        f"select outcome, reason, count(*) as n from {ROWS} group by outcome, reason order by outcome, reason"
    ).to_pylist()
    by_outcome: dict[str, int] = {}
    for row in counted:
        by_outcome[row["outcome"]] = by_outcome.get(row["outcome"], 0) + row["n"]
    actions: dict[str, int] = {action: by_outcome.get(action, 0) for action in ACTIONS}
    counts = Counts(
        size=_size(published, spec),
        sent=sum(actions.values()),
        rejected=by_outcome.get("rejected", 0),
        skipped=by_outcome.get("skipped", 0),
        pending=by_outcome.get("pending", 0),
        reasons={row["reason"]: row["n"] for row in counted if row["reason"] is not None},
    )
    require_sum(spec.key.list_id(1), counts)
    _require_one_row_each(published, spec)
    return counts, actions


def _require_one_row_each(published: Published, spec: ListSpec) -> None:
    twice = published.query(f"select count(*) - count(distinct client_id) as n from {ROWS}").column("n")[0].as_py()
    if twice:
        problem = f"{twice} clients stand in it twice"
        raise ContractViolation(Problem(spec.key.list_id(1), problem, "nothing was sent; plan the day again"))


def _size(published: Published, spec: ListSpec) -> int:
    """Counted where the list comes from, not from the rows that it was made into."""
    clients = f"select client_id from {DESIRED}"
    if spec.list_type == "audience":
        clients += f" union select client_id from {CURRENT}"
    return int(published.query(f"select count(*) as n from ({clients})").column("n")[0].as_py())


def require_sum(list_id: str, counts: Counts) -> None:
    """Raise ContractViolation unless sent + rejected + skipped + pending = size (L15)."""
    if not counts.is_right:
        told = f"{counts.sent} sent + {counts.rejected} rejected + {counts.skipped} skipped + {counts.pending} pending"
        raise ContractViolation(
            Problem(list_id, f"{told} is not the size {counts.size}", "nothing was sent; report it with the run's id")
        )


def _rejects(published: Published) -> Iterator[pa.RecordBatch]:
    """The rejected rows as outcomes, each with its reason in plain words (L15)."""
    words = [{"code": code, "words": reason.sentence()} for code, reason in REASONS.items()]
    published.register("d_reasons", pa.Table.from_pylist(words))
    query = f"""
select r.client_id, case when r.is_on_list then 'update' else 'add' end, r.row_hash, 'rejected', w.words
from {ROWS} as r
inner join d_reasons as w on w.code = r.reason
where r.outcome = 'rejected'
order by r.client_id
"""
    for batch in published.batches(query):
        yield pa.RecordBatch.from_arrays(batch.columns, schema=OUTCOMES)
