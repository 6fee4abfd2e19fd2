"""`/me/<token>` and the portal's RPC from outside: wrong links, wrong arguments, Stripe away."""

from __future__ import annotations

import base64
import time

import pytest
import requests

from examples.host_app import PorticoError
from local.processes import Stack
from tests.fixtures.story import BUSINESS, Story, eventually, link_in

pytestmark = pytest.mark.punctual


def get(url: str) -> requests.Response:
    return requests.get(url, timeout=10, allow_redirects=False)


def test_wrong_links_all_look_alike(story: Story, stack: Stack) -> None:
    """Mangled, foreign, empty or of a customer who never was: the same calm page, the same 404."""
    token = story.customer("never paid").token
    payload, _, mac = token.partition(".")
    forged = base64.urlsafe_b64encode(bytes(20)).decode().rstrip("=")
    wrong = [
        f"{payload}.{mac[:-2]}AA",
        f"{forged}.{mac}",
        payload,
        "x",
        "%00",
        "..%2f..%2fetc",
        f"{token}x",
        f"x{token}",
        "A" * 5000,
    ]
    answers = [get(f"{stack.portal_url}/me/{one}") for one in wrong]
    assert [answer.status_code for answer in answers] == [404] * len(wrong)
    assert len({answer.text for answer in answers}) == 1
    assert "Traceback" not in answers[0].text


def test_pages_keep_their_secrets(story: Story) -> None:
    """No cache keeps the page, no other site learns its address, nothing may frame it, and HEAD is like GET."""
    link = story.customer("never paid").link
    answer = get(link)
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "no-store" in answer.headers["Cache-Control"]
    policy = answer.headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-inline" not in policy
    assert len(answer.content) < 20_000
    assert requests.head(link, timeout=10).status_code == 200


def test_a_replaced_link_offers_a_fresh_one_by_mail(story: Story) -> None:
    """After `rotate_link` the old link shows a page that mails the new one to the address on file, once an hour."""
    customer = story.customer("never paid")
    story.portico.call("portal", "rotate_link", customer_id=customer.customer_id)
    old = get(customer.link)
    assert old.status_code == 410
    assert customer.email not in old.text
    assert requests.post(f"{customer.link}/billing", timeout=10).status_code == 410
    assert requests.post(f"{customer.link}/fresh-link", timeout=10).status_code == 200
    fresh = link_in(story.mail_to(customer))
    assert fresh.split("?")[0] != customer.link
    assert get(fresh).status_code == 200
    assert requests.post(f"{customer.link}/fresh-link", timeout=10).status_code == 429


def test_looking_makes_no_session(story: Story) -> None:
    """A GET never makes a session, whatever fetches links; every press of the button makes one of its own."""
    customer = story.customer("card saved")

    def sessions() -> int:
        events = story.get("/v1/events", type="billing_portal.session.created", limit="100")
        return sum(
            event["data"]["object"]["customer"] == customer.stripe_id for event in events["data"]
        )

    for path in ("", "?from=payment_failed", "/billing"):
        get(f"{customer.link}{path}")
    assert sessions() == 0
    places = set()
    for _ in range(2):
        answer = requests.post(f"{customer.link}/billing", timeout=10, allow_redirects=False)
        assert answer.status_code == 303
        places.add(answer.headers["Location"])
    assert len(places) == 2
    assert sessions() == 2


@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 429}, {"status": "timeout"}, {"delay_seconds": 30}]
)
def test_stripe_away_is_said_within_five_seconds(story: Story, fault: dict[str, object]) -> None:
    """Down, limiting, silent or slow: a page that says so with 503 and Retry-After, in time."""
    customer = story.customer("card saved")
    story.control("faults", match="POST /v1/billing_portal/sessions", times=None, **fault)
    try:
        began = time.monotonic()
        answer = requests.post(f"{customer.link}/billing", timeout=10, allow_redirects=False)
        took = time.monotonic() - began
    finally:
        story.clear_faults()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert took < 5
    assert "Traceback" not in answer.text

    def opens() -> bool:
        again = requests.post(f"{customer.link}/billing", timeout=10, allow_redirects=False)
        return again.status_code == 303

    eventually(opens, within=40, what="the button after Stripe came back")


def test_wrong_arguments_name_the_field(story: Story) -> None:
    """A wrong RPC argument is an InvalidArgument that names it, and nothing is written."""
    good = {"business_id": BUSINESS, "external_id": "w-1", "name": "W", "email": "w@example.com"}
    story.customer("never paid")
    for field, value in (
        ("email", "no address"),
        ("email", 7),
        ("name", ""),
        ("timezone", "Mars/Olympus"),
        ("locale", "klingon"),
        ("platform_stripe_customer_id", ""),
        ("platform_stripe_customer_id", "cus 1"),
        ("colour", "red"),
    ):
        with pytest.raises(PorticoError) as caught:
            story.portico.call("portal", "upsert_customer", **{**good, field: value})
        assert caught.value.error == "InvalidArgument"
        assert field in caught.value.message
    with pytest.raises(PorticoError) as caught:
        story.portico.call("portal", "upsert_customer", business_id=BUSINESS)
    assert "external_id" in caught.value.message
