"""The keys of Stripe objects are (account, id): two accounts may have objects of one id
(docs/adr/0025-an-account-is-part-of-a-name.md)

Run again after it was cut off, it goes on where it was.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

from shared.migrations import fill_nulls, replace_key

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

AFTER_ROLL = True
CONTRACTS = "replicas that say ON CONFLICT (id), and write NULL for the own account: those of before accounts were named"

KEYS = {
    "inbox": ("id",),
    "recovery_leases": ("stripe_customer_id",),
    "payment_method_changes": ("id",),
    "payment_method_change_events": ("event_id",),
    "payment_tries": ("change_id", "invoice_id", "number"),
    "recovery_runs": ("stripe_customer_id", "payment_method_id", "scope"),
    "recoveries": ("invoice_id", "payment_method_id", "attempt"),
    "portal_configurations": ("key", "livemode"),
    "portal_permissions": ("configuration_id",),
    "reconciliations": ("name",),
}


def upgrade() -> None:
    fill_nulls("inbox", "account", "", key="id")
    for table, key in KEYS.items():
        replace_key(table, f"pk_{table}", ("account", *key))


def downgrade() -> None:
    for table, key in reversed(KEYS.items()):
        replace_key(table, f"pk_{table}", key)
    with op.batch_alter_table("inbox") as batch:
        batch.alter_column("account", nullable=True, server_default=None)
