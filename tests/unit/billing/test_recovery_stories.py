"""Whatever order and repeats of Stripe's events, and whatever befalls the requests: one change is one question to a bank."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.billing.domain.changes import MOST_A_DAY, ONCE_IN, Wish
from services.billing.domain.paying import Customer, Subscription
from services.billing.models import Base, RecoveryLease
from services.billing.workflows.customer_lease import LEASE, CustomerBusy
from shared.contracts.accounts import OWN
from shared.contracts.rpc.errors import StripeUnavailable
from tests.unit import tables
from tests.unit.billing.conftest import Clock
from tests.unit.billing.fakes import DECLINES, FakePaymentGateway, Trouble, charged_to
from tests.unit.billing.test_recovery import CUSTOMER, INVOICE, SUBSCRIPTION, Loop

pytestmark = pytest.mark.whole

NOT_NOW = (StripeUnavailable, CustomerBusy)
CARDS = (f"{DECLINES}_a", f"{DECLINES}_b")


class Crash(BaseException):
    """The process is gone."""


class CustomersAndBanks(RuleBasedStateMachine):
    """A customer who changes cards, banks that decline, a Stripe that repeats, forgets, fails; processes that die."""

    @initialize()
    def begin(self) -> None:
        self.gateway = FakePaymentGateway()
        self.clock = Clock()
        self.gateway.clock = self.clock
        self.loop = Loop(tables.empty(Base.metadata), self.gateway, self.clock)
        self.gateway.customers["cus_1"] = Customer("cus_1", charged_to(CARDS[0]))
        self.gateway.all_subscriptions["sub_1"] = Subscription(
            "sub_1", "cus_1", "past_due", charged_to("pm_old")
        )
        self.gateway.invoices["in_1"] = INVOICE
        self.told: list[Wish] = []
        self.wishes: list[tuple[dt.datetime, str]] = []
        self.asked: list[tuple[dt.datetime, str]] = []

    def note_charges(self) -> None:
        """When the bank was asked, as the fake's list grows."""
        for _, card in self.gateway.charges[len(self.asked) :]:
            self.asked.append((self.clock(), card))

    @rule(card=st.sampled_from(CARDS), both=st.booleans())
    def customer_sets_card(self, card: str, both: bool) -> None:
        """The default is changed; an application may set the subscription's own, too."""
        self.clock.forward(seconds=90)
        self.gateway.customers["cus_1"] = Customer("cus_1", charged_to(card))
        self.wishes.append((self.clock(), card))
        self.told.append(self.loop.told(card, CUSTOMER))
        if both:
            self.told.append(self.loop.told(card, SUBSCRIPTION, "sub_1"))

    @precondition(lambda self: self.told)
    @rule(which=st.integers(0, 99))
    def an_event_is_delivered(self, which: int) -> None:
        """Any of those that were ever made: late, again, out of order."""
        wish = self.told[which % len(self.told)]
        with contextlib.suppress(*NOT_NOW):
            self.loop.run(wish)
        self.note_charges()

    @precondition(lambda self: self.told)
    @rule(
        which=st.integers(0, 99),
        at=st.sampled_from(["customer", "set_subscription_default", "open_invoices", "pay"]),
        after=st.booleans(),
    )
    def a_process_dies_over_an_event(self, which: int, at: str, after: bool) -> None:
        """Before a request to Stripe, or when `pay` has been answered and nothing was written down."""
        pay = self.gateway.pay

        def die(entered: str) -> None:
            if entered == at and not (after and at == "pay"):
                raise Crash

        def pay_and_die(*asked: str) -> None:
            pay(*asked)
            raise Crash

        self.gateway.before = die
        if after and at == "pay":
            self.gateway.pay = pay_and_die  # type: ignore[method-assign, assignment]
        with contextlib.suppress(Crash, *NOT_NOW):
            self.loop.run(self.told[which % len(self.told)])
        self.gateway.before = lambda entered: None
        self.gateway.pay = pay  # type: ignore[method-assign]
        self.note_charges()
        dead = RecoveryLease(
            account=OWN, stripe_customer_id="cus_1", holder="dead", until=self.clock() + LEASE
        )
        with self.loop.database.transaction() as session:
            session.merge(dead)

    @rule(troubles=st.lists(st.sampled_from(list(Trouble)), min_size=1, max_size=3))
    def stripe_has_trouble(self, troubles: list[Trouble]) -> None:
        """The next requests to pay are lost, or answered with errors that Stripe keeps."""
        self.gateway.troubles = troubles

    @rule(minutes=st.sampled_from([1, 11, 59, 180, 25 * 60]))
    def time_passes(self, minutes: int) -> None:
        """And the loop goes on with what is due."""
        self.clock.forward(minutes=minutes)
        self.go_on()

    def go_on(self) -> None:
        with contextlib.suppress(*NOT_NOW):
            self.loop.go_on()
        self.note_charges()

    @invariant()
    def each_change_asks_once(self) -> None:
        """No bank is asked about a card more often than the card was set."""
        if not hasattr(self, "asked"):
            return
        asked, wished = (
            Counter(card for _, card in self.asked),
            Counter(card for _, card in self.wishes),
        )
        assert asked <= wished

    @invariant()
    def the_limits_hold(self) -> None:
        """Five a day about the invoice, one change of a card an hour."""
        if not hasattr(self, "asked"):
            return
        for at, _ in self.asked:
            day = [other for other, _ in self.asked if at - dt.timedelta(days=1) < other <= at]
            assert len(day) <= MOST_A_DAY
        for card in CARDS:
            times = [at for at, other in self.asked if other == card]
            assert all(b - a >= ONCE_IN for a, b in itertools.pairwise(times))

    def teardown(self) -> None:
        """When everything was delivered and Stripe is well again, the last wish has been tried, or the limits say no."""
        if not getattr(self, "wishes", None):
            return
        self.gateway.troubles = []
        self.clock.forward(seconds=LEASE.total_seconds())
        for wish in self.told:
            with contextlib.suppress(*NOT_NOW):
                self.loop.run(wish)
            self.note_charges()
        for _ in range(8):
            self.clock.forward(minutes=61)
            self.go_on()
        at, card = self.wishes[-1]
        day = [other for other, _ in self.asked if at - dt.timedelta(days=1) < other]
        tried = any(moment >= at for moment, other in self.asked if other == card)
        assert tried or len(day) >= MOST_A_DAY
        assert None not in self.loop.changes(), "every change has come to its end"


TestCustomersAndBanks = CustomersAndBanks.TestCase
TestCustomersAndBanks.settings = settings(stateful_step_count=20)
