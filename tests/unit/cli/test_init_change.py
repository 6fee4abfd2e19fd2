"""`portico init --change`: what stays, what is asked for anew, and where it is written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from portico.checks.settings import NO_SECRET_YET, SERVICES, load
from portico.cli.findings import Finding
from portico.commands.init import CARRIED
from portico.env_file import changed_text, read_env_file
from portico.interview import MADE
from tests.fixtures.init_dialogue import OF_SCRIPTS, WORDS, Dialogue, World, answers, dialogue
from tests.fixtures.unpublished import PASSWORD, STRIPE_LIVE_KEY, STRIPE_TEST_KEY


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def portico(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dialogue:
    return dialogue(world, tmp_path, monkeypatch)


@pytest.mark.whole
def test_no_password_is_in_a_question(portico: Dialogue, tmp_path: Path) -> None:
    """Neither that of a URL as it was pasted, nor its halves in the next two, nor one in the query: that URL is asked for hidden."""
    file = tmp_path / "portico.env"
    for url in (
        f"postgresql://portal:S3cr/{PASSWORD}@db/portal",
        f"postgresql://db/portal?user=portal&password=S3cr{PASSWORD}",
    ):
        file.write_text(
            "".join(
                f"{name}={value}\n"
                for name, value in {**OF_SCRIPTS, "PORTAL_DATABASE_URL": url}.items()
                if name not in ("BILLING_DATABASE_URL", "NOTIFIER_DATABASE_URL")
            )
        )
        enter = [""] if "?" in url else ["", ""]
        typed = answers(
            STRIPE_API_KEY=[""],
            SENDGRID_API_KEY=[""],
            AMQP_URI=["", ""],
            PORTAL_DATABASE_URL=enter,
            BILLING_DATABASE_URL=["", PASSWORD],
        )
        done = portico("init", "--change", typed=typed)
        assert done.exit_code == 0, done.output
        assert "S3cr" not in done.output
        made = read_env_file(file)
        assert made["PORTAL_DATABASE_URL"] == url
        assert made["BILLING_DATABASE_URL"] == f"postgresql://billing:{PASSWORD}@db/billing"
        assert made["NOTIFIER_DATABASE_URL"] == "postgresql://notifier@db/notifier"


@pytest.mark.whole
def test_a_change_asks_with_what_is_there_and_keeps_every_key(
    portico: Dialogue, tmp_path: Path
) -> None:
    """Enter keeps an answer, passwords and keys too; what a machine made stays, else every link were dead; the file before is kept."""
    portico("init", typed=answers())
    file = tmp_path / "portico.env"
    with file.open("a") as stream:
        stream.write("LOG_LEVEL=DEBUG\n")
    before = file.read_text()
    enter = {name: [""] for name in ("PUBLIC_URL", "STRIPE_API_KEY", "MODE", "SENDGRID_API_KEY")}
    urls = {
        name: ["", ""]
        for name in ("AMQP_URI", *(f"{one.upper()}_DATABASE_URL" for one in SERVICES))
    }
    done = portico(
        "init", "--change", typed=answers(**enter, MAIL_FROM=["new@mail.example.com"], **urls)
    )
    assert done.exit_code == 0, done.output
    after = read_env_file(file)
    (kept,) = [one for one in tmp_path.iterdir() if one != file]
    assert kept.read_text() == before
    assert kept.stat().st_mode & 0o777 == file.stat().st_mode & 0o777 == 0o600
    assert after == read_env_file(kept) | {"MAIL_FROM": "new@mail.example.com"}


@pytest.mark.whole
def test_a_shell_that_knows_older_or_other_keys_changes_none(
    portico: Dialogue, tmp_path: Path
) -> None:
    """The shell has read the file before its webhook secret came, or another installation's: what a machine made stays as in the file,
    and so does what nobody is asked for."""
    portico("init", *WORDS, environ=OF_SCRIPTS, terminal=False)
    file = tmp_path / "portico.env"
    shell = read_env_file(file)
    assert shell["STRIPE_WEBHOOK_SECRETS"].startswith(NO_SECRET_YET)
    assert shell["MODE"] == "observe"
    whsec = f"whsec_{PASSWORD}"
    base = "https://stripe-proxy.example.com"
    change = {"STRIPE_WEBHOOK_SECRETS": whsec, "STRIPE_API_BASE": base, "MODE": "live"}
    file.write_text(changed_text(file.read_text(), change))
    before = file.read_text()
    others = {name: f"other-{name}" for name in MADE} | dict.fromkeys(CARRIED, "https://other")
    for environ in (shell, {**shell, **others, "SENDGRID_API_BASE": ""}):
        done = portico("init", "--change", *WORDS, environ=environ)
        assert done.exit_code == 0, done.output
        changed = {
            name for name, one in read_env_file(file).items() if f"{name}={one}\n" not in before
        }
        assert changed <= {"PORTAL_SESSION_ORIGINS"}  # which was not there
    assert read_env_file(file)["STRIPE_WEBHOOK_SECRETS"] == whsec


@pytest.mark.whole
def test_with_a_live_key_instead_of_a_test_key_observe_is_suggested(
    portico: Dialogue, tmp_path: Path
) -> None:
    """What the file says of the mode was meant for the other key, though the shell has read it too; live is to be said. The API's keys
    are live ones then, and the webhook endpoint is to be made: its secret is of one mode, too."""
    for number, (extra, mode) in enumerate((((), "observe"), (("--mode", "live"), "live"))):
        file = tmp_path / f"{number}.env"
        words = ("init", "--env-file", str(file), *WORDS)
        test = OF_SCRIPTS | {"STRIPE_API_KEY": STRIPE_TEST_KEY}
        assert portico(*words, environ=test).exit_code == 0
        secret = {"STRIPE_WEBHOOK_SECRETS": f"whsec_{PASSWORD}"}
        file.write_text(changed_text(file.read_text(), secret))
        shell = read_env_file(file)
        assert (shell["MODE"], shell["API_MODE"]) == ("live", "test")
        environ = shell | {"STRIPE_API_KEY": STRIPE_LIVE_KEY}
        done = portico(*words, "--change", *extra, environ=environ)
        assert done.exit_code == 0, done.output
        made = read_env_file(file)
        assert (made["MODE"], made["API_MODE"]) == (mode, "live")
        assert made["STRIPE_WEBHOOK_SECRETS"] == f"whsec_{PASSWORD}"
        assert "stripe setup --into" in done.output
        done = portico(*words, "--change", *extra, environ=made)
        assert (read_env_file(file), done.exit_code) == (made, 0)
        assert "stripe setup --into" not in done.output


@pytest.mark.whole
def test_the_mode_is_asked_for_anew_with_the_key(portico: Dialogue, tmp_path: Path) -> None:
    """At a terminal: Enter at the question is observe."""
    portico("init", typed=answers(STRIPE_API_KEY=[STRIPE_TEST_KEY]))
    urls = {
        name: ["", ""]
        for name in ("AMQP_URI", *(f"{one.upper()}_DATABASE_URL" for one in SERVICES))
    }
    typed = answers(STRIPE_API_KEY=[STRIPE_LIVE_KEY], **urls)
    done = portico("init", "--change", typed=typed)
    assert done.exit_code == 0, done.output
    made = read_env_file(tmp_path / "portico.env")
    assert (made["MODE"], made["API_MODE"]) == ("observe", "live")


@pytest.mark.whole
@pytest.mark.parametrize("sandbox", ["http://127.0.0.1:8010", "https://localhost", "http://play:1"])
def test_a_live_key_is_not_given_to_the_sandbox(
    portico: Dialogue, tmp_path: Path, sandbox: str
) -> None:
    """Real customers would be mailed to nowhere: the settings that play are named, and nothing is changed."""
    words = ("init", *WORDS, "--sandbox", sandbox)
    test = OF_SCRIPTS | {"STRIPE_API_KEY": STRIPE_TEST_KEY}
    assert portico(*words, environ=test).exit_code == 0
    file = tmp_path / "portico.env"
    before = file.read_text()
    done = portico("init", "--change", *WORDS, environ=OF_SCRIPTS)
    assert done.exit_code == 1
    assert f"STRIPE_API_BASE ({sandbox}) is a stand-in" in done.output
    assert "take STRIPE_API_BASE, SENDGRID_API_BASE, PORTAL_SESSION_ORIGINS out of" in done.output
    assert [one.read_text() for one in tmp_path.iterdir()] == [before]


@pytest.mark.whole
def test_a_secret_in_a_file_of_its_own_stays_there(
    portico: Dialogue, world: World, tmp_path: Path
) -> None:
    """Nobody is asked for what NAME_FILE names, it is looked at, and never written beside that: with both no service would start."""
    portico("init", typed=answers())
    file = tmp_path / "portico.env"
    moved = {name: tmp_path / name.lower() for name in ("STRIPE_API_KEY", "PORTAL_LINK_KEYS")}
    lines = []
    for name, value in read_env_file(file).items():
        if name in moved:
            moved[name].write_text(value + "\n")
        lines.append(f"{name}_FILE={moved[name]}" if name in moved else f"{name}={value}")
    file.write_text("\n".join(lines) + "\n")
    before = file.read_text()
    urls = {
        name: ["", ""]
        for name in ("AMQP_URI", *(f"{one.upper()}_DATABASE_URL" for one in SERVICES))
    }
    world.seen.clear()
    typed = answers(STRIPE_API_KEY=[], SENDGRID_API_KEY=[""], **urls)
    done = portico("init", "--change", typed=typed)
    assert done.exit_code == 0, done.output
    assert "STRIPE_API_KEY stays in the file that STRIPE_API_KEY_FILE names" in done.output
    assert ("STRIPE_API_KEY", STRIPE_LIVE_KEY) in world.seen
    assert file.read_text() == before
    for service in SERVICES:
        load(service, read_env_file(file))
    done = portico("init", "--change", *WORDS, "--mode", "live")
    assert done.exit_code == 0, done.output
    assert set(file.read_text().splitlines()) - set(before.splitlines()) == {
        "PUBLIC_URL=https://me.example.com",
        "MAIL_FROM=pay@example.com",
        "MODE=live",
    } - set(before.splitlines())
    done = portico("init", "--change", *WORDS, environ={"STRIPE_API_KEY": STRIPE_TEST_KEY})
    assert done.exit_code == 2
    assert "takes it from the file that STRIPE_API_KEY_FILE names" in done.output


@pytest.mark.whole
def test_what_comes_into_the_file_while_it_is_asked_stays(
    portico: Dialogue, world: World, tmp_path: Path
) -> None:
    """`portico stripe setup --into` in another terminal, during the interview: its secret is not written over."""
    portico("init", *WORDS, environ=OF_SCRIPTS, terminal=False)
    file = tmp_path / "portico.env"
    whsec = f"whsec_{PASSWORD}"

    class Meanwhile(World):
        def look(self, name: str, known: Mapping[str, str]) -> Iterable[Finding]:
            file.write_text(changed_text(file.read_text(), {"STRIPE_WEBHOOK_SECRETS": whsec}))
            return super().look(name, known)

    world.look = Meanwhile().look  # type: ignore[method-assign]
    done = portico("init", "--change", *WORDS, "--mail-from", "new@example.com")
    assert done.exit_code == 0, done.output
    made = read_env_file(file)
    assert (made["STRIPE_WEBHOOK_SECRETS"], made["MAIL_FROM"]) == (whsec, "new@example.com")
