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


_TOOLS_WORDS = 200
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
        Reason(
            "unencodable_address",
            "the address holds a character that the encoding of the file does not have",
            "give the destination encoding: utf-8, or correct the address in the CRM",
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
        Reason("suppressed", "the client must not be addressed any more", "nothing to do", "only after it is lifted"),
        Reason("too_late", "the time after which the list is not sent has passed", "nothing to do", _NEVER),
        Reason("quiet_hours", "it is a quiet hour where the client lives", "nothing to do", _NEXT_RUN),
        Reason("awaits_approval", "the list waits for a person's approval", "look at it and answer", _PERSON),
        Reason("not_approved", "a person has refused the list", "nothing to do", _NEVER),
        Reason("approval_expired", "nobody answered in time", "answer earlier, or run the day again", _NEVER),
        Reason("in_progress", "the tool works on it", "nothing to do", "followed to its end by itself"),
        Reason("interrupted", "the push broke before this row's turn", "see the error of the push", _NEXT_RUN),
        Reason(
            "unknown_outcome",
            "the tool may have taken the row, and cannot be asked",
            "look in the tool, then `perennial deliveries settle`",
            _PERSON,
        ),
        # What a tool says of a row (RowOutcome.code):
        Reason(
            "missing_value",
            "the message shows a field that has no value for this client",
            "declare a default for it (merge_defaults of the card, defaults of the destination)",
            _NEXT_RUN,
        ),
        Reason("try_later", "the tool asks to try this row later", "nothing to do", _NEXT_RUN),
        Reason("refused_by_tool", "the tool refused the row", "see the tool's words", _NEXT_RUN),
        Reason("bad_address", "the tool says that the address cannot be one", "correct it in the CRM", _NEXT_RUN),
        Reason(
            "unsubscribed_in_tool", "the client unsubscribed in the tool", "nothing to do", "only after a new consent"
        ),
        Reason("bounced_in_tool", "mail to the address bounced for good", "correct it in the CRM", _NEXT_RUN),
        Reason("complained_in_tool", "the client reported mail as spam", "nothing to do", "only after a new consent"),
        Reason("duplicate_in_tool", "the tool has another contact of this address", "merge the two there", _NEXT_RUN),
        Reason("bad_field", "the tool refused a field of the row", "correct the value in the CRM", _NEXT_RUN),
        Reason("not_in_tool", "the tool does not know the contact", "nothing to do", _NEXT_RUN),
        Reason("deleted_in_tool", "the contact was deleted in the tool for good", "nothing to do", _NEVER),
    )
}


def told_by_tool(code: str, words: str | None) -> str:
    """The sentence of a rejected row with what the tool itself said of it; its three parts are split at `; `."""
    reason = REASONS[code]
    if not words:
        return reason.sentence()
    said = " ".join(words.replace(";", ",").split())[:_TOOLS_WORDS]
    return f"{reason.words} ({said}); {reason.fix}; {reason.tried_again}"
