"""Answers of other services that are asked for before they are looked at."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import eventlet
import pytest
from eventlet.event import Event

from services.notifier.adapters.batched_fetch import EARLY_SECONDS, EarlyFetch
from services.notifier.service import NotifierService
from shared.events import InvoicePaymentActionRequired
from shared.nameko_ext.batching import Batcher
from tests.unit.notifier.conftest import House, event, failed, paid


class Asked:
    """Somebody who is asked, and answers when told to."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.answers = Event()
        self.time = 0.0
        together = Batcher[str, str]("asked", lambda names: [self.answer(one) for one in names])
        self.fetch = EarlyFetch(together, clock=lambda: self.time)

    def answer(self, name: str) -> str:
        self.names.append(name)
        self.answers.wait()
        if name == "unknown":
            raise LookupError(name)
        return f"about {name} ({len(self.names)})"


@pytest.fixture
def asked() -> Asked:
    return Asked()


def test_what_was_asked_early_is_asked_once(asked: Asked) -> None:
    """Asking begins at once and keeps nobody; whoever calls then gets that answer, and the next one a fresh one."""
    asked.fetch.begin("it")
    eventlet.sleep(0)
    assert asked.names == ["it"]
    asked.answers.send()
    assert asked.fetch("it") == "about it (1)"
    assert asked.fetch("it") == "about it (2)"


def test_the_second_failure_within_a_second_is_asked_about_anew(asked: Asked) -> None:
    """What was asked about the first one may have been answered before the second one came."""
    asked.answers.send()
    asked.fetch.begin("it")
    eventlet.sleep(0)
    asked.fetch.begin("it")
    assert asked.fetch("it") == "about it (2)"
    assert asked.names == ["it", "it"]


def test_what_went_wrong_is_raised_where_it_is_called_for(asked: Asked) -> None:
    """As if it had been asked then."""
    asked.answers.send()
    asked.fetch.begin("unknown")
    with pytest.raises(LookupError):
        asked.fetch("unknown")


def test_an_answer_that_nobody_looked_at_in_time_is_asked_for_again(asked: Asked) -> None:
    """What it tells may have changed since: an email goes by how things stand now."""
    asked.answers.send()
    asked.fetch.begin("it")
    eventlet.sleep(0)
    asked.time += EARLY_SECONDS + 0.1
    assert asked.fetch("it") == "about it (2)"


def test_answers_that_nobody_wants_are_forgotten(asked: Asked) -> None:
    """With the next question, so that they are never more than those of a moment."""
    asked.answers.send()
    for number in range(100):
        asked.fetch.begin(f"event {number}")
        asked.time += EARLY_SECONDS / 2
    assert len(asked.fetch._early) <= 3


class Begun(list[Any]):
    """What was asked early, with how many notifications were written down by then."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self._house = house

    def begin(self, name: Any) -> None:
        self.append((name.id, len(self._house.rows())))


@pytest.fixture
def begun(house: House) -> Begun:
    return Begun(house)


def hear(house: House, begun: Begun, *batch: Any, free: int = 8) -> None:
    """Hear of events that came together, with so many senders free."""
    service = NotifierService()
    service.db = house.db
    service.places = SimpleNamespace(
        reserve=lambda now, wanted: min(free, wanted), fill=lambda *_: None, heard=lambda *_: None
    )
    service.hooks = SimpleNamespace(are_heard=False)
    service.wake = service.wake_hosts = lambda: None
    service.fetch_invoice = service.fetch_contact = begun
    service._hear(list(batch))


def test_a_failure_that_comes_alone_is_asked_about_before_it_is_written_down(
    house: House, begun: Begun
) -> None:
    """Its invoice and its customer, whom its sender needs first."""
    one = failed()
    hear(house, begun, one)
    assert begun == [(one.data.invoice_id, 0), (one.data.stripe_customer_id, 0)]


def test_nobody_is_asked_early_about_what_may_come_to_nothing(house: House, begun: Begun) -> None:
    """What comes beside a failure, or after our own try; what waits for a sender anyway; and what comes in a crowd."""
    hear(house, begun, event(InvoicePaymentActionRequired))
    hear(house, begun, paid())
    hear(house, begun, failed(own_retry=True))
    hear(house, begun, failed(), free=0)
    hear(house, begun, failed(invoice_id="in_1"), failed(invoice_id="in_2"))
    assert begun == []
