"""Choosing the account that the console shows, and taking the platform's access to it away."""

from __future__ import annotations

from dataclasses import dataclass

from sandbox.console.actions import Notice
from sandbox.pages.billing import Json
from sandbox.stripe_api import AccountApi

LISTED = 8


@dataclass(frozen=True)
class Chosen:
    """The account on show, where it is not the first one."""

    id: str
    name: str
    mode: str
    other_mode: str
    connected: bool


def found(stripe: AccountApi, text: str) -> list[Json]:
    """Accounts beside the first one whose name, email or id holds a text, the newest first."""
    accounts: list[Json] = stripe.call("GET", "/sandbox/accounts", {"q": text, "limit": LISTED})[
        "accounts"
    ]
    return accounts


def chosen(stripe: AccountApi) -> Chosen | None:
    """The account on show; None for the first one."""
    if not stripe.prefix:
        return None
    _, id, mode = stripe.prefix.split("/")
    account = stripe.call("GET", f"/sandbox/accounts/{id}")
    return Chosen(
        id=id,
        name=account["name"],
        mode=mode,
        other_mode="live" if mode == "test" else "test",
        connected=account["connected"] is not None,
    )


def disconnect(stripe: AccountApi) -> Notice:
    """What the business does in its own dashboard."""
    account = chosen(stripe)
    if account is None:
        return Notice("The platform is not connected to itself.")
    stripe.call("POST", f"/sandbox/accounts/{account.id}/disconnect")
    return Notice(f"{account.name} is not connected any more. Its subscriptions go on.", "warn")
