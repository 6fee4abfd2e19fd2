"""Finding the invoices to ask billing about without reading all that are open

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

from shared.migrations import create_index

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INDEXES = {
    "ix_invoices_failure_to_ask": "card_of_failure IS NULL OR card_of_failure <> last_failed_at",
    "ix_invoices_method_to_ask": "method_changed_at IS NOT NULL",
    "ix_invoices_try_to_ask": "as_of > last_failed_at AND (method_type IS NULL OR method_type <> 'card')",
}


def upgrade() -> None:
    for name, which in INDEXES.items():
        where = sa.text(f"status = 'open' AND ({which})")
        create_index(name, "invoices", ["last_failed_at"], postgresql_where=where, sqlite_where=where)


def downgrade() -> None:
    for name in INDEXES:
        op.drop_index(name, table_name="invoices")
