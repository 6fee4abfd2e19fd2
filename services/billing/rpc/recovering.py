"""Entrypoints of the loop that closes: a new card pays what is open; mixed into the service."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from prometheus_client import Counter

from services.billing.adapters.portal import PortalBusinesses
from services.billing.domain.card_places import CardPlaces
from services.billing.domain.errors import PortalUnavailable, StripeKeyRefused
from services.billing.rpc.entrypoints import BillingEntrypoints
from services.billing.rpc.errors import check_read
from services.billing.rpc.reconciling import PLACE_SECONDS
from services.billing.workflows import recovery
from services.billing.workflows.customer_lease import CustomerBusy
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account, account_shown
from shared.contracts.rpc.errors import StripeUnavailable
from shared.events import Event, PaymentMethodChanged
from shared.nameko_ext.consumer import EVENTS_AT_ONCE, Permanent, consume
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.of_process import OfProcess
from shared.nameko_ext.turns import Turn, turn
from shared.telemetry import get_logger

log = get_logger(__name__)

WRITTEN_DOWN_AT_ONCE: Final = 3
"""So many events of new cards can always be written down, while Stripe is asked about all that may be tried."""
CARD_RETRIES = Counter(
    "portico_card_retries_total",
    "Tries to pay an open invoice with a new card, by what came of them",
    ["outcome"],
)


class Recovering(BillingEntrypoints):
    """Changes of card."""

    recovering: Turn
    card_places = OfProcess(lambda settings: CardPlaces(EVENTS_AT_ONCE - WRITTEN_DOWN_AT_ONCE))
    wake_recoveries = Waker("resume_recoveries")

    @property
    def businesses(self) -> PortalBusinesses:
        """Whose businesses only observe."""
        return PortalBusinesses(self.portal, all_observe=self.settings.observes)

    @consume
    def on_event(self, event: Event) -> str:
        """A new card: pay what is open with it, or note what would be paid where the business observes. What Stripe or the portal
        can't tell now, what is of an account that isn't served now, and cards beyond what one account may have tried at a time beside
        others' (`domain/card_places.py`), `resume_recoveries` goes on with."""
        if not isinstance(event.data, PaymentMethodChanged):
            raise Permanent(f"billing does not consume {event.type}")
        directory = self.accounts.directory
        refusal = directory.why_not_served(Account(event.data.account))
        if refusal is not None:
            check_read(directory)
        with self.database.reading() as session:
            wish = recovery.wish_of(session, event.correlation_id, event.occurred_at, event.data)
        if wish is None:
            return "no card"
        if refusal is not None:
            recovery.keep(
                self.database,
                wish,
                livemode=directory.livemode(OWN),
                holder=secrets.token_hex(8),
                clock=utc_now,
            )
            return "not served"
        with self.card_places.place(wish.account, alone=not len(directory)) as tried_now:
            if tried_now:
                self._recover(recovery.recover, wish, wish.account)
                return "done"
        recovery.leave(self.database, wish, holder=secrets.token_hex(8), clock=utc_now)
        self.wake_recoveries()
        return "left for a turn"

    @loop(poll=5.0)
    def resume_recoveries(self) -> bool:
        """Go on with changes of card that wait: for the hour's end, for Stripe or the portal, or because a process died. Of several
        accounts at a time, since one's Stripe may be slow, and of each one by one."""
        turns = self.recovering
        for account in recovery.accounts_due(self.database, utc_now(), beside=turns.in_hand):
            if not turns.begin(account):
                # Who is due first may be another one by then.
                return turns.wait_for_place(PLACE_SECONDS)
        return False

    @turn(wakes="resume_recoveries")
    def resume_recovery(self, account: Account) -> bool:
        """Go on with one change of card of an account; True when there may be more."""
        directory = self.accounts.directory
        for change in recovery.due(self.database, account, utc_now()):
            if directory.why_not_served(account) is not None:
                if directory.read:
                    recovery.put_off(
                        self.database, change, utc_now(), livemode=directory.livemode(OWN)
                    )
                continue
            try:
                self._recover(recovery.resume, change, account)
            except CustomerBusy:
                continue
            return True
        return False

    def _recover(
        self, work: Callable[..., recovery.Report], subject: Any, account: Account
    ) -> None:
        try:
            report = work(
                self.database,
                self.gateways.at(account),
                subject,
                businesses=self.businesses,
                holder=secrets.token_hex(8),
                clock=utc_now,
            )
        except (StripeUnavailable, StripeKeyRefused, PortalUnavailable) as error:
            say = log.error if isinstance(error, StripeKeyRefused) else log.warning
            say(
                "new card not tried to the end",
                subject=str(subject),
                error=type(error).__name__,
                reason=str(error),
                **account_shown(account),
            )
            return
        for payment in report.payments.values():
            CARD_RETRIES.labels(payment.outcome.value).inc()
        log.info(
            "new card tried",
            run=report.run.value,
            change_id=report.change_id,
            **account_shown(account),
            pointed=len(report.pointed),
            not_pointed=report.not_pointed,
            kept=len(report.kept),
            outcomes={invoice: str(one.outcome) for invoice, one in report.payments.items()},
        )
