"""What the sandbox is told at start."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class SandboxConfig:
    """Settings of the stand-ins for Stripe and the mailbox.

    public_url: where browsers and clients reach this sandbox; its links begin with it.
    business_name: whose Stripe account it is; the hosted pages and invoices name it.
    state_path: an SQLite file that keeps everything, or None for memory only.
    webhook_endpoints: (url, secret) of endpoints that exist from the start and hear of every event.
    connect_endpoints: the same, for the events of connected accounts.
    redirect_uris: where OAuth may lead back to from the start.
    sendgrid_webhook_url: where the mailbox reports what became of a mail, or None.
    clock: seconds since the epoch; tests bring their own.
    webhook_retry_delays: seconds before each further delivery after a failure. Stripe takes days for it.
    max_events: how many events are kept; older ones are forgotten.
    settlement_delay: seconds until a bank debit has settled.
    """

    public_url: str = "http://127.0.0.1:8010"
    business_name: str = "Portico Sandbox"
    state_path: str | None = None
    webhook_endpoints: tuple[tuple[str, str], ...] = ()
    connect_endpoints: tuple[tuple[str, str], ...] = ()
    redirect_uris: tuple[str, ...] = ()
    sendgrid_webhook_url: str | None = None
    clock: Callable[[], float] = time.time
    webhook_retry_delays: tuple[float, ...] = (1, 2, 4, 8, 15, 30, 60, 60, 60, 60, 300, 300, 300)
    max_events: int = 20_000
    settlement_delay: int = 4 * 86_400


class BadSetting(Exception):
    """A setting is wrong; the text names it and says what it should look like."""


def configure(environ: Mapping[str, str]) -> tuple[tuple[str, int], SandboxConfig]:
    """(address to listen on, settings); raises BadSetting."""
    text = environ.get("SANDBOX_ADDRESS", "127.0.0.1:8010")
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise BadSetting(f"SANDBOX_ADDRESS is {text!r}; it must look like 127.0.0.1:8010")
    config = SandboxConfig(
        public_url=environ.get("SANDBOX_PUBLIC_URL", f"http://{host}:{port}").rstrip("/"),
        state_path=environ.get("SANDBOX_STATE") or None,
        webhook_endpoints=_endpoint(environ, "SANDBOX_WEBHOOK_URL", "SANDBOX_WEBHOOK_SECRET"),
        connect_endpoints=_endpoint(
            environ, "SANDBOX_CONNECT_WEBHOOK_URL", "SANDBOX_CONNECT_WEBHOOK_SECRET"
        ),
        redirect_uris=tuple(environ.get("SANDBOX_REDIRECT_URIS", "").replace(",", " ").split()),
        sendgrid_webhook_url=environ.get("SANDBOX_SENDGRID_WEBHOOK_URL") or None,
    )
    return (host, int(port)), config


def _endpoint(environ: Mapping[str, str], at: str, under: str) -> tuple[tuple[str, str], ...]:
    url, secret = environ.get(at), environ.get(under)
    if bool(url) != bool(secret):
        raise BadSetting(f"{at} and {under} go together")
    return ((url, secret),) if url and secret else ()
