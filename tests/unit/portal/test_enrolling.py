"""Who becomes a customer by what Stripe tells, and who doesn't."""

from __future__ import annotations

import datetime as dt
import itertools
import json
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.event import listen, remove
from sqlalchemy.orm import Session

from services.billing.stripe_events.imports import Listed, Run, read_page
from services.portal.domain.profiles import email_told, name_told
from services.portal.handlers import customers, enrolling, importing, proposals, timeline
from services.portal.handlers.events import handle
from services.portal.models import (
    BusinessRow,
    CustomerRow,
    LinkEvidenceRow,
    LinkProposalRow,
    OutboxEvent,
    StripeProfileRow,
)
from shared import events
from shared.contracts.accounts import OWN
from shared.contracts.rpc.portal import CustomerArguments
from tests.unit.portal.builders import (
    NOW,
    REFERENCES,
    add_business,
    add_customer,
    ago,
    ahead,
    checkout,
    enrol,
    event,
    lookup,
    says,
    seen,
    take_in,
)


@pytest.fixture(autouse=True)
def _business(session: Session) -> None:
    add_business(session, enrolment="from_stripe")


def rows(session: Session) -> dict[str, CustomerRow]:
    session.flush()
    return {row.external_id: row for row in session.scalars(select(CustomerRow))}


def standings(session: Session, business_id: str = "sunrise") -> dict[str, tuple[str, str | None]]:
    found = proposals.proposals(session, business_id=business_id, after="", limit=100)
    return {one.stripe_customer_id: (one.standing, one.doubt) for one in found.proposals}


# --- enrolling -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pays", ["paid", "saved_method", "subscribed"])
def test_who_pays_becomes_a_customer_with_a_button(session: Session, pays: str) -> None:
    """Paying, saving a card and subscribing alike: a page of their own, linked by enrolment, without a time zone."""
    enrol(session, seen(name="Maria Lopez", locale="pt-BR"))
    assert rows(session) == {}
    enrol(session, seen(pays=pays, email=None))
    row = rows(session)["stripe:cus_1"]
    assert (row.name, row.email, row.locale) == ("Maria Lopez", "maria@example.com", "pt_BR")
    assert (row.platform_stripe_customer_id, row.link_source, row.timezone) == (
        "cus_1",
        "enrolled",
        None,
    )
    shown = lookup(session, row.public_id, NOW)
    assert shown is not None
    assert shown.can_manage_billing


@pytest.mark.whole
def test_the_story_of_an_enrolled_customer_does_not_name_the_host(session: Session) -> None:
    """What `portico explain` says they came by: Stripe, and not an application that has told of nobody."""
    enrol(session, seen("cus_a", email="ann@example.com", pays="paid"))
    made = rows(session)["stripe:cus_a"]
    told = timeline.story(
        session, OWN, invoice_id=None, stripe_customer_id=None, customer_id=made.public_id, now=NOW
    )
    (first,) = (one for one in told.steps if one.step == "told")
    assert first.text == "Portico enrolled this customer from Stripe"


def test_what_stripe_tells_may_be_anything(session: Session) -> None:
    """A name of any length and with any characters, or none, and a locale that nobody knows: the customer is there all the same."""
    enrol(session, seen(name="N" * 300, locale="xx-nowhere", pays="paid", imported=True))
    enrol(session, seen("cus_2", "two@example.com", name=None, pays="paid", imported=True))
    enrol(session, seen("cus_3", "x@example.com", name="A\u202eB\x00\n C", pays="paid"))
    made = rows(session)
    assert len(made["stripe:cus_1"].name) == 200
    assert made["stripe:cus_1"].locale is None
    assert made["stripe:cus_2"].name == "two"
    assert made["stripe:cus_3"].name == "AB C"


@pytest.mark.whole
def test_the_same_again_makes_nobody_again(session: Session) -> None:
    """Events come twice, and an import tells what is known."""
    enrol(session, seen(pays="paid"))
    enrol(session, seen(pays="paid"), seen(pays="subscribed", at=ahead(days=1)))
    enrol(session, seen(pays="paid", imported=True, at=ahead(days=2)))
    assert list(rows(session)) == ["stripe:cus_1"]
    said = session.scalars(select(LinkEvidenceRow.source)).all()
    assert said == ["enrolled"]


STORY = (
    seen(email=None, at=ago(hours=5)),
    seen(email="old@example.com", name="Old Name", at=ago(hours=4)),
    seen(email="stale@example.com", name="Copied", pays="paid", at=ago(hours=1)),
    seen(email="maria@example.com", name="Maria", at=ago(hours=2)),
    seen(email=None, pays="subscribed", at=ago(hours=3)),
)


@pytest.mark.whole
@pytest.mark.parametrize("order", list(itertools.permutations(range(len(STORY))))[::7])
def test_no_order_of_events_matters(session: Session, order: tuple[int, ...]) -> None:
    """What the Stripe customer itself said last holds, and no copy on an invoice; once they pay they pay."""
    for number in order:
        enrol(session, STORY[number], STORY[order[0]])
    (row,) = rows(session).values()
    assert (row.name, row.email) == ("Maria", "maria@example.com")
    (profile,) = session.scalars(select(StripeProfileRow)).all()
    assert (profile.pays, profile.pays_at) == ("subscribed", ago(hours=3))


def read_by_billing(*pages: tuple[Listed, dict[str, Any]], at: dt.datetime = NOW) -> list[Any]:
    """What billing makes of objects that an import reads, each on a page of its own."""
    read = (
        read_page(Run(OWN, False, "run", at), what, [json.dumps(found).encode()])
        for what, found in pages
    )
    told = [one.event for page in read for one in page.outgoing]
    return [one for one in told if isinstance(one.data, events.StripeCustomerSeen)]


CUSTOMER = {"id": "cus_1", "object": "customer", "email": "m@example.com", "name": "Maria"}
SUBSCRIPTION = {
    "id": "sub_1",
    "object": "subscription",
    "customer": "cus_1",
    "status": "active",
    "items": {"data": []},
}


@pytest.mark.whole
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0), (1, 0, 1)])
@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("method", [None, "pm_1"])
def test_an_imported_subscription_takes_no_address_away(
    session: Session, order: tuple[int, ...], together: bool, method: str | None
) -> None:
    """It says only that somebody pays: whoever the list of customers named is enrolled, in whatever order the two come."""
    customer = CUSTOMER | {"invoice_settings": {"default_payment_method": method}}
    told = read_by_billing((Listed.CUSTOMERS, customer))
    told += read_by_billing((Listed.SUBSCRIPTIONS, SUBSCRIPTION), at=ahead(minutes=1))
    assert len(told) == 2
    for batch in [order] if together else [(one,) for one in order]:
        enrol(session, *(told[number] for number in batch))
    row = rows(session)["stripe:cus_1"]
    assert (row.name, row.email) == ("Maria", "m@example.com")


def test_an_imported_subscription_hides_no_rival(session: Session) -> None:
    """The real customer still stands against a stranger with the same address: nothing can be accepted."""
    add_customer(session, "v", email="m@example.com")
    told = read_by_billing((Listed.CUSTOMERS, CUSTOMER), (Listed.SUBSCRIPTIONS, SUBSCRIPTION))
    enrol(session, *told, seen("cus_evil", "m@example.com", pays="paid"))
    doubt = ("ambiguous", "several_stripe_customers")
    assert standings(session) == {"cus_1": doubt, "cus_evil": doubt}


@pytest.mark.whole
@pytest.mark.parametrize("later", [1, 3])
def test_an_address_changed_together_with_the_card_is_the_customers(
    session: Session, later: int
) -> None:
    """Stripe tells of both in one event; an invoice's copy does not go before it, whenever that comes."""
    enrol(session, seen(email="old@example.com"), seen(email=None, pays="paid"))
    enrol(session, seen(email="new@example.com", pays="saved_method", at=ahead(hours=2)))
    enrol(session, seen(email="old@example.com", pays="paid", at=ahead(hours=later)))
    assert rows(session)["stripe:cus_1"].email == "new@example.com"


@pytest.mark.whole
def test_deleted_at_stripe_is_never_enrolled(session: Session) -> None:
    """Told before everything else, or after: nobody is linked, and nothing is kept of it."""
    enrol(session, seen(deleted=True, email=None))
    enrol(session, seen(pays="paid"))
    assert rows(session) == {}
    enrol(session, seen("cus_2", "two@example.com", pays="paid"))
    handle(session, event(events.CustomerDeleted(stripe_customer_id="cus_2")), NOW)
    assert rows(session)["stripe:cus_2"].platform_stripe_customer_id is None
    assert session.scalars(select(StripeProfileRow)).all() == []
    enrol(session, seen("cus_2", "two@example.com", pays="paid", at=ahead(days=1)))
    assert rows(session)["stripe:cus_2"].platform_stripe_customer_id is None


@pytest.mark.whole
def test_whoever_is_linked_already_is_not_enrolled_besides(session: Session) -> None:
    """By the host's word, by metadata, by a signed reference."""
    add_customer(session, "c1", email="c1@example.com", platform_stripe_customer_id="cus_1")
    add_customer(session, "c2", email="c2@example.com")
    take_in(session, says("c2", "cus_2", business="sunrise"))
    third = add_customer(session, "c3", email="c3@example.com").customer_id
    take_in(session, checkout(REFERENCES.write(third, "sunrise", NOW), "cus_3"))
    for number in (1, 2, 3):
        enrol(session, seen(f"cus_{number}", f"other{number}@example.com", pays="paid"))
    assert list(rows(session)) == ["c1", "c2", "c3"]
    assert standings(session) == {}


@pytest.mark.whole
def test_who_cannot_be_written_to_is_told_and_not_enrolled(session: Session) -> None:
    """No address, and what is none; who doesn't pay waits."""
    enrol(session, seen("cus_1", None, pays="paid"), seen("cus_2", "not an address", pays="paid"))
    enrol(session, seen("cus_3", "three@example.com"))
    enrol(session, seen("cus_4", "four@example.com\x00", pays="paid"))
    enrol(session, seen("cus_5", "fi\u200bve@example.com", pays="paid"))
    assert rows(session) == {}
    assert standings(session) == {
        "cus_1": ("no_email", None),
        "cus_2": ("bad_email", None),
        "cus_3": ("not_paying", None),
        "cus_4": ("bad_email", None),
        "cus_5": ("bad_email", None),
    }


@pytest.mark.whole
def test_letters_whose_case_a_database_may_not_know_enrol_nobody(session: Session) -> None:
    """A customer may have the address in another case, unseen: it is told, and no enrolled customer changes to it."""
    add_customer(session, "v", email="Élan@example.com")
    enrol(session, seen("cus_1", "élan@example.com", pays="paid"), seen("cus_2", pays="paid"))
    enrol(session, seen("cus_2", "élan@example.com", at=ahead(hours=1)))
    found = [(name, row.email) for name, row in rows(session).items()]
    assert found == [("v", "Élan@example.com"), ("stripe:cus_2", "maria@example.com")]
    assert standings(session) == {"cus_1": ("email_not_ascii", None)}


def test_an_id_of_the_hosts_that_looks_like_ours_is_left_alone(session: Session) -> None:
    """One that stands from before: nobody is enrolled under it, and it is told."""
    session.add(
        CustomerRow(
            public_id="A" * 22,
            business_pk=session.scalars(select(BusinessRow.id)).one(),
            external_id="stripe:cus_1",
            name="Host's own",
            email="own@example.com",
            created_at=NOW,
            updated_at=NOW,
        )
    )
    enrol(session, seen(pays="paid"))
    assert rows(session)["stripe:cus_1"].platform_stripe_customer_id is None
    assert standings(session) == {"cus_1": ("id_taken", None)}
    add_customer(session, "stripe:cus_1", name="Changed")
    assert rows(session)["stripe:cus_1"].name == "Changed"


def test_of_two_with_one_address_the_first_to_pay_is_enrolled(session: Session) -> None:
    """Nobody gets two pages at one address; the other one is told."""
    enrol(
        session,
        seen("cus_b", "MARIA@example.com", pays="paid", at=ago(hours=1)),
        seen("cus_a", pays="paid", at=ago(hours=2)),
    )
    assert list(rows(session)) == ["stripe:cus_a"]
    assert standings(session)["cus_b"] == ("ambiguous", "customer_has_another")


@pytest.mark.whole
def test_a_change_at_stripe_changes_who_was_enrolled(session: Session) -> None:
    """Name, address and language follow; what the host has changed, and Stripe has not, stays."""
    enrol(session, seen(name="Maria", locale="de", pays="paid", imported=True))
    add_customer(session, "stripe:cus_1", name="Maria L.", email="maria@example.com")
    enrol(session, seen(email="new@example.com", name="Maria", locale="fr", at=ahead(hours=1)))
    row = rows(session)["stripe:cus_1"]
    assert (row.name, row.email, row.locale) == ("Maria L.", "new@example.com", "fr")
    enrol(session, seen(email=None, name="Maria Lopez", at=ahead(hours=2)))
    assert (row.name, row.email) == ("Maria Lopez", "new@example.com")


@pytest.mark.whole
def test_an_address_that_comes_free_in_a_batch_is_given_in_it(session: Session) -> None:
    """One leaves it, another pays with it: together as one after the other. Of two who change to one address the first has it."""
    enrol(session, seen("cus_1", "a@example.com", pays="paid"))
    enrol(
        session,
        seen("cus_1", "b@example.com", at=ahead(hours=2)),
        seen("cus_2", "a@example.com", pays="paid"),
        seen("cus_3", "b@example.com", pays="paid"),
    )
    found = {name: row.email for name, row in rows(session).items()}
    assert found == {"stripe:cus_1": "b@example.com", "stripe:cus_2": "a@example.com"}
    enrol(
        session,
        seen("cus_1", "c@example.com", at=ahead(hours=4)),
        seen("cus_2", "C@example.com", at=ahead(hours=3)),
    )
    found = {name: row.email for name, row in rows(session).items()}
    assert found == {"stripe:cus_1": "b@example.com", "stripe:cus_2": "C@example.com"}


def later(session: Session, external_id: str, email: str, **told: Any) -> None:
    """The host changes a customer, some time afterwards."""
    given = CustomerArguments(
        business_id="sunrise", external_id=external_id, name="Maria", email=email, **told
    )
    customers.upsert_customer(session, given, ahead(minutes=5))
    session.expire_all()


def look_again(session: Session) -> str:
    """The hourly look at what waits; the address of the Stripe customer's row then."""
    enrolling.follow_waiting(session, 0, ahead(hours=3))
    return rows(session)["stripe:cus_1"].email


def refused(session: Session) -> None:
    """Enrolled, and changed at Stripe to an address that another customer has."""
    add_customer(session, "v", email="v@example.com")
    enrol(session, seen("cus_1", "a@example.com", pays="paid"))
    enrol(session, seen("cus_1", "V@example.com", name="Nina", at=ahead(hours=1)))
    row = rows(session)["stripe:cus_1"]
    assert (row.email, row.name) == ("a@example.com", "Nina")


@pytest.mark.whole
def test_an_address_that_was_anothers_is_followed_once_it_is_free(session: Session) -> None:
    """By the hourly look, and until then not; once, and the host's next word on it stays."""
    refused(session)
    assert look_again(session) == "a@example.com"
    later(session, "v", "w@example.com")
    assert look_again(session) == "V@example.com"
    assert session.scalars(select(LinkProposalRow)).all() == []
    later(session, "stripe:cus_1", "host@example.com")
    assert look_again(session) == "host@example.com"


@pytest.mark.whole
def test_the_next_event_follows_an_address_that_has_come_free(session: Session) -> None:
    """Whatever it tells; so does an import."""
    refused(session)
    later(session, "v", "w@example.com")
    enrol(session, seen("cus_1", "V@example.com", name="Nina", imported=True, at=ahead(hours=2)))
    assert rows(session)["stripe:cus_1"].email == "V@example.com"


@pytest.mark.whole
def test_what_the_host_says_since_is_newer_than_an_address_that_waits(session: Session) -> None:
    """It is not overwritten by what Stripe had told before."""
    refused(session)
    later(session, "stripe:cus_1", "host@example.com")
    later(session, "v", "w@example.com")
    assert look_again(session) == "host@example.com"
    assert session.scalars(select(LinkProposalRow)).all() == []


@pytest.mark.whole
def test_a_new_link_is_no_word_on_an_address_that_waits(session: Session) -> None:
    """Nor is another Stripe customer, once it is theirs no more: only what the host says of name and address is."""
    refused(session)
    row = rows(session)["stripe:cus_1"]
    customers.rotate_link(session, customer_id=row.public_id, now=ahead(hours=2))
    for minute, stripe_id in enumerate(("cus_9", "cus_1")):
        given = CustomerArguments(
            business_id="sunrise",
            external_id="stripe:cus_1",
            name="Nina",
            email="a@example.com",
            platform_stripe_customer_id=stripe_id,
        )
        customers.upsert_customer(session, given, ahead(hours=2, minutes=1 + minute))
        assert rows(session)["stripe:cus_1"].platform_stripe_customer_id == stripe_id
    assert look_again(session) == "a@example.com"
    later(session, "v", "w@example.com")
    assert look_again(session) == "V@example.com"


@pytest.mark.whole
@pytest.mark.parametrize("email", ["a@example.com", "c@example.com", None])
def test_an_address_that_stripe_has_no_more_waits_no_more(
    session: Session, email: str | None
) -> None:
    """Changed back, changed on, taken away."""
    refused(session)
    enrol(session, seen("cus_1", email, name="Nina", at=ahead(hours=2)))
    assert session.scalars(select(LinkProposalRow)).all() == []
    later(session, "v", "w@example.com")
    assert look_again(session) == (email or "a@example.com")


@pytest.mark.whole
def test_of_two_that_wait_for_one_address_one_gets_it(session: Session) -> None:
    """When whoever has it is erased; the other one goes on waiting."""
    refused(session)
    enrol(session, seen("cus_2", "b@example.com", pays="paid"))
    enrol(session, seen("cus_2", "v@example.com", at=ahead(hours=1)))
    importing.erase(
        session, OWN, customer_id=rows(session)["v"].public_id, stripe_customer_id=None, now=NOW
    )
    look_again(session)
    emails = sorted(row.email.lower() for row in rows(session).values())
    assert emails in (["a@example.com", "v@example.com"], ["b@example.com", "v@example.com"])
    (waits,) = session.scalars(select(LinkProposalRow))
    assert waits.state == "address_waits"


@pytest.mark.whole
@pytest.mark.parametrize("word", ["accepted", "refused"])
def test_what_a_person_decided_stays_when_an_address_could_wait(
    session: Session, word: str
) -> None:
    """A proposal of the same two was decided, and the host has linked them; Stripe tells an address that another has. Each event counts,
    and the decision is kept."""
    enrol(session, seen("cus_0", "a@example.com", pays="paid"))
    linked = rows(session)["stripe:cus_0"]
    if word == "accepted":
        handle(session, event(events.CustomerDeleted(stripe_customer_id="cus_0")), NOW)
    enrol(session, seen("cus_1", "a@example.com", pays="paid", at=ahead(minutes=2)))
    decide = {"accepted": proposals.accept, "refused": proposals.refuse}[word]
    ids = [f"cus_1:{linked.public_id}"]
    decided = decide(session, proposal_ids=ids, decided_by="Ann", now=ahead(minutes=3))
    assert decided.decided == ids
    later(session, "stripe:cus_0", "a@example.com", platform_stripe_customer_id="cus_1")
    add_customer(session, "v", email="v@example.com")
    for hour, name in enumerate(("Nina", "Mina"), start=1):
        enrol(session, seen("cus_1", "v@example.com", name=name, at=ahead(hours=hour)))
    row = rows(session)["stripe:cus_0"]
    assert (row.platform_stripe_customer_id, row.email) == ("cus_1", "a@example.com")
    assert row.name == "Mina"
    (kept,) = session.scalars(select(LinkProposalRow))
    assert (kept.state, kept.decided_by, kept.decided_at) == (word, "Ann", ahead(minutes=3))


@pytest.mark.whole
def test_an_address_waits_for_whose_stripe_customer_it_is_now(session: Session) -> None:
    """It was another customer's before, for whom one waited: Stripe's next address belongs to this one."""
    refused(session)
    enrol(session, seen("cus_2", "b@example.com", pays="paid"))
    (before,) = session.scalars(select(LinkProposalRow))
    before.customer_id = rows(session)["stripe:cus_2"].public_id
    add_customer(session, "u", email="u@example.com")
    enrol(session, seen("cus_1", "u@example.com", at=ahead(hours=2)))
    (waits,) = session.scalars(select(LinkProposalRow))
    assert waits.customer_id == rows(session)["stripe:cus_1"].public_id
    later(session, "u", "w@example.com")
    assert look_again(session) == "u@example.com"


@pytest.mark.whole
def test_what_waits_for_nobody_who_is_enrolled_is_forgotten(session: Session) -> None:
    """The host has claimed the customer, or the business enrols no more."""
    refused(session)
    add_customer(session, "mine", email="m@example.com", platform_stripe_customer_id="cus_1")
    enrolling.follow_waiting(session, 0, ahead(hours=3))
    assert session.scalars(select(LinkProposalRow)).all() == []


# --- a stranger ----------------------------------------------------------------------------------------------


def untouched(session: Session, public_id: str) -> tuple[Any, ...]:
    row = session.scalars(select(CustomerRow).where(CustomerRow.public_id == public_id)).one()
    return row.email, row.name, row.platform_stripe_customer_id, row.link_generation


def test_a_strangers_payment_with_a_victims_address_binds_and_tells_nothing(
    session: Session,
) -> None:
    """Anybody can pay a Payment Link with anybody's address: it is proposed, nobody is linked, no event leaves, and the victim's page
    is as it was."""
    victim = add_customer(session, "v", email="Victim@Example.com").customer_id
    page, before = lookup(session, victim, NOW), untouched(session, victim)
    enrol(session, seen("cus_evil", "victim@example.com", name="Victim", pays="paid"))
    assert list(rows(session)) == ["v"]
    assert untouched(session, victim) == before
    assert lookup(session, victim, NOW) == page
    assert session.scalars(select(OutboxEvent)).all() == []
    assert standings(session) == {"cus_evil": ("proposed", None)}


@pytest.mark.whole
def test_a_victim_who_comes_later_keeps_a_page_of_their_own(session: Session) -> None:
    """The stranger is enrolled already: each has a row, and that they are one is for a person to say. So it is when the victim's
    address changes to it later, and when the stranger's does."""
    enrol(session, seen("cus_evil", "victim@example.com", pays="paid"))
    victim = add_customer(session, "v", email="victim@example.com").customer_id
    other = add_customer(session, "w", email="w@example.com").customer_id
    evil = rows(session)["stripe:cus_evil"].public_id
    assert untouched(session, victim)[2] is None
    assert untouched(session, evil)[2] == "cus_evil"
    assert standings(session) == {"cus_evil": ("proposed", None)}
    enrol(session, seen("cus_evil", "w@example.com", at=ahead(hours=1)))
    assert untouched(session, evil)[0] == "victim@example.com"
    assert untouched(session, other)[2] is None
    add_customer(session, "v", email="elsewhere@example.com")
    add_customer(session, "v", email="w@example.com")
    assert untouched(session, victim)[2] is None
    assert standings(session) == {"cus_evil": ("ambiguous", "several_customers")}


@pytest.mark.whole
def test_a_refused_stranger_does_not_come_back_to_the_victims_address(session: Session) -> None:
    """That a person said no to the two makes the address nobody else's: what is mailed about the stranger goes where it went."""
    victim = add_customer(session, "v", email="v@example.com").customer_id
    enrol(session, seen("cus_evil", "v@example.com", pays="paid"))
    proposals.refuse(session, proposal_ids=[f"cus_evil:{victim}"], decided_by="ann", now=NOW)
    enrol(session, seen("cus_evil", "s@example.com", at=ahead(hours=1)))
    assert rows(session)["stripe:cus_evil"].email == "s@example.com"
    enrol(session, seen("cus_evil", "V@example.com", at=ahead(hours=2)))
    assert rows(session)["stripe:cus_evil"].email == "s@example.com"


def test_a_victim_who_pays_already_is_not_moved(session: Session) -> None:
    """A second Stripe customer with their address is told, and can't be accepted."""
    add_customer(session, "v", email="v@example.com", platform_stripe_customer_id="cus_v")
    enrol(session, seen("cus_evil", "v@example.com", pays="paid"))
    assert standings(session) == {"cus_evil": ("ambiguous", "customer_has_another")}


# --- forgetting ----------------------------------------------------------------------------------------------


def test_erasing_takes_what_stripe_told(session: Session) -> None:
    """Profile and proposals of a customer go with them."""
    enrol(session, seen(pays="paid"))
    public_id = rows(session)["stripe:cus_1"].public_id
    importing.erase(session, OWN, customer_id=public_id, stripe_customer_id=None, now=NOW)
    assert rows(session) == {}
    assert session.scalars(select(StripeProfileRow)).all() == []


def test_links_and_calls_go_by_the_same_rules_as_for_others(session: Session) -> None:
    """An enrolled customer has a link that can be replaced, and can be unlinked for good."""
    enrol(session, seen(pays="paid"))
    public_id = rows(session)["stripe:cus_1"].public_id
    assert customers.rotate_link(session, customer_id=public_id, now=NOW).generation == 2
    customers.unlink_customer(
        session, customer_id=public_id, stripe_customer_id=None, withdraw_only=False, now=NOW
    )
    enrol(session, seen(pays="paid", at=ahead(days=1)))
    assert rows(session)["stripe:cus_1"].platform_stripe_customer_id is None


def test_texts_are_told_as_they_can_be_stored() -> None:
    """An address that is none stays none; a name is one line."""
    assert email_told(" a\x00b@example.com ") == "a\ufffdb@example.com"
    assert email_told("  ") is None
    assert name_told("\n\t ") is None


@pytest.mark.whole
def test_a_batch_is_decided_in_a_handful_of_statements(session: Session) -> None:
    """Twenty-five new customers together make no statement each: an import of fifty thousand waits for no round trips. (Their own rows
    PostgreSQL takes together, and SQLite one by one.)"""
    counted: list[int] = []

    def count(connection: Any, cursor: Any, statement: str, *more: Any) -> None:
        counted[-1] += not statement.startswith("INSERT")

    engine = session.get_bind()
    listen(engine, "before_cursor_execute", count)
    for many in (2, 25):
        counted.append(0)
        told = (seen(f"cus_{many}_{n}", f"{many}.{n}@a.example", pays="paid") for n in range(many))
        enrol(session, *told)
    remove(engine, "before_cursor_execute", count)
    assert len(rows(session)) == 27
    assert counted[1] - counted[0] < 10
