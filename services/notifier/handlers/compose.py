"""Putting one mail together: which kind fits now, who gets it, who is answered."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import DUNNING, KINDS, TO_BUSINESS, Kind
from services.notifier.domain.notification_rules import as_it_stands, effective_kind
from services.notifier.emails.letters import LetterData, letter
from services.notifier.emails.rendering import Renderer
from services.notifier.ports import CancellationLinks, Contact, InvoiceReport, Mail
from services.notifier.queries.leases import Leased
from shared.contracts.invoices import Retry


@dataclass(frozen=True)
class OpenInvoice:
    """Another invoice of the same customer, for an email that tells of several."""

    incident: Incident
    report: InvoiceReport | None


def compose(
    renderer: Renderer,
    leased: Leased,
    contact: Contact,
    report: InvoiceReport | None,
    links: CancellationLinks | None,
    planned: Retry,
    now: dt.datetime,
    others: Sequence[OpenInvoice] = (),
) -> Mail:
    """The finished email, in memory only."""
    kind = leased.kind
    if not leased.by_hand:
        kind = effective_kind(kind, leased.incident, report.now if report else None, planned)
    if others and kind in DUNNING:
        kind = Kind.PAYMENTS_FAILED
    said = letter(
        kind,
        LetterData(
            contact=contact,
            now=now,
            incident=leased.incident,
            report=report,
            planned=planned,
            context=leased.context,
            links=links,
            others=[_as_read(one) for one in others],
        ),
    )
    rendered = renderer.render(said)
    sender_email = platform = None
    if kind in TO_BUSINESS:
        # From Portico, to the business; an answer goes to the customer it is about, if they can be reached.
        reply_to = contact.email if KINDS[kind].answered_by_customer else None
        to, to_name, from_name = contact.business.email or "", contact.business.name, ""
    else:
        reply_to = contact.business.email
        to, to_name, from_name = contact.email or "", contact.name, contact.business.name
        sender_email, platform = contact.business.sender_email, contact.platform
    return Mail(
        notification_id=leased.notification_id,
        kind=kind,
        to=to,
        to_name=to_name,
        from_name=from_name,
        reply_to=reply_to,
        subject=rendered.subject,
        text=rendered.text,
        html=rendered.html,
        sender_email=sender_email,
        platform=platform,
    )


def _as_read(one: OpenInvoice) -> Incident:
    return as_it_stands(one.incident, one.report.now if one.report else None)
