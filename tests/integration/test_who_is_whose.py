"""Whose a Stripe customer is, through the real system: Stripe's webhooks, billing, RabbitMQ, the portal."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest
import requests
from kombu import Connection, Exchange, Queue

from examples.host_app import PorticoError, payment_link
from local.processes import Stack
from tests.fixtures.story import BUSINESS, Customer, Story, eventually

_numbers = itertools.count(1)


def checkout(story: Story, reference: str, **more: str) -> str:
    """Somebody completes a Checkout session with this client_reference_id; their Stripe customer."""
    session = story.post(
        "/v1/checkout/sessions",
        mode="setup",
        currency="usd",
        customer_creation="always",
        client_reference_id=reference,
        success_url="https://sunrise.example/thanks",
        **more,
    )
    done = story.post(
        f"/sandbox/checkout/{session['id']}/complete",
        payment_method="pm_card_visa",
        email=f"stranger-{next(_numbers)}@example.com",
    )
    return str(done["customer"])


def evidence(story: Story, stripe_id: str) -> list[dict[str, Any]]:
    told = story.portico.call("portal", "link_evidence", stripe_customer_id=stripe_id)
    return list(told["evidence"])


def linked_with(story: Story, customer: Customer) -> str | None:
    found = story.portico.call("portal", "find_customer", reference=customer.customer_id)
    stripe_id: str | None = found["platform_stripe_customer_id"]
    return stripe_id


def refused(story: Story, stripe_id: str) -> None:
    """The stranger's word has come, and was refused on record."""
    eventually(
        lambda: [one["reason"] for one in evidence(story, stripe_id)] == ["not_signed"],
        what="the refusal of an unsigned reference",
    )


def test_a_strangers_checkout_does_not_take_over_a_page(story: Story) -> None:
    """A guessed reference links nothing; the host's word is taken, and the victim's page opens her own billing."""
    victim = story.customer("never paid")
    number = victim.email.split("@")[0].removeprefix("customer-")
    for guess in (f"ext-{number}", victim.customer_id):
        stranger = checkout(story, guess)
        refused(story, stranger)
        with pytest.raises(PorticoError, match="UnknownCustomer"):
            story.portico.call("portal", "contact", stripe_customer_id=stranger)
    assert linked_with(story, victim) is None
    own = story.post("/v1/customers", email=victim.email)["id"]
    done = story.portico.call(
        "portal", "link_customer", customer_id=victim.customer_id, stripe_customer_id=own
    )
    assert done["platform_stripe_customer_id"] == own
    answer = requests.post(f"{victim.link}/billing", timeout=10, allow_redirects=False)
    assert answer.status_code == 303
    made = story.get("/v1/events", type="billing_portal.session.created", limit="1")
    assert made["data"][0]["data"]["object"]["customer"] == own


def test_a_link_can_not_be_planted_for_a_customer_to_come(story: Story) -> None:
    """What a stranger left before the customer existed waits for nobody, and metadata is not kept out by it."""
    story.customer("never paid")
    name = f"planted-{next(_numbers)}"
    refused(story, checkout(story, name))
    own = story.post(
        "/v1/customers",
        email="nat@example.com",
        **{"metadata[portico_customer_id]": name, "metadata[portico_business_id]": BUSINESS},
    )["id"]
    eventually(lambda: bool(evidence(story, own)), what="metadata in the portal")
    made = story.portico.call(
        "portal",
        "upsert_customer",
        business_id=BUSINESS,
        external_id=name,
        name="Nat",
        email="nat@example.com",
    )
    assert made["platform_stripe_customer_id"] == own


def test_a_payment_link_with_a_signed_reference_links(story: Story) -> None:
    """Made by the host for one customer, as the address of a Payment Link has it."""
    customer = story.customer("never paid")
    address = payment_link(story.portico, customer.customer_id, "https://buy.stripe.com/test_1")
    stripe_id = checkout(story, address.partition("client_reference_id=")[2])
    eventually(lambda: linked_with(story, customer) == stripe_id, what="the link by reference")


def test_metadata_moves_and_ends_a_link_and_the_host_hears_of_it(
    story: Story, stack: Stack
) -> None:
    """Moved to another customer the Stripe customer is theirs; removed it is nobody's; each change is told on portal.events."""
    first, second = story.customer("card saved"), story.customer("never paid")
    stripe_id = str(first.stripe_id)
    with Connection(stack.amqp_uri) as connection:
        exchange = Exchange("portal.events", type="topic", durable=True, passive=True)
        queue = Queue(
            f"host-{next(_numbers)}", exchange, routing_key="customer.#", auto_delete=True
        )(connection.channel())
        queue.declare()
        path = f"/v1/customers/{stripe_id}"
        story.post(path, **{"metadata[customer_id]": second.customer_id})
        eventually(lambda: linked_with(story, second) == stripe_id, what="the moved link")
        assert linked_with(story, first) is None
        story.post(path, **{"metadata[customer_id]": ""})
        eventually(lambda: linked_with(story, second) is None, what="the end of the link")
        heard: list[Any] = []

        def all_is_told() -> bool:
            while (message := queue.get(no_ack=True)) is not None:
                heard.append(message.payload)
            return len(heard) >= 3

        eventually(all_is_told, what="three changes on portal.events")
    changes = {
        (one["data"]["customer_id"], one["data"]["stripe_customer_id"])
        for one in heard
        if one["type"] == "customer.link_changed"
    }
    assert changes == {
        (first.customer_id, None),
        (second.customer_id, stripe_id),
        (second.customer_id, None),
    }


def test_a_stripe_customer_belongs_to_one(story: Story) -> None:
    """What the host has given to one customer it can't give to another; deleted at Stripe it is nobody's."""
    first = story.customer("card saved")
    stripe_id = str(first.stripe_id)
    story.portico.call(
        "portal", "link_customer", customer_id=first.customer_id, stripe_customer_id=stripe_id
    )
    with pytest.raises(PorticoError) as caught:
        story.portico.call(
            "portal",
            "upsert_customer",
            business_id=BUSINESS,
            external_id="thief",
            name="Thief",
            email="thief@example.com",
            platform_stripe_customer_id=stripe_id,
        )
    assert caught.value.error == "StripeCustomerConflict"
    assert linked_with(story, first) == stripe_id
    story.delete(f"/v1/customers/{stripe_id}")
    eventually(lambda: linked_with(story, first) is None, what="unlinking")
    assert "Manage payment" not in requests.get(first.link, timeout=10).text


def test_what_failed_before_anybody_knew_the_customer_is_told_when_they_are_linked(
    story: Story,
) -> None:
    """Within seconds of the host's word, long before the notifier would have asked again; and a bounce that comes later
    without our custom argument is known by its message."""
    customer = story.customer("never paid")
    stripe_id = story.at_stripe(customer.name, customer.email, autopay=True)
    failed = story.charge_fails(replace(customer, stripe_id=stripe_id))

    def notifications() -> list[dict[str, Any]]:
        found = story.portico.call("notifier", "notifications", invoice_id=failed["id"])
        return list(found)

    # After the second question the third is 15 seconds away.
    eventually(lambda: [one["lookups"] for one in notifications()] == [2], what="a second question")
    story.portico.call(
        "portal", "link_customer", customer_id=customer.customer_id, stripe_customer_id=stripe_id
    )
    mail = story.mail_to(customer, within=6)
    assert "149.00" in mail["text"]
    story.control("mail/events", mail_id=mail["id"], event="bounce", named=False)
    eventually(lambda: notifications()[-1]["status"] == "bounced", what="the bounce")
