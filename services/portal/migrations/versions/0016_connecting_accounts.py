"""Ways to connect a Stripe account, and how accounts stand

Revision ID: 0016
Revises: 0015
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "connections",
        sa.Column("id", KEY, nullable=False),
        sa.Column("business_pk", KEY, nullable=False),
        sa.Column("link_digest", sa.String(64), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("state_digest", sa.String(64), nullable=True),
        sa.Column("browser_digest", sa.String(64), nullable=True),
        sa.Column("state_expires_at", MOMENT, nullable=True),
        sa.Column("state_spent_at", MOMENT, nullable=True),
        sa.Column("outcome", sa.String(20), nullable=True),
        sa.Column("connected_account", sa.String(255), nullable=True),
        sa.ForeignKeyConstraint(
            ["business_pk"], ["businesses.id"], name=op.f("fk_connections_business_pk_businesses")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_connections")),
        sa.UniqueConstraint("link_digest", name=op.f("uq_connections_link_digest")),
        sa.UniqueConstraint("state_digest", name=op.f("uq_connections_state_digest")),
    )
    op.create_index(op.f("ix_connections_business_pk"), "connections", ["business_pk"])
    op.create_index(op.f("ix_connections_expires_at"), "connections", ["expires_at"])
    op.create_table(
        "account_states",
        sa.Column("account", sa.String(255), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("as_of", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_account_states")),
    )


def downgrade() -> None:
    op.drop_table("account_states")
    op.drop_table("connections")
