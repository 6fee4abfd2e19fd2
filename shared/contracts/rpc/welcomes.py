"""The notifier's methods around welcoming a business's customers (docs/adr/0036-the-first-hello.md)."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final

import msgspec

from shared.contracts.rpc.base import Answer, Method, one_of
from shared.contracts.rpc.errors import NotFound, StillObserved

QUEUED: Final = "queued"
WAITING: Final = "waiting"
WELCOMED: Final = "welcomed"
NO_ADDRESS: Final = "no_address"
SUPPRESSED: Final = "suppressed"
OUTCOMES: Final = (QUEUED, WAITING, WELCOMED, NO_ADDRESS, SUPPRESSED)
HELD: Final = (
    "observing",
    "quiet_hours",
    "portal_unavailable",
    "no_such_business",
    "sending",
    "refused",
    "provider",
    "before_the_line",
)


class WelcomeRecipient(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A customer who is to be welcomed, as `portal.export_customers` tells of them. The address is looked up among those that take no
    mail, and not kept: the email goes to the one that the portal has then."""

    customer_id: Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
    """Portico's id."""
    email: Annotated[str, msgspec.Meta(max_length=500)] = ""
    """Empty: they have none."""
    timezone: Annotated[str, msgspec.Meta(max_length=64)] | None = None
    """IANA; null: the business's. In the quiet hours there, they wait."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class QueuedWelcomes(Answer, frozen=True, kw_only=True):
    """What came of asking for customers, or with `dry_run` would."""

    outcomes: list[Annotated[str, one_of(*OUTCOMES)]]
    """For each customer, in the order of the question. `queued`: they are in the queue by this call; `waiting`: they were already, or are named twice;
    `welcomed`: they have their email, or it is being sent, and get no other; `no_address`, `suppressed` (the address bounced, or
    reported our email as spam): they are left out."""


class StoppedWelcomes(Answer, frozen=True, kw_only=True):
    """What was stopped."""

    stopped: int
    """How many customers waited, or were released and not begun with, and get no email by that wish."""
    sending: int = 0
    """How many more there are whose email is begun: it goes, or may have gone."""


class WelcomeRun(Answer, frozen=True, kw_only=True):
    """How the welcoming of a business's customers stands: each customer is in one of the counts. Only `delivered` is a part of another,
    `sent`."""

    business_id: str
    """The host's own id."""
    per_hour: int | None = None
    """At which rate it was last asked for; null: it never was, or that is forgotten."""
    asked_at: dt.datetime | None = None
    """When it was."""
    waiting: int
    """Customers whose turn has not come."""
    sending: int
    """Their email is on its way to SendGrid, or waits for their morning."""
    sent: int
    delivered: int
    bounced: int
    observed: int
    """Their business observed when the email was to go out: it stays, until the customer is asked for again."""
    suppressed: int
    """It was not sent on purpose: they have no address, it bounced before, …"""
    failed: int
    earlier: int
    """They had their turn so long ago that it is forgotten what came of it."""
    taken_off: int = 0
    """They were taken off the queue before their turn, or their email was taken back, when welcoming was stopped or by the business's line:
    they can be asked for again."""
    held: Annotated[str, one_of(*HELD)] | None = None
    """Why nobody's turn came when it was last due; null: somebody's did. `sending`: what was released before has not been tried yet.
    `refused`: the mail provider refused what was released last, `provider`: it is away, or does not say; one a minute is tried until it takes one.
    `before_the_line`: the business has observed since, which took those who waited off the queue."""
    why: str | None = None
    """With `refused` and `provider`: what came of the last that was tried, in the provider's words."""
    due_at: dt.datetime | None = None
    """When the next one's turn comes, or it is looked whether it can; null: nobody waits."""
    done_at: dt.datetime | None = None
    """When the last one's comes at this rate, without quiet hours; null: nobody waits."""


QUEUE_WELCOMES: Final = Method(
    "notifier", "queue_welcomes", QueuedWelcomes, (NotFound, StillObserved)
)
STOP_WELCOMES: Final = Method("notifier", "stop_welcomes", StoppedWelcomes)
WELCOMES: Final = Method("notifier", "welcomes", WelcomeRun)
