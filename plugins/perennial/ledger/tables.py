"""The ledger's tables (SQLAlchemy Core). A change here needs an Alembic revision in migrations/versions.

Times are UTC without a zone, from the operational clock; dates are business dates. No table here holds an address.
"""

from __future__ import annotations

import sqlalchemy as sa

from perennial.ledger import delivery_tables, feedback_tables, forecast_tables, result_tables  # noqa: F401 - of METADATA too
from perennial.ledger.metadata import METADATA as METADATA  # noqa: PLC0414 - found here by those who read all tables

# One row per landed batch: landed = loaded + quarantined + duplicate (L1).
batches = sa.Table(
    "batches",
    METADATA,
    sa.Column("batch_seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("batch_id", sa.String(40), nullable=False, unique=True),
    sa.Column("source", sa.String(60), nullable=False),
    sa.Column("source_entity", sa.String(60), nullable=False),  # the key in sources.yml
    sa.Column("entity", sa.String(40), nullable=False),  # the canonical entity
    sa.Column("as_of", sa.Date),  # null when refused before a date was known
    sa.Column("state", sa.String(12), nullable=False),  # committed | refused
    sa.Column("landed", sa.BigInteger, nullable=False, default=0),
    sa.Column("loaded", sa.BigInteger, nullable=False, default=0),
    sa.Column("quarantined", sa.BigInteger, nullable=False, default=0),
    sa.Column("duplicate", sa.BigInteger, nullable=False, default=0),
    sa.Column("guests", sa.BigInteger, nullable=False, default=0),
    sa.Column("raw_path", sa.Text),  # relative to the home folder
    sa.Column("quarantine_path", sa.Text),
    sa.Column("first_business_date", sa.Date),
    sa.Column("last_business_date", sa.Date),
    sa.Column("warnings", sa.JSON, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("quarantined_by_rule", sa.JSON, nullable=False),
    sa.Column("replays_batch_id", sa.String(40)),  # of a batch of quarantined rows that were corrected
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.CheckConstraint("state <> 'committed' or landed = loaded + quarantined + duplicate", name="nothing_is_lost"),
    sqlite_autoincrement=True,
)

batch_files = sa.Table(
    "batch_files",
    METADATA,
    sa.Column("batch_id", sa.String(40), sa.ForeignKey("batches.batch_id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),  # relative to the landing folder
    sa.Column("sha256", sa.String(64), nullable=False, index=True),
    sa.Column("bytes", sa.BigInteger, nullable=False),
    sa.Column("landed", sa.BigInteger, nullable=False, default=0),
)

# One row per computed state of a business date: a new revision when its batches or the config changed.
runs = sa.Table(
    "runs",
    METADATA,
    sa.Column("run_id", sa.String(40), primary_key=True),  # 2017-10-01.r1
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("state", sa.String(12), nullable=False),  # records.RunState
    sa.Column("batch_ids", sa.JSON, nullable=False),  # sorted
    sa.Column("config_digest", sa.String(16), nullable=False),
    sa.Column("decision_id", sa.Integer),  # the last identity decision that the run knows of; null: none
    sa.Column("version_id", sa.String(60)),  # the published version that the run reads and writes
    sa.Column("opened_at", sa.DateTime, nullable=False),
    sa.Column("finished_at", sa.DateTime),
    sa.UniqueConstraint("as_of", "revision"),
)

# Append-only; the state is derived (strictest wins within a purpose, later over earlier from the same person).
consent_events = sa.Table(
    "consent_events",
    METADATA,
    sa.Column("event_id", sa.String(32), primary_key=True),  # digest of the columns below
    sa.Column("client_ref", sa.String(16), nullable=False),
    sa.Column("channel", sa.String(20), nullable=False),
    sa.Column("purpose", sa.String(60), nullable=False),
    sa.Column("status", sa.String(10), nullable=False),  # granted | withdrawn
    sa.Column("changed_at", sa.DateTime, nullable=False),
    sa.Column("known_on", sa.Date, nullable=False),  # the business date on which we learned of it
    sa.Column("source", sa.String(60), nullable=False),
    # All that the state is derived from, in the order in which it is grouped: the table itself is not read.
    sa.Index("ix_consent_events_state", "client_ref", "channel", "purpose", "changed_at", "status", "known_on"),
)

# The arm of a client in an experiment, drawn once and never changed (L8).
assignments = sa.Table(
    "assignments",
    METADATA,
    sa.Column("experiment", sa.String(80), primary_key=True),  # campaign id
    sa.Column("client_id", sa.String(16), primary_key=True),
    sa.Column("arm", sa.String(20), nullable=False),  # target | control
    sa.Column("assigned_on", sa.Date, nullable=False),
)

# One card per trained model; artefacts are files named by content.
model_cards = sa.Table(
    "model_cards",
    METADATA,
    sa.Column("model_version", sa.String(120), primary_key=True),
    sa.Column("score", sa.String(80), nullable=False),
    sa.Column("trained_as_of", sa.Date, nullable=False),
    sa.Column("status", sa.String(12), nullable=False),  # as training left it: champion | challenger | refused
    sa.Column("artefact", sa.Text, nullable=False),  # relative to the home folder
    sa.Column("card", sa.JSON, nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.Index("ix_model_cards_score", "score", "trained_as_of"),
)

# What a person decided about a model: append-only, the later decision holds from its date on.
model_decisions = sa.Table(
    "model_decisions",
    METADATA,
    sa.Column("decision_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("model_version", sa.String(120), nullable=False),
    sa.Column("decision", sa.String(10), nullable=False),  # approved | retired
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_by", sa.String(120), nullable=False),
    sa.Column("known_on", sa.Date, nullable=False),  # the first business date that knows of it
    sa.Column("decided_at", sa.DateTime, nullable=False),
    sqlite_autoincrement=True,
)

# The watch on a score's model, one row per day: how far its input and its scores are from the training day's.
score_checks = sa.Table(
    "score_checks",
    METADATA,
    sa.Column("as_of", sa.Date, primary_key=True),
    sa.Column("score", sa.String(80), primary_key=True),
    sa.Column("model_version", sa.String(120), nullable=False),
    sa.Column("verdict", sa.String(8), nullable=False),  # passed | warned | stopped
    sa.Column("sentences", sa.JSON, nullable=False),
    sa.Column("figures", sa.JSON, nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
)

# One row per list that was handed over (or held back), with the sum of L15.
lists = sa.Table(
    "lists",
    METADATA,
    sa.Column("list_id", sa.String(120), primary_key=True),  # as_of/campaign__channel[.n]
    sa.Column("run_id", sa.String(40), nullable=False),
    sa.Column("destination", sa.String(60), nullable=False),
    sa.Column("campaign_id", sa.String(60), nullable=False),
    sa.Column("channel", sa.String(20), nullable=False),
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("list_type", sa.String(10), nullable=False),  # send | audience
    sa.Column("state", sa.String(12), nullable=False),  # delivered | held | rejected (all of it) | sending
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("sent", sa.BigInteger, nullable=False),
    sa.Column("rejected", sa.BigInteger, nullable=False),
    sa.Column("skipped", sa.BigInteger, nullable=False),
    sa.Column("pending", sa.BigInteger, nullable=False),
    sa.Column("path", sa.Text),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("send_not_after", sa.DateTime),  # past it nothing of it is pushed (L17)
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.CheckConstraint("sent + rejected + skipped + pending = size", name="the_sum_is_right"),
)

# The key of L12: the same campaign, client, channel and logical date is never sent twice.
deliveries = sa.Table(
    "deliveries",
    METADATA,
    sa.Column("campaign_id", sa.String(60), primary_key=True),
    sa.Column("client_id", sa.String(16), primary_key=True),
    sa.Column("channel", sa.String(20), primary_key=True),
    sa.Column("as_of", sa.Date, primary_key=True),
    sa.Column("action", sa.String(8), primary_key=True),  # add | update | remove
    sa.Column("destination", sa.String(60), nullable=False),
    sa.Column("list_id", sa.String(120), nullable=False),
    sa.Column("row_hash", sa.String(32), nullable=False),  # of the row as sent: what an update is compared with
    sa.Column("state", sa.String(10), nullable=False),  # accepted | rejected | unknown
    sa.Column("reason", sa.Text),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.Index("ix_deliveries_client_id_as_of", "client_id", "as_of"),
)

# One active run per destination list, with an owner and an expiry (L16).
locks = sa.Table(
    "locks",
    METADATA,
    sa.Column("name", sa.String(160), primary_key=True),
    sa.Column("owner", sa.String(120), nullable=False),
    sa.Column("expires_at", sa.DateTime, nullable=False),
)

# How far each source entity was fetched: written after its file is in the landing zone, so a range may be fetched twice
# after a crash (its rows are then duplicates), and is never left out (L1).
source_cursors = sa.Table(
    "source_cursors",
    METADATA,
    sa.Column("source", sa.String(60), primary_key=True),
    sa.Column("source_entity", sa.String(60), primary_key=True),
    sa.Column("cursor", sa.JSON, nullable=False),
    sa.Column("fetched_at", sa.DateTime, nullable=False),  # operational: when the next fetch is due
    sa.Column("last_error", sa.Text),
)

# Remote files that were landed: a name with another version (etag, or size and time of change) is another file.
fetched_files = sa.Table(
    "fetched_files",
    METADATA,
    sa.Column("source", sa.String(60), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("version", sa.String(120), primary_key=True),
    sa.Column("landed_as", sa.Text, nullable=False),  # below landing/
    sa.Column("sha256", sa.String(64), nullable=False),  # of its bytes, as in batch_files
    sa.Column("fetched_at", sa.DateTime, nullable=False),
)

# What the gate said of each rule of each batch; the thresholds are those that held then.
gate_results = sa.Table(
    "gate_results",
    METADATA,
    sa.Column("batch_id", sa.String(40), sa.ForeignKey("batches.batch_id"), primary_key=True),
    sa.Column("rule", sa.String(160), primary_key=True),
    sa.Column("rows_seen", sa.BigInteger, nullable=False),
    sa.Column("rows_bad", sa.BigInteger, nullable=False),
    sa.Column("warn_above", sa.Float),
    sa.Column("stop_above", sa.Float),
    sa.Column("verdict", sa.String(8), nullable=False),  # passed | warned | stopped
)

# The columns that a source entity's files had, and since which batch: what drift is told against.
source_columns = sa.Table(
    "source_columns",
    METADATA,
    sa.Column("source", sa.String(60), primary_key=True),
    sa.Column("source_entity", sa.String(60), primary_key=True),
    sa.Column("column_name", sa.Text, primary_key=True),
    sa.Column("in_contract", sa.Boolean, nullable=False),
    sa.Column("first_batch_id", sa.String(40), nullable=False),
    sa.Column("last_batch_id", sa.String(40), nullable=False),
)

# What became of quarantined rows: append-only; a row without an action waits.
quarantine_actions = sa.Table(
    "quarantine_actions",
    METADATA,
    sa.Column("batch_id", sa.String(40), primary_key=True),  # the batch that set the row aside
    sa.Column("file", sa.Text, primary_key=True),
    sa.Column("line", sa.BigInteger, primary_key=True),
    sa.Column("action", sa.String(10), nullable=False),  # replayed | dropped
    sa.Column("to_batch_id", sa.String(40)),  # of a replayed row
    sa.Column("note", sa.Text),
    sa.Column("done_by", sa.String(120), nullable=False),
    sa.Column("done_at", sa.DateTime, nullable=False),
)

# What a person decided about two client records: append-only, the later decision about a pair holds.
identity_decisions = sa.Table(
    "identity_decisions",
    METADATA,
    sa.Column("decision_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("decision", sa.String(8), nullable=False),  # merge | apart | undo
    sa.Column("left_ref", sa.String(16), nullable=False),  # client_ref
    sa.Column("right_ref", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_by", sa.String(120), nullable=False),
    sa.Column("known_on", sa.Date, nullable=False),  # the first business date that knows of it
    sa.Column("decided_at", sa.DateTime, nullable=False),
    sqlite_autoincrement=True,
)

# Every change of the map from client records to clients, as the runs found it: append-only.
identity_log = sa.Table(
    "identity_log",
    METADATA,
    sa.Column("log_seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("client_ref", sa.String(16), nullable=False),
    sa.Column("event", sa.String(8), nullable=False),  # merged | split
    sa.Column("from_client_id", sa.String(16), nullable=False),
    sa.Column("to_client_id", sa.String(16), nullable=False),
    sa.Column("because", sa.Text, nullable=False),  # rule and masked evidence, or the decision's id
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.Index("ix_identity_log_client_ref", "client_ref"),
    sqlite_autoincrement=True,
)

# What someone was told, so that the same trouble is told once and its end too.
alerts = sa.Table(
    "alerts",
    METADATA,
    sa.Column("alert_id", sa.String(120), primary_key=True),  # kind and subject
    sa.Column("kind", sa.String(20), nullable=False),  # stop | quarantine | silence | fetch | drift
    sa.Column("subject", sa.String(160), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("raised_at", sa.DateTime, nullable=False),
    sa.Column("told_at", sa.DateTime),
    sa.Column("ended_at", sa.DateTime),
)

# A person lets a list be larger, or smaller, than the policy's guard allows (L11): up to a ceiling, for a day, until it
# expires. Append-only: the newest of a list and date holds.
approvals = sa.Table(
    "approvals",
    METADATA,
    sa.Column("approval_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("campaign_id", sa.String(60), nullable=False),
    sa.Column("channel", sa.String(20), nullable=False),
    sa.Column("as_of", sa.Date, nullable=False),
    sa.Column("additions", sa.BigInteger, nullable=False),  # at most so many clients are added on the day
    sa.Column("removals", sa.BigInteger, nullable=False),  # at most so many are removed
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("approved_by", sa.String(120), nullable=False),
    sa.Column("approved_at", sa.DateTime, nullable=False),
    sa.Column("expires_at", sa.DateTime, nullable=False),
    sa.Index("ix_approvals_campaign_id", "campaign_id", "channel", "as_of"),
    sqlite_autoincrement=True,
)

# Who must not be addressed whatever she consented to (dead, a hard bounce, a court's order): append-only, the later
# entry about a record and channel holds.
suppressions = sa.Table(
    "suppressions",
    METADATA,
    sa.Column("suppression_id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("client_ref", sa.String(16), nullable=False),
    sa.Column("channel", sa.String(20), nullable=False),  # or all
    sa.Column("action", sa.String(8), nullable=False),  # suppress | lift
    sa.Column("reason", sa.String(60), nullable=False),
    sa.Column("known_on", sa.Date, nullable=False),
    sa.Column("source", sa.String(60), nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
    sa.Index("ix_suppressions_client_ref", "client_ref", "channel"),
    sqlite_autoincrement=True,
)

# What was measured of a campaign against its control, as an interval of the margin per client: the gate of pilots
# reads it.
campaign_effects = sa.Table(
    "campaign_effects",
    METADATA,
    sa.Column("campaign_id", sa.String(60), primary_key=True),
    sa.Column("known_on", sa.Date, primary_key=True),
    sa.Column("low", sa.Float, nullable=False),
    sa.Column("high", sa.Float, nullable=False),
    sa.Column("source", sa.String(60), nullable=False),
    sa.Column("recorded_at", sa.DateTime, nullable=False),
)
