"""What Stripe tells of one of its customers, put together from events that come twice, late and in any order."""

from __future__ import annotations

import datetime as dt
import enum
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from shared.text import without_turns

LONGEST_EMAIL: Final = 320
LONGEST_NAME: Final = 200
LONGEST_LOCALE: Final = 35


class Pays(enum.StrEnum):
    """How a Stripe customer shows to be a paying one: what Stripe lets them manage."""

    PAID = "paid"
    """An invoice was paid."""
    SAVED_METHOD = "saved_method"
    """A payment method is saved."""
    SUBSCRIBED = "subscribed"
    """A subscription was begun."""


@dataclass(frozen=True, slots=True)
class Profile:
    """A Stripe customer, as far as events have told. Merging knows no order: the same events make the same profile."""

    email: str | None = None
    name: str | None = None
    locale: str | None = None
    told_at: dt.datetime | None = None
    """When the three were so; None: nothing was told of them."""
    firm: bool = False
    """They are of the Stripe customer itself, and no copy on something that they paid: an invoice keeps the address of its day."""
    pays: str | None = None
    """A word of `Pays`, or of a later release; None: not known to."""
    pays_at: dt.datetime | None = None

    def merge(self, other: Profile) -> Profile:
        """The two as one: the newest firm word on who it is, else the newest copy; and how they first came to pay, an
        invoice or a subscription before a saved payment method."""
        told = max(self, other, key=Profile._weight)
        pays = min(
            (one for one in (self, other) if one.pays_at), key=Profile._payment, default=told
        )
        return replace(told, pays=pays.pays, pays_at=pays.pays_at)

    def _weight(self) -> tuple[bool, bool, float, tuple[str, ...]]:
        words = (self.email or "", self.name or "", self.locale or "")
        at = self.told_at.timestamp() if self.told_at is not None else 0.0
        return self.told_at is not None, self.firm, at, words

    def _payment(self) -> tuple[bool, float, str]:
        """A saved payment method, of which nobody says for which business, last: it is not to hide what says so."""
        at = self.pays_at.timestamp() if self.pays_at is not None else 0.0
        return self.pays == Pays.SAVED_METHOD, at, self.pays or ""


def known(own: Iterable[Profile], others: Iterable[Profile] = ()) -> Profile:
    """A Stripe customer as a customer of one merchant: `own` is what was told on behalf of that one, `others` on behalf of others.
    Who it is, is the same for all; that they pay one business says nothing of another."""
    mine = Profile()
    for one in own:
        mine = mine.merge(one)
    whole = mine
    for one in others:
        whole = whole.merge(one)
    return replace(whole, pays=mine.pays, pays_at=mine.pays_at)


def email_told(text: str | None) -> str | None:
    """An address as it can be stored, None for none. What is no address stays none: it is told, and used nowhere."""
    told = "".join("\ufffd" if _is_control(one) else one for one in (text or "").strip())
    return told[:LONGEST_EMAIL] or None


def name_told(text: str | None) -> str | None:
    """A name as it can be shown: one line of at most 200 characters that turns no text around; None for none."""
    plain = "".join(" " if _is_control(one) else one for one in without_turns(text or ""))
    return " ".join(plain.split())[:LONGEST_NAME].strip() or None


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cs")
