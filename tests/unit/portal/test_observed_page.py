"""What the page of an observing business says: what is so, and nothing that we would do at Stripe."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from babel import Locale
from babel.messages.pofile import read_po
from sqlalchemy.orm import Session

from services.portal import serializers
from services.portal.domain.cancelling import Decision, may_ask
from services.portal.domain.invoices import Invoice
from services.portal.domain.notice import Notice, State, Tone, make_notice, state_of
from services.portal.domain.snapshot import Asked, OwnedInvoice
from services.portal.handlers import cancelling, modes, resolved_links
from services.portal.handlers.cancelling import Asking
from services.portal.models import BusinessRow
from services.portal.service import PortalService
from services.portal.tokens.links import Claim
from services.portal.web import request_views, views
from shared.contracts.next_steps import NextStep
from shared.l10n import catalogues
from shared.l10n.catalogues import translations
from shared.mode import OBSERVE
from tests.fixtures.languages import LANGUAGES
from tests.unit.l10n.drawn import seen
from tests.unit.l10n.test_same_story import every, known
from tests.unit.portal.builders import (
    CUSTOMER_ID,
    NOW,
    TOKEN,
    add_business,
    add_customer,
    ago,
    ahead,
    business,
    lookup,
    snapshot,
)
from tests.unit.portal.test_request_views import SUBSCRIPTION

ROOT = Path(catalogues.__file__).parent / "locales"
PROMISES = (
    "charged to it",
    "To pay sooner",
    "To be sure that everything goes on as usual",
    "We’re taking your payment now",
    "On its way with your new payment method",
    "It will be used for your next payment",
    "we’ll charge the new one",
    "the payment with it didn’t go through",
    "That payment method didn’t work either",
    "will review your request",
    "You’ll get the answer by email",
    "as soon as the cancellation is in place",
)
"""Parts of all sentences of the page by which we promise to charge or to end something at Stripe, or tell that we have."""
TRIED = (
    "We’re taking your payment now",
    "On its way with your new payment method",
    "It will be used for your next payment",
    "the payment with it didn’t go through",
    "That payment method didn’t work either",
)
"""Those of them that say of a payment method that is there that we charge it, or have."""
OURS = re.compile(r"charge|(?i:we’(ll|re) )|new payment method")
"""What a sentence that may promise something has in it."""
HARMLESS = (
    "We’re here to help",
    "We’ll try again on",
    "There was no payment method on file that we could charge",
    "be charged any more",
    "We’re waiting to hear from your bank",
    "Your new payment method is saved",
)
"""Those of them that the page of an observing business says all the same: Stripe's own doing, and what is so."""
OBSERVING = business(mode=OBSERVE, may_cancel=False)
LIVE_ONE = business(may_cancel=False)


def owing(changed: dt.datetime | None = None, **more: Any) -> OwnedInvoice:
    at = ago(hours=1)
    given: dict[str, Any] = {
        "status": "open",
        "currency": "usd",
        "amount_due": 12900,
        "amount_remaining": 12900,
        "attempt_count": 1,
        "collection_method": "charge_automatically",
        "first_failed_at": at,
        "last_failed_at": at,
        "card_of_failure": at,
        "method_changed_at": changed,
        **more,
    }
    return OwnedInvoice(invoice_id="in_1", invoice=Invoice(**given))


def failed_again() -> OwnedInvoice:
    """One that failed once more after a new payment method came."""
    return owing(ago(minutes=50), last_failed_at=ago(minutes=10), card_of_failure=ago(minutes=10))


def notices(*, observed: bool, live_since: dt.datetime | None) -> Iterator[Notice]:
    """What is said about money, of all that can be known of an invoice, before and after a new payment method."""
    changes = (None, ago(seconds=30), ago(hours=3), ago(hours=1, minutes=1))
    for facts, changed in product(every(), changes):
        owed = Invoice(
            decline_reason=facts.decline,
            card_of_failure=facts.failed_at,
            needs_new_method=facts.needs_new_method,
            under_way_since=facts.failed_at + dt.timedelta(seconds=30) if facts.under_way else None,
            method_changed_at=changed,
            **known(facts),  # type: ignore[arg-type]
        )
        one = OwnedInvoice(invoice_id="in_1", invoice=owed, subscription=facts.subscription)
        yield make_notice([one], now=NOW, observed=observed, live_since=live_since)


@lru_cache
def distinct(observed: bool, live_since: dt.datetime | None) -> list[Notice]:
    """One of each kind, alone, beside itself, and the notices without an invoice."""
    found: dict[object, Notice] = {}
    for one in notices(observed=observed, live_since=live_since):
        lines = [(each.state, each.step, each.new_method, each.tried_again, each.next_attempt is None) for each in one.lines]  # fmt: skip
        found.setdefault((one.tone, *lines), one)
    again = make_notice([failed_again()], now=NOW, observed=observed, live_since=live_since)
    alone = [*found.values(), again]
    twice = [Notice(one.tone, one.lines * 2, one.returning, observed) for one in alone if one.lines]
    saved = make_notice(
        (),
        now=NOW,
        billing_opened_at=ago(minutes=9),
        method_changed_at=ago(minutes=5),
        observed=observed,
        live_since=live_since,
    )
    assert saved.tone is Tone.SAVED
    return [*alone, *twice, saved, Notice(Tone.WELL, observed=observed)]


@lru_cache
def pages(language: str, observed: bool, live_since: dt.datetime | None = None) -> list[str]:
    """What a person reads of each page, with subscriptions in every state of a request to cancel. `live_since`: the business's line."""
    requests = [
        None,
        *(
            Asked(request_id="r", status=status, asked_at=ago(days=3), decided_at=ago(days=2))
            for status in ("open", "approved", "declined", "overtaken")
        ),
    ]
    kept = [replace(SUBSCRIPTION, asked=asked, method_kept=True) for asked in requests]
    whose = OBSERVING if observed else LIVE_ONE
    some = snapshot(business=whose, subscriptions=tuple(kept), appointments=())
    none = snapshot(business=whose, appointments=())
    return [
        seen(
            views.me(
                views.MeView(customer, notice, TOKEN, Locale.parse(language), NOW),
                session_origins=(),
            ).html
        )
        for notice in distinct(observed, live_since)
        for customer in ((some,) if notice.lines else (some, none))
    ]


@pytest.mark.whole
def test_no_sentence_promises_what_we_would_do() -> None:
    """Over all that can be known. Of one who is live each of the sentences is said somewhere: the list holds no strangers."""
    observed, live = "\n".join(pages("en", True)), "\n".join(pages("en", False))
    assert [one for one in PROMISES if one in observed] == []
    assert [one for one in PROMISES if one not in live] == []


@pytest.mark.whole
def test_nor_what_we_do_with_a_payment_method_of_before_the_line() -> None:
    """The business is live, and every payment method came before that: none is being charged or was. A line that is older than all
    changes nothing."""
    after = "\n".join(pages("en", False, NOW))
    assert [one for one in TRIED if one in after] == []
    assert "Your new payment method is saved. That alone doesn’t pay what’s due yet." in after
    assert "what is due is charged to it" in after, "a method that comes now is charged"
    assert pages("en", False, ago(days=99)) == pages("en", False)


@pytest.mark.whole
def test_a_sentence_that_speaks_of_charging_is_judged() -> None:
    """A new one on the page of an observing business has to be taken into the one list or the other."""
    lines = {line for page in pages("en", True) for line in page.split("\n")}
    said = {one for line in lines for one in re.split(r"(?<=[.!?]) ", line) if OURS.search(one)}
    assert {one for one in said if not any(each in one for each in HARMLESS)} == set()
    assert [one for one in HARMLESS if not any(one in each for each in said)] == []


@pytest.mark.whole
@pytest.mark.parametrize("language", sorted({*LANGUAGES} - {"en"}))
def test_nor_does_one_in_any_other_language(language: str) -> None:
    """The translations of those sentences are on none of the pages either, around whatever stands in them."""
    with (ROOT / "portico.pot").open("rb") as file:
        ids = [one.id for one in read_po(file) if one.id]
    texts = translations(Locale.parse(language))
    for parts, page in (PROMISES, pages(language, True)), (TRIED, pages(language, False, NOW)):
        promising = [
            texts.gettext(one) if isinstance(one, str) else texts.ngettext(one[0], one[1], 1)
            for one in ids
            if any(part in (one if isinstance(one, str) else one[0]) for part in parts)
        ]
        assert len(promising) >= len(parts)
        observed = "\n".join(page)
        for one in promising:
            chunks = [each.strip() for each in re.split(r"%\(\w+\)s", one)]
            promise = next(
                each for each in reversed(chunks) if len(each) > 10
            )  # what is so comes first
            assert promise not in observed


def test_a_new_payment_method_is_saved_and_not_being_charged() -> None:
    """Live it is on its way; observed the page says that it is saved, and that it pays nothing. A payment that Stripe has begun is one."""
    new = owing(ago(seconds=30))
    live, observed = (make_notice([new], now=NOW, observed=one) for one in (False, True))
    assert (live.tone, observed.tone) == (Tone.SETTLING, Tone.DECLINED)
    assert observed.refresh_seconds is None
    customer = snapshot(business=OBSERVING, invoices=(new,), appointments=())
    view = views.MeView(customer, observed, TOKEN, Locale("en"), NOW)
    text = seen(views.me(view, session_origins=()).html)
    assert "Your new payment method is saved. That alone doesn’t pay what’s due yet." in text
    assert "Update your payment method" not in text
    begun = owing(ago(minutes=5), under_way_since=ago(minutes=2), as_of=ago(minutes=2))
    assert state_of(begun, NOW, observed=True) is State.PENDING
    assert make_notice([begun], now=NOW, observed=True).lines[0].step is NextStep.PROCESSING


def test_what_failed_after_a_new_payment_method_may_be_the_old_one() -> None:
    """Nobody has set the new one on the subscription, so it is not said that it failed."""
    again = failed_again()
    assert state_of(again, NOW) is State.STILL_DECLINED
    assert state_of(again, NOW, observed=True) is State.DECLINED


@pytest.mark.parametrize("mode", ["live", OBSERVE])
def test_page_and_api_know_the_line(session: Session, mode: str) -> None:
    """A payment method came, then the line: neither says that it is being charged. One of after the line is."""
    add_business(session)
    modes.set_mode(session, "sunrise", "live", False, NOW)
    modes.set_mode(session, "sunrise", mode, False, NOW)
    found = lookup(session, add_customer(session).customer_id, NOW)
    assert found is not None
    assert found.business.live_since == NOW
    states = {}
    for changed in (ago(seconds=30), NOW):
        whole = replace(found, invoices=(owing(changed),))
        (told,) = serializers.snapshot(whole, NOW).owed
        (line,) = resolved_links.notice_for(whole, NOW).lines
        assert line.state == told.state
        states[changed] = told.state, told.retrying_since
    after = ("settling", NOW) if mode == "live" else ("declined", None)
    assert states == {ago(seconds=30): ("declined", None), NOW: after}


# --- asking to cancel ------------------------------------------------------------------------------------------------


def test_nobody_is_asked_to_cancel(session: Session) -> None:
    """The button is off, and so is what stands behind it."""
    assert may_ask(SUBSCRIPTION, LIVE_ONE, NOW)
    assert not may_ask(SUBSCRIPTION, OBSERVING, NOW)
    customer = snapshot(business=OBSERVING)
    assert cancelling.ask(session, customer, SUBSCRIPTION, NOW) is Asking.NOT_OFFERED


def test_the_installations_mode_is_every_business_s() -> None:
    """Whatever the business's own row says: page, buttons and the API ask the same snapshot."""
    portal: Any = PortalService()
    portal.look = lambda public_id: snapshot()
    claim = Claim(CUSTOMER_ID, 1)
    for observes in (True, False):
        portal.wiring = SimpleNamespace(observes=observes)
        assert portal._snapshot(claim).business.observed is observes
    portal.look = lambda public_id: None
    assert portal._snapshot(claim) is None
    made = resolved_links.as_installed(snapshot(business=OBSERVING), False)
    assert resolved_links.notice_for(made, NOW).observed


@pytest.mark.parametrize("status", ["open", "approved", "declined"])
def test_a_request_of_before_is_not_answered_here(status: str) -> None:
    """No button, and no word of what we would do; a request that is answered says how, as ever."""
    row = BusinessRow(business_id="b", name="Sunrise", timezone="UTC", mode=OBSERVE)
    request = cancelling.Request(
        request_id="r",
        customer_name="Maria",
        customer_zone="UTC",
        business=row,
        subscription=SUBSCRIPTION,
        status=status,
        asked_at=ago(days=1),
        decided_at=None if status == "open" else NOW,
        ends_at=ahead(days=12),
        observed=True,
    )
    page = request_views.answer_request(
        request, dict.fromkeys(Decision, TOKEN), Locale("en"), NOW, observed=True
    )
    assert "<form" not in page.html
    assert ("Stripe dashboard" in seen(page.html)) == (status != "declined")
