"""One suite for both gateways: the fake of the unit tests, and the real adapter over HTTP against the sandbox.

So the fake can't drift from the adapter, and the adapter is held to Stripe's wire protocol.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import inspect
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import requests
from prometheus_client import REGISTRY

from local.python_process import REPOSITORY
from local.servers import free_port
from sandbox.app import create_app
from sandbox.config import SandboxConfig
from services.billing.adapters.stripe import gateway as stripe_gateway
from services.billing.adapters.stripe.gateway import StripeGateways
from services.billing.domain.declines import PaymentProblem
from services.billing.domain.errors import (
    KeySpent,
    NoDefaultConfiguration,
    PortalFlowRefused,
    StripeBusy,
    StripeKeyRefused,
)
from services.billing.domain.paying import PayOutcome, fate, pay_key
from services.billing.domain.portal import PortalPolicy
from services.billing.ports import PaymentGateway
from shared.contracts.accounts import OWN, Account
from shared.contracts.invoices import SubscriptionState
from shared.contracts.payments import Decline, MethodKind, PaymentMethod
from shared.contracts.rpc.errors import (
    BillingError,
    PortalConfigurationMissing,
    StripeRefused,
    StripeUnavailable,
    UnknownInvoice,
    UnknownStripeCustomer,
    UnknownSubscription,
)
from tests.contract.payment_worlds import (
    DEBIT,
    DECLINES,
    GOOD,
    NEEDS_CUSTOMER,
    REFUSALS,
    FakeWorld,
    StripeWorld,
    World,
)
from tests.contract.stripe_sandbox import PLATFORM
from tests.fixtures.serving import serving
from tests.unit.billing.fakes import Trouble

KEY = "sk_test_0123456789abcdef"
BACK = "http://127.0.0.1:8000/me/token"


@contextmanager
def running(**settings: Any) -> Iterator[str]:
    """A sandbox on a port of its own; its address."""
    port = free_port()
    app = create_app(SandboxConfig(public_url=f"http://127.0.0.1:{port}", **settings))
    with serving(app, port) as base:
        yield base
    app.extensions["world"].stop()


@pytest.fixture(scope="module")
def sandbox() -> Iterator[str]:
    with running() as base:
        yield base


@pytest.fixture(scope="module")
def restricted(sandbox: str) -> str:
    """A key with the rights that docs/operations.md asks for, and no other."""
    page = (REPOSITORY / "docs" / "operations.md").read_text()
    section = page.split("\n### The key of your own account\n", 1)[1].split("\n### ", 1)[0]
    rights = re.findall(r"`(rak_\w+)`", section)
    made = requests.post(
        f"{sandbox}/sandbox/accounts/{PLATFORM}/keys", json={"permissions": rights}, timeout=10
    )
    return str(made.json()["key"])


@pytest.fixture(scope="module")
def banks() -> Iterator[StripeWorld]:
    """Stripe where banks answer at once."""
    with running(settlement_delay=0) as base:
        gateways = StripeGateways(KEY, base)
        gateway = gateways.at(OWN)
        yield StripeWorld(gateway, base, KEY)
        gateways.close()


@pytest.fixture(params=["fake", "stripe"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "fake":
        yield FakeWorld()
        return
    base = request.getfixturevalue("sandbox")
    gateways = StripeGateways(request.getfixturevalue("restricted"), base)
    gateway = gateways.at(OWN)
    yield StripeWorld(gateway, base, KEY)
    gateways.close()


# --- the portal ----------------------------------------------------------------------------------------------


def test_each_session_is_fresh(world: World) -> None:
    """Two sessions of one customer have two URLs, with and without a flow."""
    configuration = world.gateway.create_configuration("default", PortalPolicy())
    customer_id = world.customer()
    urls = [
        world.gateway.create_portal_session(customer_id, configuration.id, BACK, flow, "auto").url
        for flow in (None, "payment_method_update")
    ]
    assert len(set(urls)) == 2
    assert all(url.startswith("http") for url in urls)


def test_the_dashboards_configuration_is_taken_without_naming_it(world: World) -> None:
    """While none was saved there is none, which Stripe says under no code; saved, it is the default, and the answer to a
    session holds it whole. What it forbids can't be led to."""
    gateway = world.gateway
    customer_id = world.customer()
    gateway.create_configuration("default", PortalPolicy())
    assert gateway.default_configuration() is None
    for flow in (None, "payment_method_update"):
        with pytest.raises(NoDefaultConfiguration):
            gateway.create_portal_session(customer_id, None, BACK, flow, "auto")
    with pytest.raises(UnknownStripeCustomer):
        gateway.create_portal_session("cus_unknown", None, BACK, None, "auto")
    world.save_portal_settings()
    saved = gateway.default_configuration()
    assert saved is not None
    assert saved.is_default
    assert saved.allows("subscription_cancel")
    for flow in (None, "payment_method_update"):
        made = gateway.create_portal_session(customer_id, None, BACK, flow, "auto")
        assert made.configuration == saved
    world.save_portal_settings(payment_method_update=False)
    with pytest.raises(PortalFlowRefused):
        gateway.create_portal_session(customer_id, None, BACK, "payment_method_update", "auto")
    made = gateway.create_portal_session(customer_id, None, BACK, None, "auto")
    assert made.configuration is not None
    assert not made.configuration.allows("payment_method_update")


def test_an_unknown_or_deleted_customer_has_no_portal(world: World) -> None:
    """Stripe's refusal has the name of its cause."""
    configuration = world.gateway.create_configuration("default", PortalPolicy())
    deleted = world.customer()
    world.delete(deleted)
    for customer_id in ("cus_unknown", deleted):
        with pytest.raises(UnknownStripeCustomer):
            world.gateway.create_portal_session(customer_id, configuration.id, BACK, None, "auto")


def test_an_unknown_configuration_is_told_apart_from_an_unknown_customer(world: World) -> None:
    """The customer exists: what is missing is the configuration."""
    with pytest.raises(PortalConfigurationMissing):
        world.gateway.create_portal_session(world.customer(), "bpc_unknown", BACK, None, "auto")
    with pytest.raises(PortalConfigurationMissing):
        world.gateway.configuration("bpc_unknown")
    with pytest.raises(PortalConfigurationMissing):
        world.gateway.update_configuration("bpc_unknown", PortalPolicy())


def test_a_new_configuration_is_conservative_and_found_again(world: World) -> None:
    """Made once for a key, whoever asks; cards and invoices only, and no sign-in page of Stripe's own."""
    assert world.gateway.find_configuration("business:one") is None
    made = world.gateway.create_configuration("business:one", PortalPolicy())
    assert made.follows(PortalPolicy())
    assert (made.livemode, made.key, made.login_page) == (False, "business:one", False)
    assert world.gateway.create_configuration("business:one", PortalPolicy()) == made
    assert world.gateway.find_configuration("business:one") == made
    assert world.gateway.configuration(made.id) == made


def test_a_configuration_can_allow_cancelling_and_pausing_and_forbid_them_again(
    world: World,
) -> None:
    """The policy is what a customer may do, both ways."""
    made = world.gateway.create_configuration("business:two", PortalPolicy())
    for policy in (
        PortalPolicy(cancel=True, pause=True),
        PortalPolicy(cancel=True),
        PortalPolicy(),
    ):
        changed = world.gateway.update_configuration(made.id, policy)
        assert changed.id == made.id
        assert changed.follows(policy)
        assert world.gateway.configuration(made.id).follows(policy)


# --- looking -------------------------------------------------------------------------------------------------


def test_a_failed_autopay_invoice_is_seen_as_it_is(world: World) -> None:
    """Open, tried once, owed, with its subscription, and among the customer's open invoices."""
    debtor = world.debtor()
    invoice = world.gateway.invoice(debtor.invoice_id)
    assert invoice.collectable
    assert (invoice.stripe_customer_id, invoice.subscription_id) == (
        debtor.customer_id,
        debtor.subscription_id,
    )
    assert (invoice.currency, invoice.amount_remaining, invoice.attempt_count) == ("usd", 8900, 1)
    for subscription_id in (None, debtor.subscription_id):
        found = world.gateway.open_invoices(debtor.customer_id, subscription_id)
        assert [one.id for one in found] == [debtor.invoice_id]
    assert world.gateway.open_invoices(debtor.customer_id, "sub_unknown") == []


def test_the_reason_of_the_decline_is_found(world: World) -> None:
    """It stands in no event; it is asked for, with the card that was tried, and when."""
    before = dt.datetime.now(dt.UTC) - dt.timedelta(seconds=1)
    debtor = world.debtor()
    problem = world.gateway.payment_trace(debtor.invoice_id).problem
    assert problem is not None
    assert problem.reason is Decline.DECLINED
    assert problem.payment_method == debtor.old_card
    assert problem.tried_at is not None
    assert before <= problem.tried_at <= dt.datetime.now(dt.UTC)


def test_a_look_tells_all_of_one_moment(world: World) -> None:
    """The invoice as it is alone, the reason and the card of the decline, and how the subscription stands."""
    debtor = world.debtor()
    look = world.gateway.look(debtor.invoice_id)
    assert look.invoice == world.gateway.invoice(debtor.invoice_id)
    assert look.problem is not None
    assert look.problem.reason is Decline.DECLINED
    assert look.problem.method is not None
    assert look.problem.method.kind is MethodKind.CARD
    assert look.problem.method.last4 == "0341"
    assert look.subscription == SubscriptionState("past_due")


def looked_at(world: StripeWorld, invoice_id: str) -> PaymentProblem:
    """What a look tells once the bank has answered."""
    until = time.monotonic() + 10
    while (look := world.gateway.look(invoice_id)).processing and time.monotonic() < until:
        time.sleep(0.1)
    assert look.problem is not None
    return look.problem


@pytest.mark.parametrize(
    ("token", "reason", "method"),
    [
        (
            "pm_usBankAccount_insufficientFunds",
            Decline.INSUFFICIENT_FUNDS,
            PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="2227"),
        ),
        (
            "pm_usBankAccount_accountClosed",
            Decline.ACCOUNT_CLOSED,
            PaymentMethod(type="us_bank_account", bank="STRIPE TEST BANK", last4="1113"),
        ),
        (
            "pm_sepaDebit_failed_de",
            Decline.PROCESSING_ERROR,
            PaymentMethod(type="sepa_debit", last4="3001"),
        ),
        (
            "pm_bacsDebit_debitNotAuthorized",
            Decline.NOT_AUTHORIZED,
            PaymentMethod(type="bacs_debit", last4="3335"),
        ),
        (
            "pm_auBecsDebit_noAccount",
            Decline.INCORRECT_DETAILS,
            PaymentMethod(type="au_becs_debit", last4="1116"),
        ),
    ],
)
def test_a_debit_that_came_back_tells_its_account(
    banks: StripeWorld, token: str, reason: Decline, method: PaymentMethod
) -> None:
    """Days after it began, by its own code, with what may be shown of the bank account."""
    debtor = banks.owing(token)
    problem = looked_at(banks, debtor.invoice_id)
    assert (problem.reason, problem.method) == (reason, method)
    assert problem.payment_method == debtor.old_card
    assert (problem.charge_id or "").startswith("py_")


def test_an_invoice_with_nothing_to_charge_says_so(banks: StripeWorld) -> None:
    """The only payment method is gone by the day of the charge."""
    problem = looked_at(banks, banks.owing(None).invoice_id)
    assert (problem.reason, problem.method) == (Decline.NO_PAYMENT_METHOD, None)
    assert problem.needs_new_method


def test_a_paid_invoice_has_no_problem(world: World) -> None:
    """The failure before the success is no news."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, GOOD)
    world.gateway.pay(debtor.invoice_id, card, pay_key(debtor.invoice_id, card, "evt_1"))
    look = world.gateway.look(debtor.invoice_id)
    assert (look.invoice.status, look.problem) == ("paid", None)


def test_what_does_not_exist_has_a_name(world: World) -> None:
    """Unknown invoices, customers and subscriptions are told, each in its way."""
    with pytest.raises(UnknownInvoice):
        world.gateway.invoice("in_unknown")
    with pytest.raises(UnknownStripeCustomer):
        world.gateway.customer("cus_unknown")
    deleted = world.customer()
    world.delete(deleted)
    with pytest.raises(UnknownStripeCustomer):
        world.gateway.customer(deleted)
    assert world.gateway.subscription("sub_unknown") is None
    with pytest.raises(UnknownInvoice):
        world.gateway.look("in_unknown")


def test_the_default_card_of_a_customer(world: World) -> None:
    """None until one is set, then the one that is set."""
    customer_id = world.customer()
    assert world.gateway.customer(customer_id).default is None
    card = world.card(customer_id, GOOD)
    world.make_default(customer_id, card)
    assert world.gateway.customer(customer_id).default == card


def test_a_subscription_is_pointed_at_another_card(world: World) -> None:
    """Its own default is seen, changed, and changed back again: three real changes within one day."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, GOOD)
    (subscription,) = world.gateway.subscriptions(debtor.customer_id)
    assert subscription.has_another_default(card)
    for one in (card, debtor.old_card, card):
        world.gateway.set_subscription_default(debtor.subscription_id, one)
        found = world.gateway.subscription(debtor.subscription_id)
        assert found is not None
        assert found.own_default == one


def chosen(world: World, invoice_id: str) -> str | None:
    """What Stripe charges for the invoice next, by a look."""
    found = world.gateway.look(invoice_id).next_method
    assert found is not None
    return found.saved.id if found.saved else None


def test_what_is_charged_next_is_seen_in_stripes_order(world: World) -> None:
    """The customer's source, the customer's payment method before it, the subscription's own before both, the invoice's own
    first; one of a type that the subscription does not take is passed over."""
    debtor = world.debtor()
    assert chosen(world, debtor.invoice_id) == debtor.old_card
    source = world.source(debtor.customer_id)
    world.gateway.set_subscription_default(debtor.subscription_id, source)
    assert chosen(world, debtor.invoice_id) == source
    found = world.gateway.subscription(debtor.subscription_id)
    assert found is not None
    assert found.own_default == source
    account = world.card(debtor.customer_id, DEBIT)
    world.charge_to(debtor.invoice_id, account)
    assert chosen(world, debtor.invoice_id) == account
    assert world.gateway.invoice(debtor.invoice_id).defaults.payment_method is not None
    world.restrict(debtor.subscription_id, "card")
    assert chosen(world, debtor.invoice_id) == source


def test_a_new_default_source_of_a_customer_is_seen(world: World) -> None:
    """It is what is charged while there is no payment method; then it is not."""
    customer_id = world.customer()
    source = world.source(customer_id)
    assert world.gateway.customer(customer_id).default == source


def test_a_payment_methods_type_is_told(world: World) -> None:
    """Cards of either API, and bank accounts."""
    customer_id = world.customer()
    kinds = [
        world.card(customer_id, GOOD),
        world.source(customer_id),
        world.card(customer_id, DEBIT),
    ]
    told = [world.gateway.method_type(one) for one in kinds]
    assert told == ["card", "card", "us_bank_account"]


# --- paying --------------------------------------------------------------------------------------------------


def test_a_good_card_pays(world: World) -> None:
    """The invoice is paid afterwards, and no longer open."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, GOOD)
    paid = world.gateway.pay(debtor.invoice_id, card, pay_key(debtor.invoice_id, card, "evt_1"))
    assert paid.outcome is PayOutcome.PAID
    assert world.gateway.invoice(debtor.invoice_id).status == "paid"
    assert world.gateway.open_invoices(debtor.customer_id) == []


def test_a_bad_debt_is_paid_by_the_method_that_stripe_chooses(world: World) -> None:
    """The subscription's own declines, and the bad debt stays one; once that is another, it is paid."""
    debtor = world.debtor()
    world.give_up(debtor.invoice_id)
    assert world.gateway.open_invoices(debtor.customer_id) == []
    pay = world.gateway.pay
    assert pay(debtor.invoice_id, None, "pay:by-hand:1").outcome is PayOutcome.DECLINED
    assert world.gateway.invoice(debtor.invoice_id).status == "uncollectible"
    card = world.card(debtor.customer_id, GOOD)
    world.gateway.set_subscription_default(debtor.subscription_id, card)
    assert pay(debtor.invoice_id, None, f"pay:by-hand:{card}").outcome is PayOutcome.PAID
    assert world.gateway.invoice(debtor.invoice_id).status == "paid"


def test_a_source_pays(world: World) -> None:
    """A card of the API before payment methods, which Stripe takes under another name; its fate is read off alike."""
    debtor = world.debtor()
    source = world.source(debtor.customer_id)
    before = dt.datetime.now(dt.UTC)
    key = pay_key(debtor.invoice_id, source, "evt_1")
    assert world.gateway.pay(debtor.invoice_id, source, key).outcome is PayOutcome.PAID
    trace = world.gateway.payment_trace(debtor.invoice_id)
    found = fate(world.gateway.invoice(debtor.invoice_id), trace, source, before)
    assert found is not None
    assert found.outcome is PayOutcome.PAID


def test_the_same_key_gives_the_same_answer_again(world: World) -> None:
    """After a crash the second call charges nothing and hears what the first would have heard."""
    debtor = world.debtor()
    for kind, outcome in ((DECLINES, PayOutcome.DECLINED), (GOOD, PayOutcome.PAID)):
        card = world.card(debtor.customer_id, kind)
        key = pay_key(debtor.invoice_id, card, "evt_1")
        answers = [world.gateway.pay(debtor.invoice_id, card, key) for _ in range(2)]
        assert [answer.outcome for answer in answers] == [outcome, outcome]


@pytest.mark.parametrize(
    ("kind", "outcome", "status"),
    [
        (DECLINES, PayOutcome.DECLINED, "open"),
        (NEEDS_CUSTOMER, PayOutcome.AUTHENTICATION_REQUIRED, "open"),
        (DEBIT, PayOutcome.PROCESSING, "open"),
    ],
)
def test_what_the_bank_answers_is_an_outcome(
    world: World, kind: str, outcome: PayOutcome, status: str
) -> None:
    """Declines, confirmations and slow debits are told, not raised; the invoice stays open."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, kind)
    answer = world.gateway.pay(debtor.invoice_id, card, pay_key(debtor.invoice_id, card, "evt_1"))
    assert answer.outcome is outcome
    assert world.gateway.invoice(debtor.invoice_id).status == status


@pytest.mark.parametrize(
    ("kind", "outcome"),
    [
        (GOOD, PayOutcome.PAID),
        (DECLINES, PayOutcome.DECLINED),
        (NEEDS_CUSTOMER, PayOutcome.AUTHENTICATION_REQUIRED),
        (DEBIT, PayOutcome.PROCESSING),
    ],
)
@pytest.mark.parametrize("trouble", [Trouble.LOST, Trouble.STORED_500_AFTER])
def test_what_an_answer_would_have_said_shows_in_the_invoice(
    world: World, kind: str, outcome: PayOutcome, trouble: Trouble
) -> None:
    """The bank was asked and the answer is gone: invoice and payments tell it. A debit's invoice is `open` meanwhile."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, kind)
    before = dt.datetime.now(dt.UTC)
    world.trouble(trouble)
    with pytest.raises(StripeUnavailable):
        world.gateway.pay(debtor.invoice_id, card, pay_key(debtor.invoice_id, card, "evt_1"))
    trace = world.gateway.payment_trace(debtor.invoice_id)
    found = fate(world.gateway.invoice(debtor.invoice_id), trace, card, before)
    assert found is not None
    assert found.outcome is outcome


@pytest.mark.parametrize("trouble", [Trouble.NOT_REACHED, Trouble.STORED_500])
def test_a_payment_that_was_not_made_shows_nowhere(world: World, trouble: Trouble) -> None:
    """Open, and the last error is the other card's: its fate is not known from this."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, GOOD)
    world.trouble(trouble)
    with pytest.raises(StripeUnavailable):
        world.gateway.pay(debtor.invoice_id, card, pay_key(debtor.invoice_id, card, "evt_1"))
    trace = world.gateway.payment_trace(debtor.invoice_id)
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=1)
    assert fate(world.gateway.invoice(debtor.invoice_id), trace, card, since) is None


@pytest.mark.parametrize("trouble", [Trouble.STORED_500, Trouble.STORED_500_AFTER])
def test_a_stored_server_error_spends_its_key(world: World, trouble: Trouble) -> None:
    """Stripe replays it whatever it did; another key is answered anew."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, DECLINES)
    world.trouble(trouble)
    for _ in range(2):
        with pytest.raises(KeySpent):
            world.gateway.pay(debtor.invoice_id, card, pay_key(debtor.invoice_id, card, "evt_1"))
    again = world.gateway.pay(debtor.invoice_id, card, pay_key(debtor.invoice_id, card, "evt_1", 2))
    assert again.outcome is PayOutcome.DECLINED


@pytest.mark.parametrize("trouble", [Trouble.NOT_REACHED, Trouble.LOST])
def test_a_lost_answer_comes_again_under_its_key(world: World, trouble: Trouble) -> None:
    """Whether Stripe was reached or not: the same key pays once."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, GOOD)
    key = pay_key(debtor.invoice_id, card, "evt_1")
    world.trouble(trouble)
    with pytest.raises(StripeUnavailable) as raised:
        world.gateway.pay(debtor.invoice_id, card, key)
    assert not isinstance(raised.value, KeySpent)
    assert world.gateway.pay(debtor.invoice_id, card, key).outcome is PayOutcome.PAID


def test_what_is_paid_already_is_refused(world: World) -> None:
    """The caller looks again and sees that it is paid: success by another's hand."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, GOOD)
    world.gateway.pay(debtor.invoice_id, card, "pay:first")
    with pytest.raises(StripeRefused):
        world.gateway.pay(debtor.invoice_id, card, "pay:second")
    assert world.gateway.invoice(debtor.invoice_id).status == "paid"


# --- the adapter alone ---------------------------------------------------------------------------------------


def test_a_stripe_that_is_out_of_reach_is_unavailable() -> None:
    """Nobody listens there: the error says so within the time-out, and quotes no key."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    gateways = StripeGateways(KEY, f"http://127.0.0.1:{port}")
    gateway = gateways.at(OWN)
    with pytest.raises(StripeUnavailable) as raised:
        gateway.invoice("in_1")
    assert "0123456789" not in repr(raised.value)
    gateways.close()


def test_a_subscription_ends_with_its_period(world: World) -> None:
    """The planned end is told at once and when read again; the same key again changes nothing."""
    debtor = world.debtor()
    before = world.gateway.subscription(debtor.subscription_id)
    assert before is not None
    assert before.ends_at is None
    key = f"cancel:{debtor.subscription_id}"
    planned = world.gateway.cancel_at_period_end(debtor.subscription_id, key)
    assert planned.ends_at is not None
    assert not planned.over
    assert world.gateway.cancel_at_period_end(debtor.subscription_id, key) == planned
    assert world.gateway.subscription(debtor.subscription_id) == planned
    with pytest.raises(UnknownSubscription):
        world.gateway.cancel_at_period_end("sub_404", "cancel:404")


def test_the_hosted_invoice_names_its_customer(world: World) -> None:
    """Whose invoice it is comes with the address, so that nobody is led to somebody else's."""
    debtor = world.debtor()
    hosted = world.gateway.hosted_invoice(debtor.invoice_id)
    assert (hosted.stripe_customer_id, hosted.status) == (debtor.customer_id, "open")
    assert hosted.url
    with pytest.raises(UnknownInvoice):
        world.gateway.hosted_invoice("in_404")


def test_a_wrong_key_is_refused_without_quoting_it(sandbox: str) -> None:
    """401 is no outage: trying again would not help, and the key stays out of the error."""
    gateways = StripeGateways("not-a-key", sandbox)
    gateway = gateways.at(OWN)
    with pytest.raises(StripeKeyRefused) as raised:
        gateway.invoice("in_1")
    assert "not-a-key" not in repr(raised.value)
    gateways.close()


@pytest.mark.parametrize("kind", REFUSALS, ids=lambda kind: kind.__name__)
def test_what_stripe_refuses_everything_for_has_a_name_and_does_nothing(
    world: World, kind: type[BillingError]
) -> None:
    """Key, right, object, limit and outage are told apart; what was refused is not kept under its key, so that it pays
    once Stripe takes it."""
    debtor = world.debtor()
    card = world.card(debtor.customer_id, GOOD)
    key = pay_key(debtor.invoice_id, card, "evt_1")
    world.refuse(kind)
    try:
        for refused in (
            lambda: world.gateway.pay(debtor.invoice_id, card, key),
            lambda: world.gateway.look(debtor.invoice_id),
        ):
            with pytest.raises(BillingError) as raised:
                refused()
            assert type(raised.value) is kind
    finally:
        world.relent()
    assert world.gateway.invoice(debtor.invoice_id).status == "open"
    assert world.gateway.pay(debtor.invoice_id, card, key).outcome is PayOutcome.PAID


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (401, None, StripeKeyRefused),
        (401, "api_key_expired", StripeKeyRefused),
        (403, "secret_key_required", StripeKeyRefused),
        (409, "idempotency_key_in_use", StripeBusy),
        (429, "lock_timeout", StripeBusy),
        (500, None, StripeUnavailable),
    ],
)
def test_a_refusal_is_told_by_its_code_and_counted(
    sandbox: str, status: int, code: str | None, kind: type[BillingError]
) -> None:
    """The code stands in Stripe's error object; it is in our error's text and in the metric, and the message, which quotes
    part of a key, is in neither."""
    gateways = StripeGateways(KEY, sandbox)
    gateway = gateways.at(OWN)
    world = StripeWorld(gateway, sandbox, KEY)
    named = {"error": kind.__name__, "code": code or "none"}
    calls = ("portico_stripe_calls_total", {"outcome": kind.__name__})
    before = REGISTRY.get_sample_value("portico_stripe_errors_total", named) or 0
    calls_before = REGISTRY.get_sample_value(*calls) or 0
    world.fault(match="GET /v1/invoices/*", status=status, **({"code": code} if code else {}))
    with pytest.raises(BillingError) as raised:
        gateway.invoice("in_1")
    assert type(raised.value) is kind
    assert f"status {status}" in str(raised.value)
    assert code is None or f"code {code}" in str(raised.value)
    assert "***" not in str(raised.value)
    assert REGISTRY.get_sample_value("portico_stripe_errors_total", named) == before + 1
    assert REGISTRY.get_sample_value(*calls) == calls_before + 1
    gateways.close()


@pytest.mark.parametrize(
    ("key", "livemode"), [("sk_live_x", True), ("rk_live_x", True), (KEY, False)]
)
def test_the_gateway_knows_its_mode_and_hides_its_key(key: str, livemode: bool) -> None:
    """The mode comes from the key; the key is not in the gateway's repr."""
    gateways = StripeGateways(key, "http://127.0.0.1:1")
    gateway = gateways.at(OWN)
    assert gateway.livemode is livemode
    assert key not in repr(gateway)
    gateways.close()


# --- looking back --------------------------------------------------------------------------------------------


def test_everybodys_unpaid_invoices_are_listed(world: World) -> None:
    """Those of two customers, as they are; none from before the moment that is asked for."""
    debtors = {world.debtor().invoice_id for _ in range(2)}
    since = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
    found = [one for page in world.gateway.unpaid_invoices(since, 10) for one in page]
    assert debtors <= {one.id for one in found if one.collectable}


def test_stripes_log_is_read_oldest_first_in_pages(
    sandbox: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over several pages of the real protocol: every event of the asked types once, in the order it happened."""
    monkeypatch.setattr(stripe_gateway, "PAGE", 3)
    gateways = StripeGateways(KEY, sandbox)
    gateway = gateways.at(OWN)
    made = StripeWorld(gateway, sandbox, KEY)
    customers = [made.customer() for _ in range(8)]
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    pages = list(gateway.events_since(since, ["customer.created"], 100))
    seen = [json.loads(body)["data"]["object"]["id"] for page in pages for body in page]
    assert [one for one in seen if one in customers] == customers
    assert len(seen) == len(set(seen))
    assert max(map(len, pages)) == 3
    later = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    assert [
        body for page in gateway.events_since(later, ["customer.created"], 5) for body in page
    ] == []
    gateways.close()


def reads() -> float:
    return REGISTRY.get_sample_value("portico_stripe_reads_total") or 0.0


def test_a_walk_that_finds_one_page_reads_once(sandbox: str) -> None:
    """Stripe counts reads against an allowance; more than twenty types are two questions, as many as it takes."""
    gateways = StripeGateways(KEY, sandbox)
    gateway = gateways.at(OWN)
    customer = StripeWorld(gateway, sandbox, KEY).customer()
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    before = reads()
    pages = gateway.events_since(since, ["customer.created"], 100)
    assert customer in b"".join(body for page in pages for body in page).decode()
    assert reads() - before == 1
    many = [f"some.type_{number}" for number in range(30)] + ["customer.created"]
    pages = gateway.events_since(since, many, 100)
    assert customer in b"".join(body for page in pages for body in page).decode()
    assert reads() - before == 3
    gateways.close()


def test_a_failed_charge_in_stripes_log_is_read_whole(sandbox: str) -> None:
    """Byte for byte as Stripe sent it, with amounts that the library would read as decimals; and without the library's objects, whose
    making keeps everybody waiting."""
    gateways = StripeGateways(KEY, sandbox)
    gateway = gateways.at(OWN)
    invoice_id = StripeWorld(gateway, sandbox, KEY).debtor().invoice_id
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5)
    pages = gateway.events_since(since, ["invoice.payment_failed"], 10)
    found = [json.loads(body)["data"]["object"] for page in pages for body in page]
    (invoice,) = [one for one in found if one["id"] == invoice_id]
    assert isinstance(invoice["lines"]["data"][0]["pricing"]["unit_amount_decimal"], str)
    gateways.close()


# --- on which account ----------------------------------------------------------------------------------------


class Guarded:
    """A way to the sandbox that serves one account alone: whoever comes without its header is refused, and counted."""

    def __init__(self, base: str, account: str) -> None:
        self.app, self.account = create_app(SandboxConfig(public_url=base)), account
        self.served: list[str] = []
        self.refused: list[str] = []
        self.keys: set[str] = set()

    def __call__(self, environ: Any, start_response: Any) -> Any:
        told = environ["REQUEST_METHOD"] + " " + environ["PATH_INFO"]
        if environ.get("HTTP_STRIPE_ACCOUNT", "") != self.account:
            self.refused.append(told)
            start_response("403 Forbidden", [("Content-Type", "application/json")])
            return [b'{"error": {"type": "invalid_request_error", "code": "account_invalid"}}']
        self.served.append(told)
        key = environ.get("HTTP_IDEMPOTENCY_KEY", "")
        if ":" in key:  # not one of the library's own, which is random
            self.keys.add(key)
        return self.app(environ, start_response)


@contextmanager
def guarded(account: str) -> Iterator[tuple[str, Guarded]]:
    """A server of one account, on a port of its own."""
    port = free_port()
    guard = Guarded(f"http://127.0.0.1:{port}", account)
    with serving(guard, port) as base:
        yield base, guard
    guard.app.extensions["world"].stop()


def everything(gateway: PaymentGateway) -> None:
    """Call all that the port has, whatever comes of it."""
    now = dt.datetime.now(dt.UTC)
    for call in (
        lambda: gateway.create_portal_session("cus_1", None, BACK, None, "auto"),
        gateway.default_configuration,
        lambda: gateway.configuration("bpc_1"),
        lambda: gateway.find_configuration("default"),
        lambda: gateway.create_configuration("default", PortalPolicy()),
        lambda: gateway.update_configuration("bpc_1", PortalPolicy()),
        lambda: gateway.invoice("in_1"),
        lambda: gateway.look("in_1"),
        lambda: gateway.hosted_invoice("in_1"),
        lambda: gateway.payment_trace("in_1"),
        lambda: gateway.customer("cus_1"),
        lambda: gateway.method_type("pm_1"),
        lambda: gateway.subscription("sub_1"),
        lambda: gateway.price_look("sub_1"),
        lambda: gateway.subscriptions("cus_1"),
        lambda: gateway.set_subscription_default("sub_1", "pm_1"),
        lambda: gateway.cancel_at_period_end("sub_1", "cancel:1"),
        lambda: gateway.open_invoices("cus_1"),
        lambda: gateway.pay("in_1", "pm_1", "pay:1"),
        lambda: list(gateway.events_since(now, ["invoice.paid"], 2)),
        lambda: list(gateway.unpaid_invoices(now, 2)),
        lambda: gateway.endpoints_off("/webhooks/stripe/connect"),
    ):
        with contextlib.suppress(BillingError):
            call()


@pytest.mark.parametrize("account", ["acct_1", ""])
def test_no_call_is_made_on_another_account(account: str) -> None:
    """Every method of the port, on a server that refuses whoever does not name the account; keys are the account's, too."""
    methods = {name for name, _ in inspect.getmembers(PaymentGateway, inspect.isfunction)}
    called = set(re.findall(r"gateway\.([a-z_]+)", inspect.getsource(everything)))
    assert called == {name for name in methods if not name.startswith("_")}
    with guarded(account) as (base, guard):
        gateways = StripeGateways(KEY, base)
        everything(gateways.at(Account(account)))
        assert guard.refused == []
        assert len(guard.served) >= len(called)
        assert len(guard.keys) == 4
        assert all(key.startswith(f"{account}/") == bool(account) for key in guard.keys)
        wrong = "" if account else "acct_2"
        with pytest.raises(StripeKeyRefused):
            gateways.at(Account(wrong)).invoice("in_1")
        assert guard.refused == ["GET /v1/invoices/in_1"]
        gateways.close()
