"""what an event is about, how often it came, and what a person did about it"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("inbox", sa.Column("object_id", sa.String(length=255), nullable=True))
    op.add_column("inbox", sa.Column("stripe_customer_id", sa.String(length=255), nullable=True))
    op.add_column(
        "inbox", sa.Column("deliveries", sa.Integer(), nullable=False, server_default="1")
    )
    op.add_column("inbox", sa.Column("last_delivered_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("inbox", sa.Column("replays", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("inbox", sa.Column("replayed_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_inbox_object_id", "inbox", ["object_id"])
    op.create_index("ix_inbox_stripe_customer_id", "inbox", ["stripe_customer_id"])
    op.create_table(
        "dead_letter_actions",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("queue", sa.String(length=255), nullable=False),
        sa.Column("event_id", sa.String(length=512), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dead_letter_actions")),
    )
    op.create_index("ix_dead_letter_actions_event_id", "dead_letter_actions", ["event_id"])


def downgrade() -> None:
    op.drop_table("dead_letter_actions")
    op.drop_index("ix_inbox_stripe_customer_id", "inbox")
    op.drop_index("ix_inbox_object_id", "inbox")
    for column in (
        "replayed_at",
        "replays",
        "last_delivered_at",
        "deliveries",
        "stripe_customer_id",
        "object_id",
    ):
        op.drop_column("inbox", column)
