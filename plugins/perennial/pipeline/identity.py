"""Who is one client, as a step of the build: the run's client records and decisions make `raw.identity_map` (L2).

Only records that share something with another one are looked at; where there is none, nothing is read but their keys.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from perennial.contracts.identity import Decision, IdentityChange
from perennial.contracts.records import DayRun
from perennial.core.ids import client_ref_sql
from perennial.core.settings import Settings
from perennial.core.sqltext import literal
from perennial.ledger import identity as ledger_identity
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import published_version
from perennial.pipeline.rekey import ALIASES_TABLE
from perennial.sources.config import load_sources
from perennial.warehouse.engine import Published, open_published, raw_connection, write_identity_map

_CHUNK = 50_000

# Coarser than any normalisation: records that differ in all of these cannot be joined. A phone that is written in full
# is only the same as one that is written alike, or as one that is not written in full and ends alike.
_KEYS = r"""
with phones as materialized (
    select distinct
        client_ref,
        phone,
        regexp_full_match(phone, '\+1[2-9][0-9]{9}|\+[2-9][0-9]{7,14}')
            and not regexp_matches(phone, '^\+[2-9][0-9]?[0-9]?0') as is_full,
        right(regexp_replace(regexp_replace(phone, '(x|ext|доб|#).*', '', 'i'), '[^0-9]', '', 'g'), 7) as ending
    from known
    where phone is not null
)
select client_ref, hash('e', translate(split_part(split_part(lower(trim(email)), '@', 1), '+', 1), '.-<> ', '')) as h
from known where email is not null
union all
select client_ref, hash('f', phone) from phones where is_full
union all
select client_ref, hash('p', ending) from phones where ending in (select ending from phones where not is_full)
union all
select client_ref, hash('t', regexp_replace(tax_number, '[^0-9]', '', 'g')) from known where tax_number is not null
union all
select client_ref, hash('c', regexp_replace(lower(card_number), '[^0-9a-z]', '', 'g'))
from known where card_number is not null
union all
select client_ref, hash('b', birth_date, upper(left(regexp_replace(postcode, '[^0-9A-Za-z]', '', 'g'), 5)))
from known where birth_date is not null and postcode is not null
"""
_KNOWN = """
create temp view known as
select * from raw.clients where _business_date <= cast($as_of as date) and client_ref is not null
"""
_WANTED = f"""
create temp table wanted as
with keys as ({_KEYS}),
shared as (select h from keys group by h having min(client_ref) <> max(client_ref))
select distinct client_ref from keys where h in (from shared)
union
select client_ref from known where household_key is not null or company_key is not null
union
select unnest($decided)
"""
_ALL = "create temp table wanted as select distinct client_ref from known"
# The version of each record that holds, as dbt's macro `resolved` has it; of a record that only sales know, nothing but
# when it was first seen.
_RECORDS = """
with versions as (
    select known.*, n.namespace,
        row_number() over (
            partition by client_ref, _source
            order by _business_date desc, _version desc nulls last, _batch_seq desc, _file desc, _line desc
        ) as rank_in_source,
        min(_batch_seq) over (partition by client_ref) as seq
    from known
    inner join wanted using (client_ref)
    left join namespaces as n on n.source = known._source
),
holding as (
    select *,
        row_number() over (partition by client_ref order by _precedence, _business_date desc, _source) as version_rank
    from versions
    where rank_in_source = 1 and not coalesce(_deleted, false)
),
sold as (
    select client_ref, min(_batch_seq) as seq, min(_source) as source
    from raw.order_lines
    where list_contains($decided, client_ref) and _business_date <= cast($as_of as date)
        and client_ref not in (select client_ref from known)
    group by client_ref
)
select
    client_ref, coalesce(namespace, _source) as namespace, seq, client_kind, first_name, last_name, birth_date,
    postcode, company_name, household_key, {company_ref} as company_ref
from holding
where version_rank = 1
union all
select client_ref, coalesce(n.namespace, sold.source), seq, null, null, null, null, null, null, null, null
from sold
left join namespaces as n on n.source = sold.source
"""
_VALUES = """
select distinct known.client_ref, what, value, country
from known
inner join wanted using (client_ref)
cross join lateral (
    values ('email', email), ('phone', phone), ('tax', tax_number), ('card', card_number)
) as t (what, value)
where value is not null
"""


def resolve(settings: Settings, run: DayRun) -> int:
    """Write the run's `raw.identity_map`; gives its rows. The build must be prepared, and held by the caller.

    A record keeps the values that its earlier versions had: who changes the phone stays the same client.
    """
    decisions = _decisions(settings, run)
    with record_readers(settings, run, decisions) as found:
        if found is None:
            return 0
        from perennial.identity.linking import link  # scipy: only when there is something to link

        with link(found, decisions, rules_of(settings), settings.warehouse_dir / "tmp") as linked:
            table = linked.map_reader().read_all()
    write_identity_map(settings, run, table.to_reader())
    return int(table.num_rows)


def log_changes(settings: Settings, run: DayRun) -> int:
    """Append to the identity log what the run's published map changed against the last logged one; gives how many rows.

    Run again it finds nothing new. A past day is only compared with: it changes no log.
    """
    engine = open_ledger(settings)
    if not run.is_latest:
        return 0
    with open_published(settings, published_version(engine, run.run_id)) as published:
        before = ledger_identity.logged_map(engine)
        if ALIASES_TABLE not in published.tables() or not (before.num_rows or _rows_of(published, ALIASES_TABLE)):
            return 0
        published.register("logged", before)
        apart = {ref: one for one in _decisions(settings, run) if one.decision == "apart" for ref in _refs([one])}
        rows = (row for batch in published.batches(_CHANGED) for row in batch.to_pylist())
        return ledger_identity.append_log(engine, [_change(row, apart) for row in rows], as_of=run.as_of)


_CHANGED = f"""
select
    coalesce(n.client_ref, l.client_ref) as client_ref,
    coalesce(l.client_id, n.client_ref) as from_client_id,
    coalesce(n.client_id, l.client_ref) as to_client_id,
    n.rule,
    n.evidence
from {ALIASES_TABLE} as n
full join logged as l on l.client_ref = n.client_ref
where n.client_id is distinct from l.client_id
order by 1
"""


def _rows_of(published: Published, table: str) -> int:
    return int(published.query(f"select count(*) as n from {table}").column("n")[0].as_py())


def _change(row: dict[str, Any], apart: dict[str, Decision]) -> IdentityChange:
    if row["rule"] is not None:
        event, because = "merged", row["evidence"] if row["rule"] == "decision" else f"{row['rule']}: {row['evidence']}"
    else:
        decision = apart.get(row["client_ref"])
        event, because = "split", f"decision {decision.decision_id}" if decision else "nothing joins it any more"
    return IdentityChange(row["client_ref"], event, row["from_client_id"], row["to_client_id"], because)


def rules_of(settings: Settings) -> Any:
    """The rules of `identity.scratch`, from the settings."""
    from perennial.identity.scratch import Rules

    own = settings.file.identity
    return Rules(settings.company.country, own.max_group, own.max_shared, frozenset(own.role_words))


def _decisions(settings: Settings, run: DayRun) -> list[Decision]:
    if run.decision_id is None:
        return []
    return ledger_identity.decisions(open_ledger(settings), as_of=run.as_of, until=run.decision_id)


@contextmanager
def record_readers(
    settings: Settings, run: DayRun, decisions: Sequence[Decision], *, everyone: bool = False
) -> Iterator[Iterator[pa.RecordBatchReader] | None]:
    """The records that may be linked (or all), then their values; None when there are none."""
    decided = _refs(decisions)
    params = {"decided": decided, "as_of": run.as_of.isoformat()}
    with raw_connection(settings, run) as connection:
        for statement in look(run.as_of.isoformat(), decided, everyone=everyone):
            connection.execute(statement)
        if connection.execute("select 1 from wanted limit 1").fetchall():
            connection.register("namespaces", _namespaces(settings))
            company = client_ref_sql("namespace", "company_key")
            records = _RECORDS.replace("{company_ref}", f"case when company_key is not null then {company} end")
            queries = (_bound(records, params), _VALUES)
            yield (connection.sql(query).to_arrow_reader(_CHUNK) for query in queries)
        else:
            yield None


def look(as_of: str, decided: list[str], *, everyone: bool = False) -> tuple[str, str]:
    """The statements that make `known` (what the day knows of raw.clients) and `wanted` (who may be joined).

    `decided`: records that people decided about, which are wanted in any case.
    """
    wanted = _ALL if everyone else _bound(_WANTED, {"decided": decided})
    return _bound(_KNOWN, {"as_of": as_of}), wanted


def _refs(decisions: Sequence[Decision]) -> list[str]:
    return sorted({ref for one in decisions for ref in (one.left_ref, one.right_ref)})


def _bound(sql: str, params: dict[str, Any]) -> str:
    """A view and a relation take no parameters: dates and ids (digits, letters) are written as literals."""
    for name, value in params.items():
        text = (
            literal(value) if not isinstance(value, list) else f"cast([{', '.join(map(literal, value))}] as varchar[])"
        )
        sql = sql.replace(f"${name}", text)
    return sql


def _namespaces(settings: Settings) -> pa.Table:
    sources = load_sources(settings).sources
    return pa.table({"source": list(sources), "namespace": [source.namespace for source in sources.values()]})
