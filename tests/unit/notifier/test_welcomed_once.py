"""Nobody is welcomed twice: whatever a person has sent again, accepts or cancels, and whoever was merged meanwhile."""

from __future__ import annotations

import datetime as dt

import pytest

from services.notifier.domain.keys import welcome_key
from services.notifier.domain.sending import Refused
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.handlers import observing, requests
from services.notifier.models import Notification
from services.notifier.queries import notifications
from shared.contracts.rpc.notifier import RequestedNotification
from tests.unit.notifier.conftest import House
from tests.unit.notifier.fakes import START
from tests.unit.notifier.test_who_is_welcomed import merge
from tests.unit.notifier.welcoming import Welcoming

SECOND, MINUTE, HOUR = (dt.timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours"))
ONE = ["c1@example.com"]


def welcome_of(house: House, customer_id: str = "c1") -> Notification:
    (row,) = (row for row in house.rows() if row.dedupe_key == welcome_key(customer_id))
    return row


def resend(town: Welcoming) -> RequestedNotification:
    """A person has the welcome of the first customer sent again."""
    id = welcome_of(town.house).notification_id
    with town.house.db.transaction() as session:
        return requests.resend(session, id, town.house.clock())


def resend_failed(town: Welcoming, **changes: bool) -> list[str]:
    """A person has all that failed sent again; their ids."""
    with town.house.db.transaction() as session:
        answer = requests.resend_failed(
            session, town.house.clock(), failed_since=START, invoice=None, limit=10, **changes
        )
    return [one.notification_id for one in answer.notifications]


@pytest.fixture
def town(house: House) -> Welcoming:
    """A business with one customer, whose welcome SendGrid refused."""
    town = Welcoming(house, 1)
    town.ask()
    house.mailer.answers.append(Refused("401 from SendGrid"))
    town.go_on(4 * SECOND)
    assert (house.row().status, town.welcomed()) == (Status.FAILED, [])
    return town


@pytest.mark.whole
def test_sent_again_by_hand_it_is_the_welcome(house: House, town: Welcoming) -> None:
    """The command finds that the customer has it; so does the status."""
    assert resend(town)
    town.go_on(10 * SECOND)
    assert town.welcomed() == ONE
    assert town.ask() == ["welcomed"]
    town.go_on(10 * SECOND)
    assert town.welcomed() == ONE
    run = town.look()
    assert (run.sent, run.failed, len(house.rows())) == (1, 0, 1)
    assert resend_failed(town) == []


@pytest.mark.whole
def test_while_it_is_due_again_it_is_asked_for_in_vain(house: House, town: Welcoming) -> None:
    """By the command, and by a second click."""
    first = resend(town)
    assert first.created
    again = resend(town)
    assert (again.created, again.notification_id) == (False, first.notification_id)
    assert town.ask() == ["welcomed"]
    assert resend_failed(town) == []
    town.go_on(10 * SECOND)
    assert town.welcomed() == ONE


@pytest.mark.whole
def test_sent_again_while_it_waits_for_its_turn(house: House, town: Welcoming) -> None:
    """The command was first: it is their turn now, and they have one."""
    town.ask(per_hour=1)
    resend(town)
    assert (town.look().waiting, town.look().sending) == (0, 1)
    town.go_on(2 * HOUR, MINUTE)
    assert town.welcomed() == ONE


@pytest.mark.whole
def test_one_that_failed_again_may_be_asked_for_again(house: House, town: Welcoming) -> None:
    resend(town)
    house.mailer.answers.append(Refused("401 from SendGrid"))
    town.go_on(4 * SECOND)
    assert town.ask() == ["queued"]
    town.go_on(10 * SECOND)
    assert town.welcomed() == ONE
    assert resend_failed(town) == []


def test_the_form_in_bulk_leaves_them_out(house: House, town: Welcoming) -> None:
    """It knows no rate and no night; the command does."""
    assert resend_failed(town) == []
    assert house.row().status == Status.FAILED


def test_one_that_waits_is_not_sent_beside_itself(house: House) -> None:
    """A person has it sent again before it went out for the first time."""
    town = Welcoming(house, 1)
    town.ask()
    house.clock.forward(seconds=2)
    town.release()
    assert not resend(town).created
    town.go_on(10 * SECOND)
    assert town.welcomed() == ONE


def test_who_had_it_gets_another_when_a_person_wants_that(house: House) -> None:
    """That is a wish of its own, and changes nothing of what is known of them."""
    town = Welcoming(house, 1)
    town.ask()
    town.go_on(4 * SECOND)
    assert resend(town).created
    assert not resend(town).created
    assert town.send() == ["sent"]
    assert (town.welcomed(), town.ask()) == (ONE * 2, ["welcomed"])


def test_cancelled_after_it_was_sent_again_it_stays_so(house: House, town: Welcoming) -> None:
    resend(town)
    with house.db.transaction() as session:
        row = notifications.by_id(session, house.row().notification_id, lock=True)
        assert row is not None
        assert notifications.cancel(row, house.clock())
    assert town.ask() == ["welcomed"]
    town.go_on(10 * SECOND)
    assert town.welcomed() == []
    resend(town)  # the person has thought better of it
    town.go_on(10 * SECOND)
    assert (town.welcomed(), town.ask()) == (ONE, ["welcomed"])


@pytest.mark.whole
def test_sent_again_while_the_business_observes_it_is_observed(
    house: House, town: Welcoming
) -> None:
    """Accepted by a person and sent again by another, it goes once."""
    town.change_business(observed=True)
    resend(town)
    town.go_on(10 * SECOND)
    assert (house.row().status, town.welcomed()) == (Status.OBSERVED, [])
    town.change_business(observed=False, live_since=house.clock())
    house.clock.forward(seconds=5)
    resend(town)
    with house.db.transaction() as session:
        observing.accept(session, [house.row().notification_id], house.clock())
    town.go_on(10 * SECOND)
    assert (town.welcomed(), len(house.rows())) == (ONE, 1)
    assert town.ask() == ["welcomed"]


@pytest.mark.whole
def test_sent_again_under_an_id_that_was_merged(house: House, town: Welcoming) -> None:
    """The customer had theirs under the id that they have now."""
    merge(town, "c1", into="c2")
    town.ask("c2")
    town.go_on(10 * SECOND)
    assert town.welcomed() == ["c2@example.com"]
    resend(town)
    town.go_on(10 * SECOND)
    assert town.welcomed() == ["c2@example.com"]
    assert welcome_of(house).reason == Reason.WELCOMED_BEFORE


@pytest.mark.whole
def test_sent_again_and_then_merged(house: House, town: Welcoming) -> None:
    """The other way round: what was sent again is found under the id that they have now."""
    resend(town)
    town.go_on(10 * SECOND)
    merge(town, "c1", into="c2")
    assert town.ask("c2") == ["queued"]
    town.go_on(10 * SECOND)
    assert town.welcomed() == ONE


@pytest.mark.whole
def test_merged_after_the_email_is_forgotten(house: House) -> None:
    """Notifications go after ninety days; that somebody had their turn does not."""
    town = Welcoming(house, 1)
    town.ask()
    town.go_on(4 * SECOND)
    with house.db.transaction() as session:
        session.delete(session.merge(house.row()))
    merge(town, "c1", into="c2")
    assert town.ask("c2") == ["queued"]
    town.go_on(10 * SECOND)
    assert town.welcomed() == ONE
    assert house.row().reason == Reason.WELCOMED_BEFORE
    assert town.ask("c2") == ["welcomed"]


@pytest.mark.whole
def test_merged_with_one_who_waits_and_whose_failed_email_is_forgotten(
    house: House, town: Welcoming
) -> None:
    """Who was asked for again and has not had their turn was told nothing."""
    town.add("c2")
    town.ask(per_hour=1)
    with house.db.transaction() as session:
        session.delete(session.merge(house.row()))
    (waiting,) = (row for row in town.rows() if row.customer_id == "c1")
    assert waiting.released_at is None
    merge(town, "c1", into="c2")
    town.go_on(3 * HOUR, MINUTE)
    assert town.welcomed() == ["c2@example.com"]
