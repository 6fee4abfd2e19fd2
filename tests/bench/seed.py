"""Data for the bench: made by the database itself, so that ten million customers are minutes, not hours."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

from services.portal.tokens.links import Links

APPOINTMENTS = 3
"""Upcoming ones a customer; one more is past."""
TABLES = ("customers", "appointments", "invoices")
"""What is filled, but for the few businesses."""

BUSINESSES = """
INSERT INTO businesses (business_id, name, email, phone, website, color, locale, timezone, created_at, updated_at)
SELECT 'b' || n, 'Sunrise Home Cleaning ' || n, 'hello@b' || n || '.example', '+1 555 01' || n,
       'https://b' || n || '.example', '#2f6f9f', 'en', 'America/Los_Angeles', now(), now()
FROM generate_series(1, 20) AS n
"""

CUSTOMERS = """
INSERT INTO customers (public_id, business_pk, external_id, name, email, platform_stripe_customer_id,
                       link_generation, created_at, updated_at)
SELECT translate(encode(decode(md5(n::text), 'hex'), 'base64'), '+/=', '-_'), 1 + n %% 20, 'c' || n,
       'Maria Lopez ' || n, 'c' || n || '@customers.example', 'cus_' || n, 1, now(), now()
FROM generate_series(%(first)s, %(last)s) AS n
"""

VISITS = """
INSERT INTO appointments (customer_pk, external_id, title, starts_at, ends_at, location, status, updated_at)
SELECT c.id, 'a' || v, 'Deep cleaning, two rooms', date_trunc('hour', now()) + v * interval '7 days' + interval '1 day',
       date_trunc('hour', now()) + v * interval '7 days' + interval '26 hours', '12 Main Street', 'scheduled', now()
FROM customers c, generate_series(%(earliest)s, 2) AS v
WHERE c.id BETWEEN %(first)s AND %(last)s
"""

INVOICES = """
INSERT INTO invoices (invoice_id, stripe_customer_id, status, currency, amount_due, amount_remaining, attempt_count,
                      collection_method, billing_reason, number, as_of, first_failed_at, last_failed_at, last_failure_own,
                      next_payment_attempt, method_type, card_brand, card_last4, card_of_failure)
SELECT 'in_' || n, 'cus_' || n, 'open', 'usd', 14900, 14900, 1, 'charge_automatically', 'subscription_cycle',
       'SUN-' || n, now(), now() - interval '1 day', now() - interval '1 day', false, now() + interval '2 days',
       'card', 'visa', '0341', now() - interval '1 day'
FROM generate_series(%(first)s, %(last)s) AS n
"""


def seed_portal(connection: Any, customers: int, *, first: int = 1) -> None:
    """Customers `first` to `customers`, each with four appointments and an open invoice, declined on a card that is known:
    else the portal would ask billing for a hundred thousand cards while something is measured."""
    span = {"first": first, "last": customers, "earliest": 2 - APPOINTMENTS}
    with connection.cursor() as cursor:
        if first == 1:
            cursor.execute(BUSINESSES)
        for statement in (CUSTOMERS, VISITS, INVOICES):
            cursor.execute(statement, span)
        cursor.execute("ANALYZE")


def public_id(number: int) -> str:
    """The public id that customer `number` got."""
    raw = hashlib.md5(str(number).encode()).digest()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(links: Links, number: int) -> str:
    """The token of customer `number`."""
    return links.token(public_id(number), 1)


ACCOUNTS = """
INSERT INTO businesses (business_id, name, email, phone, website, color, locale, timezone, created_at, updated_at, account)
SELECT 'a' || n, 'Sunrise Home Cleaning ' || n, 'hello@a' || n || '.example', '+1 555 01' || n,
       'https://a' || n || '.example', '#2f6f9f', 'en', 'America/Los_Angeles', now(), now(), 'acct_' || n
FROM generate_series(1, %(accounts)s) AS n
"""

SPREAD = """
UPDATE customers SET business_pk = b.id, account = b.account,
       platform_stripe_customer_id = 'cus_' || 1 + (customers.id - 1) / %(accounts)s
FROM businesses b WHERE b.account = 'acct_' || 1 + (customers.id - 1) %% %(accounts)s
"""

THEIR_INVOICES = """
UPDATE invoices SET account = 'acct_' || 1 + (n - 1) %% %(accounts)s, invoice_id = 'in_' || 1 + (n - 1) / %(accounts)s,
       stripe_customer_id = 'cus_' || 1 + (n - 1) / %(accounts)s
FROM (SELECT invoice_id AS old, substr(invoice_id, 4)::int AS n FROM invoices) AS numbered WHERE invoice_id = old
"""

LET_IN = """
WITH let_in AS (
    INSERT INTO stripe_accounts (account, state, livemode, changed_at)
    SELECT 'acct_' || n, 'connected', false, now() - interval '1 day' FROM generate_series(1, %(accounts)s) AS n
    RETURNING account
)
INSERT INTO reconciliations (account, name, until)
SELECT account, name, now() - interval '5 minutes' FROM let_in, unnest(ARRAY['stripe', 'tried']) AS name
"""
"""Each was reconciled since it was let in: ten thousand accounts that are let in at once are ten thousand first turns, which is not what a
webhook costs."""


def let_in(billing: Any, accounts: int) -> None:
    """Let so many connected accounts in."""
    with billing.cursor() as cursor:
        cursor.execute(LET_IN, {"accounts": accounts})


def spread_over_accounts(portal: Any, accounts: int) -> None:
    """Give each of so many Stripe accounts a business and its share of the customers that `seed_portal` has made: in all accounts they
    have the same ids at Stripe, from `cus_1` and `in_1` on."""
    with portal.cursor() as cursor:
        for statement in (ACCOUNTS, SPREAD, THEIR_INVOICES):
            cursor.execute(statement, {"accounts": accounts})
        # As if what was changed had always been so.
        for table in TABLES:
            cursor.execute(f"VACUUM (FULL, ANALYZE) {table}")
        cursor.execute("ANALYZE businesses")
