"""The portal over RPC: whom to write to, and the links of a request to cancel. Answers are parsed here, at the edge."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from services.notifier.adapters.batched_fetch import aware
from services.notifier.domain.reminders import QuietHours, ReminderPolicy
from services.notifier.ports import (
    Business,
    CancellationLinks,
    Contact,
    Mode,
    Owner,
    PortalUnavailable,
    RequestClosed,
    UnknownCustomer,
)
from shared.contracts import rpc as contracts
from shared.contracts.accounts import (
    Account,
    Merchant,
    StripeCustomer,
    by_merchant,
    merchant_arguments,
    stripe_customer,
)
from shared.contracts.rpc import errors
from shared.contracts.rpc.base import UnreadableAnswer
from shared.contracts.rpc.errors import RemoteFault
from shared.nameko_ext.batching import Interrupted, Overloaded
from shared.nameko_ext.rpc import RpcTimeout, RpcUnavailable
from shared.nameko_ext.side_by_side import side_by_side
from shared.telemetry import get_logger

log = get_logger(__name__)

Portal = Any
"""The RPC proxy of the portal, as a worker has it."""


def fetch_contacts(
    portal: Portal, wanted: list[StripeCustomer]
) -> list[contracts.portal.Contact | None]:
    """The portal's answers about Stripe customers, those of one merchant in one call, and several calls at a time; None for one that it
    does not know."""
    answers: dict[StripeCustomer, contracts.portal.Contact] = {}

    def ask(of: tuple[Merchant, list[str]]) -> Mapping[str, contracts.portal.Contact]:
        merchant, ids = of
        return contracts.portal.CONTACTS.call(
            portal, stripe_customer_ids=ids, **merchant_arguments(*merchant)
        )

    asked = list(by_merchant(wanted).items())
    for (merchant, _), told in zip(asked, side_by_side(ask, asked), strict=True):
        answers |= {
            StripeCustomer(merchant.account, id, merchant.on_behalf_of): contact
            for id, contact in told.items()
        }
    return [answers.get(one) for one in wanted]


def ask_modes(portal: Portal, customers: Sequence[StripeCustomer]) -> list[Mode]:
    """How the businesses of these Stripe customers work, in their order. Raises PortalUnavailable."""
    asked = [
        {"account": one.account, "stripe_customer_id": one.id, "on_behalf_of": one.on_behalf_of}
        for one in customers
    ]
    with _portals_faults(UnknownCustomer):
        told = contracts.portal.OBSERVED.call(portal, stripe_customers=asked)
    if not len(customers) == len(told.observed) == len(told.live_since):
        raise PortalUnavailable("the portal's answer is not about all that it was asked for")
    return [
        Mode(observes, aware(live_since))
        for observes, live_since in zip(told.observed, told.live_since, strict=True)
    ]


class PortalOwners:
    """`Owners` over RPC to the portal."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def owners(
        self, stripe_customers: Collection[StripeCustomer], customer_ids: Collection[str]
    ) -> tuple[Mapping[StripeCustomer, Owner], Mapping[str, Owner]]:
        """See `Owners.owners`."""
        wanted = sorted(stripe_customers)
        by_stripe: dict[StripeCustomer, Owner] = {}
        by_ours: dict[str, Owner] = {}
        with _portals_faults(UnknownCustomer):
            for name, found in zip(wanted, fetch_contacts(self._portal, wanted), strict=True):
                if found is not None:
                    by_stripe[name] = _owner(found)
        for customer_id in sorted(customer_ids):
            with (
                suppress(UnknownCustomer),
                _portals_faults(UnknownCustomer, errors.UnknownCustomer, errors.NotFound),
            ):
                contact = contracts.portal.CONTACT.call(self._portal, customer_id=customer_id)
                by_ours[customer_id] = _owner(contact)
        return by_stripe, by_ours


def _owner(wire: contracts.portal.Contact) -> Owner:
    return Owner(wire.business.business_id, wire.external_id)


class PortalBusinesses:
    """`Businesses` over RPC to the portal."""

    def __init__(self, portal: Portal) -> None:
        self._portal = portal

    def business(self, business_id: str) -> Contact:
        """See `Businesses.business`."""
        with _portals_faults(UnknownCustomer, errors.NotFound):
            told = contracts.portal.BUSINESS_CONTACT.call(self._portal, business_id=business_id)
        return Contact(
            customer_id="",
            name="",
            email=None,
            locale=None,
            timezone=None,
            link="",
            platform=told.platform,
            business=_read_business(told.business),
        )


class PortalContacts(PortalBusinesses):
    """`Contacts` over RPC to the portal; those asked for at the same time share a call."""

    def __init__(
        self,
        portal: Portal,
        ask: Callable[[StripeCustomer], Callable[[], contracts.portal.Contact | None]],
    ) -> None:
        """`ask` begins `fetch_contacts` for one question, together with others (`EarlyFetch.ask`)."""
        super().__init__(portal)
        self._ask = ask

    def ask(self, stripe_customer: StripeCustomer) -> Callable[[], Contact]:
        """See `Contacts.ask`."""
        asked = self._ask(stripe_customer)

        def told() -> Contact:
            with _portals_faults(UnknownCustomer, errors.UnknownCustomer, errors.NotFound):
                answer = asked()
                if answer is None:
                    raise UnknownCustomer
                return _read_contact(answer)

        return told

    def contact(self, customer_id: str) -> Contact:
        """See `Contacts.contact`."""
        with _portals_faults(UnknownCustomer, errors.UnknownCustomer, errors.NotFound):
            answer = contracts.portal.CONTACT.call(self._portal, customer_id=customer_id)
            return _read_contact(answer)

    def cancellation_links(self, request_id: str) -> CancellationLinks:
        """See `Contacts.cancellation_links`."""
        with _portals_faults(RequestClosed, errors.RequestClosed, errors.NotFound):
            links = contracts.portal.CANCELLATION_LINKS.call(self._portal, request_id=request_id)
        return CancellationLinks(approve=links.approve, decline=links.decline)


@contextmanager
def _portals_faults(missing: type[Exception], *meant: type[errors.RpcError]) -> Iterator[None]:
    """The portal's faults as the ports know them: `meant` are `missing`, everything else can be asked again."""
    try:
        yield
    except RemoteFault as fault:
        if fault.means(*meant):
            raise missing from None
        raise PortalUnavailable(f"the portal failed: {fault.error}") from None
    except (RpcTimeout, RpcUnavailable, Overloaded, Interrupted) as error:
        raise PortalUnavailable(f"the portal does not answer: {type(error).__name__}") from None
    except UnreadableAnswer as error:
        raise PortalUnavailable(f"the portal's answer can't be read: {error}") from None


def _read_contact(wire: contracts.portal.Contact) -> Contact:
    return Contact(
        customer_id=wire.customer_id,
        name=wire.name,
        email=wire.email,
        locale=wire.locale,
        timezone=wire.timezone,
        link=wire.link,
        next_appointment=aware(wire.next_appointment),
        platform=wire.platform,
        disconnected=wire.disconnected,
        has_payments=wire.can_manage_billing,
        merged_ids=tuple(wire.merged_ids),
        stripe_customer=stripe_customer(
            Account(wire.account), wire.stripe_customer_id, wire.on_behalf_of
        ),
        business=_read_business(wire.business),
    )


def _read_business(wire: contracts.portal.ContactBusiness) -> Business:
    return Business(
        business_id=wire.business_id,
        name=wire.name,
        email=wire.email,
        phone=wire.phone,
        website=wire.website,
        logo_url=wire.logo_url,
        color=wire.color,
        locale=wire.locale or "en",
        timezone=wire.timezone or "UTC",
        sender_email=wire.sender_email,
        service_note=wire.service_note,
        charged_as=wire.charged_as,
        reminders=_policy(wire.reminder_policy),
        observed=wire.observed,
        live_since=aware(wire.live_since),
    )


def _policy(wire: contracts.portal.ReminderPolicy | None) -> ReminderPolicy:
    """The business's reminder policy; the default where the portal has none or says something unreadable."""
    if wire is None:
        return ReminderPolicy()
    quiet = None
    try:
        if wire.quiet_from and wire.quiet_until:
            quiet = QuietHours(
                dt.time.fromisoformat(wire.quiet_from), dt.time.fromisoformat(wire.quiet_until)
            )
    except ValueError:
        log.warning("quiet hours can't be read, writing at any hour")
    return ReminderPolicy(interval=dt.timedelta(days=wire.interval_days), quiet_hours=quiet)
