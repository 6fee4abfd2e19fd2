"""an index for finding the notification that a message was sent for"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INDEX = "ix_notifications_provider_message_id"
SENT = sa.text("provider_message_id IS NOT NULL")


def upgrade() -> None:
    op.create_index(INDEX, "notifications", ["provider_message_id"], postgresql_where=SENT, sqlite_where=SENT)


def downgrade() -> None:
    op.drop_index(INDEX, "notifications")
