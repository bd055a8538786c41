"""The ledger's tables of what recipients did: events of mailing tools, and how far each tool was asked.

No address stands here: whom an event is about is known by a keyed hash of it, and by the client's id once it is found.
"""

from __future__ import annotations

import sqlalchemy as sa

from perennial.ledger.metadata import METADATA

# One row per event, whether it was posted to us, pulled by us, or made by a link of ours: told again it stays one row.
feedback_events = sa.Table(
    "feedback_events",
    METADATA,
    sa.Column("destination", sa.String(60), primary_key=True),
    sa.Column("event_id", sa.String(32), primary_key=True),  # digest of the tool's own id
    sa.Column("kind", sa.String(16), nullable=False),  # delivery.tools.records.FeedbackKind
    sa.Column("happened_at", sa.DateTime, nullable=False),
    sa.Column("channel", sa.String(20)),  # null: the tool serves several, and does not say
    sa.Column("address_key", sa.String(32), nullable=False),  # salted digest; of a link the client's id instead
    sa.Column("client_ref", sa.String(16)),  # null: nobody has that address (yet)
    sa.Column("campaign_id", sa.String(60)),  # null: not a list of ours
    sa.Column("as_of", sa.Date),  # of the list, where its title has one
    sa.Column("list_title", sa.String(160)),  # as the tool calls it
    sa.Column("message_id", sa.String(160)),
    sa.Column("detail", sa.String(200)),
    sa.Column("scope", sa.String(4), nullable=False),  # list | all: of an unsubscribe, from what
    sa.Column("is_machine", sa.Boolean, nullable=False),
    sa.Column("came_by", sa.String(8), nullable=False),  # webhook | pull | link
    sa.Column("known_on", sa.Date, nullable=False),  # the business date on which we knew what it is about
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.Index("ix_feedback_events_known_on", "known_on"),
    sa.Index("ix_feedback_events_client_ref", "client_ref", "kind"),
)

# How far each tool was asked: written together with the page that it stands behind, so that nothing is left out and
# nothing counted twice, wherever a pull ends.
feedback_cursors = sa.Table(
    "feedback_cursors",
    METADATA,
    sa.Column("destination", sa.String(60), primary_key=True),
    sa.Column("stream", sa.String(20), primary_key=True),  # feedback | withdrawals
    sa.Column("cursor", sa.JSON, nullable=False),
    sa.Column("pulled_at", sa.DateTime, nullable=False),
    sa.Column("last_error", sa.Text),
)
