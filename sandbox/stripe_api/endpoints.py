"""Which webhook endpoints hear of what happens in a place: the account's own, and the platform's for its connected accounts.

https://docs.stripe.com/connect/webhooks
"""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.stripe_api.database import Database
from sandbox.stripe_api.delivery import hears
from sandbox.stripe_api.directory import Directory
from sandbox.stripe_api.places import ACCOUNT, Place
from sandbox.stripe_api.store import Object, Store

KIND = "webhook_endpoint"


def listeners(
    database: Database, directory: Directory, place: Place, store: Store, type: str | None
) -> Iterator[Object]:
    """The endpoints that are sent events of a type (None: of any) that happen in a place.

    Connect endpoints in live mode are sent the test events of accounts connected live, beside the live ones.
    """
    for endpoint in store.oldest(KIND):
        if hears(endpoint, type) and not endpoint.get("_connect"):
            yield endpoint
    connection = directory.connection(place.account)
    if connection is None or place.account == ACCOUNT or not directory.reachable(place):
        return
    modes = [place.livemode]
    if not place.livemode and connection == "live" and directory.chosen.live_endpoints_hear_test:
        modes.append(True)
    for mode in modes:
        for endpoint in database.store(Place(ACCOUNT, mode).namespace).oldest(KIND):
            if hears(endpoint, type) and endpoint.get("_connect"):
                yield endpoint


def envelope(
    database: Database, place: Place, id: str, event: Object
) -> tuple[Object, Object] | None:
    """An endpoint that hears of a place, by its id, and what is added to an event that it is sent; None if it is gone.

    A Connect endpoint is told the account. The account's own endpoints are not (not verified), nor does the list of
    events say it.
    """
    own = database.store(place.namespace).get(id)
    if own is not None:
        return own, {}
    for mode in (False, True):
        found = database.store(Place(ACCOUNT, mode).namespace).get(id)
        if found is not None:
            field = "account" if event["object"] == "event" else "context"
            return found, {field: place.account}
    return None
