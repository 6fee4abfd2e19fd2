"""Webhooks to hosts: endpoints, the events that they hear of, deliveries and attempts

Four new tables; none that is there is touched.

Revision ID: 0015
Revises: 0014
"""

import sqlalchemy as sa
from alembic import op

from shared.database import UtcDateTime
from shared.outbox import BigId

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

PENDING = sa.text("status = 'pending'")
UNTOLD = sa.text("due_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "hook_endpoints",
        sa.Column("endpoint_id", sa.String(40), primary_key=True),
        sa.Column("business_id", sa.String(100)),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("event_types", sa.JSON(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_because", sa.String(20)),
        sa.Column("disabled_at", UtcDateTime()),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("rotated_at", UtcDateTime()),
        sa.Column("rotated_by", sa.String(64)),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", UtcDateTime()),
        sa.Column("paused_until", UtcDateTime()),
    )
    op.create_index("ix_hook_endpoints_business_id", "hook_endpoints", ["business_id"])
    op.create_table(
        "hook_events",
        sa.Column("hook_event_id", sa.String(40), primary_key=True),
        sa.Column("account", sa.String(255), nullable=False, server_default=""),
        sa.Column("event_id", sa.String(512), nullable=False),
        sa.Column("type", sa.String(80), nullable=False),
        sa.Column("occurred_at", UtcDateTime(), nullable=False),
        sa.Column("object_type", sa.String(40), nullable=False),
        sa.Column("object_id", sa.String(255), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("stripe_customer_id", sa.String(255)),
        sa.Column("on_behalf_of", sa.String(255), nullable=False, server_default=""),
        sa.Column("portal_customer_id", sa.String(64)),
        sa.Column("business_id", sa.String(100)),
        sa.Column("customer_id", sa.String(100)),
        sa.Column("livemode", sa.Boolean()),
        sa.Column("correlation_id", sa.String(255), nullable=False),
        sa.Column("traceparent", sa.String(55), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("due_at", UtcDateTime()),
        sa.Column("lookups", sa.Integer(), nullable=False),
    )
    for column in ("stripe_customer_id", "portal_customer_id", "received_at"):
        op.create_index(f"ix_hook_events_{column}", "hook_events", [column])
    op.create_index(
        "ix_hook_events_due",
        "hook_events",
        ["due_at"],
        postgresql_where=UNTOLD,
        sqlite_where=UNTOLD,
    )
    op.create_table(
        "hook_deliveries",
        sa.Column("endpoint_id", sa.String(40), primary_key=True),
        sa.Column("hook_event_id", sa.String(40), primary_key=True),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("lease_token", sa.String(40)),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime()),
    )
    for column in ("hook_event_id", "created_at"):
        op.create_index(f"ix_hook_deliveries_{column}", "hook_deliveries", [column])
    op.create_index(
        "ix_hook_deliveries_due",
        "hook_deliveries",
        ["endpoint_id", "due_at"],
        postgresql_where=PENDING,
        sqlite_where=PENDING,
    )
    op.create_table(
        "hook_attempts",
        sa.Column("attempt_id", BigId, primary_key=True, autoincrement=True),
        sa.Column("endpoint_id", sa.String(40), nullable=False),
        sa.Column("hook_event_id", sa.String(40), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("status", sa.Integer()),
        sa.Column("milliseconds", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(40)),
    )
    for column in ("hook_event_id", "at"):
        op.create_index(f"ix_hook_attempts_{column}", "hook_attempts", [column])
    op.create_index("ix_hook_attempts_endpoint_id", "hook_attempts", ["endpoint_id", "attempt_id"])


def downgrade() -> None:
    for table in ("hook_attempts", "hook_deliveries", "hook_events", "hook_endpoints"):
        op.drop_table(table)
