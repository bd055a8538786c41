"""What people see and decide of who is one client: candidates, one client's records, merge and apart."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

import pyarrow.compute as pc

from perennial.core.errors import ContractViolation, PermanentError, Problem
from perennial.core.settings import Settings
from perennial.ledger import identity as ledger_identity
from perennial.ledger.assignments import experiments
from perennial.ledger.engine import open_ledger
from perennial.ledger.runs import last_run
from perennial.pipeline.explain import identify
from perennial.pipeline.identity import record_readers, rules_of
from perennial.pipeline.rekey import ALIASES_TABLE, aliases_of, arms
from perennial.pipeline.turns import WAREHOUSE_BUILD, turn
from perennial.warehouse.engine import Published, open_published


def candidates(settings: Settings, *, limit: int) -> dict[str, list[dict[str, Any]]]:
    """What no rule joins and a person may: `clients` (pairs) and `companies`, from the newest run's build.

    Raises ContractViolation when the newest run is not built.
    """
    from perennial.identity.candidates import find_candidates, find_companies
    from perennial.identity.linking import link

    engine = open_ledger(settings)
    run = last_run(engine)
    if run is None:
        raise ContractViolation(Problem("identity", "no day has been opened yet", "run a day first"))
    decisions = ledger_identity.decisions(engine)
    with turn(settings, WAREHOUSE_BUILD), record_readers(settings, run, decisions, everyone=True) as found:
        if found is None:
            return {"clients": [], "companies": []}
        with link(found, decisions, rules_of(settings), settings.warehouse_dir / "tmp") as linked:
            pairs = find_candidates(linked, limit=limit)
            return {"clients": pairs, "companies": find_companies(linked, limit=limit)}


def show(settings: Settings, client: str) -> dict[str, Any]:
    """One client of the newest published day: its records with the rules, household, company, log, decisions, arms."""
    engine = open_ledger(settings)
    run = last_run(engine)
    with open_published(settings) as published:
        who = identify(published, client)
        client_id = str(who["client_id"])
        id_of = {"id": client_id}
        records = [{**who, "client_ref": client_id, "rule": None, "evidence": None}]
        groups: list[dict[str, Any]] = []
        if ALIASES_TABLE in published.tables():
            columns = "client_ref, client_key, source, rule, evidence"
            query = f"select {columns} from {ALIASES_TABLE} where client_id = $id order by 1"
            records += published.query(query, id_of).to_pylist()
            query = "select household_id, company_id from client_groups where client_id = $id"
            groups = published.query(query, id_of).to_pylist()
        aliases = aliases_of(published)
    refs = [record["client_ref"] for record in records]
    own = aliases.filter(pc.equal(aliases.column("client_id"), client_id))
    _, mixed = arms(engine, experiments(engine), own, until=run.as_of if run else date.max)
    return {
        "client_id": client_id,
        "records": [{name: value for name, value in one.items() if name != "client_id"} for one in records],
        **(groups[0] if groups else {"household_id": None, "company_id": None}),
        "decisions": [one for one in ledger_identity.decisions(engine) if {one.left_ref, one.right_ref} & set(refs)],
        "log": ledger_identity.log_of(engine, refs),
        "mixed_arms": [experiment for experiment, _client in mixed],
    }


def decide(settings: Settings, decision: Literal["merge", "apart"], pair: tuple[str, str], reason: str, by: str) -> int:
    """Write down a decision about two clients or records, by id or source key; gives its id. The next build obeys it.

    Raises PermanentError for a client that is not known, and for two names of one record.
    """
    with open_published(settings) as published:
        refs = tuple(_record(published, name) for name in pair)
    if refs[0] == refs[1]:
        raise PermanentError(Problem("identity", f"{pair[0]} and {pair[1]} are one record", "name two records"))
    return ledger_identity.decide(open_ledger(settings), decision, (refs[0], refs[1]), reason=reason, decided_by=by)


def _record(published: Published, name: str) -> str:
    """The record that an id or a key names; a joined record by its own id, else the client's."""
    if ALIASES_TABLE in published.tables():
        query = f"select client_ref from {ALIASES_TABLE} where client_ref = $name or client_key = $name"
        found = published.query(query, {"name": name}).column("client_ref").to_pylist()
        if len(found) == 1:
            return str(found[0])
    return str(identify(published, name)["client_id"])
