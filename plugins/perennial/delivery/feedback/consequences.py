"""What follows from an event at once: a consent that ends, an address that is not written to again (L9).

- `unsubscribe`: consent ends in the channel, for the purpose of the list's campaign when the tool says that it is from
  the one list alone (`scope` list), else for every purpose;
- `complaint`: consent ends in the channel for every purpose, and the client is suppressed there;
- `hard_bounce`: the client is suppressed in the channel.

All other kinds are told to the warehouse and nothing else: opens are for deliverability only (L20).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from perennial.ledger.feedback import Consequences, Event

ALL = "all"


def judge_of(
    channels: Sequence[str], purposes: Mapping[str, str], records: Callable[[Event], Sequence[str]]
) -> Callable[[Event], Consequences]:
    """The consequences of a destination's events.

    `channels` are the destination's; `purposes` those of the campaigns, by id; `records` gives every client record
    that has the event's address.
    """

    def judge(event: Event) -> Consequences:
        refs = tuple(records(event))
        named = (event.channel,) if event.channel else tuple(channels)
        if event.kind == "unsubscribe":
            purpose = purposes.get(event.campaign_id or "", ALL) if event.scope == "list" else ALL
            return Consequences(withdrawn=tuple((ref, channel, purpose) for ref in refs for channel in named))
        if event.kind not in {"complaint", "hard_bounce"}:
            return Consequences()
        pairs = tuple((ref, channel) for ref in refs for channel in named)
        ended = tuple((*pair, ALL) for pair in pairs) if event.kind == "complaint" else ()
        return Consequences(withdrawn=ended, suppressed=pairs, reason=event.kind)

    return judge
