"""Which Stripe accounts billing works on."""

from __future__ import annotations

import enum

from shared.contracts.accounts import OWN, Account


class AccountState(enum.StrEnum):
    """How an account beside the installation's own stands to us."""

    CONNECTED = "connected"
    """Its business let us in."""
    RESTRICTED = "restricted"
    """Stripe has restricted it: nothing can be charged there."""
    DISCONNECTED = "disconnected"
    """Its business has shut us out, or was taken off."""


def why_not_served(account: Account) -> str | None:
    """Why nothing is done on an account; None: it is served.

    The one place that says so. This release names the account in everything, and serves the installation's own alone: replicas of
    the release before, which know no other, run beside it, and its unique indexes don't know accounts yet
    (docs/adr/0025-an-account-is-part-of-a-name.md).
    """
    if account == OWN:
        return None
    return f"of the connected account {account}; translated again once a release serves it"
