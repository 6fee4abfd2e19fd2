"""indexes for looking back: the story of an event, counts since a moment"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_incidents_opened_at", "incidents", ["opened_at"])
    op.create_index("ix_notifications_correlation_id", "notifications", ["correlation_id"])
    op.create_index("ix_notifications_created_at", "notifications", ["created_at"])


def downgrade() -> None:
    op.drop_index("ix_notifications_created_at", "notifications")
    op.drop_index("ix_notifications_correlation_id", "notifications")
    op.drop_index("ix_incidents_opened_at", "incidents")
