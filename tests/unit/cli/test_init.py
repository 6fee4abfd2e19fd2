"""`portico init`: the whole dialogue, with what is wrong in it, and the file that comes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from portico.checks.answers import look
from portico.checks.settings import SERVICES, load
from portico.cli.findings import finding, ok, unknown
from portico.env_file import read_env_file
from portico.interview import FIRM
from tests.fixtures.init_dialogue import OF_SCRIPTS, WORDS, Dialogue, World, answers, dialogue
from tests.fixtures.unpublished import PASSWORD, SENDGRID_KEY, STRIPE_LIVE_KEY, STRIPE_TEST_KEY


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def portico(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Dialogue:
    return dialogue(world, tmp_path, monkeypatch)


@pytest.mark.whole
def test_a_few_answers_make_settings_with_which_every_service_starts(
    portico: Dialogue, tmp_path: Path
) -> None:
    """What only a person knows is asked for, the rest is made; the file is private, and each service takes it."""
    done = portico("init", typed=answers())
    assert done.exit_code == 0, done.output
    file = tmp_path / "portico.env"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["portico.env"]
    made = read_env_file(file)
    for service in SERVICES:
        load(service, made)
    assert made["AMQP_URI"] == f"amqp://portico:{PASSWORD}@127.0.0.1:5672/portico"
    assert made["PORTAL_DATABASE_URL"] == (
        f"postgresql://portal:{PASSWORD}%2F%40@db.example.com:5433/portal"
    )
    assert made["BILLING_DATABASE_URL"] == (
        f"postgresql://billing:{PASSWORD}@db.example.com:5433/billing"
    )
    assert made["NOTIFIER_DATABASE_URL"] == "postgresql://notifier@db.example.com:5433/notifier"
    assert (made["MODE"], made["API_MODE"]) == ("observe", "live")
    assert "SENDGRID_WEBHOOK_PUBLIC_KEY" not in made
    keys = [made[name] for name in ("PORTAL_LINK_KEYS", "ADDRESS_HASH_KEY", "HOOK_KEYS")]
    assert (len(set(keys)), {len(one) for one in keys}) == (3, {64})
    for step in (
        "python -m services.notifier migrate",
        "stripe setup --into portico.env --url https://me.example.com/webhooks/stripe",
        "portico --env-file portico.env doctor",
        "set -a; . ./portico.env; set +a",
    ):
        assert step in done.output
    assert not [one for one in keys if one in done.output]


@pytest.mark.whole
def test_with_a_test_key_live_is_suggested(portico: Dialogue, tmp_path: Path) -> None:
    """Nobody real is mailed with a test key; keys of the API say that they are for trying."""
    assert portico("init", typed=answers(STRIPE_API_KEY=[STRIPE_TEST_KEY])).exit_code == 0
    made = read_env_file(tmp_path / "portico.env")
    assert (made["MODE"], made["API_MODE"]) == ("live", "test")


@pytest.mark.whole
def test_a_wrong_form_is_told_and_asked_again(portico: Dialogue, world: World) -> None:
    """Each with what the service would say at its start; the world is not asked about it."""
    done = portico(
        "init",
        typed=answers(
            PUBLIC_URL=["me.example.com", "https://me.example.com"],
            STRIPE_API_KEY=["pk_live_1", STRIPE_LIVE_KEY],
            SENDGRID_API_KEY=["hello", SENDGRID_KEY],
            MAIL_FROM=["Portico", "a$b@example.com", "billing@mail.example.com"],
            AMQP_URI=["rabbitmq:5672", "", PASSWORD],
        ),
    )
    assert done.exit_code == 0, done.output
    for said in (
        "PUBLIC_URL is not a URL that starts with http or https://",
        "STRIPE_API_KEY is not a secret key",
        "SENDGRID_API_KEY does not start with 'SG.'",
        "MAIL_FROM is not one email address",
        "MAIL_FROM has a character that not everything that reads env files takes as it stands",
        "AMQP_URI does not start with amqp:// or amqps://",
    ):
        assert said in done.output
    assert "Keep it all the same" not in done.output


@pytest.mark.parametrize(
    ("name", "torn"),
    [
        ("AMQP_URI", f"amqp://portico:{PASSWORD}/x@127.0.0.1:5672/portico"),
        ("AMQP_URI", f"amqp://portico:{PASSWORD}#x@127.0.0.1:5672/portico"),
        ("AMQP_URI", "amqp://portico:12/x@127.0.0.1:5672/portico"),
        ("AMQP_URI", f"amqp://portico:[{PASSWORD}@127.0.0.1:5672/portico"),
        ("AMQP_URI", f"amqp://portico:{PASSWORD}℀@127.0.0.1:5672/portico"),
        ("PORTAL_DATABASE_URL", f"postgresql://portal:{PASSWORD}@x:y@127.0.0.1:5432/portal"),
        ("PORTAL_DATABASE_URL", f"postgresql://portal:{PASSWORD}@x@127.0.0.1:5432/portal"),
        ("PORTAL_DATABASE_URL", f"postgresql://portal:{PASSWORD}/x@one:5432,two:5432/portal"),
    ],
    ids=range(8),  # the password is another one in each process
)
def test_a_password_that_tears_its_url_is_told_and_not_shown(name: str, torn: str) -> None:
    """Pasted as it is: what is wrong, and how to write it, without a part of it; the interview goes on."""
    (told,) = look(name, {name: torn})
    assert told.code in FIRM
    text = f"{told.text} {told.remedy}"
    assert "# as %23, / as %2F" in text
    assert not [one for one in (PASSWORD, "x@", "12", "℀") if one in text]


@pytest.mark.parametrize(("name", "answer"), [("MODE", "live"), ("MAIL_FROM", "me@example.com")])
def test_what_hangs_on_a_setting_that_is_not_set_is_not_looked_at(name: str, answer: str) -> None:
    """A script that has set next to nothing is told what is missing: there is no key to ask anybody with."""
    assert list(look(name, {name: answer})) == []


def test_a_mode_that_there_is_not_is_told() -> None:
    """With the two that there are."""
    (told,) = look("MODE", {"MODE": "watch"})
    assert (told.code, "live, observe" in told.text) == ("settings", True)


def test_a_setting_beside_that_is_wrong_is_named() -> None:
    """Nobody is asked for it, and with it nothing can be looked at: that ends no interview."""
    (told,) = look("STRIPE_API_KEY", {"STRIPE_API_KEY": STRIPE_TEST_KEY, "STRIPE_API_BASE": "ftp"})
    assert told.text.startswith("STRIPE_API_KEY can't be looked at: STRIPE_API_BASE is not a URL")
    assert told.code not in FIRM


@pytest.mark.whole
def test_a_key_that_stripe_refuses_is_asked_for_again(
    portico: Dialogue, world: World, tmp_path: Path
) -> None:
    """It is of no use to keep it, so nobody is offered to."""
    refused = finding("stripe", "stripe-key", "Stripe does not take our key", "make a new key")
    world.says["STRIPE_API_KEY"] = [[refused], [ok("stripe", "stripe-rights", "a live key")]]
    done = portico("init", typed=answers(STRIPE_API_KEY=[STRIPE_TEST_KEY, STRIPE_LIVE_KEY]))
    assert done.exit_code == 0, done.output
    assert "make a new key" in done.output
    assert "Keep it all the same" not in done.output
    assert read_env_file(tmp_path / "portico.env")["STRIPE_API_KEY"] == STRIPE_LIVE_KEY


@pytest.mark.whole
def test_a_right_that_is_missing_can_be_given_while_it_waits(
    portico: Dialogue, world: World, tmp_path: Path
) -> None:
    """The right is named; Enter looks at the same key again, and it need not be typed again."""
    lacking = finding(
        "stripe", "stripe-rights", "may not read: events", "give the key these rights"
    )
    world.says["STRIPE_API_KEY"] = [[lacking], [ok("stripe", "stripe-rights", "with the rights")]]
    done = portico("init", typed=answers(STRIPE_API_KEY=[STRIPE_LIVE_KEY, "n", ""]))
    assert done.exit_code == 0, done.output
    assert "may not read: events" in done.output
    assert [one for one in world.seen if one[0] == "STRIPE_API_KEY"] == [
        ("STRIPE_API_KEY", STRIPE_LIVE_KEY)
    ] * 2


@pytest.mark.whole
def test_what_does_not_answer_is_kept_where_that_is_said(
    portico: Dialogue, world: World, tmp_path: Path
) -> None:
    """Without a network it says so, and takes the answer after a yes."""
    offline = unknown("sendgrid", "sendgrid-unreachable", "no answer from SendGrid", "look at it")
    world.says["SENDGRID_API_KEY"] = [[offline]]
    done = portico("init", typed=answers(SENDGRID_API_KEY=[SENDGRID_KEY, "n", "", "y"]))
    assert done.exit_code == 0, done.output
    assert done.output.count("no answer from SendGrid") == 2
    assert read_env_file(tmp_path / "portico.env")["SENDGRID_API_KEY"] == SENDGRID_KEY


@pytest.mark.whole
def test_interrupted_nothing_is_written(portico: Dialogue, tmp_path: Path) -> None:
    """The input ends (or Ctrl-C comes) at any question: no file, no half of one."""
    every = answers()
    for typed in (every[:0], every[:3], every[:-1]):
        done = portico("init", typed=typed)
        assert done.exit_code == 130
        assert "Nothing was written" in done.output
        assert list(tmp_path.iterdir()) == []


@pytest.mark.whole
def test_a_file_that_is_there_stays(portico: Dialogue, world: World, tmp_path: Path) -> None:
    """Told before the first question, with the way to change it."""
    file = tmp_path / "portico.env"
    file.write_text("PORTAL_LINK_KEYS=precious\n")
    done = portico("init", typed=answers())
    assert done.exit_code == 2
    assert "--change" in done.output
    assert (file.read_text(), world.seen) == ("PORTAL_LINK_KEYS=precious\n", [])


@pytest.mark.whole
def test_a_blank_is_no_answer(portico: Dialogue, tmp_path: Path) -> None:
    """Typed, it is asked again; as an option, it is as if it were not there."""
    done = portico("init", typed=answers(PUBLIC_URL=[" ", "https://me.example.com"]))
    assert done.exit_code == 0, done.output
    assert "PUBLIC_URL is not set" in done.output
    done = portico("init", "--env-file", "1.env", *WORDS, "--public-url", " ", environ=OF_SCRIPTS)
    assert done.exit_code == 1
    assert "PUBLIC_URL is not set" in done.output
    assert not (tmp_path / "1.env").exists()


@pytest.mark.whole
def test_without_a_terminal_nobody_is_asked(portico: Dialogue, tmp_path: Path) -> None:
    """A script that forgot --yes is told, instead of waiting for an answer."""
    done = portico("init", terminal=False)
    assert done.exit_code == 2
    assert "--yes" in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole
def test_a_script_gives_secrets_by_the_environment_or_files(
    portico: Dialogue, tmp_path: Path
) -> None:
    """No option takes a secret, since options are in the list of processes; a file that NAME_FILE names does."""
    (tmp_path / "key").write_text(STRIPE_LIVE_KEY + "\n")
    environ = {**OF_SCRIPTS, "STRIPE_API_KEY_FILE": "key"}
    del environ["STRIPE_API_KEY"]
    done = portico("init", *WORDS, environ=environ, terminal=False)
    assert done.exit_code == 0, done.output
    made = read_env_file(tmp_path / "portico.env")
    assert made | OF_SCRIPTS == made
    assert (made["PUBLIC_URL"], made["MODE"]) == ("https://me.example.com", "observe")
    for service in SERVICES:
        load(service, made)


@pytest.mark.whole
def test_a_setting_for_which_others_can_not_be_looked_at_is_told_once(
    portico: Dialogue, world: World, tmp_path: Path
) -> None:
    """A mistyped mode is in the way of all: one line, and not one for each."""
    for name in ("SENDGRID_API_KEY", "MAIL_FROM", "AMQP_URI"):
        text = f"{name} can't be looked at: MODE is neither observe nor live"
        world.says[name] = [[finding("settings", "settings-beside", text, "say one of the two")]]
    done = portico("init", *WORDS, environ=OF_SCRIPTS)
    assert done.exit_code == 1
    assert done.output.count("MODE is neither observe nor live") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_script_is_told_all_that_is_wrong_and_nothing_is_written(
    portico: Dialogue, world: World, tmp_path: Path
) -> None:
    """Two settings missing, a sender that may not send: all of it at once, with exit code 1."""
    world.says["MAIL_FROM"] = [
        [finding("sendgrid", "sendgrid-sender", "not verified", "verify it")]
    ]
    environ = {name: one for name, one in OF_SCRIPTS.items() if not name.startswith("S")}
    done = portico("init", *WORDS, environ=environ, terminal=False)
    assert done.exit_code == 1
    for said in ("STRIPE_API_KEY is not set", "SENDGRID_API_KEY is not set", "not verified"):
        assert said in done.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.whole
def test_a_script_writes_unchecked_where_it_says_so(
    portico: Dialogue, world: World, tmp_path: Path
) -> None:
    """In an image that is built without a network: 3 without --unchecked, and the file with it."""
    world.says["AMQP_URI"] = [[unknown("broker", "broker-unreachable", "no answer", "look")]]
    assert portico("init", *WORDS, environ=OF_SCRIPTS, terminal=False).exit_code == 3
    assert list(tmp_path.iterdir()) == []
    done = portico("init", *WORDS, "--unchecked", environ=OF_SCRIPTS, terminal=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "portico.env").exists()


@pytest.mark.whole
def test_the_file_may_be_named_before_or_after_the_command(
    portico: Dialogue, tmp_path: Path
) -> None:
    """`portico --env-file` reads a file for every other command; for this one it is the one to make."""
    for number, words in enumerate(
        (("--env-file", "0.env", "init"), ("init", "--env-file", "1.env"))
    ):
        done = portico(*words, *WORDS, environ=OF_SCRIPTS, terminal=False)
        assert done.exit_code == 0, done.output
        assert (tmp_path / f"{number}.env").exists()


@pytest.mark.whole
@pytest.mark.parametrize("address", ["", "127.0.0.1:8010", "sandbox"])
def test_an_address_of_the_sandbox_that_is_none_is_named(
    address: str, portico: Dialogue, tmp_path: Path
) -> None:
    """By the option that was typed, and not by the three settings that it stands for."""
    done = portico("init", "--yes", "--sandbox", address)
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "--sandbox: expected the sandbox's address, such as" in " ".join(done.output.split())


def test_the_sandbox_stands_in_for_both_vendors(portico: Dialogue, tmp_path: Path) -> None:
    """--sandbox sets all three addresses, and the endpoint is at this machine."""
    words = ("--sandbox", "http://127.0.0.1:8010/", "--public-url", "http://localhost:8000")
    done = portico("init", *WORDS, *words, environ=OF_SCRIPTS | {"STRIPE_API_KEY": STRIPE_TEST_KEY})
    assert done.exit_code == 0, done.output
    made = read_env_file(tmp_path / "portico.env")
    names = ("STRIPE_API_BASE", "SENDGRID_API_BASE", "PORTAL_SESSION_ORIGINS")
    assert [made[name] for name in names] == ["http://127.0.0.1:8010"] * 3
    assert "--url http://127.0.0.1:8001/webhooks/stripe" in done.output
