"""Stripe's page on which a business connects its account to the platform: `/oauth/authorize`.

A person logs in as a business, or as a new one, and presses Connect or Deny. Only a refusal leads back with an error; whatever
else is wrong Stripe says on its own page (https://docs.stripe.com/connect/oauth-reference).
"""

from __future__ import annotations

from flask import Blueprint, Response, abort, redirect, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from sandbox import design
from sandbox.design import hardened
from sandbox.stripe_api import OAuthError, OAuthRequest, StripeApi

LISTED = 12


def blueprint(api: StripeApi) -> Blueprint:
    """The page and its two buttons."""
    pages = design.pages("connect", "/oauth/static")

    @pages.errorhandler(OAuthError)
    def refused(error: OAuthError) -> AnyResponse:
        page = render_template("connect/refused.html", error=error.error, text=error.text)
        return hardened(Response(page, error.status))

    @pages.get("/oauth/authorize")
    def authorize() -> AnyResponse:
        query = request.args.to_dict()
        asked = OAuthRequest.read(api, query)
        sought = query.pop("q", "")
        found = api.call("GET", "/sandbox/accounts", {"q": sought, "limit": LISTED})["accounts"]
        page = render_template(
            "connect/authorize.html",
            platform=api.business_name,
            livemode=asked.livemode,
            query=query,
            sought=sought,
            accounts=found,
        )
        return hardened(Response(page))

    @pages.post("/oauth/authorize")
    def decide() -> AnyResponse:
        if request.headers.get("Sec-Fetch-Site") == "cross-site":
            abort(403)
        asked = OAuthRequest.read(api, request.args.to_dict())
        if request.form.get("answer") != "connect":
            return redirect(asked.denied(), 303)
        account = request.form.get("account", "")
        name = request.form.get("name", "").strip()
        if not account and name:
            account = api.call("POST", "/sandbox/accounts", {"name": name})["accounts"][0]["id"]
        return redirect(asked.granted(api, account), 303)

    return pages
