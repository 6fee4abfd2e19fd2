"""The console's page and its buttons: each is a POST that leads back to the page with a notice."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    jsonify,
    redirect,
    render_template,
    request,
)
from werkzeug.wrappers import Response as AnyResponse

from sandbox import design
from sandbox.console import accounts, business, choices, faults
from sandbox.console.actions import Notice, act
from sandbox.console.people import DemoCustomers, Person, Standing, Unreadable, standing
from sandbox.design import hardened
from sandbox.faults import Faults
from sandbox.mail import Mailbox
from sandbox.pages import wording
from sandbox.stripe_api import AccountApi
from sandbox.stripe_api.errors import StripeError

LISTED_EVENTS = 9
LISTED_OTHERS = 8
KEPT_NOTICES = 50


class Notices:
    """What buttons did, each to be read once after the redirect."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Notice] = OrderedDict()
        self._lock = threading.Lock()

    def keep(self, notice: Notice) -> str:
        """Keep a notice; returns the key that its reader brings."""
        key = secrets.token_hex(6)
        with self._lock:
            self._kept[key] = notice
            while len(self._kept) > KEPT_NOTICES:
                self._kept.popitem(last=False)
        return key

    def take(self, key: str) -> Notice | None:
        """The notice behind a key, once."""
        with self._lock:
            return self._kept.pop(key, None)


def blueprint(world: AccountApi, mailbox: Mailbox) -> Blueprint:
    """The console at ``/`` and the demo customers' door at ``/sandbox/demo-customers``."""
    demo, notices = DemoCustomers(), Notices()
    pages = design.pages("console", "/sandbox/static")
    pages.record_once(lambda state: state.app.extensions.update(demo_customers=demo))

    @pages.before_request
    def only_from_here() -> AnyResponse | None:
        # A page elsewhere must not press these buttons in somebody's browser.
        if request.method != "GET" and request.headers.get("Sec-Fetch-Site") == "cross-site":
            abort(403)
        return None

    def _back(notice: Notice) -> AnyResponse:
        return redirect(f"{world.prefix}/?notice={notices.keep(notice)}", 303)

    @pages.get("/")
    def home() -> AnyResponse:
        # The seeder's customers are the first account's.
        announced = demo.all() if not world.prefix else ()
        people = [(person, _standing(world, person)) for person in announced]
        known = {person.stripe_customer_id for person, _ in people}
        page = render_template(
            "console/home.html",
            people=people,
            others=_others(world, known),
            notice=notices.take(request.args.get("notice", "")),
            events=_events(world),
            heard=_heard(world),
            mails=mailbox.accepted,
            now=wording.day_and_time(world.now()),
            here=world.prefix,
            others_accounts=accounts.found(world, request.args.get("account", "")),
            sought=request.args.get("account", ""),
            chosen=accounts.chosen(world),
            faults=faults.current(_faults()),
            troubles=faults.CHOICES,
            account=business.account(world),
            endings=business.ENDINGS,
            first=choices.first,
            more=choices.more,
        )
        return hardened(Response(page), script=True)

    @pages.get("/dashboard/<any(test):mode>/invoices/<invoice_id>")
    def dashboard(mode: str, invoice_id: str) -> AnyResponse:
        """What Stripe's dashboard would show of an invoice: here its customer, on the console."""
        try:
            invoice = world.call("GET", f"/v1/invoices/{invoice_id}")
        except StripeError:
            abort(404)
        return redirect(f"{world.prefix}/#{invoice['customer']}", 302)

    @pages.post("/sandbox/console/customers/<customer_id>/<action>")
    def press(customer_id: str, action: str) -> AnyResponse:
        chosen = choices.ACTIONS.get(action)
        if chosen is None:
            abort(404)
        name = next((p.name for p in demo.all() if p.stripe_customer_id == customer_id), "")
        if not name:
            found = standing(world, customer_id)
            name = (found.name or found.email or customer_id) if found else customer_id
        return _back(act(chosen, world, customer_id, name))

    @pages.post("/sandbox/console/endings/<ending>")
    def choose_ending(ending: str) -> AnyResponse:
        if ending not in business.ENDINGS:
            abort(404)
        return _back(business.choose_ending(world, ending))

    @pages.post("/sandbox/console/portal/<any(cancels, keeps):wish>")
    def save_portal(wish: str) -> AnyResponse:
        return _back(business.save_portal(world, cancels=wish == "cancels"))

    @pages.post("/sandbox/console/disconnect")
    def disconnect() -> AnyResponse:
        return _back(accounts.disconnect(world))

    @pages.post("/sandbox/console/faults/<choice>")
    def break_something(choice: str) -> AnyResponse:
        if choice not in faults.CHOICES and choice != "clear":
            abort(404)
        return _back(faults.choose(_faults(), choice))

    @pages.route("/sandbox/demo-customers", methods=["GET", "PUT"])
    def demo_customers() -> tuple[Response, int]:
        if request.method == "PUT":
            try:
                demo.show(request.get_json(silent=True))
            except Unreadable as error:
                return jsonify(error=str(error)), 400
        shown: list[dict[str, Any]] = [
            {
                "name": person.name,
                "description": person.description,
                "link": person.link,
                "stripe_customer_id": person.stripe_customer_id,
            }
            for person in demo.all()
        ]
        return jsonify(shown), 200

    return pages


def _faults() -> Faults | None:
    found: Faults | None = current_app.extensions.get("faults")
    return found


def _standing(world: AccountApi, person: Person) -> Standing | None:
    return standing(world, person.stripe_customer_id) if person.stripe_customer_id else None


def _others(world: AccountApi, known: set[str | None]) -> list[Standing]:
    """The newest Stripe customers that are not on show, such as those the Stripe CLI makes."""
    newest = world.call("GET", "/v1/customers", {"limit": LISTED_OTHERS + len(known)})["data"]
    found = [standing(world, one["id"]) for one in newest if one["id"] not in known]
    return [one for one in found if one is not None][:LISTED_OTHERS]


def _heard(world: AccountApi) -> bool:
    """Whether anybody listens to events."""
    return bool(world.call("GET", "/sandbox/webhook_endpoints")["endpoints"])


def _events(world: AccountApi) -> list[dict[str, Any]]:
    """The newest events with the state of their delivery."""
    try:
        newest = world.call("GET", "/v1/events", {"limit": LISTED_EVENTS})["data"]
    except StripeError:
        return []
    return [
        {
            "id": event["id"],
            "type": event["type"],
            "about": event["data"]["object"].get("id", ""),
            "when": datetime.fromtimestamp(event["created"], UTC).strftime("%H:%M:%S"),
            "waiting": event.get("pending_webhooks") or 0,
        }
        for event in newest
    ]
