"""What the portal's RPC methods may refuse. The class's name is what a caller sees."""

from __future__ import annotations

from shared.nameko_ext.rpc import RpcError


class LinkInvalid(RpcError):
    """The link is not one of ours, or its customer is gone; which of them is not told."""


class LinkReplaced(RpcError):
    """The link is of an old generation: a newer one took its place."""


class UnknownCustomer(RpcError):
    """No customer belongs to this Stripe customer."""


class StripeCustomerConflict(RpcError):
    """The host has given the Stripe customer to another customer, and not taken it back. Nothing was written."""


class RequestClosed(RpcError):
    """The request is answered, or the subscription ends anyway: there is nothing left to decide."""
