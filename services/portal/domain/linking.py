"""Whose a Stripe customer is: evidence with a rank, and the one function that decides over what stands (docs/adr/0013).

Nothing here looks at the order in which evidence arrived: only at who says it, and when it was said.
"""

from __future__ import annotations

import datetime as dt
import enum
import itertools
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

REFERENCE_AGE: Final = dt.timedelta(days=7)
"""How long after a checkout reference was made a Checkout session with it may begin."""
CLOCK_SKEW: Final = dt.timedelta(minutes=5)
"""How far Stripe's clock may be behind ours."""


class Source(enum.StrEnum):
    """Who says whose a Stripe customer is, the strongest first."""

    HOST = "host"
    """The host application, by RPC or import, or a person at the command line."""
    METADATA = "metadata"
    """Metadata on the Stripe customer or on one of its subscriptions: writing it needs the secret key."""
    REFERENCE = "reference"
    """A Checkout reference that Portico signed for this customer."""
    ENROLLED = "enrolled"
    """Nobody's: Portico made this customer for the Stripe customer, since their business enrols from Stripe."""
    UNKNOWN = "unknown"
    """A link that was there before evidence was kept."""


RANK: Final = {
    Source.UNKNOWN: 0,
    Source.ENROLLED: 1,
    Source.REFERENCE: 2,
    Source.METADATA: 3,
    Source.HOST: 4,
}


class Effect(enum.StrEnum):
    """What a piece of evidence does now."""

    DECIDES = "decides"
    AGREES = "agrees"
    OVERRULED = "overruled"
    """Stronger evidence says otherwise."""
    CONFLICT = "conflict"
    """Evidence of the same rank says otherwise, and said it first, or in the same second."""
    DENIED = "denied"
    """The host has said that these two do not belong together."""
    WAITS = "waits"
    """It names a customer whom the host has not told us of."""
    SILENT = "silent"
    """The object names nobody any more."""
    REFUSED = "refused"
    """It never was evidence: a reference that Portico did not sign, or that was too old."""
    WITHDRAWN = "withdrawn"


class Reason(enum.StrEnum):
    """Why a claim is in conflict."""

    STRIPE_CUSTOMER_TAKEN = "stripe_customer_taken"
    CUSTOMER_HAS_ANOTHER = "customer_has_another"
    SAID_AT_ONCE = "said_at_once"
    """Two that disagree were said in the same second: nobody is linked."""


@dataclass(frozen=True, slots=True)
class CustomerRef:
    """Whom a Stripe object names: Portico's id, or the host's own id and business."""

    customer: str
    business: str | None = None
    on_behalf_of: str = ""
    """In what an object said: for customers of which business on a platform's account."""


@dataclass(frozen=True, slots=True)
class Statement:
    """What one Stripe object said at one moment: whom it names, None for nobody, and whom it named before that."""

    id: int
    said_at: dt.datetime
    event_id: str
    names: CustomerRef | None
    before: CustomerRef | None


def sequence(statements: Iterable[Statement]) -> list[Statement]:
    """The statements of one object that changed whom it names, in their order; the last one stands.

    The order is Stripe's time. Changes within one second form a chain, as each tells whom it replaced: what no other
    change of that second replaced is its end. A chain that ends where it began changed nothing.
    """
    spoken: list[Statement] = []
    ordered = sorted(statements, key=lambda one: (one.said_at, one.event_id))
    for _, second in itertools.groupby(ordered, key=lambda one: one.said_at):
        last = _end(list(second), spoken[-1].names if spoken else None)
        if not spoken or last.names != spoken[-1].names:
            spoken.append(last)
    return spoken


def _end(second: Sequence[Statement], before: CustomerRef | None) -> Statement:
    reached = Counter(one.names for one in second)
    left = Counter(one.before for one in second)
    ends = [one for one in second if reached[one.names] > left[one.names]]
    circle = [one for one in second if one.names == before]
    return (ends or circle or second)[-1]


@dataclass(frozen=True, slots=True)
class Claim:
    """A piece of evidence: this Stripe customer is this customer."""

    id: int
    stripe_customer_id: str
    customer: int
    source: Source
    said_at: dt.datetime

    @property
    def rank(self) -> int:
        """How much it counts."""
        return RANK[self.source]


@dataclass(frozen=True, slots=True)
class Conflict:
    """A claim that is refused because evidence of its own rank says otherwise."""

    claim: Claim
    reason: Reason


@dataclass(frozen=True, slots=True)
class Decision:
    """Who is linked with whom."""

    links: Mapping[int, Claim] = field(default_factory=dict)
    """By customer: the claim that decides."""
    effects: Mapping[int, Effect] = field(default_factory=dict)
    """By claim."""
    conflicts: tuple[Conflict, ...] = ()


def decide(claims: Iterable[Claim], denied: Collection[tuple[int, str]] = ()) -> Decision:
    """Link each customer with at most one Stripe customer, and each Stripe customer with at most one customer.

    The strongest claims go first, and among equals what was said first: what came later and disagrees is refused. Equals
    that disagree and were said at the same moment link nobody, and nothing weaker settles what they dispute. `denied` are
    pairs (customer, Stripe customer) of which the host says that they do not belong together.
    """
    allowed, effects = [], {}
    for claim in claims:
        if (claim.customer, claim.stripe_customer_id) in denied:
            effects[claim.id] = Effect.DENIED
        else:
            allowed.append(claim)
    allowed.sort(key=lambda one: (-one.rank, one.said_at, one.id))
    strongest = _strongest(allowed)
    conflicts = []
    for claim in allowed:
        effects[claim.id], reason = _judge(claim, strongest)
        if reason is not None:
            conflicts.append(Conflict(claim, reason))
    return Decision(strongest.links, effects, tuple(conflicts))


@dataclass(frozen=True, slots=True)
class _Strongest:
    """The claims that nothing stronger stands against: by customer, by Stripe customer, and those that link."""

    links: dict[int, Claim] = field(default_factory=dict)
    of_customer: dict[int, Claim] = field(default_factory=dict)
    of_stripe: dict[str, Claim] = field(default_factory=dict)


def _strongest(allowed: Iterable[Claim]) -> _Strongest:
    """`allowed` are sorted: the strongest first, then what was said first."""
    found = _Strongest()
    links, of_customer, of_stripe = found.links, found.of_customer, found.of_stripe
    for _, equals in itertools.groupby(allowed, key=lambda one: (one.rank, one.said_at)):
        pairs: dict[tuple[int, str], Claim] = {}
        for claim in equals:
            if claim.customer not in of_customer and claim.stripe_customer_id not in of_stripe:
                pairs.setdefault((claim.customer, claim.stripe_customer_id), claim)
        customers = Counter(customer for customer, _ in pairs)
        stripe_ids = Counter(stripe_id for _, stripe_id in pairs)
        for (customer, stripe_id), claim in pairs.items():
            if customers[customer] == stripe_ids[stripe_id] == 1:
                links[customer] = claim
            of_customer[customer] = of_stripe[stripe_id] = claim
    return found


def _judge(claim: Claim, strongest: _Strongest) -> tuple[Effect, Reason | None]:
    """What a claim does beside the strongest, and why not where it is a conflict."""
    decisive = strongest.links.get(claim.customer)
    if decisive is not None and decisive.stripe_customer_id == claim.stripe_customer_id:
        return Effect.DECIDES if decisive is claim else Effect.AGREES, None
    taken = strongest.of_stripe.get(claim.stripe_customer_id)
    rivals = (taken, strongest.of_customer.get(claim.customer))
    if max(rival.rank for rival in rivals if rival is not None) > claim.rank:
        return Effect.OVERRULED, None
    if taken is not None and strongest.links.get(taken.customer) is taken:
        return Effect.CONFLICT, Reason.STRIPE_CUSTOMER_TAKEN
    if decisive is not None:
        return Effect.CONFLICT, Reason.CUSTOMER_HAS_ANOTHER
    return Effect.CONFLICT, Reason.SAID_AT_ONCE


@dataclass(frozen=True, slots=True)
class Spell:
    """A claim, or a denial, and the time in which it stood. `until` None: it stands."""

    claim: Claim
    until: dt.datetime | None
    denies: bool = False

    def stood(self, at: dt.datetime) -> bool:
        """Whether it stood at this moment."""
        return self.claim.said_at <= at and (self.until is None or self.until > at)


def decide_standing(spells: Iterable[Spell]) -> Decision:
    """The decision over what stands now."""
    return _decide_all([spell for spell in spells if spell.until is None])


def _decide_all(standing: Sequence[Spell]) -> Decision:
    denied = {(one.claim.customer, one.claim.stripe_customer_id) for one in standing if one.denies}
    return decide((one.claim for one in standing if not one.denies), denied)


def history(spells: Sequence[Spell], customer: int) -> list[tuple[dt.datetime, Claim | None]]:
    """With whom a customer was linked, from when on: by whose word, or None for nobody."""
    moments = {spell.claim.said_at for spell in spells}
    moments |= {spell.until for spell in spells if spell.until is not None}
    changes: list[tuple[dt.datetime, Claim | None]] = []
    before: str | None = None
    for at in sorted(moments):
        claim = _decide_all([one for one in spells if one.stood(at)]).links.get(customer)
        stripe_id = None if claim is None else claim.stripe_customer_id
        if stripe_id != before:
            changes.append((at, claim))
            before = stripe_id
    return changes


def reference_problem(made_at: dt.datetime, session_created: dt.datetime | None) -> str | None:
    """Why a signed reference is no evidence in a Checkout session, one word; None: it is.

    Its age is that at the session's beginning, so a webhook that comes days later changes nothing.
    """
    if session_created is None:
        return "no_session_time"
    if session_created < made_at - CLOCK_SKEW:
        return "before_it_was_made"
    if session_created > made_at + REFERENCE_AGE:
        return "too_old"
    return None
