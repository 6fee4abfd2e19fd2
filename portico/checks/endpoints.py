"""`portico doctor`: the webhook endpoints of a Stripe account, those for connected accounts among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urlsplit

from portico.checks.settings import NO_SECRET_YET
from portico.cli.findings import Finding, ask, finding, ok
from services.billing.adapters.stripe.account import WebhookEndpoint
from services.billing.settings import Settings
from services.billing.stripe_events.translation import CONNECT_WANTED, WANTED
from shared.settings import Secret

AREA: Final = "stripe"
PATH: Final = "/webhooks/stripe"
CONNECT_PATH: Final = "/webhooks/stripe/connect"
SETUP: Final = "run `portico stripe setup --url https://…/webhooks/stripe --secret-file FILE`"
MOST_SECRETS: Final = 2
"""The current secret and, while it is being replaced, the one before."""


class EndpointAccount(Protocol):
    """The Stripe account, as far as its endpoints are looked at."""

    api_version: str

    def webhook_endpoints(self) -> list[WebhookEndpoint]: ...


@dataclass(frozen=True)
class Door:
    """A kind of webhook endpoint, and the setting that has its secrets."""

    path: str
    secrets: tuple[Secret, ...]
    setting: str = "STRIPE_WEBHOOK_SECRETS"
    wanted: frozenset[str] = WANTED
    code: str = "webhook"

    @property
    def setup(self) -> str:
        return SETUP.replace(PATH, self.path)


def check_endpoints(
    settings: Settings, account: EndpointAccount, url: str | None
) -> Iterator[Finding]:
    endpoints = account.webhook_endpoints()
    yield from check_door(Door(PATH, settings.stripe_webhook_secrets), account, endpoints, url)
    connect = Door(
        CONNECT_PATH,
        settings.stripe_connect_webhook_secrets,
        "STRIPE_CONNECT_WEBHOOK_SECRETS",
        CONNECT_WANTED,
        "webhook-connect",
    )
    there = [one for one in endpoints if urlsplit(one.url).path == CONNECT_PATH]
    if there or connect.secrets:
        yield from check_door(connect, account, endpoints, None)
        by_hand = [one.id for one in there if not one.made_for_connected]
        if by_hand:
            yield ask(
                AREA,
                "webhook-connect-unsure",
                f"the webhook endpoint {by_hand[0]} leads to …{CONNECT_PATH}, and was not made by `portico stripe setup`: Stripe does not "
                "tell whether it hears connected accounts",
                "look in Stripe's dashboard (Workbench, Webhooks) that it listens to connected accounts",
            )


def check_door(
    door: Door, account: EndpointAccount, endpoints: Sequence[WebhookEndpoint], url: str | None
) -> Iterator[Finding]:
    """What is wrong with the endpoints of an account that lead to one door; `url` names it whole where that is known."""
    path = door.path
    ours = [one for one in endpoints if (one.url == url if url else urlsplit(one.url).path == path)]
    if not ours:
        there = ", ".join(one.url for one in endpoints[:3]) or "none at all"
        yield finding(
            AREA,
            f"{door.code}-missing",
            f"no webhook endpoint leads to {url or '…' + path}; there is: {there}",
            door.setup,
        )
        return
    enabled = [one for one in ours if one.enabled]
    if not enabled:
        yield finding(
            AREA,
            f"{door.code}-disabled",
            f"the webhook endpoint {ours[0].id} is switched off: nothing is heard of failed payments",
            f"{door.setup}, which switches it on; then `portico reconcile --since 30d` for what was missed",
        )
        return
    wanted = sorted(door.wanted)
    missing = min((one.missing(wanted) for one in enabled), key=len)
    if missing:
        yield finding(
            AREA,
            f"{door.code}-events",
            f"the webhook endpoint does not deliver {', '.join(missing)}",
            f"{door.setup}: it adds them",
        )
    version = next(
        (one.api_version for one in enabled if one.api_version != account.api_version), ""
    )
    if version != "":
        yield finding(
            AREA,
            f"{door.code}-version",
            f"the webhook endpoint is of API version {version or '(the account default, which somebody can change)'}, "
            f"Portico speaks {account.api_version}",
            "make a second endpoint of that version with `portico stripe setup`, add its secret to "
            + door.setting
            + ", "
            "then remove the old one",
        )
    known = [one.reveal() for one in door.secrets]
    known = [one for one in known if not one.startswith(NO_SECRET_YET)]
    secrets = len(known)
    if not secrets:
        yield finding(
            AREA,
            f"{door.code}-secrets",
            f"{door.setting} has no signing secret: all that the webhook endpoint {enabled[0].id} delivers is refused",
            "put the endpoint's there, which Stripe's dashboard shows (Workbench, Webhooks)",
        )
    elif secrets < len(enabled):
        yield finding(
            AREA,
            f"{door.code}-secrets",
            f"{len(enabled)} endpoints deliver here, but {door.setting} holds {secrets}: each has its own",
            "add the others' secrets, or remove endpoints",
        )
    elif secrets > max(MOST_SECRETS, len(enabled) + 1):
        yield finding(
            AREA,
            f"{door.code}-secrets",
            f"{door.setting} holds {secrets} secrets for {len(enabled)} endpoints: old ones still open the door",
            "remove those that no endpoint uses any more",
        )
    if len(set(known)) < secrets:
        yield finding(
            AREA,
            f"{door.code}-secrets-double",
            f"{door.setting} holds the same secret twice",
            "remove one of them; was another one meant?",
        )
    if not missing and version == "":
        yield ok(
            AREA,
            door.code,
            f"webhook endpoint {enabled[0].id}: events, version and switch are right",
        )
