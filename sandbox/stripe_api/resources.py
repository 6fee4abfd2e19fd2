"""Importing this registers every route, what falls due, and what an expanded object shows."""

# ruff: noqa: F401

from sandbox.stripe_api import (
    account,
    account_settings,
    catalogue,
    checkout,
    collection,
    controls,
    credit_notes,
    customers,
    discounts,
    disputes,
    events,
    invoice_items,
    invoices,
    payment_intents,
    payment_methods,
    portal,
    portal_configurations,
    refunds,
    setup_intents,
    sources,
    subscription_cycle,
    subscription_invoices,
    subscription_items,
    subscriptions,
    test_clocks,
    thin_events,
    usage,
    webhook_endpoints,
)
