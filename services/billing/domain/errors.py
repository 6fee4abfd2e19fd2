"""What can go wrong about Stripe, as facts: the wire's errors, and what billing's log and metrics alone tell apart."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.rpc.errors import (
    BillingError,
    InvalidArgument,
    StripeRefused,
    StripeUnavailable,
    TemporarilyUnavailable,
)


class PortalUnavailable(TemporarilyUnavailable):
    """The portal does not tell whether the business observes, so nothing was written to Stripe."""


class ObjectGone(StripeRefused):
    """The object that a page of a list was to begin after is not there."""


class KeySpent(StripeUnavailable):
    """Stripe stored a server error under the idempotency key and replays it: asking again with this key does nothing."""


class StripeBusy(StripeUnavailable):
    """Another request works on the same object, or with the same idempotency key, at this moment. Stripe itself is well."""


class StripeRateLimited(StripeUnavailable):
    """Stripe asks us to slow down: our account's requests are too many. Stripe itself is well."""

    retry_after: float | None = None
    """In how many seconds, where Stripe says it."""


class StripeKeyRefused(StripeRefused):
    """Stripe refuses our API key: it is wrong, expired or revoked, or the account is out of its reach. Nothing was done, and the
    request itself may be right, so it is worth asking again once a person has set another key."""

    meaning: ClassVar[str] = (
        "Stripe does not take STRIPE_API_KEY: it is wrong, expired or revoked, or the account is out of its reach. "
        "`portico doctor` says what to do"
    )
    """For the person who asked: Stripe's code alone says neither whose key it is nor what to do."""

    @property
    def explained(self) -> str:
        """What it means, and what Stripe said."""
        return f"{self.meaning} ({self})"


class OwnKeyRefused(StripeKeyRefused):
    """The same of the key that one account has of its own. The others are none the worse for it."""

    meaning = (
        "Stripe does not take the account's own key: it is wrong, expired or revoked. "
        "Let its business make another, and put it into STRIPE_ACCOUNTS_FILE"
    )


class StripePermissionMissing(StripeKeyRefused):
    """Our API key is good, and may not do this: a restricted key lacks a right."""

    meaning = "the restricted key lacks a right that this needs: give it in Stripe's dashboard (Developers, API keys)"


class PlatformMayNot(StripeRefused):
    """Stripe lets a platform change only the subscriptions that it made, and this one it did not make. Nothing was done, our key is
    good, and asking again is of no use: the business or its own key can do it."""


class NoDefaultConfiguration(StripeRefused):
    """Nobody has saved portal settings in Stripe's dashboard, so there is no default for a session."""


class PortalFlowRefused(StripeRefused):
    """Stripe refused a session that leads straight to one of its forms: the configuration forbids that, most likely."""


class InvalidRequest(BillingError, InvalidArgument):
    """An argument that no customer and no service of ours would send: `field: what is wrong with it`."""


class AccountRefused(BillingError, InvalidArgument):
    """A Stripe account that can't be let in: `account: why, and what to do`."""
