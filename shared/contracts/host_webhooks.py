"""The HTTP API's requests and answers about webhook endpoints, beside those that are the notifier's own (`rpc/hooks.py`)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import msgspec

from shared.contracts.host_api import MOST_OF_A_PAGE, PageArguments
from shared.contracts.rpc.base import Answer, Arguments
from shared.contracts.rpc.hooks import EventTypes, WebhookAttempt, WebhookEndpoint


class WebhookEndpointPageArguments(PageArguments, frozen=True, kw_only=True):
    """Which webhook endpoints."""

    business_id: str | None = None
    """Only this business's, by the host's own id. Omitted, a key of the installation lists all."""


class NewWebhookEndpoint(Arguments, frozen=True, kw_only=True):
    """A webhook endpoint that is to be."""

    url: Annotated[str, msgspec.Meta(max_length=4000)]
    """`https`, a public name, port 443 or 8443."""
    business_id: str | None = None
    """The host's own id of the business whose events it hears. Omitted: that of the key, and with a key of the installation all
    businesses'."""
    event_types: EventTypes = msgspec.field(default_factory=list)
    """Empty: all."""


class WebhookEndpointChanges(Arguments, frozen=True, kw_only=True):
    """What is to be otherwise of a webhook endpoint. Omitted or null stays as it is."""

    url: Annotated[str, msgspec.Meta(max_length=4000)] | None = None
    """`https`, a public name, port 443 or 8443."""
    event_types: EventTypes | None = None
    """Empty: all."""
    enabled: bool | None = None
    """false: it gets nothing. true: it does again, also where Portico switched it off."""


class ReplayArguments(Arguments, frozen=True, kw_only=True):
    """What is sent to an endpoint again: one event, or a range."""

    event_id: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    """The event, `evh_…`; instead of `since`."""
    since: dt.datetime | None = None
    """From when on events were received here, of the last 30 days."""
    until: dt.datetime | None = None
    """Until when, where not until now."""
    failed_only: bool = False
    """Whether what was delivered is left out."""


class AttemptPageArguments(Arguments, frozen=True, kw_only=True):
    """Which attempts."""

    limit: Annotated[int, msgspec.Meta(ge=1, le=MOST_OF_A_PAGE)] = 10
    """How many at most, 1 to 100."""
    starting_after: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    """The `attempt_id` of the last one that you have; omitted: from the newest one on."""
    event_id: Annotated[str, msgspec.Meta(max_length=100)] | None = None
    """Only of this event, `evh_…`."""


class WebhookEndpointPage(Answer, frozen=True, kw_only=True):
    """Webhook endpoints, in the order in which they were made."""

    data: list[WebhookEndpoint]
    has_more: bool
    """Whether there are others after these: go on with `starting_after`, the last one's `endpoint_id`."""


class WebhookAttemptPage(Answer, frozen=True, kw_only=True):
    """Attempts at a webhook endpoint, newest first."""

    data: list[WebhookAttempt]
    has_more: bool
    """Whether there are older ones: go on with `starting_after`, the last one's `attempt_id`."""
