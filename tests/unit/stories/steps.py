"""What may happen in a story: each step is something that a person, a bank or Stripe does. What follows from it is the house's."""

from __future__ import annotations

import contextlib
import datetime as dt
import functools
from collections.abc import Callable, Sequence
from typing import Any

from shared.mode import LIVE, OBSERVE
from tests.unit.stories.house import House, StripeError

Step = Callable[[House], None]

GOOD_CARD, BAD_CARD = "pm_card_mastercard", "pm_card_chargeCustomerFail"
A_MOMENT = 3
"""Seconds that pass after each step, so that two are never in one second of Stripe's clock."""


def named(factory: Callable[..., Step]) -> Callable[..., Step]:
    """Have the steps that are made tell what they are, in the report of a story that fails."""

    @functools.wraps(factory)
    def make(*args: Any, **options: Any) -> Step:
        step = factory(*args, **options)
        given = [repr(one) for one in args] + [f"{key}={one!r}" for key, one in options.items()]
        step.__qualname__ = step.__name__ = f"{factory.__name__}({', '.join(given)})"
        return step

    return make


def _open(house: House) -> dict[str, Any]:
    """The newest failed invoice that is not settled, else the newest of all."""
    failed = [one for one in house.failed_invoices() if one["status"] in ("open", "uncollectible")]
    return (failed or house.failed_invoices() or house.invoices())[-1]


def _is_bank(house: House) -> bool:
    return any(
        one["status"] == "processing"
        for one in house.world.store.oldest("payment_intent", "customer", house.customer_id)
    )


@named
def opens(method: str | None = "pm_card_visa", **business: Any) -> Step:
    """Maria has a payment method and a monthly subscription whose first payment came in."""

    def step(house: House) -> None:
        house.open_shop(method, **business)
        house.subscribe()
        if _is_bank(house):
            house.wait(days=5)

    return step


def opens_the_old_way(house: House) -> None:
    """The same with a card that was saved before there were payment methods: it is her default source."""
    house.open_shop(None)
    house.call(f"/v1/customers/{house.customer_id}/sources", source="tok_visa")
    house.subscribe()
    house.wait(minutes=2)  # what comes next is no part of choosing it


@named
def checks_out(method: str, **params: Any) -> Step:
    """Maria begins a subscription, and its first payment is whatever the method brings."""

    def step(house: House) -> None:
        house.open_shop(method)
        house.subscribe(**params)

    return step


@named
def tries_it_first(method: str | None = "pm_card_visa") -> Step:
    """Maria begins with a week for nothing."""

    def step(house: House) -> None:
        house.open_shop(method)
        house.subscribe(trial_period_days=7)

    return step


def declined_next(house: House) -> None:
    """Her bank will decline the next charge, whenever that is."""
    house.call(f"/sandbox/customers/{house.customer_id}/decline_next")


@named
def renewal_fails(code: str = "insufficient_funds", *, subscription: int = 0) -> Step:
    """The next cycle is charged and declined; a bank says so after some days."""

    def step(house: House) -> None:
        house.call(f"/sandbox/customers/{house.customer_id}/decline_next", decline_code=code)
        house.call(f"/sandbox/customers/{house.customer_id}/charge_now")
        if _is_bank(house):
            house.wait(days=4)

    return step


def renewal_fails_later(house: House) -> None:
    """The next cycle is debited; the bank has not answered yet, and will refuse."""
    declined_next(house)
    renewal(house)


def renewal(house: House) -> None:
    """The next cycle is charged; whatever comes of it."""
    house.call(f"/sandbox/customers/{house.customer_id}/charge_now")


def another_subscription(house: House) -> None:
    """Maria subscribes to something else; the cycles that follow are that one's."""
    house.subscribe(amount=2500)


def invoice_by_api(house: House) -> None:
    """The business makes an invoice by hand and has it charged, and the charge is declined."""
    customer = house.customer_id
    house.call("/v1/invoiceitems", customer=customer, amount=8000, currency="usd")
    made = house.call("/v1/invoices", customer=customer, pending_invoice_items_behavior="include")
    house.call(f"/sandbox/customers/{customer}/decline_next")
    _tried(house, f"/v1/invoices/{made['id']}/pay")


def sends_an_invoice(house: House) -> None:
    """The business makes an invoice by hand and sends it, so that nobody charges it."""
    customer = house.customer_id
    house.call("/v1/invoiceitems", customer=customer, amount=8000, currency="usd")
    made = house.call(
        "/v1/invoices",
        customer=customer,
        pending_invoice_items_behavior="include",
        collection_method="send_invoice",
        days_until_due=14,
    )
    house.call(f"/v1/invoices/{made['id']}/finalize")


def _tried(house: House, path: str, **params: Any) -> None:
    try:
        house.call(path, **params)
    except StripeError as refusal:
        if refusal.status != 402:
            raise


@named
def wait(**span: float) -> Step:
    """Time passes."""
    return lambda house: house.wait(**span)


@named
def next_try(code: str | None = "insufficient_funds") -> Step:
    """Stripe tries again on the date that it named, and is declined for `code`; None: the money comes in."""

    def step(house: House) -> None:
        at = _open(house)["next_payment_attempt"]
        if at is None:
            return
        if code is not None:
            house.call(f"/sandbox/customers/{house.customer_id}/decline_next", decline_code=code)
        house.wait(seconds=at - house.world.now() + A_MOMENT)
        if _is_bank(house):
            house.wait(days=4, minutes=1)
        # After a hard decline no charge was made: what was ordered must not meet the next one.
        house.world.get("customer", house.customer_id).pop("_decline_next", None)

    return step


def until_next_try(house: House) -> None:
    """Stripe tries again on the date that it named; a bank has not answered yet."""
    at = _open(house)["next_payment_attempt"]
    if at is not None:
        house.wait(seconds=at - house.world.now() + A_MOMENT)


def cancels(house: House) -> None:
    """The subscription is ended at once, by a person."""
    if house.get(f"/v1/subscriptions/{house.subscription_id}")["status"] != "canceled":
        house.call(f"/v1/subscriptions/{house.subscription_id}", "DELETE")


def cancels_at_period_end(house: House) -> None:
    """The subscription is to end with its current period."""
    house.call(f"/v1/subscriptions/{house.subscription_id}", cancel_at_period_end=True)


def takes_the_cancelling_back(house: House) -> None:
    """It goes on after all."""
    house.call(f"/v1/subscriptions/{house.subscription_id}", cancel_at_period_end=False)


@named
def pauses(behavior: str = "void") -> Step:
    """The business pauses the collection of new invoices."""
    return lambda house: _pause(house, behavior)


def _pause(house: House, behavior: str) -> None:
    house.call(
        f"/v1/subscriptions/{house.subscription_id}", pause_collection={"behavior": behavior}
    )


@named
def credits(part: float = 1.0) -> Step:
    """The business writes a credit note about a part of what is still due, or all of it."""

    def step(house: House) -> None:
        invoice = _open(house)
        amount = int(invoice["amount_remaining"] * part)
        if invoice["status"] in ("open", "uncollectible") and amount > 0:
            house.call("/v1/credit_notes", invoice=invoice["id"], amount=amount)

    return step


@named
def _unsettled(path: str, **params: Any) -> Step:
    def step(house: House) -> None:
        invoice = _open(house)
        if invoice["status"] in ("open", "uncollectible"):
            _tried(house, f"/v1/invoices/{invoice['id']}{path}", **params)

    return step


voids = _unsettled("/void")
pays_outside = _unsettled("/pay", paid_out_of_band=True)


def pays_by_hand(house: House) -> None:
    """Maria pays with another card on Stripe's page, once."""
    _pay_on_page(house, GOOD_CARD)


def tries_by_hand(house: House) -> None:
    """The same with a card that is declined."""
    _pay_on_page(house, BAD_CARD)


def _pay_on_page(house: House, method: str) -> None:
    invoice = _open(house)
    card = house.call(f"/v1/payment_methods/{method}/attach", customer=house.customer_id)["id"]
    _tried(house, f"/v1/invoices/{invoice['id']}/pay", payment_method=card, off_session=False)


@named
def pays_by_debit(method: str) -> Step:
    """Maria has her bank account debited on Stripe's page, once."""

    return lambda house: _pay_on_page(house, method)


@named
def pays_at_checkout(method: str) -> Step:
    """Maria is back where she began her subscription, and pays for it with this."""

    return lambda house: _pay_on_page(house, method)


def portico_looks_through_unpaid(house: House) -> None:
    """The daily look at what is unpaid at Stripe. All was told by webhook, so it finds nothing."""
    house.look_through_unpaid()


def gives_it_up(house: House) -> None:
    """The business marks the invoice uncollectible."""
    invoice = _open(house)
    if invoice["status"] == "open":
        house.call(f"/v1/invoices/{invoice['id']}/mark_uncollectible")


@named
def collects(on: bool) -> Step:
    """Automatic collection of the invoice is switched off or on by hand."""

    def step(house: House) -> None:
        invoice = _open(house)
        if invoice["status"] == "open":
            house.call(f"/v1/invoices/{invoice['id']}", auto_advance=on)

    return step


@named
def reschedules(**ahead: float) -> Step:
    """Stripe moves the date of its next try, or withdraws it (nothing given)."""

    def step(house: House) -> None:
        invoice = _open(house)
        at = house.world.now() + int(dt.timedelta(**ahead).total_seconds()) if ahead else None
        if invoice["status"] == "open" and invoice["auto_advance"]:
            house.call(f"/sandbox/invoices/{invoice['id']}/reschedule", next_payment_attempt=at)

    return step


@named
def new_method(method: str = GOOD_CARD) -> Step:
    """Maria chooses another default payment method."""

    def step(house: House) -> None:
        house.new_default(method)

    return step


@named
def host_sets_and_charges(method: str = BAD_CARD) -> Step:
    """An application makes a card the default and has it charged in the same second."""

    def step(house: House) -> None:
        card = house.new_default(method)
        _tried(house, f"/v1/invoices/{_open(house)['id']}/pay", payment_method=card)

    return step


def bank_renews_the_card(house: House) -> None:
    """The network renews the card behind the same id."""
    customer = house.get(f"/v1/customers/{house.customer_id}")
    default = customer["invoice_settings"]["default_payment_method"] or customer["default_source"]
    card = house.world.store.get(default or "")
    if card is not None and card["type"] == "card":
        house.call(f"/sandbox/payment_methods/{card['id']}/automatically_update")


def loses_the_method(house: House) -> None:
    """The payment method is taken off the customer, and nothing comes in its place."""
    for one in house.get(f"/v1/customers/{house.customer_id}/payment_methods")["data"]:
        house.call(f"/v1/payment_methods/{one['id']}/detach")


@named
def confirms(agreed: bool = True) -> Step:
    """Maria confirms the payment with her bank, or refuses."""

    def step(house: House) -> None:
        invoice = _open(house)
        with contextlib.suppress(StripeError):  # nothing waits for it
            house.call(f"/sandbox/invoices/{invoice['id']}/authenticate", succeed=agreed)

    return step


def disputes(house: House) -> None:
    """Maria disputes the first charge that came in."""
    for charge in house.world.store.oldest("charge", "customer", house.customer_id):
        if charge["status"] == "succeeded" and not charge["disputed"]:
            house.call(f"/sandbox/charges/{charge['id']}/dispute")
            return


def refunds(house: House) -> None:
    """The business gives the last payment back."""
    paid = [
        charge
        for charge in house.world.store.oldest("charge", "customer", house.customer_id)
        if charge["status"] == "succeeded"
    ]
    house.call("/v1/refunds", charge=paid[-1]["id"])


def debit_settles(house: House) -> None:
    """The bank's answer to the debit under way comes."""
    at = house.get(f"/sandbox/customers/{house.customer_id}/settlement")["at"]
    if at is not None:
        house.wait(seconds=at - house.world.now() + A_MOMENT)


def deletes_the_customer(house: House) -> None:
    """The customer is deleted at Stripe."""
    house.call(f"/v1/customers/{house.customer_id}", "DELETE")


def observes(house: House) -> None:
    """The business looks first: nothing is mailed, and nothing is changed or charged at Stripe."""
    house.say_mode(OBSERVE)


def goes_live(house: House) -> None:
    """The business goes live: what happens from now on is mailed and charged."""
    house.say_mode(LIVE)


def accepts_what_was_observed(house: House) -> None:
    """A person has everything sent that was observed and not sent."""
    house.accept_observed()


@named
def stripe_is_busy(busy: bool = True) -> Step:
    """There is no budget left to ask Stripe with: what its webhooks have told must do."""

    return lambda house: house.be_busy(busy)


@named
def holds_events(held: bool = True) -> Step:
    """Stripe's events stay away, or come at last."""
    return lambda house: house.hold(held)


def live(house: House, steps: Sequence[Step]) -> None:
    """Live through steps, a moment apart. What Stripe refuses has not happened."""
    for step in steps:
        with contextlib.suppress(StripeError):
            step(house)
        house.wait(seconds=A_MOMENT)
