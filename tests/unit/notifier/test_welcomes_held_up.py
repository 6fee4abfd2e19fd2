"""Welcomes that SendGrid does not take: few are spent on finding that out, and it goes on soon after it takes one."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from services.notifier.domain.sending import MaybeSent, Outcome, Refused, Unavailable
from services.notifier.domain.vocabulary import Status
from services.notifier.domain.welcomes import MOST_TRIES, Held, Pace
from services.notifier.ports import Mail
from tests.unit.notifier.conftest import House
from tests.unit.notifier.fakes import FakeMailer
from tests.unit.notifier.welcoming import Welcoming

pytestmark = pytest.mark.whole

SECOND, MINUTE, HOUR = (dt.timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours"))


class Stubborn(FakeMailer):
    """Answers everything so, until `outcome` is None."""

    outcome: Outcome | None = None

    def send(self, mail: Mail) -> Outcome:
        return self.outcome or super().send(mail)


@pytest.fixture
def house(house: House) -> House:
    house.mailer = Stubborn()
    return house


def a_town(house: House, outcome: Outcome | None, customers: int = 500) -> Welcoming:
    house.mailer.outcome = outcome  # type: ignore[attr-defined]
    return Welcoming(house, customers)


def set_right(house: House) -> None:
    house.mailer.outcome = None  # type: ignore[attr-defined]


@pytest.mark.parametrize("per_hour", [360, 7200])
def test_a_wrong_key_costs_a_handful(house: House, per_hour: int) -> None:
    """Then one a minute; with the right key it goes on at the rate by itself."""
    town = a_town(house, Refused("401 from SendGrid: bad key"))
    town.ask(per_hour=per_hour)
    town.go_on(10 * MINUTE, 5 * SECOND)
    failed = town.look().failed
    most = Pace(per_hour).most_under_way
    assert most <= failed <= most + 10
    run = town.look()
    assert (run.held, run.why) == (Held.REFUSED, "401 from SendGrid: bad key")
    assert run.sending == 0
    town.go_on(2 * HOUR, MINUTE)  # the first are long ago by then
    assert town.look().failed <= failed + 121
    set_right(house)
    town.go_on(90 * SECOND)
    assert town.look().held is None
    sent = town.go_on(MINUTE)
    assert abs(sent - per_hour // 60) <= 2


def test_three_time_outs_stop_nothing_for_a_quarter_of_an_hour(house: House) -> None:
    """The next try is taken, and the others follow."""
    town = a_town(house, None, 40)
    house.mailer.answers, house.mailer.hidden_arrive = [MaybeSent("no answer in time")] * 3, False
    town.ask(per_hour=360)
    town.go_on(40 * SECOND)
    run = town.look()
    assert (run.held, run.why, run.sent) == (Held.PROVIDER, "no answer in time", 0)
    assert town.go_on(MINUTE) >= 1
    assert town.look().held is None
    assert 29 <= town.go_on(5 * MINUTE) <= 31


def test_a_sendgrid_that_is_away_for_hours_is_sent_few_afterwards(house: House) -> None:
    """Those that are put off are tries themselves."""
    town = a_town(house, Unavailable("503 from SendGrid"))
    town.ask(per_hour=360)
    town.go_on(3 * HOUR, MINUTE)
    run = town.look()
    assert (run.held, run.why, run.failed) == (Held.PROVIDER, "503 from SendGrid", 0)
    assert len(house.rows()) == Pace(360).most_under_way + MOST_TRIES
    set_right(house)
    town.go_on(16 * MINUTE, 10 * SECOND)
    assert town.look().held is None
    assert 29 <= town.go_on(5 * MINUTE) <= 31


def test_a_slow_rate_is_not_overtaken_by_its_tries(house: House) -> None:
    town = a_town(house, Refused("401 from SendGrid"))
    town.ask(per_hour=4)
    town.go_on(5 * HOUR, MINUTE)
    assert town.look().failed <= 21
    set_right(house)
    assert 3 <= town.go_on(HOUR, MINUTE) <= 5


def test_one_that_is_refused_among_others_holds_nothing(house: House) -> None:
    """An address that SendGrid takes for none."""
    town = a_town(house, None, 200)
    bad: list[Any] = [Refused("400 from SendGrid"), MaybeSent("no answer in time")] * 20
    original = house.mailer.send

    def every_second(mail: Mail) -> Outcome:
        every_second.number += 1  # type: ignore[attr-defined]
        if every_second.number % 2 and bad:  # type: ignore[attr-defined]
            return bad.pop()  # type: ignore[no-any-return]
        return original(mail)

    every_second.number = 0  # type: ignore[attr-defined]
    house.mailer.send = every_second  # type: ignore[method-assign]
    town.ask(per_hour=360)
    town.go_on(10 * MINUTE)
    assert len(house.rows()) >= 59
    assert sum(row.status == Status.FAILED for row in house.rows()) == 20 - sum(
        isinstance(one, Refused) for one in bad
    )
