"""A question about a list on Airflow's page of required actions (human in the loop)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk import Param

_REASON = Param("", type="string", description="Why; it is kept with your name")
SEND, DO_NOT_SEND = "Send it", "Do not send it"


class AskPerson(HITLOperator):
    """One question; gives its subject with the answer. Without an answer in time nobody has said anything."""

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """The answer, who gave it, and what it is about."""
        said = super().execute_complete(context, event)
        person = said.get("responded_by_user") or {}
        return {
            "subject": self.subject,
            "chosen": list(said["chosen_options"]),
            "by": str(person.get("name") or ""),
            "reason": str(said["params_input"].get("reason") or ""),
        }


def ask_person(questions: Any, *, wait: timedelta) -> Any:
    """A mapped task: one question for each of `questions` (subject, body)."""
    asked = AskPerson.partial(
        task_id="ask_person",
        map_index_template="{{ task.subject }}",
        options=[SEND, DO_NOT_SEND],
        defaults=[DO_NOT_SEND],
        params={"reason": _REASON},
        response_timeout=wait,
    ).expand_kwargs(questions)
    return asked.output
