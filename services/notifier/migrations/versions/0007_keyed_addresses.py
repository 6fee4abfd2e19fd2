"""bounced addresses under a keyed hash

The notifier itself fills the column for the rows that are there: a migration holds no key. Until a later release drops
`address_sha256`, both are written.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("suppressed_addresses", sa.Column("address_hmac", sa.String(length=64), nullable=True))
    op.create_index("ix_suppressed_addresses_address_hmac", "suppressed_addresses", ["address_hmac"])


def downgrade() -> None:
    op.drop_index("ix_suppressed_addresses_address_hmac", "suppressed_addresses")
    with op.batch_alter_table("suppressed_addresses") as table:
        table.drop_column("address_hmac")
