"""What failed besides cards, why, and whether the payment that followed takes days

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

WORDS = {"method_type": 50, "bank_name": 60, "bank_last4": 4, "decline_reason": 30}
MOMENTS = ("under_way_since", "ask_again_at")


def upgrade() -> None:
    for name, longest in WORDS.items():
        op.add_column("invoices", sa.Column(name, sa.String(longest), nullable=True))
    for name in MOMENTS:
        op.add_column("invoices", sa.Column(name, sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    for name in (*WORDS, *MOMENTS):
        op.drop_column("invoices", name)
