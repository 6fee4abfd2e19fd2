"""How a service's error reads for an operator: the one place where the command line words them."""

from __future__ import annotations

import re
from typing import Final

from portico.cli.rpc import Fault
from shared.contracts.rpc import errors
from shared.contracts.rpc.errors import (
    InternalError,
    InvalidArgument,
    NotFound,
    StripeUnavailable,
    TemporarilyUnavailable,
)
from shared.terminal import one_line

LONGEST_ID: Final = 80


def worded(fault: Fault) -> str:
    """The error without its class where the sentence says all, and with the id that was given instead of the argument's name:
    `nowhere: no such business`. What is no error of the contract (`MethodNotFound`) keeps its name, and so does trouble within a service,
    of which the name says whose it is."""
    kind = getattr(errors, fault.error, None)
    if not isinstance(kind, type) or not issubclass(kind, errors.RpcError):
        return str(fault)
    if fault.means(InternalError, StripeUnavailable, TemporarilyUnavailable):
        return str(fault)
    field, _, text = fault.message.partition(": ")
    names_argument = text and field.isidentifier() and fault.means(InvalidArgument, NotFound)
    if not names_argument:
        return fault.message
    given = fault.arguments.get(field)
    if given == "" and fault.means(NotFound):
        return text
    if not isinstance(given, str) or not _is_id(field):
        return f"{field.removesuffix('_id').replace('_', ' ')}: {text}"
    shown = one_line(given)
    if len(shown) > LONGEST_ID:
        shown = f"{shown[:LONGEST_ID]}…"
    there = re.search(rf"(?<!\w){re.escape(shown)}(?!\w)", text)
    return text if there else f"{shown}: {text}"


def _is_id(field: str) -> bool:
    """Whether the argument is an id, which may be repeated: an address or a URL is not."""
    return field.endswith("_id") or field in {"account", "reference", "queue"}
