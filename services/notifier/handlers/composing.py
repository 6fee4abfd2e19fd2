"""Putting one mail together: which kind fits now, who gets it, who is answered."""

from __future__ import annotations

import datetime as dt

from services.notifier.domain import TO_BUSINESS, Kind, Schedule, kind_to_say
from services.notifier.ports import CancellationLinks, Contact, InvoiceReport, Mail
from services.notifier.queries import Leased
from services.notifier.rendering import Renderer, letter


def compose(
    renderer: Renderer,
    leased: Leased,
    contact: Contact,
    report: InvoiceReport | None,
    links: CancellationLinks | None,
    planned: Schedule,
    now: dt.datetime,
) -> Mail:
    """The finished email, in memory only."""
    kind = leased.kind
    if not leased.by_hand:
        kind = kind_to_say(kind, leased.incident, report.now if report else None, planned)
    said = letter(
        kind,
        contact,
        leased.incident,
        report,
        now,
        planned=planned,
        context=leased.context,
        links=links,
    )
    rendered = renderer.render(said)
    if kind in TO_BUSINESS:
        # From Portico, to the business; an answer goes to the customer it is about, if they can be reached.
        reply_to = None if kind is Kind.CUSTOMER_UNREACHABLE else contact.email
        to, to_name, from_name = contact.business.email or "", contact.business.name, ""
    else:
        reply_to = contact.business.email
        to, to_name, from_name = contact.email or "", contact.name, contact.business.name
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
    )
