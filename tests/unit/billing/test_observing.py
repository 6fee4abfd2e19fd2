"""A business that observes: what would be charged is on record, and nothing is written to Stripe, then or later."""

from __future__ import annotations

import ast
import datetime as dt
import inspect
import textwrap
from typing import Any

import pytest
from sqlalchemy import select

from services.billing.adapters.portal import PortalBusinesses
from services.billing.adapters.stripe.gateway import StripeGateway
from services.billing.domain.changes import ANOTHERS_FAILURE, SETTLED
from services.billing.domain.errors import PortalUnavailable
from services.billing.domain.paying import Customer, PayOutcome
from services.billing.handlers import inbox
from services.billing.models import PaymentTry
from services.billing.ports import OPENS_PORTAL, WRITES, BusinessMode, PaymentGateway
from services.billing.workflows.change_plans import Run
from services.billing.workflows.observed_charges import observed_charges
from services.billing.workflows.recovery import PAUSES
from shared.contracts.accounts import OWN, Account, StripeCustomer
from shared.contracts.rpc.billing import ObservedCharges
from shared.contracts.rpc.errors import InvalidArgument, RemoteFault, StripeUnavailable
from shared.database import Transactions
from shared.nameko_ext.rpc import RpcTimeout, RpcUnavailable
from tests.fixtures.accounts import OWN_ALONE
from tests.unit.billing.conftest import NOW, Clock, payload, with_fields
from tests.unit.billing.fakes import GOOD, FakePaymentGateway, Trouble, charged_to
from tests.unit.billing.test_recovery import INVOICE, RENEWED, SUBSCRIPTION, Loop, dana
from tests.unit.billing.webhooks import store_webhook

READING_VERBS = frozenset({"retrieve", "list", "create_preview"})
"""What is called of the library's services without a change; the last is a POST that only computes."""


@pytest.fixture
def loop(database: Transactions, gateway: FakePaymentGateway, clock: Clock) -> Loop:
    """Dana, whose business observes, and a gateway that remembers what was written."""
    dana(gateway)
    gateway.clock = clock
    loop = Loop(database, gateway, clock)
    loop.businesses.observe = True
    return loop


@pytest.fixture
def written(loop: Loop) -> list[str]:
    """The methods by which something was written to Stripe."""
    calls: list[str] = []
    loop.gateway.before = lambda name: calls.append(name) if name in WRITES else None
    return calls


def charges(loop: Loop, **wanted: Any) -> ObservedCharges:
    with loop.database.reading() as session:
        return observed_charges(
            session,
            wanted.pop("since", NOW - dt.timedelta(days=7)),
            limit=wanted.pop("limit", 100),
            starting_after=wanted.pop("starting_after", None),
            livemode=False,
        )


def live(loop: Loop) -> None:
    """The business goes live: with that it draws its line."""
    loop.businesses.observe, loop.businesses.live_since = False, loop.clock()


# --- what writes -----------------------------------------------------------------------------------------------------


def called_verbs(method: Any) -> set[str]:
    """What a method of the gateway calls of the library: `self._work.invoices.pay(…)` calls `pay`."""
    return {
        node.func.attr
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(method))))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func).startswith(("self._click.", "self._work."))
    }


def methods_of(kind: type) -> dict[str, Any]:
    return {
        name: one for name, one in vars(kind).items() if inspect.isfunction(one) and name[0] != "_"
    }


def test_every_method_that_writes_to_stripe_is_named() -> None:
    """Whoever adds one to the gateway has to say whether an observing business allows it: what is not named only reads."""
    changing = {
        name for name, one in methods_of(StripeGateway).items() if called_verbs(one) - READING_VERBS
    }
    assert changing == WRITES | OPENS_PORTAL
    assert set(methods_of(PaymentGateway)) >= WRITES | OPENS_PORTAL
    hidden = [one for name, one in vars(StripeGateway).items() if inspect.isfunction(one)]
    assert {verb for one in hidden for verb in called_verbs(one)} >= READING_VERBS


# --- a new card ------------------------------------------------------------------------------------------------------


@pytest.mark.whole
def test_a_new_card_of_an_observing_business_charges_nothing(
    loop: Loop, written: list[str]
) -> None:
    """The subscription stays as it is, the invoice open; what would have been charged stands there with its sum."""
    report = loop.run()
    assert (report.run, report.payments["in_1"].outcome) == (Run.OBSERVED, PayOutcome.OBSERVED)
    assert written == []
    assert loop.gateway.invoices["in_1"].status == "open"
    assert (loop.changes(), loop.recorded()) == (["observed"], {"in_1": "observed"})
    (one,) = charges(loop).charges
    assert (one.invoice_id, one.stripe_customer_id, one.payment_method_id, one.amount, one.currency, one.at) == (
        "in_1", "cus_1", GOOD, 8900, "usd", loop.clock()
    )  # fmt: skip


def test_an_installation_that_observes_asks_nobody(loop: Loop, written: list[str]) -> None:
    """MODE says it already; the change ends as observed also where there was nothing to pay."""
    adapter = PortalBusinesses(object(), all_observe=True)
    loop.businesses = adapter  # type: ignore[assignment]
    assert loop.run().run is Run.OBSERVED
    loop.gateway.invoices.clear()
    loop.gateway.all_subscriptions.clear()
    assert loop.run(loop.new_card("pm_other")).run is Run.OBSERVED
    assert written == []


@pytest.mark.whole
def test_going_live_charges_none_of_what_was_observed(loop: Loop, written: list[str]) -> None:
    """Nothing is pending; a late event of the same change, or one that comes only then, is of before the line."""
    first = loop.told()
    late = loop.told(kind=SUBSCRIPTION, scope="sub_1")
    other = loop.new_card("pm_other_good")
    loop.new_card(GOOD)
    loop.run(first)
    loop.clock.forward(hours=2)
    live(loop)
    assert loop.go_on() == []
    assert loop.run(late).run is Run.KNOWN
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to("pm_other_good"))
    assert loop.run(other).run is Run.OBSERVED
    assert written == []


def test_a_late_event_opens_no_observed_change_where_no_line_is_drawn(
    loop: Loop, written: list[str]
) -> None:
    """The installation went live as a whole, by its setting: no business has a line."""
    loop.run()
    late = loop.told(kind=SUBSCRIPTION, scope="sub_1")
    loop.businesses.observe = False
    assert loop.run(late).run is Run.KNOWN
    assert (written, loop.changes()) == ([], ["observed"])


@pytest.mark.whole
def test_the_next_new_card_after_going_live_charges(loop: Loop) -> None:
    """Also what was observed before: the customer wants it paid with the card that they give now. The observed try counts for no limit."""
    loop.run()
    loop.clock.forward(minutes=5)
    live(loop)
    loop.clock.forward(minutes=5)
    report = loop.run(loop.new_card("pm_good_too"))
    assert (report.run, loop.gateway.invoices["in_1"].status) == (Run.DONE, "paid")
    assert loop.gateway.all_subscriptions["sub_1"].own_default == "pm_good_too"
    assert [one.invoice_id for one in charges(loop).charges] == ["in_1"]


@pytest.mark.parametrize("kind", [RENEWED, "customer.source.updated", ANOTHERS_FAILURE])
def test_what_nobody_asked_for_takes_no_open_change_across_the_line(
    loop: Loop, written: list[str], kind: str
) -> None:
    """A card set while observing, the portal away; after the line its bank renews it, or another card fails: nobody gave it then."""
    loop.businesses.away = True
    with pytest.raises(PortalUnavailable):
        loop.run()
    loop.businesses.away = False
    loop.clock.forward(hours=2)
    live(loop)
    loop.clock.forward(hours=1)
    scope = "in_1" if kind == ANOTHERS_FAILURE else ""
    assert loop.run(loop.told(kind=kind, scope=scope)).run is Run.OBSERVED
    assert (written, loop.changes()) == ([], ["observed"])


def test_a_card_given_after_the_line_takes_its_open_change_across(loop: Loop) -> None:
    """The same card, chosen anew."""
    loop.businesses.away = True
    with pytest.raises(PortalUnavailable):
        loop.run()
    loop.businesses.away = False
    loop.clock.forward(hours=2)
    live(loop)
    loop.clock.forward(hours=1)
    assert loop.run(loop.told()).run is Run.DONE
    assert loop.gateway.invoices["in_1"].status == "paid"


def test_a_choice_of_before_the_line_that_is_heard_after_a_renewal_stays_before(
    loop: Loop, written: list[str]
) -> None:
    """Stripe delivers it late: when the bank renewed the card doesn't make the choice a later one."""
    chosen = loop.told()
    loop.clock.forward(hours=2)
    live(loop)
    loop.businesses.away = True
    loop.clock.forward(hours=1)
    with pytest.raises(PortalUnavailable):
        loop.run(loop.told(kind=RENEWED))
    loop.businesses.away = False
    assert loop.run(chosen).run is Run.OBSERVED
    assert (written, loop.changes()) == ([], ["observed"])


@pytest.mark.whole
@pytest.mark.parametrize("kind", [RENEWED, "customer.source.updated"])
def test_a_renewal_opens_no_observed_change(loop: Loop, written: list[str], kind: str) -> None:
    """However long after the line the bank renews the card; who gives it once more then has it charged."""
    loop.run()
    loop.clock.forward(hours=2)
    live(loop)
    loop.clock.forward(days=3)
    assert loop.run(loop.told(kind=kind)).run is Run.KNOWN
    assert (written, loop.changes()) == ([], ["observed"])
    loop.clock.forward(days=1)
    assert loop.run(loop.told()).run is Run.DONE
    assert loop.gateway.invoices["in_1"].status == "paid"


@pytest.mark.whole
@pytest.mark.parametrize("after", [None, False, True])
def test_a_renewed_card_pays_only_what_failed_after_the_line(
    loop: Loop, after: bool | None
) -> None:
    """Nobody has given it for older debts, nor for one of whose failure nothing is known."""
    loop.businesses.observe = False
    loop.businesses.live_since = loop.clock()
    if after is not None:
        failed_at = loop.clock() + dt.timedelta(minutes=1 if after else -1)

        def of_in_1(event: dict[str, Any]) -> None:
            event["data"]["object"]["id"] = "in_1"
            event["created"] = int(failed_at.timestamp())

        with loop.database.transaction() as session:
            body = payload("invoice.payment_failed", of_in_1)
            store_webhook(session, inbox.read_webhook(body, directory=OWN_ALONE), loop.clock())
    loop.clock.forward(days=1)
    assert loop.run(loop.told(kind=RENEWED)).run is Run.DONE
    assert loop.gateway.invoices["in_1"].status == ("paid" if after else "open")
    loop.clock.forward(days=1)
    assert loop.run(loop.told()).run is Run.DONE
    assert loop.gateway.invoices["in_1"].status == "paid", "the customer gives it for all"


@pytest.mark.whole
def test_nothing_is_written_while_the_portal_is_away(loop: Loop, written: list[str]) -> None:
    """The change is put off and asked about again; when the portal is back, it goes on as the business works then."""
    loop.businesses.observe, loop.businesses.away = False, True
    with pytest.raises(PortalUnavailable):
        loop.run()
    assert (written, loop.recorded(), loop.changes()) == ([], {}, [None])
    loop.clock.now += PAUSES[0]
    with pytest.raises(PortalUnavailable):
        loop.go_on()
    loop.businesses.away = False
    loop.clock.now += PAUSES[1]
    assert [one.run for one in loop.go_on()] == [Run.DONE]
    assert loop.gateway.invoices["in_1"].status == "paid"


@pytest.mark.whole
def test_what_was_asked_before_observing_is_found_out_and_not_asked_again(
    loop: Loop, written: list[str]
) -> None:
    """A try whose answer was lost, then the business observes: the change waits until it is known, and sends no key again."""
    loop.businesses.observe = False
    loop.gateway.troubles = [Trouble.NOT_REACHED]
    with pytest.raises(StripeUnavailable):
        loop.run()
    loop.businesses.observe = True
    written.clear()
    loop.clock.now += PAUSES[0]
    with pytest.raises(StripeUnavailable):
        loop.go_on()
    loop.clock.now += SETTLED
    assert [one.run for one in loop.go_on()] == [Run.OBSERVED]
    assert written == []
    with loop.database.reading() as session:
        outcomes = session.scalars(select(PaymentTry.outcome).order_by(PaymentTry.number)).all()
    assert outcomes == ["not_charged", "observed"]


@pytest.mark.whole
def test_a_business_that_is_live_beside_one_that_observes_has_its_money(loop: Loop) -> None:
    """A platform's customer owes both: each is asked about, and the change is done, so that more of it may come."""
    loop.businesses.observe = False
    loop.businesses.observing = {"acct_b"}
    b = INVOICE.with_changes(id="in_2", on_behalf_of="acct_b", subscription_id=None)
    loop.gateway.invoices["in_2"] = b
    report = loop.run()
    assert report.run is Run.DONE
    assert loop.recorded() == {"in_1": "paid", "in_2": "observed"}
    assert [one.on_behalf_of for one in charges(loop).charges] == ["acct_b"]


def test_what_is_under_way_or_was_just_declined_would_not_have_been_charged(loop: Loop) -> None:
    """A preview tells what would have been charged, by the rules of one who is live; it waits for nothing."""
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2")
    loop.gateway.processing.add("in_1")
    loop.gateway.debited["in_1"] = "pm_another"
    wish = loop.told()
    loop.clock.forward(seconds=30)
    loop.gateway.declined("in_2", GOOD)
    assert loop.run(wish).run is Run.OBSERVED
    assert loop.recorded() == {"in_1": "processing", "in_2": "already_tried"}
    assert charges(loop).charges == []


# --- what would have been charged ------------------------------------------------------------------------------------


def test_what_became_of_the_invoice_is_told_from_its_webhooks(loop: Loop) -> None:
    """Meanwhile it was paid some other way; one of which no webhook is kept says nothing."""
    loop.gateway.invoices["in_2"] = INVOICE.with_changes(id="in_2")
    loop.run()
    with loop.database.transaction() as session:
        body = payload("invoice.paid", with_fields(id="in_1"))
        store_webhook(session, inbox.read_webhook(body, directory=OWN_ALONE), loop.clock())
    told = {one.invoice_id: one for one in charges(loop).charges}
    assert (told["in_1"].invoice_status, told["in_1"].amount_remaining) == ("paid", 0)
    assert told["in_1"].number
    assert (told["in_2"].invoice_status, told["in_2"].amount_paid) == (None, None)


def test_what_was_paid_elsewhere_came_in(loop: Loop) -> None:
    """Stripe may name no amount of it: half was credited, and the rest was paid."""
    loop.run()
    amounts = {"amount_due": 7450, "amount_paid": 0, "pre_payment_credit_notes_amount": 7450}
    with loop.database.transaction() as session:
        body = payload("invoice.paid", with_fields(id="in_1", **amounts))
        store_webhook(session, inbox.read_webhook(body, directory=OWN_ALONE), loop.clock())
    (told,) = charges(loop).charges
    assert (told.amount_paid, told.amount_credited) == (7450, 7450)


@pytest.mark.whole
def test_the_list_goes_on_where_it_ended(loop: Loop) -> None:
    """Each once, whatever the size of a page, those of one moment too."""
    loop.gateway.invoices = {
        f"in_{number}": INVOICE.with_changes(id=f"in_{number}") for number in range(7)
    }
    loop.run()
    loop.clock.forward(days=1)
    loop.run(loop.new_card("pm_good_too"))
    seen, position = [], None
    while True:
        page = charges(loop, limit=3, starting_after=position)
        seen += [(one.change_id, one.invoice_id) for one in page.charges]
        if page.next is None:
            break
        position = page.next
    assert len(seen) == len(set(seen)) == 14
    assert [one.at for one in charges(loop, since=loop.clock()).charges] == [loop.clock()] * 7
    for wrong in ("", "evt_1", "2026-11-23/a/b/c", "x/a/b/c"):
        with pytest.raises(InvalidArgument, match="starting_after"):
            charges(loop, starting_after=wrong)


# --- the portal's word -----------------------------------------------------------------------------------------------

ASKED = [StripeCustomer(OWN, "cus_1"), StripeCustomer(Account("acct_a"), "cus_1", "acct_b")]


class Portal:
    """Answers one call, or fails."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.asked: Any = None

    def observed(self, stripe_customers: Any) -> Any:
        self.asked = stripe_customers
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer


def test_the_portal_is_asked_by_whole_names() -> None:
    """Account, customer, and on whose behalf; the answers are in the order of the question."""
    portal = Portal({"observed": [True, False], "live_since": [None, "2026-11-23T21:00:00Z"]})
    told = PortalBusinesses(portal, all_observe=False).modes(ASKED)
    line = dt.datetime(2026, 11, 23, 21, tzinfo=dt.UTC)
    assert told == [BusinessMode(observes=True), BusinessMode(live_since=line)]
    assert portal.asked[1] == {
        "account": "acct_a",
        "stripe_customer_id": "cus_1",
        "on_behalf_of": "acct_b",
    }


def test_a_portal_without_modes_is_of_a_release_in_which_all_were_live() -> None:
    """While two releases run side by side."""
    portal = Portal(RemoteFault("MethodNotFound", "observed"))
    assert PortalBusinesses(portal, all_observe=False).modes(ASKED) == [BusinessMode()] * 2


@pytest.mark.parametrize(
    "answer",
    [
        RemoteFault("InternalError", "no"),
        RpcTimeout("no answer"),
        RpcUnavailable("no broker"),
        {"observed": "all"},
        {"observed": [True], "live_since": [None]},
    ],
)
def test_without_a_clear_word_nothing_is_taken_for_live(answer: Any) -> None:
    """A failure, silence, or an answer that is not about all: ask again."""
    with pytest.raises(PortalUnavailable):
        PortalBusinesses(Portal(answer), all_observe=False).modes(ASKED)


def test_the_line_counts_from_its_moment_on() -> None:
    """What was wished before is left alone; without a line nothing is."""
    line = BusinessMode(live_since=NOW)
    assert line.acts_on(NOW)
    within = BusinessMode(live_since=NOW.replace(microsecond=300_000))
    assert not within.acts_on(NOW.replace(microsecond=0)), "Stripe says only the second"
    assert not line.acts_on(NOW - dt.timedelta(seconds=1))
    assert BusinessMode().acts_on(NOW - dt.timedelta(days=99))
    assert not BusinessMode(observes=True, live_since=NOW).acts_on(NOW)
