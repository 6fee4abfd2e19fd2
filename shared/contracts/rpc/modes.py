"""The portal's methods around who observes and who is live (docs/adr/0032-observe-then-live.md): for billing, and for people."""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Final, Literal

import msgspec

from shared.contracts.rpc.base import Answer, Method, one_of
from shared.contracts.rpc.errors import NotFound
from shared.mode import MODES

ModeArgument = Literal["live", "observe"]
MOST_ASKED: Final = 500
"""Stripe customers of one `observed`."""


class StripeCustomerArgument(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A Stripe customer, as the customer of one merchant."""

    account: str = ""
    """The connected account of its id, `acct_…`; empty: the installation's own."""
    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    on_behalf_of: str = ""
    """On a platform's account: on whose behalf it is charged; empty: on nobody's."""


class Observed(Answer, frozen=True, kw_only=True):
    """Who is observed."""

    observed: list[bool]
    """For each Stripe customer, in the order of the question."""
    live_since: list[dt.datetime | None] = msgspec.field(default_factory=list)
    """The lines that their businesses have drawn, in the same order: what was wished before is not carried out; null: none is drawn."""


class BusinessMode(Answer, frozen=True, kw_only=True):
    """How a business works."""

    business_id: str
    """The host's own id."""
    name: str
    mode: Annotated[str, one_of(*MODES)]
    """Its own; see `observed`."""
    live_since: dt.datetime | None = None
    """Its line: no mail that nobody asked for is sent of what happened before; null: it has drawn none."""
    observed: bool = False
    """It observes by itself, or because the installation does."""
    installation_observes: bool = False
    """The whole installation does (`MODE`)."""


BUSINESSES_MODES: Final = Method("portal", "businesses_modes", list[BusinessMode], (NotFound,))
OBSERVED: Final = Method("portal", "observed", Observed)
SET_MODE: Final = Method("portal", "set_mode", BusinessMode, (NotFound,))
