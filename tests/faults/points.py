"""The points between two side effects at which a service can be made to die."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Arguments = tuple[Any, ...]


def _always(arguments: Arguments, result: Any) -> bool:
    return True


def _some(arguments: Arguments, result: Any) -> bool:
    """Not an idle round."""
    return bool(result)


def _a_batch(arguments: Arguments, result: Any) -> bool:
    return bool(arguments[1])


def _a_round_with_events(arguments: Arguments, result: Any) -> bool:
    return bool(result.published)


def _an_event(arguments: Arguments, result: Any) -> bool:
    return any(
        str(message.delivery_info.get("exchange")).endswith(".events") for message in arguments[1]
    )


@dataclass(frozen=True)
class Point:
    """Die before or after a function, if the call is one that matters."""

    service: str
    module: str
    function: str
    before: bool
    matters: Callable[[Arguments, Any], bool] = _always


POINTS = {
    "before the insert": Point(
        "billing", "services.billing.handlers.inbox", "store_webhooks", True
    ),
    "after the insert, before the commit": Point(
        "billing", "services.billing.handlers.inbox", "store_webhooks", False
    ),
    "after the commit, before the 200": Point(
        "billing", "services.billing.service", "BillingService.stripe_webhook", False
    ),
    "before the publish": Point(
        "billing", "shared.nameko_ext.publisher", "BatchPublisher.publish_batch", True, _a_batch
    ),
    "after the publish, before the mark": Point(
        "billing", "shared.nameko_ext.publisher", "BatchPublisher.publish_batch", False, _a_batch
    ),
    "after the mark, before the commit": Point(
        "billing", "shared.outbox", "Outbox.relay", False, _a_round_with_events
    ),
    "before the effect": Point(
        "notifier", "services.notifier.handlers.events", "handle_invoices", True
    ),
    "after the effect, before the commit": Point(
        "notifier", "services.notifier.handlers.events", "handle_invoices", False
    ),
    "after the commit, before the ack": Point(
        "notifier", "shared.nameko_ext.consumer", "SafeQueueConsumer.ack_messages", True, _an_event
    ),
    "after the lease": Point("notifier", "services.notifier.workflows.sending", "send_one", True),
    "marked “about to post”, before the post": Point(
        "notifier", "services.notifier.adapters.sendgrid.gateway", "SendGridMailer.send", True
    ),
    "after SendGrid’s 202, before the record": Point(
        "notifier", "services.notifier.adapters.sendgrid.gateway", "SendGridMailer.send", False
    ),
    "after the record": Point("notifier", "services.notifier.workflows.sending", "send_one", False),
    "SendGrid’s webhook, before its commit": Point(
        "notifier", "services.notifier.handlers.feedback", "handle", False, _some
    ),
    "the page’s notice, before the commit": Point(
        "portal", "services.portal.handlers.events", "handle_invoices", False
    ),
    "the page’s notice, before the ack": Point(
        "portal", "shared.nameko_ext.consumer", "SafeQueueConsumer.ack_messages", True, _an_event
    ),
}

RECOVERY_POINTS = {
    "the change is written, before Stripe is asked": Point(
        "billing", "services.billing.workflows.recovery", "_Recovery.run", True
    ),
    "the try is written, before the payment": Point(
        "billing", "services.billing.adapters.stripe.gateway", "StripeGateway.pay", True
    ),
    "after the payment, before the record": Point(
        "billing", "services.billing.adapters.stripe.gateway", "StripeGateway.pay", False
    ),
    "after the record, before the change is closed": Point(
        "billing", "services.billing.queries.payment_method_changes", "close_change", True
    ),
    "after the change is closed, before the ack": Point(
        "billing", "shared.nameko_ext.consumer", "SafeQueueConsumer.ack_messages", True, _an_event
    ),
}
"""Where a new card is tried."""
