"""`portico` as a command: what is installed, and completion by the protocol of each shell."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from portico.main import app
from shared.version import VERSION
from tests.fixtures.servers import REPOSITORY

DATA = (
    "services/portal/templates/me.html",
    "services/notifier/templates/email/payment_failed/body.html",
    "services/billing/migrations/env.py",
    "shared/l10n/locales/de/LC_MESSAGES/portico.po",
)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, built from this tree without network."""
    folder = tmp_path_factory.mktemp("wheel")
    words = (
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--no-cache-dir",
    )
    subprocess.run(
        [sys.executable, "-m", "pip", *words, "--wheel-dir", str(folder), str(REPOSITORY)],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    (made,) = folder.glob("*.whl")
    return made


def test_the_package_has_the_product_and_nothing_else(wheel: Path) -> None:
    """Every file of the three packages, data included; no test, no sandbox, no bytecode; building leaves nothing in the tree."""
    assert f"-{VERSION}-" in wheel.name
    with zipfile.ZipFile(wheel) as archive:
        there = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = subprocess.run(
        [
            "git",
            "ls-files",
            "--cached",
            "--others",
            "--exclude-standard",
            "portico",
            "services",
            "shared",
        ],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split("\n")
    assert there == {name for name in tracked if name and (REPOSITORY / name).exists()}
    assert set(DATA) <= there
    assert not list(REPOSITORY.glob("*.egg-info"))
    assert not (REPOSITORY / "build").exists()


def test_the_installed_package_is_a_command(wheel: Path, tmp_path: Path) -> None:
    """In an environment of its own, from any folder: `portico --version` and a mail in another language need no source
    tree."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(tmp_path / "v")], check=True)
    python = tmp_path / "v" / "bin" / "python"
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--quiet",
            "--python",
            str(python),
            "install",
            "--no-deps",
            "--no-index",
            "--no-compile",
            str(wheel),
        ],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    (site,) = (tmp_path / "v" / "lib").glob("python*/site-packages")
    ours = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "dependencies.pth").write_text(ours + "\n")  # what requirements.txt would install

    def portico(*words: str) -> str:
        command = [str(tmp_path / "v" / "bin" / "portico"), *words]
        clean = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        done = subprocess.run(command, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert portico("--version") == f"portico {VERSION}\n"
    portico("mail", "preview", "payment_failed", "--locale", "de", "--out", "mails")
    assert "Zahlung" in (tmp_path / "mails" / "payment_failed.txt").read_text()


def test_the_command_begins_without_a_databases_library() -> None:
    """Whoever types `portico` waits for what it imports: SQLAlchemy, of which it has no need, would be a third of that."""
    code = "import sys, portico.main; print('sqlalchemy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"


def asked(shell: str, *words: str) -> dict[str, str]:
    """What the completion script of a shell puts into the environment to ask how to go on; the last word is being written."""
    line = shlex.join(["portico", *words])
    environ = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words))},
        "zsh": {"_TYPER_COMPLETE_ARGS": line.removesuffix("''")},
        "fish": {
            "_TYPER_COMPLETE_ARGS": line.removesuffix("''"),
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        },
    }[shell]
    return {**environ, "_PORTICO_COMPLETE": f"complete_{shell}"}


def run_here(environ: dict[str, str]) -> str:
    """The same as a process's, without its second to start."""
    done = CliRunner().invoke(app, [], prog_name="portico", env=environ)
    assert done.exit_code == 0, done.output
    return done.stdout


def run_process(environ: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "portico"],
        cwd=REPOSITORY,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_completes(shell: str) -> None:
    """Each shell's script asks `portico` by the protocol that the script itself names, and gets commands, options and values."""
    script = run_process({"_PORTICO_COMPLETE": f"source_{shell}"})
    assert f"_PORTICO_COMPLETE=complete_{shell}" in script
    assert "portico" in script
    commands = run_process(asked(shell, "dead"))
    assert "deadletters" in commands
    assert "doctor" not in commands

    def complete(*words: str) -> str:
        return run_here(asked(shell, *words))

    assert complete("dead") == commands
    assert "resend-failed" in complete("notifications", "resend")
    assert "--business" in complete("link", "--bus")
    assert "quarantined" in complete("events", "list", "--status", "quar")
    assert "notifier.portal-events" in complete("deadletters", "list", "--queue", "notif")
    assert "notifier" in complete("doctor", "--service", "not")
    assert "payment_failed" in complete("mail", "preview", "payment_f")
    assert VERSION not in complete("--version", "ev")  # asked how to go on, not run
