"""The portal's method that tells people's command line whom emails were meant for."""

from __future__ import annotations

from typing import Final

from shared.contracts.rpc.base import Method, SecretAnswer


class Recipient(SecretAnswer, frozen=True, kw_only=True):
    """A customer as people know them."""

    customer_id: str
    """Portico's id."""
    business_id: str
    """The host's own id of their business."""
    external_id: str
    """The host's own id of the customer."""
    name: str
    email: str
    """Masked, `m•••@e•••.com`, unless addresses were asked for."""


RECIPIENTS: Final = Method("portal", "recipients", dict[str, Recipient])
