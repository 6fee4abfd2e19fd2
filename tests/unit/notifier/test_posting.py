"""Marks and answers of many emails in one transaction: each has its own fate, and what is told of one invoice adds up."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy

from services.notifier.domain.kinds import Kind
from services.notifier.domain.sending import Accepted, MaybeSent, Refused, Unavailable
from services.notifier.domain.vocabulary import Reason
from services.notifier.handlers import delivery as posting
from services.notifier.handlers.compose import compose
from services.notifier.handlers.events import handle_invoices
from services.notifier.handlers.results import Result
from services.notifier.models import IncidentRow
from services.notifier.queries import suppressions
from services.notifier.queries.leases import Leased, gather
from services.notifier.workflows import sending
from shared.contracts.invoices import Retry
from tests.unit.notifier.conftest import RENDERER, House, failed, paid
from tests.unit.notifier.fakes import START, a_contact


def wanting(house: House, leased: Leased) -> posting.SendRequest:
    """The finished email of a leased row."""
    contact = house.portal.people[leased.stripe_customer_id or ""]
    mail = compose(RENDERER, leased, contact, None, None, Retry.UNKNOWN, house.clock())
    return posting.SendRequest(
        leased=leased,
        mail=mail,
        address=house.hasher(mail.to),
        contact=contact,
        planned=Retry.UNKNOWN,
        invoice=None,
    )


def hear_three(house: House) -> list[Leased]:
    """Three failures of three customers, leased together."""
    for number in (1, 2, 3):
        house.portal.people[f"cus_{number}"] = a_contact(email=f"c{number}@example.com")
        house.hear(failed(invoice_id=f"in_{number}", stripe_customer_id=f"cus_{number}"))
    return sorted(sending.lease(house.desk, 16), key=lambda one: one.invoice_id or "")


def begin(house: House, leases: list[Leased]) -> list[Result | None]:
    with house.db.transaction() as session:
        postings = [wanting(house, leased) for leased in leases]
        return posting.begin_posts(session, postings, house.clock())


def record(house: House, answers: list[posting.Answered]) -> list[Result]:
    with house.db.transaction() as session:
        return posting.record_answers(session, answers, house.clock(), lambda: 0.5)


@contextmanager
def counted(house: House) -> Iterator[list[str]]:
    """The statements that are sent meanwhile."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    sqlalchemy.event.listen(house.db.engine, "before_cursor_execute", note)
    yield sent
    sqlalchemy.event.remove(house.db.engine, "before_cursor_execute", note)


def test_fresh_failures_are_written_down_in_five_statements_however_many(house: House) -> None:
    """Claimed, incidents, customers that are gone, emails, outcomes: of an invoice that is new nothing else can be known."""
    batch = [failed(invoice_id=f"in_{n}", stripe_customer_id=f"cus_{n}") for n in range(4)]
    with counted(house) as sent, house.db.transaction() as session:
        handle_invoices(session, batch, house.clock())
    assert len(sent) == 6, sent  # with BEGIN
    assert [row.status for row in house.rows()] == ["pending"] * 4


def test_each_email_of_a_batch_is_looked_at_by_itself(house: House) -> None:
    """One was paid, one's address bounced, one goes out; the marks are in the rows of the last alone."""
    leases = hear_three(house)
    house.hear(paid(invoice_id="in_1", stripe_customer_id="cus_1"))
    with house.db.transaction() as session:
        suppressions.suppress_address(
            session, house.hasher("c2@example.com"), Reason.ADDRESS_BOUNCED, START, None
        )
    first, second, third = begin(house, leases)
    assert first is not None
    assert first.why == Reason.PAID
    assert second is not None
    assert second.why == Reason.ADDRESS_BOUNCED
    assert third is None
    marked = [row.invoice_id for row in house.rows() if row.unconfirmed_since is not None]
    assert marked == ["in_3"]


def test_what_was_gathered_is_due_again_though_it_stands_in_the_same_batch(house: House) -> None:
    """Its own sender has lost it, and the email that it was to be told in doesn't go out: it must not stay told in nothing."""
    house.hear(failed(invoice_id="in_1"))
    house.work()
    house.hear(failed(invoice_id="in_2"))
    house.hear(failed(invoice_id="in_3"))
    house.work()
    house.clock.forward(minutes=10)
    lead, other = sending.lease(house.desk, 2)
    with house.db.transaction() as session:
        gather(session, lead, house.clock())
        suppressions.suppress_address(
            session, house.hasher("dana@example.com"), Reason.ADDRESS_BOUNCED, START, None
        )
    outcomes = [one and one.outcome for one in begin(house, [lead, other])]
    assert outcomes == ["suppressed", "lease_lost"]
    (left,) = (row for row in house.rows() if row.notification_id == other.notification_id)
    assert (left.status, left.reason, left.told_in) == ("pending", Reason.WAITS_FOR_OTHERS, None)
    assert left.due_at == house.clock()


def test_each_answer_of_a_batch_is_its_own_emails(house: House) -> None:
    """What was taken, what is unconfirmed and what was refused stand side by side; only what was taken counts as told."""
    leases = hear_three(house)
    begin(house, leases)
    outcomes = (Accepted("msg-1"), MaybeSent("no answer"), Refused("400"))
    results = record(
        house,
        [
            posting.Answered(leased, Kind.PAYMENT_FAILED, outcome)
            for leased, outcome in zip(leases, outcomes, strict=True)
        ],
    )
    assert [result.outcome for result in results] == ["sent", "maybe_sent", "refused"]
    rows = {row.invoice_id: row for row in house.rows()}
    assert [rows[f"in_{number}"].status for number in (1, 2, 3)] == ["sent", "pending", "failed"]
    assert rows["in_2"].unconfirmed_since == START
    told = {row.invoice_id: row.last_mailed_at for row in house.table(IncidentRow)}
    assert told == {"in_1": START, "in_2": None, "in_3": None}


def test_a_lease_that_was_lost_costs_the_others_nothing(house: House) -> None:
    """The slow sender's email is left to its new holder, the rest of its batch goes out."""
    leases = hear_three(house)
    house.clock.forward(minutes=2)
    (taken,) = sending.lease(house.desk, 1)
    results = begin(house, leases)
    lost = [
        leased.notification_id == taken.notification_id
        and result == Result(leased.kind, "lease_lost")
        for leased, result in zip(leases, results, strict=True)
    ]
    assert sorted(lost) == [False, False, True]
    assert results.count(None) == 2


def test_a_late_failure_of_a_lost_lease_is_not_written_over_the_new_holders(house: House) -> None:
    """A 503 for a row that another sender holds by now changes nothing."""
    leases = hear_three(house)
    begin(house, leases)
    house.clock.forward(minutes=16)
    sending.lease(house.desk, 16)
    (result,) = record(
        house, [posting.Answered(leases[0], Kind.PAYMENT_FAILED, Unavailable("503"))]
    )
    assert result.outcome == "lease_lost"
    assert {row.status for row in house.rows()} == {"sending"}


@pytest.mark.parametrize("together", [1, 3])
def test_a_batch_costs_as_many_questions_as_one_email(house: House, together: int) -> None:
    """Incidents with rows, deleted customers with addresses, and the marks on rows and incidents: four messages, however many
    emails."""
    leases = hear_three(house)[:together]
    with counted(house) as sent:
        begin(house, leases)
    assert len([one for one in sent if not one.startswith("BEGIN")]) == 4


def test_two_answers_about_one_invoice_add_up(house: House) -> None:
    """The incident remembers the later of two emails that were recorded together."""
    house.hear(failed())
    (first,) = sending.lease(house.desk, 1)
    begin(house, [first])
    record(house, [posting.Answered(first, Kind.PAYMENT_FAILED, Accepted("msg-1"))])
    house.clock.forward(days=3)
    house.hear(failed(attempt_count=2, occurred_at=START + dt.timedelta(days=3)))
    (second,) = sending.lease(house.desk, 1)
    begin(house, [second])
    record(
        house,
        [
            posting.Answered(second, Kind.PAYMENT_REMINDER, Accepted("msg-2")),
            posting.Answered(first, Kind.PAYMENT_FAILED, Accepted("msg-1")),
        ],
    )
    (incident,) = house.table(IncidentRow)
    assert incident.last_mailed_at == START + dt.timedelta(days=3)
