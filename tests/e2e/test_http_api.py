"""A stranger's first minute with the API: `make run`, curl, and no AMQP anywhere."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
import time

import pytest
import requests

from examples.http_client import Portico, PorticoError
from local.processes import Embedded
from local.python_process import REPOSITORY

SECONDS = 60


def key_of(embedded: Embedded) -> str:
    """The key that it has made."""
    return (embedded.folder / "var" / "api.key").read_text().strip()


def test_a_stranger_with_curl_reaches_the_first_email(embedded: Embedded) -> None:
    """The script of docs/integration.md, as it stands, in less than a minute."""
    assert shutil.which("curl")
    began = time.monotonic()
    done = subprocess.run(
        ["sh", str(REPOSITORY / "examples" / "http_api.sh")],
        env={
            "PATH": os.environ["PATH"],
            "API": embedded.api_url,
            "KEY": key_of(embedded),
            "STRIPE": embedded.sandbox_url,
        },
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^The first email: \$120\.00 didn", done.stdout, re.MULTILINE)
    assert '"state":"declined"' in done.stdout
    assert time.monotonic() - began < SECONDS


def test_the_python_client_prints_a_link_that_opens(embedded: Embedded) -> None:
    """The same link each time: everything that it does is idempotent."""
    printed = {
        subprocess.run(
            [sys.executable, str(REPOSITORY / "examples" / "http_client.py")],
            env={"PORTICO_API": embedded.api_url, "PORTICO_KEY": key_of(embedded)},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    }
    (link,) = printed
    page = requests.get(link, timeout=10)
    assert page.status_code == 200
    assert "Spring pruning" in page.text


def test_the_client_tells_what_is_wrong(embedded: Embedded) -> None:
    """By its code and its field; a list comes whole, page by page."""
    portico = Portico(embedded.api_url, key_of(embedded))
    portico.post("/businesses", business_id="many", name="Many")
    entries = [{"external_id": str(n), "name": "N", "email": "n@example.com"} for n in range(150)]
    portico.post("/customers/bulk", business_id="many", customers=entries)
    assert len(list(portico.all("/customers", "customer_id", business_id="many"))) == 150
    with pytest.raises(PorticoError) as caught:
        portico.post("/customers", **{**entries[0], "business_id": "many", "email": "nobody"})
    assert (caught.value.code, caught.value.fields) == (
        "invalid_argument",
        {"email": "expected an e-mail address"},
    )


def test_the_api_has_a_listener_of_its_own(embedded: Embedded) -> None:
    """Pages and health are not there, nor the API where customers come; nothing tells more without a key."""
    root = embedded.api_url.removesuffix("/api/v1")
    for path in ("/healthz", "/metrics", "/me/x", "/"):
        told = requests.get(root + path, timeout=10)
        assert (told.status_code, told.json()["code"]) == (404, "not_found")
    assert requests.get(f"{embedded.portal_url}/api/v1/businesses", timeout=10).status_code == 404
    told = requests.post(f"{embedded.api_url}/customers", data=b"x" * (2 << 20), timeout=10)
    assert (told.status_code, told.json()["code"]) == (401, "unauthorized")
    assert told.headers["Cache-Control"] == "no-store"


def test_the_key_is_for_its_owner_and_outlives_a_restart(embedded: Embedded) -> None:
    """Nobody else can read the file, the terminal does not show it, and no log has it."""
    file = embedded.folder / "var" / "api.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = key_of(embedded)
    assert embedded.stop() == 0
    embedded.start()
    assert key_of(embedded) == before
    assert before not in embedded.terminal()
    assert before not in embedded.logs()["embedded"]
    assert "curl -H" in embedded.terminal()
