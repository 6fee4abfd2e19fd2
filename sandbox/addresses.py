"""Which account's pages an address names: `/acct_…/test/…` and `/acct_…/live/…`; the first account's have no such beginning."""

from __future__ import annotations

from typing import Any, cast

from flask import Blueprint, Flask, abort, current_app, g, redirect
from werkzeug.local import LocalProxy
from werkzeug.routing import BaseConverter
from werkzeug.wrappers import Response as AnyResponse

from sandbox.stripe_api import AccountApi, Place, StripeApi

PREFIX = "/<account:owner>/<any(test, live):owner_mode>"


class AccountConverter(BaseConverter):
    """The id of an account in an address."""

    regex = "acct_[A-Za-z0-9]+"


def present(api: StripeApi) -> AccountApi:
    """The API of the account whose page is asked for, whichever it is at the moment."""

    def found() -> AccountApi:
        place: Place = g.get("place", api.place)
        return api.at(place)

    return cast(AccountApi, LocalProxy(found))


def everybodys(app: Flask, pages: Blueprint) -> None:
    """Serve pages for the first account where they are, and for every other below its own beginning of the address."""
    app.register_blueprint(pages)
    app.register_blueprint(pages, url_prefix=PREFIX, name=f"{pages.name}-of")


def install(app: Flask, api: StripeApi) -> None:
    """Let addresses name accounts; 404 for one that there is not."""
    app.url_map.converters["account"] = AccountConverter

    @app.get("/dashboard/<account:id>/test/invoices/<invoice>", defaults={"mode": "test"})
    @app.get("/dashboard/<account:id>/invoices/<invoice>", defaults={"mode": "live"})
    def dashboard(id: str, mode: str, invoice: str) -> AnyResponse:
        """What Stripe's dashboard would show of an account's invoice."""
        return redirect(f"/{id}/{mode}/dashboard/test/invoices/{invoice}", 302)

    @app.url_value_preprocessor
    def take(endpoint: str | None, values: dict[str, Any] | None) -> None:
        if values and "owner" in values:
            place = Place(values.pop("owner"), values.pop("owner_mode") == "live")
            if api.engine.directory.account(place.account) is None:
                abort(404)
            g.place = place

    @app.url_defaults
    def give(endpoint: str, values: dict[str, Any]) -> None:
        place: Place | None = g.get("place")
        if place is not None and current_app.url_map.is_endpoint_expecting(endpoint, "owner"):
            values.setdefault("owner", place.account)
            values.setdefault("owner_mode", place.mode)
