"""What the portal counts beyond what every service does. No label ever carries a token, a name or an address."""

from __future__ import annotations

from prometheus_client import Counter

LINK_CONFLICTS = Counter(
    "portal_link_conflicts_total",
    "Links between a customer and a Stripe customer that were refused",
    ["source"],
)
VISITS = Counter("portal_visits_total", "Visits of a customer's page", ["outcome"])
BILLING_OPENED = Counter(
    "portal_billing_opened_total", "Clicks on the way to Stripe's page", ["outcome"]
)
FRESH_LINKS = Counter("portal_fresh_links_total", "Fresh links asked for", ["outcome"])
