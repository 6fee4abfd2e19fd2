"""`portico customers welcome`: shown, asked, queued page by page; looked at; stopped."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portico.cli.rpc import Fault, Unavailable
from portico.commands.welcome import HELD, WORDS
from services.notifier.domain.welcomes import Held
from shared.contracts.rpc import welcomes
from tests.unit.cli.conftest import FakeServices, Run

COMMAND = ("customers", "welcome", "--business", "sunrise")
MANY = 1003


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
    services.answers["portal", "export_customers"] = page
    services.answers["notifier", "queue_welcomes"] = asked
    return known


def waiting(known: dict[str, str]) -> int:
    return sum(one == welcomes.WAITING for one in known.values())


def test_it_shows_who_and_asks(queue: dict[str, str], run: Run) -> None:
    """How many, who is left out, the languages with their subjects, the first with masked addresses, how long it takes."""
    done = run(*COMMAND, "--rate", "100", input="n\n")
    assert done.exit_code == 1
    assert waiting(queue) == 0
    shown = " ".join(done.stdout.split())
    assert "Sunrise [bold]Cleaning: 1,003 customers" in shown
    assert "1,000 to be welcomed" in shown
    assert "1 had their turn before" in shown
    assert "1 without an email address" in shown
    assert "1 whose address bounced" in shown
    assert "de 501 Ihre persönliche Kundenseite" in shown
    assert "c1 p•••@e•••.com" in shown
    assert "person1@" not in done.output
    assert "1,000 emails, 100 an hour: 10.0 h, and what quiet hours add." in shown
    assert "portico mail preview welcome" in shown
    assert "Welcome 1,000 customers of Sunrise [bold]Cleaning, 100 an hour?" in done.output


def test_a_yes_puts_them_into_the_queue(
    queue: dict[str, str], services: FakeServices, run: Run
) -> None:
    """All pages, at the rate, with address and zone; nothing is asked with --yes."""
    done = run(*COMMAND, "--rate", "100", input="y\n")
    assert done.exit_code == 0, done.output
    assert waiting(queue) == 1000
    assert "1,000 customers asked for, 1,000 in the queue" in done.stdout
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
    assert "0 customers asked for, 1,000 in the queue" in again.stdout


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
    assert "503 customers asked for, 1,000 in the queue" in done.stdout


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
    assert told["languages"] == {"de": 501, "business": 499}
    assert told["first"][0] == {"external_id": "c1", "email": "p•••@e•••.com", "locale": "de"}
    assert (told["per_hour"], told["seconds"], told["observed"]) == (500, 7200, False)


def test_nobody_is_left(queue: dict[str, str], run: Run) -> None:
    """Then nothing is asked."""
    queue.update(dict.fromkeys(queue, "welcomed"))
    done = run(*COMMAND)
    assert done.exit_code == 0
    assert "Nobody is to be welcomed." in done.stdout
    assert "Nobody is to be welcomed." in run(*COMMAND, "--yes").stdout


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


def test_how_it_stands(queue: dict[str, str], services: FakeServices, run: Run) -> None:
    """The counts that are not zero, why it is held, and when it is done."""
    run_of = {
        "business_id": "sunrise",
        "per_hour": 60,
        "asked_at": "2026-11-30T09:00:00Z",
        "waiting": 1200,
        "sending": 0,
        "sent": 40,
        "delivered": 38,
        "bounced": 2,
        "observed": 0,
        "suppressed": 0,
        "failed": 0,
        "earlier": 0,
        "held": "observing",
        "due_at": "2026-11-30T10:00:00Z",
        "done_at": "2026-12-01T06:00:00Z",
    }
    services.answers["notifier", "welcomes"] = run_of
    shown = " ".join(run(*COMMAND, "--status").stdout.split())
    assert "1,200 waiting 40 sent 38 of them delivered 2 bounced Held" in shown
    assert "Held: the business observes: portico go-live --business sunrise." in shown
    assert "the next 2026-11-30 10:00:00, the last 2026-12-01 06:00:00 (UTC)" in shown
    assert json.loads(run(*COMMAND, "--status", "--json").stdout) == run_of


def test_stopping(queue: dict[str, str], services: FakeServices, run: Run) -> None:
    services.answers["notifier", "stop_welcomes"] = {"stopped": 12}
    assert "12 customers taken off the queue" in run(*COMMAND, "--stop").stdout
    assert json.loads(run(*COMMAND, "--stop", "--json").stdout) == {"stopped": 12}


@pytest.mark.parametrize("rate", ["0", "100001", "fast"])
def test_a_rate_out_of_range(queue: dict[str, str], run: Run, rate: str) -> None:
    done = run(*COMMAND, "--rate", rate)
    assert done.exit_code == 2
    assert "--rate" in done.stderr


def test_what_excludes_each_other(queue: dict[str, str], run: Run) -> None:
    done = run(*COMMAND, "--preview", "--status")
    assert done.exit_code == 2
    assert "exclude each other" in done.stderr


def test_every_word_of_the_notifier_is_told() -> None:
    """None is shown as it crosses the wire."""
    assert set(WORDS) == set(welcomes.OUTCOMES)
    assert set(HELD) == set(welcomes.HELD) == {one.value for one in Held}
