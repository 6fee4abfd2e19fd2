"""The email to a business whose webhook endpoint was switched off."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from sqlalchemy import select

from services.notifier.domain.hooks import DisabledBecause, answered
from services.notifier.domain.vocabulary import Reason
from services.notifier.models import HookEndpoint, Notification
from tests.unit.notifier.conftest import House, failed
from tests.unit.notifier.fakes import a_contact
from tests.unit.notifier.hooks_world import World

HELLO = "hello@sunrise.example"


def switched_off(house: House, business: str | None, status: int = 410) -> World:
    """The webhooks of the same notifier, with an endpoint that answers so until it is off."""
    world = World(house.db, clock=house.clock)
    world.endpoint("hooks", business)
    world.hosts.answer = lambda target: answered(status, 3)
    for _ in range(6):
        world.hear(failed())
        world.tell()
        world.work()
        if not world.row(HookEndpoint).enabled:
            break
        house.clock.forward(hours=24)
    assert not world.row(HookEndpoint).enabled
    return world


@pytest.mark.whole
@pytest.mark.parametrize(
    ("status", "says"),
    [(410, "no longer wants them (HTTP 410)"), (500, "For five days, nothing we sent")],
)
def test_the_business_is_told_once_and_why(house: House, status: int, says: str) -> None:
    """By the host name alone: an address may have a secret in its path. Nobody is answered."""
    house.portal.people["sunrise"] = replace(a_contact(), name="", email=None, link="")
    world = switched_off(house, "sunrise", status)
    assert "sent" in house.work()
    (mail,) = [one for one in house.mailer.inbox if one.kind == "webhooks_stopped"]
    assert (mail.to, mail.reply_to) == (HELLO, None)
    assert mail.subject == "Webhooks have stopped"
    for body in (mail.text, mail.html):
        assert says in body
        assert "hooks.example.com" in body
        assert world.row(HookEndpoint).endpoint_id in body
        assert "example.com/in" not in body


def test_of_an_endpoint_of_the_installation_no_business_is_told(house: House) -> None:
    """It has an alert, an event and `portico hooks list`."""
    world = switched_off(house, None)
    assert world.row(HookEndpoint).disabled_because == DisabledBecause.GONE
    with house.db.reading() as session:
        kinds = set(session.scalars(select(Notification.kind)))
    assert "webhooks_stopped" not in kinds


def test_a_business_without_an_address_is_named_by_the_list(house: House) -> None:
    """With a reason that the list of emails shows."""
    contact = a_contact()
    house.portal.people["sunrise"] = replace(
        contact, business=replace(contact.business, email=None)
    )
    switched_off(house, "sunrise")
    house.work()
    (row,) = [one for one in house.rows() if one.kind == "webhooks_stopped"]
    assert (row.status, row.reason) == ("suppressed", Reason.NO_BUSINESS_ADDRESS)
