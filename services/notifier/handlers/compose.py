"""Putting one mail together: which kind fits now, who gets it, who is answered."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import DUNNING, KINDS, TO_BUSINESS, Kind
from services.notifier.domain.notification_rules import InvoiceNow, as_it_stands, effective_kind
from services.notifier.emails.letters import LetterData, letter
from services.notifier.emails.rendering import Renderer
from services.notifier.emails.samples import sample_letter
from services.notifier.ports import CancellationLinks, Contact, InvoiceReport, Mail
from services.notifier.queries.leases import Leased
from shared.contracts.invoices import Retry

TEST: Final = "[Test]"
"""Begins the subject of a test mail, in every language."""


@dataclass(frozen=True)
class OpenInvoice:
    """Another invoice of the same customer, for an email that tells of several."""

    incident: Incident
    report: InvoiceReport | None

    @property
    def fresh(self) -> InvoiceNow | None:
        """The invoice as it was just read."""
        return self.report.now if self.report else None


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
    kind = effective_kind(
        leased.kind,
        leased.incident,
        report.now if report else None,
        planned,
        by_hand=leased.by_hand,
    )
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
            others=[as_it_stands(one.incident, one.fresh) for one in others],
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


def compose_test(
    renderer: Renderer, kind: Kind, to: str, locale: str, about: Contact | None
) -> Mail:
    """An email of this kind with sample data, for whoever tries whether mail arrives: marked as a test, its links open nothing, and nobody
    it names exists but the business, if `about` is the contact of one."""
    sample = sample_letter(kind, locale)
    sender_email, platform, reply_to = None, sample.platform, None
    if about is not None:
        business = about.business
        sample = replace(
            sample, business=business, platform=about.platform, timezone=business.timezone
        )
        sender_email, platform, reply_to = business.sender_email, about.platform, business.email
    rendered = renderer.render(sample)
    from_portico = kind in TO_BUSINESS
    return Mail(
        notification_id=f"test_{secrets.token_hex(8)}",
        kind=kind,
        to=to,
        to_name="",
        from_name="" if from_portico else sample.business.name,
        reply_to=None if from_portico else reply_to,
        subject=f"{TEST} {rendered.subject}",
        text=rendered.text,
        html=rendered.html,
        sender_email=None if from_portico else sender_email,
        platform=None if from_portico else platform,
    )
