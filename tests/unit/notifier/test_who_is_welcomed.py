"""Who is welcomed, and who is not: merged, erased, without an address; and whoever got none the first time."""

from __future__ import annotations

import datetime as dt

import pytest

from services.notifier.domain.reminders import QuietHours, ReminderPolicy
from services.notifier.domain.sending import MaybeSent, Refused
from services.notifier.domain.vocabulary import Reason, Status
from services.notifier.handlers import requests as asking
from services.notifier.queries import erasure, notifications, suppressions
from services.notifier.workflows import welcomes as welcoming
from shared.contracts.accounts import OWN, StripeCustomer
from tests.unit.notifier.conftest import House, failed
from tests.unit.notifier.fakes import START
from tests.unit.notifier.welcoming import SUNRISE, Welcoming

SECOND, MINUTE = (dt.timedelta(**{unit: 1}) for unit in ("seconds", "minutes"))


@pytest.mark.whole
def test_who_is_erased_is_in_no_queue(house: House) -> None:
    """Neither who waits nor who was welcomed leaves anything."""
    town = Welcoming(house, 2)
    town.ask(per_hour=60)
    town.go_on(2 * SECOND)
    with house.db.transaction() as session:
        gone = [erasure.erase_customer(session, None, id) for id in ("c1", "c2")]
    assert gone == [2, 1]
    assert (town.rows(), house.rows()) == ([], [])
    assert town.go_on(10 * MINUTE) == 0


def merge(town: Welcoming, old: str, into: str) -> None:
    """A customer who was enrolled is claimed by the host as another one of theirs."""
    contact = town.add(into, merged_ids=(old,))
    town.house.portal.people[old] = contact


@pytest.mark.whole
def test_who_was_just_asked_for_money_is_welcomed_a_day_later(house: House) -> None:
    """The email about the payment goes at once, and no hello on its heels; others are welcomed meanwhile, at the rate."""
    town = Welcoming(house, 8)
    owes = town.add("c1", stripe_customer=StripeCustomer(OWN, "cus_1"))
    house.portal.people["cus_1"] = owes
    town.ask(per_hour=3600)
    house.hear(failed())
    assert house.work() == ["sent"]
    assert town.go_on(MINUTE) == 7
    assert "c1@example.com" not in town.welcomed()
    (held,) = (row for row in house.rows() if row.status == Status.PENDING)
    assert (held.customer_id, held.reason) == ("c1", Reason.WAITS_AFTER_FAILURE)
    assert town.look().sending == 1
    house.clock.forward(hours=23, minutes=58)
    assert town.go_on(4 * MINUTE) == 1
    assert town.welcomed()[-1] == "c1@example.com"


def test_who_was_asked_for_money_can_be_told_by_a_person_at_once(house: House) -> None:
    """A welcome that a person sends a second time waits for nothing but the night."""
    town = Welcoming(house)
    owes = town.add("c1", stripe_customer=StripeCustomer(OWN, "cus_1"))
    house.portal.people["cus_1"] = owes
    town.ask()
    town.go_on(4 * SECOND)
    house.hear(failed())
    assert house.work() == ["sent"]
    with house.db.transaction() as session:
        (welcome,) = (row for row in house.rows() if row.kind == "welcome")
        asking.resend(session, welcome.notification_id, house.clock())
    assert town.send() == ["sent"]


@pytest.mark.whole
@pytest.mark.parametrize("first", ["c1", "c2"])
def test_two_who_became_one_get_one(house: House, first: str) -> None:
    """Whichever of their ids has its turn first, while both wait."""
    town = Welcoming(house, 2)
    town.ask(*sorted(["c1", "c2"], key=lambda id: id != first))
    merge(town, "c1", into="c2")
    town.go_on(10 * SECOND)
    assert town.welcomed() == ["c2@example.com"]
    assert sorted(row.status for row in house.rows()) == [Status.SENT, Status.SUPPRESSED]
    (other,) = (row for row in house.rows() if row.status == Status.SUPPRESSED)
    assert other.reason == Reason.WELCOMED_BEFORE
    assert town.ask("c2") == ["welcomed"]


@pytest.mark.whole
def test_who_was_welcomed_under_another_id_is_not_again(house: House) -> None:
    """They were merged between the two wishes."""
    town = Welcoming(house, 1)
    town.ask()
    town.go_on(4 * SECOND)
    merge(town, "c1", into="c2")
    assert town.ask("c2") == ["queued"]  # whom the notifier knows by the other id alone
    town.go_on(10 * SECOND)
    assert town.welcomed() == ["c1@example.com"]
    assert town.ask("c2") == ["welcomed"]


def test_both_in_one_transaction(house: House) -> None:
    """Emails that are posted together are looked at one after the other, too."""
    town = Welcoming(house, 2)
    town.ask()
    house.clock.forward(seconds=2)
    assert town.release() == 2
    merge(town, "c1", into="c2")
    assert town.send() == ["sent", "suppressed"]


@pytest.mark.whole
@pytest.mark.parametrize(
    ("changes", "again"),
    [
        ({"email": None}, "queued"),
        ({"disconnected": True}, "queued"),
    ],
)
def test_who_got_none_can_be_asked_for_again(
    house: House, changes: dict[str, object], again: str
) -> None:
    """What stood against it has passed: the same email goes, and there is one."""
    town = Welcoming(house, 1)
    town.ask()
    town.add("c1", **changes)
    assert town.go_on(4 * SECOND) == 0
    assert town.look().suppressed == 1
    town.add("c1")
    assert town.ask() == [again]
    town.go_on(10 * SECOND)
    assert town.welcomed() == ["c1@example.com"]
    assert house.row().status == Status.SENT
    assert town.ask() == ["welcomed"]


def test_one_that_a_person_cancelled_stays_so(house: House) -> None:
    town = Welcoming(house, 1)
    town.ask()
    house.clock.forward(seconds=2)
    town.release()
    with house.db.transaction() as session:
        row = notifications.by_id(session, house.row().notification_id, lock=True)
        assert row is not None
        assert notifications.cancel(row, house.clock())
    assert town.ask() == ["welcomed"]


@pytest.mark.whole
def test_an_address_that_bounced_meanwhile_gets_none(house: House) -> None:
    town = Welcoming(house, 1)
    town.ask()
    with house.db.transaction() as session:
        address = house.hasher("c1@example.com")
        suppressions.suppress_address(session, address, Reason.ADDRESS_BOUNCED, START, None)
    town.go_on(4 * SECOND)
    assert town.welcomed() == []
    assert town.look().suppressed == 1
    assert town.ask() == ["suppressed"]
    town.add("c1", email="new@example.com")
    assert town.ask() == ["queued"]
    town.go_on(10 * SECOND)
    assert town.welcomed() == ["new@example.com"]


@pytest.mark.whole
def test_sending_all_again_that_failed_leaves_them_to_their_queue(house: House) -> None:
    """That knows no rate and no night; asked for again, they go at their own."""
    town = Welcoming(house, 1)
    house.mailer.answers = [Refused("400")]
    town.ask()
    town.go_on(4 * SECOND)
    assert house.row().status == Status.FAILED
    with house.db.transaction() as session:
        again = asking.resend_failed(
            session, house.clock(), failed_since=START, invoice=None, limit=10
        )
    assert again.notifications == []
    assert town.ask() == ["queued"]
    town.go_on(4 * SECOND)
    assert town.welcomed() == ["c1@example.com"]


def test_posted_again_it_waits_for_the_morning(house: House) -> None:
    """SendGrid did not say whether it took the first; by then it is night with the customer."""
    town = Welcoming(house, 1)
    house.mailer.answers, house.mailer.hidden_arrive = [MaybeSent("no answer in time")], False
    town.ask()
    town.go_on(4 * SECOND)
    night = ReminderPolicy(quiet_hours=QuietHours(dt.time(6), dt.time(8)))  # it is past seven
    town.change_business(reminders=night)
    house.clock.moment += 20 * MINUTE
    assert town.send() == ["held"]
    row = house.row()
    assert (row.reason, row.unconfirmed_posts) == (Reason.WAITS_FOR_MORNING, 1)
    assert row.unconfirmed_since is not None
    house.clock.moment += 40 * MINUTE
    assert town.send() == ["sent"]
    assert town.welcomed() == ["c1@example.com"]


def test_named_twice_in_one_call(house: House) -> None:
    """They are asked for once, and answered so."""
    town = Welcoming(house, 2)
    expected = ["queued", "queued", "waiting"]
    assert town.plan("c1", "c2", "c1") == expected
    assert town.ask("c1", "c2", "c1") == expected
    assert len(town.rows()) == 2


@pytest.mark.whole
def test_erased_between_the_list_and_the_wish_nothing_is_left(house: House) -> None:
    """The wish comes after the erasure; nobody would ever take its row away."""
    town = Welcoming(house, 2)
    wish = town.recipients(["c1", "c2"])
    del house.portal.people["c1"]
    with house.db.transaction() as session:
        erasure.erase_customer(session, None, "c1")
    welcoming.queue(town.desk, SUNRISE, wish, 36_000)
    town.go_on(8 * MINUTE)
    assert town.welcomed() == ["c2@example.com"]
    assert [row.customer_id for row in town.rows()] == ["c2"]
    town.add("c1")  # the portal was only late with them
    assert town.ask() == ["welcomed", "queued"]
    town.go_on(MINUTE)
    assert sorted(town.welcomed()) == ["c1@example.com", "c2@example.com"]
