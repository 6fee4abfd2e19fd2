"""`make run` and `make stack` leave nothing that another user of the machine can read, whatever the umask."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local.processes import REPOSITORY
from local.servers import free_port

PARTS = ("PORTAL", "BILLING", "NOTIFIER", "API", "SANDBOX")


@pytest.mark.parametrize("module", ["local", "local.stack"])
def test_everything_that_a_run_writes_is_its_owners(module: str, tmp_path: Path) -> None:
    """Databases with their journals, logs, keys, settings and the servers' data: files 0600, folders 0700."""
    var, log = tmp_path / "var", tmp_path / "terminal"
    ports = {f"{part}_PORT": str(free_port()) for part in PARTS} if module == "local" else {}
    with log.open("w") as out:
        run = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module],
            cwd=REPOSITORY,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "PORTICO_VAR": str(var),
                **ports,
            },
            stdout=out,
            stderr=out,
            umask=0,
        )
    try:
        end = time.monotonic() + 60
        while "Portico is ready" not in log.read_text():
            assert run.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.1)
        found = {path: path.lstat() for path in (var, *var.rglob("*"))}
    finally:
        run.send_signal(signal.SIGTERM)
        assert run.wait(45) == 0
    open_to_others = {
        str(path.relative_to(tmp_path)): oct(stat.st_mode & 0o777)
        for path, stat in found.items()
        if stat.st_uid == os.geteuid() and stat.st_mode & 0o077 and not path.is_symlink()
    }
    assert open_to_others == {}
    names = {path.name for path in found}
    assert "secrets.json" in names
    assert (
        {"portal.sqlite3", "portico.log"} if module == "local" else {"portico.env", "portal-1.log"}
    ) <= names
