"""Which addresses of businesses emails may come from."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import pytest

from services.notifier.adapters.sendgrid.sender_domains import (
    ASK_AGAIN,
    GOOD_FOR,
    SenderDomains,
    Unreadable,
    is_of,
)

OWN = "billing@sunrise.example"


@dataclass
class World:
    """SendGrid's list, and a clock that is moved by hand."""

    domains: set[str] = field(default_factory=lambda: {"sunrise.example"})
    down: bool = False
    seconds: float = 0.0
    looks: int = 0

    def read(self) -> Collection[str]:
        self.looks += 1
        if self.down:
            raise Unreadable("down")
        return self.domains

    def senders(self) -> SenderDomains:
        return SenderDomains(self.read, lambda: self.seconds)


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("billing@sunrise.example", True),
        ("billing@SUNRISE.example", True),
        ("billing@mail.sunrise.example", True),
        ("billing@notsunrise.example", False),
        ("billing@example", False),
        ("sunrise.example", True),
        ("sunrise.example@evil.example", False),
        ("", False),
    ],
)
def test_an_address_is_of_a_domain_or_of_a_part_of_it(address: str, allowed: bool) -> None:
    """By whole labels after the last @, whatever the case."""
    assert is_of(address, {"sunrise.example"}) is allowed


def test_nobody_asks_for_a_business_without_an_address() -> None:
    """Most have none: SendGrid is asked when it matters."""
    world = World()
    assert not world.senders().allow(None)
    assert world.looks == 0


def test_what_was_read_is_believed_for_a_while() -> None:
    """One look serves all emails of ten minutes; then a domain that is no longer there is used no more."""
    world = World()
    senders = world.senders()
    assert all(senders.allow(OWN) for _ in range(5))
    assert world.looks == 1
    world.domains = set()
    world.seconds = GOOD_FOR - 1
    assert senders.allow(OWN)
    world.seconds = GOOD_FOR
    assert not senders.allow(OWN)


def test_a_list_that_cannot_be_had_is_not_asked_for_with_each_email() -> None:
    """Before the first answer nothing is allowed; after it what was known goes on counting; once a minute it is tried."""
    world = World(down=True)
    senders = world.senders()
    assert not senders.allow(OWN)
    assert not senders.allow(OWN)
    assert world.looks == 1
    world.down, world.seconds = False, ASK_AGAIN
    assert senders.allow(OWN)
    world.down, world.seconds = True, ASK_AGAIN + GOOD_FOR
    assert senders.allow(OWN)
    assert world.looks == 3


def test_a_look_that_was_cut_off_is_not_repeated_at_once() -> None:
    """The email that asked has run out of its time; the next one does not wait for the same."""

    class CutOff(BaseException):
        pass

    def hang() -> Collection[str]:
        raise CutOff

    senders = SenderDomains(hang, lambda: 0.0)
    with pytest.raises(CutOff):
        senders.allow(OWN)
    assert not senders.allow(OWN)


def test_a_refused_address_counts_no_more_until_the_next_look() -> None:
    """Other domains are untouched, and SendGrid's next list decides."""
    world = World(domains={"sunrise.example", "acme.example"})
    senders = world.senders()
    assert senders.allow(OWN)
    senders.refused(OWN)
    assert not senders.allow(OWN)
    assert senders.allow("pay@acme.example")
    world.seconds = GOOD_FOR
    assert senders.allow(OWN)
