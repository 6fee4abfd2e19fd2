"""Nothing. What stood here, the account in the keys, waits for the end of the roll, so it comes after all that does not: as 0019, which
finds on a database that had it here that nothing is left to do

Revision ID: 0017
Revises: 0016
"""

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    pass


def downgrade() -> None:
    pass
