"""What Stripe's objects tell of a customer as somebody who has an address, a name, a language, and pays by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from services.billing.stripe_events import payloads
from services.billing.stripe_events.drafts import EventDraft, dedupe_key
from services.billing.stripe_events.payloads import StripeEvent, decode_object, ref_id
from shared import events
from shared.contracts.accounts import Account

PAID, SAVED_METHOD, SUBSCRIBED = "paid", "saved_method", "subscribed"
PROFILE: Final = frozenset({"email", "name", "preferred_locales"})
"""What of a customer is told when it changes."""
LONGEST_NAME: Final = 200
LONGEST_EMAIL: Final = 512
LONGEST_LOCALE: Final = 20
BEGUN: Final = frozenset({"active", "trialing", "past_due", "unpaid", "paused"})
"""The states of a subscription that has begun. One whose first payment is still to come is `incomplete`: that it was paid is told
by its invoice, and anybody may leave it unpaid."""


def shown(text: Any, longest: int) -> str | None:
    """A text on one line, cut; None where nothing is left of it, or it is none: that keeps no event from being read."""
    return " ".join(text.split())[:longest].rstrip() or None if isinstance(text, str) else None


def profile_of(
    customer: payloads.Customer,
    pays: str | None,
    *,
    account: Account,
    livemode: bool,
    imported: bool = False,
) -> events.StripeCustomerSeen:
    """What a customer's own object tells."""
    if customer.deleted:
        return events.StripeCustomerSeen(
            stripe_customer_id=customer.id,
            deleted=True,
            imported=imported,
            account=account,
            livemode=livemode,
        )
    return events.StripeCustomerSeen(
        stripe_customer_id=customer.id,
        email=shown(customer.email, LONGEST_EMAIL),
        name=shown(customer.name, LONGEST_NAME),
        locale=shown(first_locale(customer), LONGEST_LOCALE),
        pays=pays,
        imported=imported,
        account=account,
        livemode=livemode,
    )


def first_locale(customer: payloads.Customer) -> Any:
    """The language that the customer likes best, as it stands there."""
    locales = customer.preferred_locales
    return locales[0] if isinstance(locales, list) and locales else None


def kept_default(customer: payloads.Customer) -> str | None:
    """What the customer is charged to by default, if anything."""
    settings = customer.invoice_settings
    return ref_id(settings.default_payment_method if settings else None) or ref_id(
        customer.default_source
    )


def customer_seen(
    event: StripeEvent, customer: payloads.Customer, changed: set[str], method: str | None
) -> Iterator[EventDraft]:
    """A customer is new, or something of its profile is, or what it is charged to by default (`method`)."""
    new = event.type.endswith(".created")
    if not new and method is None and PROFILE.isdisjoint(changed):
        return
    saved = method if not new else kept_default(customer)
    pays = SAVED_METHOD if saved else None
    data = profile_of(customer, pays, account=event.account, livemode=bool(event.livemode))
    yield EventDraft(data, dedupe_key(data, customer.id, event.id))


def paying_seen(
    event: StripeEvent,
    stripe_customer_id: str | None,
    pays: str,
    occasion: str,
    *,
    email: Any = None,
    name: Any = None,
    on_behalf_of: str = "",
) -> Iterator[EventDraft]:
    """A customer pays by itself, which another object than its own tells: with `email` and `name` as they stand there."""
    if not stripe_customer_id:
        return
    data = events.StripeCustomerSeen(
        stripe_customer_id=stripe_customer_id,
        email=shown(email, LONGEST_EMAIL),
        name=shown(name, LONGEST_NAME),
        pays=pays,
        on_behalf_of=on_behalf_of,
        account=event.account,
        livemode=bool(event.livemode),
    )
    yield EventDraft(data, dedupe_key(data, stripe_customer_id, pays, occasion))


def payment_method_attached(event: StripeEvent) -> Iterator[EventDraft]:
    """A payment method is kept for a customer. The address on it is its holder's, who may be somebody else: it is not told."""
    method = decode_object(event.content().object, payloads.PaymentMethod)
    yield from paying_seen(event, ref_id(method.customer), SAVED_METHOD, method.id)
