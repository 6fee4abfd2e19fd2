"""Evidence of whose a Stripe customer is, and the portal's own events

Links that wait on the word of a Checkout session are dropped: anybody could have written it. Those that wait on metadata
become evidence. Links that are in use stay; whatever has no evidence is of unknown source.

Revision ID: 0005
Revises: 0004
"""

import datetime as dt

import sqlalchemy as sa
from alembic import op

from shared.telemetry import get_logger

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
UNKNOWN_LINKS = "platform_stripe_customer_id IS NOT NULL AND (link_source IS NULL OR link_source = 'unknown')"


def upgrade() -> None:
    op.create_table(
        "link_evidence",
        sa.Column("id", KEY, nullable=False),
        sa.Column("stripe_customer_id", sa.String(length=255), nullable=False),
        sa.Column("source", sa.String(length=20), nullable=False),
        sa.Column("object_id", sa.String(length=255), nullable=False),
        sa.Column("customer_ref", sa.String(length=255), nullable=True),
        sa.Column("business_ref", sa.String(length=255), nullable=True),
        sa.Column("previous_customer_ref", sa.String(length=255), nullable=True),
        sa.Column("previous_business_ref", sa.String(length=255), nullable=True),
        sa.Column("denies", sa.Boolean(), nullable=False),
        sa.Column("refused", sa.String(length=30), nullable=True),
        sa.Column("event_id", sa.String(length=255), nullable=True),
        sa.Column("said_at", MOMENT, nullable=False),
        sa.Column("noted_at", MOMENT, nullable=False),
        sa.Column("withdrawn_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_link_evidence")),
    )
    for column in ("stripe_customer_id", "object_id", "customer_ref"):
        op.create_index(op.f(f"ix_link_evidence_{column}"), "link_evidence", [column])
    op.create_table(
        "outbox",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.String(length=512), nullable=False),
        sa.Column("dedupe_key", sa.String(length=1024), nullable=False),
        sa.Column("type", sa.String(length=255), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("published_at", MOMENT, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("next_attempt_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sa.UniqueConstraint("dedupe_key", name=op.f("uq_outbox_dedupe_key")),
        sa.UniqueConstraint("event_id", name=op.f("uq_outbox_event_id")),
    )
    op.create_index(
        "ix_outbox_unpublished",
        "outbox",
        ["id"],
        postgresql_where=sa.text("published_at IS NULL"),
        sqlite_where=sa.text("published_at IS NULL"),
    )
    op.create_index(
        "ix_outbox_published_at",
        "outbox",
        ["published_at"],
        postgresql_using="brin",
        postgresql_with={"autosummarize": True},
    )
    op.add_column("link_conflicts", sa.Column("resolved_at", MOMENT, nullable=True))
    op.add_column("customers", sa.Column("link_source", sa.String(length=20), nullable=True))
    op.create_index(
        "ix_customers_unknown_links",
        "customers",
        ["id"],
        postgresql_where=sa.text(UNKNOWN_LINKS),
        sqlite_where=sa.text(UNKNOWN_LINKS),
    )
    _take_over()


def _take_over() -> None:
    connection = op.get_bind()
    now = dt.datetime.now(dt.UTC)
    dropped = connection.execute(
        sa.text("DELETE FROM waiting_links WHERE evidence = 'checkout.session'")
    ).rowcount
    # The host's own id without a business named somebody only while there was one business.
    businesses = connection.execute(sa.text("SELECT business_id FROM businesses LIMIT 2")).scalars().all()
    kept = connection.execute(
        sa.text(
            "INSERT INTO link_evidence (stripe_customer_id, source, object_id, customer_ref, business_ref, denies, said_at, noted_at) "
            "SELECT stripe_customer_id, 'metadata', stripe_customer_id, customer_ref, coalesce(business_ref, :business), "
            "false, seen_at, :now FROM waiting_links"
        ).bindparams(
            sa.bindparam("now", now, type_=MOMENT),
            business=businesses[0] if len(businesses) == 1 else None,
        )
    ).rowcount
    connection.execute(
        sa.text(
            "UPDATE link_conflicts SET resolved_at = :now WHERE evidence = 'checkout.session'"
        ).bindparams(sa.bindparam("now", now, type_=MOMENT))
    )
    get_logger(__name__).info(
        "links that waited: those on the word of a Checkout session dropped, those on metadata kept as evidence",
        dropped=dropped,
        kept=kept,
    )


def downgrade() -> None:
    op.drop_index("ix_customers_unknown_links", "customers")
    op.drop_column("customers", "link_source")
    op.drop_column("link_conflicts", "resolved_at")
    op.drop_table("outbox")
    op.drop_table("link_evidence")
