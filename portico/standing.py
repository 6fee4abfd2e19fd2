"""Where an invoice stands, in one line: what `portico explain` begins with."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Final

from portico.figures import money
from shared.contracts.invoices import InvoiceStatus, Retry, Stop
from shared.contracts.rpc.base import TimelineStep
from shared.contracts.rpc.portal import InvoiceStanding
from shared.l10n.dates import brief_day
from shared.l10n.locales import ENGLISH

MAIL_STEPS: Final = {
    "notified": "mail is due",
    "waiting": "mail waits for its next try",
    "held": "mail held until",
    "sending": "mail is being sent",
    "unconfirmed": "mail may have been sent",
    "sent": "mail accepted by SendGrid",
    "delivered": "mail delivered",
    "bounced": "mail bounced",
    "deferred": "mail put off by the reader's server",
    "failed": "mail failed",
    "told_together": "told in another mail",
}
"""What the newest step of an invoice's emails says."""
AHEAD: Final = frozenset({"held", "waiting"})
"""Of these the moment is told until which they last."""
OUT: Final = frozenset({"unconfirmed", "told_together"})
"""What a mail that is not sent any more may have told before."""
STOPPED: Final[dict[str, str]] = {
    Stop.SUBSCRIPTION_ENDED: "collected no more: the subscription was ended",
    Stop.TURNED_OFF: "collected no more: automatic collection was turned off",
}


def headline(standing: InvoiceStanding, steps: Sequence[TimelineStep], now: dt.datetime) -> str:
    """`Open: $149.00, 1 try, mail delivered 07:04, next try Dec 2`.

    `standing` is the portal's word on the invoice, `steps` are those of the story, in order. Times are UTC.
    """
    parts = [_amounts(standing)]
    tries = standing.attempt_count
    # After such a decline the count goes on, and nothing is charged.
    if tries and standing.retry != Retry.WAITS_FOR_METHOD:
        parts.append(f"{tries} {'try' if tries == 1 else 'tries'}")
    parts += [_mail(standing.invoice_id, steps, now), _ahead(standing, now)]
    return ", ".join(part for part in parts if part)


def _amounts(standing: InvoiceStanding) -> str:
    def written(name: str) -> str:
        return money(getattr(standing, name), standing.currency)

    status = standing.status
    if status == InvoiceStatus.PAID:
        if standing.forgiven and standing.paid <= 0:
            return f"Forgiven: {written('forgiven')}"
        rest = f", {written('forgiven')} forgiven" if standing.forgiven else ""
        return f"Paid: {written('paid')}{rest}"
    name = "due" if status == InvoiceStatus.VOID else "remaining"
    return f"{status.capitalize()}: {written(name)}"


def _mail(invoice_id: str, steps: Sequence[TimelineStep], now: dt.datetime) -> str:
    ours = [step for step in steps if step.notification_id and step.object_id == invoice_id]
    given_up = {step.notification_id for step in ours if step.step in ("suppressed", "observed")}
    newest = next(
        (
            step
            for step in reversed(ours)
            if step.step in MAIL_STEPS
            and (step.step in OUT or step.notification_id not in given_up)
        ),
        None,
    )
    if newest is not None:
        at = newest.until if newest.step in AHEAD and newest.until else newest.at
        return f"{MAIL_STEPS[newest.step]} {_moment(at, now)}"
    return "no mail" if ours else ""


def _ahead(standing: InvoiceStanding, now: dt.datetime) -> str:
    """What will happen by itself, and what has to happen before."""
    if standing.status != InvoiceStatus.OPEN:
        return ""
    if standing.stopped:
        return STOPPED.get(standing.stopped, "collected no more")
    if standing.under_way:
        return "a payment is under way"
    if standing.next_charge:
        return f"next try {_day(standing.next_charge, now)}"
    if standing.needs_confirmation:
        return "waits for the customer's confirmation"
    if standing.retry == Retry.WAITS_FOR_METHOD:
        return "no further try before there is a new payment method"
    return "no further try by itself" if standing.retry == Retry.OVER else "no next try known"


def _moment(moment: dt.datetime, now: dt.datetime) -> str:
    at = moment.astimezone(dt.UTC)
    return f"{at:%H:%M}" if at.date() == now.date() else f"{_day(at, now)}, {at:%H:%M}"


def _day(at: dt.datetime, now: dt.datetime) -> str:
    day = at.astimezone(dt.UTC).date()
    return brief_day(day, ENGLISH, year=day.year != now.year)
