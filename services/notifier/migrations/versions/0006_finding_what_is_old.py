"""indexes for forgetting what was done long ago"""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_outbox_published_at", "outbox", ["published_at"], postgresql_using="brin", postgresql_with={"autosummarize": True}
    )
    op.create_index(
        "ix_processed_events_processed_at", "processed_events", ["processed_at"], postgresql_using="brin", postgresql_with={"autosummarize": True}
    )
    op.create_index(
        "ix_sendgrid_events_received_at", "sendgrid_events", ["received_at"], postgresql_using="brin", postgresql_with={"autosummarize": True}
    )
    op.create_index(
        "ix_incidents_closed_at", "incidents", ["closed_at"]
    )


def downgrade() -> None:
    op.drop_index("ix_incidents_closed_at", "incidents")
    op.drop_index("ix_sendgrid_events_received_at", "sendgrid_events")
    op.drop_index("ix_processed_events_processed_at", "processed_events")
    op.drop_index("ix_outbox_published_at", "outbox")
