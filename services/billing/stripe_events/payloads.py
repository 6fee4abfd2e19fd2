"""The shapes of Stripe's events, as far as we read them.

A payload follows the *endpoint's* API version, not the library's, so both invoice shapes are read: up to
2025-02-24 (`invoice.subscription`) and since 2025-03-31.basil (`invoice.parent.subscription_details`). What is
not named here is skipped by the parser without being built, which is why this is cheap.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeVar

import msgspec

from services.billing.stripe_events.purposes import Lines, Purpose, purpose_of
from shared.contracts.accounts import OWN, Account, StripeId, outside_account
from shared.text import REPLACEMENT, clean, decode_json

# Shorter by the type that it gets in our own events' ids, which have to fit a column of 255.
Id = Annotated[str, msgspec.Meta(pattern=r"\A[!-~]{1,200}\Z")]
"""An id of Stripe's. In one that is longer or has other characters something is wrong."""
Word = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9_]{1,20}\Z")]
"""A state, an interval: one of a few words of Stripe's."""
LongWord = Annotated[str, msgspec.Meta(pattern=r"\A[a-z0-9_]{1,50}\Z")]
Currency = Annotated[str, msgspec.Meta(pattern=r"\A[a-z]{3}\Z")]
LARGEST: Final = (1 << 53) - 1
"""The largest whole number that every JSON parser reads exactly; no amount of money is larger."""
Amount = Annotated[int, msgspec.Meta(ge=-LARGEST, le=LARGEST)]
Count = Annotated[int, msgspec.Meta(ge=0, le=(1 << 31) - 1)]


class NotAnEvent(Exception):
    """The body is not a Stripe event at all: not UTF-8, not JSON, or without an id and a type."""


class Unreadable(Exception):
    """An event of a type that we handle, of a shape that we can't read. The text names the field."""


class Reference(msgspec.Struct, frozen=True):
    """An expanded object where an id is usual."""

    id: Id


Ref = Id | Reference


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
    """The keys that a host application may set to say whose a Stripe object is.

    Other tools write a `customer_id` too, so the names with our prefix count first. Anybody's own use of all of them is
    possible, so any text is read; `usable_id` tells which can be an id.
    """

    portico_customer_id: str | None = None
    portico_business_id: str | None = None
    customer_id: str | None = None
    business_id: str | None = None

    @property
    def names(self) -> tuple[str | None, str | None]:
        """The customer that is named, and the business whose own id that is."""
        for customer, business in (
            (self.portico_customer_id, self.portico_business_id),
            (self.customer_id, self.business_id),
        ):
            if usable_id(customer):
                return usable_id(customer), usable_id(business)
        return None, None

    def before(self, changed: Mapping[str, Any]) -> Metadata:
        """The same before a change, of which `previous_attributes.metadata` tells; null: the key was not there."""
        known = {
            name: value if isinstance(value, str) else None
            for name, value in changed.items()
            if name in self.__struct_fields__
        }
        return msgspec.structs.replace(self, **known)


def usable_id(value: str | None) -> str | None:
    """The text if it can be an id of a host application: short and printable; else None."""
    value = (value or "").strip()
    fits = 0 < len(value) <= 255 and value.isprintable() and REPLACEMENT not in value
    return value if fits else None


class SubscriptionDetails(msgspec.Struct, frozen=True):
    subscription: Ref | None = None


class InvoiceParent(msgspec.Struct, frozen=True):
    subscription_details: SubscriptionDetails | None = None


class StatusTransitions(msgspec.Struct, frozen=True):
    finalized_at: int | None = None


class Invoice(msgspec.Struct, frozen=True, kw_only=True):
    """`invoice`, either shape."""

    id: Id
    customer: Ref
    status: Word
    currency: Currency
    amount_due: Amount
    amount_remaining: Amount
    amount_paid: Amount = 0
    attempt_count: Count = 0
    attempted: bool = False
    collection_method: Word = "charge_automatically"
    on_behalf_of: Ref | None = None
    billing_reason: LongWord | None = None
    number: str | None = None
    next_payment_attempt: int | None = None
    auto_advance: bool | None = None
    pre_payment_credit_notes_amount: Amount = 0
    status_transitions: StatusTransitions | None = None
    default_payment_method: Ref | None = None
    default_source: Ref | None = None
    subscription: Ref | None = None
    parent: InvoiceParent | None = None
    lines: msgspec.Raw = msgspec.Raw(b"{}")
    description: Any = None
    customer_email: Any = None
    """As the customer's was when the invoice was finalized."""
    customer_name: Any = None

    @property
    def purpose(self) -> Purpose:
        """What it is for. Nothing that is wrong with its lines keeps an invoice from being read."""
        memo = self.description if isinstance(self.description, str) else None
        try:
            return purpose_of(decode(self.lines, Lines | None, "data.object") or Lines(), memo)
        except Unreadable:
            return purpose_of(Lines(), memo)

    @property
    def subscription_id(self) -> str | None:
        details = self.parent.subscription_details if self.parent else None
        return ref_id(self.subscription) or (ref_id(details.subscription) if details else None)


class AccountCustomer(msgspec.Struct, frozen=True):
    """Whose an object is, where that is an Account of Stripe's Accounts v2 and no Customer
    (https://docs.stripe.com/accounts-v2/use-accounts-as-customers)."""

    customer_account: Id
    customer: None = None


class InvoiceSettings(msgspec.Struct, frozen=True):
    default_payment_method: Ref | None = None


class Customer(msgspec.Struct, frozen=True, kw_only=True):
    """`customer`."""

    id: Id
    deleted: bool = False
    """Of an answer alone: then nothing but the id stands there."""
    email: Any = None
    name: Any = None
    preferred_locales: Any = None
    metadata: Metadata | None = None
    invoice_settings: InvoiceSettings | None = None
    default_source: Ref | None = None


class DeletedCustomer(msgspec.Struct, frozen=True):
    """`customer` in `customer.deleted`: nothing but its id matters."""

    id: Id


class CheckoutSession(msgspec.Struct, frozen=True, kw_only=True):
    """`checkout.session`; `customer` is null for a guest."""

    id: Id
    customer: Ref | None = None
    client_reference_id: str | None = None
    created: int | None = None


class PaymentMethod(msgspec.Struct, frozen=True, kw_only=True):
    """`payment_method`; `customer` is null when nobody keeps it."""

    id: Id
    customer: Ref | None = None


_INVOICE: Final = re.compile(r"in_[A-Za-z0-9_]{1,190}")
"""An id of an invoice, where anything may stand."""


class PaymentDetails(msgspec.Struct, frozen=True):
    order_reference: Any = None


class PaymentIntent(msgspec.Struct, frozen=True, kw_only=True):
    """`payment_intent`; `customer` is null for a guest."""

    id: Id
    currency: Currency
    amount: Amount
    customer: Ref | None = None
    on_behalf_of: Ref | None = None
    invoice: Ref | None = None
    payment_details: PaymentDetails | None = None

    @property
    def invoice_id(self) -> str | None:
        """The invoice that it pays; None: none, or it does not say."""
        return ref_id(self.invoice) or _ordered(self.payment_details)


def _ordered(details: PaymentDetails | None) -> str | None:
    """The invoice that a payment was made for. Since 2025-03-31.basil a payment intent has no `invoice`; those that Stripe makes
    for an invoice name it as the order's reference, which others may use for references of their own."""
    reference = details.order_reference if details else None
    return reference if isinstance(reference, str) and _INVOICE.fullmatch(reference) else None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """`card`, `bank_account` or `source`, of the API before payment methods; `customer` is null when nobody keeps it."""

    id: Id
    customer: Ref | None = None


THIN_EVENT: Final = "v2.core.event"
"""The `object` of a thin event."""


class _Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What is around the object, lenient about everything but what makes it an event."""

    id: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_\-]{1,200}\Z")]
    type: Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9_.\-]{1,255}\Z")]
    created: Any = None
    livemode: Any = None
    api_version: Any = None
    account: Any = None
    request: Any = None
    object: Any = None
    context: Any = None
    related_object: Any = None


class _Head(_Envelope, frozen=True, kw_only=True):
    """An event, whatever it holds."""

    data: msgspec.Raw = msgspec.Raw(b"null")


class _Content(msgspec.Struct, frozen=True):
    object: msgspec.Raw
    previous_attributes: dict[str, msgspec.Raw] | None = None


class _Snapshot(_Envelope, frozen=True, kw_only=True):
    """An event that holds an object where it should: read through once."""

    data: _Content


class StripeEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One Stripe event: the envelope parsed, the object still raw."""

    id: str
    type: str
    api_version: str | None
    livemode: bool | None
    account: Account
    created: int | None
    idempotency_key: str | None
    """Of the request that caused the event, where there was one: as we named it, without the account."""
    data: _Content | msgspec.Raw
    about: str | None = None
    """The id of what a thin event is about: it names that, and holds none of it; None in events that hold it (snapshots).
    https://docs.stripe.com/event-destinations#benefits-of-thin-events"""

    @property
    def name(self) -> StripeId:
        """Its whole name."""
        return StripeId(self.account, self.id)

    @property
    def thin(self) -> bool:
        """Whether it is a thin event, whose kind is another choice for an endpoint in Stripe's dashboard."""
        return self.about is not None

    def occurred_at(self) -> dt.datetime:
        """When Stripe says it happened. Resolution is a second: never order by it."""
        at = moment(self.created)
        if at is None:
            raise Unreadable("the event has no `created`")
        return at

    def content(self) -> _Content:
        """The object and what changed on it; raises Unreadable."""
        if isinstance(self.data, _Content):
            return self.data
        content: _Content = decode(self.data, _Content, "data")
        return content


_snapshot_decoder = msgspec.json.Decoder(_Snapshot)
_head_decoder = msgspec.json.Decoder(_Head)


def parse_event(body: bytes | str, account: Account = OWN) -> StripeEvent:
    """Read the envelope. `account`: whose event it is where the body names none, as those of an account's own endpoint and of its
    log don't. Raises NotAnEvent when there is none; wrong optional fields are read as None."""
    try:
        head = _read(body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise NotAnEvent("the body is not a Stripe event") from None
    request = head.request if isinstance(head.request, dict) else {}
    thin = head.object == THIN_EVENT
    named = _short_text(head.context if thin else head.account)
    account = Account(named) if named else account
    key = _short_text(request.get("idempotency_key"))
    return StripeEvent(
        id=head.id,
        type=head.type,
        api_version=_short_text(head.api_version),
        livemode=head.livemode if isinstance(head.livemode, bool) else None,
        account=account,
        created=_thin_created(head.created) if thin else _created(head.created),
        idempotency_key=outside_account(account, key) if key else None,
        data=head.data,
        about=(_id_of(head.related_object) or "") if thin else None,
    )


def _read(body: bytes | str) -> _Snapshot | _Head:
    try:
        return decode_json(_snapshot_decoder, body)
    except msgspec.ValidationError:  # a thin one, an odd one, or none at all
        return decode_json(_head_decoder, body)


def _created(value: Any) -> int | None:
    return value if type(value) is int and abs(value) < 1 << 62 else None


def _thin_created(value: Any) -> int | None:
    """Thin events write ISO 8601."""
    try:
        return int(dt.datetime.fromisoformat(value).timestamp())
    except (TypeError, ValueError, OverflowError):
        return None


def _short_text(value: Any) -> str | None:
    return value[:255] if isinstance(value, str) else None


Shape = TypeVar("Shape")

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


def decode_object(raw: msgspec.Raw, shape: type[Shape]) -> Shape:
    """The event's object in the given shape; raises Unreadable that names the field."""
    found: Shape = decode(raw, shape, "data.object")
    return found


def decode(raw: msgspec.Raw, shape: Any, where: str) -> Any:
    """Part of an event in the given shape; raises Unreadable that names the field, which is in `where`."""
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
    payment_details: Any = None


def subject_of(event: StripeEvent) -> Subject:
    """The event's subject; empty where its object can't be read. Never raises."""
    if event.thin:
        return Subject(event.about or None)
    try:
        found = decode_object(event.content().object, _AnyObject)
    except Unreadable:
        return Subject()
    own = _id_of(found.id)
    customer = own if found.object == "customer" else _id_of(found.customer)
    return Subject(_id_of(found.invoice) or _ordered_of(found) or own, customer)


def _ordered_of(found: _AnyObject) -> str | None:
    details = found.payment_details
    if found.object != "payment_intent" or not isinstance(details, dict):
        return None
    return _ordered(PaymentDetails(details.get("order_reference")))


def _id_of(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("id")
    return _short_text(value) or None


def attribute(value: Any, *path: str) -> Any:
    """The attribute at the end of the path, a text cleaned; None where anything on the way is absent."""
    for name in path:
        if value is None:
            return None
        value = getattr(value, name, None)
    return clean(value) if isinstance(value, str) else value
