"""What the portal counts beyond what every service does. No label ever carries a token, a name or an address."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

LINK_CONFLICTS = Counter(
    "portico_portal_link_conflicts_total",
    "Links between a customer and a Stripe customer that were refused",
    ["source"],
)
LINK_EVIDENCE = Counter(
    "portico_portal_link_evidence_total",
    "Evidence of whose a Stripe customer is, by who says it and what became of it",
    ["source", "outcome"],
)
LINK_CHANGES = Counter(
    "portico_portal_link_changes_total",
    "Customers that were linked with a Stripe customer, with another one, or no more, by whose word",
    ["source", "change"],
)
VISITS = Counter("portico_portal_visits_total", "Visits of a customer's page", ["outcome"])
BILLING_OPENED = Counter(
    "portico_portal_billing_opened_total", "Clicks on the way to Stripe's page", ["outcome"]
)
FRESH_LINKS = Counter("portico_portal_fresh_links_total", "Fresh links asked for", ["outcome"])
CONFIRMATIONS = Counter(
    "portico_portal_confirmations_total",
    "Clicks on the way to Stripe's page of one invoice",
    ["outcome"],
)
CONFIGURATION_MISSING = Counter(
    "portico_portal_configuration_missing_total",
    "Clicks and checks that failed because Stripe does not know the portal configuration: customers can't get in",
    ["source"],
)
CANCELLATIONS = Counter(
    "portico_portal_cancellation_requests_total",
    "Requests to cancel a subscription, by what became of them",
    ["outcome"],
)
ERRANDS = Counter(
    "portico_portal_cancellation_steps_total",
    "Steps done for requests to cancel",
    ["step", "outcome"],
)
REQUESTS_WAITING = Gauge(
    "portico_portal_cancellation_requests_waiting",
    "Requests to cancel for which a step of ours is due",
)
REQUESTS_AGE = Gauge(
    "portico_portal_cancellation_requests_oldest_age_seconds", "How old the oldest of them is"
)
CONNECTIONS = Counter(
    "portico_portal_connections_total",
    "Businesses that came back from Stripe's page for connecting an account, by what came of it",
    ["outcome"],
)
