"""What the notifier counts. Labels are kinds and outcomes of small sets: never an address, a link, an id."""

from prometheus_client import Counter, Gauge

EMAILS = Counter(
    "portico_emails_sent_total", "Tries to send an email, by what came of them", ["kind", "outcome"]
)
PENDING = Gauge("portico_notifications_pending", "Notifications that wait to be sent")
OLDEST_DUE = Gauge(
    "portico_notifications_oldest_due_seconds",
    "How long the oldest notification that is due, or was tried in vain, has waited",
)
HOOK_ATTEMPTS = Counter(
    "portico_hook_attempts_total",
    "Webhooks to hosts tried, by what followed: delivered, retried, gave_up, failed (for a delivery that is somebody else's by now)",
    ["outcome"],
)
HOOKS_PENDING = Gauge(
    "portico_hooks_pending", "Webhooks that wait to be sent to endpoints that work"
)
HOOKS_OLDEST_DUE = Gauge(
    "portico_hooks_oldest_due_seconds",
    "How long the oldest webhook that is due at an endpoint that works has waited",
)
HOOKS_SWITCHED_OFF = Counter(
    "portico_hook_endpoints_switched_off_total",
    "Endpoints that were switched off because they don't work",
    ["reason"],
)
HOOK_ENDPOINTS_OFF = Gauge(
    "portico_hook_endpoints_off", "Endpoints that are off because they didn't work"
)
WEBHOOKS = Counter("portico_sendgrid_webhooks_total", "Requests to the Event Webhook", ["outcome"])
FEEDBACK = Counter(
    "portico_sendgrid_events_total",
    "New events of SendGrid about our emails, by its word for them; `unreadable` and `failed` had no effect",
    ["event"],
)
