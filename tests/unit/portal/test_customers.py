"""What the host application tells us over RPC."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import event as sql_event
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.portal.handlers import appointments, customers, evidence, importing, resolved_links
from services.portal.handlers.customers import Asked
from services.portal.handlers.events import handle
from services.portal.models import AppointmentRow, BusinessRow, CustomerRow
from services.portal.queries import page
from services.portal.rpc.operations import Operations
from services.portal.tokens.links import Claim
from shared import events
from shared.contracts.accounts import OWN, Merchant, StripeCustomer
from shared.contracts.rpc.errors import (
    InvalidArgument,
    LinkInvalid,
    LinkReplaced,
    NotFound,
    StripeCustomerConflict,
    UnknownCustomer,
)
from shared.contracts.rpc.portal import (
    AppointmentArgument,
    AppointmentCounts,
    BusinessArguments,
    CustomerLine,
    ReminderPolicyArgument,
)
from shared.nameko_ext.rpc import argument_checker
from tests.unit.portal.builders import (
    CUSTOMER_ID,
    NOW,
    add_business,
    add_customer,
    ago,
    ahead,
    event,
    failed,
    lookup,
    says,
    take_in,
)


@pytest.fixture(autouse=True)
def _business(session: Session) -> None:
    add_business(session)


def give(session: Session, customer_id: str, *given: AppointmentArgument) -> AppointmentCounts:
    return appointments.upsert_appointments(session, customer_id=customer_id, given=given, now=NOW)


def counts(created: int, updated: int, unchanged: int) -> AppointmentCounts:
    return AppointmentCounts(created=created, updated=updated, unchanged=unchanged)


def visit(external_id: str = "a1", **changes: Any) -> AppointmentArgument:
    given: dict[str, Any] = {"title": "Cleaning", "starts_at": ahead(days=1), **changes}
    return AppointmentArgument(external_id=external_id, **given)


def test_a_customer_is_made_once(session: Session) -> None:
    """The host's own id makes `upsert_customer` idempotent; the second call changes what is new."""
    first = add_customer(session, name="Maria")
    second = add_customer(session, name="María")
    assert (first.created, second.created) == (True, False)
    assert first.customer_id == second.customer_id
    assert session.scalars(select(CustomerRow.name)).all() == ["María"]


def test_an_omitted_stripe_id_keeps_what_is_there(session: Session) -> None:
    """A host that doesn't know Stripe's id does not take the button away."""
    add_customer(session, platform_stripe_customer_id="cus_1")
    assert add_customer(session).platform_stripe_customer_id == "cus_1"


BUSINESS = {
    "email": "hello@sunrise.example",
    "phone": "+1 555 0100",
    "website": "https://sunrise.example",
    "logo_url": "https://sunrise.example/logo.png",
    "color": "#c2410c",
    "locale": "es_MX",
    "timezone": "America/New_York",
    "reminder_policy": ReminderPolicyArgument(interval_days=7),
    "sender_email": "billing@sunrise.example",
    "service_note": "We come as planned.",
    "charged_as": "PORTICO* SUNRISE",
    "currency": "usd",
    "enrolment": "from_stripe",
}


def business(session: Session, **given: Any) -> dict[str, Any]:
    """What is stored of a business after a call with these arguments."""
    made = BusinessArguments(business_id="full", **{"name": "Full House", **given})
    customers.upsert_business(session, made, NOW)
    session.flush()
    row = session.scalars(select(BusinessRow).where(BusinessRow.business_id == "full")).one()
    return {name: getattr(row, name) for name in BUSINESS}


@pytest.mark.whole
def test_what_is_omitted_of_a_business_stays_and_null_clears(session: Session) -> None:
    """Each argument alike: a call that names a new name alone takes neither colour nor sender away."""
    elsewhere = {"stripe_account", "on_behalf_of", "release_links"}  # test_business_accounts.py
    fields = set(BusinessArguments.__struct_fields__)
    assert BUSINESS.keys() == fields - {"business_id", "name"} - elsewhere
    empty = dict.fromkeys(BUSINESS) | {
        "locale": "en",
        "timezone": "UTC",
        "enrolment": "by_host",
    }
    assert business(session) == empty
    full = business(session, **BUSINESS)
    assert full["reminder_policy"]["interval_days"] == 7
    assert {**full, "reminder_policy": BUSINESS["reminder_policy"]} == BUSINESS
    assert business(session, name="Full Houses") == full
    for name in BUSINESS:
        assert business(session, **{name: None}) == full | {name: empty[name]}
        assert business(session, **{name: BUSINESS[name]}) == full


@pytest.mark.whole
def test_null_takes_back_the_stripe_id_that_the_host_gave(session: Session) -> None:
    """Then what Stripe's metadata says decides; where the host never named one, null takes nothing away."""
    add_customer(session, platform_stripe_customer_id="cus_1")
    cleared = add_customer(session, platform_stripe_customer_id=None)
    assert cleared.platform_stripe_customer_id is None
    take_in(session, says("c1", "cus_2", business="sunrise"))
    assert add_customer(session).platform_stripe_customer_id == "cus_2"
    assert (
        add_customer(session, platform_stripe_customer_id=None).platform_stripe_customer_id
        == "cus_2"
    )


def test_null_takes_back_no_refusal(session: Session) -> None:
    """A host that unlinked somebody and sends null each night does not hand them to Stripe's metadata again."""
    made = add_customer(session)
    take_in(session, says("c1", "cus_1", business="sunrise"))
    customers.unlink_customer(
        session, customer_id=made.customer_id, stripe_customer_id=None, withdraw_only=False, now=NOW
    )
    assert (
        add_customer(session, platform_stripe_customer_id=None).platform_stripe_customer_id is None
    )


WRONG_STRIPE_IDS = (
    "hello",
    "sub_1Nabc",
    "gcus_1Nabc",
    "cus_",
    "cus_1 2",
    "CUS_1",
    "cus_" + "x" * 252,
)


@pytest.mark.parametrize("wrong", WRONG_STRIPE_IDS)
def test_what_is_no_stripe_customer_is_refused_at_every_door(session: Session, wrong: str) -> None:
    """And what one looks like is said; an import leaves such a line out."""
    made = add_customer(session)
    with pytest.raises(InvalidArgument, match=r"^platform_stripe_customer_id: .*like cus_"):
        add_customer(session, platform_stripe_customer_id=wrong)
    with pytest.raises(InvalidArgument, match=r"^stripe_customer_id: .*like cus_"):
        customers.link_customer(
            session, customer_id=made.customer_id, stripe_customer_id=wrong, now=NOW
        )
    lines = [CustomerLine("c2", "Ann", "ann@example.com", None, None, wrong)]
    done = importing.import_customers(session, business_id="sunrise", lines=lines, now=NOW)
    assert "like cus_" in done.errors[0].error


def test_a_row_that_cannot_be_read_is_named_by_its_place_and_the_others_are_written(
    session: Session,
) -> None:
    """As one that is wrong is: another type, too short, an odd character, no array. Only what is no list at all is refused whole."""
    rows = [
        [5, "Ann", "ann@example.com"],
        ["1", "Ann"],
        ["2", "A\x00", "ann@example.com"],
        {"external_id": "3"},
        None,
        ["4", "Ann", "ann@example.com", None, None, 7],
        ["5", "Ann", "ann@example.com"],
        ["6", "Ann", "nobody"],
    ]
    check = argument_checker(Operations.import_customers)
    lines = check((), {"business_id": "sunrise", "rows": rows})["rows"]
    done = importing.import_customers(session, business_id="sunrise", lines=lines, now=NOW).answer()
    assert done.created == 1
    assert {one.row: one.error for one in done.errors} == {
        0: "external_id: expected str, got int",
        1: "expected array of at least length 3, got 2",
        2: "name: expected text without control characters",
        3: "expected an array",
        4: "expected an array",
        5: "platform_stripe_customer_id: expected str | null, got int",
        7: "email: expected an email address",
    }
    with pytest.raises(InvalidArgument, match=r"^rows: expected array"):
        check((), {"business_id": "sunrise", "rows": {"0": rows[0]}})


@pytest.mark.whole
def test_a_wrong_stripe_id_that_is_stored_can_be_mended(session: Session) -> None:
    """Linked by a release that looked at no form: it is answered as it is, and `link` or `unlink` put it right."""
    ids = [add_customer(session, one).customer_id for one in ("c1", "c2")]
    for one, wrong in zip(session.scalars(select(CustomerRow)), ("hello", "world"), strict=True):
        evidence.host_says(
            session, Merchant(OWN), [evidence.HostWord(one.id, one.public_id, wrong)], NOW
        )
    assert importing.find(session, OWN, "c1", "sunrise").platform_stripe_customer_id == "hello"
    assert add_customer(session, "c1").platform_stripe_customer_id == "hello"
    mended = customers.link_customer(
        session, customer_id=ids[0], stripe_customer_id="cus_1", now=NOW
    )
    assert mended.platform_stripe_customer_id == "cus_1"
    gone = customers.unlink_customer(
        session, customer_id=ids[1], stripe_customer_id="world", withdraw_only=False, now=NOW
    )
    assert gone.platform_stripe_customer_id is None


def test_a_stripe_id_in_conflict_is_refused(session: Session) -> None:
    """What the host has given to one customer is not given to another; for the same customer a new one is its new word."""
    add_customer(session, "c1", platform_stripe_customer_id="cus_1")
    with pytest.raises(StripeCustomerConflict):
        add_customer(session, "c2", platform_stripe_customer_id="cus_1")
    again = add_customer(session, "c1", platform_stripe_customer_id="cus_2")
    assert again.platform_stripe_customer_id == "cus_2"


def test_a_deleted_stripe_id_is_not_taken_up_again(session: Session) -> None:
    """A host that repeats an id which Stripe has deleted gets no button that could only fail."""
    handle(session, event(events.CustomerDeleted(stripe_customer_id="cus_1")), NOW)
    made = add_customer(session, platform_stripe_customer_id="cus_1")
    assert made.platform_stripe_customer_id is None


def test_a_customer_of_an_unknown_business_is_not_found(session: Session) -> None:
    """The business comes first."""
    with pytest.raises(NotFound, match="business_id"):
        add_customer(session, business_id="nobody")


def test_appointments_are_counted_by_what_became_of_them(session: Session) -> None:
    """New, changed and repeated appointments are told apart."""
    made = add_customer(session)
    assert give(session, made.customer_id, visit("a"), visit("b")) == counts(2, 0, 0)
    again = give(session, made.customer_id, visit("a"), visit("b", status="cancelled"), visit("c"))
    assert again == counts(1, 1, 1)


def test_what_is_omitted_of_an_appointment_stays_and_null_clears(session: Session) -> None:
    """A call that moves an appointment needs to know neither its place nor its status."""
    made = add_customer(session)

    def after(**changes: Any) -> tuple[Any, ...]:
        give(session, made.customer_id, visit(**changes))
        session.flush()
        row = session.scalars(select(AppointmentRow)).one()
        return row.ends_at, row.location, row.status

    assert after() == (None, None, "scheduled")
    end = ahead(days=1, hours=2)
    full = after(ends_at=end, location="Elm Street", status="completed")
    assert full == (end, "Elm Street", "completed")
    assert after(title="Windows") == full
    assert after(location=None) == (end, None, "completed")
    assert after(status=None) == (end, None, "scheduled")
    assert after(ends_at=None) == (None, None, "scheduled")


def test_a_kept_end_goes_when_the_start_moves_past_it(session: Session) -> None:
    """The new start is right whatever the host knows of the end, and no appointment ends before it starts."""
    made = add_customer(session)
    give(session, made.customer_id, visit(ends_at=ahead(days=1, hours=2)))
    assert give(session, made.customer_id, visit(starts_at=ahead(days=1, hours=1))) == counts(
        0, 1, 0
    )
    row = session.scalars(select(AppointmentRow)).one()
    assert row.ends_at == ahead(days=1, hours=2)
    give(session, made.customer_id, visit(starts_at=ahead(days=2)))
    assert row.ends_at is None


def test_the_same_moment_in_another_offset_is_no_change(session: Session) -> None:
    """10:00-08:00 and 18:00Z are one moment."""
    made = add_customer(session)
    give(session, made.customer_id, visit())
    elsewhere = visit(starts_at=ahead(days=1).astimezone(dt.timezone(dt.timedelta(hours=-8))))
    assert give(session, made.customer_id, elsewhere) == counts(0, 0, 1)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"email": "maria"}, "email"),
        ({"email": "maria@nowhere"}, "email"),
        ({"email": "a@b.example\nBcc: x@y.example"}, "email"),
        ({"email": "ma\u200bria@example.com"}, "email"),
        ({"email": "\u202emaria@example.com"}, "email"),
        ({"name": " "}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "two\nlines"}, "name"),
        ({"name": "\u200b \u2060"}, "name"),
        ({"locale": "xx_nowhere"}, "locale"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"timezone": "localtime"}, "timezone"),
        ({"timezone": "Factory"}, "timezone"),
        ({"timezone": "right/Europe/Berlin"}, "timezone"),
        ({"external_id": "with space"}, "external_id"),
        ({"platform_stripe_customer_id": ""}, "platform_stripe_customer_id"),
    ],
)
def test_wrong_customer_arguments_name_their_field(
    session: Session, changes: dict[str, Any], field: str
) -> None:
    """Each wrong argument is refused with its name."""
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        add_customer(session, **changes)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"color": "red"}, "color"),
        ({"color": "#fff"}, "color"),
        ({"color": "#ffffff;}"}, "color"),
        ({"website": "javascript:alert(1)"}, "website"),
        ({"logo_url": "https://"}, "logo_url"),
        ({"logo_url": "https://a.example;script-src/x.png"}, "logo_url"),
        ({"logo_url": "https://user@a.example/x.png"}, "logo_url"),
        ({"logo_url": "https://a.example:port/x.png"}, "logo_url"),
        ({"phone": "call me"}, "phone"),
        ({"locale": "klingon"}, "locale"),
        ({"timezone": ""}, "timezone"),
    ],
)
def test_wrong_business_arguments_name_their_field(
    session: Session, changes: dict[str, Any], field: str
) -> None:
    """Each wrong argument is refused with its name; nothing can slip into the page's policy or style."""
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        add_business(session, **changes)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ([visit(ends_at=ahead(hours=1))], r"appointments\[0\]\.ends_at"),
        ([visit("a"), visit("a")], r"appointments\[1\]\.external_id"),
        ([visit(title="")], r"appointments\[0\]\.title"),
        ([visit(str(number)) for number in range(501)], "appointments"),
    ],
)
def test_wrong_appointments_name_their_field(
    session: Session, given: list[AppointmentArgument], field: str
) -> None:
    """An appointment that can't be is refused with its place in the list."""
    made = add_customer(session)
    with pytest.raises(InvalidArgument, match=f"^{field}: "):
        give(session, made.customer_id, *given)


def test_a_rotated_link_replaces_the_one_before(session: Session) -> None:
    """The old generation is told to be replaced, a customer who never was is invalid."""
    made = add_customer(session)
    old = customers.link_of(session, customer_id=made.customer_id)
    new = customers.rotate_link(session, customer_id=made.customer_id, now=NOW)
    assert (old.generation, new.generation) == (1, 2)
    session.flush()
    found, gone = resolved_links.look_many(session, [made.customer_id, CUSTOMER_ID], NOW)
    assert resolved_links.current(found, Claim(made.customer_id, 2)).name == "Maria Lopez"
    with pytest.raises(LinkReplaced):
        resolved_links.current(found, Claim(made.customer_id, 1))
    with pytest.raises(LinkInvalid):
        resolved_links.current(gone, Claim(CUSTOMER_ID, 1))


@pytest.mark.whole
def test_a_look_takes_one_statement_for_any_number_of_customers(session: Session) -> None:
    """The hot path: customers, businesses, invoices, appointments and subscriptions of many in one statement."""
    ids = []
    for number in range(3):
        made = add_customer(session, f"c{number}", platform_stripe_customer_id=f"cus_{number}")
        give(session, made.customer_id, visit("a"), visit("b", starts_at=ago(days=1)))
        ids.append(made.customer_id)
        for invoice in range(2):
            data = failed(stripe_customer_id=f"cus_{number}", invoice_id=f"in_{number}_{invoice}")
            handle(session, event(data, ago(hours=1)), NOW)
    session.flush()
    session.expunge_all()
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    engine = session.get_bind()
    sql_event.listen(engine, "before_cursor_execute", note)
    found = page.lookup_many(session, [*ids, CUSTOMER_ID], NOW)
    sql_event.remove(engine, "before_cursor_execute", note)
    assert len(statements) == 1
    assert set(found) == set(ids)
    for number, public_id in enumerate(ids):
        snapshot = found[public_id]
        assert [each.invoice_id for each in snapshot.invoices] == [
            f"in_{number}_0",
            f"in_{number}_1",
        ]
        assert [each.external_id for each in snapshot.appointments] == ["a", "b"]


def test_a_look_brings_the_nearest_appointments(session: Session) -> None:
    """Of very many appointments the next twenty and the last ten come, each in its order; one without an end is ahead for an hour."""
    made = add_customer(session)
    give(
        session,
        made.customer_id,
        visit("begun", starts_at=ago(minutes=59)),
        visit("ends", starts_at=ago(hours=5), ends_at=ahead(minutes=1)),
        visit("gone", starts_at=ago(minutes=61)),
        visit("ended", starts_at=ago(minutes=59), ends_at=ago(minutes=1)),
        *(visit(f"f{number:02}", starts_at=ahead(days=number + 1)) for number in range(30)),
        *(visit(f"p{number:02}", starts_at=ago(days=number + 1)) for number in range(30)),
    )
    session.flush()
    snapshot = lookup(session, made.customer_id, NOW)
    assert snapshot is not None
    assert [each.external_id for each in snapshot.appointments] == [
        *("ends", "begun", *(f"f{number:02}" for number in range(18))),
        *("ended", "gone", *(f"p{number:02}" for number in range(8))),
    ]


def test_one_fresh_link_an_hour(session: Session) -> None:
    """Whoever asks, a customer is mailed one fresh link an hour; one that could not be sent doesn't count."""
    made = add_customer(session)
    session.flush()
    assert resolved_links.take_fresh_link(session, made.customer_id, NOW)
    assert not resolved_links.take_fresh_link(session, made.customer_id, ahead(minutes=59))
    assert resolved_links.take_fresh_link(session, made.customer_id, ahead(minutes=61))
    resolved_links.give_back_fresh_link(session, made.customer_id, ahead(minutes=61))
    assert resolved_links.take_fresh_link(session, made.customer_id, ahead(minutes=62))


def test_contact_by_either_id(session: Session) -> None:
    """The notifier finds whom to write to by Stripe's customer id, and for a fresh link by our own."""
    made = add_customer(session, platform_stripe_customer_id="cus_1")
    asked = [Asked(StripeCustomer(OWN, "cus_1")), Asked(customer_id=made.customer_id)]
    by_stripe, by_ours = customers.contacts(session, asked, NOW)
    assert by_stripe == by_ours
    assert by_ours is not None
    assert by_ours.customer_id == made.customer_id
    assert by_ours.business.business_id == "sunrise"
    assert by_ours.can_manage_billing


def test_whom_stripe_does_not_know_has_no_payments(session: Session) -> None:
    """No email tells them of any."""
    made = add_customer(session)
    (found,) = customers.contacts(session, [Asked(customer_id=made.customer_id)], NOW)
    assert found is not None
    assert not found.can_manage_billing


def test_contacts_of_many_are_one_statement(session: Session) -> None:
    """Each question gets its own answer, whichever id it asked by; unknown ones are None."""
    made = add_customer(session, platform_stripe_customer_id="cus_1")
    session.flush()
    asked = [
        Asked(StripeCustomer(OWN, "cus_9")),
        Asked(StripeCustomer(OWN, "cus_1")),
        Asked(customer_id=made.customer_id),
        Asked(StripeCustomer(OWN, "cus_1")),
    ]
    statements: list[str] = []

    def note(*arguments: Any) -> None:
        statements.append(arguments[2])

    engine = session.get_bind()
    sql_event.listen(engine, "before_cursor_execute", note)
    found = customers.contacts(session, asked, NOW)
    sql_event.remove(engine, "before_cursor_execute", note)
    assert [None if one is None else one.customer_id for one in found] == [
        None,
        *[made.customer_id] * 3,
    ]
    assert len(statements) == 1


def test_contact_wants_one_id(session: Session) -> None:
    """Neither id, or both, is the caller's mistake and named so; an unknown one is UnknownCustomer."""
    with pytest.raises(InvalidArgument, match="stripe_customer_id or customer_id"):
        customers.asked_for(OWN, None, None)
    with pytest.raises(InvalidArgument, match="not both"):
        customers.asked_for(OWN, "cus_1", CUSTOMER_ID)
    with pytest.raises(UnknownCustomer):
        customers.known(*customers.contacts(session, [Asked(customer_id=CUSTOMER_ID)], NOW))
