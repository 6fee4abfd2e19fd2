"""The sandbox as a whole: its settings and what the application is made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.app import create_app
from sandbox.config import BadSetting, SandboxConfig, configure


def test_settings_come_from_the_environment() -> None:
    """Each has a default that fits one machine."""
    address, config = configure({})
    assert address == ("127.0.0.1", 8010)
    assert (config.public_url, config.webhook_endpoints) == ("http://127.0.0.1:8010", ())
    address, config = configure(
        {
            "SANDBOX_ADDRESS": "0.0.0.0:9",
            "SANDBOX_PUBLIC_URL": "http://box/",
            "SANDBOX_WEBHOOK_URL": "http://w",
            "SANDBOX_WEBHOOK_SECRET": "s",
        }
    )
    assert address == ("0.0.0.0", 9)
    assert (config.public_url, config.webhook_endpoints) == ("http://box", (("http://w", "s"),))


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        (
            {"SANDBOX_ADDRESS": "here"},
            "SANDBOX_ADDRESS is 'here'; it must look like 127.0.0.1:8010",
        ),
        (
            {"SANDBOX_WEBHOOK_URL": "http://w"},
            "SANDBOX_WEBHOOK_URL and SANDBOX_WEBHOOK_SECRET go together",
        ),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], says: str) -> None:
    """With what it should look like."""
    with pytest.raises(BadSetting, match=re.escape(says)):
        configure(environ)


@pytest.mark.whole
def test_one_application_plays_everybody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """API, portal page, mailbox and console answer; a bug is a 500 whose log line names no path."""
    app = create_app(SandboxConfig(state_path=str(tmp_path / "state.sqlite3")))
    client = app.test_client()
    world = app.extensions["world"]
    customer = world.call("POST", "/v1/customers", {"name": "Ada"})["id"]
    world.call("POST", "/sandbox/portal_default")
    path = world.call("POST", "/v1/billing_portal/sessions", {"customer": customer})["url"]
    path = path.removeprefix("http://127.0.0.1:8010")
    for address in ("/", "/inbox.json", path, "/sandbox/clock", "/sandbox/faults"):
        assert client.get(address, follow_redirects=True).status_code == 200, address
    assert client.get("/nothing").status_code == 404

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(world, "portal_session", broken)
    assert client.get(path).status_code == 500
    assert path.rsplit("/", 1)[1] not in caplog.text
    world.stop()
    app.extensions["mailbox"].close()
