"""What the rooms claim, read off their own words, and where two of them disagree."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from services.notifier.domain.kinds import DUNNING, Kind
from services.portal.domain.notice import State, Tone
from tests.unit.stories.drawing import ASKS, Drawn
from tests.unit.stories.house import Sent

NOW_NOT_AGAIN = ("won’t try again automatically", "subscription has ended because")
MAY = "We may try again"
USELESS = re.compile(r"(?:can’t be (?:charged|debited) any more|enter the details again)")
ZONE = ZoneInfo("America/Los_Angeles")
"""The business's, in which all dates are."""
PROMISES_A_CHARGE = re.compile(r"(?:charged to it|To pay sooner)")
MISSING = "There was no payment method on file"
CONFIRM = re.compile(r"Your bank wants you to confirm")
DATE = re.compile(r"try again on (?:\w+, )?([A-Z][a-z]{2})\w* (\d+)")
OUR_TRIES = re.compile(r"We(?:’ve)? tried (?:(\d+) times|once|again)")
"""What a text claims of tries that nobody but us, or Stripe for us, made."""
MONEY = re.compile(r"\$([\d,]+\.\d\d)")


@dataclass(frozen=True)
class Promise:
    """What a text says of the next try of one payment."""

    dates: frozenset[tuple[str, str]]
    maybe: bool
    never: bool
    missing: bool
    confirm: bool


def promise(text: str) -> Promise:
    """What a text promises."""
    return Promise(
        dates=frozenset(DATE.findall(text)),
        maybe=MAY in text,
        never=any(words in text for words in NOW_NOT_AGAIN) or USELESS.search(text) is not None,
        missing=MISSING in text,
        confirm=CONFIRM.search(text) is not None,
    )


def amounts(text: str) -> list[int]:
    """The amounts of money in a text, in cents."""
    return [int(found.replace(",", "").replace(".", "")) for found in MONEY.findall(text)]


def contradictions(drawn: Drawn) -> list[str]:
    """Where two rooms disagree in a story: each as a sentence."""
    found = [*_page_and_recovery(drawn), *_page_and_stripe(drawn)]
    found += _stats_and_stripe(drawn)
    found += [
        f"{one.invoice['id']} was charged after its collection was stopped"
        for one in drawn.house.own_charges
        if one.was_stopped
    ]
    for sent in drawn.sent:
        found += [*_mail_and_page(sent), *_mail_and_schedule(sent, drawn)]
    return [*found, *_receipts(drawn)]


def _page_and_recovery(drawn: Drawn) -> Iterator[str]:
    """Whoever is asked to act is charged when they do, and nobody else is; while the business observes nobody is, nor is it promised."""
    if drawn.house.observes:
        if drawn.charged:
            yield f"{set(drawn.charged)} was charged while the business observes"
        if PROMISES_A_CHARGE.search(drawn.page.text):
            yield "the page promises a charge while the business observes"
    elif drawn.asked != drawn.charged:
        yield f"the page asks for {set(drawn.asked)}, a new card pays {set(drawn.charged)}"


def _page_and_stripe(drawn: Drawn) -> Iterator[str]:
    """A date is Stripe's own, amounts are what is due there, and what is paid is paid."""
    page, dates = drawn.page, drawn.dates
    at_stripe = {one["id"]: one for one in drawn.failed}
    for line in page.notice.lines:
        invoice = at_stripe[line.invoice_id or ""]
        shown = line.next_attempt if line.state in (State.DECLINED, State.STILL_DECLINED) else None
        if shown is not None and shown not in dates:
            yield f"the page promises {line.next_attempt}, Stripe {set(dates)}"
        due = invoice["amount_paid" if page.notice.tone is Tone.PAID else "amount_remaining"]
        if line.amount != due:
            yield f"the page says {line.amount}, at Stripe it is {due}"
        if page.notice.tone is Tone.PAID and invoice["status"] != "paid":
            yield f"the page gives thanks for an invoice that is {invoice['status']}"


def _stats_and_stripe(drawn: Drawn) -> Iterator[str]:
    """Paid, forgiven, lost and open are what they are at Stripe."""
    (sums,) = drawn.stats["currencies"] or ({},)
    counted = [one for one in drawn.failed if _counts(one, drawn)]
    lost = [one for one in counted if one["status"] in ("void", "uncollectible")]
    still = [one for one in counted if one["status"] == "open"]
    wanted = {
        "recovered_amount": sum(one["amount_paid"] for one in counted),
        "forgiven_amount": sum(one["pre_payment_credit_notes_amount"] for one in counted),
        "lost_amount": sum(one["amount_due"] - one["amount_paid"] for one in lost),
        "open_amount": sum(one["amount_remaining"] for one in still),
    }
    for name, amount in wanted.items():
        if sums.get(name, 0) != amount:
            yield f"stats say {name} {sums.get(name, 0)}, at Stripe it is {amount}"


def _counts(invoice: dict[str, Any], drawn: Drawn) -> bool:
    """Whether it is an autopay charge that failed, not one at checkout."""
    by_hand = invoice["collection_method"] != "charge_automatically"
    subscription = drawn.house.subscription_of(invoice)
    created = invoice["billing_reason"] == "subscription_create"
    failed_at = max(
        event["created"]
        for event in drawn.house.stripe_events
        if event["type"] == "invoice.payment_failed"
        and event["data"]["object"]["id"] == invoice["id"]
    )
    unbegun = subscription is not None and subscription["status"].startswith("incomplete")
    soon = failed_at - invoice["status_transitions"]["finalized_at"] < (23 if unbegun else 1) * 3600
    return not by_hand and not (created and soon and subscription is not None)


def _mail_and_page(sent: Sent) -> Iterator[str]:
    """A mail that asks for money says what the page says that its button opens."""
    if sent.mail.kind not in DUNNING:
        return
    mail, said = promise(sent.mail.text), f"{sent.mail.subject!r} at {sent.at:%b %d}"
    real = {(f"{one:%b}", str(one.day)) for one in (at.astimezone(ZONE) for at in sent.dates)}
    if not mail.dates <= real:
        yield f"{said} promises {set(mail.dates)}, Stripe {real}"
    if sent.page is None:
        return
    page = promise(sent.page.text)
    if sent.page.notice.tone not in {Tone(one.value) for one in ASKS}:
        yield f"{said} asks, the page says {sent.page.notice.tone}"
        return
    if not mail.dates <= page.dates:
        yield f"{said} promises {set(mail.dates)}, the page {set(page.dates)}"
    alone = len(sent.page.notice.lines) == 1  # of several, the page's sentence speaks of the worst
    if alone and mail.never and (page.maybe or page.dates):
        yield f"{said} says that nothing is tried again, the page that it is or may be"
    if alone and page.never and (mail.maybe or mail.dates):
        yield f"{said} says that it is or may be tried again, the page that it is not"
    if alone and mail.missing != page.missing:
        yield f"{said} and the page disagree whether there is a payment method"
    if alone and mail.confirm != page.confirm:
        yield f"{said} and the page disagree whether the bank wants a confirmation"
    asked = [line.amount for line in sent.page.notice.lines if line.state in ASKS]
    due = sum(asked)
    several = sent.mail.kind is Kind.PAYMENTS_FAILED
    if (due if several else True) not in (True, *amounts(sent.mail.text)):
        yield f"{said} asks for {amounts(sent.mail.text)}, the page for {due}"
    if not set(amounts(sent.mail.text)) & {due, *asked}:
        yield f"{said} names none of the page's amounts"


def _mail_and_schedule(sent: Sent, drawn: Drawn) -> Iterator[str]:
    """A mail counts as ours no try that the customer made."""
    claimed = OUR_TRIES.search(sent.mail.text)
    if claimed is None:
        return
    tries = int(claimed[1] or (1 if claimed[0].endswith("once") else 2))
    made = max(
        event["data"]["object"]["attempt_count"]
        for event in drawn.house.stripe_events
        if event["type"] == "invoice.payment_failed" and event["created"] <= sent.at.timestamp()
    )
    if tries > made:
        yield f"{sent.mail.subject!r} at {sent.at:%b %d} says {claimed[0]!r}, Stripe made {made}"


def _receipts(drawn: Drawn) -> Iterator[str]:
    """Who is thanked has paid, and just that."""
    paid = sorted(one["amount_paid"] for one in drawn.failed if one["amount_paid"])
    for kind in (Kind.PAYMENT_RECOVERED, Kind.CUSTOMER_RECOVERED):
        thanked = sorted(max(amounts(one.mail.text)) for one in drawn.sent if one.mail.kind is kind)
        if any(amount not in paid for amount in thanked) or len(thanked) > len(paid):
            yield f"{kind.value} tells of {thanked}, at Stripe came {paid}"
