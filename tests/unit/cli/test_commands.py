"""The command line as a whole: help, exit codes, JSON, and nothing secret on any stream."""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from portico.cli import waiting
from portico.cli.rpc import Fault, Unavailable
from portico.main import app
from services.notifier.domain.kinds import Kind
from shared.contracts.rpc.errors import BusinessObserves, TemporarilyUnavailable
from shared.messaging.deadletters import DeadLetter, DeadLetters
from tests.unit.cli.conftest import FakeServices, Run, golden

MOMENT = "2026-11-23T10:00:00.250000+00:00"


def commands(
    group: Any = None, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with the words that name it."""
    group = group or typer.main.get_command(app)
    for name, command in sorted(group.commands.items()):
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))
        else:
            yield (*words, name), command


EVERY = dict(commands())


@pytest.mark.whole
@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_helps_with_an_example(words: tuple[str, ...], run: Run) -> None:
    """The help of each command says what it does and shows how, with its own words."""
    shown = " ".join(run(*words, "--help", terminal_width=200).stdout.split())
    assert f"Example: portico {' '.join(words)}" in shown


@pytest.mark.parametrize("words", [(), ("stripe",), ("deadletters",)], ids=" ".join)
def test_without_a_command_it_shows_what_there_is(words: tuple[str, ...], run: Run) -> None:
    """Help on standard output, and nothing was wrong; a word that is no command is."""
    result = run(*words)
    assert (result.exit_code, result.stderr) == (0, "")
    assert "Usage: portico" in result.stdout.replace("root", "portico")
    assert run(*words, "nonsense").exit_code == 2


WRITING = {
    ("init",),  # writes a file
    ("customers", "export"),  # writes a file
    ("customers", "links"),  # the same
    ("doctor",),
}


@pytest.mark.whole
@pytest.mark.parametrize("words", [words for words in EVERY if words not in WRITING], ids=" ".join)
def test_every_command_speaks_json(words: tuple[str, ...]) -> None:
    """Scripts get one JSON document from each command that answers something."""
    assert any("--json" in option.opts for option in EVERY[words].params)


def test_a_service_that_is_silent_ends_with_three(run: Run) -> None:
    """Exit code 3 and one line on standard error: the same command may work later."""
    result = run("events", "list")
    assert result.exit_code == 3
    assert result.stdout == ""
    assert "no answer" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.whole
def test_missing_settings_end_with_two() -> None:
    """Without AMQP_URI nothing can be asked; the message says what it should look like."""
    from typer.testing import CliRunner

    from portico.cli.context import CliContext

    result = CliRunner().invoke(app, ["events", "list"], obj=CliContext({}))
    assert result.exit_code == 2
    assert "AMQP_URI is not set" in result.stderr


@pytest.mark.whole
def test_the_embedded_broker_can_not_be_reached(run: Run) -> None:
    """`make run` keeps its broker inside its process: the message says what to use instead."""
    from typer.testing import CliRunner

    from portico.cli.context import CliContext

    desk = CliContext({"AMQP_URI": "embedded://localhost/"})
    result = CliRunner().invoke(app, ["events", "list"], obj=desk)
    assert (result.exit_code, "make stack" in result.stderr) == (3, True)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ("InvalidArgument", 2),
        ("UnknownInboxEvent", 1),
        ("NotFound", 1),
        ("InternalError", 3),
        ("StripeUnavailable", 3),
    ],
)
def test_a_services_error_has_its_exit_code(
    error: str, code: int, run: Run, services: FakeServices
) -> None:
    """Scripts can tell a wrong word from bad news and from a service in trouble."""

    def refuse(**arguments: Any) -> None:
        raise Fault(error, "text")

    services.answers["billing", "replay"] = refuse
    assert run("events", "replay", "evt_1").exit_code == code


def test_a_missing_setting_is_said_with_where_commands_look_for_it(run: Run) -> None:
    """In the environment, as services do, and in a file that --env-file names, which services know nothing of."""
    result = run("stripe", "portal-config", "--show", environ={})
    assert result.exit_code == 2
    assert result.stderr.startswith("This command can't run: ")
    assert "STRIPE_API_KEY is not set" in result.stderr
    assert "name their file with portico --env-file" in result.stderr


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("NotFound", "business_id: no such business"), "nowhere: no such business"),
        (
            Fault("InvalidArgument", "business_id: nowhere is none; see the list"),
            "nowhere is none; see the list",
        ),
        (Fault("InvalidArgument", "limit: expected 1 to 500"), "limit: expected 1 to 500"),
        (Fault("InvalidArgument", "expected an id"), "expected an id"),
        (Fault("BusinessObserves", "The business only observes"), "The business only observes"),
        (Fault("StripeUnavailable", "no answer in 5 s"), "StripeUnavailable: no answer in 5 s"),
        (Fault("MethodNotFound", "businesses_modes"), "MethodNotFound: businesses_modes"),
    ],
)
def test_a_services_error_is_a_sentence_about_what_was_typed(
    fault: Fault, said: str, run: Run, services: FakeServices
) -> None:
    """The id that was given, and neither the argument's name nor the error's class where the sentence says all."""

    def refuse(**arguments: Any) -> None:
        raise fault

    services.answers["portal", "businesses_modes"] = refuse
    assert run("observe", "--business", "nowhere").stderr.strip() == said


def test_an_import_names_the_business_that_is_not_there(
    run: Run, services: FakeServices, tmp_path: Path
) -> None:
    """Its calls are under way several at a time, and their errors name the business all the same."""

    def refuse(**arguments: Any) -> None:
        raise Fault("NotFound", "business_id: no such business; call upsert_business first")

    services.answers["portal", "import_customers"] = refuse
    file = tmp_path / "c.csv"
    file.write_text("external_id,name,email\n1,Ann,ann@example.com\n")
    result = run("customers", "import", str(file), "--business", "nowhere")
    assert result.exit_code == 1
    assert result.stderr.startswith("nowhere: no such business; call")


def test_settings_come_from_a_file_and_the_environment_wins(tmp_path: Path, run: Run) -> None:
    """--env-file is what `make stack` writes; a variable that is set counts more."""
    from portico.env_file import read_env_file

    file = tmp_path / "portico.env"
    file.write_text("# comment\nexport A_B=one\nC='two'\n\n")
    assert read_env_file(file) == {"A_B": "one", "C": "two"}
    file.write_text("no equals sign\n")
    with pytest.raises(typer.BadParameter, match="line 1"):
        read_env_file(file)
    file.write_text("A_B=one\n", "utf-8-sig")
    with pytest.raises(typer.BadParameter, match="begins with a byte order mark"):
        read_env_file(file)


def test_events_are_listed_as_json_as_they_came(run: Run, services: FakeServices) -> None:
    """--json is the service's answer, unabridged, with its times in the form of all."""
    row = golden("billing", "inbox_events")[0] | {"event_id": "evt_1"}
    services.answers["billing", "inbox_events"] = [row]
    (told,) = json.loads(run("events", "list", "--json").stdout)
    assert told == json.loads(json.dumps(row).replace("+00:00", "Z"))
    assert told != row
    assert "evt_1" in run("events", "list").stdout


def test_a_list_of_events_turns_its_page(run: Run, services: FakeServices) -> None:
    """A full page says where the next one begins, on standard error; an event begins it, and so does a time."""
    row = golden("billing", "inbox_events")[0]
    services.answers["billing", "inbox_events"] = lambda limit, **_: [
        row | {"event_id": f"evt_{number}"} for number in range(min(limit, 3))
    ]
    services.answers["billing", "inbox_event"] = {"event_id": "evt_1", "received_at": MOMENT}
    full = run("events", "list", "--limit", "2", "--json")
    assert full.stderr == "There may be more: --before evt_1\n"
    assert len(json.loads(full.stdout)) == 2
    assert run("events", "list", "--limit", "4").stderr == ""
    run("events", "list", "--before", "evt_1")
    page = services.asked[-1][2]
    assert page["before_id"] == "evt_1"
    assert page["before"] == MOMENT
    run("events", "list", "--before", "2026-11-20T00:00:00Z")
    page = services.asked[-1][2]
    assert (page["before"], "before_id" in page) == ("2026-11-20T00:00:00+00:00", False)


def test_replaying_tells_of_each(run: Run, services: FakeServices) -> None:
    """One that was never stored hides nothing of the others, on either side of it; what is still quarantined ends with 1."""

    def replay(event_id: str) -> dict[str, Any]:
        if event_id == "evt_bad":
            raise Fault("UnknownInboxEvent", "no stored event evt_bad")
        status = "quarantined" if event_id == "evt_odd" else "translated"
        return {"event_id": event_id, "status": status, "reason": None, "queued": []}

    services.answers["billing", "replay"] = replay
    assert run("events", "replay", "evt_1").exit_code == 0
    both = run("events", "replay", "evt_1", "evt_bad", "evt_2")
    assert both.exit_code == 1
    assert "evt_1" in both.stdout
    assert "evt_2" in both.stdout
    assert "no stored event evt_bad" in both.stderr
    told = json.loads(run("events", "replay", "evt_1", "evt_bad", "--json").stdout)
    assert [(one["event_id"], "error" in one) for one in told] == [
        ("evt_1", False),
        ("evt_bad", True),
    ]
    odd = run("events", "replay", "evt_odd")
    assert (odd.exit_code, "quarantined" in odd.stdout) == (1, True)


def test_emails_are_listed_by_status(run: Run, services: FakeServices) -> None:
    """A notifier of the release before is not given an argument that it does not know."""
    services.answers["notifier", "notifications"] = []
    run("notifications", "list", "--status", "failed")
    run("notifications", "list")
    first, second = [arguments for _, _, arguments in services.asked]
    assert (first["status"], "status" in second) == ("failed", False)


@pytest.mark.parametrize(
    ("command", "method", "named"),
    [
        (
            ("notifications", "list", "--invoice", "{}in_1", "--customer", "{}cus_1"),
            ("notifier", "notifications"),
            {"invoice_id": "in_1", "stripe_customer_id": "cus_1"},
        ),
        (
            ("notifications", "resend-failed", "--invoice", "{}in_1"),
            ("notifier", "resend_failed"),
            {"invoice_id": "in_1"},
        ),
        (("invoices", "collect", "{}in_1"), ("billing", "collect_invoice"), {"invoice_id": "in_1"}),
        (("events", "show", "{}evt_1"), ("billing", "inbox_event"), {"event_id": "evt_1"}),
        (
            ("customers", "evidence", "{}cus_1"),
            ("portal", "link_evidence"),
            {"stripe_customer_id": "cus_1"},
        ),
    ],
)
def test_a_name_brings_its_account(
    run: Run,
    services: FakeServices,
    command: tuple[str, ...],
    method: tuple[str, str],
    named: dict[str, str],
) -> None:
    """`acct_…/in_…` is two arguments. Without an account none is given: a service of the release before knows none."""
    for front, account in (("", {}), ("acct_1/", {"account": "acct_1"})):
        run(*(word.format(front) for word in command))
        service, name, arguments = services.asked[-1]
        assert (service, name) == method
        given = {key: arguments[key] for key in ("account", *named) if key in arguments}
        assert given == {**named, **account}


def test_collecting_for_who_observes_is_refused_in_plain_words(
    run: Run, services: FakeServices
) -> None:
    """Why, and where it can be done instead; that the portal can't tell now is something else, and worth trying again."""
    told = [BusinessObserves(), TemporarilyUnavailable("the portal does not answer")]

    def refuse(**_: Any) -> Any:
        error = told.pop(0)
        raise Fault(type(error).__name__, str(error))

    services.answers["billing", "collect_invoice"] = refuse
    done = run("invoices", "collect", "in_1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "only observes" in done.stderr
    assert "Stripe's dashboard" in done.stderr
    assert run("invoices", "collect", "in_1").exit_code == 3


def test_names_are_of_one_account(run: Run, services: FakeServices) -> None:
    """An invoice of one account is no invoice of another's customer: nobody is asked."""
    done = run("notifications", "list", "--invoice", "acct_1/in_1", "--customer", "cus_1")
    assert (done.exit_code, services.asked) == (2, [])
    assert "one account" in done.stderr


def test_a_failed_export_leaves_no_file(run: Run, services: FakeServices, tmp_path: Path) -> None:
    """Half of the customers look like all of them: a portal that falls silent after the first page leaves nothing."""

    def page(after: int, **_: Any) -> dict[str, Any]:
        if after:
            raise Unavailable("no answer")
        return {"customers": [], "next": 7, "total": 2000}

    services.answers["portal", "export_customers"] = page
    file = tmp_path / "out.csv"
    assert run("customers", "export", str(file), "--business", "sunrise").exit_code == 3
    assert not file.exists()


def test_an_export_of_an_unknown_business_is_empty(run: Run, services: FakeServices) -> None:
    """On stdout a first line alone would look like a business without customers."""

    def nobody(**page: Any) -> Any:
        raise Fault("NotFound", "no such business: nowhere")

    services.answers["portal", "export_customers"] = nobody
    result = run("customers", "export", "-", "--business", "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")


def test_dead_letters_have_a_time_and_nothing_to_replay_is_said(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When each was given up; `--all` where there are none ends well, and says so."""
    moment = dt.datetime(2026, 11, 23, 10, 0, tzinfo=dt.UTC)
    plain = dict.fromkeys(("type", "reason", "routing_key", "correlation_id"), "x")
    letter = DeadLetter(
        queue="notifier.billing-events",
        key="evt_1",
        given_up_at=moment,
        attempts=5,
        replays=0,
        looks=0,
        whole=True,
        body=b"{}",
        headers={},
        **plain,
    )
    monkeypatch.setattr(DeadLetters, "look", lambda *_: [letter])
    monkeypatch.setattr(DeadLetters, "replay", lambda *_: [])
    environ = {"AMQP_URI": "amqp://127.0.0.1:1/"}
    listed = run("deadletters", "list", environ=environ)
    assert (listed.exit_code, "2026-11-23 10:00:00" in listed.stdout) == (1, True)
    (told,) = json.loads(run("deadletters", "list", "--json", environ=environ).stdout)
    assert told["given_up_at"] == "2026-11-23T10:00:00Z"
    none = run("deadletters", "replay", "--all", environ=environ)
    assert (none.exit_code, none.stderr) == (0, "No dead letters: nothing was replayed.\n")


def test_an_event_is_closed_with_a_reason_and_a_name(run: Run, services: FakeServices) -> None:
    """By whom is said or taken from the environment; without a reason nothing is done."""
    services.answers["billing", "close_event"] = lambda **given: {"closed_by": given["by"]}
    told = run("events", "close", "evt_1", "evt_2", "--reason", "a test", "--by", "dana")
    assert (told.exit_code, told.stdout.count("dana")) == (0, 2)
    environ = {"AMQP_URI": "embedded://tests/", "USER": "erin"}
    assert "erin" in run("events", "close", "evt_1", "--reason", "a test", environ=environ).stdout
    environ["SUDO_USER"] = "frida"
    assert "frida" in run("events", "close", "evt_1", "--reason", "a test", environ=environ).stdout
    asked = [given for _, _, given in services.asked]
    assert asked[0] == {"event_id": "evt_1", "reason": "a test", "by": "dana"}
    assert run("events", "close", "evt_1").exit_code == 2
    assert len(services.asked) == 4


def test_closing_tells_of_each(run: Run, services: FakeServices) -> None:
    """One that needs nobody hides nothing of the others, on either side of it."""

    def close(event_id: str, **_: Any) -> dict[str, Any]:
        if event_id == "evt_good":
            raise Fault("NotQuarantined", "evt_good is translated: there is nothing to close")
        return {"event_id": event_id, "type": "invoice.paid", "status": "closed"}

    services.answers["billing", "close_event"] = close
    words = ("events", "close", "evt_1", "evt_good", "evt_2", "--reason", "a test")
    told = run(*words)
    assert told.exit_code == 1
    assert ("evt_1" in told.stdout, "evt_2" in told.stdout) == (True, True)
    assert "evt_good is translated" in told.stderr
    whole = json.loads(run(*words, "--json").stdout)
    assert [(one["event_id"], "error" in one) for one in whole] == [
        ("evt_1", False),
        ("evt_2", False),
        ("evt_good", True),
    ]


def test_a_body_is_shown_only_on_demand(run: Run, services: FakeServices) -> None:
    """A stored event's body holds personal data: it is neither asked for nor printed without --payload."""

    def inbox_event(event_id: str, payload: bool) -> dict[str, Any]:
        shown: dict[str, Any] = {"event_id": event_id, "published": []}
        return {**shown, "payload": "BODY"} if payload else shown

    services.answers["billing", "inbox_event"] = inbox_event
    assert "BODY" not in run("events", "show", "evt_1").stdout
    assert "BODY" in run("events", "show", "evt_1", "--payload").stdout


def test_an_email_of_another_account_is_listed_by_names_that_commands_take(
    run: Run, services: FakeServices
) -> None:
    """`portico explain in_1` knows nothing of another account's invoice; what the list shows can be copied."""
    services.answers["notifier", "notifications"] = [
        {"account": "acct_1", "invoice_id": "in_1", "stripe_customer_id": "cus_1"},
        {"invoice_id": "in_2", "stripe_customer_id": "cus_2"},
    ]
    words = run("notifications", "list").stdout.split()
    assert {"acct_1/in_1", "acct_1/cus_1", "in_2", "cus_2"} <= set(words)


def test_a_notification_is_cancelled_and_resent(run: Run, services: FakeServices) -> None:
    """Both say what was done; a second resend says that nothing was added."""
    services.answers["notifier", "cancel"] = lambda notification_id: {
        "notification_id": notification_id
    }
    services.answers["notifier", "resend"] = lambda notification_id: {
        "notification_id": "ntf_2",
        "created": False,
    }
    assert "will not be sent" in run("notifications", "cancel", "ntf_1").stdout
    assert "waits already" in run("notifications", "resend", "ntf_1").stdout


def failed_mails(services: FakeServices, count: int) -> None:
    """A notifier with so many failed emails, which it gives out in portions as the real one does."""
    left = [{"notification_id": f"ntf_{number}"} for number in range(count)]

    def resend_failed(limit: int, dry_run: bool, **_: Any) -> dict[str, Any]:
        given = left[:limit]
        more = len(left) > limit
        if not dry_run:
            del left[:limit]
        return {"notifications": given, "more": more, "failed_before": MOMENT}

    services.answers["notifier", "resend_failed"] = resend_failed


def test_all_that_failed_is_resent_portion_by_portion(run: Run, services: FakeServices) -> None:
    """Until there is no more; later portions carry the first one's moment; a second run finds nothing."""
    failed_mails(services, 450)
    made = json.loads(
        run("notifications", "resend-failed", "--since", "2026-11-20T00:00Z", "--json").stdout
    )
    assert [one["notification_id"] for one in made["notifications"]] == [
        f"ntf_{number}" for number in range(450)
    ]
    first, *later = [arguments for _, _, arguments in services.asked]
    assert first["failed_since"] == "2026-11-20T00:00:00+00:00"
    assert "failed_before" not in first
    assert [one["failed_before"] for one in later] == [MOMENT, MOMENT]
    again = run("notifications", "resend-failed", "--invoice", "in_1")
    assert (again.exit_code, again.stdout) == (0, "0 emails are due once more.\n")


@pytest.mark.whole
def test_a_dry_run_names_and_resends_nothing(run: Run, services: FakeServices) -> None:
    """Ends with 1 when there are any, and says when these are not all."""
    failed_mails(services, 201)
    shown = run("notifications", "resend-failed", "--since", "12h", "--dry-run")
    assert (shown.exit_code, "ntf_199" in shown.stdout) == (1, True)
    assert "there are more" in shown.stdout
    assert len(services.asked) == 1
    failed_mails(services, 0)
    assert run("notifications", "resend-failed", "--since", "12h", "--dry-run").exit_code == 0


def test_a_bulk_needs_a_time_or_an_invoice(run: Run, services: FakeServices) -> None:
    """Everything that ever failed is nobody's wish: exit code 2, and nobody is asked."""
    assert run("notifications", "resend-failed").exit_code == 2
    assert run("notifications", "resend-failed", "--since", "yesterday").exit_code == 2
    assert services.asked == []


def test_a_link_is_printed_for_who_asks_and_nothing_else(run: Run, services: FakeServices) -> None:
    """The link stands alone on standard output, ready for a pipe."""
    services.answers["portal", "find_customer"] = {"customer_id": "C" * 22}
    services.answers["portal", "link"] = {
        "customer_id": "C" * 22,
        "url": "https://me.example.com/me/token",
        "token": "token",
        "generation": 1,
    }
    assert run("link", "1001").stdout == "https://me.example.com/me/token\n"
    assert "token" not in json.loads(run("link", "1001", "--json").stdout)


def test_reconcile_asks_from_the_moment_that_was_meant(run: Run, services: FakeServices) -> None:
    """`--since 3d` is three days before now, `--since` an ISO time is that time; anything else is a wrong word."""
    services.answers["billing", "reconcile"] = {
        "seen": 3,
        "new": 1,
        "swept": 0,
        "older": 0,
    }
    assert "3 events seen" in run("reconcile", "--since", "2026-11-20T00:00:00+00:00").stdout
    assert services.asked[-1][2] == {"since": "2026-11-20T00:00:00+00:00"}
    run("reconcile", "--since", "2026-11-20T00:00:00+00:00", "--account", "acct_1")
    assert services.asked[-1][2]["account"] == "acct_1"
    assert run("reconcile", "--since", "yesterday").exit_code == 2


def test_reconcile_waits_for_one_that_was_killed(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until its time is over, and says until when that is."""
    monkeypatch.setattr(waiting, "POLL_SECONDS", 0)
    words = "a reconciliation is under way; if it was stopped, go on after 10:02:00 UTC"
    refusals = [Fault("ReconciliationRunning", words)] * 5

    def answer(**_: Any) -> dict[str, Any]:
        if refusals:
            raise refusals.pop()
        return {"seen": 3, "new": 1, "swept": 0, "older": 0}

    services.answers["billing", "reconcile"] = answer
    done = run("reconcile")
    assert (done.exit_code, "3 events seen" in done.stdout) == (0, True)
    assert done.stderr == f"own account: {words}; waiting for that\n"


def test_republish_goes_on_until_the_last_page(run: Run, services: FakeServices) -> None:
    """Each page carries the same moments; a dry run says how many, and sends nothing."""

    def page(dry_run: bool = False, after: int = 0, **rest: Any) -> dict[str, Any]:
        return {"events": 700 if dry_run else 350, "next": None if dry_run or after else 17}

    services.answers["billing", "republish"] = page
    words = ("events", "republish", "--queue", "notifier.billing-events", "--since", "2h")
    assert "700 events would go" in run(*words, "--dry-run").stdout
    assert len(services.asked) == 1
    assert "700 events went into notifier.billing-events" in run(*words).stdout
    _, counted, first, second = [arguments for _, _, arguments in services.asked]
    assert (counted["dry_run"], first["after"], second["after"]) == (True, 0, 17)
    assert len({(one["since"], one["until"]) for one in (counted, first, second)}) == 1


@pytest.mark.whole
def test_a_preview_is_written_and_named(tmp_path: Path, run: Run) -> None:
    """Three files of one email, without settings and without sending."""
    result = run("mail", "preview", "payment_failed", "--out", str(tmp_path), "--json", environ={})
    assert sorted(Path(name).name for name in json.loads(result.stdout)) == [
        "payment_failed.html",
        "payment_failed.subject.txt",
        "payment_failed.txt",
    ]


@pytest.mark.whole
def test_every_kind_of_email_is_previewed_at_once(tmp_path: Path, run: Run) -> None:
    """Without a kind; in each language that there is, also as people write it."""
    result = run("mail", "preview", "--out", str(tmp_path), "--locale", "pt-BR", "--json")
    assert len(json.loads(result.stdout)) == 3 * len(Kind)
    for locale in ("de_AT", "en-GB", "fr"):
        words = ("mail", "preview", "payment_failed", "--locale", locale)
        assert run(*words, "--out", str(tmp_path)).exit_code == 0


FOUND = {"customer_id": "AAAAAAAAAAAAAAAAAAAAAA", "platform_stripe_customer_id": None}


def test_a_person_says_who_is_whose(run: Run, services: FakeServices) -> None:
    """`link`, `unlink` and its two shades reach the portal by Portico's id, whichever id was given."""
    linked = {"customer_id": FOUND["customer_id"], "platform_stripe_customer_id": "cus_1"}
    services.answers |= {
        ("portal", "find_customer"): FOUND,
        ("portal", "link_customer"): linked,
        ("portal", "unlink_customer"): linked | {"platform_stripe_customer_id": None},
    }
    assert "linked with cus_1" in run("customers", "link", "1001", "cus_1").stdout
    assert "no Stripe customer" in run("customers", "unlink", "1001").stdout
    run("customers", "unlink", "1001", "cus_2", "--let-stripe-decide")
    other = run("customers", "link", "1001", "acct_1Nabc/cus_1")
    assert (other.exit_code, "acct_1Nabc/cus_1: the customers of" in other.stderr) == (2, True)
    services.answers["portal", "find_customer"] = FOUND | {"account": "acct_1Nabc"}
    run("customers", "link", "1001", "acct_1Nabc/cus_3")
    assert [asked for _, method, asked in services.asked if method != "find_customer"] == [
        {"customer_id": FOUND["customer_id"], "stripe_customer_id": "cus_1"},
        {
            "customer_id": FOUND["customer_id"],
            "stripe_customer_id": None,
            "withdraw_only": False,
        },
        {
            "customer_id": FOUND["customer_id"],
            "stripe_customer_id": "cus_2",
            "withdraw_only": True,
        },
        {"customer_id": FOUND["customer_id"], "stripe_customer_id": "cus_3"},
    ]


def test_evidence_is_shown_with_what_it_does(run: Run, services: FakeServices) -> None:
    """By cus_… also of one who is nobody's; a conflict ends with 1."""
    told = {
        "evidence": [
            {
                "stripe_customer_id": "cus_9",
                "source": "reference",
                "object_id": "cs_9",
                "customer_id": None,
                "names": None,
                "business_id": None,
                "denies": False,
                "effect": "refused",
                "reason": "not_signed",
                "said_at": MOMENT,
                "withdrawn_at": MOMENT,
                "event_id": "evt_9",
            }
        ],
        "links": [],
        "conflicts": [],
    }
    services.answers["portal", "link_evidence"] = told
    result = run("customers", "evidence", "cus_9")
    assert result.exit_code == 0
    assert "refused" in result.stdout
    assert "not_signed" in result.stdout
    told["conflicts"] = [
        {
            "stripe_customer_id": "cus_9",
            "customer_id": "A",
            "reason": "customer_has_another",
            "evidence": "metadata",
            "seen_at": MOMENT,
        }
    ]
    assert run("customers", "evidence", "cus_9").exit_code == 1
    assert run("customers", "evidence").exit_code == 2


def test_links_of_unknown_source_are_listed_to_the_end(run: Run, services: FakeServices) -> None:
    """Page by page; exit code 1 while there are any."""

    def page(after: int, **_: Any) -> dict[str, Any]:
        number = after + 1
        one = {
            "customer_id": f"c{number}",
            "external_id": str(number),
            "business_id": "sunrise",
            "stripe_customer_id": f"cus_{number}",
        }
        return {"links": [one], "next": number if number < 3 else None}

    services.answers["portal", "unknown_links"] = page
    result = run("customers", "evidence", "--unknown", "--json")
    assert result.exit_code == 1
    assert [one["stripe_customer_id"] for one in json.loads(result.stdout)] == [
        "cus_1",
        "cus_2",
        "cus_3",
    ]


def test_every_commands_json_has_one_form_of_time(run: Run, services: FakeServices) -> None:
    """Whoever told it, and however it crossed the wire: UTC, ending in `Z`."""
    for service, method in (
        ("billing", "inbox_events"),
        ("billing", "inbox_event"),
        ("notifier", "notifications"),
        ("notifier", "stats"),
    ):
        services.answers[service, method] = golden(service, method)
    services.answers["billing", "replay"] = {"event_id": "evt_1", "status": "translated"}
    services.answers["billing", "close_event"] = {"event_id": "evt_1", "status": "closed"}
    told = [
        run(*words, "--json").stdout
        for words in (
            ("events", "list"),
            ("events", "show", "evt_1"),
            ("events", "replay", "evt_1"),
            ("events", "close", "evt_1", "--reason", "a test"),
            ("notifications", "list"),
            ("stats",),
        )
    ]
    times = re.findall(r'"(\d{4}-\d\d-\d\dT[^"]*)"', "".join(told))
    assert len(times) >= 10
    assert [one for one in times if not re.fullmatch(r"[\d-]+T[\d:.]+Z", one)] == []
