"""What may be said of a subscription's price, and whether it is paused or on trial

Revision ID: 0008
Revises: 0007
"""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

MOMENT = sa.DateTime(timezone=True)
COLUMNS: dict[str, Any] = {
    "pricing": sa.String(20),
    "discounted": sa.Boolean(),
    "collection_paused": sa.Boolean(),
    "collection_resumes_at": MOMENT,
    "trial_ends_at": MOMENT,
    "terms_as_of": MOMENT,
    "previewed_at": MOMENT,
    "next_amount": sa.BigInteger(),
    "next_recurring": sa.BigInteger(),
    "next_discount": sa.String(10),
    "next_discount_until": MOMENT,
    "discount_seen": sa.Boolean(),
}


def upgrade() -> None:
    for name, kind in COLUMNS.items():
        op.add_column("subscriptions", sa.Column(name, kind, nullable=True))


def downgrade() -> None:
    for name in COLUMNS:
        op.drop_column("subscriptions", name)
