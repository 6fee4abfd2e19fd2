"""The tries of one run to pay with a new card: begun, asked of the bank, and what became of them.

Each is a row before Stripe is asked, and its answer, where it was lost, is read off Stripe's objects.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from services.billing.domain.changes import ONCE_IN, Change, Try, may_try
from services.billing.domain.declines import PaymentProblem
from services.billing.domain.errors import KeySpent, StripeKeyRefused
from services.billing.domain.paying import Invoice, Payment, PaymentTrace, PayOutcome, fate
from services.billing.ports import PaymentGateway
from services.billing.queries import payment_tries
from services.billing.workflows.change_plans import Plan
from services.billing.workflows.customer_lease import CustomerLease
from shared.contracts.accounts import StripeId
from shared.contracts.invoices import MethodChange
from shared.contracts.rpc.errors import StripeRefused, StripeUnavailable, UnknownInvoice
from shared.database import Transactions

DEBIT_LOOK: Final = dt.timedelta(days=1)
"""When somebody looks again at an invoice that another method's debit is under way for, if no event tells of its end."""


class CardTries:
    """What one run of one change tries, while its customer is ours."""

    def __init__(
        self,
        database: Transactions,
        gateway: PaymentGateway,
        change: Change,
        lease: CustomerLease,
        clock: Callable[[], dt.datetime],
    ) -> None:
        self._database = database
        self._gateway = gateway
        self._change = change
        self._lease = lease
        self._clock = clock
        self.payments: dict[str, Payment] = {}
        """What came of each invoice."""
        self.waits: list[dt.datetime] = []
        """Until when invoices are held back by the hour's limit, or by a debit of another method."""
        self._unknown: dict[str, Try] = {}
        """By invoice: the try whose answer is not known."""
        self._held: set[str] = set()
        """Invoices that could not be paid because of that."""

    def held_up(self) -> list[str]:
        """The invoices of which it is still not known what became of a try."""
        ours = {
            one.invoice_id for one in self._unknown.values() if one.change_id == self._change.id
        }
        return sorted(self._held | ours)

    def goes_on(self, invoice: Invoice, plan: Plan) -> bool:
        """Whether the invoice has a try without an answer: it is asked with the same key again, where that is safe, or held up."""
        unknown = self._unknown.get(invoice.id)
        if unknown is None:
            return False
        if unknown.may_be_repeated(self._change.id, self._clock()):
            self._ask(unknown, plan)
        else:
            self._held.add(invoice.id)
        return True

    def begin(self, invoice: Invoice, plan: Plan) -> None:
        """Ask the bank, unless it has just answered, or was asked often enough."""
        trace = self._trace(invoice.id)
        if trace.processing and trace.debited not in (None, self._change.payment_method):
            self.waits.append(self._clock() + DEBIT_LOOK)
            return
        started = self._start(invoice, trace, PayOutcome.UNKNOWN)
        if self.payments[invoice.id].outcome is PayOutcome.UNKNOWN:
            self._ask(started, plan)

    def observe(self, invoice: Invoice) -> None:
        """Write down what would have been charged, at once: what is only observed waits for nothing but the answer to an earlier try."""
        earlier = self._unknown.get(invoice.id)
        if earlier is not None and not earlier.is_settled(self._clock()):
            self._held.add(invoice.id)
            return
        if earlier is not None:
            self._learn(earlier, Payment(PayOutcome.NOT_CHARGED))
        self._start(invoice, self._trace(invoice.id), PayOutcome.OBSERVED)

    def _start(self, invoice: Invoice, trace: PaymentTrace, outcome: PayOutcome) -> Try:
        """Write down a try with this outcome, or with why there is none."""
        now = self._clock()
        since = max(self._change.set_at, now - ONCE_IN)
        with self._lease.kept() as session:
            if self._has_answered(trace.problem, since):
                outcome = PayOutcome.ALREADY_TRIED
            elif trace.processing:
                outcome = PayOutcome.PROCESSING
            elif not may_try(
                payment_tries.times_tried(session, StripeId(self._change.account, invoice.id), now),
                self._change.payment_method,
                now,
            ):
                outcome = PayOutcome.CAPPED
            self.payments[invoice.id] = payment = Payment(outcome)
            return payment_tries.start_try(
                session,
                self._change,
                invoice_id=invoice.id,
                attempt=invoice.attempt_count,
                since=since,
                payment=payment,
                now=now,
                would_charge=invoice if outcome is PayOutcome.OBSERVED else None,
            )

    def _has_answered(self, problem: PaymentProblem | None, since: dt.datetime) -> bool:
        """Whether the bank has declined the card since then.

        A failure of the very second in which somebody chose the card counts: an application may set a card and charge it at once. Of one
        that the bank renewed behind the same id it may be of the card as it was.
        """
        if self._change.came_about is MethodChange.CHOSEN:
            since -= dt.timedelta(seconds=1)
        return problem is not None and problem.answers(self._change.payment_method, since)

    def _trace(self, invoice_id: str) -> PaymentTrace:
        """What Stripe's own attempt with the card came to, between its setting and us.

        A failure from before the card was set says nothing: the bank may have renewed the card behind the same id, or
        the customer came back to it. Best effort: where Stripe does not tell, one charge too many is declined once
        more, while one too few would leave an invoice unpaid.
        """
        try:
            return self._gateway.payment_trace(invoice_id)
        except (StripeUnavailable, StripeRefused):
            return PaymentTrace()

    def _ask(self, asked: Try, plan: Plan) -> None:
        """Pay with the try's key, and write down what came of it; a lost answer is read off the invoice."""
        with self._lease.kept() as session:
            payment_tries.send_try(session, asked, self._clock())
            payment_tries.note_run(session, self._change, plan.scope, self._clock())
        self._unknown[asked.invoice_id] = asked
        try:
            payment: Payment | None = self._gateway.pay(
                asked.invoice_id, asked.payment_method, asked.key
            )
        except StripeKeyRefused:
            raise  # nothing was asked of a bank; with another key this one's question is still open
        except StripeRefused as error:
            payment = self._fate(asked) or Payment(PayOutcome.REFUSED, str(error))
        except StripeUnavailable as error:
            if isinstance(error, KeySpent):
                with self._database.transaction() as session:
                    payment_tries.spend_key(session, asked)
            payment = self._fate(asked)
        self._learn(asked, payment)

    # -- what became of a try ---------------------------------------------------------------------------------

    def learn_fates(self, *, own_keys: bool) -> None:
        """Read off Stripe's objects what became of tries without an answer, of whatever change of this customer.

        No other key asks about an invoice before that is known. What does not show long after the last asking did not
        happen, unless its own key can still be sent again: `own_keys` says whether this run will.
        """
        with self._database.reading() as session:
            unknown = payment_tries.unknown_tries(session, self._change.customer)
        for one in unknown:
            self._lease.keep()
            self._unknown[one.invoice_id] = one
            payment = self._fate(one)
            now = self._clock()
            repeated = own_keys and one.may_be_repeated(self._change.id, now)
            if payment is None and one.is_settled(now) and not repeated:
                payment = Payment(PayOutcome.NOT_CHARGED)
            self._learn(one, payment)

    def _fate(self, asked: Try) -> Payment | None:
        trace = self._gateway.payment_trace(asked.invoice_id)
        try:
            invoice = self._gateway.invoice(asked.invoice_id)
        except UnknownInvoice:
            return Payment(PayOutcome.CLOSED)
        return fate(invoice, trace, asked.payment_method, asked.since)

    def _learn(self, asked: Try, payment: Payment | None) -> None:
        if payment is None:
            return
        with self._database.transaction() as session:
            payment_tries.end_try(session, asked, payment, self._clock())
        del self._unknown[asked.invoice_id]
        if asked.change_id == self._change.id:
            self.payments[asked.invoice_id] = payment
