"""Stripe's own command line against the sandbox of `make run`: its failed payment becomes our email."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import pytest
import requests

from local.processes import Embedded, fetch
from tests.fixtures.story import eventually

KEY = "sk_test_0123456789ab"


def test_a_triggered_failure_is_one_mail(embedded: Embedded, demo_links: dict[str, str]) -> None:
    """`stripe trigger invoice.payment_failed`, overridden to a demo customer, ends in exactly one mail to them."""
    cli = os.environ.get("STRIPE_CLI") or shutil.which("stripe")
    if not cli:
        pytest.skip("Stripe's CLI is not installed (npm install @stripe/cli; STRIPE_CLI names it)")
    customers = requests.get(
        f"{embedded.sandbox_url}/v1/customers", auth=(KEY, ""), timeout=10
    ).json()["data"]
    assert customers[0]["name"] == "Ada Lindqvist"
    to_ada = [
        word
        for fixture in ("payment_method", "invoiceitem", "invoice")
        for word in ("--override", f"{fixture}:customer={customers[0]['id']}")
    ]
    sandbox = ["--api-base", embedded.sandbox_url, "--api-key", KEY]
    done = subprocess.run(
        [cli, "trigger", "invoice.payment_failed", *sandbox, *to_ada],
        env={**os.environ, "HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

    def mails() -> list[str]:
        found = json.loads(fetch(f"{embedded.sandbox_url}/inbox.json?to=ada@example.com"))
        return [mail["subject"] for mail in found]

    eventually(mails, what="the mail")
    (subject,) = mails()
    assert subject.endswith(" didn’t go through")
