"""From a plan to a client that may ask."""

from __future__ import annotations

from perennial.sources.fetching import Request
from perennial.sources.rest.auth import signer_of
from perennial.sources.rest.client import Client
from perennial.sources.rest.definitions import Plan
from perennial.sources.rest.rates import DayCount, bucket_of


def open_client(plan: Plan, request: Request, *, attempts: int | None = None) -> Client:
    """A client for the plan's connection. Raises ConfigError when the connection lacks something.

    `attempts` may be fewer than the definition's, where a person waits.
    """
    definition, limit = plan.definition, plan.definition.rate_limit
    if attempts is not None:
        retry = definition.retry.model_copy(update={"attempts": min(attempts, definition.retry.attempts)})
        definition = definition.model_copy(update={"retry": retry})
    signer = signer_of(plan.definition.auth, plan.connection, plan.token_url, request.state)
    day = DayCount(request.state / f"{plan.connection.id}.requests", limit.per_day, request.today)
    return Client(definition, plan.base_url, signer=signer, bucket=bucket_of(plan.connection.id, limit), day=day)
