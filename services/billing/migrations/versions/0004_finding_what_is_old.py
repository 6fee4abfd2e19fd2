"""an index for forgetting what was published long ago"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_outbox_published_at", "outbox", ["published_at"], postgresql_using="brin", postgresql_with={"autosummarize": True}
    )


def downgrade() -> None:
    op.drop_index("ix_outbox_published_at", "outbox")
