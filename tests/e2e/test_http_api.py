"""A stranger's first minute with the API: `make run`, curl, and no AMQP anywhere."""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from examples.http_client import Portico, PorticoError
from local.processes import Embedded
from local.python_process import REPOSITORY

SECONDS = 60


def key_of(embedded: Embedded) -> str:
    """The key that it has made."""
    return (embedded.folder / "var" / "api.key").read_text().strip()


def moved(embedded: Embedded) -> dict[str, str]:
    """What moved `make run` to where it is, which moves the examples, too."""
    return {
        "PATH": os.environ["PATH"],
        "PORTICO_VAR": str(embedded.folder / "var"),
        "API_PORT": str(urlsplit(embedded.api_url).port),
        "SANDBOX_PORT": str(urlsplit(embedded.sandbox_url).port),
    }


def test_a_stranger_with_curl_reaches_the_first_email(embedded: Embedded) -> None:
    """The script of docs/integration.md, as it stands, in less than a minute."""
    assert shutil.which("curl")
    began = time.monotonic()
    done = subprocess.run(
        ["sh", str(REPOSITORY / "examples" / "http_api.sh")],
        env=moved(embedded),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^The first email: \$120\.00 didn", done.stdout, re.MULTILINE)
    assert '"state":"declined"' in done.stdout
    for told in ('"kind":"payment_failed"', '"type":"invoice.payment_failed"'):
        assert told in done.stdout
    assert time.monotonic() - began < SECONDS


def test_the_pages_own_commands_do_what_it_says(embedded: Embedded) -> None:
    """Those of docs/integration.md as they stand there, in the folder where `make run` is."""
    page = (REPOSITORY / "docs" / "integration.md").read_text()
    section = page.split("\n## Over HTTP\n", 1)[1].split("\n## ", 1)[0]
    commands = "".join(one for one in re.findall(r"```\n(.*?)```", section, re.DOTALL) if one.startswith("curl "))  # fmt: skip
    assert "http://127.0.0.1:8003/api/v1" in commands
    done = subprocess.run(
        ["sh", "-ec", commands.replace("http://127.0.0.1:8003/api/v1", embedded.api_url)],
        cwd=embedded.folder, capture_output=True, text=True, timeout=SECONDS, check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert answers[0] == {"business_id": "sunrise"}
    assert answers[1]["created"] is True
    assert answers[1]["customer_id"]
    assert answers[2]["secret"].startswith("whsec_")


def test_the_python_client_prints_a_link_that_opens(embedded: Embedded) -> None:
    """The same link each time: everything that it does is idempotent."""
    printed = {
        subprocess.run(
            [sys.executable, str(REPOSITORY / "examples" / "http_client.py")],
            env=moved(embedded),
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


@pytest.mark.parametrize(
    "command",
    [["sh", "http_api.sh"], [sys.executable, "http_client.py"], ["node", "http_client.mjs"]],
    ids=lambda command: command[1],
)
def test_an_example_without_a_key_says_where_it_looked(command: list[str], tmp_path: Path) -> None:
    """And what to do; exit code 2."""
    program, name = command
    if shutil.which(program) is None:
        pytest.skip("there is no Node here")
    done = subprocess.run(
        [program, str(REPOSITORY / "examples" / name)],
        env={"PATH": os.environ["PATH"], "PORTICO_VAR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert f"no key in {tmp_path}/api.key: start" in done.stderr


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_the_node_client_prints_a_link_that_opens(embedded: Embedded) -> None:
    """And what happened: that the customer was linked. The same link each time."""
    printed = {
        subprocess.run(
            ["node", str(REPOSITORY / "examples" / "http_client.mjs")],
            env=moved(embedded),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    }
    (told,) = printed
    link, *happened = told.splitlines()
    assert happened == ["customer.link_changed"]
    assert "Algebra" in requests.get(link, timeout=10).text


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node here")
def test_the_node_client_tells_what_is_wrong(embedded: Embedded) -> None:
    """By its code and its field, as the Python one does; a list comes whole."""
    script = f"""
        import {{ Portico }} from "{REPOSITORY / "examples" / "http_client.mjs"}";
        const portico = new Portico(process.env.API, process.env.KEY);
        await portico.post("/businesses", {{ business_id: "node", name: "Node" }});
        const customers = [...Array(150).keys()].map((n) => ({{ external_id: `${{n}}`, name: "N", email: "n@example.com" }}));
        await portico.post("/customers/bulk", {{ business_id: "node", customers }});
        let count = 0;
        for await (const one of portico.all("/customers", "customer_id", {{ business_id: "node" }})) count += 1;
        try {{
            await portico.post("/customers", {{ ...customers[0], business_id: "node", email: "nobody" }});
        }} catch (error) {{
            console.log(JSON.stringify([count, error.code, error.fields]));
        }}
    """
    told = subprocess.run(
        ["node", "--input-type=module", "--eval", script],
        env={"PATH": os.environ["PATH"], "API": embedded.api_url, "KEY": key_of(embedded)},
        capture_output=True, text=True, timeout=SECONDS, check=True,
    ).stdout  # fmt: skip
    assert json.loads(told) == [150, "invalid_argument", {"email": "expected an email address"}]


def test_a_businesss_key_is_made_for_the_demo_alone(embedded: Embedded) -> None:
    """`make run` makes one, too: it sees its business, and as if there were no other."""
    Portico(embedded.api_url, key_of(embedded)).post(
        "/businesses", business_id="elsewhere", name="Elsewhere"
    )
    file = embedded.folder / "var" / "business.key"
    own = Portico(embedded.api_url, file.read_text().strip())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [one["business_id"] for one in own.get("/businesses")["data"]] == ["sunrise-cleaning"]
    assert {one["business_id"] for one in own.events()[0]} <= {"sunrise-cleaning"}
    with pytest.raises(PorticoError) as caught:
        own.get("/businesses/elsewhere")
    assert caught.value.code == "not_found"


def test_a_person_is_forgotten_over_http(embedded: Embedded) -> None:
    """In all three services, by one request; then there is nothing to be found."""
    portico = Portico(embedded.api_url, key_of(embedded))
    portico.post("/businesses", business_id="gone", name="Gone")
    given = {"business_id": "gone", "external_id": "1", "name": "G", "email": "g@example.com"}
    made = portico.post("/customers", **given, platform_stripe_customer_id="cus_GoneOne")
    told = portico.delete(f"/customers/{made['customer_id']}")
    assert told["erased"]
    assert told["portal_rows"] >= 2
    assert portico.get("/customers", business_id="gone")["data"] == []
    assert "cus_GoneOne" not in str(portico.events())


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
        {"email": "expected an email address"},
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
