"""The notifier's methods for webhooks to hosts, which the portal's HTTP API and people's command line call.

Where one takes `business_id`, an endpoint of somebody else's is one that does not exist; null: any endpoint.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Literal

import msgspec

from shared.contracts.rpc.base import Answer, Method, SecretAnswer, one_of, spelled
from shared.contracts.rpc.errors import NotFound

HookEventType = Literal[
    "invoice.payment_failed",
    "invoice.payment_action_required",
    "invoice.paid",
    "invoice.voided",
    "invoice.marked_uncollectible",
    "invoice.updated",
    "customer.deleted",
    "customer.payment_method_changed",
    "customer.link_changed",
    "customer.link_refused",
    "subscription.updated",
    "subscription.cancellation_scheduled",
    "subscription.ended",
    "notification.undeliverable",
    "webhook_endpoint.disabled",
]
"""What an endpoint may subscribe to."""
TEST_TYPE: Final = "webhook_endpoint.test"
"""What an endpoint is tried with. Each gets its own, whatever it subscribes to."""
EventTypes = Annotated[list[HookEventType], msgspec.Meta(max_length=50)]
ENDPOINT_ID: Final = "whe_[A-Za-z0-9_-]{1,36}"
EndpointId = Annotated[str, spelled(ENDPOINT_ID, "the id of a webhook endpoint, whe_…")]
RequestId = Annotated[str, spelled("[0-9a-f]{64}", "a SHA-256 in hexadecimal")]
"""What a caller makes up of a request, and gives again when it repeats it."""


class WebhookEndpoint(SecretAnswer, frozen=True, kw_only=True):
    """Where a host hears of events. Its URL may hold a secret."""

    endpoint_id: str
    """`whe_…`."""
    business_id: str | None = None
    """The host's own id of the business whose events it hears; null: the installation's, which hears all."""
    url: str
    event_types: list[str]
    """Empty: all."""
    enabled: bool
    disabled_because: Annotated[str, one_of("by_hand", "gone", "failing")] | None = None
    """`gone`: it answered 410. `failing`: all has failed for five days."""
    disabled_at: dt.datetime | None = None
    created_at: dt.datetime
    rotated_at: dt.datetime | None = None
    """When its secret was changed last."""
    failing_since: dt.datetime | None = None
    """null: the last attempt worked, or there was none."""


class WebhookSecret(SecretAnswer, frozen=True, kw_only=True):
    """An endpoint with the secret that its webhooks are signed with. It is shown this once."""

    secret: str
    """`whsec_…`, as the libraries of Standard Webhooks take it."""
    about: WebhookEndpoint


class DeletedWebhookEndpoint(Answer, frozen=True, kw_only=True):
    """An endpoint that is not there any more."""

    endpoint_id: str
    deleted: bool = True


class WebhookAttempt(Answer, frozen=True, kw_only=True):
    """One request to an endpoint. What was answered beside the status is not kept."""

    attempt_id: int
    endpoint_id: str
    event_id: str
    """The event's `id` in the body, and the header `webhook-id`: `evh_…`."""
    type: str
    at: dt.datetime
    status: int | None = None
    """The HTTP status; null: there was no whole answer."""
    milliseconds: int
    error: str | None = None
    """Why it counts as failed: `http_500`, `timeout`, `tls`, `refused_address`, …; `observed`: nothing was sent, since the business was not live; null: it was delivered."""
    delivery_status: Annotated[str, one_of("pending", "delivered", "failed", "observed")] | None = (
        None
    )
    """How the delivery stands now. `observed`: it was not sent, since the business was not live; it can be replayed."""
    next_try_at: dt.datetime | None = None
    """When it is tried again, where it is."""


class SentWebhooks(Answer, frozen=True, kw_only=True):
    """What goes out once more, or for the first time, as soon as there is room."""

    endpoint_id: str
    count: int
    """How many events."""
    event_id: str | None = None
    """The one, where one was asked for."""


CHANGE_WEBHOOK_ENDPOINT: Final = Method("notifier", "change_webhook_endpoint", WebhookEndpoint, (NotFound,))  # fmt: skip
CREATE_WEBHOOK_ENDPOINT: Final = Method("notifier", "create_webhook_endpoint", WebhookSecret, (NotFound,))  # fmt: skip
DELETE_WEBHOOK_ENDPOINT: Final = Method("notifier", "delete_webhook_endpoint", DeletedWebhookEndpoint, (NotFound,))  # fmt: skip
REPLAY_WEBHOOKS: Final = Method("notifier", "replay_webhooks", SentWebhooks, (NotFound,))
ROTATE_WEBHOOK_SECRET: Final = Method("notifier", "rotate_webhook_secret", WebhookSecret, (NotFound,))  # fmt: skip
TEST_WEBHOOK_ENDPOINT: Final = Method("notifier", "test_webhook_endpoint", SentWebhooks, (NotFound,))  # fmt: skip
WEBHOOK_ATTEMPTS: Final = Method("notifier", "webhook_attempts", list[WebhookAttempt], (NotFound,))
WEBHOOK_ENDPOINT: Final = Method("notifier", "webhook_endpoint", WebhookEndpoint, (NotFound,))
WEBHOOK_ENDPOINTS: Final = Method(
    "notifier", "webhook_endpoints", list[WebhookEndpoint], (NotFound,)
)
