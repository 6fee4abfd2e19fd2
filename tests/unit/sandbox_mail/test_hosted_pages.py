"""Stripe's hosted invoice, the bank's confirmation, and receipts."""

import pytest

from sandbox.stripe_api.errors import StripeError

BASE = "http://sandbox.test"
CARD = {"number": "4242 4242 4242 4242", "expiry": "12 / 34", "cvc": "123"}


def invoice(world, card):
    """An open invoice of $80.00 that the customer's card did not pay."""
    customer = world.call("POST", "/v1/customers", {"name": "Ana"})["id"]
    method = world.call("POST", f"/v1/payment_methods/{card}/attach", {"customer": customer})["id"]
    world.call(
        "POST",
        f"/v1/customers/{customer}",
        {"invoice_settings": {"default_payment_method": method}},
    )
    world.call(
        "POST",
        "/v1/invoiceitems",
        {"customer": customer, "amount": 8000, "currency": "usd", "description": "Deep clean"},
    )
    draft = world.call(
        "POST",
        "/v1/invoices",
        {"customer": customer, "pending_invoice_items_behavior": "include"},
    )["id"]
    with pytest.raises(StripeError):
        world.call("POST", f"/v1/invoices/{draft}/pay")
    return world.call("GET", f"/v1/invoices/{draft}")


def path_of(url):
    return url.removeprefix(BASE)


def test_pays_an_open_invoice_by_card(client, world):
    """The hosted page shows what is due, takes a card, and the invoice is paid."""
    owed = invoice(world, "pm_card_chargeCustomerFail")
    path = path_of(owed["hosted_invoice_url"])
    page = client.get(path).text
    assert "For: Deep clean" in page
    assert "$80.00 due" in page
    assert "Pay $80.00" in page
    assert client.post(path, data=CARD).location == path
    assert world.call("GET", f"/v1/invoices/{owed['id']}")["status"] == "paid"
    assert "Receipt" in client.get(path).text


def test_a_declined_payment_is_explained(client, world):
    """A card that is refused leaves the invoice open and says why."""
    owed = invoice(world, "pm_card_chargeCustomerFail")
    path = path_of(owed["hosted_invoice_url"])
    answer = client.post(path, data={**CARD, "number": "4000 0000 0000 0002"})
    assert answer.status_code == 402
    assert "Your card was declined." in answer.text
    assert client.post(path, data={**CARD, "cvc": ""}).status_code == 422
    assert world.call("GET", f"/v1/invoices/{owed['id']}")["status"] == "open"


@pytest.mark.whole
def test_the_bank_asks_and_the_customer_agrees(client, world):
    """A card that needs authentication leads to the bank's page, and from there to a paid invoice."""
    owed = invoice(world, "pm_card_authenticationRequired")
    path = path_of(owed["hosted_invoice_url"])
    page = client.get(path).text
    assert "Confirm payment" in page
    bank = path_of(page.split('class="button primary" href="')[1].split('"')[0])
    assert "Complete authentication" in client.get(bank).text
    back = client.post(bank, data={"answer": "yes"}).location
    assert path_of(back) == path
    assert world.call("GET", f"/v1/invoices/{owed['id']}")["status"] == "paid"
    assert "It went through." in client.get(bank).text


def test_the_bank_asks_and_the_customer_refuses(client, world):
    """A refused confirmation leads back to the invoice, which is still open and says so."""
    owed = invoice(world, "pm_card_authenticationRequired")
    path = path_of(owed["hosted_invoice_url"])
    bank = path_of(client.get(path).text.split('class="button primary" href="')[1].split('"')[0])
    back = path_of(client.post(bank, data={"answer": "no"}).location)
    assert "did not confirm the payment" in client.get(back).text
    assert world.call("GET", f"/v1/invoices/{owed['id']}")["status"] == "open"
    assert client.post(bank, data={"answer": "yes"}).location == bank


def test_wrong_keys_open_nothing(client, world):
    """An invoice's page, the bank's page and receipts need their exact secret."""
    owed = invoice(world, "pm_card_chargeCustomerFail")
    assert client.get(f"/i/{owed['id']}/wrong").status_code == 404
    assert client.post(f"/i/{owed['id']}/wrong", data=CARD).status_code == 404
    assert client.get("/i/in_gone/wrong").status_code == 404
    assert client.get("/sandbox/authenticate/pi_gone_secret_x").status_code == 404
    assert client.get("/sandbox/receipts/ch_gone").status_code == 404


def test_receipts_and_pdf_links_lead_somewhere(client, world):
    """The addresses Stripe's objects carry all open a page."""
    owed = invoice(world, "pm_card_chargeCustomerFail")
    path = path_of(owed["hosted_invoice_url"])
    client.post(path, data=CARD)
    assert client.get(path_of(owed["invoice_pdf"])).location == path
    (charge, *_) = world.call("GET", "/v1/charges", {"customer": owed["customer"]})["data"]
    assert "$80.00" in client.get(path_of(charge["receipt_url"])).text


def test_the_card_form_explains_itself_without_a_session(client, world):
    """Test cards fill the hosted invoice's form too."""
    owed = invoice(world, "pm_card_chargeCustomerFail")
    path = path_of(owed["hosted_invoice_url"])
    assert 'value="4242 4242 4242 4242"' in client.get(f"{path}?fill=4242424242424242").text
