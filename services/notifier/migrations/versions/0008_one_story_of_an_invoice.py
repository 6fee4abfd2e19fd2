"""what was paid and forgiven, who stopped collecting, and how new a date is"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENTS = (
    "finalized_at",
    "as_of",
    "schedule_as_of",
    "auto_advance_as_of",
    "first_failed_at",
    "last_failed_at",
    "action_required_at",
    "asked_at",
)
SWITCHES = ("schedule_changed", "was_advancing", "last_failure_own")


def upgrade() -> None:
    # Defaults at the server: a replica of the release before inserts rows without them.
    op.add_column("incidents", sa.Column("amount_credited", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("incidents", sa.Column("collection_method", sa.String(30), nullable=False, server_default=""))
    op.add_column("incidents", sa.Column("billing_reason", sa.String(50), nullable=True))
    op.add_column("incidents", sa.Column("auto_advance", sa.Boolean(), nullable=True))
    for name in SWITCHES:
        op.add_column("incidents", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    for name in MOMENTS:
        op.add_column("incidents", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.add_column("notifications", sa.Column("told_in", sa.String(40), nullable=True))
    op.create_index(op.f("ix_notifications_told_in"), "notifications", ["told_in"])
    for name in ("charge_id", "payment_method_id"):
        op.add_column("notifications", sa.Column(name, sa.String(255), nullable=True))
    op.add_column("notifications", sa.Column("next_payment_attempt", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE incidents SET first_failed_at = opened_at, last_failed_at = opened_at WHERE closed_at IS NULL")


def downgrade() -> None:
    op.drop_index(op.f("ix_notifications_told_in"), "notifications")
    for name in ("charge_id", "payment_method_id", "next_payment_attempt", "told_in"):
        op.drop_column("notifications", name)
    for name in ("amount_credited", "collection_method", "billing_reason", "auto_advance", *SWITCHES, *MOMENTS):
        op.drop_column("incidents", name)
