"""Places of senders: filled one by one while little is due, in large portions while much is."""

from __future__ import annotations

import datetime as dt
from typing import Any

import eventlet
import msgspec
import pytest

from services.notifier import senders
from services.notifier.domain.kinds import Kind
from services.notifier.queries.leases import Beside, Leased
from services.notifier.senders import Sender, SendSlots
from shared.contracts.accounts import Account
from shared.nameko_ext.loops import Loop
from tests.unit.notifier.fakes import START

EMAIL = Leased(
    notification_id="ntf_1",
    lease_token="token",
    kind=Kind.PAYMENT_FAILED,
    invoice_id="in_1",
    stripe_customer_id="cus_1",
    customer_id=None,
    correlation_id="evt_1",
    traceparent="",
    incident=None,
    heard_at=START,
    occurred_at=START,
)


class Container:
    """As much of nameko's container as a sender needs: it keeps the ends of its workers."""

    def __init__(self) -> None:
        self.entrypoints: list[Any] = []
        self.ends: list[Any] = []
        self.contexts: list[dict[str, str]] = []

    def spawn_worker(
        self, entrypoint: Any, *args: Any, context_data: dict[str, str], handle_result: Any
    ) -> None:
        self.ends.append(handle_result)
        self.contexts.append(context_data)

    def end_one(self) -> None:
        """One email is done."""
        self.ends.pop()(None, None, None)


class Wakes(Loop):
    """The loop that leases, as far as it counts how often it was woken."""

    def __init__(self) -> None:
        super().__init__(poll=1.0)
        self.method_name = "send_due"
        self.woken = 0

    def wake(self) -> None:
        self.woken += 1


class Office:
    """Eight places, their loop, and emails to put in them."""

    def __init__(self) -> None:
        self.container = Container()
        self.sender = Sender(wakes="send_due")
        self.sender.container = self.container
        self.loop = Wakes()
        self.container.entrypoints.append(self.loop)
        self.is_behind = False
        self.places = SendSlots(8, self.sender, lambda: self.is_behind)

    def lease(self, due: int) -> int:
        """One round of the loop with so many emails due; how many it takes."""
        free = self.places.free(START, keep=True)
        taken = min(free, due)
        if free:
            self.places.note_lease(free, taken)
        for _ in range(taken):
            self.places.take(EMAIL)
        return taken


@pytest.fixture
def office() -> Office:
    return Office()


def test_a_single_email_goes_at_once_and_asks_for_nothing_more(office: Office) -> None:
    """Nothing else is due: its end wakes nobody, and every place is free for what comes next."""
    assert office.lease(due=1) == 1
    assert office.lease(due=3) == 3
    office.container.end_one()
    assert (office.loop.woken, office.places.free(START)) == (0, 5)


def test_each_log_line_of_an_email_says_whose_it_is(office: Office) -> None:
    """What asked for it, and its Stripe account where that isn't the installation's own."""
    office.places.take(EMAIL)
    office.places.take(msgspec.structs.replace(EMAIL, account=Account("acct_1")))
    assert office.container.contexts == [
        {"correlation_id": "evt_1"},
        {"correlation_id": "evt_1", "stripe_account": "acct_1"},
    ]


def test_while_more_is_due_than_places_half_of_them_are_filled_at_once(office: Office) -> None:
    """The next lease is one transaction for four, when four are done, and not one for each."""
    assert office.lease(due=100) == 8
    for _ in range(3):
        office.container.end_one()
    assert (office.loop.woken, office.lease(due=92)) == (0, 0)
    office.container.end_one()
    assert (office.loop.woken, office.lease(due=92)) == (1, 4)


def test_the_rest_of_a_storm_is_not_waited_for(office: Office) -> None:
    """A lease that finds less than there is room for ends the waiting."""
    assert office.lease(due=9) == 8
    for _ in range(4):
        office.container.end_one()
    assert office.lease(due=1) == 1
    office.container.end_one()
    assert office.places.free(START) == 4


def test_nobody_starts_while_sendgrid_asks_for_patience(office: Office) -> None:
    """Until the reset of a 429 no place is free."""
    office.places.close_until(START + dt.timedelta(seconds=30))
    assert office.places.free(START) == 0
    assert office.places.free(START + dt.timedelta(seconds=30)) == 8


def test_places_that_are_reserved_are_nobody_elses(office: Office) -> None:
    """An event's transaction keeps as many as it may need: the loop takes the others, and what was not needed is given back."""
    assert office.places.reserve(START, 3) == 3
    assert office.lease(due=100) == 5
    office.places.fill(3, [EMAIL])
    assert office.sender.busy == 6


def test_while_others_wait_no_new_email_is_sent_before_them(office: Office) -> None:
    """More was due than there were places: nothing can be reserved until all of that has its place."""
    assert office.lease(due=100) == 8
    for _ in range(4):
        office.container.end_one()
    assert office.places.reserve(START, 1) == 0


def test_the_last_place_that_is_filled_makes_its_end_look_for_more(office: Office) -> None:
    """As after a lease of all there was room for: what found no place is looked for when half of them are free."""
    reserved = office.places.reserve(START, 20)
    assert reserved == 8
    office.places.fill(reserved, [EMAIL] * 8)
    for _ in range(4):
        office.container.end_one()
    assert office.loop.woken == 1


def test_nothing_is_reserved_while_sendgrid_asks_for_patience(office: Office) -> None:
    """Until the reset of a 429 what fails waits as a row."""
    office.places.close_until(START + dt.timedelta(seconds=30))
    assert office.places.reserve(START, 1) == 0


def test_places_that_were_kept_and_given_back_are_free(office: Office) -> None:
    """Of those that nothing is sent in no end tells: whoever finds none of them free waits for no end."""
    for _ in range(5):
        office.places.take(EMAIL)
    with office.places.held(3):
        assert office.places.reserve(START, 3) == 0
    assert office.places.free(START, keep=True) == 3
    reserved = office.places.reserve(START, 3)
    assert (reserved, office.places.reserve(START, 1)) == (3, 0)
    office.places.fill(reserved, [])
    assert office.places.free(START, keep=True) == 3


QUICK = dt.timedelta(milliseconds=1)
OF_OTHER = msgspec.structs.replace(EMAIL, account=Account("acct_1"))


def busy_with_two_accounts() -> Office:
    """More is due of one account than there are places, and this process has sent for another one."""
    office = Office()
    for one in (OF_OTHER, EMAIL):
        office.places.take(one)
        office.container.end_one()
    for _ in range(office.places.free(START, keep=True)):
        office.places.take(EMAIL)
    office.places.note_lease(7, 7)
    return office


def test_a_place_is_kept_for_other_accounts_once_there_are_any() -> None:
    """One account's storm fills all places but one; in an installation with one account, all."""
    office = busy_with_two_accounts()
    assert (office.sender.busy, office.places.free(START, keep=True)) == (7, 0)
    others = office.places.for_others(START)
    assert others is not None
    assert (others.free, others.beside.accounts) == (1, {""})
    alone = Office()
    assert alone.places.free(START, keep=True) == 8


def test_others_are_looked_for_four_times_a_second_at_most() -> None:
    """It may read through all that is due."""
    office = busy_with_two_accounts()
    assert office.places.for_others(START) is not None
    assert office.places.for_others(START + dt.timedelta(seconds=0.2)) is None
    assert office.places.for_others(START + dt.timedelta(seconds=0.25)) is not None


@pytest.mark.parametrize(("took", "pause"), [(0.001, 0.25), (0.15, 1.5), (3.0, 5.0)])
def test_the_longer_a_look_for_others_takes_the_fewer_there_are(took: float, pause: float) -> None:
    """A tenth of the time, whatever is due; and one that the database held up keeps nobody waiting for long."""
    office = busy_with_two_accounts()
    assert office.places.for_others(START) is not None
    office.places.note_others(1, 0, dt.timedelta(seconds=took))
    almost = dt.timedelta(seconds=pause - 0.01)
    assert office.places.for_others(START + almost) is None
    assert office.places.for_others(START + dt.timedelta(seconds=pause)) is not None


def test_who_came_too_soon_looks_for_others_when_it_is_time(office: Office) -> None:
    """Once, however many came: else an email that was written down just after the last look would wait for the end of another."""
    office = busy_with_two_accounts()
    assert office.places.for_others(START) is not None
    for _ in range(3):
        assert office.places.for_others(START + dt.timedelta(seconds=0.24)) is None
    assert office.loop.woken == 0
    eventlet.sleep(0.02)
    assert office.loop.woken == 1


def test_a_flood_that_has_half_of_the_places_gets_none_of_those_for_others() -> None:
    """Half are free then, but they are not to be the flood's all at once: the kept one stays free."""
    office = busy_with_two_accounts()
    while office.loop.woken == 0:
        office.container.end_one()
    assert (office.sender.busy, office.places.free(START, keep=True)) == (4, 0)
    others = office.places.for_others(START)
    assert others is not None
    assert others.beside == Beside(frozenset({""}), 2)


def test_an_accounts_first_email_does_not_wait_behind_a_flood() -> None:
    """Nothing was sent for it lately, so that the flood has all places: it gets the first one that becomes free, and not its turn by age."""
    office = Office()
    assert office.lease(due=100) == 8
    office.places.heard({"", "acct_1"})
    office.container.end_one()
    assert (office.loop.woken, office.places.free(START, keep=True)) == (1, 0)
    others = office.places.for_others(START)
    assert others is not None
    assert (others.free, others.beside.accounts) == (1, {""})


def test_more_emails_of_the_flood_alone_wake_nobody(office: Office) -> None:
    """Its places are filled when half of them are free, as ever."""
    assert office.lease(due=100) == 8
    office.places.heard({""})
    office.container.end_one()
    assert office.loop.woken == 0


def test_an_end_has_others_looked_for_while_those_are_known_to_wait() -> None:
    """Their emails have few places, and each that becomes free is one that they wait for."""
    office = busy_with_two_accounts()
    office.places.note_others(1, 1, QUICK)
    office.container.end_one()
    assert office.loop.woken == 1
    office.places.note_others(2, 1, QUICK)
    office.container.end_one()
    assert office.loop.woken == 1


def test_places_that_are_looked_for_are_nobodys_meanwhile(office: Office) -> None:
    """What is written down while the loop asks what is due finds none free, and so no more is under way than there are places."""
    with office.places.held(office.places.free(START, keep=True)):
        assert office.places.reserve(START, 3) == 0
    office.places.note_lease(8, 0)
    assert office.places.reserve(START, 3) == 3


def test_others_are_looked_for_only_while_much_is_due(office: Office) -> None:
    """And not while SendGrid asks for patience, nor where every place is taken."""
    office.lease(due=3)
    assert office.places.for_others(START) is None
    office.lease(due=100)
    assert (office.sender.busy, office.places.for_others(START)) == (8, None)
    office.container.end_one()
    office.places.close_until(START + dt.timedelta(seconds=30))
    assert office.places.for_others(START) is None
    assert office.places.for_others(START + dt.timedelta(seconds=30)) is not None


def test_what_is_under_way_of_an_account_is_forgotten_with_its_end() -> None:
    """So that the tally is as small as the number of places."""
    office = busy_with_two_accounts()
    for _ in range(7):
        office.container.end_one()
    assert (office.sender.accounts, office.sender.busy) == ({}, 0)


def test_full_places_of_fresh_emails_have_others_looked_for() -> None:
    """What came together fills all places but the kept one: others are looked for from then on."""
    office = busy_with_two_accounts()
    for _ in range(7):
        office.container.end_one()
    office.places.note_lease(7, 0)
    reserved = office.places.reserve(START, 20)
    assert reserved == 7
    office.places.fill(reserved, [EMAIL] * 7)
    assert office.places.for_others(START) is not None


def test_with_few_places_none_is_kept(office: Office) -> None:
    """Else a notifier with one sender would send nothing."""
    few = SendSlots(1, office.sender)
    for one in (OF_OTHER, EMAIL):
        few.take(one)
        office.container.end_one()
    assert few.free(START, keep=True) == 1


def test_an_account_with_less_than_its_share_is_looked_for_again() -> None:
    """One email of it that is under way does not make the next one wait."""
    office = busy_with_two_accounts()
    office.container.end_one()
    office.places.take(OF_OTHER)
    others = office.places.for_others(START)
    assert others is not None
    assert (others.free, others.beside.accounts) == (1, {""})


def behind_with_two_accounts() -> Office:
    """Events wait that are not written down, and this process has sent for two accounts."""
    office = Office()
    for one in (OF_OTHER, EMAIL):
        office.places.take(one)
        office.container.end_one()
    office.is_behind = True
    return office


def test_while_events_wait_a_flood_has_few_places() -> None:
    """What is read next may be another account's: reading goes before the flood's emails, which go on all the same."""
    office = behind_with_two_accounts()
    assert office.lease(due=100) == 2
    office.container.end_one()
    assert office.lease(due=98) == 1
    office.is_behind = False
    office.container.end_one()
    assert office.lease(due=97) == 6


def test_while_events_wait_other_accounts_have_the_places_that_the_flood_has_not() -> None:
    """Their emails are as quick as ever."""
    office = behind_with_two_accounts()
    office.lease(due=100)
    others = office.places.for_others(START)
    assert others is not None
    assert (others.free, others.beside.accounts) == (6, {""})


def test_while_events_wait_fresh_emails_that_fill_the_few_places_have_others_looked_for() -> None:
    """Else what another account has due would wait until one of these ends."""
    office = behind_with_two_accounts()
    reserved = office.places.reserve(START, 20)
    assert reserved == 2
    office.places.fill(reserved, [EMAIL] * 2)
    assert office.places.for_others(START) is not None


@pytest.mark.parametrize("asks", ["reserve", "free"])
def test_when_the_room_shrinks_below_what_is_under_way_others_are_looked_for(asks: str) -> None:
    """Nothing more was due when these began; what is written down from then on finds no place, unless it is another account's."""
    office = behind_with_two_accounts()
    office.is_behind = False
    assert office.lease(due=6) == 6
    office.is_behind = True
    if asks == "reserve":
        assert office.places.reserve(START, 3) == 0
    else:
        assert office.places.free(START, keep=True) == 0
    others = office.places.for_others(START)
    assert others is not None
    assert (others.free, others.beside.accounts) == (2, {""})
    for _ in range(2):
        office.container.end_one()
    assert office.loop.woken == 1, "and once half of all places are free they are looked for again"


def test_a_second_account_that_sends_no_more_costs_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One email of it costs a place for minutes, and not until the process ends."""
    office = busy_with_two_accounts()
    for _ in range(7):
        office.container.end_one()
    now = senders.monotonic()
    office.places.note_lease(7, 0)
    monkeypatch.setattr(senders, "monotonic", lambda: now + senders.SEVERAL_SECONDS - 1)
    assert office.places.free(START, keep=True) == 7
    monkeypatch.setattr(senders, "monotonic", lambda: now + senders.SEVERAL_SECONDS)
    assert office.places.free(START, keep=True) == 8


def test_with_one_account_events_that_wait_take_no_place() -> None:
    """Nobody would gain by it."""
    office = Office()
    office.is_behind = True
    assert office.lease(due=100) == 8


def test_a_notifier_with_one_sender_goes_on_while_events_wait() -> None:
    """A quarter of few places is one."""
    few = SendSlots(1, behind_with_two_accounts().sender, is_behind=lambda: True)
    assert few.free(START, keep=True) == 1
