"""The host claims customers who were enrolled, and people decide about proposals."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, select, update
from sqlalchemy.orm import ORMExecuteState, Session

from services.portal import serializers
from services.portal.handlers import (
    appointments,
    customers,
    importing,
    link_report,
    modes,
    proposals,
    resolved_links,
)
from services.portal.models import (
    AppointmentRow,
    CancellationRequestRow,
    CustomerAliasRow,
    CustomerRow,
    LinkEvidenceRow,
    LinkProposalRow,
    OutboxEvent,
)
from services.portal.tokens.links import Claim
from shared import events
from shared.contracts.accounts import OWN, StripeCustomer
from shared.contracts.rpc.errors import InvalidArgument, LinkReplaced
from shared.contracts.rpc.portal import AppointmentArgument, CustomerLine
from tests.unit.portal.builders import (
    NOW,
    REFERENCES,
    add_business,
    add_customer,
    ago,
    ahead,
    checkout,
    enrol,
    says,
    seen,
    stripe_id_of,
    take_in,
)


@pytest.fixture(autouse=True)
def _business(session: Session) -> None:
    add_business(session, enrolment="from_stripe")


@pytest.fixture
def enrolled(session: Session) -> str:
    """Portico's id of a customer who was enrolled."""
    return make_enrolled(session)


def make_enrolled(session: Session, stripe_id: str = "cus_1", email: str = "m@example.com") -> str:
    enrol(session, seen(stripe_id, email, pays="paid"))
    found = select(CustomerRow.public_id).where(CustomerRow.external_id == f"stripe:{stripe_id}")
    return session.scalars(found).one()


def one_row(session: Session) -> CustomerRow:
    session.flush()
    return session.scalars(select(CustomerRow)).one()


def by_upsert(session: Session, stripe_id: str = "cus_1") -> None:
    add_customer(session, "c1", email="c1@example.com", platform_stripe_customer_id=stripe_id)


def by_link(session: Session, stripe_id: str = "cus_1") -> None:
    public_id = add_customer(session, "c1", email="c1@example.com").customer_id
    customers.link_customer(session, customer_id=public_id, stripe_customer_id=stripe_id, now=NOW)


def by_import(session: Session, stripe_id: str = "cus_1") -> None:
    line = CustomerLine("c1", "Maria", "c1@example.com", None, None, stripe_id)
    done = importing.import_customers(session, business_id="sunrise", lines=[line], now=NOW)
    assert done.errors == []


def by_metadata(session: Session, stripe_id: str = "cus_1") -> None:
    add_customer(session, "c1", email="c1@example.com")
    take_in(session, says("c1", stripe_id, business="sunrise"))


def by_metadata_before(session: Session, stripe_id: str = "cus_1") -> None:
    take_in(session, says("c1", stripe_id, business="sunrise"))
    add_customer(session, "c1", email="c1@example.com")


WAYS = (by_upsert, by_link, by_import, by_metadata, by_metadata_before)


@pytest.mark.whole
@pytest.mark.parametrize("claim", WAYS)
def test_a_claim_leaves_one_row_and_its_links_work(
    session: Session, enrolled: str, claim: Callable[[Session], None]
) -> None:
    """By whatever way, into a new customer of the host's or one who is there: linked by its word, and the link that was given away
    opens the host's customer. Said again, nothing changes."""
    for _ in range(2):
        claim(session)
        row = one_row(session)
        assert (row.external_id, row.email) == ("c1", "c1@example.com")
        assert row.platform_stripe_customer_id == "cus_1"
        assert row.link_source in ("host", "metadata")
        assert row.enrolled_at is None
        (seen_now,) = resolved_links.look_many(session, [enrolled], NOW)
        assert seen_now is not None
        assert seen_now.customer_id == row.public_id
        assert resolved_links.current(seen_now, Claim(enrolled, 1)) is seen_now


def told_since(session: Session) -> dt.datetime | None:
    """From when on failures of the Stripe customer are mailed, as the notifier is told."""
    session.flush()
    asked = customers.Asked(StripeCustomer(OWN, "cus_1"), None)
    (person,) = customers.contacts(session, [asked], NOW)
    assert person is not None
    return serializers.contact(person, "link", "Portico").business.live_since


@pytest.mark.whole
@pytest.mark.parametrize("known_before", [False, True])
@pytest.mark.parametrize("claim", WAYS)
def test_who_was_enrolled_is_mailed_nothing_of_before_nor_after_a_claim(
    session: Session, claim: Callable[[Session], None], known_before: bool
) -> None:
    """Whoever asks first, before the notifier has heard of the enrolment or of the claim: only what has just failed is told of. A line of
    the business that is later holds."""
    if known_before:
        add_customer(session, "c1", email="c1@example.com")
    make_enrolled(session)
    assert told_since(session) == ago(hours=1)
    claim(session)
    assert told_since(session) == ago(hours=1)
    modes.set_mode(session, "sunrise", "live", False, ago(days=9))
    assert told_since(session) == ago(hours=1)
    modes.set_mode(session, "sunrise", "observe", False, NOW)
    modes.set_mode(session, "sunrise", "live", False, NOW)
    assert told_since(session) == NOW


def test_a_customer_of_the_hosts_is_told_of_what_is_older(session: Session) -> None:
    """Nothing was enrolled: what waited for the host's word goes."""
    by_upsert(session)
    assert told_since(session) is None


@pytest.mark.whole
@pytest.mark.parametrize("claim", WAYS)
def test_the_host_may_know_the_customer_before(
    session: Session, claim: Callable[[Session], None]
) -> None:
    """With appointments of their own: they are kept, and so are those of the one who was enrolled."""
    mine = add_customer(session, "c1", email="c1@example.com").customer_id
    enrolled = make_enrolled(session)
    visit(session, mine, "a1", "Mine")
    visit(session, enrolled, "a1", "Theirs")
    visit(session, enrolled, "a2", "Theirs")
    claim(session)
    assert one_row(session).public_id == mine
    kept = session.execute(select(AppointmentRow.external_id, AppointmentRow.title))
    assert dict(kept.tuples().all()) == {"a1": "Mine", "a2": "Theirs"}
    named = session.scalars(select(LinkEvidenceRow.customer_ref)).all()
    assert enrolled not in named


def visit(session: Session, customer_id: str, external_id: str, title: str) -> None:
    given = [AppointmentArgument(external_id=external_id, title=title, starts_at=ahead(days=1))]
    appointments.upsert_appointments(session, customer_id=customer_id, given=given, now=NOW)


@pytest.mark.whole
def test_who_is_new_to_the_host_keeps_the_id_and_the_links(session: Session, enrolled: str) -> None:
    """Nothing is merged where nothing is there: the enrolled row gets the host's id."""
    done = add_customer(session, "c1", platform_stripe_customer_id="cus_1")
    assert (done.customer_id, done.created) == (enrolled, False)
    assert session.scalars(select(CustomerAliasRow)).all() == []


@pytest.mark.whole
def test_replacing_the_link_revokes_the_merged_ones(session: Session) -> None:
    """Old links of both: the generation of the customer counts for those under the other id, too. An old link of the enrolled one,
    replaced before, stays replaced."""
    mine = add_customer(session, "c1", email="c1@example.com").customer_id
    enrolled = make_enrolled(session)
    customers.rotate_link(session, customer_id=enrolled, now=NOW)
    by_link(session)

    assert [works(session, enrolled, one) for one in (1, 2)] == [False, True]
    made = customers.rotate_link(session, customer_id=enrolled, now=NOW)
    assert (made.customer_id, made.generation) == (mine, 2)
    assert [works(session, enrolled, one) for one in (1, 2)] == [False, False]
    both = [customers.Asked(None, enrolled), customers.Asked(None, mine)]
    contacts = customers.contacts(session, both, NOW)
    assert [one and one.customer_id for one in contacts] == [mine] * 2


def test_the_notifier_is_told_which_ids_are_one_persons(session: Session) -> None:
    """By either id, also where the same customer is asked for by Stripe's beside; so nobody is welcomed under two ids."""
    mine = add_customer(session, "c1", email="c1@example.com").customer_id
    enrolled = make_enrolled(session)
    (before,) = customers.contacts(session, [customers.Asked(None, mine)], NOW)
    assert before is not None
    assert before.merged_ids == ()
    by_link(session)
    both = [customers.Asked(None, one) for one in (enrolled, mine)]
    by_stripe = customers.Asked(StripeCustomer(OWN, "cus_1"))
    for asked in (both, [by_stripe, *both], [*both, by_stripe]):
        found = {one.customer_id: one for one in customers.contacts(session, asked, NOW) if one}
        assert found[mine].merged_ids == (enrolled,)
        assert serializers.contact(found[mine], "link", "Portico").merged_ids == [enrolled]


@pytest.mark.whole
def test_what_names_the_merged_id_later_names_the_one_who_is_there(
    session: Session, enrolled: str
) -> None:
    """The host has written Portico's id into metadata, or has given out a reference for it."""
    by_link(session)
    row = one_row(session)
    customers.unlink_customer(
        session, customer_id=enrolled, stripe_customer_id=None, withdraw_only=True, now=NOW
    )
    take_in(session, says(enrolled, "cus_9"))
    assert stripe_id_of(session, row.public_id) == "cus_9"
    take_in(session, says(None, "cus_9", before=enrolled, at=ahead(hours=1)))
    take_in(session, checkout(REFERENCES.write(enrolled, "sunrise", NOW), "cus_8"))
    assert stripe_id_of(session, row.public_id) == "cus_8"


def test_a_request_to_cancel_goes_along(session: Session) -> None:
    """It is about a subscription of the same Stripe customer: it is not given up."""
    enrolled = make_enrolled(session)
    pk = session.scalars(select(CustomerRow.id).where(CustomerRow.public_id == enrolled)).one()
    session.add(
        CancellationRequestRow(
            request_id="r" * 22,
            customer_pk=pk,
            stripe_customer_id="cus_1",
            subscription_id="sub_1",
            status="open",
            asked_at=NOW,
            tries=0,
        )
    )
    by_link(session)
    request = session.scalars(select(CancellationRequestRow)).one()
    assert (request.status, request.customer_pk) == ("open", one_row(session).id)


def works(session: Session, public_id: str, generation: int = 1) -> bool:
    """Whether a link of this id and generation opens a page."""
    (found,) = resolved_links.look_many(session, [public_id], NOW)
    try:
        resolved_links.current(found, Claim(public_id, generation))
    except LinkReplaced:
        return False
    return True


@pytest.mark.whole
def test_the_hosts_word_on_the_enrolled_one_is_no_hindrance(
    session: Session, enrolled: str
) -> None:
    """Having confirmed them under Portico's id, the host claims them by its own, and their links work."""
    customers.link_customer(session, customer_id=enrolled, stripe_customer_id="cus_1", now=NOW)
    add_customer(session, "c1", email="c1@example.com")
    by_import(session)
    assert one_row(session).platform_stripe_customer_id == "cus_1"
    assert works(session, enrolled)


def deny(session: Session, public_id: str) -> None:
    """The host says that they are not this Stripe customer."""
    customers.unlink_customer(
        session, customer_id=public_id, stripe_customer_id=None, withdraw_only=False, now=NOW
    )


def move_away(session: Session, public_id: str) -> None:
    """The host says that they are another one, whom Stripe then deletes."""
    customers.link_customer(session, customer_id=public_id, stripe_customer_id="cus_2", now=NOW)
    enrol(session, seen("cus_2", None, deleted=True, at=ahead(hours=1)))


@pytest.mark.whole
@pytest.mark.parametrize("refuse_them", [deny, move_away])
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("claim", [by_upsert, by_link, by_import])
def test_whom_the_host_refused_sees_nobodys_page(
    session: Session,
    enrolled: str,
    claim: Callable[[Session], None],
    known: bool,
    refuse_them: Callable[[Session, str], None],
) -> None:
    """The host said that whoever has the links is not this Stripe customer: when it claims that for one of its own, old or new, the links
    open nothing."""
    refuse_them(session, enrolled)
    if known:
        add_customer(session, "c1", email="c1@example.com")
    for _ in range(2):
        claim(session)
        row = one_row(session)
        assert (row.external_id, row.platform_stripe_customer_id) == ("c1", "cus_1")
        assert not works(session, enrolled)
        assert works(session, row.public_id, row.link_generation)


def test_a_link_that_is_revoked_during_a_merge_stays_revoked(
    session: Session, enrolled: str
) -> None:
    """Another replica replaces it between the decision's first look and its last: what was loaded is not what counts."""
    add_customer(session, "c1", email="c1@example.com")
    loaded = session.scalars(select(CustomerRow)).all()
    session.execute(
        update(CustomerRow)
        .where(CustomerRow.public_id == enrolled)
        .values(link_generation=2)
        .execution_options(synchronize_session=False)
    )
    assert [row.link_generation for row in loaded] == [1, 1]
    take_in(session, says("c1", "cus_1", business="sunrise"))
    assert [works(session, enrolled, one) for one in (1, 2)] == [False, True]


@pytest.mark.whole
def test_a_reference_moves_the_button_and_opens_no_page(session: Session, enrolled: str) -> None:
    """Whoever pays with somebody's reference shows a Stripe customer to them, and never their page to whoever had a link before."""
    mine = add_customer(session, "c1", email="c1@example.com").customer_id
    take_in(session, checkout(REFERENCES.write(mine, "sunrise", NOW), "cus_1"))
    assert stripe_id_of(session, mine) == "cus_1"
    assert stripe_id_of(session, enrolled) is None
    (found,) = resolved_links.look_many(session, [enrolled], NOW)
    assert found is not None
    assert found.customer_id == enrolled


@pytest.mark.whole
def test_the_host_hears_of_a_merge(session: Session, enrolled: str) -> None:
    """The enrolled one is linked no more, and the host's own is."""
    by_link(session)
    told = [
        (one.external_id, one.stripe_customer_id, one.evidence)
        for row in session.scalars(select(OutboxEvent).order_by(OutboxEvent.id))
        if isinstance(one := events.decode(row.body).data, events.CustomerLinkChanged)
    ]
    assert told == [
        ("stripe:cus_1", "cus_1", "enrolled"),
        ("c1", "cus_1", "host"),
        ("stripe:cus_1", None, None),
    ] or told == [
        ("stripe:cus_1", "cus_1", "enrolled"),
        ("stripe:cus_1", None, None),
        ("c1", "cus_1", "host"),
    ]


@pytest.mark.whole
def test_new_ids_of_the_hosts_do_not_begin_as_ours(session: Session, enrolled: str) -> None:
    """Refused with what to do, one by one and in a batch; an enrolled customer may be changed under the id that they have."""
    with pytest.raises(InvalidArgument, match="external_id: ids that begin with stripe:"):
        add_customer(session, "stripe:cus_2")
    lines = [
        CustomerLine("stripe:cus_3", "N", "n@example.com"),
        CustomerLine("stripe:cus_1", "Renamed", "m@example.com"),
    ]
    done = importing.import_customers(session, business_id="sunrise", lines=lines, now=NOW)
    assert [(one.row, one.error[:35]) for one in done.errors] == [
        (0, "external_id: ids that begin with st")
    ]
    assert one_row(session).name == "Renamed"


@pytest.mark.whole
def test_erasing_forgets_the_merged_ids(session: Session, enrolled: str) -> None:
    """By either id all of it goes: the alias, the decisions, the events that name the old id."""
    by_link(session)
    importing.erase(session, OWN, customer_id=enrolled, stripe_customer_id=None, now=NOW)
    for table in (CustomerRow, CustomerAliasRow, LinkProposalRow, LinkEvidenceRow):
        assert session.scalars(select(table)).all() == []
    assert [row.body for row in session.scalars(select(OutboxEvent)) if enrolled in row.body] == []


# --- proposals -----------------------------------------------------------------------------------------------


def listed(session: Session) -> dict[str, str | None]:
    found = proposals.proposals(session, business_id="sunrise", after="", limit=100)
    return {one.stripe_customer_id: one.proposal_id for one in found.proposals}


def accept(session: Session, *ids: str) -> tuple[list[str], int]:
    done = proposals.accept(session, proposal_ids=ids, decided_by="ann on desk", now=NOW)
    return done.decided, len(done.left)


def refuse(session: Session, *ids: str) -> tuple[list[str], int]:
    done = proposals.refuse(session, proposal_ids=ids, decided_by="ann on desk", now=NOW)
    return done.decided, len(done.left)


def propose(session: Session) -> tuple[str, str]:
    """A customer, and the proposal that a Stripe customer is they."""
    mine = add_customer(session, "c1", email="m@example.com").customer_id
    enrol(session, seen("cus_1", "M@example.com", pays="paid"))
    return mine, listed(session)["cus_1"] or ""


@pytest.mark.whole
def test_accepting_links_as_the_host_does_and_once(session: Session) -> None:
    """The word of a person has the host's rank; said twice it is said once; who said it is kept."""
    mine, proposal = propose(session)
    assert accept(session, proposal) == ([proposal], 0)
    assert accept(session, proposal) == ([proposal], 0)
    assert stripe_id_of(session, mine) == "cus_1"
    assert listed(session) == {}
    row = session.scalars(select(LinkProposalRow)).one()
    assert (row.state, row.why, row.decided_by) == ("accepted", "equal_email", "ann on desk")
    told = link_report.evidence(session, OWN, customer_id=mine, stripe_customer_id=None)
    assert [one.source for one in told.evidence] == ["host"]


def test_accepting_a_claim_merges(session: Session, enrolled: str) -> None:
    """A customer of the host's with the address of an enrolled one: nothing is merged until a person says so."""
    mine = add_customer(session, "c1", email="M@example.com").customer_id
    proposal = listed(session)["cus_1"]
    assert proposal == f"cus_1:{mine}"
    assert accept(session, proposal) == ([proposal], 0)
    assert one_row(session).public_id == mine
    assert works(session, enrolled)


@pytest.mark.whole
@pytest.mark.parametrize("victim_first", [True, False])
def test_accepting_opens_no_page_to_links_that_went_elsewhere(
    session: Session, enrolled: str, victim_first: bool
) -> None:
    """Who was enrolled at an address of their own and typed a customer's at Stripe later has old links: a person who takes the two for one
    is no word on those. Said again, it stays so."""
    theirs = seen("cus_1", "v@example.com", at=ahead(hours=1))
    if not victim_first:
        enrol(session, theirs, now=ahead(hours=1))
    victim = add_customer(session, "v", email="v@example.com").customer_id
    if victim_first:
        enrol(session, theirs, now=ahead(hours=1))
    proposal = listed(session)["cus_1"] or ""
    for _ in range(2):
        assert accept(session, proposal) == ([proposal], 0)
        assert one_row(session).public_id == victim
        assert not works(session, enrolled)
        assert works(session, victim)


@pytest.mark.whole
def test_customers_are_locked_in_one_order_whatever_the_callers(session: Session) -> None:
    """All at once and the enrolled ones among them, before anything is done: an import that writes the same ones at this moment waits, and
    neither waits for the other."""
    for number in (1, 2):
        make_enrolled(session, f"cus_{number}", f"{number}@example.com")
        add_customer(session, f"c{number}", email=f"{number}@example.com")
    proposed = [listed(session)[one] or "" for one in ("cus_2", "cus_1")]
    everybody = sorted(session.scalars(select(CustomerRow.id)))
    locked: list[list[int]] = []

    def note(state: ORMExecuteState) -> Any:
        if getattr(state.statement, "_for_update_arg", None) is None:
            return None
        rows = state.invoke_statement().freeze()
        locked.append([row.id for row in rows().scalars()])
        return rows()

    event.listen(session, "do_orm_execute", note)
    assert accept(session, *proposed) == (proposed, 0)
    assert locked[0] == everybody


@pytest.mark.whole
def test_accepting_for_whom_the_host_refused_opens_nothing(session: Session, enrolled: str) -> None:
    """The enrolled one is linked no more, and merged all the same."""
    deny(session, enrolled)
    enrol(session, seen("cus_1", "v@example.com", at=ahead(hours=1)))
    victim = add_customer(session, "v", email="v@example.com").customer_id
    proposal = f"cus_1:{victim}"
    assert accept(session, proposal) == ([proposal], 0)
    assert one_row(session).public_id == victim
    assert not works(session, enrolled)


@pytest.mark.whole
def test_a_refused_proposal_is_not_made_again(session: Session) -> None:
    """Nobody is linked or enrolled by it; metadata and the host are free to say otherwise."""
    mine, proposal = propose(session)
    assert refuse(session, proposal) == ([proposal], 0)
    assert refuse(session, proposal) == ([proposal], 0)
    enrol(session, seen("cus_1", "m@example.com", pays="subscribed", at=ahead(days=1)))
    assert listed(session) == {"cus_1": None}
    assert accept(session, proposal) == ([], 1)
    assert stripe_id_of(session, mine) is None
    take_in(session, says("c1", "cus_1", business="sunrise"))
    assert stripe_id_of(session, mine) == "cus_1"


@pytest.mark.whole
def test_what_has_changed_is_not_accepted(session: Session) -> None:
    """Each is looked at again: an address that is another one by now, a second candidate, a deleted Stripe customer, nonsense."""
    _, proposal = propose(session)
    add_customer(session, "c1", email="moved@example.com")
    assert accept(session, proposal) == ([], 1)
    add_customer(session, "c1", email="m@example.com")
    add_customer(session, "c2", email="m@example.com")
    assert accept(session, proposal, "nonsense", "cus_1:nobody") == ([], 3)
    add_customer(session, "c2", email="c2@example.com")
    enrol(session, seen("cus_1", None, deleted=True))
    assert accept(session, proposal) == ([], 1)
    assert listed(session) == {}
    with pytest.raises(InvalidArgument, match="at most 100"):
        accept(session, *["x"] * 101)


@pytest.mark.whole
def test_several_candidates_on_either_side_are_told_and_never_bound(session: Session) -> None:
    """Two customers with one address, two Stripe customers with one address: no proposal to accept."""
    add_customer(session, "c1", email="m@example.com")
    add_customer(session, "c2", email="m@example.com")
    add_customer(session, "c3", email="n@example.com")
    told = [
        seen("cus_1", "m@example.com"),
        seen("cus_2", "n@example.com"),
        seen("cus_3", "N@example.com"),
    ]
    for order in itertools.permutations(told):
        enrol(session, *order)
    found = proposals.proposals(session, business_id="sunrise", after="", limit=100).proposals
    assert {one.stripe_customer_id: (one.standing, one.doubt) for one in found} == {
        "cus_1": ("ambiguous", "several_customers"),
        "cus_2": ("ambiguous", "several_stripe_customers"),
        "cus_3": ("ambiguous", "several_stripe_customers"),
    }
    assert {one.proposal_id for one in found} == {None}


@pytest.mark.whole
def test_pages_of_proposals_go_on_where_they_ended(session: Session) -> None:
    """Each Stripe customer once, whatever the size of a page."""
    for number in range(5):
        enrol(session, seen(f"cus_{number}", None, pays="paid"))
    found: list[str] = []
    after: str | None = ""
    while after is not None:
        page = proposals.proposals(session, business_id="sunrise", after=after, limit=2)
        found += [one.stripe_customer_id for one in page.proposals]
        after = page.next
    assert found == [f"cus_{number}" for number in range(5)]


# --- by an import --------------------------------------------------------------------------------------------


@pytest.mark.whole
def test_a_link_that_an_import_brought_is_told_so(session: Session, enrolled: str) -> None:
    """Also of whom it merges, or takes the link from, and not of whom Stripe's events name at the same time: a business's old failures
    are not mailed all at once."""
    for external_id in ("c1", "c2", "c3"):
        add_customer(session, external_id, email=f"{external_id}@example.com")
    take_in(session, says("c3", "cus_3", business="sunrise"))
    start = session.scalars(select(OutboxEvent.id).order_by(OutboxEvent.id.desc())).first() or 0
    take_in(
        session,
        says("c1", "cus_1", business="sunrise", imported=True),
        says("c2", "cus_2", business="sunrise"),
        says("c4", "cus_3", business="sunrise", imported=True, at=ahead(hours=1)),
    )
    told = {
        (one.external_id, one.stripe_customer_id): one.imported
        for row in session.scalars(select(OutboxEvent).where(OutboxEvent.id > start))
        if isinstance(one := events.decode(row.body).data, events.CustomerLinkChanged)
    }
    assert told == {
        ("stripe:cus_1", None): True,
        ("c1", "cus_1"): True,
        ("c2", "cus_2"): False,
        ("c3", None): True,
    }
