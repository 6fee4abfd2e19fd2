"""Hosts' webhook endpoints, which are the notifier's, over its RPC. Whose an endpoint is, it looks at itself: `business_id` goes with
each call."""

from __future__ import annotations

from typing import Any, TypeVar

from services.portal.adapters.failures import FAILURES, reason
from services.portal.ports import ServiceAway
from shared.contracts.rpc.arguments import UNKNOWN
from shared.contracts.rpc.base import Method, UnreadableAnswer
from shared.contracts.rpc.errors import InvalidArgument, NotFound, RemoteFault

Shape = TypeVar("Shape")


def ask_notifier(notifier: Any, method: Method[Shape], **arguments: Any) -> Shape:
    """Call it with those arguments that are given. Raises InvalidArgument and NotFound, as the notifier says them, and ServiceAway:
    also for an argument that a notifier of the release before does not know, until the roll has come to it."""
    given = {name: value for name, value in arguments.items() if value is not None}
    try:
        return method.call(notifier, **given)
    except RemoteFault as fault:
        if fault.means(InvalidArgument) and fault.message.startswith(UNKNOWN):
            raise ServiceAway("older_release") from fault
        for meant in (InvalidArgument, NotFound):
            if fault.means(meant):
                raise meant(fault.message) from None
        raise ServiceAway(reason(fault)) from fault
    except (*FAILURES, UnreadableAnswer) as error:
        raise ServiceAway(reason(error)) from error
