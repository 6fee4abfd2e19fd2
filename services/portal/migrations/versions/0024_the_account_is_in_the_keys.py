"""The keys of Stripe objects are (account, id): two accounts may have objects of one id, and one Stripe customer of a platform's
may be a customer of several businesses (docs/adr/0025-an-account-is-part-of-a-name.md)

Run again after it was cut off, it goes on where it was.

Revision ID: 0024
Revises: 0023
"""

import sqlalchemy as sa

from shared.migrations import replace_key

revision = "0024"
down_revision = "0023"
branch_labels = None
depends_on = None

AFTER_ROLL = True
CONTRACTS = "replicas that say ON CONFLICT (id): those of before accounts were named"

PRIMARY = {
    "invoices": ("invoice_id",),
    "method_changes": ("stripe_customer_id", "subscription_id"),
    "deleted_stripe_customers": ("stripe_customer_id",),
    "waiting_links": ("stripe_customer_id",),
}
UNIQUE = {
    # The id second: by it and the account a customer is found, whatever the third is.
    "customers": (
        ("platform_stripe_customer_id",),
        ("account", "platform_stripe_customer_id", "on_behalf_of"),
    ),
    "link_conflicts": (
        ("stripe_customer_id", "customer_id"),
        ("account", "stripe_customer_id", "customer_id"),
    ),
    "subscriptions": (("subscription_id",), ("account", "subscription_id")),
}
OPEN = sa.text("status = 'open'")
OPEN_REQUEST = "uq_cancellation_requests_open"
OPEN_REQUEST_IN_ACCOUNT = "uq_cancellation_requests_open_in_account"


def upgrade() -> None:
    for table, key in PRIMARY.items():
        replace_key(table, f"pk_{table}", ("account", *key))
    for table, (old, new) in UNIQUE.items():
        replace_key(table, _name(table, old), new, _name(table, new))
    _replace_open(OPEN_REQUEST, ("account", "subscription_id"), OPEN_REQUEST_IN_ACCOUNT)


def downgrade() -> None:
    _replace_open(OPEN_REQUEST_IN_ACCOUNT, ("subscription_id",), OPEN_REQUEST)
    for table, (old, new) in reversed(UNIQUE.items()):
        replace_key(table, _name(table, new), old, _name(table, old))
    for table, key in reversed(PRIMARY.items()):
        replace_key(table, f"pk_{table}", key)


def _name(table: str, columns: tuple[str, ...]) -> str:
    return "_".join(("uq", table, *columns))


def _replace_open(old: str, columns: tuple[str, ...], new: str) -> None:
    replace_key(
        "cancellation_requests", old, columns, new, postgresql_where=OPEN, sqlite_where=OPEN
    )
