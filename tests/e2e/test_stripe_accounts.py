"""The three ways to a business's Stripe account, and what a platform charges on a business's behalf: from the account to the paid invoice, in a
browser; and that nothing more happens once the account is let go."""

from __future__ import annotations

import itertools
import json
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from examples.host_app import Portico
from local.processes import Stack
from local.servers import PostgreSQL, RabbitMQ
from local.stack import write_settings
from tests.fixtures import warm
from tests.fixtures.story import Customer, Story, eventually, link_in
from tests.fixtures.system import assert_private

OWN_KEY_ACCOUNT = "acct_OwnKey1"
BUTTON = "Manage payment + subscriptions"
WITHIN = 60.0
"""Seconds in which nothing more may happen for an account that was let go."""

_numbers = itertools.count(1)


class AccountStory(Story):
    """A business on an account: `key` is that of the platform, which acts in the account's name, or the account's own."""

    def at(self, account: str) -> AccountStory:
        self._http.headers["Stripe-Account"] = account
        return self

    def subscribes(self, business: str, on_behalf_of: str = "", stripe_id: str = "") -> Customer:
        """A new customer of the business, on autopay; of a Stripe customer who is there already, if it is given."""
        number = next(_numbers)
        name, email = f"Dana {number}", f"dana-{number}@example.com"
        customer_id = self.portico.call(
            "portal", "upsert_customer",
            business_id=business, external_id=f"ext-{number}", name=name, email=email,
        )["customer_id"]  # fmt: skip
        link = self.portico.call("portal", "link", customer_id=customer_id)
        stripe_id = stripe_id or self.at_stripe(name, email, autopay=False)
        product = self.post("/v1/products", name=f"Garden care of {business}")["id"]
        price = self.post(
            "/v1/prices", product=product, currency="usd", unit_amount="14900",
            **{"recurring[interval]": "month"},
        )["id"]  # fmt: skip
        behalf = {"on_behalf_of": on_behalf_of} if on_behalf_of else {}
        self.post(
            "/v1/subscriptions",
            customer=stripe_id,
            **{"items[0][price]": price, "metadata[customer_id]": customer_id},
            **behalf,
        )
        eventually(
            lambda: self.portico.call("portal", "lookup", token=link["token"])[
                "can_manage_billing"
            ],
            what="the customer's Stripe identity in the portal",
        )
        return Customer(customer_id, name, email, link["url"], link["token"], stripe_id)


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory,
    rabbitmq: RabbitMQ,
    postgres: PostgreSQL,
    migrated: Callable[[str], str],
) -> Iterator[Stack]:
    """The distributed system, with one account that has a key of its own."""
    folder = tmp_path_factory.mktemp("accounts")
    key, secret = f"sk_test_{secrets.token_hex(12)}", f"whsec_{secrets.token_hex(24)}"
    file = folder / "stripe-accounts.json"
    file.touch(0o600)
    file.write_text(
        json.dumps([{"account": OWN_KEY_ACCOUNT, "key": key, "webhook_secrets": [secret]}])
    )
    system = Stack(
        folder / "stack",
        name="stack-accounts",
        rabbitmq=rabbitmq,
        postgres=postgres,
        settings={"STRIPE_ACCOUNTS_FILE": str(file)},
    )
    system.migrated = migrated
    try:
        system.start()
        write_settings(system)
        story = story_of(system, system.stripe_api_key)
        story.control("accounts", id=OWN_KEY_ACCOUNT, name="Own Key Gardens")
        story.control(f"accounts/{OWN_KEY_ACCOUNT}/keys", key=key)
        story.at(OWN_KEY_ACCOUNT).control(
            "webhook_endpoints",
            url=f"{system.billing_url}/webhooks/stripe/{OWN_KEY_ACCOUNT}",
            secret=secret,
        )
        story.close()
        yield system
    finally:
        system.close()
    assert_private(system.logs(), [*system.secrets(), key, secret])


def story_of(stack: Stack, key: str) -> AccountStory:
    return AccountStory(Portico(stack.amqp_uri, timeout=10), stack.sandbox_url, key)


@pytest.fixture
def told(stack: Stack) -> Iterator[Callable[[str], AccountStory]]:
    """Makes a story on an account; of the own one when it is empty."""
    made: list[AccountStory] = []

    def make(account: str = "") -> AccountStory:
        key = stack.stripe_api_key
        if account == OWN_KEY_ACCOUNT:
            settings = json.loads(Path(stack.env("billing")["STRIPE_ACCOUNTS_FILE"]).read_text())
            key = settings[0]["key"]
        made.append(story_of(stack, key))
        return made[-1].at(account) if account else made[-1]

    yield make
    for one in made:
        one.close()


def portico(stack: Stack, *words: str) -> str:
    """What the command line answers."""
    settings = ("--env-file", str(stack.folder / "portico.env"))
    done = warm.run("portico", *settings, *words, env={})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def business(story: Story, **more: Any) -> str:
    name = f"gardens-{next(_numbers)}"
    story.portico.call(
        "portal", "upsert_business",
        business_id=name, name=name.title(), email=f"hello@{name}.example",
        timezone="Europe/Amsterdam", **more,
    )  # fmt: skip
    return name


def connected(stack: Stack, story: Story, page: Page) -> tuple[str, str]:
    """A business that connects its account, as a person there does: (business, account)."""
    name = business(story)
    account = f"acct_Theirs{next(_numbers)}"
    story.control("accounts", id=account, name=f"Account of {name}")
    answers: list[Any] = []
    page.on("response", lambda answer: answers.append(answer))
    page.goto(portico(stack, "stripe", "connect", "--business", name).strip())
    page.get_by_role("button", name="Continue to Stripe").click()
    page.wait_for_url("**/oauth/authorize**")
    page.locator(f"input[name=account][value={account}]").check()
    page.get_by_role("button", name="Connect my Stripe account").click()
    page.wait_for_url("**/connect/stripe/return**")
    expect(page.get_by_role("heading", level=1)).to_have_text("Your Stripe account is connected")
    ours = [one for one in answers if one.url.startswith(f"{stack.portal_url}/connect/")]
    assert len(ours) >= 3
    for one in ours:  # neither the link nor the code may go on to anybody, or stay behind
        assert one.headers["cache-control"] == "no-store"
        assert one.headers["referrer-policy"] == "no-referrer"
    from_us = [one.request.headers for one in answers if "/oauth/authorize" in one.url]
    assert from_us
    assert not any("/connect/" in one.get("referer", "") for one in from_us)
    return name, account


def pays_with_a_new_card(story: AccountStory, page: Page, customer: Customer) -> None:
    """From the first failed charge to the paid invoice."""
    invoice = story.charge_fails(customer)
    page.goto(link_in(story.mail_to(customer)))
    page.get_by_role("button", name=BUTTON).click()
    page.wait_for_url("**/p/session/**")
    page.get_by_label("Card number").fill("4242424242424242")
    page.get_by_label("Expiration date").fill("12 / 34")
    page.get_by_label("CVC").fill("123")
    page.get_by_role("button", name="Save card").click()
    page.wait_for_url("**/me/**")
    expect(page.get_by_text("Paid, thank you!")).to_be_visible(timeout=20_000)
    assert story.invoice(invoice["id"])["status"] == "paid"


Told = Callable[[str], AccountStory]


def test_on_the_own_account(told: Told, page: Page) -> None:
    """As ever, beside all the others."""
    story = told("")
    pays_with_a_new_card(story, page, story.subscribes(business(story)))


def test_on_an_account_with_its_own_key(told: Told, page: Page) -> None:
    """A business without Connect: its key and its endpoint's secret are in the file."""
    story = told(OWN_KEY_ACCOUNT)
    name = business(story, stripe_account=OWN_KEY_ACCOUNT)
    pays_with_a_new_card(story, page, story.subscribes(name))


def test_on_an_account_that_connects_itself(stack: Stack, told: Told, page: Page) -> None:
    """Through our link and Stripe's page; the list of accounts has it, whose it is, and how it stands."""
    name, account = connected(stack, told(""), page)
    story = told(account)
    pays_with_a_new_card(story, page, story.subscribes(name))
    listed = {one["account"]: one for one in json.loads(portico(stack, "stripe", "accounts", "--json"))}  # fmt: skip
    mine = listed[account]
    assert (mine["state"], mine["way"], mine["businesses"]) == ("connected", "connected", [name])
    assert listed[OWN_KEY_ACCOUNT]["way"] == "own_key"


def test_on_a_platforms_account_on_their_behalf(told: Told, page: Page) -> None:
    """One Stripe customer of two businesses: each page, and the session behind its button, shows its own invoice alone."""
    story = told("")
    stripe_id = story.at_stripe("Dana", "dana@example.com", autopay=False)
    people = {}
    for mark in ("A", "B"):
        behalf = f"acct_Behalf{mark}"
        story.control("accounts", id=behalf, name=f"Behalf {mark}", connected="test")
        name = business(story, on_behalf_of=behalf)
        people[behalf] = name, story.subscribes(name, behalf, stripe_id)
    story.control(f"customers/{stripe_id}/decline_next")
    story.control(f"customers/{stripe_id}/charge_now")
    (failed,) = story.get("/v1/invoices", customer=stripe_id, status="open")["data"]
    mine, failing = people.pop(failed["on_behalf_of"])
    ((theirs, other),) = people.values()
    page.goto(link_in(story.mail_to(failing)))
    expect(page.get_by_text(f"Garden care of {mine}").first).to_be_visible()
    expect(page.get_by_text(theirs)).to_have_count(0)
    page.get_by_role("button", name=BUTTON).click()
    page.wait_for_url("**/p/session/**")
    shown = page.content()
    assert f"Behalf {failed['on_behalf_of'][-1]}" in shown
    assert theirs not in shown
    page.goto(other.link)
    expect(page.get_by_role("heading", name="You’re all set")).to_be_visible()
    assert mine not in page.content()
    assert story.mails(other.email) == []


@pytest.mark.parametrize("how", ["by us", "by the business"])
def test_nothing_more_once_it_is_let_go(stack: Stack, told: Told, page: Page, how: str) -> None:
    """`portico stripe disconnect`, or the business in its dashboard: within a minute the page says whom to ask, and nobody is written to or
    charged."""
    name, account = connected(stack, told(""), page)
    story = told(account)
    customer = story.subscribes(name)
    began = time.monotonic()
    if how == "by us":
        said = portico(stack, "stripe", "disconnect", "--business", name, "--yes")
        assert said == f"{account} is disconnected\n"
    else:
        story.control(f"accounts/{account}/disconnect")

    def page_says_whom_to_ask() -> bool:
        page.goto(customer.link)
        return page.get_by_text("can’t be looked up or made on this page").count() == 1

    eventually(page_says_whom_to_ask, within=WITHIN, what="the page's word")
    print(f"let go {how}: after {time.monotonic() - began:.1f} s")
    assert page.get_by_role("button", name=BUTTON).count() == 0
    assert page.get_by_text("Please ask").count() == 1
    # Stripe goes on without us, and we may not look.
    story.control(f"customers/{customer.stripe_id}/decline_next")
    story.control(f"customers/{customer.stripe_id}/charge_now")
    time.sleep(3)
    assert story.mails(customer.email) == []
    listed = {one["account"]: one for one in json.loads(portico(stack, "stripe", "accounts", "--json"))}  # fmt: skip
    assert (listed[account]["state"], listed[account]["served"]) == ("disconnected", False)
