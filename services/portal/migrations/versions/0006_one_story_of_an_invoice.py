"""What was paid and forgiven, who stopped collecting, and how new a date is

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENTS = ("finalized_at", "schedule_as_of", "auto_advance_as_of")


def upgrade() -> None:
    # Defaults at the server: a replica of the release before inserts rows without them.
    for name in ("amount_paid", "amount_credited"):
        op.add_column("invoices", sa.Column(name, sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("subscriptions", sa.Column("end_reason", sa.String(50), nullable=True))
    for name in ("schedule_changed", "was_advancing", "needs_new_method"):
        op.add_column("invoices", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("invoices", sa.Column("auto_advance", sa.Boolean(), nullable=True))
    for name in MOMENTS:
        op.add_column("invoices", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    # A date that is known was told at the latest when the amounts were.
    op.execute("UPDATE invoices SET schedule_as_of = as_of WHERE next_payment_attempt IS NOT NULL AND status = 'open'")


def downgrade() -> None:
    op.drop_column("subscriptions", "end_reason")
    for name in (
        "amount_paid", "amount_credited", "schedule_changed", "was_advancing", "needs_new_method", "auto_advance", *MOMENTS
    ):
        op.drop_column("invoices", name)
