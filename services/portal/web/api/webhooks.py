"""`/api/v1/webhook_endpoints`: where hosts hear of events, what was tried there, and sending again. All of it is the notifier's: each route
finds here whose it may be, and asks there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from sqlalchemy.orm import Session

from services.portal.adapters.webhook_endpoints import ask_notifier
from services.portal.handlers import existing
from services.portal.web.api.entrypoints import ApiEntrypoints, Call, Reply, route
from shared.contracts.host_webhooks import (
    AttemptPageArguments,
    NewWebhookEndpoint,
    ReplayArguments,
    WebhookAttemptPage,
    WebhookEndpointChanges,
    WebhookEndpointPage,
    WebhookEndpointPageArguments,
)
from shared.contracts.rpc import hooks
from shared.contracts.rpc.errors import NotFound

ALL: Final = "/webhook_endpoints"
ONE: Final = f"{ALL}/<endpoint_id>"
Ask = Callable[[], Any]
_ENDPOINT_ID: Final = re.compile(hooks.ENDPOINT_ID)


class ApiWebhooks(ApiEntrypoints):
    """Routes about webhooks."""

    @route(
        "POST",
        ALL,
        "webhooks:write",
        body=NewWebhookEndpoint,
        answer=hooks.WebhookSecret,
        asks="_create_endpoint",
        creates=True,
        again="api_create_webhook_endpoint",
        audited=("business_id", "event_types"),
    )
    def api_create_webhook_endpoint(self, session: Session, call: Call) -> Reply:
        """Make an endpoint, of a business or of the installation, which hears of all. The answer's secret, which its webhooks are signed
        with, is shown this once."""
        return Reply(call.told, 201)

    def _create_endpoint(self, session: Session, call: Call) -> Ask:
        given, whose = call.given, _business(session, call)
        return lambda: ask_notifier(
            self.notifier,
            hooks.CREATE_WEBHOOK_ENDPOINT,
            url=given.url,
            business_id=whose,
            event_types=given.event_types,
            request_id=call.request_id,
            repeated=call.repeated or None,
        )

    @route(
        "GET",
        ALL,
        "webhooks:read",
        query=WebhookEndpointPageArguments,
        answer=WebhookEndpointPage,
        asks="_list_endpoints",
    )
    def api_list_webhook_endpoints(self, session: Session, call: Call) -> Reply:
        """List endpoints in the order in which they were made: a business's, or with a key of the installation all."""
        data, limit = call.told, call.given.limit
        return Reply(WebhookEndpointPage(data=data[:limit], has_more=len(data) > limit))

    def _list_endpoints(self, session: Session, call: Call) -> Ask:
        given, whose = call.given, _business(session, call)
        if given.starting_after is not None:
            _check(given.starting_after, "starting_after")
        return lambda: ask_notifier(
            self.notifier,
            hooks.WEBHOOK_ENDPOINTS,
            business_id=whose,
            limit=given.limit + 1,
            starting_after=given.starting_after,
        )

    @route("GET", ONE, "webhooks:read", answer=hooks.WebhookEndpoint, asks="_get_endpoint")
    def api_get_webhook_endpoint(self, session: Session, call: Call) -> Reply:
        """An endpoint, and since when it fails, where it does."""
        return Reply(call.told)

    def _get_endpoint(self, session: Session, call: Call) -> Ask:
        return self._of_one(call, hooks.WEBHOOK_ENDPOINT)

    @route(
        "POST",
        ONE,
        "webhooks:write",
        body=WebhookEndpointChanges,
        answer=hooks.WebhookEndpoint,
        asks="_change_endpoint",
        audited=("event_types", "enabled"),
    )
    def api_change_webhook_endpoint(self, session: Session, call: Call) -> Reply:
        """Change what is given of an endpoint, switch it on or off. What it missed while it was off is not sent by itself: replay it."""
        return Reply(call.told)

    def _change_endpoint(self, session: Session, call: Call) -> Ask:
        given = call.given
        return self._of_one(
            call,
            hooks.CHANGE_WEBHOOK_ENDPOINT,
            url=given.url,
            event_types=given.event_types,
            enabled=given.enabled,
        )

    @route(
        "DELETE",
        ONE,
        "webhooks:write",
        answer=hooks.DeletedWebhookEndpoint,
        asks="_delete_endpoint",
        audited=(),
    )
    def api_delete_webhook_endpoint(self, session: Session, call: Call) -> Reply:
        """Forget an endpoint with all that waits for it."""
        return Reply(call.told)

    def _delete_endpoint(self, session: Session, call: Call) -> Ask:
        return self._of_one(call, hooks.DELETE_WEBHOOK_ENDPOINT)

    @route(
        "POST",
        f"{ONE}/rotate",
        "webhooks:write",
        answer=hooks.WebhookSecret,
        asks="_rotate_secret",
        again="api_rotate_webhook_secret",
        audited=(),
    )
    def api_rotate_webhook_secret(self, session: Session, call: Call) -> Reply:
        """Give an endpoint a new secret, shown this once. For a day those before sign too: one whose answer was lost can be asked for again."""
        return Reply(call.told)

    def _rotate_secret(self, session: Session, call: Call) -> Ask:
        return self._of_one(
            call,
            hooks.ROTATE_WEBHOOK_SECRET,
            request_id=call.request_id,
            repeated=call.repeated or None,
        )

    @route(
        "POST",
        f"{ONE}/test",
        "webhooks:write",
        answer=hooks.SentWebhooks,
        asks="_test_endpoint",
        audited=(),
    )
    def api_test_webhook_endpoint(self, session: Session, call: Call) -> Reply:
        """Send an endpoint an event of the type `webhook_endpoint.test`. Its attempts tell what came of it."""
        return Reply(call.told)

    def _test_endpoint(self, session: Session, call: Call) -> Ask:
        return self._of_one(call, hooks.TEST_WEBHOOK_ENDPOINT, request_id=call.request_id)

    @route(
        "POST",
        f"{ONE}/replay",
        "webhooks:write",
        body=ReplayArguments,
        answer=hooks.SentWebhooks,
        asks="_replay",
        audited=("event_id", "since", "until", "failed_only"),
    )
    def api_replay_webhooks(self, session: Session, call: Call) -> Reply:
        """Send an endpoint one event again, or all since a time of the last 30 days that it hears: also what it missed while it was
        off."""
        return Reply(call.told)

    def _replay(self, session: Session, call: Call) -> Ask:
        given = call.given
        return self._of_one(
            call,
            hooks.REPLAY_WEBHOOKS,
            event_id=given.event_id,
            since=given.since.isoformat() if given.since else None,
            until=given.until.isoformat() if given.until else None,
            failed_only=given.failed_only,
            request_id=call.request_id,
        )

    @route(
        "GET",
        f"{ONE}/attempts",
        "webhooks:read",
        query=AttemptPageArguments,
        answer=WebhookAttemptPage,
        asks="_list_attempts",
    )
    def api_list_webhook_attempts(self, session: Session, call: Call) -> Reply:
        """List what was tried at an endpoint, newest first. Of its answers the status alone is kept."""
        data, limit = call.told, call.given.limit
        return Reply(WebhookAttemptPage(data=data[:limit], has_more=len(data) > limit))

    def _list_attempts(self, session: Session, call: Call) -> Ask:
        given = call.given
        return self._of_one(
            call,
            hooks.WEBHOOK_ATTEMPTS,
            limit=given.limit + 1,
            before=given.starting_after,
            event_id=given.event_id,
        )

    def _of_one(self, call: Call, method: Any, **arguments: Any) -> Ask:
        """What asks about the endpoint that the address names; of a business's key about its own alone. Raises NotFound."""
        endpoint_id, whose = call.values["endpoint_id"], call.credential.business_id
        _check(endpoint_id, "endpoint_id")
        return lambda: ask_notifier(
            self.notifier, method, endpoint_id=endpoint_id, business_id=whose, **arguments
        )


def _business(session: Session, call: Call) -> str | None:
    """Of which business it is; None: of the installation, or of all. Raises NotFound."""
    named: str | None = call.given.business_id
    if named is not None:
        return existing.business(session, named).business_id
    return call.credential.business_id


def _check(endpoint_id: str, field: str) -> None:
    """Raises NotFound for what can't be one."""
    if not _ENDPOINT_ID.fullmatch(endpoint_id):
        raise NotFound(f"{field}: no such webhook endpoint")
