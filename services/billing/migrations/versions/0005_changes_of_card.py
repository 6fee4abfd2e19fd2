"""changes of card, the Stripe events that told of them, and each try to pay with them"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "payment_method_changes",
        sa.Column("id", sa.String(length=255), nullable=False),
        sa.Column("stripe_customer_id", sa.String(length=255), nullable=False),
        sa.Column("payment_method_id", sa.String(length=255), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("runs", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_method_changes")),
    )
    op.create_index(
        "ix_payment_method_changes_customer_card",
        "payment_method_changes",
        ["stripe_customer_id", "payment_method_id"],
    )
    op.create_index(
        "ix_payment_method_changes_open",
        "payment_method_changes",
        ["due_at"],
        postgresql_where=sa.text("closed_at IS NULL"),
        sqlite_where=sa.text("closed_at IS NULL"),
    )
    op.create_table(
        "payment_method_change_events",
        sa.Column("event_id", sa.String(length=255), nullable=False),
        sa.Column("change_id", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=255), nullable=False),
        sa.Column("scope", sa.String(length=255), nullable=False),
        sa.Column("joined_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_payment_method_change_events")),
    )
    op.create_index(
        "ix_payment_method_change_events_change_id", "payment_method_change_events", ["change_id"]
    )
    op.create_table(
        "payment_tries",
        sa.Column("change_id", sa.String(length=255), nullable=False),
        sa.Column("invoice_id", sa.String(length=255), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("stripe_customer_id", sa.String(length=255), nullable=False),
        sa.Column("payment_method_id", sa.String(length=255), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("key_spent", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint(
            "change_id", "invoice_id", "number", name=op.f("pk_payment_tries")
        ),
    )
    op.create_index("ix_payment_tries_invoice_id", "payment_tries", ["invoice_id"])
    op.create_index("ix_payment_tries_stripe_customer_id", "payment_tries", ["stripe_customer_id"])


def downgrade() -> None:
    op.drop_table("payment_tries")
    op.drop_table("payment_method_change_events")
    op.drop_table("payment_method_changes")
