"""Our events to be, and the keys under which each is said once."""

from __future__ import annotations

from dataclasses import dataclass

from shared import events
from shared.contracts.accounts import in_account


@dataclass(frozen=True)
class EventDraft:
    """An event of ours to be, and the key under which it is said only once."""

    data: events.Data
    dedupe_key: str
    again_key: str | None = None
    """See `shared.outbox.Outgoing`."""


def dedupe_key(data: events.Data, *parts: object) -> str:
    """The key under which the outbox says a thing only once: event type, object id, what tells occasions apart.

    The inbox already drops a Stripe event that is delivered twice. But Stripe may also make *two* events for one
    change (`invoice.paid` and `invoice.payment_succeeded`; the same type twice, which its documentation warns
    of), with different ids. Without this key one payment would be announced twice. So:

    - a failure has a key of its invoice and attempt. A second event of the same attempt may tell of the same charge, or
      of another one (a bank debit fails days after it was made, and raises no count): it is said under a key with the
      event's id in it, and the notifier tells by the charge whether it is news;
    - the account stands in front of all, unless it is our own;
    - an end (paid, void, uncollectible, deleted) happens once to an object;
    - a *change back and forth* (a date, a default card) is news each time, so there the Stripe event's id is
      part of the key.
    """
    key = ":".join([data.type, *("" if part is None else str(part) for part in parts)])
    return in_account(data.account, key)
