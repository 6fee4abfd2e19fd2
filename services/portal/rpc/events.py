"""Entrypoints of what billing tells of Stripe; mixed into the service."""

from __future__ import annotations

from itertools import compress
from typing import Final

from sqlalchemy.orm import Session

from services.portal.handlers import events as handlers
from services.portal.handlers import evidence, host_events
from services.portal.web.entrypoints import PortalEntrypoints
from shared.clock import utc_now
from shared.events import (
    CustomerEvidenceChanged,
    Event,
    InvoiceData,
    InvoiceImported,
    InvoicePaymentFailed,
    StripeAccountChanged,
)
from shared.nameko_ext.batch_consumer import Outcomes, act, consume_lane
from shared.nameko_ext.consumer import Permanent
from shared.nameko_ext.loops import Waker

AFTER_THE_EMAIL: Final = 0.05
"""Seconds. The notifier writes about the same event, and asks us for whom: the page, which nobody opens sooner, is in the way of neither the
answer nor the disk."""
DONE: Final = "done"
DUPLICATE: Final = "duplicate, or none of the portal's"


class Hearing(PortalEntrypoints):
    """What happened at Stripe."""

    wake_relay = Waker("relay")
    wake_cards: Waker

    @consume_lane(CustomerEvidenceChanged.lane)
    def on_evidence(self, batch: list[Event]) -> Outcomes:
        """Whose Stripe customers are, by somebody's word: taken in, and decided anew."""
        read = {event.id: evidence.read_evidence(event, self.wiring.references) for event in batch}

        def together(events: list[Event]) -> list[str]:
            said = [one for event in events if (one := read[event.id]) is not None]
            taken = self._write(lambda session: evidence.take_in(session, said, utc_now()))
            return [_outcome(one) for one in taken]

        def refuse(event: Event) -> str:
            raise Permanent(f"the portal takes no {event.type} for evidence")

        outcomes = act(batch, lambda event: read[event.id] is not None, together, refuse)
        self.wake_relay()
        return outcomes

    @consume_lane(StripeAccountChanged.lane)
    def on_accounts(self, batch: list[Event]) -> Outcomes:
        """How Stripe accounts stand, in a queue of its own: it is not to wait behind a storm of invoices."""
        return act(batch, lambda event: False, lambda events: [], self._handle)

    @consume_lane(InvoiceImported.lane)
    def on_imported(self, batch: list[Event]) -> Outcomes:
        """Subscriptions and open invoices that were there before Portico, for the pages alone: hosts hear of what happens from
        now on."""

        def together(events: list[Event]) -> list[str]:
            done = self._write(lambda session: handlers.handle_imported(session, events, utc_now()))
            return [_outcome(one) for one in done]

        return act(batch, handlers.can_be_imported, together, self._handle)

    def _handle(self, event: Event) -> str:
        return _outcome(self._write(lambda session: handlers.handle(session, event, utc_now())))

    @consume_lane(InvoicePaymentFailed.lane, after=AFTER_THE_EMAIL)
    def on_events(self, batch: list[Event]) -> Outcomes:
        """Events from billing: their effects and their ids in one transaction, those about invoices together."""

        def together(events: list[Event[InvoiceData]]) -> list[str]:
            def work(session: Session) -> list[bool]:
                done = handlers.handle_invoices(session, events, utc_now())
                host_events.note(session, compress(events, done), utc_now())
                return done

            return [_outcome(one) for one in self._write(work)]

        def alone(event: Event) -> str:
            def work(session: Session) -> bool:
                done = handlers.handle(session, event, utc_now())
                if done:
                    host_events.note(session, [event], utc_now())
                return done

            outcome = _outcome(self._write(work))
            self.wake_relay()
            return outcome

        outcomes = act(batch, handlers.is_about_invoice, together, alone)
        if any(isinstance(event.data, InvoicePaymentFailed) for event in batch):
            self.wake_cards()
        return outcomes


def _outcome(done: bool) -> str:
    return DONE if done else DUPLICATE
