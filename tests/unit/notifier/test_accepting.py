"""What was observed is seen, and all of it that a person accepts goes, once."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import select

from services.notifier.domain.sending import Unavailable
from services.notifier.domain.vocabulary import ACTIVE, Reason, Status
from services.notifier.handlers import delivery, observing, requests
from services.notifier.handlers.timeline import About, story
from services.notifier.models import Notification
from services.notifier.queries import notifications
from services.notifier.workflows import sending
from shared.contracts.accounts import OWN
from shared.contracts.rpc.errors import (
    InvalidArgument,
    NotFound,
    StillObserved,
    TemporarilyUnavailable,
)
from tests.unit.notifier.conftest import House, failed, paid
from tests.unit.notifier.fakes import START
from tests.unit.notifier.observed_house import (
    DANA,
    QUIET,
    SUNRISE,
    accept,
    all_that_waits,
    business,
    go_live,
    observe,
    page,
    states,
    until_quiet,
)
from tests.unit.notifier.test_posting import wanting


@pytest.fixture
def watched(house: House) -> House:
    observe(house)
    return house


# --- accepting -------------------------------------------------------------------------------------------------------


def test_what_a_person_accepts_goes_once(watched: House) -> None:
    """From before the line as it is. Twice is once: before it has gone, and after."""
    watched.hear(failed())
    until_quiet(watched)
    watched.clock.forward(days=2)
    go_live(watched)
    row = watched.row()
    assert accept(watched, row, row) == [True]
    assert accept(watched, row) == [False]
    assert until_quiet(watched) == ["sent"]
    assert accept(watched, row) == [False]
    all_that_waits(watched)
    assert watched.mailed_to(DANA) == ["payment_failed"]
    assert watched.row().accepted_at is not None


def test_what_is_accepted_is_looked_at_again(watched: House) -> None:
    """Paid meanwhile: nobody is asked for it, and the page of what was observed lists it no more."""
    watched.hear(failed())
    until_quiet(watched)
    go_live(watched)
    watched.hear(paid())
    accept(watched, watched.row())
    assert until_quiet(watched) == ["suppressed"]
    assert watched.row().reason == Reason.PAID


def test_an_accepted_email_has_a_day_of_its_own(watched: House) -> None:
    """It is days old when it is accepted: SendGrid may be away for an hour all the same."""
    watched.hear(failed())
    until_quiet(watched)
    watched.clock.forward(days=9)
    go_live(watched)
    accept(watched, watched.row())
    watched.mailer.answers.append(Unavailable("503"))
    assert watched.work() == ["unavailable"]
    watched.clock.forward(hours=1)
    assert until_quiet(watched) == ["sent"]


def test_nothing_is_accepted_for_a_business_that_observes(watched: House) -> None:
    """All or none, and it says what to do first; for the installation too."""
    watched.hear(failed())
    until_quiet(watched)
    with pytest.raises(StillObserved, match="business sunrise still observes: let it go live"):
        accept(watched, watched.row())
    go_live(watched)
    watched.observes = True
    with pytest.raises(StillObserved, match="this installation still observes"):
        accept(watched, watched.row())
    assert watched.row().status == "observed"


@pytest.mark.whole
def test_one_that_observes_again_gets_nothing_that_was_accepted(watched: House) -> None:
    """Between the acceptance and the email: it is observed once more, and may be accepted once more."""
    watched.hear(failed())
    until_quiet(watched)
    go_live(watched)
    accept(watched, watched.row())
    observe(watched)
    watched.portal.people.pop(SUNRISE)
    assert until_quiet(watched) == ["observed"]
    go_live(watched)
    all_that_waits(watched)
    assert watched.mailer.inbox == []
    assert accept(watched, watched.row()) == [True]
    assert until_quiet(watched) == ["sent"]


@pytest.mark.whole
@pytest.mark.parametrize("at_once", [True, False])
def test_of_the_failures_of_one_invoice_the_newest_that_is_accepted_goes(
    watched: House, at_once: bool
) -> None:
    """Weeks of observing leave one for each try of Stripe's: all accepted, in one call or in several, are one email."""
    for attempt in (1, 2, 3):
        watched.hear(failed(attempt_count=attempt, occurred_at=watched.clock()))
        until_quiet(watched)
        watched.clock.forward(days=3)
    watched.hear(failed(invoice_id="in_2", stripe_customer_id="cus_1"))
    until_quiet(watched)
    go_live(watched)
    third, *rest = reversed([row for row in watched.rows() if row.invoice_id == "in_1"])
    if at_once:
        assert accept(watched, *rest, third) == [False, False, True]
    else:
        assert [accept(watched, one) for one in (*rest, third)] == [[True], [False], [True]]
    assert accept(watched, *rest, third) == [False] * 3
    all_that_waits(watched)
    assert watched.mailed_to(DANA) == ["payment_failed"]
    assert [(row.attempt, row.status, row.reason) for row in watched.rows()] == [
        (1, "suppressed", Reason.NEWER_ACCEPTED),
        (2, "suppressed", Reason.NEWER_ACCEPTED),
        (3, "sent", None),
        (1, "observed", Reason.OBSERVING),
    ]
    assert all(row.accepted_at for row in watched.rows()[:3])


@pytest.mark.parametrize("together", [True, False])
def test_an_accepted_email_beside_a_new_failure_of_its_invoice_is_one(
    watched: House, together: bool
) -> None:
    """Both are held for the morning, and leased together: in one transaction or two, the second finds the first, whose answer is out."""
    watched.hear(failed(occurred_at=watched.clock()))
    until_quiet(watched)
    business(watched, reminders=QUIET)
    go_live(watched)
    watched.clock.forward(seconds=1)
    watched.hear(failed(attempt_count=2, occurred_at=watched.clock()))
    accept(watched, *(row for row in watched.rows() if row.status == Status.OBSERVED))
    assert until_quiet(watched) == ["held", "held"]
    watched.clock.forward(hours=12)
    first, second = sending.lease(watched.desk, 10)
    with watched.db.transaction() as session:
        wanted = [wanting(watched, first), wanting(watched, second)]
        now = watched.clock()
        if together:
            results = delivery.begin_posts(session, wanted, now)
        else:
            results = [delivery.begin_posts(session, [one], now)[0] for one in wanted]
    posted = [one.outcome if one else "posted" for one in results]
    assert posted == ["posted", "suppressed"]


@pytest.mark.parametrize("wish", ["accepted", "sent again", "waits for others"])
def test_another_line_stops_what_was_wanted_before_it(watched: House, wish: str) -> None:
    """A person wanted it, the portal was away, and the business observed and went live once more meanwhile: a wish of that time is of
    before, too. Also for what another email would take along."""
    watched.hear(failed())
    until_quiet(watched)
    go_live(watched)
    row = watched.row()
    if wish == "sent again":
        with watched.db.transaction() as session:
            requests.resend(session, row.notification_id, watched.clock())
    else:
        accept(watched, row)
    if wish == "waits for others":
        with watched.db.transaction() as session:
            (waits,) = notifications.lock_rows(session, [row.notification_id]).values()
            waits.reason = Reason.WAITS_FOR_OTHERS.value
            waits.due_at += dt.timedelta(days=1)
    watched.portal.down = True
    until_quiet(watched)
    observe(watched)
    go_live(watched)
    watched.portal.down = False
    if wish == "waits for others":
        watched.clock.forward(seconds=1)
        watched.hear(failed(invoice_id="in_2", occurred_at=watched.clock()))
        with watched.db.transaction() as session:
            for one in notifications.about_invoices(session, OWN, ["in_2"], 1):
                one.reason = Reason.WAITS_FOR_OTHERS.value
    all_that_waits(watched)
    assert len(watched.mailer.inbox) == (wish == "waits for others")
    assert (Status.OBSERVED, Reason.BEFORE_THE_LINE) in states(watched)


def test_what_can_not_be_asked_or_found_is_told(watched: House) -> None:
    """An id that nobody knows; a portal that is away."""
    watched.hear(failed())
    until_quiet(watched)
    go_live(watched)
    with pytest.raises(NotFound, match="there is no notification ntf_nobody"):
        accept(watched, watched.row(), Notification(notification_id="ntf_nobody"))
    assert watched.row().status == "observed"
    watched.portal.down = True
    with pytest.raises(TemporarilyUnavailable, match="nothing was accepted"):
        accept(watched, watched.row())


@pytest.mark.whole
def test_several_of_one_customer_are_told_together_when_they_are_accepted(watched: House) -> None:
    """As any that fail at one time: one email at once, the others in one more."""
    for number in (1, 2, 3):
        watched.hear(failed(invoice_id=f"in_{number}", number=f"SUN-{number}"))
    until_quiet(watched)
    go_live(watched)
    accept(watched, *watched.rows())
    until_quiet(watched)
    watched.clock.forward(minutes=11)
    until_quiet(watched)
    assert watched.mailed_to(DANA) == ["payment_failed", "payments_failed"]
    assert not {row.status for row in watched.rows()} & {"observed", *ACTIVE}


# --- what people see -------------------------------------------------------------------------------------------------


@pytest.mark.whole
def test_what_was_observed_is_listed_with_what_stripe_did_since(watched: House) -> None:
    """In the order in which it would have gone, page by page; not of other businesses, and not what was accepted."""
    for number in (1, 2, 3):
        watched.hear(failed(invoice_id=f"in_{number}"))
        until_quiet(watched)
        watched.clock.forward(minutes=1)
    watched.hear(paid(invoice_id="in_2"))
    first = page(watched, limit=2)
    assert [one.invoice_id for one in first.notifications] == ["in_1", "in_2"]
    assert first.has_more
    assert [one.invoice.status for one in first.notifications] == ["open", "paid"]
    assert [one.invoice.amount_paid for one in first.notifications] == [0, 14900]
    one = first.notifications[0]
    assert (one.business_id, one.reason) == (SUNRISE, Reason.OBSERVING)
    assert (one.observed_at, one.invoice.amount_due) == (START, 14900)
    rest = page(watched, starting_after=first.notifications[-1].notification_id)
    assert [one.invoice_id for one in rest.notifications] == ["in_3"]
    assert not rest.has_more
    since = page(watched, since=START + dt.timedelta(minutes=1))
    assert [one.invoice_id for one in since.notifications] == ["in_2", "in_3"]
    go_live(watched)
    accept(watched, *(row for row in watched.rows() if row.invoice_id == "in_1"))
    assert [one.invoice_id for one in page(watched).notifications] == ["in_2", "in_3"]
    with watched.db.reading() as session:
        other = observing.observed(
            session, business_id="other", since=None, starting_after=None, limit=9
        )
    assert other.notifications == []


@pytest.mark.whole
def test_what_all_businesses_would_have_sent_is_one_list(watched: House) -> None:
    """Business by business, each in the order in which it would have gone; page after page, and each once."""
    for number in range(6):
        watched.hear(failed(invoice_id=f"in_{number}"))
        until_quiet(watched)
        watched.clock.forward(minutes=1)
    with watched.db.transaction() as session:
        for row in session.scalars(select(Notification)):
            row.business_id = "moon" if row.invoice_id in ("in_1", "in_4") else SUNRISE
    found, after = [], None
    for _ in range(4):
        told = page(watched, None, limit=2, starting_after=after)
        found += [(one.business_id, one.invoice_id) for one in told.notifications]
        after = told.notifications[-1].notification_id
        if not told.has_more:
            break
    assert found == [
        *(("moon", invoice) for invoice in ("in_1", "in_4")),
        *((SUNRISE, invoice) for invoice in ("in_0", "in_2", "in_3", "in_5")),
    ]
    late = page(watched, None, since=START + dt.timedelta(minutes=4))
    assert [one.invoice_id for one in late.notifications] == ["in_4", "in_5"]


@pytest.mark.whole
def test_what_is_of_no_business_is_told_last_and_gone_on_from(watched: House) -> None:
    """An old portal named none: those emails are among what all would have sent, page after page, and among no business's own."""
    for number in range(5):
        watched.hear(failed(invoice_id=f"in_{number}"))
        until_quiet(watched)
        watched.clock.forward(minutes=1)
    with watched.db.transaction() as session:
        for row in session.scalars(select(Notification)):
            row.business_id = SUNRISE if row.invoice_id == "in_4" else None
    found, after, more = [], None, True
    while more:
        told = page(watched, None, limit=2, starting_after=after)
        found += [(one.business_id, one.invoice_id) for one in told.notifications]
        after, more = told.notifications[-1].notification_id, told.has_more
    assert found == [(SUNRISE, "in_4"), *(("", f"in_{number}") for number in range(4))]
    assert [one.invoice_id for one in page(watched).notifications] == ["in_4"]
    with pytest.raises(NotFound, match="there is no such notification"):
        page(watched, starting_after=after)


def test_what_was_accepted_is_no_place_to_go_on_from(watched: House) -> None:
    """It stands among the observed ones no more: said, and not answered with an end that is none."""
    for number in (1, 2):
        watched.hear(failed(invoice_id=f"in_{number}"))
        until_quiet(watched)
    go_live(watched)
    first = watched.rows()[0]
    accept(watched, first)
    with pytest.raises(NotFound, match="accepted meanwhile"):
        page(watched, starting_after=first.notification_id)


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"limit": 0}, "limit: expected 1 to 500"),
        ({"limit": 501}, "limit: expected 1 to 500"),
        ({"starting_after": "ntf_nobody"}, "starting_after: there is no such notification"),
    ],
)
def test_a_wrong_question_is_named(house: House, given: dict[str, Any], error: str) -> None:
    """By the argument."""
    with pytest.raises((InvalidArgument, NotFound), match=error):
        page(house, **given)


@pytest.mark.whole
def test_the_time_line_tells_of_it(watched: House) -> None:
    """That it was observed, and that a person wanted it."""

    def steps() -> list[tuple[str, str]]:
        with watched.db.reading() as session:
            about = About(account=OWN, invoice_id="in_1")
            found = story(session, about, event_ids=[], now=watched.clock())
        return [(one.step, one.text) for one in found.steps if one.notification_id]

    watched.hear(failed())
    until_quiet(watched)
    assert steps()[-1] == ("observed", f"no payment_failed (attempt 1) email: {Reason.OBSERVING}")
    watched.clock.forward(hours=1)
    go_live(watched)
    accept(watched, watched.row())
    assert steps()[-1][0] == "accepted"
    until_quiet(watched)
    assert [step for step, _ in steps()] == ["notified", "accepted", "sent"]
