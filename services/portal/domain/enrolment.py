"""Who becomes a customer by what Stripe tells, and who is proposed to a person instead (docs/adr/0035-enrolling-from-stripe.md)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

OWN_IDS: Final = "stripe:"
"""What the ids of enrolled customers begin with, in the place of the host's own."""


class Enrolment(enum.StrEnum):
    """Where a business's customers come from."""

    BY_HOST = "by_host"
    """The host tells of each."""
    FROM_STRIPE = "from_stripe"
    """Whoever pays at Stripe is one, besides those of whom the host tells."""


class Standing(enum.StrEnum):
    """How a Stripe customer stands with a business."""

    CUSTOMER = "customer"
    """One of its customers, by whoever's word."""
    PROPOSED = "proposed"
    """One customer has the same address: a person decides."""
    AMBIGUOUS = "ambiguous"
    """Several could be meant."""
    REFUSED = "refused"
    """A person said that they are not the customer with the same address."""
    NO_EMAIL = "no_email"
    BAD_EMAIL = "bad_email"
    """What stands there as an address is none."""
    EMAIL_NOT_ASCII = "email_not_ascii"
    """It has other characters than ASCII's, whose upper and lower case not every database knows: it may be a customer's, unseen."""
    NOT_PAYING = "not_paying"
    """Nothing was paid, saved or subscribed to yet."""
    ID_TAKEN = "id_taken"
    """The id that they would have is another customer's already."""
    ANOTHERS = "anothers"
    """Another business's, as far as can be known: this one is told nothing of them."""
    NEW = "new"
    """Nothing stands against enrolling them."""


class Doubt(enum.StrEnum):
    """Why it is not clear which customer a Stripe customer is."""

    SEVERAL_CUSTOMERS = "several_customers"
    SEVERAL_STRIPE_CUSTOMERS = "several_stripe_customers"
    CUSTOMER_HAS_ANOTHER = "customer_has_another"
    """The customer is another Stripe customer already."""


@dataclass(frozen=True, slots=True)
class Match:
    """A customer with the address of a Stripe customer."""

    customer: int
    has_another: bool
    """They are linked with another Stripe customer."""
    refused: bool
    """A person said that the two do not belong together."""


@dataclass(frozen=True, slots=True)
class Case:
    """What there is to know of a Stripe customer and a business."""

    linked: bool
    """It is the business's customer, or another one's of the same merchant, by the host's word, metadata or a reference."""
    enrolled: bool
    """It is one by enrolment, whom the host may claim."""
    anothers: bool
    """Another business of the account has it as a customer's, by its host's word, metadata or a reference."""
    address_elsewhere: bool
    """Another business of which it may be a customer as well has one with the address."""
    email: str | None
    email_is_one: bool
    email_is_ascii: bool
    pays: bool
    id_taken: bool
    matches: Sequence[Match]
    """The customers with the same address, but for the one enrolled."""
    rivals: int
    """How many other Stripe customers have the same address and are nobody's by a word that counts more."""


def judge(case: Case) -> tuple[Standing, Doubt | None]:
    """How a Stripe customer stands, and why it is in doubt. An equal address is never enough for a link: anybody may have typed it."""
    if case.linked:
        return Standing.CUSTOMER, None
    if case.anothers:
        return (Standing.CUSTOMER if case.enrolled else Standing.ANOTHERS), None
    possible = [one for one in case.matches if not one.refused]
    if possible and case.email_is_one:
        return _propose(possible, case.rivals)
    if case.enrolled:
        return Standing.CUSTOMER, None
    return _unknown(case), None


def _unknown(case: Case) -> Standing:
    """How one stands who is nobody's, and nobody's by the address either."""
    against = {
        Standing.NO_EMAIL: case.email is None,
        Standing.BAD_EMAIL: not case.email_is_one,
        Standing.REFUSED: bool(case.matches),
        Standing.ANOTHERS: case.address_elsewhere,
        Standing.EMAIL_NOT_ASCII: not case.email_is_ascii,
        Standing.NOT_PAYING: not case.pays,
        Standing.ID_TAKEN: case.id_taken,
    }
    return next((standing for standing, so in against.items() if so), Standing.NEW)


def _propose(possible: Sequence[Match], rivals: int) -> tuple[Standing, Doubt | None]:
    if len(possible) > 1:
        return Standing.AMBIGUOUS, Doubt.SEVERAL_CUSTOMERS
    if possible[0].has_another:
        return Standing.AMBIGUOUS, Doubt.CUSTOMER_HAS_ANOTHER
    if rivals:
        return Standing.AMBIGUOUS, Doubt.SEVERAL_STRIPE_CUSTOMERS
    return Standing.PROPOSED, None


def own_id(stripe_customer_id: str) -> str:
    """The id of an enrolled customer in the place of the host's own."""
    return f"{OWN_IDS}{stripe_customer_id}"
