"""`migrate` and `wait-migrated`: what a deployment runs before a service's new replicas take requests."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.notifier.service import NotifierService
from services.notifier.settings import load
from shared.database import make_engine
from shared.migrations import upgrade, wait_migrated
from shared.nameko_ext.runtime import command_line

pytestmark = pytest.mark.whole


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/notifier.sqlite3"


def test_migrating_needs_the_database_alone(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The migrations' job holds no key of SendGrid's or Stripe's, and no broker's password."""
    for name in ("AMQP_URI", "SENDGRID_API_KEY", "MAIL_FROM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NOTIFIER_DATABASE_URL", url)
    assert command_line(NotifierService, load, argv=["migrate"]) == 0
    assert command_line(NotifierService, load, argv=["wait-migrated"]) == 0


def test_a_missing_database_url_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the variable, and only that one."""
    monkeypatch.delenv("NOTIFIER_DATABASE_URL", raising=False)
    assert command_line(NotifierService, load, argv=["migrate"]) == 2
    told = capsys.readouterr().err
    assert "NOTIFIER_DATABASE_URL" in told
    assert "AMQP_URI" not in told


def test_waiting_ends_with_patience(url: str) -> None:
    """Nobody migrates: the waiting ends, and says so."""
    assert wait_migrated("notifier", url, seconds=0) is False


def test_waiting_is_over_once_migrated(url: str) -> None:
    """The newest migration is there: nothing to wait for."""
    upgrade("notifier", url)
    assert wait_migrated("notifier", url, seconds=0) is True


def test_old_code_starts_on_a_newer_database(url: str) -> None:
    """While a new version is rolled out, a pod of the old one that is started again must not wait indefinitely."""
    upgrade("notifier", url)
    engine = make_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'of-the-next-version'")
    engine.dispose()
    assert wait_migrated("notifier", url, seconds=0) is True
