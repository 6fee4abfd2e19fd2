"""when the last failure was heard of, and whether the business hears how collecting ended"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # NULL in rows that are there: how long they have been silent is not known, and nobody is written to about them before
    # something new is heard.
    op.add_column("incidents", sa.Column("failure_heard_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("incidents", sa.Column("end_noted", sa.Boolean(), nullable=False, server_default=sa.false()))
    unnoted = sa.text("closed_at IS NULL AND NOT end_noted")
    op.create_index(
        "ix_incidents_without_end",
        "incidents",
        ["failure_heard_at"],
        postgresql_where=unnoted,
        sqlite_where=unnoted,
    )


def downgrade() -> None:
    op.drop_index("ix_incidents_without_end", "incidents")
    for name in ("failure_heard_at", "end_noted"):
        op.drop_column("incidents", name)
