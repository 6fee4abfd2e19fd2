"""How long one service waits for another, for its vendor and for its database, in seconds: one table, as each depends on the
next.

Who answers must give up before who waits does. Then the caller gets the reason, which it can act on, and not a timeout of its
own after which nobody knows whether the call had its effect. `ORDER` says which waits lie inside which; a test holds it.
"""

from __future__ import annotations

from typing import Final

CLICK: Final = 5.0
"""A customer who clicked has an answer: Stripe's page, or ours that says it can't be opened now."""
PORTAL_WAITS_FOR_BILLING: Final = 4.5
"""The portal's RPC to billing, on the way to Stripe's page."""
BILLING_ANSWERS: Final = 4.0
"""What billing promises for a call that goes to Stripe while somebody waits (docs/rpc.md says it of each)."""
STRIPE_AT_A_CALL: Final = 3.7
"""All of Stripe in such a call, however many requests it makes; the rest is for the answer's way back."""
PORTAL_WAITS_FOR_NOTIFIER: Final = 4.0
"""The portal's RPC to the notifier: an email is asked for, not sent."""
ERASING: Final = 5.0
"""How long one request of the HTTP API goes on erasing a customer; what is left then takes another."""
PORTAL_WAITS_FOR_ERASURE: Final = 14.0
"""The portal's RPC for one round of erasing, which looks through many rows: longer than a statement may take, and who waits is a program."""
NOTIFIER_WAITS_FOR_PORTAL: Final = 4.0
"""The notifier's RPC to the portal: whom to write to. Two reads of a database."""
BILLING_WAITS_FOR_PORTAL: Final = 2.0
"""Billing's RPC to the portal: whether a business observes, before Stripe is written to. A read of a database; without an answer nothing
is written."""
NOTIFIER_WAITS_FOR_BILLING: Final = 2.5
"""The notifier's RPC to billing: how invoices stand. Without an answer the email goes out with what it knows."""
STRIPE_AT_MANY: Final = 1.8
"""All of a look at many invoices or prices at once. What did not come by then is told from the webhooks, in the rest of the time."""
DATABASE_STATEMENT: Final = 10
"""One statement. PostgreSQL itself ends it then."""
DATABASE_ANSWERS: Final = 13
"""A word of PostgreSQL, before its connection is given up: for a server that is frozen, or behind a network that swallows
packets."""

ORDER: Final = (
    (STRIPE_AT_A_CALL, BILLING_ANSWERS, PORTAL_WAITS_FOR_BILLING, CLICK),
    (BILLING_WAITS_FOR_PORTAL, STRIPE_AT_A_CALL),
    (STRIPE_AT_MANY, NOTIFIER_WAITS_FOR_BILLING),
    (STRIPE_AT_MANY, PORTAL_WAITS_FOR_BILLING),
    (PORTAL_WAITS_FOR_NOTIFIER, CLICK),
    (DATABASE_STATEMENT, DATABASE_ANSWERS, PORTAL_WAITS_FOR_ERASURE),
)
"""Each row from the innermost wait to the outermost."""
