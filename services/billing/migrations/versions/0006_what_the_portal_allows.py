"""what portal configurations allow; who ran on Portico's own stays on it; connected accounts' events are no trouble"""

import datetime as dt

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
INBOX = sa.table("inbox", sa.column("status"), sa.column("account"))
CONFIGURATIONS = sa.table("portal_configurations", sa.column("key"))
MOMENTS = sa.table("reconciliations", sa.column("name", sa.String), sa.column("until", MOMENT))


def upgrade() -> None:
    op.create_table(
        "portal_permissions",
        sa.Column("configuration_id", sa.String(length=255), nullable=False),
        sa.Column("updated", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("learned_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("configuration_id", name=op.f("pk_portal_permissions")),
    )
    connection = op.get_bind()
    # Whoever ran a release before this one has customers on Portico's own configuration. A person switches.
    ran_before = sa.or_(
        sa.exists(sa.select(CONFIGURATIONS.c.key)), sa.exists(sa.select(MOMENTS.c.name))
    )
    if connection.scalar(sa.select(sa.literal(1)).where(ran_before)) is not None:
        op.execute(MOMENTS.insert().values(name="portico_portal", until=dt.datetime.now(dt.UTC)))
    op.execute(
        INBOX.update()
        .where(INBOX.c.status == "quarantined", INBOX.c.account.is_not(None))
        .values(status="connected")
    )


def downgrade() -> None:
    op.execute(MOMENTS.delete().where(MOMENTS.c.name == "portico_portal"))
    op.execute(CONFIGURATIONS.delete().where(CONFIGURATIONS.c.key == "dashboard"))
    op.execute(INBOX.update().where(INBOX.c.status == "connected").values(status="quarantined"))
    op.execute(INBOX.update().where(INBOX.c.status == "thin").values(status="ignored"))
    op.drop_table("portal_permissions")
