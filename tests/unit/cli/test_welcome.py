"""`portico customers welcome`: shown, asked, queued page by page; looked at; stopped."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from portico.cli.rpc import Fault, Unavailable
from portico.commands.welcome import WORDS
from portico.commands.welcome_status import HELD, Quiet
from services.notifier.domain.welcomes import Held
from shared.contracts.rpc import welcomes
from shared.contracts.rpc.portal import ReminderPolicy
from tests.unit.cli.conftest import FakeServices, Run

COMMAND = ("customers", "welcome", "--business", "sunrise")
MANY = 1003


NOBODY: dict[str, Any] = {
    "business_id": "sunrise",
    "per_hour": None,
    "asked_at": None,
    "waiting": 0,
    "sending": 0,
    "sent": 0,
    "delivered": 0,
    "bounced": 0,
    "observed": 0,
    "suppressed": 0,
    "failed": 0,
    "earlier": 0,
    "taken_off": 0,
    "held": None,
    "due_at": None,
    "done_at": None,
}
RUN = NOBODY | {
    "per_hour": 60,
    "asked_at": "2026-11-30T09:00:00Z",
    "waiting": 1200,
    "sent": 40,
    "delivered": 38,
    "bounced": 2,
    "held": "quiet_hours",
    "why": None,
    "due_at": "2026-11-30T10:00:00Z",
    "done_at": "2026-12-01T06:00:00Z",
}
"""Asked for, and not at an end."""


@pytest.fixture
def queue(services: FakeServices) -> dict[str, str]:
    """A business with three pages of customers, and what the notifier knows of each: `queued` until it was asked for."""
    known = {f"id-{number}": welcomes.QUEUED for number in range(1, MANY + 1)}
    known["id-2"], known["id-3"], known["id-4"] = "welcomed", "no_address", "suppressed"

    def page(after: int, limit: int, **_: Any) -> Any:
        assert limit <= 1000
        numbers = range(after + 1, min(after + 500, MANY) + 1)
        return {
            "customers": [
                {
                    "external_id": f"c{number}",
                    "name": f"Name {number}",
                    "email": f"person{number}@example.com",
                    "locale": "de" if number % 2 else None,
                    "timezone": None,
                    "customer_id": f"id-{number}",
                }
                for number in numbers
            ],
            "next": numbers[-1] if len(numbers) == 500 else None,
            "total": MANY if after == 0 else None,
        }

    def asked(recipients: list[dict[str, Any]], *, dry_run: bool, **_: Any) -> Any:
        outcomes = [known[one["customer_id"]] for one in recipients]
        if not dry_run:
            for one in recipients:
                if known[one["customer_id"]] == welcomes.QUEUED:
                    known[one["customer_id"]] = welcomes.WAITING
        return {"outcomes": outcomes}

    services.answers["portal", "businesses_modes"] = [
        {
            "business_id": "sunrise",
            "name": "Sunrise [bold]Cleaning",
            "mode": "live",
            "live_since": None,
            "observed": False,
            "installation_observes": False,
        }
    ]
    services.answers["portal", "business_contact"] = {
        "business": {
            "locale": "fr",
            "timezone": "America/Los_Angeles",
            "reminder_policy": {"quiet_from": "21:00", "quiet_until": "08:00"},
        }
    }
    services.answers["portal", "export_customers"] = page
    services.answers["notifier", "welcomes"] = NOBODY
    services.answers["notifier", "queue_welcomes"] = asked
    return known


@pytest.fixture
def by_night(services: FakeServices, queue: dict[str, str]) -> None:
    """The business has no quiet hours."""
    services.answers["portal", "business_contact"] = {"business": {"reminder_policy": None}}


def waiting(known: dict[str, str]) -> int:
    return sum(one == welcomes.WAITING for one in known.values())


@pytest.mark.whole
def test_it_shows_who_and_asks(queue: dict[str, str], run: Run) -> None:
    """How many, who is left out, the languages with their subjects, the first with masked addresses, how long it takes."""
    done = run(*COMMAND, "--rate", "100", input="n\n")
    assert done.exit_code == 1
    assert waiting(queue) == 0
    shown = " ".join(done.stdout.split())
    assert "Sunrise [bold]Cleaning: 1,003 customers" in shown
    assert "1,000 to be welcomed" in shown
    assert "1 welcomed already" in shown
    assert "1 without an email address" in shown
    assert "1 whose address bounced" in shown
    assert "de 501 Ihre persönliche Kundenseite" in shown
    assert "fr 499 V" in shown
    assert "portico mail preview welcome --locale de" in shown
    assert "c1 p•••@e•••.com" in shown
    assert "person1@" not in done.output
    assert "1,000 emails, 100 an hour: 10.0 h, and what quiet hours add." in shown
    assert "portico mail preview welcome" in shown
    assert (
        "Quiet hours: none goes out from 21:00 to 08:00, by the business's clock (America/Los_Angeles) and by the customer's."
        in shown
    )
    question = "Welcome 1,000 customers of Sunrise [bold]Cleaning, 100 an hour, but not from 21:00 to 08:00?"
    assert question in done.stderr
    assert "night" not in done.output


@pytest.mark.whole
@pytest.mark.usefixtures("by_night")
def test_a_business_without_quiet_hours_is_told_so(run: Run) -> None:
    """With what to do: in the preview, in the question, after the yes, and as JSON."""
    night = "This business has no quiet hours: emails also go out at night. To set them: quiet_from and quiet_until in the reminder_policy of upsert_business."
    told = json.loads(run(*COMMAND, "--preview", "--json").stdout)
    assert told["quiet_hours"] is None
    shown = run(*COMMAND, input="n\n")
    assert night in " ".join(shown.stdout.split())
    assert "1,000 emails, 500 an hour: 2.0 h." in shown.stdout
    assert "500 an hour, also at night?" in shown.stderr
    done = run(*COMMAND, "--yes")
    assert night in done.stdout
    assert "what quiet hours add" not in shown.output + done.output


@pytest.mark.whole
def test_json_is_one_document_whatever_is_asked(queue: dict[str, str], run: Run) -> None:
    """Who it would be, and the question, are on standard error; where nobody is left there is a document as well."""
    done = run(*COMMAND, "--json", input="y\n")
    assert (done.exit_code, waiting(queue)) == (0, 1000)
    assert "1,000 to be welcomed" in " ".join(done.stderr.split())
    assert "500 an hour" in done.stderr
    assert json.loads(done.stdout)["outcomes"]["queued"] == 1000
    queue.update(dict.fromkeys(queue, "welcomed"))
    nobody = run(*COMMAND, "--json")
    assert (nobody.exit_code, json.loads(nobody.stdout)["outcomes"]["welcomed"]) == (0, MANY)


@pytest.mark.whole
def test_a_yes_puts_them_into_the_queue(
    queue: dict[str, str], services: FakeServices, run: Run
) -> None:
    """All pages, at the rate, with address and zone; nothing is asked with --yes."""
    done = run(*COMMAND, "--rate", "100", input="y\n")
    assert done.exit_code == 0, done.output
    assert waiting(queue) == 1000
    assert "1,000 customers added to the queue, 1,000 in it" in done.stdout
    asked = [given for _, method, given in services.asked if method == "queue_welcomes"]
    assert [one["dry_run"] for one in asked] == [True] * 3 + [False] * 3
    assert {one["per_hour"] for one in asked} == {100}
    assert asked[0]["recipients"][0] == {
        "customer_id": "id-1",
        "email": "person1@example.com",
        "timezone": None,
    }
    again = run(*COMMAND, "--yes")
    assert again.exit_code == 0
    assert "0 customers added to the queue, 1,000 in it" in again.stdout


def test_cut_off_it_goes_on(queue: dict[str, str], services: FakeServices, run: Run) -> None:
    """What was asked for stays so; the same command asks for the rest."""
    answer = services.answers["notifier", "queue_welcomes"]
    calls = []

    def dies(**given: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise Unavailable("notifier.queue_welcomes: no answer")
        return answer(**given)

    services.answers["notifier", "queue_welcomes"] = dies
    assert run(*COMMAND, "--yes").exit_code == 3
    assert waiting(queue) == 497
    services.answers["notifier", "queue_welcomes"] = answer
    done = run(*COMMAND, "--yes")
    assert done.exit_code == 0
    assert waiting(queue) == 1000
    assert "503 customers added to the queue, 1,000 in it" in done.stdout


@pytest.mark.whole
def test_a_preview_asks_for_nobody(queue: dict[str, str], run: Run) -> None:
    """Neither a person nor a customer; as JSON with masked addresses."""
    assert run(*COMMAND, "--preview").exit_code == 0
    told = json.loads(run(*COMMAND, "--preview", "--json").stdout)
    assert waiting(queue) == 0
    assert told["customers"] == MANY
    assert told["outcomes"] == {
        "queued": 1000,
        "waiting": 0,
        "welcomed": 1,
        "no_address": 1,
        "suppressed": 1,
    }
    assert told["languages"] == {"de": 501, "fr": 499}
    assert told["first"][0] == {"external_id": "c1", "email": "p•••@e•••.com", "locale": "de"}
    assert (told["per_hour"], told["seconds"], told["observed"]) == (500, 7200, False)
    assert told["quiet_hours"] == {
        "quiet_from": "21:00",
        "quiet_until": "08:00",
        "timezone": "America/Los_Angeles",
    }


def test_nobody_is_left(queue: dict[str, str], run: Run) -> None:
    """Then nothing is asked."""
    queue.update(dict.fromkeys(queue, "welcomed"))
    done = run(*COMMAND)
    assert done.exit_code == 0
    assert "Nobody is to be welcomed." in done.stdout
    assert "Nobody is to be welcomed." in run(*COMMAND, "--yes").stdout


@pytest.mark.whole
@pytest.mark.parametrize("whole", [False, True])
def test_a_business_that_observes(
    queue: dict[str, str], services: FakeServices, run: Run, whole: bool
) -> None:
    """Nobody is asked for, and it is said what to do; the preview is shown all the same."""
    services.answers["portal", "businesses_modes"][0] |= {
        "observed": True,
        "installation_observes": whole,
    }
    done = run(*COMMAND, "--yes")
    assert done.exit_code == 1
    word = "MODE=observe" if whole else "portico go-live --business sunrise"
    assert word in done.stderr
    assert waiting(queue) == 0
    shown = run(*COMMAND, "--preview")
    assert shown.exit_code == 0
    assert word in " ".join(shown.stdout.split())


def test_one_that_observes_since_a_moment(
    queue: dict[str, str], services: FakeServices, run: Run
) -> None:
    """The notifier's refusal is told as it is."""

    def refuse(**_: Any) -> Any:
        raise Fault("StillObserved", "the business sunrise still observes: let it go live first")

    services.answers["notifier", "queue_welcomes"] = refuse
    done = run(*COMMAND, "--yes")
    assert done.exit_code == 1
    assert "still observes" in done.stderr


@pytest.mark.usefixtures("queue")
def test_how_it_stands(services: FakeServices, run: Run) -> None:
    """The counts that are not zero, why it is held, and when it is done."""
    services.answers["notifier", "welcomes"] = RUN
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert "1,200 waiting 40 sent 38 of them delivered 2 bounced Held: quiet hours " in shown
    assert "60 an hour; what they hold is not made up for. Quiet hours: none" in shown
    assert "the next" not in shown
    services.answers["notifier", "welcomes"] = RUN | {"held": "portal_unavailable"}
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert "60 an hour; looked at again 2026-11-30 10:00:00 (UTC). Quiet hours: none" in shown
    services.answers["notifier", "welcomes"] = RUN | {"held": None}
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert "Held" not in shown
    assert (
        "the next 2026-11-30 10:00:00, the last 2026-12-01 06:00:00 (UTC), and what quiet hours add."
        in shown
    )
    services.answers["notifier", "welcomes"] = RUN
    assert json.loads(run(*COMMAND, "--status", "--json").stdout) == RUN


@pytest.mark.parametrize(
    ("hour", "until"),
    [
        (2, "until 08:00 by the business's clock (America/New_York)"),
        (12, None),
        (13, None),
        (23, "until 08:00 by the business's clock (America/New_York)"),
    ],
)
def test_until_when_quiet_hours_last(hour: int, until: str | None) -> None:
    """On the business's own clock; by day there it is its customers who sleep."""
    quiet = Quiet(ReminderPolicy(quiet_from="21:00", quiet_until="08:00"), "America/New_York")
    now = dt.datetime(2026, 11, 30, hour, 30, tzinfo=ZoneInfo("America/New_York"))
    assert quiet.last_until(now) == until
    assert Quiet(ReminderPolicy(), "America/New_York").last_until(now) is None


@pytest.mark.usefixtures("queue")
def test_how_it_stands_after_it_was_stopped(services: FakeServices, run: Run) -> None:
    """How many were taken off, and that they can be asked for again."""
    services.answers["notifier", "welcomes"] = RUN | {"waiting": 0, "held": None, "taken_off": 1160}
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert "0 waiting 40 sent 38 of them delivered 2 bounced 1,160 taken off the queue" in shown
    assert "asked for again: portico customers welcome --business sunrise" in shown


@pytest.mark.usefixtures("by_night")
def test_how_it_stands_without_quiet_hours(services: FakeServices, run: Run) -> None:
    services.answers["notifier", "welcomes"] = RUN | {"held": None}
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert "(UTC). This business has no quiet hours" in shown
    services.answers["notifier", "welcomes"] = RUN
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert "Held: quiet hours that the business had when it was last looked at" in shown


@pytest.mark.usefixtures("queue")
@pytest.mark.parametrize("held", ["observing", "quiet_hours", None])
def test_who_was_asked_for_before_the_line_is_promised_nothing(
    services: FakeServices, run: Run, held: str | None
) -> None:
    """The business has gone live, and the notifier has not looked since."""
    services.answers["notifier", "welcomes"] = RUN | {"held": held}
    services.answers["portal", "businesses_modes"][0]["live_since"] = "2026-11-30T09:30:00Z"
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert "Held: the business has gone live since, which takes those who wait off" in shown
    assert "the next" not in shown
    assert "observed" not in shown


@pytest.mark.whole
def test_without_a_rate_it_stays_as_it_is(
    queue: dict[str, str], services: FakeServices, run: Run
) -> None:
    """In the preview as well; the first time it is 500."""
    assert json.loads(run(*COMMAND, "--preview", "--json").stdout)["per_hour"] == 500
    services.answers["notifier", "welcomes"] = RUN
    assert json.loads(run(*COMMAND, "--preview", "--json").stdout)["per_hour"] == 60
    assert run(*COMMAND, "--yes").exit_code == 0
    assert services.asked[-1][2]["per_hour"] == 60
    assert run(*COMMAND, "--yes", "--rate", "90").exit_code == 0
    assert services.asked[-1][2]["per_hour"] == 90
    assert "Welcome the 1,000 who wait of Sunrise" in run(*COMMAND, input="n\n").stderr


@pytest.mark.parametrize(
    ("observed", "whole", "held", "words"),
    [
        (True, False, "observing", "Cleaning observes, and nobody is welcomed before it is live"),
        (True, False, None, "portico go-live --business sunrise; going live takes those who"),
        (True, True, "observing", "the whole installation observes (MODE=observe)"),
        (False, False, "observing", "the business observed when it was last looked at"),
    ],
)
@pytest.mark.usefixtures("queue")
def test_how_it_stands_while_it_observes(
    services: FakeServices, run: Run, observed: bool, whole: bool, held: str | None, words: str
) -> None:
    """What holds it, that going live takes who wait off the queue, and no dates that won't be kept."""
    services.answers["notifier", "welcomes"] = RUN | {"held": held}
    services.answers["portal", "businesses_modes"][0] |= {
        "observed": observed,
        "installation_observes": whole,
    }
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert words in shown
    assert "takes those who wait off the queue: ask for them again then." in shown
    assert ("go-live --business" in shown) == (observed and not whole)
    assert "the next" not in shown


def test_stopping(queue: dict[str, str], services: FakeServices, run: Run) -> None:
    services.answers["notifier", "stop_welcomes"] = {"stopped": 0, "sending": 0}
    assert "Nobody waited in the queue." in run(*COMMAND, "--stop").stdout
    services.answers["notifier", "stop_welcomes"] = {"stopped": 12, "sending": 2}
    assert "2 emails begun already" in run(*COMMAND, "--stop").stdout
    assert "12 customers taken off the queue" in run(*COMMAND, "--stop").stdout
    assert json.loads(run(*COMMAND, "--stop", "--json").stdout) == {"stopped": 12, "sending": 2}


@pytest.mark.parametrize("rate", ["0", "100001", "fast"])
def test_a_rate_out_of_range(queue: dict[str, str], run: Run, rate: str) -> None:
    done = run(*COMMAND, "--rate", rate)
    assert done.exit_code == 2
    assert "--rate" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--preview", "--status"), "exclude each other"),
        (("--status", "--rate", "5"), "leave --rate out"),
        (("--stop", "--rate", "5"), "leave --rate out"),
        (("--preview", "--yes"), "leave --yes out"),
        (("--status", "--yes"), "leave --yes out"),
    ],
)
def test_what_excludes_each_other(
    queue: dict[str, str], services: FakeServices, run: Run, words: tuple[str, ...], told: str
) -> None:
    done = run(*COMMAND, *words)
    assert (done.exit_code, services.asked) == (2, [])
    assert told in done.stderr


def test_every_word_of_the_notifier_is_told() -> None:
    """None is shown as it crosses the wire."""
    assert set(WORDS) == set(welcomes.OUTCOMES)
    assert set(HELD) == set(welcomes.HELD) == {one.value for one in Held}
