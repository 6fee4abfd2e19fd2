"""How a call to another service may fail, and the reason for it."""

from __future__ import annotations

from typing import Final

from shared.contracts.rpc.errors import ERRORS, RemoteFault
from shared.nameko_ext.rpc import RpcTimeout, RpcUnavailable

FAILURES: Final = (RpcTimeout, RpcUnavailable, RemoteFault)
"""How a call may fail."""
KNOWN_FAULTS: Final = frozenset(ERRORS) | {"MethodNotFound", "Overloaded", "UnreadableReply"}
"""The errors that our own services, and nameko, answer with."""


def reason(error: Exception) -> str:
    """The failure in a word of a small set: it is a metric's label, and whoever answers may name its error as it likes."""
    if not isinstance(error, RemoteFault):
        return type(error).__name__
    return error.error if error.error in KNOWN_FAULTS else "other"
