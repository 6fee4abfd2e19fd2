"""A test mail: sample data, marked as a test, at once, and nothing written down."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest

from services.notifier.domain.kinds import TO_BUSINESS, Kind
from services.notifier.domain.sending import MaybeSent, RateLimited, Refused, Unavailable
from services.notifier.rpc.operations import Operations
from shared.contracts.rpc import portal
from shared.contracts.rpc.base import plain
from shared.contracts.rpc.errors import (
    InvalidArgument,
    NotFound,
    RemoteFault,
    TemporarilyUnavailable,
)
from shared.nameko_ext.rpc import RpcTimeout
from tests.unit.notifier.conftest import RENDERER, House
from tests.unit.notifier.fakes import START

HARBOR = portal.ContactBusiness(
    business_id="harbor",
    name="Harbor Gardening",
    email="hello@harbor.example",
    locale="en",
    timezone="UTC",
    sender_email="pay@harbor.example",
    observed=True,
)


def service(house: House, ask: Any = None) -> Operations:
    """The notifier's methods for people, with a portal that answers so."""

    def business(business_id: str) -> Any:
        return plain(portal.BusinessContact(platform="Homely", business=HARBOR))

    made = Operations()
    made.db, made.renderer = house.db, RENDERER
    made.portal = SimpleNamespace(business_contact=ask or business)
    made.fetch_contact = SimpleNamespace(ask=None)
    made.sendgrid = SimpleNamespace(mailer=house.mailer)
    return made


@pytest.mark.whole
@pytest.mark.parametrize("kind", list(Kind))
def test_a_test_mail_opens_nothing_and_names_nobody(kind: Kind, house: House) -> None:
    """Of every kind: marked in its subject, to the one address, without an answer to a stranger; each link is a sample's."""
    sent = service(house).send_test_mail("me@example.com", kind.value, locale="de")
    (mail,) = house.mailer.inbox
    assert (mail.to, mail.to_name, mail.reply_to) == ("me@example.com", "", None)
    assert mail.subject.startswith("[Test] ")
    assert sent.subject == mail.subject
    for link in re.findall(r'href="([^"]+)"', mail.html):
        assert re.match(
            r"https://[\w.]+\.example\b|https://dashboard\.stripe\.com/.*SAMPLE|mailto:|tel:", link
        ), link
    assert not house.rows()


def test_a_business_sends_it_as_itself_also_while_it_observes(house: House) -> None:
    """It was asked for: with its name, its address for answers and its own sender; of what goes to a business Portico is the sender."""
    made = service(house)
    sent = made.send_test_mail("me@example.com", business_id="harbor")
    made.send_test_mail("me@example.com", "collection_ended", business_id="harbor")
    to_customer, to_business = house.mailer.inbox
    assert (to_customer.from_name, to_customer.reply_to) == (
        "Harbor Gardening",
        "hello@harbor.example",
    )
    assert (to_customer.sender_email, to_customer.platform) == ("pay@harbor.example", "Homely")
    assert "Harbor Gardening" in to_customer.text
    assert Kind.COLLECTION_ENDED in TO_BUSINESS
    assert (to_business.from_name, to_business.sender_email) == ("", None)
    assert (sent.outcome, sent.sender, sent.business_sender) == (
        "accepted",
        "pay@harbor.example",
        "pay@harbor.example",
    )


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Refused("403 from SendGrid"), "refused"),
        (RateLimited(START), "rate_limited"),
        (Unavailable("503 from SendGrid"), "unavailable"),
        (MaybeSent("no answer"), "unconfirmed"),
    ],
)
def test_what_sendgrid_answers_is_answered(answer: Any, outcome: str, house: House) -> None:
    """Once, whatever it is: a person decides whether to try again."""
    house.mailer.answers = [answer]
    sent = service(house).send_test_mail("me@example.com")
    assert (sent.outcome, sent.why) == (outcome, getattr(answer, "why", None))
    assert sent.retry_at == (START if outcome == "rate_limited" else None)


def test_nothing_goes_where_it_is_not_known_what_or_to_whom(house: House) -> None:
    """A wrong address, a business that is not there, a portal that does not answer."""

    def silent(**_: Any) -> Any:
        raise RpcTimeout

    def missing(**_: Any) -> Any:
        raise RemoteFault("NotFound", "business_id: no such business")

    wrong = ("me", "me@example.com, you@example.com", f"{'a' * 250}@example.com")
    for address in (*wrong, ".me@example.com", "m\u202ee@example.com"):
        with pytest.raises(InvalidArgument, match="to: expected"):
            service(house).send_test_mail(address)
    with pytest.raises(NotFound, match="business_id"):
        service(house, missing).send_test_mail("me@example.com", business_id="nobody")
    with pytest.raises(TemporarilyUnavailable, match="portal"):
        service(house, silent).send_test_mail("me@example.com", business_id="harbor")
    assert not house.mailer.inbox
