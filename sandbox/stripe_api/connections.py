"""An account becomes connected to the platform, and ceases to be."""

from __future__ import annotations

from sandbox.stripe_api.directory import client_id
from sandbox.stripe_api.places import ACCOUNT, Place
from sandbox.stripe_api.store import Object
from sandbox.stripe_api.world import World


def connect(world: World, account: str, *, livemode: bool) -> None:
    """From now on the platform acts on the account: in test mode, or with `livemode` in both.

    Connect endpoints hear `account.application.authorized`.
    """
    directory = world.engine.directory
    before = directory.connection(account)
    mode = "live" if livemode or before == "live" else "test"
    if mode == before:
        return
    directory.change(account, connected=mode)
    _tell(world, "account.application.authorized", account, livemode=livemode)


def disconnect(world: World, account: str) -> None:
    """The platform has no access any more, and what OAuth gave it is worthless. Subscriptions go on.

    Connect endpoints hear `account.application.deauthorized`: it is about the application, and its account is the
    event's.
    """
    directory = world.engine.directory
    connection = directory.connection(account)
    if connection is None:
        return
    livemode = connection == "live"
    # It is still told by way of the connection that ends.
    _tell(world, "account.application.deauthorized", account, livemode=livemode)
    directory.change(account, connected=None)
    for mode in (False, True):
        directory.revoke_access(account, client_id(livemode=mode))


def _tell(world: World, type: str, account: str, *, livemode: bool) -> None:
    name = world.engine.directory.name(ACCOUNT)
    application: Object = {
        "id": client_id(livemode=livemode),
        "object": "application",
        "name": name,
    }
    world.engine.world(Place(account, livemode)).emit(type, application)
