"""`portico observe` and `portico go-live`: the line, what is older, and sending exactly what was chosen of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from portico.observing.accepting import BadList, read_ids
from tests.unit.cli.conftest import FakeServices, Run
from tests.unit.cli.observed import ObservingWorld, charge, mail, paid


@pytest.fixture
def world(services: FakeServices) -> ObservingWorld:
    return ObservingWorld(services)


def called(services: FakeServices, method: str) -> list[dict[str, Any]]:
    return [given for _, name, given in services.asked if name == method]


# --- observe ---------------------------------------------------------------------------------------------------------


def test_a_business_observes_from_the_moment_it_is_told_to(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """And what it does already is said, too."""
    world.modes["sunrise"] = "live"
    first, again = run("observe", "--business", "sunrise"), run("observe", "--business", "sunrise")
    assert "Sunrise observes: nothing is mailed or charged" in first.stdout
    assert "observes already" in again.stdout
    assert called(services, "set_mode")[0] == {"business_id": "sunrise", "mode": "observe"}
    assert json.loads(run("observe", "--business", "sunrise", "--json").stdout)["mode"] == "observe"


def test_observing_everywhere_is_a_setting(run: Run, services: FakeServices) -> None:
    """Without a business nothing is asked: the message names the setting, and where it belongs."""
    found = run("observe")
    assert (found.exit_code, services.asked) == (2, [])
    assert "set MODE=observe at portal, billing and notifier" in found.stderr


# --- go-live ---------------------------------------------------------------------------------------------------------


def test_going_live_draws_the_line_and_releases_nothing(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """What is older is named with count, names and money, and how it is sent; nobody is written to by it."""
    world.mails, world.charges = [mail(1), mail(2, invoice=paid())], [charge(3)]
    found = run("go-live", "--business", "sunrise", "--yes")
    assert found.exit_code == 0
    assert called(services, "set_mode") == [{"business_id": "sunrise", "mode": "live"}]
    assert called(services, "accept_observed") == []
    for told in (
        "2 emails about 2 customers: $298.00",
        "Maria Lopez",
        "Joe Park",
        "1 paid ($149.00), 1 still open ($149.00)",
        "1 charge to a new payment method: $149.00",
        "Sunrise has been live since 2026-11-23 10:00:00 (UTC)",
        "2 emails from before stay unsent",
        "portico go-live --business sunrise --accept all",
    ):
        assert told in found.stdout


def test_who_waits_to_be_welcomed_is_counted(run: Run, world: ObservingWorld) -> None:
    """The line takes them off the queue: that is said before it is drawn, with how they are asked for again."""
    world.unwelcomed = 1200
    told = run("go-live", "--business", "sunrise", "--yes").stdout
    assert "1,200 customers of Sunrise wait to be welcomed" in told
    assert "portico customers welcome --business sunrise" in told
    again = run("go-live", "--business", "sunrise", "--yes", "--json")
    assert json.loads(again.stdout)["welcomes_taken_off"] == 0, "it draws no second line"
    world.modes["sunrise"] = "observe"
    told = run("go-live", "--business", "sunrise", "--yes", "--json").stdout
    assert json.loads(told)["welcomes_taken_off"] == 1200


def test_it_asks_before_it_does(run: Run, world: ObservingWorld, services: FakeServices) -> None:
    """A no leaves everything as it was; what would be done stands in the question."""
    world.mails = [mail(1), mail(2)]
    found = run("go-live", "--business", "sunrise", "--accept", "all", input="n\n")
    assert found.exit_code == 1
    assert "Let Sunrise go live now and send 2 emails?" in found.stderr
    assert called(services, "set_mode") == called(services, "accept_observed") == []
    assert run("go-live", "--business", "sunrise", "--accept", "all", input="y\n").exit_code == 0
    assert world.accepted == ["ntf_1", "ntf_2"]


def test_json_is_one_document_though_it_asks(run: Run, world: ObservingWorld) -> None:
    """The question goes to standard error."""
    world.mails = [mail(1)]
    done = run("go-live", "--business", "sunrise", "--json", input="y\n")
    assert "go live now?" in done.stderr
    assert json.loads(done.stdout)["drawn"] is True


def test_a_business_that_is_live_keeps_its_line(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """Called again it only offers, without a question; with --accept it only sends."""
    world.modes["sunrise"], world.mails = "live", [mail(1)]
    offered = run("go-live", "--business", "sunrise")
    assert (offered.exit_code, "1 email from before stays unsent" in offered.stdout) == (0, True)
    sent = run("go-live", "--business", "sunrise", "--accept", "all", input="y\n")
    assert "Send 1 email?" in sent.stderr
    assert world.accepted == ["ntf_1"]
    assert called(services, "set_mode") == []


def test_a_line_for_a_business_that_never_observed_is_told_for_what_it_does(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """It holds back what waits to be mailed: whoever only wanted to be sure that it is live says no."""
    world.modes["sunrise"] = "live"
    world.never_observed = {"sunrise"}
    asked = run("go-live", "--business", "sunrise", input="n\n")
    assert "live as it is" in asked.stdout
    assert "leaves unsent" in asked.stdout
    assert called(services, "set_mode") == []
    run("go-live", "--business", "sunrise", "--yes")
    assert len(called(services, "set_mode")) == 1


def test_accepting_sends_exactly_the_preview(
    run: Run, world: ObservingWorld, tmp_path: Path
) -> None:
    """The file of the preview names the emails; what came after it stays, and what is paid meanwhile is said."""
    world.mails = [mail(number) for number in range(1, 6)]
    file = tmp_path / "preview.json"
    file.write_text(run("preview", "--business", "sunrise", "--json").stdout)
    world.mails.append(mail(6))
    world.mails[1]["invoice"] |= paid()
    found = run("go-live", "--business", "sunrise", "--accept", str(file), "--yes")
    assert world.accepted == [f"ntf_{number}" for number in range(1, 6)]
    assert "1 email of the chosen ones: paid or voided meanwhile, not to be sent" in found.stdout
    assert "5 emails accepted" in found.stdout
    assert "1 email from before stays unsent" in found.stdout


def test_with_nothing_left_to_accept_nothing_is_said_to_go_out(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """All was accepted before, or nothing was observed."""
    world.mails = []
    found = run("go-live", "--business", "sunrise", "--accept", "all", "--yes")
    assert "No email was left to send: nothing goes out." in found.stdout
    assert "0 emails" not in found.stdout
    assert called(services, "accept_observed") == []


def test_many_are_accepted_in_portions(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """Each once, over the pages of the offer."""
    world.limit = 500
    world.mails = [mail(number) for number in range(450)]
    told = json.loads(
        run("go-live", "--business", "sunrise", "--accept", "all", "--yes", "--json").stdout
    )
    assert (told["accepted"], told["mode"], told["drawn"]) == (450, "live", True)
    assert [len(given["notification_ids"]) for given in called(services, "accept_observed")] == [
        200,
        200,
        50,
    ]
    assert len(set(world.accepted)) == 450


def test_one_wrong_id_and_nothing_is_done(
    run: Run, world: ObservingWorld, services: FakeServices, tmp_path: Path
) -> None:
    """Each wrong one is told with its reason; the business is not even live."""
    world.modes["moon"] = "observe"
    world.mails = [mail(1), mail(2, business_id="moon")]
    file = tmp_path / "ids.txt"
    file.write_text("ntf_1\n# a note\n\nntf_2\nntf_none\nntf_sent\n")
    found = run("go-live", "--business", "sunrise", "--accept", str(file), "--yes")
    assert found.exit_code == 1
    for told in (
        "ntf_2: it is another business's",
        "ntf_none: no such email is known",
        "ntf_sent: it was not observed",
        "nothing was done",
    ):
        assert told in found.stderr
    assert "ntf_1:" not in found.stderr
    assert called(services, "set_mode") == called(services, "accept_observed") == []


def test_a_run_that_was_cut_is_repeated(run: Run, world: ObservingWorld, tmp_path: Path) -> None:
    """What was accepted before is named and left out; the rest goes."""
    world.before, world.mails = {"ntf_1"}, [mail(2)]
    file = tmp_path / "ids.txt"
    file.write_text("ntf_1\nntf_2\n")
    found = run("go-live", "--business", "sunrise", "--accept", str(file), "--yes")
    assert (found.exit_code, world.accepted) == (0, ["ntf_2"])
    assert "ntf_1: accepted before, left out" in found.stderr


def test_nothing_is_accepted_while_the_whole_installation_observes(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """It could not go: the message names the setting, and nothing was done."""
    world.installation_observes, world.mails = True, [mail(1)]
    found = run("go-live", "--business", "sunrise", "--accept", "all", "--yes")
    assert found.exit_code == 2
    assert "set MODE=live at portal, billing and notifier" in found.stderr
    assert called(services, "set_mode") == called(services, "accept_observed") == []


def test_a_line_under_an_installation_that_observes_is_no_going_live(
    run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """The line is drawn, and what keeps everything from going is said."""
    world.installation_observes = True
    found = run("go-live", "--business", "sunrise", "--yes")
    assert "and it observes on" in found.stdout
    assert "MODE=live at portal, billing and notifier" in found.stdout
    assert "has been live since" not in found.stdout


@pytest.mark.parametrize(
    ("everywhere", "told"),
    [
        (True, "set MODE=live at portal, billing and notifier"),
        (False, "name a --business; these observe: sunrise"),
    ],
)
def test_without_a_business_it_says_what_to_do(
    everywhere: bool, told: str, run: Run, world: ObservingWorld, services: FakeServices
) -> None:
    """The setting where the installation observes; else the businesses that do."""
    world.installation_observes, world.modes["moon"] = everywhere, "live"
    found = run("go-live")
    assert (found.exit_code, told in found.stderr) == (2, True)
    assert called(services, "set_mode") == []


# --- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "it names no email"),
        (b"# only a note\n", "it names no email"),
        (b"in_1\n", "'in_1', number 1 in it, is not an email's id"),
        (b"{}", "it is not what `portico preview --json` writes"),
        (b'{"notifications": [{"notification_id": 1}]}', "it is not what `portico preview"),
        (b'{"notifications": [', "it is not what `portico preview"),
        (b"\xff\xfe", "it is not text"),
    ],
)
def test_a_file_that_names_no_emails_is_refused(text: bytes, problem: str, tmp_path: Path) -> None:
    """A document that breaks off, too: half of the emails are not those that the preview showed."""
    file = tmp_path / "ids"
    file.write_bytes(text)
    with pytest.raises(BadList, match=problem):
        read_ids(file)


@pytest.mark.parametrize(
    "text", ["ntf_1\r\nntf_2\r\n", '{"notifications": [{"notification_id": "ntf_1"}, {"notification_id": "ntf_2"}]}']
)  # fmt: skip
def test_a_file_that_windows_has_saved_is_read(text: str, tmp_path: Path) -> None:
    """Its lines end with two characters, and a byte order mark may stand before them."""
    file = tmp_path / "ids"
    file.write_text(text, "utf-8-sig", newline="")
    assert read_ids(file) == ["ntf_1", "ntf_2"]


def test_an_id_that_stands_there_twice_is_one(tmp_path: Path) -> None:
    """In the order of the file."""
    file = tmp_path / "ids"
    file.write_text("ntf_2\nntf_1\nntf_2\n")
    assert read_ids(file) == ["ntf_2", "ntf_1"]


def test_a_file_that_is_not_there_is_said(run: Run, services: FakeServices) -> None:
    """Before anything is asked."""
    found = run("go-live", "--business", "sunrise", "--accept", "/nowhere/at/all")
    assert (found.exit_code, services.asked) == (2, [])
    assert "No such file or directory" in found.stderr
