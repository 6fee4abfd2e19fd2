"""What a customer does on the page: look, go to Stripe's page, ask for a fresh link."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from sqlalchemy.orm import Session

from services.portal.domain.activity import click
from services.portal.domain.notice import Notice, make_notice
from services.portal.domain.people import FRESH_LINK_EVERY
from services.portal.domain.snapshot import Snapshot
from services.portal.ports import BillingPages
from services.portal.queries import activity as log
from services.portal.queries import aliases, page
from services.portal.queries import customers as people
from services.portal.tokens.links import Claim, Links
from services.portal.tokens.signing import BadToken
from shared.contracts.rpc.errors import LinkInvalid, LinkReplaced
from shared.mode import OBSERVE
from shared.retention import BATCH

FROM_FAILED_PAYMENT: Final = "payment_failed"
FROM_ACTION_REQUIRED: Final = "payment_action_required"
CAME_FROM: Final = (FROM_FAILED_PAYMENT, FROM_ACTION_REQUIRED)
"""What links in our e-mails say in `?from=`."""


KEEP_VISITS: Final = dt.timedelta(days=90)
"""How long it is known what customers did on the page."""


@dataclass(frozen=True, slots=True)
class ResolvedLink:
    """A customer found by their link. `current`: the link is of the present generation."""

    snapshot: Snapshot
    current: bool
    token: str


def read_claim(links: Links, token: str) -> Claim | None:
    """What a token says, without touching the database; None when it is not one of ours."""
    try:
        return links.read(token)
    except BadToken:
        return None


def look_many(
    session: Session, public_ids: Sequence[str], now: dt.datetime
) -> list[Snapshot | None]:
    """The customers with these public ids, in their order; None for one that is gone. Who was merged is the one that they were merged
    into, with the generation that links under the old id must have."""
    found = page.lookup_many(session, public_ids, now)
    leads = aliases.targets(session, set(public_ids) - found.keys())
    if leads:
        merged = page.lookup_many(session, sorted({one.customer_id for one in leads.values()}), now)
        found |= {
            old: replace(merged[one.customer_id], link_generation=one.link_generation)
            for old, one in leads.items()
            if one.customer_id in merged
        }
    return [found.get(public_id) for public_id in public_ids]


def as_installed(snapshot: Snapshot, installation_observes: bool) -> Snapshot:
    """The customer as the installation works: where it observes, so does every business."""
    if not installation_observes:
        return snapshot
    return replace(snapshot, business=replace(snapshot.business, mode=OBSERVE))


def visit(snapshot: Snapshot | None, claim: Claim, token: str) -> ResolvedLink | None:
    """The visit that a token claims; None when the customer is gone."""
    if snapshot is None:
        return None
    return ResolvedLink(snapshot, claim.generation == snapshot.link_generation, token)


def current(snapshot: Snapshot | None, claim: Claim) -> Snapshot:
    """The same for another service: raises LinkInvalid or LinkReplaced."""
    if snapshot is None:
        raise LinkInvalid("the link is not valid")
    if claim.generation != snapshot.link_generation:
        raise LinkReplaced("a newer link took this one's place")
    return snapshot


def notice_for(snapshot: Snapshot, now: dt.datetime) -> Notice:
    """What the page says to this customer about money."""
    return make_notice(
        snapshot.invoices,
        now=now,
        billing_opened_at=snapshot.billing_opened_at,
        method_changed_at=snapshot.method_changed_at,
        observed=snapshot.business.observed,
        live_since=snapshot.business.live_since,
        subscriptions=snapshot.subscriptions,
    )


def open_billing(
    pages: BillingPages, snapshot: Snapshot, *, return_url: str, came_from: str | None, locale: str
) -> str:
    """The address of a Stripe page made for this click. Call it outside any transaction.

    From the failed-payment e-mail the page opens straight at the card form. Raises BillingUnavailable.
    """
    stripe_customer = snapshot.stripe_customer
    if stripe_customer is None:
        raise ValueError("this customer has no Stripe customer")
    flow = "payment_method_update" if came_from == FROM_FAILED_PAYMENT else None
    return pages.open(
        stripe_customer,
        return_url=return_url,
        flow=flow,
        locale=locale,
        business_id=snapshot.business.business_id,
    )


def confirm(pages: BillingPages, snapshot: Snapshot, invoice_id: str) -> str | None:
    """The address where the customer confirms one of their own open invoices, made for this click.

    None when it isn't theirs, or nothing is to be confirmed any more. Call it outside any transaction. Raises
    BillingUnavailable.
    """
    stripe_customer = snapshot.stripe_customer
    mine = next(
        (one for one in snapshot.invoices if one.invoice_id == invoice_id and one.owed), None
    )
    if stripe_customer is None or mine is None:
        return None
    # On whose behalf Stripe charges it, which no business may name.
    return pages.invoice(
        invoice_id, stripe_customer._replace(on_behalf_of=mine.invoice.on_behalf_of)
    )


def take_fresh_link(session: Session, customer_id: str, now: dt.datetime) -> bool:
    """Whether a fresh link may be mailed now; takes the turn. One an hour, whoever asks."""
    return people.take_fresh_link(session, customer_id, now, FRESH_LINK_EVERY)


def give_back_fresh_link(session: Session, customer_id: str, taken_at: dt.datetime) -> None:
    """The mail could not be asked for: the customer may try again at once."""
    people.give_back_fresh_link(session, customer_id, taken_at)


def opened(session: Session, customer_id: str, now: dt.datetime) -> None:
    """Remember the way to Stripe's page, so that the page knows who may just be coming back."""
    people.note_billing_opened(session, customer_id, now)
    log.note(session, [click(customer_id, "billing_session", now)])


def forget_old(session: Session, now: dt.datetime) -> bool:
    """Forget what customers did long ago. True: there may be more."""
    return log.forget(session, now - KEEP_VISITS, BATCH) == BATCH
