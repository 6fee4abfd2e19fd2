"""`portico explain`: where an invoice stands, and its story in the order in which it happened."""

from __future__ import annotations

import datetime as dt
import json
import random
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest

from portico.commands.explain import Story, add_dead_letters, in_order
from portico.standing import headline
from shared.contracts.rpc.base import TimelineStep
from shared.contracts.rpc.portal import InvoiceStanding
from shared.messaging.deadletters import DeadLetter, DeadLetters
from tests.unit.cli.conftest import FakeServices, Run

NOW = dt.datetime(2026, 11, 29, 9, 0, tzinfo=dt.UTC)


def standing(**changes: Any) -> dict[str, Any]:
    found = {
        "invoice_id": "in_1",
        "number": "SUN-0042",
        "status": "open",
        "currency": "usd",
        "due": 14900,
        "remaining": 14900,
        "paid": 0,
        "forgiven": 0,
        "attempt_count": 1,
        "stopped": None,
        "needs_confirmation": False,
        "retry": "scheduled",
        "next_charge": "2026-12-02T07:00:00Z",
    }
    return found | changes


def step(name: str, at: str, **more: Any) -> dict[str, Any]:
    moment = f"2026-11-29T{at}+00:00"
    return {"at": moment, "service": "notifier", "step": name, "text": name, **more}


def mail(name: str, at: str) -> dict[str, Any]:
    return step(name, at, notification_id="ntf_1", object_id="in_1")


def said(standing: dict[str, Any], steps: list[dict[str, Any]], now: dt.datetime) -> str:
    """The line, of what came over the wire."""
    return headline(msgspec.convert(standing, InvoiceStanding), read(steps), now)


def read(steps: Iterable[dict[str, Any]]) -> list[TimelineStep]:
    return msgspec.convert(list(steps), list[TimelineStep])


MAILED = [mail("notified", "07:03:00.5"), mail("sent", "07:03:59.2"), mail("delivered", "07:04:01")]


@pytest.mark.parametrize(
    ("changes", "steps", "line"),
    [
        ({}, MAILED, "Open: $149.00, 1 try, mail delivered 07:04, next try Dec 2"),
        (
            {"attempt_count": 3, "next_charge": None, "retry": "waits_for_method"},
            MAILED[:2],
            "Open: $149.00, mail accepted by SendGrid 07:03, no further try before there is a new payment method",
        ),
        (
            {"stopped": "subscription_ended", "next_charge": None, "retry": "over"},
            [mail("suppressed", "07:03:00")],
            "Open: $149.00, 1 try, no mail, collected no more: the subscription was ended",
        ),
        (
            {"status": "paid", "remaining": 0, "paid": 10000, "forgiven": 4900},
            [],
            "Paid: $100.00, $49.00 forgiven, 1 try",
        ),
        (
            {"status": "paid", "remaining": 0, "forgiven": 14900, "next_charge": None},
            [],
            "Forgiven: $149.00, 1 try",
        ),
        ({"status": "void", "remaining": 0, "next_charge": None}, [], "Void: $149.00, 1 try"),
        (
            {"under_way": True, "next_charge": None, "retry": "over"},
            [],
            "Open: $149.00, 1 try, a payment is under way",
        ),
        (
            {"currency": "isk", "attempt_count": 0, "next_charge": None, "retry": "unknown"},
            [],
            "Open: ISK\xa0149, no next try known",
        ),
    ],
)
def test_where_it_stands_is_one_line(
    changes: dict[str, Any], steps: list[dict[str, Any]], line: str
) -> None:
    """What is due or was paid or forgiven, tries, the newest email, what comes next: as money and dates are written."""
    assert said(standing(**changes), steps, NOW) == line


def test_another_day_and_year_are_named() -> None:
    """Only today's times stand alone."""
    later = dt.datetime(2027, 1, 3, tzinfo=dt.UTC)
    shown = said(standing(next_charge="2027-01-05T07:00:00Z"), MAILED, later)
    assert shown == "Open: $149.00, 1 try, mail delivered Nov 29, 2026, 07:04, next try Jan 5"


STORY = [
    step("received", "07:03:58.210"),
    step("failed", "07:03:58"),  # Stripe's clock: whole seconds
    step("queued", "07:03:58.210"),
    step("published", "07:03:58.240"),
    step("decided", "07:03:58.300"),
    step("notified", "07:03:58.300"),
    step("sent", "07:04:01.700"),
    step("delivered", "07:04:01"),  # SendGrid's clock, of the second in which it was sent
    step("page_from_mail", "07:04:01.900"),
    step("retried", "07:05:02.400"),
    step("paid", "07:05:02"),
    step("received", "07:05:02.800"),
]


def test_the_story_is_told_in_the_order_in_which_it_happened() -> None:
    """By time; within a second that a clock did not divide, and at the very same time, what caused something comes
    first: the webhook before the failure that it told of, that before its email, the email before the click. Whoever answered
    first does not matter."""
    for seed in range(20):
        steps = random.Random(seed).sample(STORY, len(STORY))
        assert [one.step for one in in_order(read(steps))] == [one["step"] for one in STORY]


def test_a_customer_is_told_of_before_what_stripe_says_of_them() -> None:
    """Stripe's second began before the host application's call in it; the call came first all the same."""
    steps = [step("paid", "07:00:00"), step("evidence", "07:00:00"), step("told", "07:00:00.503")]
    assert [one.step for one in in_order(read(steps))] == ["told", "paid", "evidence"]


def test_times_never_run_backwards() -> None:
    """A step of a later second never stands before one of an earlier."""
    seconds = [one.at.replace(microsecond=0) for one in in_order(read(reversed(STORY)))]
    assert seconds == sorted(seconds)


def test_the_command_begins_with_where_it_stands(run: Run, services: FakeServices) -> None:
    """Before the first day of the time line; a portal of the release before, which does not say, is no trouble."""
    services.answers["billing", "story"] = {"steps": [], "events": []}
    services.answers["notifier", "story"] = {"steps": MAILED}
    services.answers["portal", "story"] = {"steps": [], "standing": [standing()]}
    lines = run("explain", "in_1", environ={"AMQP_URI": "embedded://tests/"}).stdout.splitlines()
    assert lines[1].startswith("Open: $149.00, 1 try, mail delivered ")
    assert "November 29" in "".join(lines[2:4])
    services.answers["portal", "story"] = {"steps": []}
    result = run("explain", "in_1")
    assert result.exit_code == 0
    assert "Open:" not in result.stdout


def test_a_failure_never_stands_before_the_webhook_that_told_of_it() -> None:
    """Stripe's second began before it; the one event is meant, not another of the invoice, nor another invoice's."""
    steps = [
        step("received", "07:03:58.100", event_id="evt_0", object_id="in_1"),
        step("received", "07:03:58.150", event_id="evt_2", object_id="in_2"),
        step("received", "07:03:58.210", event_id="evt_1", object_id="in_1"),
        step("failed", "07:03:58", event_id="evt_1", object_id="in_1"),
        step("decided", "07:03:58.300", event_id="evt_1/invoice.payment_failed"),
        step("received", "07:03:58.900", event_id="evt_3", object_id="in_1"),
    ]
    assert in_order(read(reversed(steps))) == read(steps)
    del steps[3]["event_id"]  # a notifier of the release before: the first of the invoice
    assert [one.step for one in in_order(read(steps))][:2] == ["received", "failed"]


def test_a_failure_of_a_second_before_stands_where_it_happened() -> None:
    """A webhook that took its time."""
    steps = [step("failed", "07:03:57"), step("received", "07:03:58.210")]
    assert in_order(read(reversed(steps))) == read(steps)


def test_a_report_belongs_to_its_own_email() -> None:
    """SendGrid's second is divided by when that email was sent, not another one."""
    other = {"notification_id": "ntf_2", "object_id": "in_1"}
    steps = [
        mail("sent", "07:04:01.200"),
        mail("delivered", "07:04:01"),
        step("sent", "07:04:01.700", **other),
        step("bounced", "07:04:01", **other),
    ]
    assert in_order(read(reversed(steps))) == read(steps)


@pytest.mark.parametrize(
    ("steps", "said_of_it"),
    [
        (
            [mail("notified", "07:03:00"), mail("held", "08:59:59") | {"until": "2026-11-29T13:00:00Z"}],
            "mail held until 13:00",
        ),
        (
            [mail("notified", "07:03:00"), mail("waiting", "08:59:59") | {"until": "2026-11-29T09:15:00Z"}],
            "mail waits for its next try 09:15",
        ),
        ([mail("notified", "07:03:00"), mail("waiting", "09:15:00")], "mail waits for its next try 09:15"),
        ([mail("notified", "07:03:00"), mail("suppressed", "07:10:00")], "no mail"),
        ([mail("unconfirmed", "07:03:00"), mail("suppressed", "07:10:00")], "mail may have been sent 07:03"),
        ([mail("suppressed", "07:03:00"), mail("told_together", "07:10:00")], "told in another mail 07:10"),
        ([*MAILED, mail("bounced", "07:20:00")], "mail bounced 07:20"),
        ([mail("sent", "07:03:59"), mail("deferred", "07:05:00")], "mail put off by the reader's server 07:05"),
    ],
)  # fmt: skip
def test_where_it_stands_says_what_became_of_the_email(
    steps: list[dict[str, Any]], said_of_it: str
) -> None:
    """In each state that an email can be in; a notifier of the release before names the end of a wait as its time."""
    assert said(standing(), steps, NOW) == f"Open: $149.00, 1 try, {said_of_it}, next try Dec 2"


def test_all_times_have_one_form(run: Run, services: FakeServices) -> None:
    """ISO 8601 in UTC with Z, whatever form a service's answers have."""
    billing = step("received", "07:03:58.210") | {"service": "billing"}
    held = step("held", "08:00:00") | {"until": "2026-11-29T13:00:00+00:00"}
    services.answers["billing", "story"] = {"steps": [billing]}
    services.answers["notifier", "story"] = {"steps": [held]}
    services.answers["portal", "story"] = {
        "steps": [step("page", "07:05:00") | {"at": "2026-11-29T07:05:00Z", "service": "portal"}],
        "standing": [standing()],
    }
    whole = json.loads(run("explain", "in_1", "--json").stdout)
    times = [one[name] for one in whole["steps"] for name in ("at", "until") if name in one]
    times += [one["next_charge"] for one in whole["standing"]]
    assert len(times) == 5
    assert all(one.endswith("Z") and "+" not in one for one in times), times


def dead_letter(given_up_at: dt.datetime | None) -> DeadLetter:
    plain = dict.fromkeys(("type", "reason", "routing_key", "correlation_id"), "x")
    counts = dict.fromkeys(("attempts", "replays", "looks"), 0)
    return DeadLetter(
        queue="notifier.billing-events",
        key="evt_1/invoice.payment_failed",
        given_up_at=given_up_at,
        whole=True,
        body=b"evt_1",
        headers={},
        **plain,
        **counts,
    )


@pytest.mark.parametrize("given_up_at", [NOW - dt.timedelta(hours=1), None])
def test_a_dead_letter_stands_where_it_was_given_up(
    monkeypatch: pytest.MonkeyPatch, given_up_at: dt.datetime | None
) -> None:
    """At the present only where the broker does not say when that was."""
    letter = dead_letter(given_up_at)
    letters = DeadLetters.__new__(DeadLetters)
    monkeypatch.setattr(DeadLetters, "look", lambda *_, **__: [letter])
    story = Story("evt_1", "event")
    before = dt.datetime.now(dt.UTC)
    add_dead_letters(story, letters)
    [told] = story.steps
    assert told.at == given_up_at if given_up_at else told.at >= before


def test_a_letter_that_came_back_stands_after_its_replay(monkeypatch: pytest.MonkeyPatch) -> None:
    """A replay is noted when the letter is on its way already, and may have been given up again by then."""
    letter = dead_letter(given_up_at=NOW)
    monkeypatch.setattr(DeadLetters, "look", lambda *_, **__: [letter])
    story = Story("evt_1", "event")
    story.steps.append(
        TimelineStep(
            at=NOW + dt.timedelta(milliseconds=9),
            service="billing",
            step="dead_letter_replayed",
            text="replayed",
            event_id=letter.key,
        )
    )
    add_dead_letters(story, DeadLetters.__new__(DeadLetters))
    assert [one.step for one in in_order(story.steps)] == ["dead_letter_replayed", "dead_letter"]
