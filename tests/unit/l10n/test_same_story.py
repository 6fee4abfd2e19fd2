"""The customer's page and the last email about the same invoice: the same step, in the same words."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from babel import Locale

from services.notifier.domain.incidents import Incident
from services.notifier.domain.kinds import Kind
from services.notifier.domain.notification_rules import InvoiceNow, effective_kind, recheck
from services.notifier.domain.reminders import schedule
from services.notifier.domain.vocabulary import Reason
from services.notifier.emails import letters
from services.notifier.emails import wording as mail_words
from services.notifier.ports import InvoiceReport
from services.portal.domain.invoices import Invoice
from services.portal.domain.notice import Line, Notice, make_notice
from services.portal.domain.snapshot import OwnedInvoice
from services.portal.texts import texts_in
from services.portal.web import wording as page_words
from shared.contracts.invoices import InvoiceStatus, RetryPlan, SubscriptionState
from shared.contracts.next_steps import NextStep, next_step
from shared.contracts.payments import Decline, PaymentMethod
from shared.l10n.catalogues import translations
from tests.fixtures.languages import LANGUAGES
from tests.unit.l10n.drawn import BANK, CARD
from tests.unit.notifier.fakes import a_contact
from tests.unit.portal.builders import NOW, ago, ahead

pytestmark = pytest.mark.whole

OTHER_WORDS = {
    "It can’t be charged any more, so please add a new payment method.": (
        "This payment method can’t be charged any more, so please add a new one."
    )
}
"""Sentences that are the page's own: the email has named the payment method in the sentence before."""
AN_HOUR_AGO = ago(hours=1)
SUBSCRIPTIONS = (
    None,
    SubscriptionState("past_due"),
    SubscriptionState("unpaid"),
    SubscriptionState("canceled", "payment_failed"),
    SubscriptionState("canceled", "cancellation_requested"),
)


@dataclass(frozen=True)
class Facts:
    """What Stripe has told of a failed invoice."""

    decline: Decline | None = None
    needs_new_method: bool = False
    date: dt.datetime | None = None
    subscription: SubscriptionState | None = None
    attempts: int = 1
    failed_at: dt.datetime = AN_HOUR_AGO
    asked_to_confirm: bool = False
    under_way: bool = False
    switched_off: bool = False


def every() -> Iterator[Facts]:
    """Each combination of what can be known."""
    reasons = [(None, False), *itertools.product(Decline, (False, True))]
    ages = [(1, AN_HOUR_AGO), (2, AN_HOUR_AGO), (2, ago(minutes=1)), (1, ago(days=9))]
    for (decline, needs), date, subscription, (attempts, at), *flags in itertools.product(
        reasons,
        (None, ahead(days=3), ago(minutes=5)),
        SUBSCRIPTIONS,
        ages,
        *[(False, True)] * 3,
    ):
        yield Facts(decline, needs, date, subscription, attempts, at, *flags)


def known(facts: Facts) -> dict[str, object]:
    """What both services have put together from the same events."""
    return {
        "status": InvoiceStatus.OPEN.value,
        "currency": "usd",
        "amount_due": 12900,
        "amount_remaining": 12900,
        "attempt_count": facts.attempts,
        "collection_method": "charge_automatically",
        "billing_reason": "subscription_cycle",
        "next_payment_attempt": facts.date,
        "auto_advance": not facts.switched_off,
        "was_advancing": True,
        "first_failed_at": facts.failed_at,
        "last_failed_at": facts.failed_at,
        "action_required_at": facts.failed_at if facts.asked_to_confirm else None,
    }


def on_page(facts: Facts) -> Notice:
    """What the page makes of it, once billing has been asked why it failed."""
    invoice = Invoice(
        decline_reason=facts.decline,
        card_of_failure=facts.failed_at,
        needs_new_method=facts.needs_new_method,
        under_way_since=facts.failed_at + dt.timedelta(seconds=30) if facts.under_way else None,
        **known(facts),  # type: ignore[arg-type]
    )
    owned = OwnedInvoice(invoice_id="in_1", invoice=invoice, subscription=facts.subscription)
    return make_notice([owned], now=NOW)


def in_mail(facts: Facts) -> letters.Letter | Reason:
    """What the email says that would go out now, or why none does."""
    incident = Incident(invoice_id="in_1", stripe_customer_id="cus_1", **known(facts))  # type: ignore[arg-type]
    fresh = InvoiceNow(
        status=InvoiceStatus.OPEN,
        amount_remaining=12900,
        next_payment_attempt=facts.date,
        decline=facts.decline,
        needs_new_method=facts.needs_new_method,
        auto_advance=not facts.switched_off,
        processing=facts.under_way,
        subscription_status=facts.subscription.status if facts.subscription else None,
        subscription_end_reason=facts.subscription.end_reason if facts.subscription else None,
    )
    kind = Kind.PAYMENT_ACTION_REQUIRED if facts.asked_to_confirm else Kind.PAYMENT_FAILED
    reason = recheck(kind, incident, fresh)
    if reason is not None:
        return reason
    planned = schedule(incident, fresh, NOW - facts.failed_at, NOW)
    return letters.letter(
        effective_kind(kind, incident, fresh, planned),
        letters.LetterData(
            contact=a_contact(),
            now=NOW,
            incident=incident,
            report=InvoiceReport(now=fresh),
            planned=planned,
        ),
    )


def step_on_page(notice: Notice) -> NextStep | None:
    return notice.lines[0].step if notice.lines else None


def step_in_mail(mail: letters.Letter | Reason) -> NextStep | None:
    if isinstance(mail, Reason):
        return NextStep.PROCESSING if mail is Reason.PAYMENT_UNDER_WAY else None
    plan = RetryPlan(mail.planned, mail.next_attempt)
    confirm = mail.kind is Kind.PAYMENT_ACTION_REQUIRED
    return next_step(plan, mail.decline, ended_unpaid=mail.ended_unpaid, confirm=confirm)


def test_page_and_mail_never_name_different_steps() -> None:
    """Whatever Stripe has told: what the email asks for, or asks for no more, the page does too; each step is reached."""
    reached = set()
    for facts in every():
        page, mail = on_page(facts), in_mail(facts)
        step = step_on_page(page)
        if facts.under_way and step is None:
            continue  # nothing is asked for: whether that is because money is on its way is no one's news
        reached.add(step)
        assert step is step_in_mail(mail), facts
        if isinstance(mail, letters.Letter) and step is NextStep.WAITS_FOR_DATE:
            assert page.lines[0].next_attempt == mail.next_attempt, facts
    assert reached == {None, *NextStep}


STEPS = {
    NextStep.ENDED: Facts(subscription=SubscriptionState("canceled", "payment_failed")),
    NextStep.ADD_METHOD: Facts(Decline.NO_PAYMENT_METHOD),
    NextStep.VERIFY: Facts(Decline.ACCOUNT_UNVERIFIED),
    NextStep.OVER: Facts(subscription=SubscriptionState("unpaid")),
    NextStep.ENTER_AGAIN: Facts(Decline.INCORRECT_DETAILS),
    NextStep.NEW_METHOD: Facts(Decline.EXPIRED_CARD, needs_new_method=True),
    NextStep.WAITS_FOR_DATE: Facts(Decline.DECLINED, date=ahead(days=3)),
    NextStep.MAY_TRY_AGAIN: Facts(Decline.DECLINED),
}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("step", STEPS)
def test_the_step_has_the_same_sentences_on_both(step: NextStep, language: str) -> None:
    """In every language, for a card, an account, a wallet and what has no name; the page may say first what happened."""
    locale = Locale.parse(language)
    page_texts, mail_texts = texts_in(locale), translations(locale)
    days = page_texts.days("UTC", NOW)
    (line,), letter = on_page(STEPS[step]).lines, in_mail(STEPS[step])
    assert isinstance(letter, letters.Letter)
    assert line.step is step
    for method in (CARD, BANK, PaymentMethod(type="paypal"), None):
        on = Line(
            line.state, line.amount, "usd", None, None, line.next_attempt, method, step=line.step
        )
        said = page_words.advice([on], days, page_texts.gettext, page_texts.ngettext)
        mailed = mail_words.what_next(
            letter.decline,
            method,
            letter.next_attempt,
            days,
            mail_texts.gettext,
            planned=letter.planned,
            ended=letter.ended_unpaid,
        )
        for mails_own, pages_own in OTHER_WORDS.items():
            mailed = mailed.replace(mail_texts.gettext(mails_own), page_texts.gettext(pages_own))
        assert said.endswith(mailed)
