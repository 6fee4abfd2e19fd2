"""What Stripe doesn't let a platform change: who may change what, and what becomes of a card or an end that it refuses."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import pytest
import stripe  # noqa: TID251  (its errors are what is read)
from sqlalchemy import select

from services.billing.adapters.stripe.errors import meaning_of
from services.billing.domain.accounts import AccountState, Directory, KnownAccount, Way
from services.billing.domain.errors import PlatformMayNot, StripePermissionMissing
from services.billing.domain.paying import Customer, PayOutcome, Subscription
from services.billing.domain.platform_limits import Maker, made_by, may_change
from services.billing.handlers import cancelling, inbox
from services.billing.models import InboxEvent, OutboxEvent, PlatformRefusal
from services.billing.retention import RULES
from services.billing.workflows import recovery
from services.billing.workflows.card_tries import DEBIT_LOOK
from services.billing.workflows.change_plans import Run
from shared import events
from shared.contracts.accounts import Account, StripeId
from shared.contracts.rpc.errors import StripeRefused
from shared.database import Transactions
from shared.retention import prune_round
from tests.fixtures.accounts import let_in
from tests.unit.billing.conftest import Clock, payload
from tests.unit.billing.fakes import DECLINES, GOOD, FakeBusinesses, FakePaymentGateway, charged_to
from tests.unit.billing.test_recovery import CUSTOMER, Loop, dana

SHOP = Account("acct_shop")
OURS, THEIRS = "ca_ours", "ca_theirs"
DIRECTORY = Directory(
    livemode=False,
    accounts=[KnownAccount(SHOP, Way.CONNECTED, AccountState.CONNECTED, livemode=False)],
)


def subscription(application: str | None) -> Subscription:
    return Subscription("sub_1", "cus_1", "active", application=application)


@pytest.mark.parametrize(
    ("application", "maker", "connected"),
    [(OURS, Maker.OURS, True), (None, Maker.ACCOUNT, True), (THEIRS, Maker.ANOTHER, False)],
)
def test_only_what_another_app_made_is_known_to_be_refused(
    application: str | None, maker: Maker, connected: bool
) -> None:
    """As a platform; with an account's own key, and on our own account, everything may be changed."""
    one = subscription(application)
    assert made_by(one, OURS) is maker
    assert may_change(one, Way.CONNECTED, OURS) is connected
    assert may_change(one, Way.OWN_KEY, OURS)
    assert may_change(one, None, OURS)


def test_whoever_does_not_know_its_own_name_asks() -> None:
    """Without STRIPE_CLIENT_ID what some app made may be ours: Stripe is asked."""
    assert made_by(subscription(THEIRS), None) is Maker.UNKNOWN
    assert may_change(subscription(THEIRS), Way.CONNECTED, None)


def test_a_refusal_of_the_platform_is_no_refusal_of_the_key() -> None:
    """A 403 that names no missing right is about the subscription, where a platform acts, and about the key everywhere else."""

    def refusal(code: str | None) -> stripe.PermissionError:
        body: dict[str, Any] = {"error": {"type": "invalid_request_error", "code": code}}
        return stripe.PermissionError("no", http_status=403, json_body=body)

    def meaning(code: str | None, forbidden: type[Exception] | None) -> type[Exception]:
        return type(meaning_of(refusal(code), forbidden=forbidden))

    assert meaning(None, PlatformMayNot) is PlatformMayNot
    assert meaning("more_permissions_required", PlatformMayNot) is StripePermissionMissing
    assert meaning(None, None) is StripePermissionMissing


@pytest.fixture
def shop(gateway: FakePaymentGateway) -> FakePaymentGateway:
    """A connected account, where another app has made Dana's subscription."""
    gateway.account, gateway.way, gateway.application = SHOP, Way.CONNECTED, OURS
    dana(gateway)
    made_by_app(gateway, THEIRS)
    return gateway


def made_by_app(gateway: FakePaymentGateway, application: str | None) -> None:
    gateway.all_subscriptions["sub_1"] = dataclasses.replace(
        gateway.all_subscriptions["sub_1"], application=application, description="Weekly clean"
    )


# --- ends ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("application", "asked"), [(THEIRS, []), (None, ["sub_1"])], ids=["known", "found out"]
)
def test_an_end_that_stripe_refuses_is_the_business_s(
    shop: FakePaymentGateway, application: str | None, asked: list[str]
) -> None:
    """Nothing is changed, and the answer says where the business does it; what is known to be refused isn't asked for."""
    made_by_app(shop, application)
    end, _ = cancelling.cancel_at_period_end(
        shop,
        FakeBusinesses(),
        stripe_customer_id="cus_1",
        subscription_id="sub_1",
        idempotency_key="r1",
    )
    assert (end.changed, end.ends_at) == (False, None)
    assert end.dashboard_url == "https://dashboard.example/test/subscriptions/sub_1"
    assert shop.refused_changes == asked
    assert shop.cancellations == []


@pytest.mark.parametrize("way", [Way.OWN_KEY, None])
def test_with_the_account_s_own_key_it_is_planned(
    shop: FakePaymentGateway, way: Way | None
) -> None:
    """Whoever made the subscription."""
    shop.way = way
    end, _ = cancelling.cancel_at_period_end(
        shop,
        FakeBusinesses(),
        stripe_customer_id="cus_1",
        subscription_id="sub_1",
        idempotency_key="r1",
    )
    assert (end.changed, end.dashboard_url) == (True, None)


def test_another_status_than_403_is_the_same_refusal(
    shop: FakePaymentGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows with which status Stripe refuses a platform: of what we made ourselves, a 400 is another matter."""
    made_by_app(shop, None)

    def refuse(operation: str) -> None:
        if operation == "cancel_at_period_end":
            raise StripeRefused("InvalidRequestError, status 400")

    shop.before = refuse
    wanted = {"stripe_customer_id": "cus_1", "subscription_id": "sub_1", "idempotency_key": "r1"}
    assert cancelling.cancel_at_period_end(shop, FakeBusinesses(), **wanted)[0].dashboard_url
    made_by_app(shop, OURS)
    with pytest.raises(StripeRefused):
        cancelling.cancel_at_period_end(shop, FakeBusinesses(), **wanted)


# --- cards -----------------------------------------------------------------------------------------------------


@pytest.fixture
def loop(database: Transactions, shop: FakePaymentGateway, clock: Clock) -> Loop:
    shop.clock = clock
    return Loop(database, shop, clock)


def new_card(loop: Loop, card: str = GOOD) -> recovery.Report:
    return loop.run(dataclasses.replace(loop.told(card, CUSTOMER), account=SHOP))


def told(loop: Loop) -> list[events.Data]:
    """What was queued for the others, in order."""
    with loop.database.reading() as session:
        bodies = session.scalars(select(OutboxEvent.body).order_by(OutboxEvent.id)).all()
    return [events.decode(body.encode()).data for body in bodies]


def watched(loop: Loop) -> dict[str, str | None]:
    with loop.database.reading() as session:
        rows = session.scalars(select(PlatformRefusal)).all()
        return {row.subscription_id: row.payment_method_id for row in rows}


def arrive(loop: Loop, name: str, *, directory: Directory = DIRECTORY, **changes: Any) -> None:
    """A webhook of the connected account comes, just happened unless `created` says otherwise."""
    body = json.loads(payload(name))
    body |= {"account": SHOP, "created": int(loop.clock().timestamp())}
    body["data"]["object"].update(changes.pop("object"))
    body.update(changes)
    received = inbox.read_webhook(json.dumps(body).encode(), directory=directory)
    with loop.database.transaction() as session:
        inbox.store_webhooks(session, [received], loop.clock())


@pytest.mark.whole
def test_what_is_owed_is_paid_though_the_card_can_t_be_set(loop: Loop) -> None:
    """The subscription is watched with its new card, and the others are told once, however often it is tried."""
    report = new_card(loop)
    assert (report.pointed, report.kept) == ([], ["sub_1"])
    assert loop.gateway.charges == [("in_1", GOOD)]
    assert watched(loop) == {"sub_1": GOOD}
    (kept,) = told(loop)
    assert isinstance(kept, events.SubscriptionPaymentMethodKept)
    assert (kept.account, kept.payment_method_id, kept.over) == (SHOP, GOOD, False)
    assert kept.dashboard_url == "https://dashboard.example/test/subscriptions/sub_1"
    assert kept.description == "Weekly clean"
    loop.clock.now += DEBIT_LOOK
    new_card(loop)
    assert len(told(loop)) == 1


def test_what_we_made_is_pointed_at_the_card(loop: Loop) -> None:
    """As on our own account: nothing is watched."""
    made_by_app(loop.gateway, OURS)  # type: ignore[arg-type]
    assert new_card(loop).pointed == ["sub_1"]
    assert (watched(loop), told(loop)) == ({}, [])


def test_a_payment_that_is_not_allowed_has_a_word_of_its_own(loop: Loop) -> None:
    """Not verified at Stripe: should it be so, it is an outcome, not our key's fault."""
    loop.gateway.paying_is_changing = True
    report = new_card(loop)
    assert report.run is Run.DONE
    assert loop.recorded() == {"in_1": PayOutcome.NOT_ALLOWED}
    assert watched(loop) == {"sub_1": GOOD}


@pytest.mark.whole
def test_the_new_card_has_its_turn_when_the_old_one_fails(loop: Loop) -> None:
    """The next cycle charges the old card. It fails, and the invoice alone is charged to the new one."""
    new_card(loop)
    loop.clock.now += DEBIT_LOOK * 30
    invoice = loop.gateway.invoices["in_1"].with_changes(id="in_2", status="open")
    loop.gateway.invoices["in_2"] = invoice.with_changes(amount_remaining=8900)
    failed_invoice(loop)
    turn = told(loop)[-1]
    assert isinstance(turn, events.PaymentMethodChanged)
    assert (turn.invoice_id, turn.payment_method_id) == ("in_2", GOOD)
    with loop.database.reading() as session:
        wish = recovery.wish_of(session, "evt_next", loop.clock(), turn)
    assert wish is not None
    loop.run(wish)
    assert loop.gateway.charges[-1] == ("in_2", GOOD)
    assert loop.gateway.invoices["in_2"].status == "paid"


def test_on_whose_behalf_it_is_charged_is_told_with_it(loop: Loop) -> None:
    """A business of another platform's is asked, and the new card's turn is that business's, until the end."""
    loop.gateway.all_subscriptions["sub_1"] = dataclasses.replace(
        loop.gateway.all_subscriptions["sub_1"], on_behalf_of="acct_studio"
    )
    new_card(loop)
    failed_invoice(loop, on_behalf_of="acct_studio")
    arrive(loop, "customer.subscription.deleted", object={"id": "sub_1", "customer": "cus_1"})
    news = [
        one
        for one in told(loop)
        if isinstance(one, events.SubscriptionPaymentMethodKept | events.PaymentMethodChanged)
    ]
    assert [one.on_behalf_of for one in news] == ["acct_studio"] * 3


def failed_invoice(loop: Loop, directory: Directory = DIRECTORY, **more: Any) -> None:
    found = json.loads(payload("invoice.payment_failed"))["data"]["object"]
    parent = found.get("parent") or {}
    parent["subscription_details"] = {
        **(parent.get("subscription_details") or {}),
        "subscription": "sub_1",
    }
    event_id = more.pop("id", "evt_next")
    changes = {
        "id": "in_2",
        "customer": "cus_1",
        "parent": {**parent, "type": "subscription_details"},
        **more,
    }
    arrive(loop, "invoice.payment_failed", id=event_id, object=changes, directory=directory)


@pytest.mark.whole
@pytest.mark.parametrize("by", ["the round", "a person"])
def test_a_failure_that_came_while_the_account_was_shut_out_counts_too(loop: Loop, by: str) -> None:
    """It was stored unread: once it is translated, the new card has its turn, and an end of the subscription ends the watch."""
    new_card(loop)
    nobody = Directory(livemode=False)
    failed_invoice(loop, nobody)
    loop.clock.now += dt.timedelta(minutes=1)
    arrive(
        loop,
        "customer.subscription.deleted",
        directory=nobody,
        object={"id": "sub_1", "customer": "cus_1"},
    )
    assert (watched(loop), len(told(loop))) == ({"sub_1": GOOD}, 1)
    with loop.database.transaction() as session:
        stored = session.scalars(select(InboxEvent).order_by(InboxEvent.received_at)).all()
        if by == "the round":
            let_in(session, SHOP)
            again = inbox.translate_again(session, DIRECTORY, loop.clock())
            assert again is not None
            assert again.events == 2
        else:
            for one in stored:
                name = StripeId(SHOP, one.id)
                inbox.replay(session, name, directory=DIRECTORY, now=loop.clock())
    turns = [one for one in told(loop) if isinstance(one, events.PaymentMethodChanged)]
    assert [one.invoice_id for one in turns] == ["in_2"]
    assert watched(loop) == {"sub_1": None}


@pytest.mark.whole
def test_a_watch_whose_end_nobody_told_of_ends_some_day(loop: Loop) -> None:
    """It waits for the next turn of a yearly subscription; each failure of the other card makes it wait for one more."""
    new_card(loop)
    for months in range(2):
        loop.clock.now += dt.timedelta(days=380)
        failed_invoice(loop, id=f"evt_{months}")
        assert prune_round(loop.database, RULES, loop.clock()) is False
        assert watched(loop) == {"sub_1": GOOD}
    prune_round(loop.database, RULES, loop.clock() + dt.timedelta(days=480))
    assert watched(loop) == {}


def test_an_old_word_of_the_subscription_does_not_end_the_watch(loop: Loop) -> None:
    """Delivered late, it tells how it was charged before the new card came."""
    new_card(loop)
    before = int((loop.clock() - dt.timedelta(hours=1)).timestamp())
    name = "customer.subscription.updated.default_payment_method"
    told_of = {"id": "sub_1", "customer": "cus_1", "default_payment_method": None}
    arrive(loop, name, created=before, object=told_of)
    assert watched(loop) == {"sub_1": GOOD}
    arrive(loop, name, id="evt_now", object=told_of)
    assert watched(loop) == {"sub_1": None}


@pytest.mark.whole
def test_another_default_of_the_customer_is_not_overruled(loop: Loop) -> None:
    """The card that was kept away is the customer's no more: it is not charged."""
    new_card(loop)
    loop.clock.now += DEBIT_LOOK * 30
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to(DECLINES))
    loop.gateway.invoices["in_2"] = loop.gateway.invoices["in_1"].with_changes(
        id="in_2", status="open", amount_remaining=8900
    )
    failed_invoice(loop)
    with loop.database.reading() as session:
        wish = recovery.wish_of(session, "evt_next", loop.clock(), told(loop)[-1])  # type: ignore[arg-type]
    assert wish is not None
    assert loop.run(wish).run is Run.NO_CARD
    assert loop.gateway.charges == [("in_1", GOOD)]


@pytest.mark.parametrize("own", [GOOD, None])
def test_once_the_business_has_set_it_nothing_is_watched(loop: Loop, own: str | None) -> None:
    """It is the subscription's own by now, or nothing is and the customer's counts: said once, and no failure brings it back."""
    new_card(loop)
    name = "customer.subscription.updated.default_payment_method"
    arrive(loop, name, object={"id": "sub_1", "customer": "cus_1", "default_payment_method": own})
    over = [one for one in told(loop) if isinstance(one, events.SubscriptionPaymentMethodKept)][-1]
    assert over.over
    assert watched(loop) == {"sub_1": None}
    before = len(told(loop))
    failed_invoice(loop)
    assert not any(isinstance(one, events.PaymentMethodChanged) for one in told(loop)[before:])


def test_an_end_of_the_subscription_ends_the_watch(loop: Loop) -> None:
    """Nothing is charged any more."""
    new_card(loop)
    arrive(loop, "customer.subscription.deleted", object={"id": "sub_1", "customer": "cus_1"})
    assert watched(loop) == {"sub_1": None}


def test_going_back_to_the_old_card_ends_the_watch(loop: Loop) -> None:
    """The customer's default is what the subscription is charged to: there is no difference left."""
    new_card(loop)
    loop.clock.now += DEBIT_LOOK
    loop.gateway.customers["cus_1"] = Customer("cus_1", charged_to(DECLINES))
    new_card(loop, DECLINES)
    assert watched(loop) == {"sub_1": None}
