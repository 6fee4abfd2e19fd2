"""The shapes of Stripe's events, as far as we read them.

A payload follows the *endpoint's* API version, not the library's, so both invoice shapes are read: up to
2025-02-24 (`invoice.subscription`) and since 2025-03-31.basil (`invoice.parent.subscription_details`). What is
not named here is skipped by the parser without being built, which is why this is cheap.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

Text = Annotated[str, msgspec.Meta(pattern=r"\A[^\x00-\x1f\x7f]{1,255}\Z")]
"""An id or a name: short and without control characters, which PostgreSQL and log lines can't take."""


class NotAnEvent(Exception):
    """The body is not a Stripe event at all: not UTF-8, not JSON, or without an id and a type."""


class Unreadable(Exception):
    """An event of a type that we handle, of a shape that we can't read. The text names the field."""


class Reference(msgspec.Struct, frozen=True):
    """An expanded object where an id is usual."""

    id: Text


Ref = Text | Reference


def ref_id(value: str | Reference | None) -> str | None:
    """The id, whether Stripe sent it plain or expanded."""
    return value.id if isinstance(value, Reference) else value


def moment(seconds: int | None) -> dt.datetime | None:
    """Stripe's seconds since the epoch as an aware UTC datetime."""
    if seconds is None:
        return None
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, ValueError, OSError):
        raise Unreadable(f"{seconds} is no moment") from None


class Metadata(msgspec.Struct, frozen=True):
    """The two keys that a host application may set to say whose a Stripe object is.

    Anybody's own use of these names is possible, so any text is read; `usable_id` tells which can be an id.
    """

    customer_id: str | None = None
    business_id: str | None = None


def usable_id(value: str | None) -> str | None:
    """The text if it can be an id of a host application: short and printable; else None."""
    value = (value or "").strip()
    return value if 0 < len(value) <= 255 and value.isprintable() else None


class SubscriptionDetails(msgspec.Struct, frozen=True):
    subscription: Ref | None = None


class InvoiceParent(msgspec.Struct, frozen=True):
    subscription_details: SubscriptionDetails | None = None


class StatusTransitions(msgspec.Struct, frozen=True):
    finalized_at: int | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """`invoice`, either shape."""

    id: Text
    customer: Ref
    status: Text
    currency: Text
    amount_due: int
    amount_remaining: int
    amount_paid: int = 0
    attempt_count: int = 0
    attempted: bool = False
    collection_method: Text = "charge_automatically"
    billing_reason: Text | None = None
    number: Text | None = None
    next_payment_attempt: int | None = None
    auto_advance: bool | None = None
    pre_payment_credit_notes_amount: int = 0
    status_transitions: StatusTransitions | None = None
    subscription: Ref | None = None
    parent: InvoiceParent | None = None

    @property
    def subscription_id(self) -> str | None:
        details = self.parent.subscription_details if self.parent else None
        return ref_id(self.subscription) or (ref_id(details.subscription) if details else None)


class InvoiceSettings(msgspec.Struct, frozen=True):
    default_payment_method: Ref | None = None


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """`customer`."""

    id: Text
    metadata: Metadata | None = None
    invoice_settings: InvoiceSettings | None = None


class DeletedCustomer(msgspec.Struct, frozen=True):
    """`customer` in `customer.deleted`: nothing but its id matters."""

    id: Text


class Recurring(msgspec.Struct, frozen=True):
    interval: str = ""
    interval_count: int = 1


class Price(msgspec.Struct, frozen=True):
    currency: str = ""
    unit_amount: int | None = None
    nickname: str | None = None
    recurring: Recurring | None = None


class SubscriptionItem(msgspec.Struct, frozen=True):
    price: Price | None = None
    quantity: int | None = None
    current_period_end: int | None = None


class SubscriptionItems(msgspec.Struct, frozen=True):
    data: tuple[SubscriptionItem, ...] = ()
    has_more: bool = False


class CancellationDetails(msgspec.Struct, frozen=True):
    reason: Text | None = None


class Subscription(msgspec.Struct, frozen=True, kw_only=True):
    """`subscription`. The period moved from here to the items with 2025-03-31.basil; both are read."""

    id: Text
    customer: Ref
    status: Text = "active"
    metadata: Metadata | None = None
    default_payment_method: Ref | None = None
    description: str | None = None
    cancel_at: int | None = None
    cancel_at_period_end: bool = False
    ended_at: int | None = None
    cancellation_details: CancellationDetails | None = None
    current_period_end: int | None = None
    items: SubscriptionItems = SubscriptionItems()

    @property
    def period_end(self) -> int | None:
        """The end of the current period; of several items' the earliest."""
        ends = [one.current_period_end for one in self.items.data if one.current_period_end]
        return self.current_period_end or min(ends, default=None)

    @property
    def name(self) -> str | None:
        """What it is called at Stripe, on one line; None where nobody gave it a name."""
        named = [one.price.nickname for one in self.items.data if one.price and one.price.nickname]
        text = " ".join((self.description or (named[0] if len(named) == 1 else "")).split())
        return text[:200] if text.isprintable() and text else None

    @property
    def recurring_price(self) -> tuple[int, str, Recurring] | None:
        """Amount, currency and interval where the items have one of each in common."""
        total, currency, recurring = 0, "", None
        for item in self.items.data:
            price = item.price
            if price is None or price.unit_amount is None or price.recurring is None:
                return None
            if recurring not in (None, price.recurring) or currency not in ("", price.currency):
                return None
            currency, recurring = price.currency, price.recurring
            total += price.unit_amount * (1 if item.quantity is None else item.quantity)
        if recurring is None or self.items.has_more:
            return None
        return total, currency, recurring


class CheckoutSession(msgspec.Struct, frozen=True, kw_only=True):
    """`checkout.session`; `customer` is null for a guest."""

    id: Text
    customer: Ref | None = None
    client_reference_id: str | None = None
    metadata: Metadata | None = None


class PaymentMethod(msgspec.Struct, frozen=True, kw_only=True):
    """`payment_method`; `customer` is null when nobody keeps it."""

    id: Text
    customer: Ref | None = None


class _Head(msgspec.Struct, frozen=True):
    """The envelope, lenient about everything but what makes it an event."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_\-]{1,255}\Z")]
    type: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.\-]{1,255}\Z")]
    created: Any = None
    livemode: Any = None
    api_version: Any = None
    account: Any = None
    request: Any = None
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Content(msgspec.Struct, frozen=True):
    object: msgspec.Raw
    previous_attributes: dict[str, msgspec.Raw] | None = None


class StripeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One Stripe event: the envelope parsed, the object still raw."""

    id: str
    type: str
    api_version: str | None
    livemode: bool | None
    account: str | None
    created: int | None
    idempotency_key: str | None
    """Of the request that caused the event, where there was one."""
    data: msgspec.Raw

    def occurred_at(self) -> dt.datetime:
        """When Stripe says it happened. Resolution is a second: never order by it."""
        at = moment(self.created)
        if at is None:
            raise Unreadable("the event has no `created`")
        return at

    def content(self) -> _Content:
        """The object and what changed on it; raises Unreadable."""
        return _decode(self.data, _Content, "data")


_head_decoder = msgspec.json.Decoder(_Head)


def parse_event(body: bytes | str) -> StripeEvent:
    """Read the envelope. Raises NotAnEvent when there is none; wrong optional fields are read as None."""
    try:
        head = _head_decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise NotAnEvent("the body is not a Stripe event") from None
    request = head.request if isinstance(head.request, dict) else {}
    return StripeEvent(
        id=head.id,
        type=head.type,
        api_version=_short_text(head.api_version),
        livemode=head.livemode if isinstance(head.livemode, bool) else None,
        account=_short_text(head.account),
        created=head.created if type(head.created) is int and abs(head.created) < 1 << 62 else None,
        idempotency_key=_short_text(request.get("idempotency_key")),
        data=head.data,
    )


def _short_text(value: Any) -> str | None:
    return value[:255].replace("\x00", "") if isinstance(value, str) else None


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode_object(raw: msgspec.Raw, shape: Any) -> Any:
    """The event's object in the given shape; raises Unreadable that names the field."""
    return _decode(raw, shape, "data.object")


def _decode(raw: msgspec.Raw, shape: Any, where: str) -> Any:
    decoder = _decoders.get(shape)
    if decoder is None:
        decoder = _decoders[shape] = msgspec.json.Decoder(shape)
    try:
        return decoder.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{where}: {error}") from None


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom and what an event is about, as far as it says so in the usual places: for looking back."""

    object_id: str | None = None
    """The invoice where one is named, else the event's object."""
    stripe_customer_id: str | None = None


class _AnyObject(msgspec.Struct, frozen=True):
    id: Any = None
    object: Any = None
    customer: Any = None
    invoice: Any = None


def subject_of(event: StripeEvent) -> Subject:
    """The event's subject; empty where its object can't be read. Never raises."""
    try:
        found: _AnyObject = decode_object(event.content().object, _AnyObject)
    except Unreadable:
        return Subject()
    own = _id_of(found.id)
    customer = own if found.object == "customer" else _id_of(found.customer)
    return Subject(_id_of(found.invoice) or own, customer)


def _id_of(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("id")
    return _short_text(value) or None
