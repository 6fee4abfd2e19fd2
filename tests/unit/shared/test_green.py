"""A process that is made cooperative."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.mark.whole
def test_a_process_is_patched_whole_and_without_a_word() -> None:
    """On every Python: no lock is left that eventlet would complain of on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", "import shared.nameko_ext.green"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "")
