"""The keys of Stripe objects are (account, id): two accounts may have objects of one id
(docs/adr/0025-an-account-is-part-of-a-name.md)

Run again after it was cut off, it goes on where it was.

Revision ID: 0019
Revises: 0018
"""

from shared.migrations import replace_key

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

AFTER_ROLL = True
CONTRACTS = "replicas that say ON CONFLICT (id): those of before accounts were named"

KEYS = {"incidents": "invoice_id", "deleted_customers": "stripe_customer_id"}


def upgrade() -> None:
    for table, key in KEYS.items():
        replace_key(table, f"pk_{table}", ("account", key))


def downgrade() -> None:
    for table, key in reversed(KEYS.items()):
        replace_key(table, f"pk_{table}", (key,))
