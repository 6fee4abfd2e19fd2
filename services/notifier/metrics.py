"""What the notifier counts. Labels are kinds and outcomes of small sets: never an address, a link, an id."""

from prometheus_client import Counter, Gauge

EMAILS = Counter(
    "portico_emails_sent_total", "Tries to send an email, by what came of them", ["kind", "outcome"]
)
PENDING = Gauge("portico_notifications_pending", "Notifications that wait to be sent")
OLDEST_DUE = Gauge(
    "portico_notifications_oldest_due_seconds",
    "How long the oldest notification that is due has waited",
)
WEBHOOKS = Counter("portico_sendgrid_webhooks_total", "Requests to the Event Webhook", ["outcome"])
FEEDBACK = Counter(
    "portico_sendgrid_events_total",
    "New events of SendGrid about our emails, by its word for them; `unreadable` and `failed` had no effect",
    ["event"],
)
