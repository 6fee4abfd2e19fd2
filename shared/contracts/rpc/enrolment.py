"""What the portal's RPC methods about Stripe's customers answer: whom a person is asked about, and what they decided."""

from __future__ import annotations

from typing import Annotated, Final

from shared.contracts.rpc.base import Answer, Method, SecretAnswer, one_of
from shared.contracts.rpc.errors import NotFound

STANDINGS: Final = (
    "proposed",
    "ambiguous",
    "refused",
    "no_email",
    "bad_email",
    "email_not_ascii",
    "not_paying",
    "id_taken",
    "new",
)
"""How a Stripe customer that is no customer of a business stands with it."""


class ProposedCustomer(SecretAnswer, frozen=True, kw_only=True):
    """A customer who has the address of a Stripe customer."""

    customer_id: str
    """Portico's id."""
    external_id: str
    """The host's own id."""
    name: str
    platform_stripe_customer_id: str | None = None
    """With which Stripe customer they are linked; null: with nobody."""


class LinkProposal(SecretAnswer, frozen=True, kw_only=True):
    """A Stripe customer that is no customer of a business by any word yet, or by enrolment alone, and what a person may decide."""

    proposal_id: str | None = None
    """Set with `proposed`: what `accept_proposals` and `refuse_proposals` take. Always the same for the same two."""
    account: str = ""
    """The connected Stripe account of its Stripe ids, `acct_…`; empty: the installation's own."""
    stripe_customer_id: str
    """Stripe's id, `cus_…`."""
    email: str | None = None
    """The address that stands at Stripe. Nobody has verified it: whoever paid may have typed somebody else's."""
    name: str | None = None
    """The name that stands at Stripe, as unverified."""
    standing: Annotated[str, one_of(*STANDINGS)]
    """`proposed`: exactly one customer has the address, and no other Stripe customer; `ambiguous`: see `doubt`; `refused`: a person said
    no; `no_email`, `bad_email`: nobody can be written to; `email_not_ascii`: the address has letters outside of ASCII, with which it can't be
    told for sure that it is nobody's; `not_paying`: nothing was paid, saved or subscribed to; `id_taken`: a customer of the host's has the id that an enrolled one would have; `new`: becomes a customer when Stripe next tells of it, where the business enrols."""
    doubt: (
        Annotated[
            str, one_of("several_customers", "several_stripe_customers", "customer_has_another")
        ]
        | None
    ) = None
    """Why it is `ambiguous`: several customers have the address; several Stripe customers have it; the customer is linked with
    another Stripe customer."""
    candidates: list[ProposedCustomer]
    """The customers with the same address, of whom no person has said no."""
    enrolled_as: str | None = None
    """Portico's id of the customer who was enrolled for it: accepting merges the two. null: nobody was."""


class LinkProposals(Answer, frozen=True, kw_only=True):
    """A page of them, in the order of Stripe's ids."""

    proposals: list[LinkProposal]
    next: str | None = None
    """`after` of the next page; null: this was the last."""


class UndecidedProposal(Answer, frozen=True, kw_only=True):
    """A proposal of which nothing was decided."""

    proposal_id: str
    error: str
    """Why."""


class DecidedProposals(Answer, frozen=True, kw_only=True):
    """What became of proposals."""

    decided: list[str]
    """Their ids; those that were decided so before are among them."""
    left: list[UndecidedProposal]
    """Those that can't be decided so: nothing was written of them."""


ACCEPT_PROPOSALS: Final = Method("portal", "accept_proposals", DecidedProposals)
LINK_PROPOSALS: Final = Method("portal", "link_proposals", LinkProposals, (NotFound,))
REFUSE_PROPOSALS: Final = Method("portal", "refuse_proposals", DecidedProposals)
