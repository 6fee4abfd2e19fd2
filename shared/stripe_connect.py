"""The settings of Stripe Connect that two services have: the portal leads businesses to Stripe's page, billing spends what comes back."""

from __future__ import annotations

from typing import Any, Final

from shared.settings import Reader

STRIPE_CONNECT: Final = "https://connect.stripe.com"


def read_client_id(read: Reader) -> Any:
    """`STRIPE_CLIENT_ID`, `ca_…`; None where it is unset."""
    name = "STRIPE_CLIENT_ID"
    client_id = read.text(
        name,
        meaning="the platform's client id of Stripe Connect, of the key's mode, with which businesses connect accounts of their own; unset: none can",
        example="ca_…",
        default=None,
    )
    read.check(
        name,
        client_id is None or str(client_id).startswith("ca_"),
        "is no client id of Stripe Connect: it should start with ca_",
    )
    return client_id


def read_connect_base(read: Reader) -> Any:
    """`STRIPE_CONNECT_BASE`."""
    return read.url(
        "STRIPE_CONNECT_BASE",
        meaning="where Stripe asks a business whether it wants to be connected, or a stand-in for it",
        example=STRIPE_CONNECT,
        default=STRIPE_CONNECT,
    )
