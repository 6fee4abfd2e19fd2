"""The console: what a newcomer sees first, and what its buttons really do."""

import html
import re

import pytest

from sandbox import console, mail
from sandbox.faults import Faults
from tests.unit.sandbox_mail.conftest import application

LINK = "http://portal.test/me/secret-token"


@pytest.fixture
def faults():
    return Faults()


@pytest.fixture
def client(world, faults):
    app = application()
    app.extensions["faults"] = faults
    app.register_blueprint(console.blueprint(world, mail.Mailbox("http://sandbox.test")))
    return app.test_client()


@pytest.fixture
def ada(world, client):
    customer = world.call("POST", "/v1/customers", {"name": "Ada"})["id"]
    card = world.call("POST", "/v1/payment_methods/pm_card_visa/attach", {"customer": customer})
    world.call(
        "POST",
        f"/v1/customers/{customer}",
        {"invoice_settings": {"default_payment_method": card["id"]}},
    )
    people = [
        {"name": "Ada", "description": "On autopay", "link": LINK, "stripe_customer_id": customer}
    ]
    assert client.put("/sandbox/demo-customers", json=people).status_code == 200
    return customer


@pytest.fixture
def autopay(world, ada):
    product = world.call("POST", "/v1/products", {"name": "Weekly clean"})["id"]
    price = world.call(
        "POST",
        "/v1/prices",
        {
            "product": product,
            "currency": "usd",
            "unit_amount": 14900,
            "recurring": {"interval": "month"},
        },
    )["id"]
    return world.call("POST", "/v1/subscriptions", {"customer": ada, "items": [{"price": price}]})[
        "id"
    ]


def press(client, path):
    answer = client.post(path)
    assert answer.status_code == 303
    page = client.get(answer.headers["Location"])
    assert page.status_code == 200
    notice = re.search(r'<p class="note [^"]*" role="status">(.*?)</p>', page.text)
    return html.unescape(notice[1] if notice else "")


def failures(world):
    return world.call("GET", "/v1/events", {"type": "invoice.payment_failed"})["data"]


def test_an_empty_sandbox_explains_itself(client):
    """Without any customer the page says what it is and where customers come from."""
    page = client.get("/").text
    assert "This sandbox plays Stripe and the mailbox" in page
    assert "No demo customers yet" in page


def test_shows_each_demo_customer_with_link_and_state(client, ada, autopay):
    """A demo customer stands there with the link to their page, plan and card."""
    page = client.get("/").text
    assert f'href="{LINK}"' in page
    assert "Weekly clean, $149.00 per month" in page
    assert "Visa ••••\u00a04242" in page


def test_declining_charges_at_once_and_fails(client, world, ada, autopay):
    """One button declines the next charge and makes it: the failure's event is there immediately."""
    notice = press(client, f"/sandbox/console/customers/{ada}/decline")
    assert "$149.00 was declined" in notice
    assert "/inbox" in notice
    assert len(failures(world)) == 1
    assert "Payment failed" in client.get("/").text


def test_declining_works_without_a_subscription(client, world, ada):
    """A customer with a card but no subscription is charged for an extra visit, and declined."""
    assert "$89.00 was declined" in press(client, f"/sandbox/console/customers/{ada}/decline")
    assert len(failures(world)) == 1


def test_charging_now_takes_the_money(client, world, ada, autopay):
    """A good card is simply charged."""
    assert "it was paid" in press(client, f"/sandbox/console/customers/{ada}/charge")
    assert failures(world) == []


def test_an_expired_card_is_declined_for_that_reason(client, world, ada, autopay):
    """After “Expire the card” a charge fails because the card has expired."""
    assert "expired in" in press(client, f"/sandbox/console/customers/{ada}/expire")
    press(client, f"/sandbox/console/customers/{ada}/charge")
    (charge, *_) = world.call("GET", "/v1/charges", {"customer": ada})["data"]
    assert charge["failure_code"] == "expired_card"


def test_the_clock_runs_to_the_next_retry(client, world, ada, autopay):
    """Running the clock to the retry charges the open invoice again."""
    assert "No retry is planned" in press(client, f"/sandbox/console/customers/{ada}/retry")
    press(client, f"/sandbox/console/customers/{ada}/decline")
    before = world.now()
    assert "The retry went through" in press(client, f"/sandbox/console/customers/{ada}/retry")
    assert world.now() - before >= 86_400


def newest_invoice(world, customer):
    return world.call("GET", "/v1/invoices", {"customer": customer})["data"][0]


def test_a_bank_account_that_fails_later(client, world, ada, autopay):
    """A debit is under way, the button runs the clock to the bank's answer, and the mail is on its way."""
    button = f"/sandbox/console/customers/{ada}/settle"
    assert "No debit" in press(client, button)
    said = press(client, f"/sandbox/console/customers/{ada}/empty-bank")
    assert "pays with Bank account ••••\u00a02227 from now on" in said
    assert "was asked for $149.00" in press(client, f"/sandbox/console/customers/{ada}/charge")
    page = client.get("/").text
    assert "Debit under way" in page
    assert "Run the clock to the bank’s answer" in page
    assert failures(world) == []
    assert "sent Ada’s debit back" in press(client, button)
    assert len(failures(world)) == 1
    assert "Bank account ••••\u00a02227" in client.get("/").text


def test_a_bank_account_that_pays(client, world, ada, autopay):
    """Even where the subscription named a card of its own, the bank account is debited from now on."""
    card = world.call("GET", f"/v1/customers/{ada}/payment_methods")["data"][0]["id"]
    world.call("POST", f"/v1/subscriptions/{autopay}", {"default_payment_method": card})
    press(client, f"/sandbox/console/customers/{ada}/bank")
    press(client, f"/sandbox/console/customers/{ada}/charge")
    assert "the debit came in" in press(client, f"/sandbox/console/customers/{ada}/settle")
    assert newest_invoice(world, ada)["status"] == "paid"


def test_forgiving_half_and_then_the_rest(client, world, ada, autopay):
    """A credit note lowers what is owed; for the rest the invoice is closed without any money."""
    assert "no open invoice" in press(client, f"/sandbox/console/customers/{ada}/credit")
    press(client, f"/sandbox/console/customers/{ada}/decline")
    half = press(client, f"/sandbox/console/customers/{ada}/credit-half")
    assert half == "$74.50 were forgiven. Ada owes $74.50."
    assert "nobody paid anything" in press(client, f"/sandbox/console/customers/{ada}/credit")
    invoice = newest_invoice(world, ada)
    assert (invoice["status"], invoice["amount_paid"]) == ("paid", 0)


def test_collection_is_stopped_and_taken_up_again(client, world, ada, autopay):
    """The card says so, and no retry is on offer meanwhile."""
    press(client, f"/sandbox/console/customers/{ada}/decline")
    assert "no try is planned" in press(client, f"/sandbox/console/customers/{ada}/stop")
    page = client.get("/").text
    assert "not collected any more" in page
    assert "Run the clock to the next retry" not in page
    press(client, f"/sandbox/console/customers/{ada}/collect")
    assert "Run the clock to the next retry" in client.get("/").text


def test_a_coupon_a_pause_and_the_end(client, world, ada, autopay):
    """Half price next time; new invoices voided and then not; ended for the customer's wish."""
    assert "$74.50 next time" in press(client, f"/sandbox/console/customers/{ada}/coupon")
    assert "Half price for three months" in client.get("/").text
    press(client, f"/sandbox/console/customers/{ada}/pause")
    assert "Paused" in client.get("/").text
    press(client, f"/sandbox/console/customers/{ada}/resume")
    assert world.call("GET", f"/v1/subscriptions/{autopay}")["pause_collection"] is None
    assert "has ended" in press(client, f"/sandbox/console/customers/{ada}/cancel")
    assert "has no subscription" in press(client, f"/sandbox/console/customers/{ada}/coupon")


def test_the_end_of_the_tries_is_chosen(client, world):
    """What is chosen is marked, and it is what Stripe does."""
    assert 'aria-pressed="true">Cancel it' in client.get("/").text
    press(client, "/sandbox/console/endings/unpaid")
    assert 'aria-pressed="true">Leave it unpaid' in client.get("/").text
    assert world.call("GET", "/sandbox/account")["after_last_retry"] == "unpaid"
    assert client.post("/sandbox/console/endings/explode").status_code == 404


def test_the_portals_settings_are_saved(client, world):
    """Never saved at first; then as the button says."""
    assert "Settings never saved" in client.get("/").text
    press(client, "/sandbox/console/portal/cancels")
    assert "Customers may cancel" in client.get("/").text
    press(client, "/sandbox/console/portal/keeps")
    assert "Customers may not cancel" in client.get("/").text
    listed = world.call("GET", "/v1/billing_portal/configurations", {"is_default": True})["data"]
    assert [one["features"]["subscription_cancel"]["enabled"] for one in listed] == [False]
    assert client.post("/sandbox/console/portal/explode").status_code == 404


def test_faults_are_switched_on_and_off(client, faults):
    """A fault chosen here is really set, is named on the page, and is gone after clearing."""
    assert "SendGrid limits us now" in press(client, "/sandbox/console/faults/mail-limited")
    fault = faults.take("POST", "/v3/mail/send")
    assert fault is not None
    assert fault.status == 429
    assert "SendGrid limits us (2 more)" in client.get("/").text
    press(client, "/sandbox/console/faults/clear")
    assert faults.all() == []


@pytest.mark.parametrize("name", list(console.faults.CHOICES))
def test_every_fault_on_offer_can_be_set(client, faults, name):
    """No button offers a fault that the sandbox does not understand."""
    press(client, f"/sandbox/console/faults/{name}")
    assert len(faults.all()) == 1


def test_unknown_buttons_do_nothing(client, ada):
    """Invented actions and faults are not found."""
    assert client.post(f"/sandbox/console/customers/{ada}/explode").status_code == 404
    assert client.post("/sandbox/console/faults/everything").status_code == 404


def test_an_error_becomes_a_notice(client):
    """A button pressed for a customer who is gone says so instead of failing."""
    assert "No such customer" in press(client, "/sandbox/console/customers/cus_gone/decline")


def test_a_foreign_page_can_not_press_buttons(client, ada):
    """A form on another site is refused."""
    path = f"/sandbox/console/customers/{ada}/decline"
    assert client.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_a_notice_is_shown_once(client, ada):
    """What a button did is told once; a reload does not tell it again."""
    address = client.post(f"/sandbox/console/customers/{ada}/charge").headers["Location"]
    assert 'role="status"' in client.get(address).text
    assert 'role="status"' not in client.get(address).text


@pytest.mark.parametrize(
    "people",
    [
        None,
        {},
        ["Ada"],
        [{"name": "Ada"}],
        [{"name": "Ada", "description": "", "link": "javascript:alert(1)"}],
        [{"name": "A", "description": "", "link": LINK, "stripe_customer_id": 5}],
    ],
)
def test_unreadable_demo_customers_are_refused(client, ada, people):
    """A list that can't be shown is refused with the field that is wrong, and the old one stays."""
    answer = client.put("/sandbox/demo-customers", json=people)
    assert answer.status_code == 400
    assert "expected" in answer.json["error"]
    assert len(client.get("/sandbox/demo-customers").json) == 1


def test_links_do_not_appear_in_what_is_printed():
    """A person's repr, as a log would print it, does not hold the link."""
    person = console.people.Person("Ada", "", LINK)
    assert "secret-token" not in repr(person)
