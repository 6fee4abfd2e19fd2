"""The portal's entrypoints: each opens its transaction, calls a handler and answers."""

from __future__ import annotations

from typing import Final

from babel import Locale
from sqlalchemy.orm import Session
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from services.portal import serializers as wire
from services.portal.adapters.billing import RpcBilling
from services.portal.domain.subscribed import to_ask_about
from services.portal.handlers import appointments as visits
from services.portal.handlers import customers, existing, resolved_links
from services.portal.handlers.customers import ContactDetails, LinkOf
from services.portal.handlers.resolved_links import ResolvedLink
from services.portal.metrics import LINK_CONFLICTS, VISITS
from services.portal.rpc.api_keys import ApiKeys
from services.portal.rpc.enrolment import Enrolling
from services.portal.rpc.events import Hearing
from services.portal.rpc.linking import Linking
from services.portal.rpc.modes import Modes
from services.portal.rpc.operations import Operations
from services.portal.rpc.recipients import Recipients
from services.portal.web import views
from services.portal.web.api.appointments import ApiAppointments
from services.portal.web.api.businesses import ApiBusinesses
from services.portal.web.api.customers import ApiCustomers
from services.portal.web.api.erasing import ApiErasing
from services.portal.web.api.events import ApiEvents
from services.portal.web.api.incidents import ApiIncidents
from services.portal.web.api.links import ApiLinks
from services.portal.web.api.payments import ApiPayments
from services.portal.web.api.webhooks import ApiWebhooks
from services.portal.web.billing_sync import Learning
from services.portal.web.calendars import appointment_file
from services.portal.web.cancellations import Cancelling
from services.portal.web.clicks import Clicks
from services.portal.web.connecting import Connecting
from services.portal.web.entrypoints import (
    RETRY_AFTER_SECONDS,
    PageNotFound,
    link_required,
)
from services.portal.web.responses import answer, locale_for, parse_source
from services.portal.workflows.business_accounts import check_account
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account, Merchant, StripeCustomer
from shared.contracts.rpc.errors import InvalidArgument, LinkInvalid, StripeCustomerConflict
from shared.contracts.rpc.portal import (
    AppointmentArgument,
    AppointmentCounts,
    BusinessArguments,
    BusinessContact,
    BusinessReference,
    Contact,
    CustomerArguments,
    CustomerSnapshot,
    Link,
    UpsertedCustomer,
)
from shared.database import DatabaseUnavailable
from shared.l10n.locales import SOURCE
from shared.nameko_ext.batching import Batched
from shared.nameko_ext.http_answers import Reply
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.rpc import audited_rpc, rpc
from shared.telemetry import get_logger

log = get_logger(__name__)

MOST_CONTACTS: Final = 500
_SHOWN: Final = VISITS.labels("ok")


def _contacts(session: Session, asked: list[customers.Asked]) -> list[ContactDetails | None]:
    return customers.contacts(session, asked, utc_now())


class Api(
    ApiBusinesses,
    ApiCustomers,
    ApiErasing,
    ApiAppointments,
    ApiLinks,
    ApiPayments,
    ApiIncidents,
    ApiEvents,
    ApiWebhooks,
):
    """The HTTP API for host applications."""


class PortalService(
    Operations,
    Hearing,
    Linking,
    Enrolling,
    ApiKeys,
    Modes,
    Recipients,
    Api,
    Clicks,
    Cancelling,
    Connecting,
    Learning,
):
    """The customer's side of Portico."""

    name = "portal"

    person = Batched("contacts", _contacts, reads=True)

    # Pages. A GET never does anything: mail scanners and link previews fetch links. The one that does is Stripe's answer to a
    # business that connects its account (`Connecting`).

    @link_required("GET", "/me/<token>")
    def page(self, request: HttpRequest, visit: ResolvedLink) -> Reply:
        """The customer's page."""
        now = utc_now()
        _SHOWN.inc()
        came_from = parse_source(request.args.get("from"))
        self.looks.add(visit.snapshot.customer_id, now, from_mail=came_from is not None)
        view = views.MeView(
            snapshot=visit.snapshot,
            notice=resolved_links.notice_for(visit.snapshot, now),
            token=visit.token,
            locale=locale_for(request, visit),
            now=now,
            came_from=came_from,
            updating=request.args.get("updates") != "off",
            platform=self.wiring.platform,
        )
        if self.shown.add(to_ask_about(visit.snapshot, now), now):
            self.wake_prices()
        return answer(views.me(view, session_origins=self.wiring.session_origins))

    @link_required("GET", "/me/<token>/appointments/<int:ref>.ics")
    def calendar_file(self, request: HttpRequest, visit: ResolvedLink, ref: int) -> Reply:
        """One appointment for the customer's own calendar."""
        body = appointment_file(visit.snapshot, ref, utc_now())
        if body is None:
            raise PageNotFound
        response = Response(body, content_type="text/calendar; charset=utf-8")
        response.headers["Content-Disposition"] = 'attachment; filename="appointment.ics"'
        return response

    @staticmethod
    def error_page(request: HttpRequest, error: HTTPException) -> Reply | None:
        """What a request for an unknown address gets."""
        if error.code != 404:
            return None
        return answer(views.page_not_found(locale_for(request)), 404)

    @staticmethod
    def failure_page(error: Exception) -> Reply:
        """What a request gets that failed in our house."""
        page = views.server_error(Locale.parse(SOURCE))
        if isinstance(error, DatabaseUnavailable):
            return answer(page, 503, Retry_After=str(RETRY_AFTER_SECONDS))
        return answer(page, 500)

    # What the host application and the other services ask for.

    @rpc
    def upsert_business(self, business: BusinessArguments) -> BusinessReference:
        """Make or change a business, by the host's own id. What is omitted stays as it is, null clears it.

        InvalidArgument for a Stripe account that Portico isn't connected to or that another business has, and for another one
        than before while customers are linked, unless `release_links`.
        """
        check_account(self.db, RpcBilling(self.billing), business)
        made = self._write(lambda session: customers.upsert_business(session, business, utc_now()))
        self.wake_rights()
        self.wake_relay()
        return BusinessReference(business_id=made)

    @rpc
    def upsert_customer(self, customer: CustomerArguments) -> UpsertedCustomer:
        """Make or change a customer, by the host's own id. What is omitted stays as it is, null clears it. Another Stripe id than
        before replaces it, and whatever Stripe's metadata says (`link_customer`).

        StripeCustomerConflict, with nothing written, when you have given the Stripe id to another customer. NotFound: the
        business.
        """
        try:
            made = self._write(
                lambda session: customers.upsert_customer(session, customer, utc_now())
            )
        except StripeCustomerConflict:
            LINK_CONFLICTS.labels("rpc").inc()
            log.warning(
                "link refused",
                stripe_customer_id=customer.platform_stripe_customer_id,
                business_id=customer.business_id,
                external_id=customer.external_id,
            )
            raise
        self.wake_relay()
        return made

    @rpc
    def upsert_appointments(
        self, customer_id: str, appointments: list[AppointmentArgument]
    ) -> AppointmentCounts:
        """Make or change a customer's appointments, by the host's own ids, at most 500. Others stay as they are, and so does what
        is omitted of these; null clears it."""
        return self._write(
            lambda session: visits.upsert_appointments(
                session, customer_id=customer_id, given=appointments, now=utc_now()
            )
        )

    @rpc
    def link(self, customer_id: str) -> Link:
        """The customer's current link. It is a secret: mail it to the customer, log it nowhere."""
        with self.db.reading() as session:
            found = customers.link_of(session, customer_id=customer_id)
        return self._link(found)

    @audited_rpc("customer_id")
    def rotate_link(self, customer_id: str) -> Link:
        """Revoke the customer's links and make a new one."""
        with self.db.transaction() as session:
            found = customers.rotate_link(session, customer_id=customer_id, now=utc_now())
        return self._link(found)

    @rpc
    def lookup(self, token: str) -> CustomerSnapshot:
        """Whose link it is, with appointments and what is owed."""
        claim = resolved_links.read_claim(self.wiring.links, token)
        if claim is None:
            raise LinkInvalid("the link is not valid")
        return wire.snapshot(resolved_links.current(self._snapshot(claim), claim), utc_now())

    @rpc
    def contact(
        self,
        stripe_customer_id: str | None = None,
        customer_id: str | None = None,
        account: str = OWN,
        on_behalf_of: str = "",
    ) -> Contact:
        """Whom to write to, with their link and their business. Give one of a Stripe customer's id and Portico's own. On a platform's
        account one Stripe customer may be a customer of several businesses: `on_behalf_of` says of which."""
        merchant = Merchant(Account(account), on_behalf_of)
        asked = customers.asked_for(merchant, stripe_customer_id, customer_id)
        return self._contact(customers.known(self.person(asked)))

    @rpc
    def contacts(
        self, stripe_customer_ids: list[str], account: str = OWN, on_behalf_of: str = ""
    ) -> dict[str, Contact]:
        """The same for many Stripe customers at once, by their ids; those that are unknown are left out. At most
        500."""
        if len(stripe_customer_ids) > MOST_CONTACTS:
            raise InvalidArgument(f"stripe_customer_ids: expected at most {MOST_CONTACTS}")
        with self.db.reading() as session:
            found = customers.contacts(
                session,
                [
                    customers.Asked(StripeCustomer(Account(account), one, on_behalf_of))
                    for one in stripe_customer_ids
                ],
                utc_now(),
            )
        return {
            stripe_id: self._contact(person)
            for stripe_id, person in zip(stripe_customer_ids, found, strict=True)
            if person is not None
        }

    @rpc
    def business_contact(self, business_id: str) -> BusinessContact:
        """A business by the host's id, to be written to about itself."""
        with self.db.reading() as session:
            row = existing.business(session, business_id)
            return wire.business_contact(row, self.wiring.platform, self.wiring.observes)

    def _contact(self, person: ContactDetails) -> Contact:
        token = self.wiring.links.token(person.customer_id, person.link_generation)
        return wire.contact(
            person, self.wiring.links.url(token), self.wiring.platform, self.wiring.observes
        )

    def _link(self, found: LinkOf) -> Link:
        token = self.wiring.links.token(found.customer_id, found.generation)
        return Link(
            customer_id=found.customer_id,
            url=self.wiring.links.url(token),
            token=token,
            generation=found.generation,
        )
