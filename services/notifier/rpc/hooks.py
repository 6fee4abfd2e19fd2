"""Entrypoints around webhooks to hosts: the loops that tell and send, and what hosts and people call; mixed into the service."""

from __future__ import annotations

import datetime as dt
import random
import time
from operator import attrgetter
from typing import Annotated, Final
from urllib.parse import urlsplit

import msgspec

from services.notifier import metrics
from services.notifier.adapters.hosts.caller import HostCaller, look_up
from services.notifier.adapters.hosts.time_limit import SharedLookUps, TimeLimitedHosts
from services.notifier.adapters.known_modes import KnownModes, PortalModes
from services.notifier.adapters.portal import PortalOwners
from services.notifier.domain.hook_shares import HookShares
from services.notifier.domain.hook_signing import Signer
from services.notifier.domain.hooks import OBSERVED, PER_OWNER
from services.notifier.handlers import hooks as handlers
from services.notifier.handlers.hooks import HookRules
from services.notifier.queries import hook_deliveries, hook_endpoints
from services.notifier.queries.hook_deliveries import HookLease
from services.notifier.senders import SendSlotsProvider, sender
from services.notifier.settings import Settings
from services.notifier.workflows import hooks as sending
from shared import tracing
from shared.clock import utc_now
from shared.contracts.deadlines import NOTIFIER_WAITS_FOR_PORTAL
from shared.contracts.rpc.hooks import (
    DeletedWebhookEndpoint,
    EndpointId,
    EventTypes,
    RequestId,
    SentWebhooks,
    WebhookAttempt,
    WebhookEndpoint,
    WebhookSecret,
)
from shared.database import DatabaseUnavailable
from shared.nameko_ext.database import Database
from shared.nameko_ext.loops import Waker, loop
from shared.nameko_ext.of_process import OfProcess
from shared.nameko_ext.rpc import RpcClient, audited_rpc, rpc
from shared.telemetry import get_logger

log = get_logger(__name__)

MOST_LISTED: Final = 100
Url = Annotated[str, msgspec.Meta(max_length=4000)]
BusinessId = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class HostsOfProcess:
    """What webhooks need of this process: the keys, the way out, and whether there is an endpoint at all."""

    def __init__(self, rules: HookRules, hosts: TimeLimitedHosts | None, places: int) -> None:
        """`hosts` is None while webhooks are off. `places`: how many senders there are."""
        self.rules = rules
        self.hosts = hosts
        self.there = hosts is not None
        """Whether some host has an endpoint, as of the last look: until the first one it may."""
        self.shares = HookShares(places, PER_OWNER)
        self.modes = KnownModes()

    @property
    def are_heard(self) -> bool:
        """Whether an event has to be written down for hosts. Where none listens it costs no statement."""
        return self.hosts is not None and self.there


def _hosts(settings: Settings) -> HostsOfProcess:
    signer = Signer([key.reveal() for key in settings.hook_keys])
    rules = HookRules(signer, settings.hooks_allow_loopback)
    hosts = None
    if signer.is_on:
        caller = HostCaller(loopback=rules.loopback, look_up=SharedLookUps(look_up))
        hosts = TimeLimitedHosts(caller)
    return HostsOfProcess(rules, hosts, settings.hook_senders)


class Hooks:
    """Webhooks to hosts."""

    db = Database()
    portal = RpcClient("portal", timeout=NOTIFIER_WAITS_FOR_PORTAL)
    hooks = OfProcess(_hosts)
    observes = OfProcess(attrgetter("observes"))
    """Whether the whole installation does (`MODE`)."""
    hook_places = SendSlotsProvider("send_hook", "hook_senders")
    wake_hosts = Waker("tell_hosts")
    wake_hooks = Waker("send_hooks")
    wake_relay = Waker("relay")

    # --- sending ------------------------------------------------------------------------------------------------

    @loop(poll=10.0)
    def look_for_endpoints(self) -> bool:
        """Find out whether any host listens, and publish how much waits for those that work."""
        if self.hooks.hosts is None:
            return False
        with self.db.reading() as session:
            self.hooks.there = hook_endpoints.exist(session)
            if self.hooks.there:
                backlog = hook_deliveries.backlog(session, utc_now())
                metrics.HOOKS_PENDING.set(backlog.pending)
                metrics.HOOKS_OLDEST_DUE.set(backlog.oldest_due_seconds)
                metrics.HOOK_ENDPOINTS_OFF.set(hook_endpoints.that_are_off(session))
        return False

    @loop(poll=2.0)
    def tell_hosts(self) -> bool:
        """Make the deliveries of the events that were written down."""
        if not self.hooks.are_heard:
            return False
        more = sending.tell_round(self._hook_desk())
        self.wake_hooks()
        return more

    @loop(poll=1.0)
    def send_hooks(self) -> bool:
        """Give every free sender a delivery that is due."""
        free = self.hook_places.free(utc_now()) if self.hooks.are_heard else 0
        if not free:
            return False
        shares = self.hooks.shares
        slow = shares.slow(time.monotonic())
        leased = sending.lease(self._hook_desk(), free, shares.under_way, slow, shares.rotation)
        self.hook_places.note_lease(free, len(leased))
        for one in leased:
            shares.took(one.owner, more=one.more)
            self.hook_places.take(one)
        return False

    @sender(wakes="send_hooks", task="send webhook")
    def send_hook(self, leased: HookLease) -> None:
        """Send one leased delivery and record what came of it."""
        try:
            outcome, answer = sending.send_one(self._hook_desk(), leased)
        except DatabaseUnavailable:
            # The host may have it already. Its lease ends, and it is sent once more under the same id.
            log.warning(
                "webhook not recorded, the database is away", endpoint_id=leased.endpoint_id
            )
            return
        finally:
            if self.hooks.shares.gave_back(leased.owner):
                self.wake_hooks()
        self.hooks.shares.note(leased.owner, answer.milliseconds, time.monotonic())
        metrics.HOOK_ATTEMPTS.labels(outcome).inc()
        tracing.note(outcome=outcome)
        level = log.info if answer.delivered or answer is OBSERVED else log.warning
        level(
            "webhook tried",
            endpoint_id=leased.endpoint_id,
            host=urlsplit(leased.url).hostname,
            type=leased.event.type,
            hook_event_id=leased.event.hook_event_id,
            correlation_id=leased.correlation_id,
            outcome=outcome,
            status=answer.status,
            why=answer.error,
            milliseconds=answer.milliseconds,
        )

    def _hook_desk(self) -> sending.HookContext:
        assert self.hooks.hosts is not None
        return sending.HookContext(
            db=self.db,
            owners=PortalOwners(self.portal),
            modes=PortalModes(self.portal, self.hooks.modes),
            hosts=self.hooks.hosts,
            signer=self.hooks.rules.signer,
            now=utc_now,
            jitter=random.random,
            loopback=self.hooks.rules.loopback,
            observes=self.observes,
        )

    # --- RPC ----------------------------------------------------------------------------------------------------

    @audited_rpc("business_id")
    def create_webhook_endpoint(
        self,
        url: Url,
        business_id: BusinessId | None = None,
        event_types: EventTypes | None = None,
        request_id: RequestId | None = None,
        repeated: bool = False,
    ) -> WebhookSecret:
        """Make an endpoint, of a business (by the host's id) or of the installation, and answer its secret this once: for the same
        `request_id` the same one, for a day. `repeated`: that request was done, so one that was deleted since is not made again (NotFound). Without `event_types`, or with none: all. Other processes begin within ten seconds to write events down where it is the first endpoint of all."""
        with self.db.transaction() as session:
            made = handlers.create(
                session,
                self.hooks.rules,
                url=url,
                business_id=business_id,
                event_types=event_types or [],
                request_id=request_id,
                repeated=repeated,
                now=utc_now(),
            )
        self.hooks.there = True
        return made

    @rpc
    def webhook_endpoints(
        self,
        business_id: BusinessId | None = None,
        limit: int = 100,
        starting_after: EndpointId | None = None,
    ) -> list[WebhookEndpoint]:
        """Endpoints of a business, or all, in the order in which they were made (at most 101)."""
        with self.db.reading() as session:
            most = max(1, min(limit, MOST_LISTED + 1))
            return handlers.listed(session, business_id, most, starting_after)

    @rpc
    def webhook_endpoint(
        self, endpoint_id: EndpointId, business_id: BusinessId | None = None
    ) -> WebhookEndpoint:
        """One endpoint."""
        with self.db.reading() as session:
            return handlers.view(handlers.find(session, endpoint_id, business_id))

    @audited_rpc("endpoint_id", "event_types", "enabled")
    def change_webhook_endpoint(
        self,
        endpoint_id: EndpointId,
        business_id: BusinessId | None = None,
        url: Url | None = None,
        event_types: EventTypes | None = None,
        enabled: bool | None = None,
    ) -> WebhookEndpoint:
        """Change what is given of an endpoint, switch it on or off. What it missed while it was off is not sent by itself
        (`replay_webhooks`)."""
        with self.db.transaction() as session:
            row = handlers.find(session, endpoint_id, business_id, lock=True)
            changed = handlers.change(
                session,
                self.hooks.rules,
                row,
                url=url,
                event_types=event_types,
                enabled=enabled,
                now=utc_now(),
            )
        self.wake_hooks()
        return changed

    @audited_rpc("endpoint_id")
    def rotate_webhook_secret(
        self,
        endpoint_id: EndpointId,
        business_id: BusinessId | None = None,
        request_id: RequestId | None = None,
        repeated: bool = False,
    ) -> WebhookSecret:
        """Give an endpoint a new secret, and answer it this once: again for the `request_id` that it was rotated by last. For a day those
        before sign too. `repeated`: that request was done, so nothing is rotated where another one has rotated since
        (InvalidArgument)."""
        with self.db.transaction() as session:
            row = handlers.find(session, endpoint_id, business_id, lock=True)
            return handlers.rotate(
                session, self.hooks.rules, row, utc_now(), request_id, repeated=repeated
            )

    @audited_rpc("endpoint_id")
    def delete_webhook_endpoint(
        self, endpoint_id: EndpointId, business_id: BusinessId | None = None
    ) -> DeletedWebhookEndpoint:
        """Forget an endpoint with all that waits for it."""
        with self.db.transaction() as session:
            handlers.find(session, endpoint_id, business_id)
            hook_endpoints.remove(session, endpoint_id)
        return DeletedWebhookEndpoint(endpoint_id=endpoint_id)

    @audited_rpc("endpoint_id")
    def test_webhook_endpoint(
        self,
        endpoint_id: EndpointId,
        business_id: BusinessId | None = None,
        request_id: RequestId | None = None,
    ) -> SentWebhooks:
        """Send an endpoint an event of the type `webhook_endpoint.test`, for the same `request_id` one alone in a day; `webhook_attempts` tells
        what came of it."""
        with self.db.transaction() as session:
            row = handlers.find(session, endpoint_id, business_id)
            sent = handlers.test(session, self.hooks.rules, row, utc_now(), request_id)
        self.wake_hooks()
        return sent

    @audited_rpc("endpoint_id", "event_id", "since", "until", "failed_only")
    def replay_webhooks(
        self,
        endpoint_id: EndpointId,
        business_id: BusinessId | None = None,
        event_id: str | None = None,
        since: dt.datetime | None = None,
        until: dt.datetime | None = None,
        failed_only: bool = False,
        request_id: RequestId | None = None,
    ) -> SentWebhooks:
        """Send an endpoint one event again (`event_id`, `evh_…`), or all that came in since a time of the last 30 days and that it
        hears: also those of the time when it was off. `failed_only`: not those that were delivered. For the same `request_id` they are sent
        once in a day."""
        with self.db.transaction() as session:
            row = handlers.find(session, endpoint_id, business_id)
            sent = handlers.replay(
                session,
                row,
                event_id=event_id,
                since=since,
                until=until,
                failed_only=failed_only,
                now=utc_now(),
                request_id=request_id,
            )
        self.wake_hooks()
        return sent

    @rpc
    def webhook_attempts(
        self,
        endpoint_id: EndpointId,
        business_id: BusinessId | None = None,
        limit: int = 50,
        before: int | None = None,
        event_id: str | None = None,
    ) -> list[WebhookAttempt]:
        """What was tried at an endpoint, newest first (at most 101), before an attempt, or of one event."""
        with self.db.reading() as session:
            handlers.find(session, endpoint_id, business_id)
            most = max(1, min(limit, MOST_LISTED + 1))
            return handlers.attempts(session, endpoint_id, most, before, event_id)
