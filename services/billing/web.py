"""Where Stripe speaks: three kinds of webhook endpoints, whose secrets prove each for its own accounts alone
(docs/adr/0027-accounts-beside-the-own-one.md)."""

from __future__ import annotations

import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from prometheus_client import Counter
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from services.billing.adapters.stripe import webhook
from services.billing.domain.accounts import ACCOUNT
from services.billing.handlers import inbox
from services.billing.rpc.accounts import Accounts
from services.billing.rpc.entrypoints import BillingEntrypoints
from services.billing.stripe_events.payloads import NotAnEvent
from shared import tracing
from shared.clock import utc_now
from shared.contracts.accounts import OWN, Account, account_shown
from shared.database import on_commit
from shared.nameko_ext.http_answers import Reply, json_answer
from shared.nameko_ext.http_requests import HttpRequest
from shared.nameko_ext.web import WEBHOOK_BYTES, Http, http
from shared.settings import Secret
from shared.telemetry import audit, get_logger

log = get_logger(__name__)

WEBHOOKS = Counter(
    "portico_stripe_webhooks",
    "Webhooks by Stripe's event type and what became of them",
    ["type", "outcome"],
)
OTHER_MODE: Final = "other_mode"
"""The outcome of a test event that a live Connect endpoint is sent by design: dropped."""

Take = TypeVar("Take", bound=Callable[..., Any])

TOLD_AS: Final = {
    inbox.Outcome.QUARANTINED: ("webhook quarantined", logging.ERROR),
    inbox.Outcome.THIN: ("thin webhook", logging.WARNING),
    inbox.Outcome.CONNECTED: ("webhook of an account that is not served", logging.INFO),
}
"""How the log names a webhook of which there is more to say than that it was taken, and how loud."""

TAKEN: Final = {one: json_answer(200, {"received": one.value}) for one in inbox.Outcome}
"""The answers to webhooks that are stored: each made once, for all."""
DROPPED: Final = json_answer(200, {"received": OTHER_MODE})
UNKNOWN: Final = json_answer(
    404, {"error": "there is no account with a key of its own of this name"}
)


class WrongEndpoint(Exception):
    """The event is signed, by a secret that can't speak for its account."""


def store_batch(session: Session, batch: list[inbox.Received]) -> list[inbox.Outcome]:
    """Store webhooks that came together, and count them once they are."""
    outcomes = inbox.store_webhooks(session, batch, utc_now())
    on_commit(session, lambda: _count(batch, outcomes))
    return outcomes


def _count(batch: list[inbox.Received], outcomes: list[inbox.Outcome]) -> None:
    kinds = zip((one.type_label for one in batch), outcomes, strict=True)
    for (label, outcome), number in Tally(kinds).items():
        WEBHOOKS.labels(label, outcome.value).inc(number)


def _refused(reason: Exception) -> Response:
    WEBHOOKS.labels("unknown", "refused").inc()
    log.warning("webhook refused", reason=str(reason))
    return json_answer(400, {"error": str(reason)})


def _audit_configuration(received: inbox.Received) -> None:
    """What customers may do at Stripe was changed: there, or by `portico stripe portal-config`. Stripe does not say who did."""
    changed = received.translation.configuration
    if changed is not None:
        audit(
            received.event.type,
            who="not said",
            came_by="webhook",
            configuration_id=changed.id,
            correlation_id=received.event.id,
            **account_shown(received.event.account),
        )


def _refuse_unsigned(request: HttpRequest) -> Response | None:
    """Without anything like a signature of Stripe's, what follows is nobody's webhook."""
    try:
        webhook.read_header(request.headers.get(webhook.HEADER))
    except webhook.BadSignature as reason:
        return _refused(reason)
    return None


class AccountHttp(Http):
    """Takes the webhooks of accounts with keys of their own. Before a body is read it refuses, beside what has no signature, what
    names no such account."""

    def __init__(self, method: str, url: str, **kwargs: Any) -> None:
        super().__init__(
            method, url, refuse=self._refuse_nobodys, body_limit=WEBHOOK_BYTES, **kwargs
        )

    def _refuse_nobodys(self, request: Any) -> Reply | None:
        named = request.path_values["account"]
        if ACCOUNT.fullmatch(named):
            accounts = next(
                each for each in self.container.dependencies if isinstance(each, Accounts)
            ).holder
            if not accounts.directory.read:
                return self.busy()  # Stripe comes again
            if accounts.webhook_secrets(Account(named)):
                return _refuse_unsigned(request)
        WEBHOOKS.labels("unknown", "refused").inc()
        return UNKNOWN


_webhooks_of_accounts: Callable[[Take], Take] = AccountHttp.decorator(
    "POST", "/webhooks/stripe/<account>"
)


class Webhooks(BillingEntrypoints):
    """The webhook endpoints."""

    wake_accounts: Callable[[], None]
    store: Callable[[inbox.Received], inbox.Outcome]

    @http("POST", "/webhooks/stripe", refuse=_refuse_unsigned, body_limit=WEBHOOK_BYTES)
    def stripe_webhook(self, request: HttpRequest) -> Response:
        """Verify, store, acknowledge. 400 for what Stripe did not sign or what is no event: nothing is stored.

        Everything signed is stored and answered 200, also what we can't understand: a 4xx would make Stripe
        repeat it for days and then switch the endpoint off.
        """
        return self._take(request, self.settings.stripe_webhook_secrets, _of_the_own_account)

    @http("POST", "/webhooks/stripe/connect", refuse=_refuse_unsigned, body_limit=WEBHOOK_BYTES)
    def connect_webhook(self, request: HttpRequest) -> Response:
        """The same for connected accounts, which their events name."""
        secrets = self.settings.stripe_connect_webhook_secrets
        return self._take(request, secrets, _of_a_connected_account)

    @_webhooks_of_accounts
    def account_webhook(self, request: Any, account: str) -> Response:
        """The same for one account with a key of its own, which the address names and its events don't."""
        named = Account(account)
        return self._take(request, self.accounts.webhook_secrets(named), _of_its_account, named)

    def _take(
        self,
        request: HttpRequest,
        secrets: Sequence[Secret],
        check: Callable[[Account, Account], None],
        account: Account = OWN,
    ) -> Response:
        body = request.get_data()
        try:
            webhook.verify(
                body,
                request.headers.get(webhook.HEADER),
                [secret.reveal() for secret in secrets],
                time.time(),
            )
            directory = self.accounts.directory
            received = inbox.read_webhook(body, account, directory=directory)
            check(received.event.account, account)
        except (webhook.BadSignature, NotAnEvent, WrongEndpoint) as refusal:
            return _refused(refusal)
        event = received.event
        if event.account and event.livemode is False and directory.livemode(OWN):
            WEBHOOKS.labels(received.type_label, OTHER_MODE).inc()
            return DROPPED
        received, outcome = inbox.keep(self.store, received)
        tracing.note(type=received.type_label, correlation_id=event.id, outcome=outcome.value)
        what, level = TOLD_AS.get(outcome, ("webhook taken", logging.INFO))
        log.log(
            level,
            what,
            event_id=event.id,
            type=event.type,
            outcome=outcome.value,
            reason=received.translation.reason,
            correlation_id=event.id,
            **account_shown(event.account),
        )
        if outcome is inbox.Outcome.TRANSLATED:
            self.wake_relay()
            _audit_configuration(received)
            if received.translation.state is not None:
                self.wake_accounts()
        return TAKEN[outcome]


def _of_the_own_account(account: Account, _: Account) -> None:
    if account != OWN:
        raise WrongEndpoint(
            f"the event is of the connected account {account[:100]}, and a secret of STRIPE_WEBHOOK_SECRETS speaks for the "
            "installation's own account alone: Connect endpoints lead to …/webhooks/stripe/connect, with their secrets in "
            "STRIPE_CONNECT_WEBHOOK_SECRETS"
        )


def _of_a_connected_account(account: Account, _: Account) -> None:
    if account == OWN:
        raise WrongEndpoint(
            "the event names no connected account, and a secret of STRIPE_CONNECT_WEBHOOK_SECRETS speaks for connected accounts "
            "alone: the endpoint for the installation's own account leads to …/webhooks/stripe"
        )


def _of_its_account(account: Account, named: Account) -> None:
    if account != named:
        raise WrongEndpoint(
            f"the event is of the account {account[:100]}, and the secret speaks for {named} alone"
        )
