"""What a command prints can't command the terminal, whoever wrote the text."""

from __future__ import annotations

import ast
import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from portico.cli import output
from portico.cli.output import (
    console,
    data_stream,
    literal,
    one_line,
    print_json,
    print_table,
    printable,
    progress_bar,
)
from portico.cli.rpc import Fault, Unavailable
from portico.commands import deadletters
from portico.figures import bar
from shared.messaging.deadletters import DeadLetter
from shared.terminal import complain, say
from tests.unit.cli.conftest import FakeServices, Run

REPOSITORY = Path(__file__).resolve().parents[3]
MOMENT = "2026-11-23T10:00:00.250000+00:00"
HOSTILE = "a\x1b[2J\x1b]0;OWNED\x1b\\\x07\x9b31m\x7f\r\u202eb[red]\x00\x85\u2066\ud800"
"""Clears the screen, sets the title, rings, colours (ESC and C1), goes back to the line's beginning, turns direction."""
SHOWN = r"a\x1b[2J\x1b]0;OWNED\x1b\\x07\x9b31m\x7f\x0d\u202eb[red]\x00\x85\u2066\ud800"


class Terminal(io.StringIO):
    """A stream that says that a person watches it."""

    def isatty(self) -> bool:
        return True


def watched(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Both streams, as one terminal of many columns and colours, from here on."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "300")
    return terminal


def commands_in(text: str) -> list[str]:
    """Characters that a terminal obeys, but for colours of our own (`ESC [ … m`) and the cursor of a progress bar."""
    return output.COMMANDING.findall(re.sub(r"\r?\x1b\[[0-9;?]*[a-zA-Z]", "", text))


@pytest.mark.parametrize("character", [chr(n) for n in [*range(0x20), *range(0x7F, 0xA0)]])
def test_no_control_character_is_printed_as_it_is(character: str) -> None:
    """C0, DEL and C1 are written out; only line ends and tabs remain in a text of several lines, and none in one line."""
    assert (character in printable(f"a{character}b")) == (character in "\n\t")
    assert character not in one_line(f"a{character}b")


@pytest.mark.parametrize(
    "text", ["Zoë 🦊", "مرحبا", "naïve – “quotes”", "日本語", "[bold]", "\\x1b"]
)
def test_ordinary_texts_stay_as_they_are(text: str) -> None:
    """Names in any script, typography and brackets are printed as they are."""
    assert one_line(text) == text


def test_every_way_to_print_is_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines, errors, tables, markup and progress bars write out what is hostile, and keep the colours of their own."""
    screen = watched(monkeypatch)
    say(HOSTILE)
    complain(HOSTILE)
    print_table(("column",), [(HOSTILE,)], empty=HOSTILE)
    console().print(f"[red]{literal(HOSTILE)}[/red]")
    console().print(HOSTILE.replace("[", "("), markup=False)
    with progress_bar("note") as bar:
        bar.add_task("work", total=1, completed=1, note=HOSTILE.replace("[", "("))
    shown = screen.getvalue()
    assert "\x1b[31m" in shown
    assert shown.count(SHOWN) >= 4
    assert commands_in(shown) == []
    for sequence in ("\x1b[2J", "\x1b]0;", "\x9b", "\u202e", "\x07"):
        assert sequence not in shown


def test_a_cell_shows_exactly_what_a_person_may_copy(capsys: pytest.CaptureFixture[str]) -> None:
    """Brackets, markup and a backslash at the end are in a table as they are: keys are copied from it."""
    print_table(("key",), [("evt_[red]a\x1b\\",)])
    assert "evt_[red]a\\x1b\\ " in capsys.readouterr().out


def test_json_is_the_same_document_and_safe(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escapes of JSON stand for what a terminal would obey; a script reads the very same text."""
    screen = watched(monkeypatch)
    print_json({"key": HOSTILE.replace("\ud800", ""), "name": "Zoë 🦊"})
    assert "Zoë 🦊" in screen.getvalue()
    assert output.COMMANDING.findall(screen.getvalue()) == []
    assert json.loads(screen.getvalue())["key"] == HOSTILE.replace("\ud800", "")


def test_data_is_exact_in_a_pipe_and_safe_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`customers export - > file` writes what is stored; on a terminal the same command can't be a command."""
    screen = watched(monkeypatch)
    data_stream().write("a\x1b[2Jb\n")
    assert screen.getvalue() == "a\\x1b[2Jb\n"
    pipe = io.StringIO()
    monkeypatch.setattr(sys, "stdout", pipe)
    data_stream().write("a\x1b[2Jb\n")
    assert pipe.getvalue() == "a\x1b[2Jb\n"


def letter(**changes: Any) -> DeadLetter:
    values: dict[str, Any] = {
        "queue": "portal.billing-events",
        "key": f"evt_{HOSTILE}",
        "type": HOSTILE,
        "reason": HOSTILE,
        "attempts": 0,
        "routing_key": HOSTILE,
        "correlation_id": HOSTILE,
        "looks": 0,
        "whole": True,
        "replays": 0,
        "body": HOSTILE.encode("utf-8", "replace"),
        "headers": {},
    }
    return DeadLetter(**(values | changes))


class Letters:
    """A broker with one dead letter."""

    def __init__(self, uri: str) -> None:
        self.moved: list[DeadLetter] = []

    def look(self, queue: str | None = None, limit: int = 1000) -> list[DeadLetter]:
        return [letter()]

    def discard(self, queue: str, wanted: Any) -> list[DeadLetter]:
        return [one for one in self.look() if one.queue == queue and wanted(one)]


@pytest.mark.parametrize(
    "words",
    [
        ("list",),
        ("list", "--json"),
        ("show", f"evt_{SHOWN}"),
        ("discard", f"evt_{SHOWN}", "--yes"),
        ("discard", HOSTILE, "--yes"),
    ],
    ids=" ".join,
)
def test_a_hostile_dead_letter_is_shown_and_named_without_harm(
    words: tuple[str, ...], run: Run, monkeypatch: pytest.MonkeyPatch, services: FakeServices
) -> None:
    """A message's id, type and reason come from whoever may publish; people name it by what `list` shows."""
    monkeypatch.setattr(deadletters, "DeadLetters", Letters)
    services.answers[("billing", "note_dead_letter")] = None
    result = run("deadletters", *words, environ={"AMQP_URI": "amqp://broker/"})
    assert output.COMMANDING.findall(result.output) == []
    found = words[1:2] != (HOSTILE,)
    assert result.exit_code == (0 if words[0] != "list" and found else 1)


EVENT = {
    "event_id": HOSTILE,
    "type": HOSTILE,
    "status": HOSTILE,
    "reason": HOSTILE,
    "received_at": MOMENT,
    "published": [],
    "payload": HOSTILE,
}
NOTIFICATION = {
    "notification_id": HOSTILE,
    "kind": HOSTILE,
    "status": HOSTILE,
    "invoice_id": HOSTILE,
    "attempt": 1,
    "attempts": 1,
    "reason": HOSTILE,
    "last_error": HOSTILE,
    "created_at": MOMENT,
    "created": True,
}
STEP = {"at": MOMENT, "service": HOSTILE, "step": HOSTILE, "text": HOSTILE}
STORY = {"steps": [STEP], "invoices": [HOSTILE], "customer": None, "stripe_customers": [HOSTILE]}


@pytest.mark.parametrize(
    ("words", "service", "method", "answer"),
    [
        (("events", "list"), "billing", "inbox_events", [EVENT]),
        (("events", "show", "evt_1", "--payload"), "billing", "inbox_event", EVENT),
        (
            ("events", "replay", "evt_1"),
            "billing",
            "replay",
            {"event_id": HOSTILE, "status": HOSTILE, "queued": [HOSTILE], "reason": HOSTILE},
        ),
        (("notifications", "list"), "notifier", "notifications", [NOTIFICATION]),
        (("notifications", "resend", "ntf_1"), "notifier", "resend", NOTIFICATION),
        (("notifications", "cancel", "ntf_1"), "notifier", "cancel", NOTIFICATION),
        (("explain", "ntf_1"), "notifier", "story", STORY),
        (("explain", "evt_1"), "billing", "story", STORY),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
@pytest.mark.parametrize("json_too", [False, True])
def test_no_answer_of_a_service_commands_the_terminal(
    words: tuple[str, ...],
    service: str,
    method: str,
    answer: Any,
    json_too: bool,
    run: Run,
    services: FakeServices,
) -> None:
    """Ids, reasons and stories hold what Stripe, SendGrid and strangers wrote: commands print them harmlessly."""
    services.answers[(service, method)] = answer
    result = run(*words, *(["--json"] if json_too else []))
    assert "OWNED" in result.stdout
    assert output.COMMANDING.findall(result.output) == []


@pytest.mark.parametrize("error", [Fault("NotFound", HOSTILE), Unavailable(HOSTILE)])
def test_errors_are_printed_without_harm(
    error: Exception, run: Run, services: FakeServices
) -> None:
    """An error's text comes over the wire: one line on standard error, whatever is in it."""

    def fail(**arguments: Any) -> Any:
        raise error

    services.answers[("billing", "inbox_events")] = fail
    result = run("events", "list")
    assert "OWNED" in result.stderr
    assert output.COMMANDING.findall(result.output) == []
    assert len(result.stderr.splitlines()) == 1


def test_a_usage_error_that_quotes_a_file_is_printed_without_harm(run: Run, tmp_path: Path) -> None:
    """The header of a CSV file that somebody sent stands in the message about it."""
    file = tmp_path / "customers.csv"
    file.write_text("external_id,\x1b[2J\x1b]0;OWNED\x07,name\n")
    result = run("customers", "import", str(file), "--business", "b")
    assert "OWNED" in result.stderr.upper()
    assert output.COMMANDING.findall(result.output) == []


PRINTING = ("portico", "services", "shared")
STREAMS = {
    "portico/cli/output.py",
    "shared/terminal.py",
    "shared/telemetry.py",
    "shared/nameko_ext/runtime.py",
}
"""Who may touch the streams: the one place that prints, the logs (JSON), and the runner's last words."""


@pytest.mark.whole
def test_nothing_prints_past_the_one_place() -> None:
    """No command has a console or a stream of its own (ruff refuses `print` and `typer.echo` besides)."""
    found = []
    for folder in PRINTING:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            name = str(path.relative_to(REPOSITORY))
            if name in STREAMS:
                continue
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                match node:
                    case ast.Attribute(value=ast.Name(id="sys"), attr="stdout" | "__stdout__"):
                        found.append(f"{name}:{node.lineno}: sys.{node.attr}")
                    case ast.Attribute(value=ast.Name(id="sys"), attr="stderr" | "__stderr__"):
                        found.append(f"{name}:{node.lineno}: sys.{node.attr}")
                    case ast.ImportFrom(module="rich.console" | "rich" | "click"):
                        found.append(f"{name}:{node.lineno}: {node.module}")
                    case ast.Call(func=ast.Name(id="print")):
                        found.append(f"{name}:{node.lineno}: print")
                    case ast.Attribute(
                        value=ast.Name(id="typer"), attr="echo" | "confirm" | "prompt"
                    ):
                        found.append(f"{name}:{node.lineno}: typer.{node.attr}")
    assert found == []


NOTIFICATION: dict[str, Any] = {
    "notification_id": "ntf_6x0Qm2tLr7VwY1zAbCdEfG",
    "kind": "payment_failed",
    "status": "suppressed",
    "reason": "the address bounced before: 550 5.1.1 The email account that you tried to reach does not exist",
    "invoice_id": "in_1NabcdefghijklmnopqrstuV",
    "stripe_customer_id": "cus_NffrFeUfNV2Hib",
    "attempt": 1,
    "attempts": 1,
    "created_at": MOMENT,
}


def test_a_list_in_a_narrow_terminal_cuts_no_id(
    run: Run, services: FakeServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """80 columns: each email a row with its id whole, and below it whose it is and why."""
    services.answers["notifier", "notifications"] = [NOTIFICATION]
    wide = run("notifications", "list").stdout
    assert len([line for line in wide.splitlines() if "ntf_" in line]) == 1
    assert "cus_NffrFeUfNV2Hib" in wide
    monkeypatch.setattr(output, "WIDE", 80)
    narrow = run("notifications", "list").stdout.splitlines()
    assert len(narrow) == 5
    assert all(len(line.rstrip()) <= 80 for line in narrow)
    assert narrow[1].split() == [
        *("2026-11-23", "10:00:00", "ntf_6x0Qm2tLr7VwY1zAbCdEfG", "payment_failed", "suppressed"),
    ]
    below = " ".join(" ".join(narrow[2:]).split())
    assert "customer: cus_NffrFeUfNV2Hib · invoice: in_1NabcdefghijklmnopqrstuV" in below
    assert "why: the address bounced before: 550 5.1.1" in below


STEP = "the step's service   received           "
COMMAND = "portico-explain-in_1NabcdefghijklmnopqrstuV"


@pytest.mark.parametrize("columns", [120, 80, 60, 40])
def test_a_text_beside_a_mark_goes_on_where_it_began(
    columns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No word is cut, and no line is longer than the terminal: where there is no room beside the mark, the text is below it."""
    terminal = watched(monkeypatch)
    monkeypatch.setenv("COLUMNS", str(columns))
    text = f"Stripe delivered it [bold] on the way; see {COMMAND}, which tells more of it all"
    output.print_beside(output.console(), f"[red]{STEP}[/red]", text)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert all(len(line) <= max(columns, len(COMMAND) + 5) for line in lines)
    assert " ".join(" ".join(lines).split()) == f"{' '.join(STEP.split())} {text}"
    beside = columns >= len(STEP) + len(COMMAND) + 1
    assert lines[0].startswith(f"{STEP}Stripe") if beside else lines[0] == STEP.rstrip()
    assert {line[: len(STEP) if beside else 4].strip() for line in lines[1:]} == {""}


def test_in_a_pipe_a_step_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """For grep, however long."""
    output.print_beside(output.console(), STEP, "a word " * 100)
    assert capsys.readouterr().out == f"{STEP}{'a word ' * 100}\n"


def test_a_bar_has_the_room_that_it_is_given() -> None:
    """Whole at the most, and never nothing where there is something."""
    assert [len(bar(value, 100, 10)) for value in (0, 1, 50, 100)] == [0, 1, 5, 10]
