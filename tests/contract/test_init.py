"""`portico init` against the sandbox: keys, rights, the sender, and the webhook secret that comes into the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from typer.testing import CliRunner

from portico.checks.answers import look
from portico.checks.settings import NO_SECRET_YET
from portico.cli.context import CliContext
from portico.cli.findings import Level
from portico.commands import stripe_setup
from portico.env_file import BadEnvFile, changed_text, read_env_file
from portico.main import app
from services.billing.settings import load
from shared.migrations import upgrade
from tests.contract.stripe_sandbox import PLATFORM
from tests.contract.test_payment_gateway import running
from tests.fixtures.unpublished import PASSWORD, SENDGRID_KEY, STRIPE_TEST_KEY, made_key

NOBODY = "http://127.0.0.1:1"
RIGHTS = [
    *("rak_customer_read", "rak_invoice_read", "rak_subscription_read"),
    *("rak_event_read", "rak_webhook_write", "rak_customer_portal_write"),
]


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with running() as address:
        yield address


def seen(base: str, name: str, value: str, **known: str) -> dict[str, Level]:
    """What is found of one answer, by code."""
    about = {"STRIPE_API_BASE": base, "SENDGRID_API_BASE": base, **known, name: value}
    return {one.code: one.level for one in look(name, about)}


def restricted_key(base: str, permissions: list[str], number: int) -> str:
    key = made_key("rk_test_", number)
    made = requests.post(
        f"{base}/sandbox/accounts/{PLATFORM}/keys",
        json={"permissions": permissions, "key": key},
        timeout=5,
    )
    assert made.json()["key"] == key
    return key


def test_a_key_is_told_with_its_account_and_mode(base: str) -> None:
    """A secret key may do everything: nothing is left to look at."""
    assert seen(base, "STRIPE_API_KEY", STRIPE_TEST_KEY) == {
        "stripe-rights": Level.OK,
        "stripe-account": Level.OK,
    }


def test_a_restricted_key_is_told_each_right_that_it_lacks(base: str) -> None:
    """What may be read is tried and named; what may be written can't be tried, and is listed to compare."""
    assert seen(base, "STRIPE_API_KEY", restricted_key(base, RIGHTS, 1)) == {
        "stripe-rights": Level.OK,
        "stripe-writes": Level.ASK,
    }
    lacking = restricted_key(base, [one for one in RIGHTS if "event" not in one], 2)
    known = {"STRIPE_API_BASE": base, "STRIPE_API_KEY": lacking}
    told = {one.code: one for one in look("STRIPE_API_KEY", known)}
    assert told["stripe-rights"].level is Level.FINDING
    assert told["stripe-rights"].text == "the restricted key may not read: events"


def test_a_key_that_is_revoked_is_refused(base: str) -> None:
    """Stripe's own answer, and what to do."""
    key = restricted_key(base, RIGHTS, 3)
    requests.post(f"{base}/sandbox/keys/revoke", json={"key": key}, timeout=5)
    assert seen(base, "STRIPE_API_KEY", key) == {"stripe-key": Level.FINDING}


def test_whether_a_sender_is_verified_is_seen(base: str) -> None:
    """By itself or by its domain; a name may stand before it."""
    known = {"SENDGRID_API_KEY": SENDGRID_KEY}
    for address in ("billing@portico.example", "Portico <billing@portico.example>"):
        assert seen(base, "MAIL_FROM", address, **known) == {"sendgrid-sender": Level.OK}
    found = seen(base, "MAIL_FROM", "someone@elsewhere.example", **known)
    assert found == {"sendgrid-sender": Level.FINDING}
    assert seen(base, "SENDGRID_API_KEY", SENDGRID_KEY) == {"sendgrid-key": Level.OK}


def test_what_does_not_answer_is_unknown_and_not_wrong() -> None:
    """Nobody at the other end, for each of the four: it may be kept, since it can't be looked at."""
    urls = f"portico:{PASSWORD}@127.0.0.1:1"
    for name, value in {
        "STRIPE_API_KEY": STRIPE_TEST_KEY,
        "SENDGRID_API_KEY": SENDGRID_KEY,
        "AMQP_URI": f"amqp://{urls}/portico",
        "PORTAL_DATABASE_URL": f"postgresql://{urls}/portal",
    }.items():
        assert set(seen(NOBODY, name, value).values()) == {Level.UNKNOWN}, name


def test_a_database_is_one_services_own(tmp_path: Path) -> None:
    """An empty one is right, another service's is not, nor one that another service was given."""
    url = f"sqlite:///{tmp_path}/one.sqlite3"
    assert seen(NOBODY, "BILLING_DATABASE_URL", url) == {"database": Level.OK}
    twice = seen(NOBODY, "BILLING_DATABASE_URL", url, PORTAL_DATABASE_URL=url)
    assert twice == {"database-shared": Level.FINDING}
    upgrade("portal", url)
    assert seen(NOBODY, "BILLING_DATABASE_URL", url) == {"database-owner": Level.FINDING}


def test_an_address_without_tls_is_told() -> None:
    """Links to customers would travel readable; on this machine alone it is fine."""
    assert seen(NOBODY, "PUBLIC_URL", "http://me.example.com") == {"public-http": Level.FINDING}
    assert seen(NOBODY, "PUBLIC_URL", "http://localhost:8000") == {}


@pytest.fixture
def made(base: str, tmp_path: Path) -> Path:
    """The file of `portico init --yes`, on databases with their tables."""
    environ = {
        "STRIPE_API_KEY": STRIPE_TEST_KEY,
        "SENDGRID_API_KEY": SENDGRID_KEY,
        "AMQP_URI": f"amqp://portico:{PASSWORD}@127.0.0.1:1/portico",
    }
    for service in ("portal", "billing", "notifier"):
        url = f"sqlite:///{tmp_path}/{service}.sqlite3"
        upgrade(service, url)
        environ[f"{service.upper()}_DATABASE_URL"] = url
    file = tmp_path / "portico.env"
    done = portico(
        *("init", "--env-file", str(file), "--yes", "--unchecked", "--sandbox", base),
        *("--public-url", "http://localhost:8000", "--mail-from", "billing@portico.example"),
        environ=environ,
    )
    assert done.exit_code == 0, done.output
    return file


def portico(*words: str, environ: dict[str, str] | None = None) -> Any:
    done = CliRunner().invoke(app, list(words), obj=CliContext(environ or {}))
    assert STRIPE_TEST_KEY not in done.output
    return done


def test_the_webhook_secret_comes_into_the_file(made: Path) -> None:
    """In the place of the stand-in, which let nobody in; made again, the newer one stands first; it is on no screen and in no other file."""
    before = read_env_file(made)
    assert before["STRIPE_WEBHOOK_SECRETS"].startswith(NO_SECRET_YET)
    load(before)
    secrets = []
    for port in (8001, 8002):
        url = f"http://127.0.0.1:{port}/webhooks/stripe"
        words = ("--env-file", str(made), "stripe", "setup", "--url", url, "--into", str(made))
        done = portico(*words)
        assert done.exit_code == 0, done.output
        after = read_env_file(made)
        secrets.insert(0, after["STRIPE_WEBHOOK_SECRETS"].split(",")[0])
        assert after == before | {"STRIPE_WEBHOOK_SECRETS": ",".join(secrets)}
        assert secrets[0] not in done.output
        assert portico(*words).exit_code == 0  # it is there: nothing changes
        assert read_env_file(made) == after
    assert secrets[0] != secrets[1]
    assert made.stat().st_mode & 0o777 == 0o600
    assert not list(made.parent.glob("*whsec*"))


def test_a_secret_that_has_no_place_any_more_is_kept(
    made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full by the time that Stripe has told it: it says where the secret is, and the settings are whole."""
    before = made.read_text()

    def full(file: Path, text: str) -> None:
        raise BadEnvFile(f"{file} can't be written: No space left on device")

    monkeypatch.setattr(stripe_setup, "replace", full)
    url = "http://127.0.0.1:8003/webhooks/stripe"
    words = ("--env-file", str(made), "stripe", "setup", "--url", url, "--into", str(made))
    done = portico(*words)
    assert done.exit_code == 3
    (kept,) = made.parent.glob("*.whsec")
    assert f"its signing secret is in {kept}: put it into STRIPE_WEBHOOK_SECRETS" in done.output
    secret = kept.read_text().strip()
    assert secret.startswith("whsec_")
    assert made.read_text() == before
    monkeypatch.undo()
    assert portico(*words).exit_code == 0
    assert read_env_file(made)["STRIPE_WEBHOOK_SECRETS"] == secret
    assert not kept.exists()


def test_an_endpoint_is_made_when_nothing_else_can_fail(base: str, made: Path) -> None:
    """The key may make it and not see what customers may do. An endpoint that was there by the next run would have told its secret to nobody."""
    key = restricted_key(base, [one for one in RIGHTS if "portal" not in one], 5)
    made.write_text(changed_text(made.read_text(), {"STRIPE_API_KEY": key}))
    url = "http://127.0.0.1:8004/webhooks/stripe"
    words = ("--env-file", str(made), "stripe", "setup", "--url", url, "--into", str(made))
    assert portico(*words).exit_code != 0
    made.write_text(changed_text(made.read_text(), {"STRIPE_API_KEY": STRIPE_TEST_KEY}))
    done = portico(*words)
    assert (done.exit_code, "made" in done.output) == (0, True)
    secrets = read_env_file(made)["STRIPE_WEBHOOK_SECRETS"]
    assert secrets.startswith("whsec_")
    assert NO_SECRET_YET not in secrets
    assert not list(made.parent.glob("*whsec*"))


def test_an_endpoint_whose_secret_is_lost_is_not_as_it_should_be(made: Path) -> None:
    """Of a run that was killed before the secret was written, or somebody else's: everything that Stripe sends would be refused."""
    url = "http://127.0.0.1:8005/webhooks/stripe"
    setup = ("--env-file", str(made), "stripe", "setup", "--url", url)
    elsewhere = made.with_name("elsewhere")
    assert portico(*setup, "--secret-file", str(elsewhere)).exit_code == 0
    assert "told when it was made" in portico(*setup, "--secret-file", f"{elsewhere}2").output
    done = portico(*setup, "--into", str(made))
    assert done.exit_code == 1
    assert f"{made} has no signing secret for it" in done.output
    assert read_env_file(made)["STRIPE_WEBHOOK_SECRETS"].startswith(NO_SECRET_YET)
    made.write_text(changed_text(made.read_text(), {"STRIPE_WEBHOOK_SECRETS": elsewhere.read_text().strip()}))  # fmt: skip
    assert portico(*setup, "--into", str(made)).exit_code == 0


def test_a_secret_that_the_file_takes_from_another_is_not_put_beside_it(made: Path) -> None:
    """With both no service would start."""
    setting = "STRIPE_WEBHOOK_SECRETS_FILE"
    made.write_text(changed_text(made.read_text(), {setting: "/run/secrets/whsec"}))
    url = "http://127.0.0.1:8006/webhooks/stripe"
    done = portico("--env-file", str(made), "stripe", "setup", "--url", url, "--into", str(made))
    assert done.exit_code == 2
    assert setting in done.output


def test_no_endpoint_is_made_whose_secret_has_no_place(base: str, made: Path) -> None:
    """Stripe tells it once: no such file, both options, neither, or an account that has a file of its own."""
    url = "https://hooks.example.com/webhooks/stripe"
    setup = ("--env-file", str(made), "stripe", "setup", "--url")
    env = str(made)
    for words in (
        (url,),
        (url, "--into", env, "--secret-file", f"{env}.new"),
        (url, "--into", f"{env}.none"),
        (f"{url}/acct_1Beside", "--into", env),
    ):
        assert portico(*setup, *words).exit_code == 2, words
    made.write_text(changed_text(made.read_text(), {"STRIPE_API_KEY": made_key("sk_live_", 4)}))
    assert portico(*setup, url, "--into", env).exit_code != 0
    told = requests.get(
        f"{base}/v1/webhook_endpoints", auth=(STRIPE_TEST_KEY, ""), timeout=5
    ).json()
    assert url not in [one["url"] for one in told["data"]]
