"""Billing's methods for the import of a Stripe account, which people's command line calls."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final

from shared.contracts.rpc import base
from shared.contracts.rpc.base import Method, one_of, spelled
from shared.contracts.rpc.errors import ImportRunning, StripeRefused, StripeUnavailable

LISTS: Final = ("customers", "subscriptions", "invoices")
"""What is imported, in this order."""
FINDINGS: Final = (
    "no_email",
    "same_email",
    "deleted",
    "long_name",
    "unknown_locale",
    "unreadable",
)
"""What is worth telling of a customer."""
LIVE_WORK: Final = "live_work"
OUTBOX: Final = "outbox"
STRIPE: Final = "stripe"
HELD: Final = (LIVE_WORK, OUTBOX, STRIPE)
"""What an import waits for: live work has taken the budget of reads; events wait to be published; Stripe says that there are too many
requests."""
Holder = Annotated[str, spelled("[A-Za-z0-9_-]{8,64}", "8 to 64 letters, digits, - and _")]
"""What whoever drives an import makes up, once, to be known by."""


class Answer(base.Answer, frozen=True, kw_only=True):
    """An answer of billing's."""

    utc: ClassVar[str] = "+00:00"


class ImportProgress(Answer, frozen=True, kw_only=True):
    """How far an import has come."""

    what: Annotated[str, one_of(*LISTS, "done")]
    """The list that is read next; `done`: all were."""
    customers: int
    """Read so far."""
    subscriptions: int
    invoices: int
    """Open ones."""
    events: int
    """That were queued for the other services."""
    reads: int
    """Pages that were taken in."""
    wait: float = 0.0
    """How many seconds to wait before the next call."""
    held: Annotated[str, one_of(*HELD)] | None = None
    """Why no page was read: live work has taken what may be read of Stripe, events wait to be published, or Stripe says that there are too many
    requests; null: one was, or all were."""


class ImportPlan(Answer, frozen=True, kw_only=True):
    """What an import will read, as far as a look at each list tells."""

    livemode: bool
    lacking: list[Annotated[str, one_of(*LISTS)]]
    """What the key has no right to read: then nothing can be imported."""
    customers: int
    """About how many there are."""
    subscriptions: int
    invoices: int
    reads: int
    """About how many reads are still to come."""
    pool: int
    """How many reads Stripe allows the installation's key in thirty days."""
    pool_used: int
    """Of those, in the last thirty days."""
    own_key: bool = False
    """The account has a key of its own, and with it an allowance of its own."""
    unfinished: ImportProgress | None = None
    """The import that was begun and is gone on with."""


class ImportFinding(Answer, frozen=True, kw_only=True):
    """A customer of whom there is something to tell."""

    stripe_customer_id: str
    findings: list[Annotated[str, one_of(*FINDINGS)]]


_FAULTS: Final = (StripeUnavailable, StripeRefused)
IMPORT_FINDINGS: Final = Method("billing", "import_findings", list[ImportFinding])
IMPORT_PAGE: Final = Method("billing", "import_page", ImportProgress, (ImportRunning, *_FAULTS))
IMPORT_PLAN: Final = Method("billing", "import_plan", ImportPlan, _FAULTS)
