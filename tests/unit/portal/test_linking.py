"""Whose a Stripe customer is: each row of the table in docs/security.md, and what is said about it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.orm import Session
from structlog.testing import capture_logs

from portico.checks.portal import check_whose
from portico.cli.findings import Level
from services.portal.domain.linking import REFERENCE_AGE
from services.portal.handlers import (
    cancellation_steps,
    customers,
    importing,
    link_report,
)
from services.portal.handlers import timeline as story
from services.portal.handlers.events import handle
from services.portal.models import (
    CancellationRequestRow,
    CustomerRow,
    LinkConflictRow,
    LinkEvidenceRow,
    OutboxEvent,
    PendingLinkRow,
)
from services.portal.queries import link_conflicts
from services.portal.retention import RULES
from shared import events
from shared.contracts.accounts import OWN
from shared.contracts.rpc.errors import InvalidArgument, NotFound, StripeCustomerConflict
from shared.contracts.rpc.portal import CustomerLine
from shared.database import Transactions
from shared.retention import prune_batch
from tests.unit.portal.builders import (
    NOW,
    REFERENCES,
    add_business,
    add_customer,
    ago,
    ahead,
    checkout,
    event,
    says,
    stripe_id_of,
    take_in,
)
from tests.unit.wire import on_the_wire


@pytest.fixture(autouse=True)
def _business(session: Session) -> None:
    add_business(session)


@pytest.fixture
def vera(session: Session) -> str:
    return add_customer(session, "c1", name="Vera").customer_id


@pytest.fixture
def nat(session: Session) -> str:
    return add_customer(session, "c2", name="Nat").customer_id


def link(session: Session, customer_id: str, stripe_id: str, now: dt.datetime = NOW) -> None:
    customers.link_customer(session, customer_id=customer_id, stripe_customer_id=stripe_id, now=now)


def unlink(
    session: Session, customer_id: str, stripe_id: str | None = None, *, only: bool = False
) -> str | None:
    return customers.unlink_customer(
        session,
        customer_id=customer_id,
        stripe_customer_id=stripe_id,
        withdraw_only=only,
        now=NOW,
    ).platform_stripe_customer_id


def reference(customer_id: str, made: dt.datetime = NOW, business: str = "sunrise") -> str:
    return REFERENCES.write(customer_id, business, made)


def told(session: Session) -> list[Any]:
    """What the host hears of, in order."""
    rows = session.scalars(select(OutboxEvent).order_by(OutboxEvent.id)).all()
    return [events.decode(row.body).data for row in rows]


def changes(session: Session, customer_id: str) -> list[tuple[str | None, str | None, str | None]]:
    return [
        (one.previous_stripe_customer_id, one.stripe_customer_id, one.evidence)
        for one in told(session)
        if isinstance(one, events.CustomerLinkChanged) and one.customer_id == customer_id
    ]


def refusals(session: Session) -> list[tuple[str, str, str]]:
    return [
        (one.stripe_customer_id, one.customer_id, one.reason)
        for one in told(session)
        if isinstance(one, events.CustomerLinkRefused)
    ]


def conflicts(session: Session) -> set[tuple[str, str, str]]:
    return {
        (row.stripe_customer_id, row.customer_id, row.reason)
        for row in link_conflicts.open_conflicts(session, 100)
    }


def effects(session: Session, customer_id: str) -> dict[str, str]:
    found = on_the_wire(link_report.evidence)(
        session, OWN, customer_id=customer_id, stripe_customer_id=None
    )
    return {one["object_id"]: one["effect"] for one in found["evidence"]}


def unknown(session: Session) -> list[str]:
    found = on_the_wire(link_report.unknown)(session, business_id=None, after=0, limit=100)
    return [one["customer_id"] for one in found["links"]]


def linked_by_the_release_before(session: Session, customer_id: str, stripe_id: str) -> None:
    """It writes the link and nothing else."""
    session.execute(
        update(CustomerRow)
        .where(CustomerRow.public_id == customer_id)
        .values(platform_stripe_customer_id=stripe_id)
    )
    session.expire_all()


# --- the host's word -----------------------------------------------------------------------------------------


def test_the_hosts_word_links(session: Session, vera: str) -> None:
    """By `link_customer`, `upsert_customer` and import alike; the notifier hears each, for what failed before."""
    link(session, vera, "cus_1")
    second = add_customer(session, "c2", platform_stripe_customer_id="cus_2")
    lines = [CustomerLine("c3", "Ned", "ned@example.com", None, None, "cus_3")]
    importing.import_customers(session, business_id="sunrise", lines=lines, now=NOW)
    found = dict(
        session.execute(
            select(CustomerRow.external_id, CustomerRow.platform_stripe_customer_id)
        ).all()
    )
    assert found == {"c1": "cus_1", "c2": "cus_2", "c3": "cus_3"}
    assert second.platform_stripe_customer_id == "cus_2"
    heard = [(one.external_id, one.stripe_customer_id, one.evidence) for one in told(session)]
    assert heard == [("c1", "cus_1", "host"), ("c2", "cus_2", "host"), ("c3", "cus_3", "host")]
    assert unknown(session) == []


@pytest.mark.whole
def test_the_hosts_later_word_replaces_its_earlier_one(session: Session, vera: str) -> None:
    """The customer is linked with what was said last, and the first Stripe customer is free for somebody else."""
    link(session, vera, "cus_1")
    add_customer(session, "c1", platform_stripe_customer_id="cus_2")
    assert stripe_id_of(session, vera) == "cus_2"
    assert changes(session, vera) == [(None, "cus_1", "host"), ("cus_1", "cus_2", "host")]
    add_customer(session, "c2", platform_stripe_customer_id="cus_1")


@pytest.mark.whole
def test_the_host_gives_a_stripe_customer_to_one(session: Session, vera: str, nat: str) -> None:
    """Given to a second customer it is refused with nothing written, until the host takes it back from the first."""
    link(session, vera, "cus_1")
    with pytest.raises(StripeCustomerConflict):
        link(session, nat, "cus_1")
    unlink(session, vera)
    link(session, nat, "cus_1")
    assert (stripe_id_of(session, vera), stripe_id_of(session, nat)) == (None, "cus_1")


@pytest.mark.whole
def test_the_hosts_word_overrules_metadata_about_the_customer(session: Session, vera: str) -> None:
    """Whatever Stripe's metadata says, before or after: the host knows its customers."""
    take_in(session, says(vera, "cus_1"))
    link(session, vera, "cus_2")
    take_in(session, says(vera, "cus_3", at=ahead(hours=1)))
    assert stripe_id_of(session, vera) == "cus_2"
    assert changes(session, vera) == [(None, "cus_1", "metadata"), ("cus_1", "cus_2", "host")]
    assert effects(session, vera) == {"cus_1": "overruled", vera: "decides", "cus_3": "overruled"}
    assert conflicts(session) == set()


@pytest.mark.whole
def test_the_hosts_word_overrules_metadata_about_the_stripe_customer(
    session: Session, vera: str, nat: str
) -> None:
    """Who had the Stripe customer by metadata has it no more, and the host hears of that."""
    take_in(session, says(nat, "cus_1"))
    link(session, vera, "cus_1")
    assert (stripe_id_of(session, vera), stripe_id_of(session, nat)) == ("cus_1", None)
    assert changes(session, nat)[-1] == ("cus_1", None, None)


@pytest.mark.whole
def test_what_the_host_denies_no_metadata_links_again(session: Session, vera: str) -> None:
    """`unlink` says "not this one": rewritten metadata and references change nothing, until the host links the two."""
    take_in(session, says(vera, "cus_1"))
    assert unlink(session, vera) is None
    take_in(
        session,
        says(None, "cus_1", before=vera, at=ahead(hours=1)),
        says(vera, "cus_1", at=ahead(hours=2)),
        checkout(reference(vera), "cus_1"),
    )
    assert stripe_id_of(session, vera) is None
    assert effects(session, vera)["cs_1"] == "denied"
    take_in(session, says(vera, "cus_2"))
    assert stripe_id_of(session, vera) == "cus_2"
    link(session, vera, "cus_1")
    assert stripe_id_of(session, vera) == "cus_1"


@pytest.mark.whole
def test_what_the_host_only_takes_back_metadata_decides(session: Session, vera: str) -> None:
    """`--let-stripe-decide` ends the host's word, and its refusal too."""
    take_in(session, says(vera, "cus_1"))
    link(session, vera, "cus_2")
    assert unlink(session, vera, only=True) == "cus_1"
    unlink(session, vera)
    assert unlink(session, vera, only=True) == "cus_1"


def test_unlinking_nobody_wants_a_name(session: Session, vera: str) -> None:
    """Without a link it must be said which Stripe customer is not theirs; that can be said beforehand."""
    with pytest.raises(InvalidArgument, match="stripe_customer_id"):
        unlink(session, vera)
    unlink(session, vera, "cus_1")
    take_in(session, says(vera, "cus_1"))
    assert stripe_id_of(session, vera) is None


# --- metadata ------------------------------------------------------------------------------------------------


def test_metadata_links_by_our_id_or_by_the_hosts(session: Session, vera: str) -> None:
    """Portico's id alone, or the host's own with its business, on the Stripe customer or a subscription."""
    add_business(session, "moonlight")
    theirs = add_customer(session, "c1", business_id="moonlight").customer_id
    take_in(session, says(vera, "cus_1"))
    take_in(session, says("c1", "cus_2", business="moonlight", object_id="sub_2"))
    assert (stripe_id_of(session, vera), stripe_id_of(session, theirs)) == ("cus_1", "cus_2")


def test_the_hosts_id_without_its_business_names_nobody(session: Session, vera: str) -> None:
    """Other tools write numbers into `customer_id`: only Portico's own id is unmistakable. Also with one business."""
    take_in(session, says("c1", "cus_1"))
    assert stripe_id_of(session, vera) is None
    assert session.scalars(select(LinkEvidenceRow)).all() == []


def test_an_id_that_another_tool_overwrites_is_withdrawn(session: Session, vera: str) -> None:
    """What the key says now counts, not what it said once."""
    take_in(session, says(vera, "cus_1", at=ago(hours=1)))
    take_in(session, says("88123", "cus_1", before=vera))
    assert stripe_id_of(session, vera) is None


def test_our_id_with_a_foreign_business_names_nobody(session: Session, vera: str) -> None:
    """A business in the metadata must be the customer's own."""
    add_business(session, "moonlight")
    take_in(session, says(vera, business="moonlight"))
    assert stripe_id_of(session, vera) is None


@pytest.mark.whole
def test_metadata_waits_for_a_customer_whom_the_host_names_later(session: Session) -> None:
    """It needed the secret key, so it may come first; by upsert and by import."""
    take_in(
        session,
        says("c8", "cus_8", business="sunrise"),
        says("c9", "cus_9", business="sunrise"),
        says("c8", "cus_7", business="elsewhere"),
    )
    assert add_customer(session, "c8").platform_stripe_customer_id == "cus_8"
    lines = [CustomerLine("c9", "Ned", "ned@example.com")]
    importing.import_customers(session, business_id="sunrise", lines=lines, now=NOW)
    assert "cus_9" in session.scalars(select(CustomerRow.platform_stripe_customer_id)).all()
    found = on_the_wire(link_report.evidence)(
        session, OWN, customer_id=None, stripe_customer_id="cus_7"
    )
    assert [one["effect"] for one in found["evidence"]] == ["waits"]


def test_metadata_that_is_removed_unlinks(session: Session, vera: str) -> None:
    """Whoever took it away meant it."""
    take_in(session, says(vera, at=ago(hours=1)))
    take_in(session, says(None, before=vera))
    assert stripe_id_of(session, vera) is None
    assert changes(session, vera) == [(None, "cus_1", "metadata"), ("cus_1", None, None)]


def test_metadata_that_is_moved_moves_the_link(session: Session, vera: str, nat: str) -> None:
    """`customer.updated` names another customer: the Stripe customer is theirs now."""
    take_in(session, says(vera, at=ago(hours=1)))
    take_in(session, says(nat, before=vera))
    assert (stripe_id_of(session, vera), stripe_id_of(session, nat)) == (None, "cus_1")
    assert conflicts(session) == set()


@pytest.mark.whole
def test_a_stripe_customer_claimed_for_two_stays_with_the_first(
    session: Session, vera: str, nat: str
) -> None:
    """Its own metadata says one, its subscription's another: refused, on record once, told once; resolved when one goes."""
    take_in(session, says(vera, at=ago(hours=1)))
    for at in (NOW, ahead(hours=1)):
        take_in(session, says(nat, object_id="sub_1", before=nat, at=at))
    assert (stripe_id_of(session, vera), stripe_id_of(session, nat)) == ("cus_1", None)
    refused = ("cus_1", nat, "stripe_customer_taken")
    assert conflicts(session) == {refused}
    assert refusals(session) == [refused]
    take_in(session, says(None, before=vera, at=ahead(hours=2)))
    assert stripe_id_of(session, nat) == "cus_1"
    assert conflicts(session) == set()


def test_a_customer_claimed_by_two_stripe_customers_stays_with_the_first(
    session: Session, vera: str
) -> None:
    """The second one is refused and reported."""
    take_in(session, says(vera, "cus_1", at=ago(hours=1)), says(vera, "cus_2"))
    assert stripe_id_of(session, vera) == "cus_1"
    assert conflicts(session) == {("cus_2", vera, "customer_has_another")}


@pytest.mark.whole
def test_a_dispute_of_one_second_links_nobody(session: Session, vera: str, nat: str) -> None:
    """Two names at the same moment: nobody can tell which is right, so nobody pays for anybody."""
    take_in(session, says(vera), says(nat, object_id="sub_1"))
    assert (stripe_id_of(session, vera), stripe_id_of(session, nat)) == (None, None)
    assert {reason for _, _, reason in conflicts(session)} == {"said_at_once"}
    link(session, nat, "cus_1")
    assert stripe_id_of(session, nat) == "cus_1"
    assert conflicts(session) == set()


def test_metadata_overrules_a_reference(session: Session, vera: str) -> None:
    """Writing metadata needs the secret key; a reference may have been passed on."""
    take_in(session, checkout(reference(vera), "cus_1", at=ago(hours=1)))
    take_in(session, says(vera, "cus_2"))
    assert stripe_id_of(session, vera) == "cus_2"
    assert changes(session, vera)[-1] == ("cus_1", "cus_2", "metadata")


@pytest.mark.whole
def test_a_deleted_stripe_customer_is_nobodys_for_ever(session: Session, vera: str) -> None:
    """All that was said of it is withdrawn, whatever comes afterwards; one made anew has another id and is linked."""
    take_in(session, says(vera, "cus_1"))
    handle(session, event(events.CustomerDeleted(stripe_customer_id="cus_1")), NOW)
    take_in(session, says(vera, "cus_1", at=ahead(hours=1)), checkout(reference(vera), "cus_1"))
    assert stripe_id_of(session, vera) is None
    with pytest.raises(InvalidArgument, match="deleted"):
        link(session, vera, "cus_1")
    take_in(session, says(vera, "cus_2"))
    assert stripe_id_of(session, vera) == "cus_2"
    handle(session, event(events.CustomerDeleted(stripe_customer_id="cus_3")), NOW)
    take_in(session, says(vera, "cus_3", at=ago(days=1)))
    assert stripe_id_of(session, vera) == "cus_2"


@pytest.mark.whole
def test_the_hosts_word_about_a_deleted_stripe_customer_ends(session: Session, vera: str) -> None:
    """What metadata says of another one decides then."""
    link(session, vera, "cus_1")
    take_in(session, says(vera, "cus_2"))
    handle(session, event(events.CustomerDeleted(stripe_customer_id="cus_1")), NOW)
    assert stripe_id_of(session, vera) == "cus_2"


# --- references ----------------------------------------------------------------------------------------------


def test_a_signed_reference_links(session: Session, vera: str) -> None:
    """The Checkout session's Stripe customer is the customer for whom Portico signed; however late the webhook."""
    take_in(session, checkout(reference(vera)), now=ahead(days=30))
    assert stripe_id_of(session, vera) == "cus_1"
    assert changes(session, vera) == [(None, "cus_1", "reference")]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (lambda vera: checkout("c1"), "not_signed"),
        (lambda vera: checkout(vera), "not_signed"),
        (lambda vera: checkout(reference(vera).swapcase()), "not_signed"),
        (
            lambda vera: checkout(
                reference(vera), began=NOW + REFERENCE_AGE + dt.timedelta(minutes=1)
            ),
            "too_old",
        ),
        (lambda vera: checkout(reference(vera), began=ago(hours=1)), "before_it_was_made"),
        (lambda vera: checkout(reference(vera), began=None), "no_session_time"),
        (lambda vera: checkout(reference(vera, business="moonlight")), "other_business"),
        (lambda vera: checkout(reference("AAAAAAAAAAAAAAAAAAAAAA")), "no_such_customer"),
    ],
)
def test_any_other_reference_is_refused_and_said(
    session: Session, vera: str, given: Callable[[str], events.Event], reason: str
) -> None:
    """A stranger's client_reference_id changes nothing, waits for nobody, and is on record with the reason."""
    with capture_logs() as logs:
        take_in(session, given(vera))
    assert stripe_id_of(session, vera) is None
    assert [(one["event"], one["reason"]) for one in logs] == [
        ("checkout reference refused", reason)
    ]
    found = on_the_wire(link_report.evidence)(
        session, OWN, customer_id=None, stripe_customer_id="cus_1"
    )
    assert [(one["effect"], one["reason"]) for one in found["evidence"]] == [("refused", reason)]
    assert told(session) == []


def test_a_reference_planted_before_the_customer_exists_waits_for_nobody(session: Session) -> None:
    """A guessed id of a customer to come names nobody, now and then."""
    take_in(session, checkout("c9"))
    made = add_customer(session, "c9")
    assert made.platform_stripe_customer_id is None
    link(session, made.customer_id, "cus_9")
    assert stripe_id_of(session, made.customer_id) == "cus_9"


def test_a_second_purchase_does_not_move_the_link(session: Session, vera: str) -> None:
    """Payment Links make a Stripe customer a purchase: the first stays, the second is a conflict for a person."""
    take_in(session, checkout(reference(vera), "cus_1", at=ago(hours=1)))
    take_in(session, checkout(reference(vera), "cus_2", session_id="cs_2"))
    assert stripe_id_of(session, vera) == "cus_1"
    assert conflicts(session) == {("cus_2", vera, "customer_has_another")}


# --- upgrades ------------------------------------------------------------------------------------------------


def test_a_link_of_the_release_before_goes_on_and_is_listed(session: Session, vera: str) -> None:
    """It works as it did, weaker than everything, and `--unknown` and `doctor` name it until somebody confirms it."""
    linked_by_the_release_before(session, vera, "cus_1")
    assert stripe_id_of(session, vera) == "cus_1"
    assert unknown(session) == [vera]
    session.commit()
    database = Transactions(session.get_bind())  # type: ignore[arg-type]
    assert [one.code for one in check_whose(database)] == ["links-unknown"]
    link(session, vera, "cus_1")
    assert unknown(session) == []
    session.commit()
    assert [one.code for one in check_whose(database)] == ["links-evidence"]


@pytest.mark.parametrize(
    "stronger",
    [
        lambda vera: says(vera, "cus_2"),
        lambda vera: checkout(reference(vera), "cus_2"),
    ],
)
def test_a_link_of_unknown_source_yields_to_everything(
    session: Session, vera: str, stronger: Callable[[str], events.Event]
) -> None:
    """Metadata or a signed reference that says otherwise replaces it, and says so."""
    linked_by_the_release_before(session, vera, "cus_1")
    take_in(session, stronger(vera))
    assert stripe_id_of(session, vera) == "cus_2"
    assert changes(session, vera)[0][:2] == ("cus_1", "cus_2")
    assert unknown(session) == []


def test_a_link_of_unknown_source_keeps_while_others_are_decided(
    session: Session, vera: str, nat: str
) -> None:
    """What is refused next to it does not take it away."""
    linked_by_the_release_before(session, vera, "cus_1")
    take_in(session, checkout("c1", "cus_1"))
    unlink(session, nat, "cus_1")
    assert stripe_id_of(session, vera) == "cus_1"
    assert effects(session, vera)[vera] == "decides"


def test_metadata_that_ends_ends_a_link_that_it_once_confirmed(session: Session, vera: str) -> None:
    """A link of unknown source for which somebody spoke is theirs to take back, whether we heard of both or of the end alone."""
    linked_by_the_release_before(session, vera, "cus_1")
    take_in(session, says(None, before=vera))
    assert stripe_id_of(session, vera) is None


def test_what_an_old_billing_still_says_is_no_evidence(session: Session, vera: str) -> None:
    """Its event does not tell a stranger's word from the host's."""
    data = events.CustomerLinked(
        stripe_customer_id="cus_1", customer_id=vera, evidence="customer.metadata"
    )
    assert handle(session, event(data), NOW)
    assert stripe_id_of(session, vera) is None


def test_what_waits_for_an_old_portal_is_not_looked_at(session: Session) -> None:
    """Replicas of the release before may still note a stranger's word there."""
    session.add(
        PendingLinkRow(
            stripe_customer_id="cus_1",
            customer_ref="c9",
            business_ref=None,
            evidence="checkout.session",
            seen_at=NOW,
        )
    )
    assert add_customer(session, "c9").platform_stripe_customer_id is None


def test_an_event_counts_once(session: Session, vera: str) -> None:
    """Delivered twice, in one batch or later, it is one row; so is a second event about the same change."""
    one = says(vera)
    assert take_in(session, one, one) == [True, False]
    assert take_in(session, one) == [False]
    assert take_in(session, says(vera)) == [True]
    assert len(session.scalars(select(LinkEvidenceRow)).all()) == 1


# --- what follows from it ------------------------------------------------------------------------------------


def test_what_was_asked_about_another_ones_subscription_is_not_carried_out(
    session: Session, vera: str
) -> None:
    """A request to cancel that was made while the customer was linked wrongly ends with that link."""
    take_in(session, says(vera))
    row = session.scalars(select(CustomerRow)).one()
    session.add(
        CancellationRequestRow(
            request_id="r" * 22,
            customer_pk=row.id,
            stripe_customer_id="cus_1",
            subscription_id="sub_1",
            status="approved",
            asked_at=NOW,
            next_try_at=NOW,
            tries=0,
        )
    )
    link(session, vera, "cus_2")
    request = session.scalars(select(CancellationRequestRow)).one()
    assert (request.status, request.next_try_at) == ("overtaken", None)
    assert cancellation_steps.lease_step(session, NOW) is None


@pytest.mark.whole
def test_the_story_tells_who_said_what_and_what_it_changed(session: Session, vera: str) -> None:
    """`portico explain` of a customer: each word, what stood no longer, and each change of the link."""
    take_in(session, checkout("c1", "cus_9", session_id="cs_9"))
    take_in(session, says(vera, "cus_1", at=ago(hours=2)))
    link(session, vera, "cus_2", ago(hours=1))
    unlink(session, vera, only=True)
    found = on_the_wire(story.story)(
        session, OWN, invoice_id=None, stripe_customer_id=None, customer_id=vera, now=NOW
    )
    steps = [(one["step"], one["text"]) for one in found["steps"]]
    assert [step for step, _ in steps if step in ("linked", "unlinked")] == ["linked"] * 3
    text = "\n".join(each for _, each in steps)
    assert f"metadata on cus_1 said that cus_1 is {vera}" in text
    assert f"the host application said that cus_2 is {vera}" in text
    assert "linked with cus_2 (host)" in text
    assert "cs_9" not in text
    found = on_the_wire(story.story)(
        session, OWN, invoice_id=None, stripe_customer_id="cus_9", customer_id=None, now=NOW
    )
    assert "cs_9 of cus_9 was refused: not_signed" in found["steps"][0]["text"]


@pytest.mark.whole
def test_an_erased_customer_leaves_no_evidence(session: Session, vera: str, nat: str) -> None:
    """No row names them any more, and what they claimed goes to who else claims it."""
    take_in(session, says(vera, "cus_1", at=ago(hours=2)), says("c1", "cus_3", business="sunrise"))
    take_in(session, says(vera, "cus_2", at=ago(hours=1)), says(nat, "cus_2", object_id="sub_2"))
    take_in(session, says(nat, "cus_2", object_id="sub_4", before=vera))
    importing.erase(session, OWN, customer_id=vera, stripe_customer_id=None, now=NOW)
    rows = session.scalars(select(LinkEvidenceRow)).all()
    assert {row.stripe_customer_id for row in rows} == {"cus_2"}
    assert {row.customer_ref for row in rows} == {nat}
    assert {row.previous_customer_ref for row in rows} == {None}
    assert vera not in "".join(session.scalars(select(OutboxEvent.body)))
    assert stripe_id_of(session, nat) == "cus_2"


def test_old_evidence_that_does_not_stand_is_forgotten(session: Session, vera: str) -> None:
    """What an object said last stays, also that it names nobody: an older word of it may still come."""
    take_in(session, says(vera, at=ago(days=200)), says(None, before=vera, at=ago(days=199)))
    take_in(session, checkout("c1", at=ago(days=198)))
    prune_batch(session, RULES, ago(days=90))
    assert [row.customer_ref for row in session.scalars(select(LinkEvidenceRow))] == [None]
    take_in(session, says(vera, at=ago(days=200)))
    assert stripe_id_of(session, vera) is None


def test_conflicts_are_for_doctor(session: Session, vera: str) -> None:
    """Somebody has to decide them."""
    take_in(session, says(vera, "cus_1", at=ago(hours=1)), says(vera, "cus_2"))
    session.commit()
    found = list(check_whose(Transactions(session.get_bind())))  # type: ignore[arg-type]
    assert [one.code for one in found] == ["link-conflicts"]
    assert session.scalars(select(LinkConflictRow.evidence)).all() == ["metadata"]


@pytest.mark.whole
def test_a_stripe_id_that_is_none_is_for_doctor(session: Session, vera: str) -> None:
    """Releases before took what the host said. Each is named with what mends it; whoever has mended it hears no more."""
    database = Transactions(session.get_bind())  # type: ignore[arg-type]
    wrong = ("hello", "gcus_1", "cus_", "cus_1 2", "cus_1\n")
    for number, text in enumerate(wrong):
        linked_by_the_release_before(session, add_customer(session, f"w{number}").customer_id, text)
    link(session, vera, "cus_right")
    session.commit()
    found = next(one for one in check_whose(database) if one.code == "stripe-ids")
    assert found.level is Level.FINDING
    assert found.text.startswith("5 customers")
    assert found.text.endswith(", ".join(f"w{number} of sunrise" for number in range(5)))
    for number in range(5):
        customer = importing.find(session, OWN, f"w{number}", "sunrise").customer_id
        link(session, customer, f"cus_{number}")
    session.commit()
    assert [one.code for one in check_whose(database)] == ["links-evidence"]


@pytest.mark.whole
def test_many_wrong_stripe_ids_are_counted_and_some_named(session: Session) -> None:
    """A line of a report stays one."""
    for number in range(12):
        customer = add_customer(session, f"w{number}").customer_id
        linked_by_the_release_before(session, customer, f"id{number}")
    session.commit()
    database = Transactions(session.get_bind())  # type: ignore[arg-type]
    found = next(one for one in check_whose(database) if one.code == "stripe-ids")
    assert found.text.startswith("12 customers")
    assert found.text.endswith("w9 of sunrise, …")


def test_a_reference_is_made_for_who_is_there(session: Session, vera: str) -> None:
    """And what it says is what was asked for."""
    text = customers.checkout_reference(session, REFERENCES, customer_id=vera, now=NOW)
    take_in(session, checkout(text))
    assert stripe_id_of(session, vera) == "cus_1"
    with pytest.raises(NotFound):
        customers.checkout_reference(session, REFERENCES, customer_id="nobody", now=NOW)
