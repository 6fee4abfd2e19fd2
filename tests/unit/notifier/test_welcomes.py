"""Welcoming customers: each once, at a rate, by day, while their business is live."""

from __future__ import annotations

import datetime as dt

import pytest

from services.notifier.domain.kinds import DUNNING, KEEP_QUIET_HOURS, Kind
from services.notifier.domain.reminders import QuietHours, ReminderPolicy
from services.notifier.domain.sending import MaybeSent
from services.notifier.domain.vocabulary import Reason
from services.notifier.domain.welcomes import MADE_UP_FOR, Held, Pace
from services.notifier.handlers import observing
from services.notifier.handlers import welcomes as handlers
from services.notifier.models import WelcomeRun
from services.notifier.queries import suppressions
from services.notifier.queries.leases import Beside
from services.notifier.rpc.welcomes import WelcomesOfProcess
from services.notifier.workflows import sending
from shared.contracts.rpc.errors import NotFound, StillObserved, TemporarilyUnavailable
from tests.unit.notifier.conftest import House, failed
from tests.unit.notifier.fakes import START, a_contact
from tests.unit.notifier.welcoming import SUNRISE, Welcoming

SECOND, MINUTE, HOUR = (dt.timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours"))
NIGHT = ReminderPolicy(quiet_hours=QuietHours(dt.time(21), dt.time(8)))


@pytest.mark.whole
def test_each_gets_one_email_with_the_own_link(house: House) -> None:
    """In their own language, as any other email."""
    town = Welcoming(house, 3)
    town.add("c2", link="https://portal.example/me/SECOND", locale="de")
    assert town.ask() == ["queued"] * 3
    town.go_on(10 * SECOND)
    assert sorted(town.welcomed()) == ["c1@example.com", "c2@example.com", "c3@example.com"]
    (second,) = (mail for mail in house.mailer.inbox if mail.to == "c2@example.com")
    assert second.subject == "Ihre persönliche Kundenseite"
    assert "https://portal.example/me/SECOND" in second.text
    assert "SECRET" not in second.text
    assert town.go_on(HOUR, MINUTE) == 0
    run = town.look()
    assert (run.waiting, run.sending, run.sent, run.due_at) == (0, 0, 3, None)
    (row,) = house.table(WelcomeRun)
    assert row.finished_at is not None


@pytest.mark.whole
def test_asked_for_again_nobody_gets_another(house: House) -> None:
    """Those who wait keep their place, those who had it get no other; who is new is asked for."""
    town = Welcoming(house, 2)
    town.ask(per_hour=60)
    town.go_on(2 * SECOND)
    assert town.welcomed() == ["c1@example.com"]
    town.add("c3")
    assert town.ask(per_hour=60) == ["welcomed", "waiting", "queued"]
    town.go_on(5 * MINUTE)
    assert town.welcomed() == ["c1@example.com", "c2@example.com", "c3@example.com"]
    assert town.ask() == ["welcomed"] * 3
    town.go_on(5 * MINUTE)
    assert len(town.welcomed()) == 3


def test_once_is_remembered_after_the_email_is_forgotten(house: House) -> None:
    """Notifications go after ninety days; whoever had one is not asked for anew."""
    town = Welcoming(house, 1)
    town.ask()
    town.go_on(4 * SECOND)
    with house.db.transaction() as session:
        for row in house.rows():
            session.delete(session.merge(row))
    assert town.ask() == ["welcomed"]
    assert town.go_on(MINUTE) == 0
    assert town.look().earlier == 1


def test_a_dry_run_asks_for_nobody(house: House) -> None:
    """It tells what asking would come to."""
    town = Welcoming(house, 1)
    town.add("c2", email=None)
    town.add("c3")
    with house.db.transaction() as session:
        address = house.hasher("c3@example.com")
        suppressions.suppress_address(session, address, Reason.ADDRESS_BOUNCED, START, None)
    expected = ["queued", "no_address", "suppressed"]
    assert town.plan("c1", "c2", "c3") == expected
    assert (town.rows(), house.table(WelcomeRun)) == ([], [])
    assert town.ask("c1", "c2", "c3") == expected
    assert [row.customer_id for row in town.rows()] == ["c1"]


@pytest.mark.whole
@pytest.mark.parametrize(("per_hour", "rounds"), [(10, 261), (60, 261), (3600, 50), (20_000, 20)])
def test_the_rate_holds(house: House, per_hour: int, rounds: int) -> None:
    """Over ten minutes, or over some hundred emails, at whatever moments the loop comes by."""
    town = Welcoming(house)
    step = dt.timedelta(seconds=2.3)
    expected = int(rounds * step / HOUR * per_hour) + 1
    for number in range(expected + 50):
        town.add(f"c{number}")
    town.ask(per_hour=per_hour)
    sent = town.go_on(rounds * step, step)
    assert abs(sent - expected) <= max(1, expected // 50)


@pytest.mark.whole
def test_what_was_missed_is_not_made_up_for(house: House) -> None:
    """The notifier was away for hours: the next minute has a minute's worth, and what ten seconds owe."""
    town = Welcoming(house, 200)
    town.ask(per_hour=600)
    town.go_on(MINUTE)
    house.clock.forward(hours=5)
    sent = town.go_on(MINUTE)
    assert 10 <= sent <= 11 + MADE_UP_FOR / Pace(600).apart


@pytest.mark.whole
def test_while_sending_stands_still_none_is_released(house: House) -> None:
    """SendGrid is away for an hour: what comes all at once afterwards is three emails, not an hour's worth."""
    town = Welcoming(house, 50)
    town.ask(per_hour=60)
    for _ in range(120):
        house.clock.forward(seconds=30)
        town.release()
    assert len(house.rows()) == 3
    assert town.look().held == Held.SENDING
    assert town.send() == ["sent"] * 3
    assert 4 <= town.go_on(5 * MINUTE) <= 6


@pytest.mark.whole
def test_a_new_rate_counts_from_now(house: House) -> None:
    """Who asked for one an hour need not wait an hour for the faster one."""
    town = Welcoming(house, 10)
    town.ask(per_hour=1)
    assert town.go_on(10 * MINUTE, 10 * SECOND) == 1
    town.ask(per_hour=360)
    assert 5 <= town.go_on(MINUTE) <= 7


@pytest.mark.whole
def test_quiet_hours_of_the_business(house: House) -> None:
    """Nothing is released in them, and the morning brings no more than any other minute."""
    town = Welcoming(house, 100)
    town.change_business(reminders=NIGHT)  # it is seven in the morning in New York
    town.ask(per_hour=360)
    assert town.go_on(59 * MINUTE, 30 * SECOND) == 0
    assert town.look().held == Held.QUIET_HOURS
    assert house.rows() == []
    assert 6 <= town.go_on(2 * MINUTE) <= 14


def test_asked_for_again_what_held_it_is_looked_at_at_once(house: House) -> None:
    """The business has lifted its quiet hours: nobody waits for them five minutes more. Nor does it make up for anything."""
    town = Welcoming(house, 20)
    town.change_business(reminders=NIGHT)
    town.ask(per_hour=360)
    town.go_on(2 * SECOND)
    town.change_business(reminders=ReminderPolicy())
    assert town.go_on(10 * SECOND) == 0
    town.ask(per_hour=360)
    assert town.go_on(2 * SECOND) == 1


@pytest.mark.whole
def test_a_customer_of_another_zone_keeps_their_place(house: House) -> None:
    """At eight in New York it is five in Los Angeles: others go first, and three hours later nobody gets all at once."""
    town = Welcoming(house)
    town.change_business(reminders=NIGHT)
    house.clock.forward(hours=1)
    for number in range(40):
        far = number < 20
        town.add(f"c{number:02}", timezone="America/Los_Angeles" if far else None)
    town.ask(per_hour=360)
    assert town.go_on(10 * MINUTE) == 20
    assert town.welcomed() == [f"c{number}@example.com" for number in range(20, 40)]
    assert town.look().held == Held.QUIET_HOURS
    assert len(house.rows()) == 20  # nobody's is written down for the morning
    assert town.go_on(169 * MINUTE, 30 * SECOND) == 0
    assert town.go_on(2 * MINUTE) <= 8


def test_quiet_hours_are_looked_at_when_it_is_sent(house: House) -> None:
    """The portal knows another zone by then than when it was asked."""
    town = Welcoming(house, 1)
    town.change_business(reminders=NIGHT, timezone="Europe/Berlin")
    town.ask()
    town.add("c1", timezone="America/Los_Angeles")
    house.clock.forward(seconds=2)
    assert town.release() == 1
    assert town.send() == ["held"]
    assert house.row().reason == Reason.WAITS_FOR_MORNING
    assert town.look().sending == 1


@pytest.mark.whole
def test_a_business_that_observes(house: House) -> None:
    """Nobody can be asked for, and nobody who waits is released; what was written down already ends as observed."""
    town = Welcoming(house, 10)
    town.ask(per_hour=360)
    house.clock.forward(seconds=2)
    assert town.release() == 1
    town.change_business(observed=True)
    assert town.send() == ["observed"]
    with pytest.raises(StillObserved, match="business sunrise"):
        town.ask()
    assert town.plan("c1", "c2") == ["queued", "waiting"]
    assert town.go_on(HOUR, MINUTE) == 0
    run = town.look()
    assert (run.held, run.observed, run.waiting) == (Held.OBSERVING, 1, 9)
    assert house.row().business_id == SUNRISE


@pytest.mark.whole
def test_no_wish_crosses_a_line(house: House) -> None:
    """Live again, nobody is welcomed by a wish of before; asked for anew, it goes on where it was."""
    town = Welcoming(house, 5)
    town.ask(per_hour=3600)
    town.go_on(2 * SECOND)
    sent = town.welcomed()
    town.change_business(observed=True)
    town.go_on(HOUR, MINUTE)
    town.change_business(observed=False, live_since=house.clock())
    assert town.go_on(HOUR, MINUTE) == 0
    run = town.look()
    assert (run.held, run.waiting) == (Held.BEFORE_THE_LINE, 0)
    assert run.taken_off == 5 - len(sent) - run.observed > 0
    town.ask()
    town.go_on(MINUTE)
    assert len(town.welcomed()) == 5
    assert len(set(town.welcomed())) == 5
    assert town.welcomed()[: len(sent)] == sent


@pytest.mark.whole
def test_a_wish_of_before_the_line_does_not_go_with_one_of_after_it(house: House) -> None:
    """Somebody is asked for before anybody has found that the queue is from before the line."""
    town = Welcoming(house, 50)
    town.ask(per_hour=3600)
    town.change_business(observed=True)
    town.go_on(HOUR, MINUTE)
    town.change_business(observed=False, live_since=house.clock())
    house.clock.forward(seconds=5)
    town.add("c99")
    assert town.ask("c99", "c1", per_hour=3600) == ["queued", "queued"]
    assert town.ask("c2", "c1", per_hour=3600) == ["queued", "waiting"]
    town.go_on(5 * MINUTE)
    assert sorted(town.welcomed()) == ["c1@example.com", "c2@example.com", "c99@example.com"]


def test_an_installation_that_observes(house: House) -> None:
    town = Welcoming(house, 1)
    house.observes = True
    with pytest.raises(StillObserved, match="installation"):
        town.ask()
    assert town.rows() == []


def test_who_was_enrolled_just_now_is_welcomed(house: House) -> None:
    """Their line is an hour before they were enrolled: the wish of today is after it."""
    town = Welcoming(house, 1)
    line = house.clock() - HOUR
    town.ask()
    house.portal.people["c1"] = a_contact(
        customer_id="c1", email="c1@example.com", business=town.business
    )
    town.change_business(live_since=line)
    town.go_on(10 * SECOND)
    assert town.welcomed() == ["c1@example.com"]


def test_a_portals_clock_that_is_ahead(house: House) -> None:
    """A business that went live a second ago, by the portal's clock in a second, is welcomed for all that."""
    town = Welcoming(house, 2)
    town.change_business(live_since=house.clock() + 3 * SECOND)
    town.ask()
    town.release()
    assert house.rows() == []
    town.go_on(10 * SECOND)
    assert len(town.welcomed()) == 2


@pytest.mark.whole
def test_a_portal_that_is_away(house: House) -> None:
    """Nobody can be asked for, and nothing is released; then it goes on."""
    town = Welcoming(house, 3)
    town.ask()
    house.portal.down = True
    with pytest.raises(TemporarilyUnavailable, match="nobody was asked for"):
        town.ask()
    assert town.go_on(10 * MINUTE, 10 * SECOND) == 0
    assert town.look().held == Held.PORTAL_UNAVAILABLE
    assert house.rows() == []
    house.portal.down = False
    town.go_on(MINUTE)
    assert len(town.welcomed()) == 3


def test_a_business_that_nobody_knows(house: House) -> None:
    town = Welcoming(house, 1)
    del house.portal.people[SUNRISE]
    with pytest.raises(NotFound, match="business_id"):
        town.ask()


@pytest.mark.whole
def test_stopped_it_goes_on_where_it_was(house: House) -> None:
    """Who waits is taken off; asked for again, whoever was welcomed is not."""
    town = Welcoming(house, 10)
    town.ask(per_hour=3600)
    town.go_on(4 * SECOND)
    sent = len(town.welcomed())
    assert 0 < sent < 10
    assert town.stop() == 10 - sent
    assert town.stop() == 0
    assert (town.look().waiting, town.look().taken_off) == (0, 10 - sent)
    assert town.go_on(HOUR, MINUTE) == 0
    assert sorted(town.ask(per_hour=3600)) == ["queued"] * (10 - sent) + ["welcomed"] * sent
    assert town.go_on(4 * SECOND) <= 5  # the pause is not made up for
    assert town.look().taken_off == 0
    town.go_on(MINUTE)
    assert sorted(town.welcomed()) == sorted(f"c{number}@example.com" for number in range(1, 11))


def test_stopping_what_never_ran(house: House) -> None:
    town = Welcoming(house)
    assert town.stop() == 0
    run = town.look()
    assert (run.per_hour, run.waiting, run.held, run.done_at) == (None, 0, None, None)


def test_quiet_hours_are_a_column_of_the_kind() -> None:
    """Whatever asks for money keeps them, and so does what rings a telephone for no reason of its customer's."""
    assert DUNNING | {Kind.WELCOME} == KEEP_QUIET_HOURS
    assert Kind.WELCOME not in DUNNING


def test_they_have_a_part_of_the_senders() -> None:
    """A quarter, of those that are free; the next is looked for at once where more were due."""
    here = WelcomesOfProcess(16)
    assert here.room(16) == 0  # nobody has found any
    here.there = True
    assert (here.room(16), here.room(2)) == (4, 2)
    here.took(4, 4)
    assert here.room(12) == 0
    assert here.gave_back()
    assert here.room(13) == 1
    here.took(0, 1)
    assert not here.gave_back()
    alone = WelcomesOfProcess(1)
    alone.there = True
    assert (alone.room(1), alone.room(0)) == (1, 0)


def test_they_stand_in_front_of_nothing(house: House) -> None:
    """A failed charge's email is leased, however many welcomes have been due for longer; and no other way round."""
    town = Welcoming(house, 100)
    town.ask()
    house.clock.forward(seconds=10)
    assert town.release() == 100
    house.clock.forward(hours=1)
    house.hear(failed())
    leased = sending.lease(house.desk, 50)
    assert [one.kind.value for one in leased] == ["payment_failed"]
    assert sending.lease(house.desk, 50, Beside(frozenset({"acct_1"}), 50)) == []
    assert len(sending.lease_welcomes(house.desk, 5)) == 5


def test_who_waits_is_told_in_their_story(house: House) -> None:
    from services.notifier.handlers import timeline

    town = Welcoming(house, 1)
    town.ask(per_hour=1)

    def told() -> list[tuple[str, str]]:
        with house.db.reading() as session:
            about = timeline.About(customer_id="c1")
            story = timeline.story(session, about, event_ids=[], now=house.clock())
        return [(step.step, step.text) for step in story.steps]

    waits = ("waits", "the welcome email waits for its turn in its business’s queue")
    assert told() == [waits]
    assert town.stop() == 1
    stopped = "the welcome email was taken off its business’s queue: it can be asked for again"
    assert told() == [("stopped", stopped)]
    town.ask(per_hour=1)
    assert told() == [waits]


def test_when_it_is_done(house: House) -> None:
    """At the rate, from the moment when the next is due."""
    town = Welcoming(house, 61)
    town.ask(per_hour=60)
    town.go_on(2 * SECOND)
    run = town.look()
    assert run.due_at is not None
    assert run.done_at == run.due_at + 59 * MINUTE
    assert (run.per_hour, run.waiting) == (60, 60)


@pytest.mark.whole
def test_stopped_what_is_released_and_not_begun_is_taken_back(house: House) -> None:
    """Also what waits for its customer's morning. What a sender has in hand goes, and so may what SendGrid did not answer to."""
    town = Welcoming(house, 6)
    house.mailer.answers, house.mailer.hidden_arrive = [MaybeSent("no answer in time")], False
    town.ask()
    town.change_business(
        reminders=ReminderPolicy(quiet_hours=QuietHours(dt.time(3), dt.time(6))),
        timezone="Europe/Berlin",
    )
    house.clock.forward(seconds=4)
    assert town.release() == 6
    leased = sending.lease_welcomes(house.desk, 3)
    town.add(leased[1].customer_id or "", timezone="America/Los_Angeles")  # it is past four there
    outcomes = [sending.send_one(house.desk, one).outcome for one in leased[:2]]
    assert outcomes == ["maybe_sent", "held"]
    with house.db.transaction() as session:
        stopped = handlers.stop(session, SUNRISE, house.clock())
    assert (stopped.stopped, stopped.sending) == (4, 2)
    run = town.look()
    assert (run.taken_off, run.sending, run.suppressed) == (4, 2, 0)
    assert sending.send_one(house.desk, leased[2]).outcome == "sent"
    assert town.go_on(14 * MINUTE, MINUTE) == 0
    town.change_business(reminders=ReminderPolicy())
    assert sorted(town.ask()) == ["queued"] * 4 + ["welcomed"] * 2
    town.go_on(20 * MINUTE, MINUTE)
    assert sorted(town.welcomed()) == [f"c{number}@example.com" for number in range(1, 7)]


@pytest.mark.whole
def test_observed_ones_are_asked_for_again_and_not_accepted(house: House) -> None:
    """Accepted they would go all at once; asked for again they go at their rate."""
    town = Welcoming(house, 20)
    town.ask(per_hour=36_000)
    house.clock.forward(seconds=2)
    assert town.release() == 20
    town.change_business(observed=True)
    assert town.send() == ["observed"] * 20
    town.change_business(observed=False, live_since=house.clock())
    house.clock.forward(seconds=2)
    ids = [row.notification_id for row in house.rows()]
    with house.db.transaction() as session:
        answers = observing.accept(session, ids, house.clock())
    assert {(one.status, one.accepted) for one in answers} == {("observed", False)}
    assert town.ask(per_hour=600) == ["queued"] * 20
    assert town.go_on(MINUTE) <= 12
    town.go_on(3 * MINUTE)
    assert len(set(town.welcomed())) == len(town.welcomed()) == 20
