"""Why a row was not sent: a code for counting, plain words for people, the fix, and whether it is tried again (L15)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reason:
    """One reason. `tried_again` tells when the row is looked at next."""

    code: str
    words: str
    fix: str
    tried_again: str

    def sentence(self) -> str:
        """What stands in the ledger beside a rejected row."""
        return f"{self.words}; {self.fix}; {self.tried_again}"


_NEXT_RUN = "tried again by itself in the next run"
_NEVER = "not tried again for this date"
_PERSON = "waits for a person"

REASONS: dict[str, Reason] = {
    reason.code: reason
    for reason in (
        Reason("no_email", "the client has no e-mail address", "add one in the CRM", _NEXT_RUN),
        Reason("bad_email", "the e-mail address cannot be one", "correct it in the CRM", _NEXT_RUN),
        Reason("no_phone", "the client has no phone number", "add one in the CRM", _NEXT_RUN),
        Reason("bad_phone", "the phone number is not in the form +1234567", "correct it in the CRM", _NEXT_RUN),
        Reason(
            "shared_address",
            "another client of this list has the same address",
            "merge the two clients, or correct one address in the CRM",
            _NEXT_RUN,
        ),
        Reason("already_sent", "sent before for this date", "nothing to do", _NEVER),
        Reason("unchanged", "on the list already, with the same fields", "nothing to do", "looked at in every run"),
        Reason("consent_withdrawn", "the client withdrew consent", "nothing to do", "only after a new consent"),
        Reason("no_consent", "there is no consent for this channel and purpose", "ask for it", _NEXT_RUN),
        Reason("past_date", "the date of the list has passed", "use `perennial run --as-of` with --to", _NEVER),
        Reason("superseded", "the day was opened anew since", "the newer run of the day sends it", _NEVER),
        Reason(
            "held_shrink", "the list would lose more clients than the policy allows", "look at the sources", _PERSON
        ),
        Reason("held_growth", "the list would grow more than the policy allows", "look at the sources", _PERSON),
    )
}
