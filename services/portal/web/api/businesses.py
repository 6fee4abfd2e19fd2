"""`/api/v1/businesses`."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from services.portal import serializers
from services.portal.adapters.billing import RpcBilling
from services.portal.handlers import customers, existing, host_lists
from services.portal.handlers.business_accounts import wanted_account
from services.portal.models import merchant_of
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from services.portal.web.api.problems import Refused
from services.portal.workflows.business_accounts import check_account
from shared.contracts.host_api import Business, BusinessPage, PageArguments
from shared.contracts.rpc.portal import BusinessArguments, BusinessReference
from shared.nameko_ext.loops import Waker


class ApiBusinesses(ApiEntrypoints):
    """Routes about businesses."""

    wake_rights = Waker("learn_rights")

    @route(
        "POST",
        "/businesses",
        "businesses:write",
        body=BusinessArguments,
        answer=BusinessReference,
        asks="_known_account",
    )
    def api_upsert_business(self, session: Session, call: Call) -> Reply:
        """Make or change a business, by your own id. A new one needs its `name`; what is omitted of one that is there stays as it is, null
        clears it. Only a key of the installation makes one, says from which address emails come (all businesses' domains are authenticated in one SendGrid account), on which
        Stripe account it is, or that its customers are enrolled from there."""
        if call.alone:
            _keep_sender(session, call.given)
            _keep_account(session, call.given)
            _keep_enrolment(session, call.given)
        made = customers.upsert_business(session, call.given, call.now, change_only=call.alone)
        call.after.append(self.wake_rights)
        return Reply(BusinessReference(business_id=made))

    def _known_account(self, session: Session, call: Call) -> Callable[[], object]:
        """Whether Portico works on the account; who speaks for one business alone is refused whatever account it names."""
        if call.alone:
            return lambda: None
        return lambda: check_account(self.db, RpcBilling(self.billing), call.given)

    @route("GET", "/businesses", "businesses:read", query=PageArguments, answer=BusinessPage)
    def api_list_businesses(self, session: Session, call: Call) -> Reply:
        """List the businesses that the key may see."""
        rows, more = host_lists.businesses(session, call.given, call.credential.business_id)
        data = [serializers.business(row, self.wiring.observes) for row in rows]
        return Reply(BusinessPage(data=data, has_more=more))

    @route("GET", "/businesses/<path:business_id>", "businesses:read", answer=Business)
    def api_get_business(self, session: Session, call: Call) -> Reply:
        """A business, by your own id."""
        row = existing.business(session, call.values["business_id"])
        return Reply(serializers.business(row, self.wiring.observes))


def _keep_account(session: Session, given: BusinessArguments) -> None:
    """Raises Refused when the business would be on another Stripe account than it is: it could be another business's."""
    row = existing.business(session, given.business_id)
    if wanted_account(given, row) != merchant_of(row):
        raise Refused(
            "installation_key_required",
            "stripe_account, on_behalf_of: only a key of the installation says these.",
        )


def _keep_enrolment(session: Session, given: BusinessArguments) -> None:
    """Raises Refused when the business would enrol where it doesn't: the account may be one that other businesses share."""
    row = existing.business(session, given.business_id)
    if given.enrolment == "from_stripe" != row.enrolment:
        raise Refused(
            "installation_key_required",
            "enrolment: only a key of the installation says from_stripe.",
        )


def _keep_sender(session: Session, given: BusinessArguments) -> None:
    """Raises Refused when the business would send from another address than it does."""
    wish = given.sender_email
    if not isinstance(wish, str):
        return
    if wish.strip() != existing.business(session, given.business_id).sender_email:
        raise Refused(
            "installation_key_required", "sender_email: only a key of the installation says this."
        )
